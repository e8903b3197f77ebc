"""How one attempt can go, and what is true of it, whatever the code under test makes of it."""

from __future__ import annotations

import errno
import ssl
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Literal

import httpx

from rpcguard._connections.exchange import StaleConnection

if TYPE_CHECKING:
    from collections.abc import Callable

Truth = Literal["well", "unconnected", "unsent", "maybe", "never"]
Blame = Literal["none", "failure", "connect", "handshake"]


@dataclass(frozen=True, slots=True)
class Fate:
    """Say how an attempt goes.

    It comes to the stage `until` and there ends by `error`, or hears nothing more if `silent`.
    `runs` says that the node runs the call, once the request is written. `truth` is what is known
    of the request afterwards: answered, never sent, provably not processed, perhaps processed, or
    that sending it again is of no use. `says` is what the answer tells of the node that gave it.
    """

    truth: Truth = "well"
    blame: Blame = "none"
    until: str = ""
    error: Callable[[], Exception] | None = None
    silent: bool = False
    runs: bool = True
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()
    says: Literal["", "leaving", "pause", "foreign"] = ""
    ttl: float | None = None
    stale: bool = False
    slow: float = 1.0
    goaway: bool = False
    named: bool = False
    name: str = ""

    @property
    def only_connection(self) -> bool:
        """Tell whether the node may be asked once more: only its connection had ended."""
        return self.stale or self.name == "goaway after"

    def __str__(self) -> str:
        return f"{self.name} ({self.truth}, blame {self.blame})"


def _failing(kind: type[Exception], cause: BaseException | None = None) -> Callable[[], Exception]:
    def make() -> Exception:
        error = kind("simulated")
        error.__cause__ = cause
        return error

    return make


def _breaks(
    until: str, kind: type[Exception], truth: Truth = "maybe", blame: Blame = "failure", **more
) -> Fate:
    cause = more.pop("cause", None)
    return Fate(truth, blame, until, _failing(kind, cause), **more)


def _refused(cause: BaseException | None = None, blame: Blame = "connect") -> Fate:
    return _breaks("connect", httpx.ConnectError, "unconnected", blame, runs=False, cause=cause)


def _answers(
    status: int, truth: Truth = "maybe", blame: Blame = "failure", *pairs: tuple[str, str], **more
) -> Fate:
    headers = tuple((name.encode(), value.encode()) for name, value in pairs)
    return Fate(truth, blame, status=status, headers=headers, **more)


def _tells(
    says: str, *pairs: tuple[str, str], ttl: float | None = None, named: bool = False
) -> Fate:
    return _answers(200, "well", "none", *pairs, says=says, ttl=ttl, named=named)


def _stream(**fields: int) -> Exception:
    return Exception(SimpleNamespace(**fields))


_GARBAGE = httpx.RemoteProtocolError
_OFFLINE, _SERMANT = "X-RpcGuard-Offline", "Sermant.Grace.Mark.Shutdown.Service.Endpoint"

