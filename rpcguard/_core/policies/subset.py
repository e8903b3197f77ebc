"""How many of a service's nodes one caller uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rpcguard._checks import is_whole, require

_INSTANCE: Final = "(index, total), which of how many callers this is, such as (0, 12)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """How many of a service's nodes one caller uses, where there are far more than it needs.

    A node's connections fall from one of each caller to one of each that has it in its subset, and
    a caller learns sooner of the nodes that it calls. The nodes are put in an order of the caller's
    own by rendezvous hashing (Thaler and Ravishankar 1998) of their ids, and the first of them that
    can be picked are used; where one is out, the next stands in. The others are called where none
    of these is left: tried, or full. Lanes and the groups of routes are never cut, and a key goes
    to its node wherever that is.
    """

    size: int = 20
    """Nodes of one priority, and of either side of the caller's zone. All are used while there are
    fewer than twice as many. Finagle has 12 at least, and Google 20 to 100 ("Site Reliability
    Engineering", chapter 20): the fewer, the more a burst of one caller weighs on each."""

    instance: tuple[int, int] | None = None
    """Which one this caller is of how many, from 0, among those of its zone. None draws the order
    at random for each process: of 1,000 callers with 20 of 100 nodes the busiest node has 1.4 times
    those of the idlest. With it, as Finagle's deterministic aperture, all have as many."""

    def __post_init__(self) -> None:
        require("size", self.size, "a whole number, 1 or more", is_whole(self.size, least=1))
        one = self.instance
        require("instance", one, _INSTANCE, one is None or _is_instance(one))
        if one is not None:
            object.__setattr__(self, "instance", tuple(one))


def _is_instance(given: object) -> bool:
    match given:
        case (int(index), int(total)):
            return is_whole(index) and is_whole(total) and index < total
    return False
