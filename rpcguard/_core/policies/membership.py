"""How the registry is asked, and how far it is believed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from os import PathLike
from pathlib import Path
from typing import Final, cast

from rpcguard._checks import (
    is_amount,
    is_whole,
    require,
    require_amounts,
    require_positive,
    require_shares,
)

_IPV4_IN_IPV6: Final = IPv6Network("::ffff:0:0/96")
Network = IPv4Network | IPv6Network


OVERPROVISION: Final = 1.4
"""How much more than its part a level of priority bears with xDS: the protocol's default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipPolicy:
    """How the registry is asked, and how far it is believed; all times in seconds."""

    first_snapshot_timeout: float = 5.0
    """Seconds that the first call of a service waits for its list; later ones never do. As long as
    httpx waits for a connection."""
    poll_interval: float = 5.0
    """Seconds between two polls, unless the registry pushes or advises another pause: failures are
    noticed by the calls, so the list only has to bring new nodes soon."""
    resync_interval: float = 60.0
    """Seconds after which a registry that pushes is asked in full as well: a push gets lost seldom,
    and a full list costs the registry more."""
    shrink_hold: float = 60.0
    """Seconds within which losses count as one, and for which doubted nodes are kept, as the last
    resort while listed ones are usable: a minute is what most registries take to be whole again."""
    shrink_share: float = 0.5
    """A list that became shorter by more than this share, 0 to 1, is doubted: releases restart less
    than half of a service at once, and a registry that is broken forgets more."""
    confirm_after: float | None = None
    """Seconds after which a doubted node that is left out again is gone, although others are
    listed; None waits for the whole `shrink_hold`, for a registry that is broken repeats itself."""
    empty_hold: float = 3600.0
    """Seconds for which nodes that answer are kept on the word of an empty list. Over plain HTTP a
    call or a probe has to be answered each minute, since addresses are given to others. An hour is
    time to mend a registry; for ever would hide that a service was put away."""
    cache_dir: str | Path | None = None
    """Where the last good lists are kept, for a cold start without a registry; None for nowhere."""
    allowed_networks: Iterable[str | Network] | None = None
    """The only networks in which a node may be, such as `["10.0.0.0/8"]`; None allows any. Whatever
    is listed elsewhere is left out with a warning, and so is a node that is named by a host name,
    `localhost` included: a name may lead anywhere, and elsewhere at the next look; or by the path
    of a socket. An IPv4 address in IPv6 (`::ffff:10.0.0.1`) counts as the IPv4 address."""
    overprovision: float | None = None
    """How much more than its part a level of priority bears: with 1.4, Envoy's value, it begins to
    give calls to the next one when less than 1 / 1.4 of its weight is usable. With 0 it keeps them
    all while it has a node (RFC 2782), so that a standby site stays one. None is what the protocol
    of the registry means by a priority: 1.4 for xDS, 0 for all others."""
    max_services: int = 2048
    """Services that a transport follows at once, for names may come from URLs that somebody else
    chooses: one more, and the one that was called longest ago is forgotten, with a warning. Far
    more than a program calls by itself."""
    cache_files: int = 512
    """Files that are kept in `cache_dir`: one more, and the oldest is deleted. More services than
    most programs call, and a few MB."""
    metric_names: int = 1000
    """Services, and pairs of a service and a port, that metrics tell apart; the others are
    `_OTHER`, since each is a time series that an SDK and its back-end keep for good. The
    transports of one meter provider have the largest of theirs; more than most programs call."""

    def __post_init__(self) -> None:
        if self.allowed_networks is not None:
            object.__setattr__(self, "allowed_networks", _networks(self.allowed_networks))
        require_amounts(self, "first_snapshot_timeout", "shrink_hold", "empty_hold")
        require_positive(self, "poll_interval", "resync_interval")
        patience = self.confirm_after
        good = patience is None or is_amount(patience)
        require("confirm_after", patience, "seconds or None", good)
        require_shares(self, "shrink_share")
        over = self.overprovision
        good = over is None or (is_amount(over) and (over == 0 or over >= 1))
        require("overprovision", over, "0, or a number of at least 1, or None", good)
        for name in ("max_services", "cache_files", "metric_names"):
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
