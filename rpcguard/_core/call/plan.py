"""What a user may say of one call."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rpcguard._checks import is_amount, is_whole, require
from rpcguard._context.lane import is_mark

if TYPE_CHECKING:
    from rpcguard._context.hops import Hop
    from rpcguard._core.policies.retry import RetryPolicy
    from rpcguard._core.service.asks import Ask


def always() -> bool:
    """Tell of a body in memory that it can be sent again at any moment."""
    return True


def never(_: Exception) -> bool:
    """Tell of a body in memory that it has raised no error."""
    return False


@dataclass(slots=True, kw_only=True)
class CallPlan:
    """What may be done for one call."""

    method: str
    """The method, in capitals."""
    keyed: bool = False
    """Whether the request has a key by which its service knows it again."""
    idempotent: bool | None = None
    """Whether it may run twice; None leaves that to the method."""
    attempts: int = 2
    """Tries in all, as in `RetryPolicy`."""
    until: float | None = None
    """The deadline on the service's clock."""
    attempt_timeout: float | None = None
    """Seconds for each try."""
    timeouts: Mapping[str, Any] = field(default_factory=dict)
    """Those that httpx was given, which the deadline cuts."""
    prefetch_unknown: bool | None = None
    """Whether a body of unknown length is read before it is handed out; None: as the policy has
    it."""
    replayable: Callable[[], bool] = always
    """Tells at any moment whether the body can be sent (again)."""
    has_raised: Callable[[Exception], bool] = never
    """Tells whether an error came out of the body, and so is the caller's own."""
    ask: Ask | None = None
    """What it asks for by lanes and routes; None where they are not looked at."""
    hop: Hop | None = None
    """The request that the call is made for, where it is for one."""
    hedge: bool | None = None
    """Whether it may run on two nodes at once; None leaves that to the method."""
    in_memory: bool = True
    """Whether its body is there as a whole, so that two can send it."""

    @property
    def retried_above(self) -> bool:
        """Tell whether a hop above already tries again what this call is for."""
        return self.hop is not None and self.hop.retried_above

    def repeatable(self, policy: RetryPolicy) -> bool:
        """Tell whether the call may be run twice."""
        if self.idempotent is not None:
            return self.idempotent
        return self.method in policy.methods or self.keyed

    def heed(self, now: float) -> None:
        """Take on what the route of the call says of time and attempts, where that is less."""
        route = None if self.ask is None else self.ask.route
        if route is None or not route.is_limit:
            return
        if route.timeout is not None:
            self.until = min(now + route.timeout, math.inf if self.until is None else self.until)
        if route.attempt_timeout is not None:
            own = self.attempt_timeout
            self.attempt_timeout = min(route.attempt_timeout, math.inf if own is None else own)
        if route.attempts is not None:
            self.attempts = min(route.attempts, self.attempts)


def read_options(given: object, now: float, policy: RetryPolicy) -> dict[str, Any]:
    """Check `extensions["rpcguard"]` and give the `CallPlan` fields it sets."""
    if given is None:
        return {"attempts": policy.attempts}
    if not isinstance(given, Mapping):
        raise ValueError(f'extensions["rpcguard"] must be a mapping, not {given!r}')
    for name in given:
        require("rpcguard option", name, f"one of {', '.join(_OPTIONS)}", name in _OPTIONS)
    for name, (wanted, good) in _OPTIONS.items():
        if name in given:
            require(f"rpcguard option {name}", given[name], wanted, good(given[name]))
    deadline = given.get("deadline")
    return {
        "attempts": given.get("attempts", policy.attempts),
        "idempotent": given.get("idempotent"),
        "attempt_timeout": given.get("attempt_timeout"),
        "prefetch_unknown": given.get("prefetch_unknown"),
        "hedge": given.get("hedge"),
        "until": None if deadline is None else now + deadline,
    }


def _is_positive(value: object) -> bool:
    return is_amount(value) and bool(value)


_OPTIONS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "idempotent": ("True or False", lambda value: isinstance(value, bool)),
    "prefetch_unknown": ("True or False", lambda value: isinstance(value, bool)),
    "hedge": ("True or False", lambda value: isinstance(value, bool)),
    "attempts": ("a whole number, 1 or more", lambda value: is_whole(value, least=1)),
    "deadline": ("seconds above 0", _is_positive),
    "attempt_timeout": ("seconds above 0", _is_positive),
    "lane": (
        "1 to 64 characters of A-Za-z0-9._- or None",
        lambda value: value is None or is_mark(value),
    ),
    "key": ("a text or bytes", lambda value: isinstance(value, (str, bytes))),
}
