"""How a snapshot changes the live list, and when a shrinking one is not believed yet."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from os import PathLike
from typing import TYPE_CHECKING, Final, Protocol, cast

from rpcguard._checks import require, require_amounts, require_positive, require_shares

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from rpcguard.events import Kind
    from rpcguard.nodes import Node, Snapshot

_PAUSE_EVERY = 512
_BREATH: Final = 50e-6
_CHANGES: Final = ("trusted", "added", "replaced", "updated", "removed", "confirmed", "doubted")
_TOLD: Final = ("added", "replaced", "updated", "removed", "confirmed")
_IPV4_IN_IPV6: Final = IPv6Network("::ffff:0:0/96")

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipPolicy:
    """Set how the registry is asked and how far it is believed; all times in seconds.

    The first call of a service waits up to `first_snapshot_timeout`. A registry that pushes is
    asked again in full every `resync_interval`, one that is polled every `poll_interval` or as
    the registry advises. A snapshot that is empty or drops more than `shrink_share` of the list is
    doubted: what it drops stays usable for `shrink_hold`, or until a second snapshot at least
    `confirm_after` later says the same. `cache_dir` keeps the last good snapshots on disk for a
    cold start without a registry.

    `allowed_networks` are the only networks in which a node may be, such as `["10.0.0.0/8"]`; None
    allows any. Whatever the registry lists elsewhere is left out with a warning, and so is a node
    that is named by a host name, `localhost` included: a name may lead anywhere, and elsewhere at
    the next look. An IPv4 address in IPv6 (`::ffff:10.0.0.1`) counts as the IPv4 address.
    """

    first_snapshot_timeout: float = 5.0
    poll_interval: float = 5.0
    resync_interval: float = 60.0
    shrink_hold: float = 60.0
    shrink_share: float = 0.5
    confirm_after: float = 10.0
    cache_dir: str | Path | None = None
    allowed_networks: Iterable[str | Network] | None = None

    def __post_init__(self) -> None:
        if self.allowed_networks is not None:
            object.__setattr__(self, "allowed_networks", _networks(self.allowed_networks))
        require_amounts(self, "first_snapshot_timeout", "shrink_hold", "confirm_after")
        require_positive(self, "poll_interval", "resync_interval")
        require_shares(self, "shrink_share")
        directory = self.cache_dir
        usable = directory is None or isinstance(directory, (str, PathLike))
        require("cache_dir", directory, "a path or None", usable)

    def admits(self, host: str) -> bool:
        """Tell whether a node may be at this host."""
        if self.allowed_networks is None:
            return True
        try:
            address = ip_address(host)
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        networks = cast("tuple[Network, ...]", self.allowed_networks)
        return any(address in network for network in networks)


def _networks(given: object) -> tuple[Network, ...]:
    networks: list[Network] = []
    if isinstance(given, Iterable) and not isinstance(given, (str, bytes)):
        networks = [_network(one) for one in given]
    wanted = 'networks such as ["10.0.0.0/8", "fd00::/8"], at least one'
    require("allowed_networks", given, wanted, networks)
    return tuple(networks)


def _network(one: str | Network) -> Network:
    try:
        network = ip_network(one)
    except ValueError as error:
        raise ValueError(f"allowed_networks: {error}") from None
    mapped = isinstance(network, IPv6Network) and network.subnet_of(_IPV4_IN_IPV6)
    require("allowed_networks", one, "written as IPv4 where it is that", not mapped)
    return network


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

    def parts(self, size: int) -> Iterator[Plan]:
        """Cut the plan into plans of at most `size` changes."""
        for name in _CHANGES:
            items = getattr(self, name)
            for start in range(0, len(items), size):
                part = Plan()
                setattr(part, name, items[start : start + size])
                yield part

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

    A changed generation or address replaces a node, any other change updates it in place. One that
    is refused counts as missing.
    `believed` counts the listed nodes that are neither leaving nor doubted. `pause` is called now
    and then, so that a long list does not keep other threads waiting.
    """
    result = Plan()
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
