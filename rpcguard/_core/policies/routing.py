"""What users set of lanes, routes, guards and zones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, Final, Literal, TypeVar

from rpcguard._checks import (
    is_amount,
    is_several,
    is_whole,
    require,
    require_bools,
    require_positive,
    require_shares,
)
from rpcguard._context.lane import is_mark
from rpcguard._core.policies.conditions import NO_CONDITIONS, Conditions
from rpcguard._core.policies.parts import is_name, is_part
from rpcguard._text import host_name

Otherwise = Literal["base", "any", "fail"]

_OTHERWISE: Final = ("base", "any", "fail")
_RETRIES: Final = (None, "inside", "outside")
_WHEN: Final = ("method", "path", "mark")
_WHEN_OF: Final = ("header", "query", "cookie", "baggage", "option")
_TO: Final = ("lane", "version", "zone", "id", "host", "port", "address")
_STICKY_OF: Final = ("header", "query", "cookie", "baggage")
_MARK_WANTED: Final = "1 to 64 characters of A-Za-z0-9._-"

LANE_KEYS: Final = ("lane", "dubbo.tag")
"""Polaris' key, which most registries can carry, and Dubbo's."""

MOST_ROUTES: Final = 1000
"""How many routes there may be: whoever writes rules must not be able to slow every caller down."""

ROUNDING: Final = 1e-9
"""By how much shares that are written as decimal fractions may sum to more than 1."""

WHOLE: Final = 1.0 - ROUNDING
"""What the sum of shares that are all of the calls comes to at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """When a route's share is withdrawn by itself, because its nodes fail more than the rest.

    The group is compared with the calls that the route did not take, in the same seconds: a cause
    that both share trips nothing. Marked calls go on.
    """

    min_failures: int = 5
    """Failures of the group below which nothing is concluded: fewer are single faults, which the
    ejection of nodes is for."""

    min_calls: int = 50
    """Calls of the group below which nothing is concluded: with 50, one failure is 2 %, less than
    `worse_by`."""

    worse_by: float = 0.05
    """By how much the group's failure rate must exceed that of the rest, 0 to 1; 0.05 is well above
    what two equal groups differ by, and a fault that few meet is for people to judge."""

    window: float | None = None
    """Seconds over which is counted; None is the window of the `EjectionPolicy`."""

    hold: float = 60.0
    """Seconds for which the share is 0; doubles each time that the guard trips again. A minute is
    time for a node that started badly to be well, and costs a release little."""

    max_hold: float = 900.0
    """Seconds that a hold lasts at most; after a quarter of an hour somebody has seen it."""

    enforce: bool = True
    """False only tells what would be done; to try a guard before it is believed."""

    def __post_init__(self) -> None:
        for name in ("min_failures", "min_calls"):
            value = getattr(self, name)
            require(name, value, "a whole number, 1 or more", is_whole(value, least=1))
        require_positive(self, "worse_by", "hold", "max_hold")
        require_shares(self, "worse_by")
        window = self.window
        good = window is None or (is_amount(window) and window > 0)
        require("window", window, "seconds above 0 or None", good)
        require_bools(self, "enforce")


