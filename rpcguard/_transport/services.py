"""The services of one transport: made at their first call, followed, forgotten, taken over."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, Protocol

from rpcguard._core.nodes.view import Census
from rpcguard._core.service.service import Service
from rpcguard._text import about, logger, plain, without_dot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rpcguard._core.policies.overrides import PoliciesByService
    from rpcguard._core.service.effects import Effects
    from rpcguard._discovery.following import Subscriptions
    from rpcguard._discovery.rules import Rules

_MOST_STRANGERS: Final = 256
"""Services that the registry does not know: kept only so that their absence is not asked for
with each call, so few are enough."""

_MOST_UNMET: Final = 10_000
"""Names remembered beyond those, a megabyte or two: a call to one of them waits for no registry."""

_MOST_MET: Final = 50_000
"""The same of those that it knows, 5 MB: where that is every name, as with `hosts://`, whoever
chooses names could fill the memory."""

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


def _keep_last(names: dict[str, None], name: str, most: int) -> None:
    names[name] = None
    if len(names) > most:
        del names[next(iter(names))]


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
                extra=about(plain(service.name)),
            )


class Follower(Protocol):
    """What keeps something of a transport's services up to date: their rules, their switches."""

    def follow(self, service: Service) -> None:
        """Keep a service up to date from now on."""
        ...

    def forget(self, service: str) -> None:
        """Follow a service no longer."""
        ...

    def renew(self) -> None:
        """Start over in a forked child."""
        ...

    def stop(self) -> None:
        """Follow nothing any more."""
        ...


class ServiceTable:
    """The services that one transport calls, by the names that URLs spell; thread-safe.

    `following` and the `followers`, of which `rules` may be one, are told which to follow; they
    are stopped by who made them. Once `closed`, a service that is asked for is made and refuses its
    calls.
    """

    def __init__(
        self,
        policies: PoliciesByService,
        effects: Effects[Service],
        following: Subscriptions,
        rules: Rules | None,
        followers: Sequence[Follower],
    ) -> None:
        self.closed: bool = False
        self.following: Subscriptions = following
        self.rules: Rules | None = rules
        self._policies = policies
        self._effects = effects
        self._followers = followers
        self._naming = threading.RLock()  # a handler of the log may call through the transport
        self._services: dict[str, Service] = {}
        self._inherited: object = None
        self._met: dict[str, None] = {}  # forgotten services that the registry has known
        self._unmet: dict[str, None] = {}  # and of those that it has not, the last ones
        self._crowd = CrowdWarning(policies.common.membership.max_services)

    def __len__(self) -> int:
        return len(self._services)

    def __iter__(self) -> Iterator[Service]:
        return iter(list(self._services.values()))

    def __call__(self, name: str) -> Service:
        """Give a service by name; it is followed from its first call on."""
        service = self._services.get(name)
        return self._new(name) if service is None or service.forgotten else service

    def get(self, name: str) -> Service | None:
        """Give a service that is there; None where it was not called, or is forgotten."""
        return self._services.get(without_dot(name.lower()))

    def _new(self, name: str) -> Service:
        name = without_dot(name.lower())  # "orders.", or an IPv6 address: the same host
        with self._naming:
            service = self._services.get(name)
            if service is None or service.forgotten:
                service = self._make(name)
        return service

    def _make(self, name: str) -> Service:
        self._make_room()
        made = Service(name, policies=self._policies.of(name), effects=self._effects)
        made.met, made.unmet = name in self._met, name in self._unmet
        made.same_again = self.following.by_port
        # Followed first: an interrupt would leave a service that is waited for in vain.
        self._follow(made)
        service = self._services.get(name)
        if service is None or service.forgotten:
            self._services[name] = made
            if self.closed:  # meanwhile, and whoever closes may have looked before
                made.close()
            return made
        self._follow(service)  # a handler of the log has called it in the middle of this
        return service

    def _follow(self, service: Service) -> None:
        if self.closed:
            service.close()
            return
        for one in self._followers:
            one.follow(service)
        self.following.follow(service)

    def _make_room(self) -> None:
        most = self._policies.common.membership.max_services
        for idle in idle_services(self._services.values(), most):
            if idle.forget():
                self._services.pop(idle.name, None)
                self._remember(idle)
                self.following.forget(idle.name)
                for one in self._followers:
                    one.forget(idle.name)

    def _remember(self, gone: Service) -> None:
        self._crowd.forgotten(gone)
        self._unmet.pop(gone.name, None)
        if gone.met:
            _keep_last(self._met, gone.name, _MOST_MET)
        elif gone.ready or gone.unmet:
            _keep_last(self._unmet, gone.name, _MOST_UNMET)

    def close(self) -> list[Service]:
        """Refuse new calls of every service, those to come included; give those that are there."""
        self.closed = True
        services = list(self)
        for service in services:
            service.close()
        return services

    def census(self) -> Iterator[Census]:
        """Give what the gauges tell of each service."""
        for service in self:
            if service.known:
                yield Census(
                    service.name,
                    service.census(),
                    age=self.following.age(service.name),
                    rules_age=None if self.rules is None else self.rules.age(service.name),
                )

    def renew_locks(self) -> None:
        """Drop the lock that a thread of the parent may have held at a fork."""
        self._naming = threading.RLock()

    def start_over(self) -> None:
        """Take the lists over in a forked child; the parent's services are kept untouched.

        Their locks may be held for ever, and their sockets are still the parent's.
        """
        self._inherited = self._services
        self._services = {name: service.heir() for name, service in self._services.items()}
        self.following.renew()
        for service in self:
            self._follow(service)
