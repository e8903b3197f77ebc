"""How much a caller may ask of a service: limits, a throttle, and a limit that adapts."""

from __future__ import annotations

from dataclasses import dataclass

from rpcguard._checks import is_amount, is_whole, require, require_positive


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """The client-side throttle of Google's SRE book, for one service.

    A call is refused with probability (requests - ratio * accepts) / (requests + 1), both counted
    over the window. It has no states: it neither slams shut nor opens to a stampede.
    """

    ratio: float = 2.0
    """Requests per accepted one that are still sent; 2 lets a service that recovers show it, and
    does not take a service for overloaded that fails one call in three by an error of its own."""
    retries: float = 1.2
    """Attempts, those under way included, per accepted one above which no call is sent twice: in a
    service that was slow and failed one call in five, retries filled the queues in 3 s. Where one
    in ten fails and all are quick, they still save nearly all; with 1.1, less than two thirds."""
    window: float = 10.0
    """Seconds. Over 60 the throttle came too late and stayed 36 s after the trouble."""
    floor: int = 10
    """Ended attempts in the window below which nothing is refused: so few say nothing."""
    most: float = 0.9
    """The largest probability; what is left finds out when the service is well again."""

    def __post_init__(self) -> None:
        ratio, most = self.ratio, self.most
        require("ratio", ratio, "1 or more", is_amount(ratio) and ratio >= 1)
        retries = self.retries
        require("retries", retries, "1 or more", is_amount(retries) and retries >= 1)
        require_positive(self, "window")
        require("floor", self.floor, "a whole number, 0 or more", is_whole(self.floor))
        require("most", most, "from 0 to below 1", is_amount(most) and most < 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptive:
    """A limit on calls in flight that falls with each refusal and grows while it is used.

    Additive increase, multiplicative decrease, as TCP does it; on 429, 503 with Retry-After and
    timeouts. Gradients need control over all requests, which one of many callers has not.
    """

    least: int = 4
    """Calls in flight that are always allowed: with a few the limit hears when the trouble ends,
    and a service bears them from each of many callers."""
    most: int = 256
    """Calls in flight that are never exceeded, and the limit to begin with: more than one process
    has in flight when all is well, so that nothing is refused before the first trouble."""
    backoff: float = 0.9
    """What is left of the limit, or of the most that was ever in use where that is less, after a
    refusal, above 0 and below 1: 0.9 halves it in seven, so
    one refusal by chance costs little, and a service that refuses all is soon left alone."""

    def __post_init__(self) -> None:
        require("least", self.least, "a whole number, 1 or more", is_whole(self.least, least=1))
        least = self.least
        require("most", self.most, "not below `least`", is_whole(self.most, least=least))
        backoff = self.backoff
        require("backoff", backoff, "above 0, below 1", is_amount(backoff) and 0 < backoff < 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class OverloadPolicy:
    """How much a caller asks of a service at most; everything is off by default.

    What is beyond is refused at once with `Overloaded`: a queue would hide the trouble. A refusal
    is no failure of any node, and rpcguard does not retry it.
    """

    max_in_flight: int | None = None
    """Calls of a service under way at a time, streams that are read included (a bulkhead). None is
    no limit: what is right depends on the service, and a wrong one refuses good calls."""
    max_per_node: int | None = None
    """Calls that a node has at a time; one at its limit is passed over. None is no limit, since the
    balancer spreads calls already; for nodes with a fixed number of workers or slots."""
    throttle: Throttle | None = None
    """Refuse a share of the calls while the service refuses or fails them; None refuses none, since
    a caller that is alone saves its service nothing by it."""
    adaptive: Adaptive | bool = False
    """Adapt the calls in flight to what the service bears; True for `Adaptive()`. Off by default: a
    limit that moves by itself is to be wanted."""

    def __post_init__(self) -> None:
        for name in ("max_in_flight", "max_per_node"):
            value = getattr(self, name)
            good = value is None or is_whole(value, least=1)
            require(name, value, "a whole number, 1 or more, or None", good)
        throttle, adaptive = self.throttle, self.adaptive
        good = throttle is None or isinstance(throttle, Throttle)
        require("throttle", throttle, "of the class Throttle, or None", good)
        good = isinstance(adaptive, bool | Adaptive)
        require("adaptive", adaptive, "True, False or of the class Adaptive", good)
        if adaptive is True:
            object.__setattr__(self, "adaptive", Adaptive())

    def __bool__(self) -> bool:
        """Tell whether anything is limited."""
        limits = self.max_in_flight, self.max_per_node, self.throttle
        return any(one is not None for one in limits) or self.adaptive is not False
