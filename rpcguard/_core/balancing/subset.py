"""A few nodes of many, for one caller."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

from rpcguard._core.balancing.rendezvous import distance, seed_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from rpcguard._core.balancing.base import Balancer
    from rpcguard._core.nodes.live import LiveNode

T = TypeVar("T")

_WORTH_IT: Final = 2
"""Times its size that the nodes must be, or a subset saves hardly a connection (as in Finagle)."""

OUTSIDE: Final = "outside of the subset"
"""How a node is shown that can be picked, and is not unless none of the others is left."""

EXTENDED: Final = "outside of the subset, of which none was left"
"""Why such a node was picked, for `explain`."""


def chosen(order: Sequence[T], size: int, instance: tuple[int, int] = (0, 1)) -> list[T]:
    """Choose `size` of the nodes in order, or all where they are fewer than twice as many.

    The callers, each `(index, total)`, begin evenly spaced on the ring of the nodes, so that
    each node is chosen as often as any other, but for one (Finagle's deterministic aperture). A
    node that comes or goes moves two others at most.
    """
    count, (index, total) = len(order), instance
    if count < _WORTH_IT * size:
        return list(order)
    first = index * count // total
    found = list(order[first : first + size])
    return found + list(order[: size - len(found)])


class Subsetting:
    """The balancer that leaves a few of many nodes to one balancer, and the rest to another.

    The rest is asked where the first has none that is not excluded, so nothing that is eligible is
    out of reach. `seed` and the ids make the order, by rendezvous hashing; weights have no say in
    it, since each balancer goes by them: with both, a node of twice the weight had four times the
    calls. `outside` are the nodes of the rest. `why` says what decided the last pick.
    """

    considered: tuple[tuple[LiveNode, float], ...]

    def __init__(
        self,
        new_balancer: Callable[[], Balancer],
        *,
        size: int,
        seed: int,
        instance: tuple[int, int] = (0, 1),
    ) -> None:
        self.considered = ()
        self.why: str = ""
        self.outside: dict[LiveNode, None] = {}
        self._few = new_balancer()
        self._rest = new_balancer()
        self._inside: dict[LiveNode, None] = {}
        self._order: list[tuple[float, str, LiveNode]] = []
        self._found: list[tuple[float, str, LiveNode]] = []
        self._size = size
        self._seed = seed
        self._instance = instance

    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot pickle a balancer, which is of this process: pass its class")

    def __len__(self) -> int:
        return len(self._order)

    def add(self, live: LiveNode) -> None:
        """Take a node in, and into the subset if it is one of the first."""
        insort(self._order, (*self._key_of(live), live))
        self._put_outside(live)
        self._choose()

    def remove(self, live: LiveNode) -> None:
        """Remove a node; the next in order stands in for one of the subset."""
        del self._order[bisect_left(self._order, self._key_of(live))]
        if live in self._inside:
            self._take_from_inside(live)
        else:
            self._take_from_outside(live)
        self._choose()

    def pick(self, now: float, excluded: Collection[LiveNode] = ()) -> LiveNode | None:
        """Pick a node of the subset, or of the rest where none of it is left."""
        live = self._few.pick(now, excluded)
        if live is not None:
            self.considered, self.why = self._few.considered, getattr(self._few, "why", "")
            return live
        live = self._rest.pick(now, excluded)
        self.considered, self.why = self._rest.considered, EXTENDED
        return live

    def _key_of(self, live: LiveNode) -> tuple[float, str]:
        name = live.node.id
        return distance(seed_of(name), self._seed, 1.0), name

    def _choose(self) -> None:
        found = chosen(self._order, self._size, self._instance)
        if found == self._found:  # mostly, and seen at once: the entries are the same objects
            return
        self._found = found
        wanted = dict.fromkeys(live for *_, live in found)
        for live in [one for one in self._inside if one not in wanted]:
            self._take_from_inside(live)
            self._put_outside(live)
        for live in wanted:
            if live not in self._inside:
                self._take_from_outside(live)
                self._put_inside(live)

    def _put_inside(self, live: LiveNode) -> None:
        self._few.add(live)
        self._inside[live] = None

    def _take_from_inside(self, live: LiveNode) -> None:
        self._few.remove(live)
        del self._inside[live]

    def _put_outside(self, live: LiveNode) -> None:
        self._rest.add(live)
        self.outside[live] = None
        live.outside = True

    def _take_from_outside(self, live: LiveNode) -> None:
        self._rest.remove(live)
        del self.outside[live]
        live.outside = False