@dataclass(frozen=True, slots=True)
class Route:
    """A rule that sends some calls of a service to some of its nodes.

    Routes are tried in order, and the first that matches a call and whose share takes it wins.
    Raises `ValueError` naming the route, the field and the value.
    """

    name: str
    """How it is called in logs, metrics and documents; unique, and part of the salt of `sticky`."""

    service: str = field(default="*", kw_only=True)
    """The service whose calls it is about, in any spelling; `"*"` is every one. What is said of
    `orders` also counts for `orders:8080`, as with `services=`."""

    when: Mapping[str, str | Sequence[str] | None] = field(default=NO_CONDITIONS, kw_only=True)
    """What a call must have: `method`, `path` (a final `*` makes it a prefix), `mark`, `header.N`,
    `query.N`, `cookie.N`, `baggage.N`, `option.N`."""

    to: Mapping[str, str | Sequence[str] | None] = field(default=NO_CONDITIONS, kw_only=True)
    """What a node must have: `lane`, `version`, `zone`, `id`, `host`, `port`, `address`
    (`host:port`), `metadata.N`. Nothing, where `mark` is given, leads to the lane of that name."""

    share: float = field(default=1.0, kw_only=True)
    """The part of the unmarked calls that match which it takes; calls that it does not take stay
    off its nodes while others are listed."""

    empty: Literal["kept", "divided"] = field(default="kept", kw_only=True)
    """What becomes of the share while none of its nodes is listed: kept, so that its calls go to
    `otherwise`; or divided among the shares of the same calls that have nodes and say so too, to
    whose nodes its calls go first as well while its own cannot serve. Divided shares of all the
    calls that match keep no other calls off their nodes."""

    sticky: str | None = field(default=None, kw_only=True)
    """What decides whether the share takes a call, so that a user stays on one side: `header.N`,
    `query.N`, `cookie.N`, `baggage.N` or `key`, the option of the call. None takes turns."""

    mark: str | None = field(default=None, kw_only=True)
    """The mark that it puts on the calls that it takes, so that later hops follow."""

    otherwise: Otherwise | None = field(default=None, kw_only=True)
    """Where calls go while its nodes cannot serve; None is what the `Routing` says."""

    least: float = field(default=0.0, kw_only=True)
    """The part of its nodes' weight that must be eligible; with less, calls go to `otherwise`."""

    retry: Literal["inside", "outside"] | None = field(default=None, kw_only=True)
    """Where another attempt goes first; None is outside for a share, since the new version may be
    the fault, and inside otherwise."""

    guard: Guard | None = field(default=None, kw_only=True)
    """When the share is withdrawn by itself; None is never."""

    timeout: float | None = field(default=None, kw_only=True)
    """Seconds that a call which it takes may last, all attempts together. It brings a deadline
    nearer and never puts one off; None leaves it as it is."""

    attempt_timeout: float | None = field(default=None, kw_only=True)
    """Seconds for each attempt of such a call, where nothing shorter is wanted; None is as it is
    without the route."""

    attempts: int | None = field(default=None, kw_only=True)
    """How often such a call is sent at most, where it may be sent as often at all: a route never
    adds an attempt, nor one that may not be made. None is what the call has."""

    def __post_init__(self) -> None:
        self._check("name", is_name(self.name), "printable text, 1 to 128 characters")
        self._check("service", is_name(self.service), "a service's name or *")
        object.__setattr__(self, "service", host_name(self.service))
        for name in ("when", "to"):
            object.__setattr__(self, name, self._conditions(name, getattr(self, name)))
        self._check("mark", self.mark is None or is_mark(self.mark), _MARK_WANTED)
        if not self.to and self.mark is not None:
            object.__setattr__(self, "to", Conditions({"lane": self.mark}))
        self._check("to", self.to, "conditions for nodes, at least one")
        for name in ("share", "least"):
            value = getattr(self, name)
            self._check(name, is_amount(value) and value <= 1, "a number from 0 to 1")
        self._check("empty", self.empty in ("kept", "divided"), "kept or divided")
        self._check("sticky", self.sticky is None or _is_sticky(self.sticky), _STICKY_WANTED)
        good = self.otherwise is None or self.otherwise in _OTHERWISE
        self._check("otherwise", good, "base, any or fail")
        self._check("retry", self.retry in _RETRIES, "inside, outside or None")
        self._check("guard", self.guard is None or isinstance(self.guard, Guard), "of class Guard")
        for name in ("timeout", "attempt_timeout"):
            value = getattr(self, name)
            good = value is None or (is_amount(value) and value > 0)
            self._check(name, good, "seconds above 0 or None")
        good = self.attempts is None or is_whole(self.attempts, least=1)
        self._check("attempts", good, "a whole number, 1 or more, or None")

    def __reduce__(self) -> tuple[Any, ...]:
        # Made anew, as a node is: the conditions in a pickle are ordinary dicts.
        given = {one.name: getattr(self, one.name) for one in fields(self)}
        return partial(type(self), **given), ()

    @property
    def is_share(self) -> bool:
        """Tell whether it takes a part of the calls only."""
        return self.share < 1.0

    @property
    def is_limit(self) -> bool:
        """Tell whether calls that it takes may do less than others."""
        return (self.timeout, self.attempt_timeout, self.attempts) != (None, None, None)

    def _check(self, name: str, good: object, wanted: str) -> None:
        require(f"route {self.name!r}: {name}", getattr(self, name), wanted, good)

    def _conditions(self, name: str, given: Any) -> Conditions:
        self._check(name, isinstance(given, Mapping), "a mapping")
        plain, dotted = (_WHEN, _WHEN_OF) if name == "when" else (_TO, ("metadata",))
        allowed = f"one of {', '.join((*plain, *(f'{one}.NAME' for one in dotted)))}"
        for key, value in given.items():
            where = f"route {self.name!r}: {name}"
            require(f"{where} key", key, allowed, _is_key(key, plain, dotted))
            require(f"{where}[{key!r}]", value, "a text, some, * or None", _is_wanted(value))
        return given if isinstance(given, Conditions) else Conditions(given)