FATES: dict[str, Fate] = {
    "ok": Fate(),
    "slow": Fate(slow=40.0),
    "refused": _refused(),
    "no descriptors": _refused(OSError(errno.EMFILE, "too many open files"), "none"),
    "bad certificate": _refused(ssl.SSLError(1, "bad certificate"), "handshake"),
    "unreachable": Fate("unconnected", "connect", "connect", silent=True, runs=False),
    "pool full": _breaks("connect", httpx.PoolTimeout, "unsent", "none", runs=False),
    "stale": _breaks(
        "write", _GARBAGE, "maybe", "none", runs=False, stale=True, cause=StaleConnection()
    ),
    "stale, but run": _breaks(
        "headers", httpx.ReadError, "maybe", "none", stale=True, cause=StaleConnection()
    ),
    "reset while sending": _breaks("write", httpx.WriteError, runs=False),
    "deaf": Fate("maybe", "failure", "write", silent=True, runs=False),
    "reset": _breaks("headers", httpx.ReadError),
    "silent": Fate("maybe", "failure", "headers", silent=True),
    "garbage": _breaks("headers", _GARBAGE),
    "reset after headers": _breaks("body", httpx.ReadError),
    "reset in body": _breaks("rest", httpx.ReadError),
    "garbage in body": _breaks("rest", _GARBAGE),
    "silent in body": Fate("maybe", "failure", "rest", silent=True),
    "our own mistake": _breaks("connect", httpx.LocalProtocolError, "never", "none", runs=False),
    "body of the caller fails": _breaks("write", ZeroDivisionError, "never", "none", runs=False),
    "refused stream": _breaks(
        "headers", _GARBAGE, "unsent", runs=False, cause=_stream(error_code=7, stream_id=3)
    ),
    "goaway before": _breaks(
        "headers", _GARBAGE, "unsent", runs=False, says="leaving", named=True,
        cause=_stream(error_code=0, last_stream_id=0),
    ),
    "goaway after": _breaks(
        "headers", _GARBAGE, "maybe", "none", says="leaving", named=True,
        cause=_stream(error_code=0, last_stream_id=9),
    ),
    **{str(status): _answers(status) for status in (500, 502, 503, 504)},
    "501": _answers(501, "never", "none"),
    "599": _answers(599, "never"),
    "nack": _answers(
        503, "unsent", "failure", ("finagle-http-nack", "1"), runs=False, says="leaving"
    ),
    "brpc": _answers(
        503, "unsent", "failure", ("x-bd-error-code", "2003"), runs=False, says="leaving"
    ),
    "pause": _answers(503, "maybe", "failure", ("Retry-After", "3"), says="pause", ttl=3.0),
    "long pause": _answers(
        503, "maybe", "failure", ("Retry-After", "86400"), says="pause", ttl=86400.0
    ),
    "pause until": _answers(503, "maybe", "failure", ("Retry-After", "DATE"), says="pause", ttl=20),
    "leaving and sick": _answers(500, "maybe", "failure", (_OFFLINE, "1"), says="leaving"),
}  # fmt: skip

FATES |= {
    "404": _answers(404, "well", "none"),
    "429": _answers(429, "well", "none", ("Retry-After", "9")),
    "leaving": _tells("leaving", (_OFFLINE, "1")),
    "leaving long": _tells("leaving", (_OFFLINE, "1;ttl=1e9"), ttl=1e9),
    "leaving soon": _tells("leaving", (_OFFLINE, "1; ttl=2"), ttl=2.0),
    "goaway with the answer": Fate(says="leaving", goaway=True, named=True),
    "leaving by name": _tells("leaving", (_OFFLINE, "1; at=SELF"), named=True),
    "envoy leaving": _tells("leaving", ("x-envoy-immediate-health-check-fail", "")),
    "sermant leaving": _tells("leaving", (_SERMANT, "SELF"), named=True),
    "names another": _tells("foreign", (_SERMANT, "OTHER")),
    "says nonsense": _tells("", (_OFFLINE, "0;ttl=5"), ("finagle-http-nack", "1")),
    "says too much": _tells("", (_OFFLINE, "1;" + "x=1;" * 100)),
}

FATES = {name: replace(fate, name=name) for name, fate in FATES.items()}

ANSWERS = [name for name, fate in FATES.items() if fate.truth == "well" and name != "ok"]
FAULTS = [name for name, fate in FATES.items() if fate.truth != "well"]

PROCESS: dict[str, str] = {
    "well": "ok",
    "dead": "refused",
    "cut off": "unreachable",
    "frozen": "silent",
    "sick": "500",
    "overloaded": "503",
    "pausing": "pause",
    "resetting": "reset",
    "babbling": "garbage",
    "brittle": "reset in body",
    "slow": "slow",
    "going": "leaving by name",
    "relaying": "leaving",
    "wrong": "404",
    "half open": "bad certificate",
    "nagging": "leaving long",
    "forging": "names another",
    "expired": "bad certificate",
    "murky": "no descriptors",
}
"""What an attempt comes to, by the mood of the node's process."""

MOODS = [mood for mood in PROCESS if mood != "well"]
PROBES = {"dead": False, "cut off": False, "murky": None}
"""What a probe finds, where it is not a listening port; None if it cannot find out."""
CRASHED = Fate("maybe", "failure", status=0, name="crashed")


@dataclass(slots=True)
class Headers:
    """Be the headers of an answer, as the call looks at them."""

    raw: list[tuple[bytes, bytes]] = field(default_factory=list)
