"""The lists that one transport follows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rpcguard._checks import require
from rpcguard._clock import lasting
from rpcguard._discovery.background import background as background
from rpcguard._discovery.feed import Feed
from rpcguard._discovery.names import names_like
from rpcguard._discovery.store import SnapshotStore
from rpcguard._text import host_name, repr_of
from rpcguard.registries._shared.methods import close, own
from rpcguard.registries.base import checks, registry_from_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from rpcguard._core.policies.membership import MembershipPolicy
    from rpcguard._core.service.service import Service
    from rpcguard.registries.base import Registry


class Subscriptions:
    """What keeps the lists of one transport's services live, from one registry.

    `names` has what services are called in the registry, by the names that URLs spell. Thread-safe.
    A registry given as a URL is ours, and closed with the transport.
    """

    def __init__(
        self,
        given: str | Registry,
        *,
        policy: MembershipPolicy,
        names: Mapping[str, str] | None = None,
        on_refresh: Callable[[str, str | None], None],
    ) -> None:
        self.url: str | None = given if isinstance(given, str) else None
        self.registry: Registry = registry_from_url(given) if isinstance(given, str) else given
        self.by_port: bool = own(self.registry, "by_port") is True
        self.objection: Callable[[str], str | None] | None
        self.objection = own(self.registry, "objection")
        """Says why calls to a host may not go to the nodes of the registry without TLS."""
        self._store: SnapshotStore | None = None
        if policy.cache_dir is not None:
            self._store = SnapshotStore(policy.cache_dir, most=policy.cache_files)
        self._names = {_in_urls(name): found for name, found in (names or {}).items()}
        self._on_refresh = on_refresh
        self._feeds: dict[str, tuple[Feed, Future[None]]] = {}
        self._checks: set[Future[None]] = set()
        self._stopped = False
        self._pid = os.getpid()

    def follow(self, service: Service) -> None:
        """Start to keep a service's list live."""
        self.forget(service.name)  # one that an interrupt left without its service
        feed = Feed(
            service,
            self.registry,
            listed_as=self.listed_as(service.name),
            store=self._store,
            on_refresh=self._on_refresh,
        )
        self._feeds[service.name] = feed, background().spawn(feed.run)
        if self._stopped:
            self.stop()

    @property
    def shown(self) -> str:
        """Show the registry, for errors and for readers."""
        return repr_of(self.registry)

    def listed_as(self, service: str) -> str:
        """Give the name that a service has in the registry."""
        return self._names.get(host_name(service), service)

    def names_like(self, service: str) -> Future[list[str]]:
        """Ask for the names of services that are like one that the registry does not know."""
        return background().spawn(names_like, self.listed_as(service), self.registry)

    def forget(self, service: str) -> None:
        """Follow a service no longer."""
        _, task = self._feeds.pop(service, (None, None))
        if task is not None:
            task.cancel()

    def check(self, service: str, node: str) -> None:
        """Ask about a node that has just failed, where the registry knows more than its list."""
        feed, _ = self._feeds.get(service, (None, None))
        if feed is not None and checks(self.registry):
            task = background().spawn(feed.check, node)
            self._checks.add(task)
            task.add_done_callback(self._checks.discard)

    def ask_again(self, service: str) -> None:
        """Ask at once for a list whose nodes cannot be connected to; at most once a second."""
        feed, _ = self._feeds.get(service, (None, None))
        if feed is not None and feed.may_ask:
            background().spawn(feed.ask_again)

    def catch_up(self, service: str) -> bool:
        """Tell whether a list is older than it should be, and have it asked for at once if so.

        This process did not run meanwhile: it was stopped, or the machine slept.
        """
        feed, _ = self._feeds.get(service, (None, None))
        if feed is None or not feed.is_overdue:
            return False
        background().spawn(feed.catch_up)
        return True

    def trouble(self, service: str) -> str | None:
        """Say what is wrong with the registry, as far as a service's list goes."""
        feed, _ = self._feeds.get(service, (None, None))
        return feed.trouble if feed is not None else None

    def age(self, service: str) -> float | None:
        """Give the seconds since the registry last answered; None before, and for a fixed list."""
        feed, _ = self._feeds.get(service, (None, None))
        at = feed.refreshed_at if feed is not None else None
        return None if at is None else lasting() - at

    def renew(self) -> None:
        """Start over in a forked child, whose parent's connections are not its own."""
        self._pid = os.getpid()
        self._feeds.clear()
        self._checks.clear()
        if self.url is not None:
            self.registry = registry_from_url(self.url)

    def stop(self) -> Future[None] | None:
        """Follow nothing any more; the future is done when the registry is closed."""
        self._stopped = True
        if self._pid != os.getpid():
            return None  # dropped unused in a forked child: the registry is still the parent's
        begun = bool(self._feeds)
        for service in list(self._feeds):
            self.forget(service)
        for task in list(self._checks):
            task.cancel()
        return background().spawn(self._close) if begun else None

    async def _close(self) -> None:
        if self.url is not None:
            await close(self.registry)


def _in_urls(name: str) -> str:
    """Give a name as the host of a URL has it."""
    require("names", name, "names of services", name)
    return host_name(name)
