"""What a snapshot changes in the live list."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from rpcguard._core.policies.routing import LANE_KEYS
from rpcguard._core.routing.cells import lane_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from rpcguard._core.nodes.node import Node
    from rpcguard._core.nodes.snapshot import Snapshot
    from rpcguard._core.policies.membership import MembershipPolicy
    from rpcguard._core.service.effects import Kind

_PAUSE_EVERY = 512
_BREATH: Final = 50e-6
_CHANGES: Final = ("trusted", "added", "replaced", "updated", "removed", "confirmed", "doubted")
_TOLD: Final = ("added", "replaced", "updated", "removed", "confirmed")


class Listed(Protocol):
    """Say what `compare` needs to know of a node of the live list."""

    @property
    def node(self) -> Node:
        """Give what the registry last said of the node."""
        ...

    @property
    def leaving(self) -> bool:
        """Tell whether its absence is no news."""
        ...

    @property
    def doubted_at(self) -> float | None:
        """Give the time since when it is missing."""
        ...


@dataclass(slots=True)
class Changes:
    """Hold what a snapshot changes.

    `trusted` are doubted nodes that are listed again, changed or not, `confirmed` those that a
    second snapshot leaves out too. `refused` are outside of the networks where nodes may be, and
    change nothing.
    """

    trusted: list[Node] = field(default_factory=list)
    added: list[Node] = field(default_factory=list)
    replaced: list[Node] = field(default_factory=list)
    updated: list[Node] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    confirmed: list[str] = field(default_factory=list)
    doubted: list[str] = field(default_factory=list)
    refused: list[Node] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in _CHANGES)

    @property
    def news(self) -> bool:
        """Tell whether the snapshot says something that no snapshot before it has said."""
        return any(getattr(self, name) for name in _CHANGES if name != "confirmed")

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


def compare(
    current: Mapping[str, Listed],
    snapshot: Snapshot,
    believed: int,
    *,
    now: float,
    policy: MembershipPolicy,
    pause: Callable[[], None] = lambda: None,
) -> Changes:
    """Compare a snapshot with the live list; no node is touched.

    A changed generation or address replaces a node, any other change updates it in place. One that
    is refused counts as missing.
    `believed` counts the listed nodes that are neither leaving nor doubted. `pause` is called now
    and then, so that a long list does not keep other threads waiting.
    """
    result = Changes()
    named, matched = set(), 0
    for number, node in enumerate(snapshot.nodes, 1):
        if not number % _PAUSE_EVERY:
            pause()
        old = current.get(node.id)
        if (old is None or old.node.host != node.host) and not policy.admits(node.host):
            result.refused.append(node)
            continue
        named.add(node.id)
        if old is None:
            result.added.append(node)
            continue
        matched += 1
        known = old.node is node or old.node == node
        if not known and not _is_same(old.node, node):
            result.replaced.append(node)
        elif old.doubted_at is not None:
            result.trusted.append(node)
        elif not known:
            result.updated.append(node)
    if snapshot.authoritative and matched < len(current):
        missing = []
        for number, (key, old) in enumerate(current.items(), 1):
            if not number % _PAUSE_EVERY:
                pause()
            if key not in named:
                missing.append(old)
        _drop(result, missing, now, policy, none_left=not named, believed=believed)
    return result


def let_others_run() -> None:
    """Pause for a moment: a thread that computes keeps the others waiting for 5 ms at a time."""
    time.sleep(_BREATH)


def _is_same(old: Node, new: Node) -> bool:
    return old.generation == new.generation and old.address == new.address


def _drop(
    result: Changes,
    missing: Iterable[Listed],
    now: float,
    policy: MembershipPolicy,
    *,
    none_left: bool,
    believed: int,
) -> None:
    unexplained = []
    for old in missing:
        if old.leaving:
            result.removed.append(old.node.id)
        elif old.doubted_at is None:
            unexplained.append(old.node.id)
        elif now - old.doubted_at >= policy.confirm_after:
            result.confirmed.append(old.node.id)
    shrunk = len(unexplained) > believed * policy.shrink_share
    (result.doubted if shrunk or none_left else result.removed).extend(unexplained)
