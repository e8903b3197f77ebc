"""Which calls belong together, and how far they stay on one node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rpcguard._checks import is_amount, is_whole, require
from rpcguard._core.policies.parts import is_part

_PARTS: Final = ("header", "cookie", "query")
_WANTED: Final = "header.NAME, cookie.NAME or query.NAME"


@dataclass(frozen=True, slots=True, kw_only=True)
class Affinity:
    """Which calls belong together, so that those of one key go to one node.

    A key belongs to a node by the hash of both (weighted rendezvous hashing, Thaler and Ravishankar
    1998), the same in every process; a node counts by its id, not by its address. Without a key a
    call goes to whichever node the balancer picks. `extensions["rpcguard"]["key"]` of a call goes
    before `by`, and an empty key is none.
    """

    by: str = "header.x-session-id"
    """What a call brings along as its key: `header.NAME`, `cookie.NAME` or `query.NAME`. The
    default is the header that vLLM's router and others take."""

    balance: float = 1.5
    """How many times its part of the calls in flight a node may have; a key whose node has more
    goes to the next one. SGLang settled on 1.5; what counts are the calls of this process."""

    least: int = 2
    """Calls in flight that a node may always have: a client has mostly none or one, and by the mean
    alone two parallel calls of one session would go to two nodes."""

    def __post_init__(self) -> None:
        require("by", self.by, _WANTED, is_part(self.by, _PARTS))
        balance = self.balance
        require(
            "balance", balance, "a finite number, 1 or more", is_amount(balance) and balance >= 1
        )
        require("least", self.least, "a whole number, 1 or more", is_whole(self.least, least=1))
