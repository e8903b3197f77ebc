"""Timeouts and retry policies of xDS as limits of ours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

Object = Mapping[str, Any]


class Limits(NamedTuple):
    """What a call may take: the fields of a `Route` of these names."""

    timeout: float | None = None
    """Seconds for all attempts together."""
    attempt_timeout: float | None = None
    """Seconds for each."""
    attempts: int | None = None
    """How often it is sent at most."""


def limits_of(action: Object, host: Object) -> Limits:
    """Read those of a route, whose retry policy may be that of its virtual host.

    A zero, as in Envoy, is no limit. What a retry policy says of when to send again is not read:
    that it names a failure does not make it safe to repeat a call.
    """
    retry = action.get("retry_policy", host.get("retry_policy"))
    whole = action.get("max_stream_duration", {}).get("max_stream_duration")
    timeout = min(_seconds(action.get("timeout")), _seconds(whole))
    each = math.inf if retry is None else _seconds(retry.get("per_try_timeout"))
    return Limits(
        timeout if timeout < math.inf else None,
        each if each < math.inf else None,
        # One retry where no number is given, as the message says.
        None if retry is None else 1 + retry.get("num_retries", 1),
    )


def _seconds(given: float | None) -> float:
    return given if given is not None and given > 0.0 else math.inf
