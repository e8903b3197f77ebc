"""Weighted rendezvous hashing: which node a key belongs to, without a table."""

from __future__ import annotations

from hashlib import blake2b
from math import log
from typing import Final

_HASHES: Final = 2.0**64  # how many values a hash of eight bytes has

_ALL: Final = 2**64 - 1  # the 64 bits that a product is cut to

_FACTORS: Final = (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53)
"""The finalizer of MurmurHash3: 0.3 µs here for a node and a key, half of what a blake2b takes.
Python's own hash of a pair may be another one in the next release or on another machine."""

_WARM: Final = 0x9E3779B97F4A7C15
"""Makes the second hash of a pair another one than the first: the golden ratio in 64 bits."""


def hash_of(text: str | bytes) -> int:
    """Give the 64 bits of a key, the same in every process; a text by its UTF-8."""
    return _hash(text, b"")


def seed_of(node_id: str) -> int:
    """Give the 64 bits of a node's id: others than those of a key with the same text.

    Of equal ones the finalizer would make 0 each time, and such a key were as far as can be.
    """
    return _hash(node_id, b"node")


def _hash(text: str | bytes, person: bytes) -> int:
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return int.from_bytes(blake2b(raw, digest_size=8, person=person).digest(), "big")


def distance(seed: int, key: int, weight: float) -> float:
    """Give how far a node is from a key; the key belongs to the nearest one.

    An exponential variable of the rate `weight`: each node is the nearest to its part of the keys,
    and a node that comes or goes moves only keys of its own. `seed` is the node's `seed_of`.
    """
    return -log((_mixed(seed ^ key) + 0.5) / _HASHES) / weight


def turn(seed: int, key: int) -> float:
    """Give the share of its weight, 0 to 1, from which on a warming node takes a key."""
    return _mixed(_mixed(seed ^ key) ^ _WARM) / _HASHES


def _mixed(bits: int) -> int:
    first, second = _FACTORS
    bits = (bits ^ bits >> 33) * first & _ALL
    bits = (bits ^ bits >> 33) * second & _ALL
    return bits ^ bits >> 33
