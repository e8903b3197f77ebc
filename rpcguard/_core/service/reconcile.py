"""What a snapshot changes in the live list."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar

from rpcguard._core.policies.routing import LANE_KEYS
from rpcguard._core.routing.cells import lane_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from rpcguard._core.nodes.node import Node
    from rpcguard._core.nodes.snapshot import Snapshot
    from rpcguard._core.policies.membership import MembershipPolicy
    from rpcguard._core.service.effects import Kind

_PAUSE_EVERY = 512
"""Nodes between two pauses: about a third of a millisecond of comparing."""
_BREATH: Final = 50e-6
"""Seconds of a pause: any sleep gives the interpreter's lock away, and this is about the least."""
_CHANGES: Final = ("trusted", "added", "replaced", "updated", "removed", "doubted")
_TOLD: Final = ("added", "replaced", "updated", "removed")


T = TypeVar("T")


class KnownNode(Protocol):
    """What `compare` needs to know of a node of the live list."""

    @property
    def node(self) -> Node:
        """Give what the registry last said of the node."""
        ...

    @property
    def leaving(self) -> bool:
        """Tell whether its absence is no news."""
        ...

    @property
    def unseen(self) -> bool:
        """Tell whether nothing but the registry's word keeps it out, which calls it down."""
        ...

    @property
    def doubted_at(self) -> float | None:
        """Give the time since when it is missing."""
        ...


class Moves(NamedTuple):
    """How many nodes that take calls a list has lost and won."""

    lost: int = 0
    """Those that are gone, and that nobody had said would go."""
    left: int = 0
    """Those that are gone, and were known to be on their way out."""
    come: int = 0
    """Those that were not listed."""


_NO_MOVES: Final = Moves()


@dataclass(slots=True)
class Changes:
    """What a snapshot changes."""

    trusted: list[Node] = field(default_factory=list)
    """Doubted nodes that are listed again, changed or not."""
    added: list[Node] = field(default_factory=list)
    """Nodes that were not listed."""
    replaced: list[Node] = field(default_factory=list)
    """Nodes of a new generation or address: nothing that was learned of the old one holds."""
    updated: list[Node] = field(default_factory=list)
    """Nodes of which the registry says something else now."""
    removed: list[str] = field(default_factory=list)
    """Ids of nodes that are gone."""
    doubted: list[str] = field(default_factory=list)
    """Ids of nodes that are left out, and kept for a while."""
    refused: list[Node] = field(default_factory=list)
    """Nodes outside of the networks where nodes may be; they change nothing."""
    moves: Moves = _NO_MOVES
    """How many nodes it has lost and won."""
    emptied: bool | None = None
    """Whether the list is empty; None where the snapshot does not tell."""

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in _CHANGES)

    def parts(self, size: int) -> Iterator[Changes]:
        """Cut the changes into parts of at most `size` changes."""
        for name in _CHANGES:
            items = getattr(self, name)
            for start in range(0, len(items), size):
                part = Changes()
                setattr(part, name, items[start : start + size])
                yield part

    def overlooked(self, listed: int) -> str | None:
        """Say how many of the nodes that came are in lanes, for callers that look at none."""
        count = sum(lane_of(node, LANE_KEYS) is not None for node in self.added)
        return f"{count} of {listed} nodes are in lanes, which are not looked at" if count else None

    def told(self, listed: int, refused: int) -> Iterator[tuple[Kind, str]]:
        """Say in words what it changes; `refused` counts what was refused the last time."""
        counts = [f"{len(getattr(self, name))} {name}" for name in _TOLD if getattr(self, name)]
        if counts:
            yield "changed", f"{', '.join(counts)}; {listed} nodes listed"
        if self.doubted:
            yield "doubted", f"the snapshot lacks {len(self.doubted)} nodes at once"
        if len(self.refused) not in (0, refused):
            first, count = self.refused[0], len(self.refused)
            yield "refused", f"{count} nodes outside of allowed_networks, first {first.address}"


def _is_admitted(node: Node, policy: MembershipPolicy) -> bool:
    if node.uds is not None:  # in no network, whatever host is told beside it
        return policy.allowed_networks is None
    return policy.admits(node.host)


class Losses:
    """How many nodes a list has lost and won in the last seconds, by each snapshot.

    Leases that run out one by one are one loss, and nodes that are replaced are none.
    """

    def __init__(self, span: float) -> None:
        self._span = span
        self._steps: deque[tuple[float, Moves]] = deque()

    def recent(self, now: float) -> Sequence[Moves]:
        """Give what the list has lost and won within the span, the oldest first."""
        steps = self._steps
        while steps and steps[0][0] <= now - self._span:
            steps.popleft()
        return [moves for _, moves in steps]

    def note(self, moves: Moves, now: float) -> None:
        """Take in what one snapshot has lost and won."""
        if any(moves):
            self._steps.append((now, moves))