_STICKY_WANTED: Final = "header.NAME, query.NAME, cookie.NAME, baggage.NAME or key"


def _is_key(key: object, plain: Sequence[str], dotted: Sequence[str]) -> bool:
    return key in plain or is_part(key, dotted)


def _is_sticky(key: object) -> bool:
    return _is_key(key, ("key",), _STICKY_OF)


def _is_wanted(value: object) -> bool:
    if value is None or isinstance(value, str):
        return True
    if isinstance(value, Mapping):
        return False  # a kind of condition that other meshes have, and that is none here
    return is_several(value, str) and bool(value) and "*" not in value  # type: ignore[operator]


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """Lanes and routes: which of a service's nodes a call may go to.

    A node's lane is in its metadata, a call's mark is the lane that it wants. An unmarked call goes
    to nodes without a lane, a marked one to those of its lane, and to `otherwise` where the service
    has none. Raises `ValueError` naming the field and the value.
    """

    rules: Sequence[Route] = ()
    """The routes, in the order in which they are tried."""

    source: str | None = None
    """Where the routes are read and followed instead: a `file://` or `https://` URL of JSON or
    TOML, or `"registry"`, which is the key `"routes"` beside its `"services"`, or the rules of
    Dubbo or Polaris that it has."""

    lane: str | None = None
    """The lane of this process itself, of calls that nothing else marks; None reads
    `RPCGUARD_LANE`."""

    lane_keys: Sequence[str] = LANE_KEYS
    """The keys of a node's metadata that name its lane, the first that has a value."""

    lane_baggage: str = "rpcguard.lane"
    """The member of W3C baggage in which marks come and go."""

    read: Sequence[str] = ()
    """Headers of a call in which a mark may stand as well, such as `x-mse-tag`."""

    write: Sequence[str] = ()
    """Headers in which a mark is sent as well."""

    otherwise: Otherwise = "base"
    """Where a marked call goes that finds no node of its lane: nodes without a lane (`"base"`), any
    node, or nowhere (`"fail"`)."""

    may_fail: bool = False
    """True lets routes from a `source` say `otherwise="fail"`, and a document limit calls: they are
    remote control."""

    required: bool = False
    """True lets `wait_ready` wait for the routes of the `source` too."""

    lane_service: str | None = None
    """The name of the service that has a lane's nodes, where lanes are services of their own as in
    Kubernetes: `"{service}-{lane}"`."""

    def __post_init__(self) -> None:
        rules = self.rules
        require("rules", rules, "some of the class Route", is_several(rules, Route))
        object.__setattr__(self, "rules", checked_routes(rules))
        require("source", self.source, "None beside rules", self.source is None or not rules)
        require("source", self.source, _SOURCE_WANTED, _is_source(self.source))
        require("lane", self.lane, _MARK_WANTED, self.lane is None or is_mark(self.lane))
        for name in ("lane_keys", "read", "write"):
            value = getattr(self, name)
            require(name, value, "some texts", is_several(value, str) and all(value))
            object.__setattr__(self, name, tuple(value))
        require("lane_keys", self.lane_keys, "at least one", self.lane_keys)
        require("lane_baggage", self.lane_baggage, _MARK_WANTED, is_mark(self.lane_baggage))
        require("otherwise", self.otherwise, "base, any or fail", self.otherwise in _OTHERWISE)
        require_bools(self, "may_fail", "required")
        template = self.lane_service
        good = template is None or ("{lane}" in template and "{service}" in template)
        require("lane_service", template, "a name with {service} and {lane}", good)


_SOURCE_WANTED: Final = '"registry", a file:// or an http(s):// URL'


def _is_source(value: object) -> bool:
    if value is None or value == "registry":
        return True
    return isinstance(value, str) and value.startswith(("file:///", "http://", "https://"))


RouteT = TypeVar("RouteT", bound=Route)


def checked_routes(routes: Sequence[RouteT]) -> tuple[RouteT, ...]:
    """Give routes that go together; raise `ValueError` naming the first that does not."""
    count = len(routes)
    require("rules", f"{count} routes", f"at most {MOST_ROUTES}", count <= MOST_ROUTES)
    names: set[str] = set()
    sums: dict[object, float] = {}
    for route in routes:
        require(f"route {route.name!r}: name", route.name, "unique", route.name not in names)
        names.add(route.name)
        bundle = route.service, route.when
        sums[bundle] = sums.get(bundle, 0.0) + route.share
        good = sums[bundle] <= 1.0 + ROUNDING
        wanted = "a share that sums to at most 1 with those of the same service and when"
        require(f"route {route.name!r}: share", route.share, wanted, good)
    return tuple(routes)
