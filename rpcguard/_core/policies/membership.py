"""How the registry is asked, and how far it is believed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from os import PathLike
from typing import TYPE_CHECKING, Final, cast

from rpcguard._checks import is_whole, require, require_amounts, require_positive, require_shares

if TYPE_CHECKING:
    from pathlib import Path

_IPV4_IN_IPV6: Final = IPv6Network("::ffff:0:0/96")
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipPolicy:
    """Set how the registry is asked and how far it is believed; all times in seconds.

    The first call of a service waits up to `first_snapshot_timeout`. A registry that pushes is
    asked again in full every `resync_interval`, one that is polled every `poll_interval` or as
    the registry advises. A list that is empty, or by more than `shrink_share` shorter than
    `shrink_hold` ago, is doubted: what it drops stays for `shrink_hold`, as the last resort while
    what is listed is usable. On the word of an empty list nodes that answer stay for `empty_hold`.
    `cache_dir` keeps the last good snapshots on disk for a cold start without a registry.

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
    empty_hold: float = 3600.0
    cache_dir: str | Path | None = None
    allowed_networks: Iterable[str | Network] | None = None
    max_services: int = 2048
    """Services that a transport follows at once, for names may come from URLs that somebody else
    chooses: one more, and the one that was called longest ago is forgotten, with a warning."""
    cache_files: int = 512
    """Files that are kept in `cache_dir`: one more, and the oldest is deleted."""

    def __post_init__(self) -> None:
        if self.allowed_networks is not None:
            object.__setattr__(self, "allowed_networks", _networks(self.allowed_networks))
        require_amounts(self, "first_snapshot_timeout", "shrink_hold", "empty_hold")
        require_positive(self, "poll_interval", "resync_interval")
        require_shares(self, "shrink_share")
        for name in ("max_services", "cache_files"):
            value = getattr(self, name)
            require(name, value, "a whole number above 0", is_whole(value, least=1))
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
