"""What Dubbo's rules have in common, and the names under which they are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from rpcguard._checks import require

GROUP: Final = "dubbo"
"""The group of Dubbo's rules in a configuration centre."""

TAGS: Final = ".tag-router"
CONDITIONS: Final = ".condition-router"
"""What follows the name of an application or interface in the name of its rule."""

_COMMON: Final = (
    *("configVersion", "scope", "force", "runtime", "enabled", "priority", "key", "valid"),
    *("dynamic", "rawRule", "version", "service", "application"),
)
"""Keys that each rule may have; what is not read of them orders or caches Dubbo's own routers."""

_PATTERN: Final = "*~$|"
"""Characters of Dubbo's patterns: any text, ranges, values of the caller."""


def known(
    rule: Mapping[str, object],
    keys: Sequence[str],
    *,
    name: str,
    common: bool = True,
) -> None:
    """Raise `ValueError` for a key that is not known."""
    allowed = (*_COMMON, *keys) if common else tuple(keys)
    for key in rule:
        require(f"{name}: key", key, f"one of {', '.join(allowed)}", key in allowed)


def flag_of(rule: Mapping[str, object], key: str, *, default: bool, name: str) -> bool:
    """Read a flag as Dubbo does, as a word too."""
    said = rule.get(key)
    if said is None:
        return default
    word = str(said).lower()
    require(f"{name}: {key}", said, "true or false", word in ("true", "false"))
    return word == "true"


def listed(rule: Mapping[str, object], key: str, *, name: str) -> Sequence[object]:
    """Read a list; none is an empty one."""
    said = rule.get(key)
    if said is None:
        return ()
    require(f"{name}: {key}", said, "a list", isinstance(said, list))
    assert isinstance(said, list)
    return said


def mapped(said: object, *, name: str) -> Mapping[str, object]:
    """Read a mapping."""
    require(name, said, "a mapping", isinstance(said, Mapping))
    assert isinstance(said, Mapping)
    return said


def of_addresses(addresses: Sequence[str], *, name: str) -> dict[str, tuple[str, ...]]:
    """Give the condition on nodes that a list of addresses is: hosts, `host:port` or `*:port`."""
    kinds = {_kind_of(one) for one in addresses}
    wanted = "plain hosts, all host:port, or all *:port"
    good = len(kinds) == 1 and None not in kinds
    require(name, ",".join(addresses), wanted, good)
    (kind,) = kinds
    return {str(kind): tuple(one.removeprefix("*:") for one in addresses)}


def _kind_of(address: str) -> str | None:
    port = address.removeprefix("*:")
    if port != address:
        return "port" if port.isdigit() else None
    if not is_plain(address) or "/" in address:
        return None
    host, colon, port = address.rpartition(":")
    ported = colon and port.isdigit() and (":" not in host or host.endswith("]"))
    return "address" if ported else "host"


def is_plain(text: str) -> bool:
    """Tell whether a text is no pattern of Dubbo's."""
    return bool(text) and not any(one in text for one in _PATTERN)
