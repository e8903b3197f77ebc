"""A configuration file as a document: what it says, checked like what stands in code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from rpcguard._checks import require, require_unseen
from rpcguard._config.options import CHECKS, LIMITS, check_one, unknown
from rpcguard._core.balancing.least_loaded import LeastLoaded
from rpcguard._core.balancing.least_requests import LeastRequests
from rpcguard._core.balancing.random import Random
from rpcguard._core.balancing.round_robin import RoundRobin
from rpcguard._core.policies.bundle import OPTIONS
from rpcguard._core.policies.incidents import Incident, incidents_of
from rpcguard._core.policies.overload import Adaptive, Throttle
from rpcguard._core.policies.overrides import Overrides, by_host_name
from rpcguard._core.routing.documents import routes_of

if TYPE_CHECKING:
    from collections.abc import Callable

_BALANCERS: Final = {
    kind.__name__: kind for kind in (LeastLoaded, LeastRequests, RoundRobin, Random)
}
_OF_CODE: Final = (
    *("node_transport", "socket_options", "on_event", "tracer_provider", "meter_provider"),
    "config",
)
"""Options that only code can say: they are objects of the program."""

_PARTS: Final = {"throttle": Throttle, "adaptive": Adaptive}
"""Fields that are tables of their own."""

_LIMITS: Final = {"max_connections": 100, "keepalive_expiry": 4.0}
"""The transport's own limits, for what a table does not say: httpx has none at all."""

KEYS: Final = frozenset({"registry", "balancer", "services", "incident", *OPTIONS, *CHECKS}) - {
    *_OF_CODE
}


@dataclass(frozen=True, slots=True)
class ConfigDocument:
    """What a configuration file says."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """The options of a transport, as the constructor takes them."""
    services: Mapping[str, Overrides] = field(default_factory=dict)
    """What single services have otherwise."""
    incidents: tuple[Incident, ...] = ()
    """The switches that are turned."""
    said: frozenset[str] = frozenset()
    """What stands there, as dotted names such as `retry.attempts`."""


def read(
    document: object, where: str, *, written_at: float, limits: Callable[..., object]
) -> ConfigDocument:
    """Read a document whole; `limits` makes the `Limits` of the caller's library.

    Raises `ValueError` naming the file, the key, the value and a right form.
    """
    try:
        require_unseen("it", document, "a table of options", isinstance(document, Mapping))
        assert isinstance(document, Mapping)
        return _read(document, written_at, limits)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"config {where}: {error}") from None


def _read(
    given: Mapping[str, Any], written_at: float, limits: Callable[..., object]
) -> ConfigDocument:
    services = given.get("services", {})
    require("services", services, "a table of tables", _is_tables(services))
    services = by_host_name(services)
    options = {
        name: _option(name, value, limits)
        for name, value in given.items()
        if name not in ("services", "incident")
    }
    spoken = options.get("http1", True) or options.get("http2", False)
    require("http1", False, "true, or http2 with it: nothing else is spoken", spoken)
    return ConfigDocument(
        options,
        {name: _overrides(name, table) for name, table in services.items()},
        incidents_of(given["incident"], written_at) if "incident" in given else (),
        frozenset(_names({**given, "services": services} if services else given)),
    )


def _is_tables(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(one, Mapping) for one in value.values())


def _names(table: Mapping[str, Any], before: str = "") -> list[str]:
    found = []
    for key, value in table.items():
        found.append(f"{before}{key}")
        if isinstance(value, Mapping):
            found += _names(value, f"{before}{key}.")
    return found


def _option(name: str, value: Any, limits: Callable[..., object]) -> object:
    if name in _OF_CODE:
        raise ValueError(f"{name} is an object of the program, and cannot stand in a file")
    if name in OPTIONS:
        return _policy(name, value)
    if name == "balancer":
        return _balancer(value)
    if name == "registry":
        wanted = "a URL such as consul://127.0.0.1:8500"
        require_unseen(name, value, wanted, isinstance(value, str))
        return value
    if name == "limits":
        require(name, value, "a table such as { max_connections = 50 }", isinstance(value, Mapping))
        for key in value:
            if key not in LIMITS:
                raise ValueError(unknown(key, LIMITS, name, in_code=False))
        value = limits(**{**_LIMITS, **value})
    if name not in CHECKS:
        raise ValueError(unknown(name, KEYS, "it", in_code=False))
    check_one(name, value)
    return value


def _balancer(value: object) -> object:
    names = ", ".join(_BALANCERS)
    require("balancer", value, f"one of {names}", isinstance(value, str) and value in _BALANCERS)
    return _BALANCERS[str(value)]


def _policy(name: str, value: object) -> object:
    if value is False:
        return False
    wanted = f"a table of fields, or false to switch it off; in code it is {OPTIONS[name].example}"
    require(name, value, wanted, isinstance(value, Mapping))
    return _made(OPTIONS[name].kind, name, value)


def _made(kind: type, where: str, table: Any) -> object:
    known = {one.name for one in fields(kind)}
    for key in table:
        if key not in known:
            raise ValueError(unknown(key, known, where, in_code=False))
    try:
        return kind(**{key: _field(key, value, table) for key, value in table.items()})
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _field(key: str, value: object, table: Mapping[str, Any]) -> object:
    if key == "rules":
        return routes_of({"routes": value}, may_fail=table.get("may_fail") is True)
    if key in _PARTS and isinstance(value, Mapping):
        return _made(_PARTS[key], key, value)
    return value


def _overrides(service: str, table: Mapping[str, Any]) -> Overrides:
    known = {one.name for one in fields(Overrides)}
    where = f"services.{service}"
    for name in table:
        if name not in known:
            raise ValueError(unknown(name, known, where, in_code=False))
    try:
        given: dict[str, Any] = {
            name: _balancer(value) if name == "balancer" else _policy(name, value)
            for name, value in table.items()
        }
        return Overrides(**given)
    except ValueError as error:
        raise ValueError(f"{where}.{error}") from None
