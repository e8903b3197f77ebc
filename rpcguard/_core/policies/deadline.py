"""How a call's deadline follows it from hop to hop."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from rpcguard._checks import is_amount, require, require_amounts, require_bools

_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A token of RFC 9110."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlinePolicy:
    """How long calls may take, and what the node is told of it.

    A call's deadline is the lesser of its own and that of the request that is being served, which
    `rpcguard.provider.ContextASGI` and `ContextWSGI` take in. All times in seconds.
    """

    total: float | None = None
    """Seconds for a call that says no `deadline`; None is no limit but httpx's own timeouts, which
    a transport is not to undercut unasked."""

    attempt: float | None = None
    """Seconds for each attempt of a call that says no `attempt_timeout`; None gives an attempt all
    that the call has left, since only its caller knows how long an answer may take."""

    write: str | None = "x-envoy-expected-rq-timeout-ms"
    """The header that tells the node what is left of the attempt, in whole milliseconds; None
    writes nothing. Relative, since clocks differ; the name that Envoy writes."""

    margin: float = 0.0
    """Seconds that are kept of the request's time for the answer to it; none by default, since what
    an answer costs is the program's to know."""

    mark_retries: bool = True
    """True tells the node which attempts may be the second of one call, so that it and those
    behind it do not try again as well: three hops that retry once each are eight attempts."""

    def __post_init__(self) -> None:
        for name in ("total", "attempt"):
            value = getattr(self, name)
            good = value is None or (is_amount(value) and value > 0)
            require(name, value, "seconds above 0 or None", good)
        require_amounts(self, "margin")
        write = self.write
        good = write is None or is_header(write)
        require("write", write, "the name of a header or None", good)
        require_bools(self, "mark_retries")


def is_header(value: object) -> bool:
    """Tell whether a text can be the name of a header."""
    return isinstance(value, str) and _HEADER.fullmatch(value) is not None
