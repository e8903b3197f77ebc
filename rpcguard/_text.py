"""Text as more than one room writes it, and the logger that all of them write to."""

from __future__ import annotations

import logging
import math
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence

ENCODED: Final = "xn--"
"""RFC 5890 §2.3.2.5: begins a part of a host's name that stands for other letters."""

_LONGEST_PART: Final = 63
"""RFC 1035 §2.3.4: what is longer is no part of a host's name, and takes long to decode."""


def print_fault(error: Exception) -> None:
    """Tell on standard error what others raised that were only told, as `logging` itself does."""
    if logging.raiseExceptions and sys.stderr is not None:
        traceback.print_exception(error)


class Log(logging.LoggerAdapter[logging.Logger]):
    """A logger whose handlers may fail, by a full disk say, and cost nobody anything.

    A line is written amid calls, and by the tasks that follow the lists, which have no other life.
    """

    def process(
        self, msg: object, kwargs: MutableMapping[str, Any]
    ) -> tuple[object, MutableMapping[str, Any]]:
        """Add nothing."""
        return msg, kwargs

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Write a line, where that can be done."""
        try:
            super().log(level, msg, *args, **{"stacklevel": 2, **kwargs})
        except Exception as error:
            print_fault(error)


_logger = logging.getLogger("rpcguard")
logger: Log = Log(_logger, {})
"""The only logger of the library: a program turns one knob, whichever room speaks."""

FIELDS: tuple[str, ...] = ("service", "node", "reason")
"""What each record has as attributes, for logs that are read by machines; None where it has not."""


class _Fields(logging.Filter):
    """What gives every record the fields, so that a format may name them."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Pass every record."""
        for name in FIELDS:
            record.__dict__.setdefault(name, None)
        return True


_logger.addFilter(_Fields())


def about(
    service: str | None = None, node: str | None = None, reason: str | None = None
) -> dict[str, str | None]:
    """Give the fields of a record, for `extra=`."""
    return {"service": service, "node": node, "reason": reason}


_LEAST_ROUND = 0.01
"""Seconds from which a latency needs no decimal: below 10 ms, a tenth of one is still news."""
_NEARLY_ALL = 0.999
"""What a share is shown as at most unless it is all: 100% is to mean that nothing was lost."""


def plain(text: str) -> str:
    """Give what somebody else wrote as one line: what cannot be printed is escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def repr_of(thing: object) -> str:
    """Give the `repr` of what somebody else has written, or its class where that fails."""
    try:
        return repr(thing)
    except Exception:
        return f"<{type(thing).__name__}>"


def printable(said: object) -> str:
    """Give what goes to a terminal, line by line: what would steer it is escaped."""
    return "\n".join(map(plain, str(said).split("\n")))


def host_and_port(host: str, port: int) -> str:
    """Give `host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def without_dot(service: str) -> str:
    """Give the name of a service without the root of DNS at the end of its host, and its port."""
    host, colon, port = service.partition(":")
    return (host.rstrip(".") or host[:1]) + colon + port


def host_name(service: str) -> str:
    """Give one spelling for all of the name of a service: small, without ASCII forms of letters.

    httpx gives an international name in its own letters only where the first part is one. There is
    no dot at the end, and what only looks like an ASCII form stays as it is.
    """
    host, colon, port = without_dot(service.lower()).partition(":")
    return ".".join(map(_in_letters, host.split("."))) + colon + port


def _in_letters(part: str) -> str:
    if not (part.startswith(ENCODED) and part.isascii() and len(part) <= _LONGEST_PART):
        return part
    try:
        found = part.removeprefix(ENCODED).encode().decode("punycode")
    except (UnicodeError, OverflowError):
        return part
    return part if found.isascii() else found


def host_in(name: str) -> str:
    """Give a name without its port and its brackets, where `host_and_port` has put them there."""
    host, colon, _ = name.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        return name
    return host.strip("[]")


def address_of(host: str, port: int, path: str | None) -> str:
    """Give `host:port`, or `unix:` and the path of the Unix domain socket that stands for it."""
    return host_and_port(host, port) if path is None else f"unix:{path}"


def seconds(amount: float | None) -> str:
    """Write a latency in few letters; nothing for None."""
    if amount is None:
        return ""
    if amount >= 1:
        return f"{amount:.1f}s"
    return f"{amount * 1000:.0f}ms" if amount >= _LEAST_ROUND else f"{amount * 1000:.1f}ms"


def percent(share: float | None) -> str:
    """Write a share so that 100% means all; nothing for None."""
    if share is None:
        return ""
    return "100%" if share == 1 else f"{min(share, _NEARLY_ALL):.1%}"


def quantile(ordered: Sequence[float], share: float) -> float:
    """Give the value below which `share` of the ordered values lie, NaN for none."""
    if not ordered:
        return math.nan
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
