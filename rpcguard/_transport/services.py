"""Which services are forgotten: their names may come from URLs that somebody else chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rpcguard._core.service.service import Service

_MOST_STRANGERS: Final = 256
_MOST_SERVICES: Final = 512


def idle_services(services: Iterable[Service]) -> list[Service]:
    """Give the services that are one too many once another comes, those called last kept longest.

    At most 256 that the registry does not know are kept, and at most 512 in all. One with a call in
    flight, or with one that waits for the first list, is never among them.
    """
    listed = list(services)
    idle = sorted((one for one in listed if not one.calls), key=lambda one: one.called_at)
    strangers = [one for one in idle if not one.known]
    gone = strangers[: max(len(strangers) + 1 - _MOST_STRANGERS, 0)]
    left = [one for one in idle if one not in gone]
    return gone + left[: max(len(listed) + 1 - len(gone) - _MOST_SERVICES, 0)]
