"""Which services are forgotten: their names may come from URLs that somebody else chooses."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from rpcguard._text import logger, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rpcguard._core.service.service import Service

_MOST_STRANGERS: Final = 256
"""Services that the registry does not know: kept only so that their absence is not asked for
with each call, so few are enough."""

_TELL_EVERY: Final = 60.0
"""Seconds between two warnings of the same: whoever chooses names could fill the log."""


def idle_services(services: Iterable[Service], most: int) -> list[Service]:
    """Give the services that are one too many once another comes, those called last kept longest.

    At most 256 that the registry does not know are kept, and at most `most` in all. One with a call
    in flight, or with one that waits for the first list, is never among them.
    """
    listed = list(services)
    if len(listed) < min(_MOST_STRANGERS, most):
        return []
    idle = sorted((one for one in listed if not one.calls), key=lambda one: one.called_at)
    strangers = [one for one in idle if not one.met]
    gone = strangers[: max(len(strangers) + 1 - _MOST_STRANGERS, 0)]
    left = [one for one in idle if one not in gone]
    return gone + left[: max(len(listed) + 1 - len(gone) - most, 0)]


class CrowdWarning:
    """The warning that a service was forgotten which the registry knows; once a minute."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._again_at = 0.0

    def forgotten(self, service: Service) -> None:
        """Tell of it."""
        now = self._clock()
        if service.known and now >= self._again_at:
            self._again_at = now + _TELL_EVERY
            logger.warning(
                "service %s: forgotten until its next call, since more than %s services are "
                "called; MembershipPolicy(max_services=...) sets how many are kept",
                plain(service.name),
                self._most,
            )