def _loss(steps: Sequence[Moves]) -> int:
    """Count by how many nodes a list is shorter than it was at most, before these steps or amid.

    Those that left are no loss, and whoever has come in their place no gain. Whoever has come else
    makes up for what was lost before, and for nothing that is lost later.
    """
    most = lost = left = come = 0
    for step in reversed(steps):
        lost, left, come = lost + step.lost, left + step.left, come + step.come
        most = max(most, lost - max(come - left, 0))
    return most


def compare(
    current: Mapping[str, KnownNode],
    snapshot: Snapshot,
    *,
    now: float,
    policy: MembershipPolicy,
    lately: Sequence[Moves] = (),
    filled_at: float = -math.inf,
    gone: Collection[str] = (),
    pause: Callable[[], None] = lambda: None,
) -> Changes:
    """Compare a snapshot with the live list; no node is touched.

    A changed generation or address replaces a node, any other change updates it in place. One that
    is refused counts as missing.

    Args:
        current: The live list by node id.
        snapshot: What the registry says.
        now: The time by the clock of the service.
        policy: How far the registry is believed.
        lately: What the list has lost and won within its `shrink_hold`, the oldest first.
        filled_at: Since when its lists are not empty any more.
        gone: Ids of nodes of which it said alone that it has them no more: no list is doubted
            for lacking them once they are out.
        pause: Called now and then, so that a long list does not keep other threads waiting.
    """
    result = Changes()
    named, serving, come = set(), 0, 0
    for number, node in enumerate(snapshot.nodes, 1):
        if not number % _PAUSE_EVERY:
            pause()
        old = current.get(node.id)
        if (old is None or old.node.address != node.address) and not _is_admitted(node, policy):
            result.refused.append(node)
            continue
        named.add(node.id)
        takes_calls = node.status == "up" and node.weight > 0.0
        serving += takes_calls
        come += takes_calls and _has_come(old, now - policy.shrink_hold)
        _sort_in(result, node, old)
    result.moves = Moves(come=come)
    if snapshot.authoritative:
        result.emptied = not named
        missing = (
            []
            if len(named) == len(current) + len(result.added)
            else _left_out(current, named, pause)
        )
        held = _drop(result, missing, lately=lately, serving=serving, policy=policy, gone=gone)
        if policy.confirm_after is not None and not result.emptied:
            confirmed = now - policy.confirm_after
            result.removed += [key for key, at in held if max(at, filled_at) <= confirmed]
    return result


def _sort_in(result: Changes, node: Node, old: KnownNode | None) -> None:
    if old is None:
        result.added.append(node)
        return
    known = old.node is node or old.node == node
    if not known and not _is_same(old.node, node):
        result.replaced.append(node)
    elif old.doubted_at is not None:
        result.trusted.append(node)
    elif not known:
        result.updated.append(node)


def _has_come(old: KnownNode | None, since: float) -> bool:
    """Tell whether a node was not listed; one that was kept is back while its loss counts."""
    return old is None or (old.doubted_at is not None and old.doubted_at > since)


def let_others_run() -> None:
    """Pause for a moment: a thread that computes keeps the others waiting for 5 ms at a time."""
    time.sleep(_BREATH)


def with_pauses(some: Iterable[T], every: int) -> Iterator[T]:
    """Give things one by one, and let other threads run after every so many."""
    for number, one in enumerate(some, 1):
        yield one
        if not number % every:
            let_others_run()


def _is_same(old: Node, new: Node) -> bool:
    return old.generation == new.generation and old.address == new.address


def _left_out(
    current: Mapping[str, KnownNode], named: set[str], pause: Callable[[], None]
) -> list[KnownNode]:
    missing = []
    for number, (key, old) in enumerate(current.items(), 1):
        if not number % _PAUSE_EVERY:
            pause()
        if key not in named:
            missing.append(old)
    return missing


def _drop(
    result: Changes,
    missing: list[KnownNode],
    *,
    lately: Sequence[Moves],
    serving: int,
    policy: MembershipPolicy,
    gone: Collection[str],
) -> list[tuple[str, float]]:
    """Sort in what a list lacks; give what is doubted already, and since when."""
    fresh, held, lost, left = [], [], 0, 0
    for old in missing:
        key, since = old.node.id, old.doubted_at
        # A registry that has lost sight of the nodes calls them down before it drops them.
        lost_sight = (result.emptied or since is not None) and old.unseen and key not in gone
        left += old.leaving and since is None
        if old.leaving and not lost_sight:
            result.removed.append(key)
        elif since is not None:
            held.append((key, since))
        else:
            fresh.append(key)
            lost += not old.leaving
    result.moves = moves = Moves(lost, left, result.moves.come)
    loss = _loss((*lately, moves))
    doubted = result.emptied or loss > policy.shrink_share * (serving + loss)
    (result.doubted if doubted else result.removed).extend(fresh)
    return held
