"""What each option of a transport takes, and what is said to whoever gives something else."""

from __future__ import annotations

import inspect
import ipaddress
import ssl
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from rpcguard._checks import is_amount, is_several, is_whole, require, require_unseen
from rpcguard._core.policies.bundle import OPTIONS, policy_of

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITS: Final = ("max_connections", "max_keepalive_connections", "keepalive_expiry")

_OF_CLIENT: Final = "is an option of the client: httpx.Client(transport=transport, {name}=...)"

_ELSEWHERE: Final = {
    "retries": "is called retry here, such as retry=RetryPolicy(attempts=3)",
    "uds": "is a node here: static:///orders=unix:/run/orders.sock",
    "proxy": "is for one address; a node's transport may have one: node_transport=...",
    **dict.fromkeys(("timeout", "base_url", "headers", "auth", "follow_redirects"), _OF_CLIENT),
}
"""Options of httpx that are called otherwise here, or belong elsewhere."""


def _is_switch(value: object) -> bool:
    return isinstance(value, bool)


def _is_verify(value: object) -> bool:
    return isinstance(value, bool | str | ssl.SSLContext)


def _is_cert(value: object) -> bool:
    if value is None or isinstance(value, str):
        return True
    parts = value if isinstance(value, tuple | list) else ()
    return len(parts) in (2, 3) and all(isinstance(part, str | None) for part in parts)


def _is_limits(value: object) -> bool:
    # By what it has: httpx and httpx2 have a class each, and are alike. Neither checks it.
    if value is None:
        return True
    if not all(hasattr(value, name) for name in LIMITS):
        return False
    *counts, expiry = (getattr(value, name) for name in LIMITS)
    whole = all(count is None or is_whole(count) for count in counts)
    return whole and (expiry is None or is_amount(expiry))


def _is_address(value: object) -> bool:
    if value is None:
        return True
    try:
        return isinstance(value, str) and bool(ipaddress.ip_address(value))
    except ValueError:
        return False


def _is_listener(value: object) -> bool:
    # What a coroutine function gives would be awaited by nobody.
    call = getattr(value, "__call__", None)  # noqa: B004
    several = map(inspect.iscoroutinefunction, (value, call))
    return value is None or (callable(value) and not any(several))


def _is_socket_options(value: object) -> bool:
    if value is None:
        return True
    if not isinstance(value, Collection):  # what can be gone through once is not gone through here
        return isinstance(value, Iterable)
    return not isinstance(value, str | bytes | Mapping) and is_several(value, tuple)


def _is_names(value: object) -> bool:
    if value is None:
        return True
    if not isinstance(value, Mapping):
        return False
    return is_several([*value, *value.values()], str) and all(value.values())


def _has(method: str) -> Callable[[object], bool]:
    return lambda value: value is None or callable(getattr(value, method, None))


CHECKS: Final[dict[str, tuple[str, Callable[[Any], bool]]]] = {
    "drain_timeout": ("seconds, 0 or more", is_amount),
    "unknown_service": (
        "error or direct",
        lambda value: isinstance(value, str) and value in ("error", "direct"),
    ),
    "names": ('a mapping such as {"orders": "SHOP@@Orders"}', _is_names),
    "verify": ("True, False, an ssl.SSLContext or the path of a PEM file as a text", _is_verify),
    "cert": ('the path of a PEM file, or ("cert.pem", "key.pem"), as texts', _is_cert),
    "trust_env": ("True or False", _is_switch),
    "http1": ("True or False", _is_switch),
    "http2": ("True or False", _is_switch),
    "limits": (
        "of the class Limits, of numbers, such as httpx.Limits(max_connections=10)",
        _is_limits,
    ),
    "local_address": (
        'an IP address as a text, such as "10.0.0.1", or None',
        _is_address,
    ),
    "socket_options": (
        "some tuples, such as [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]",
        _is_socket_options,
    ),
    "on_event": ("called with an Event, and not awaited", _is_listener),
    "tracer_provider": ("what has `get_tracer`, or None", _has("get_tracer")),
    "meter_provider": ("what has `get_meter`, or None", _has("get_meter")),
}
"""What the options take that set no policy; those that do are in `policies.bundle.OPTIONS`."""


SECRET: Final = frozenset({"cert"})
"""Options that may hold a password, here that of a key: a wrong one is not quoted."""


def check(options: Mapping[str, Any], known: Collection[str], where: str) -> None:
    """Check the options of a transport; `where` says who takes them.

    Raises `TypeError` for a name that is no option, with the one that is meant, and `ValueError`
    for a value of another kind, with a right one.
    """
    for name in options:
        if name not in known:
            raise TypeError(unknown(name, known, where))
    for name, value in options.items():
        if name in OPTIONS:
            policy_of(name, value)
        elif name in CHECKS:
            check_one(name, value)
    spoken = options.get("http1", True) or options.get("http2", False)
    require("http1", False, "True, or http2 with it: nothing else is spoken", spoken)


def check_one(name: str, value: object) -> None:
    """Check an option of `CHECKS`, in code or in a file."""
    wanted, good = CHECKS[name]
    (require_unseen if name in SECRET else require)(name, value, wanted, good(value))


def unknown(name: str, known: Collection[str], where: str, *, in_code: bool = True) -> str:
    """Say that a name is no option, and which is the right one, with an example for code."""
    if name in _ELSEWHERE and name not in known:
        return f"{where} has no option {name!r}: it {_ELSEWHERE[name].format(name=name)}"
    near = get_close_matches(name, known, 1)
    if not near:
        return f"{where} has no option {name!r}; it has {', '.join(sorted(known))}"
    example = f"={OPTIONS[near[0]].example}" if in_code and near[0] in OPTIONS else ""
    return f"{where} has no option {name!r}; did you mean {near[0]}{example}?"
