"""How a snapshot changes the live list, and when a shrinking one is not believed yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from rpcguard._checks import require_amounts, require_positive, require_shares

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from rpcguard.nodes import Node, Snapshot

_PAUSE_EVERY = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipPolicy:
    """Set how the registry is asked and how far it is believed; all times in seconds.

    The first call of a service waits up to `first_snapshot_timeout`. A registry that pushes is
    asked again in full every `resync_interval`, one that is polled every `poll_interval` or as
    the registry advises. A snapshot that is empty or drops more than `shrink_share` of the list is
    doubted: what it drops stays usable for `shrink_hold`, or until a second snapshot at least
    `confirm_after` later says the same. `cache_dir` keeps the last good snapshots on disk for a
    cold start without a registry.
    """

    first_snapshot_timeout: float = 5.0
    poll_interval: float = 5.0
    resync_interval: float = 60.0
    shrink_hold: float = 60.0
    shrink_share: float = 0.5
    confirm_after: float = 10.0
    cache_dir: str | Path | None = None

    def __post_init__(self) -> None:
        require_amounts(self, "first_snapshot_timeout", "shrink_hold", "confirm_after")
        require_positive(self, "poll_interval", "resync_interval")
        require_shares(self, "shrink_share")


class Listed(Protocol):
    """Say what the plan needs to know of a node of the live list."""

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
class Plan:
    """Hold what a snapshot changes.

    `trusted` are doubted nodes that are listed again, changed or not, `confirmed` those that a
    second snapshot leaves out too.
    """

    trusted: list[Node] = field(default_factory=list)
    added: list[Node] = field(default_factory=list)
    replaced: list[Node] = field(default_factory=list)
    updated: list[Node] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    confirmed: list[str] = field(default_factory=list)
    doubted: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)

    @property
    def news(self) -> bool:
        """Tell whether the snapshot says something that no snapshot before it has said."""
        return any(getattr(self, name) for name in self.__slots__ if name != "confirmed")

    def parts(self, size: int) -> Iterator[Plan]:
        """Cut the plan into plans of at most `size` changes."""
        for name in self.__slots__:
            items = getattr(self, name)
            for start in range(0, len(items), size):
                part = Plan()
                setattr(part, name, items[start : start + size])
                yield part


def plan(
    current: Mapping[str, Listed],
    snapshot: Snapshot,
    believed: int,
    *,
    now: float,
    policy: MembershipPolicy,
    pause: Callable[[], None] = lambda: None,
) -> Plan:
    """Compare a snapshot with the live list; no node is touched.

    A changed generation or address replaces a node, any other change updates it in place.
    `believed` counts the listed nodes that are neither leaving nor doubted. `pause` is called now
    and then, so that a long list does not keep other threads waiting.
    """
    result = Plan()
    named, matched = set(), 0
    for number, node in enumerate(snapshot.nodes, 1):
        if not number % _PAUSE_EVERY:
            pause()
        named.add(node.id)
        old = current.get(node.id)
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


def _is_same(old: Node, new: Node) -> bool:
    return old.generation == new.generation and old.address == new.address


def _drop(
    result: Plan,
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
