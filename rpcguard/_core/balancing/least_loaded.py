"""The less loaded of two nodes; the default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rpcguard._core.balancing.least_requests import LeastRequests

if TYPE_CHECKING:
    from rpcguard._core.nodes.live import LiveNode


class LeastLoaded(LeastRequests):
    """The balancer that picks the less loaded of two nodes drawn by weight; the default.

    `LeastRequests`, and latency where it tells nodes apart. A node whose last answer was far slower
    than is usual lets 5 turns pass, after more of them up to 64, and is tried after some seconds at
    the latest. Where its average is apart from the others' by more than calls differ, each of its
    calls counts as so many as it is slower. Nodes nearer than that are equal: there, latency is
    noise. O(1), at any number of nodes.
    """

    considered: tuple[tuple[LiveNode, float], ...]
    _compares = True
