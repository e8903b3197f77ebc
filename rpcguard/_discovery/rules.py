"""Rules are followed here: what a source says of a service is what its calls go by."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING

import anyio

from rpcguard._clock import lasting
from rpcguard._discovery.adapters import is_of_adapter
from rpcguard._discovery.background import background as background
from rpcguard._discovery.rule_sources import PLACE, DocumentRules, RegistryRules, WatchedRules
from rpcguard.errors import RegistryError
from rpcguard.registries._shared.faults import FaultLog
from rpcguard.registries.base import has_rules, pushes_rules

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from rpcguard._core.policies.routing import Route, Routing
    from rpcguard._core.service.service import Service
    from rpcguard._discovery.following import Subscriptions
    from rpcguard._discovery.rule_sources import RuleSource

_DOCUMENTS = ("file://", "http://", "https://")
_TOLD = (OSError, RegistryError, ValueError)
"""Errors whose words say enough; of any other the class is told as well."""


class Rules:
    """The rules of one transport, followed from their source.

    Thread-safe. `following` has the registry, for the source `"registry"`. `on_refresh` hears what
    came of each look: `"changed"`, `"same"`, `"rejected"` or `"failed"`. What is rejected, gone or
    out of reach leaves the last good rules in force.
    """

    def __init__(
        self, routing: Routing, following: Subscriptions, *, on_refresh: Callable[[str], None]
    ) -> None:
        source = routing.source
        self._following = following
        self._of_registry = self._beside_list = False
        if source == "registry":
            source = following.url or ""
            self._beside_list = source.startswith(_DOCUMENTS)
            self._of_registry = not self._beside_list
            if self._of_registry and not has_rules(following.registry):
                raise ValueError(
                    'source "registry" must be beside a registry of file:// or http(s)://,'
                    " whose documents have room for rules, or one that has rules of its own:"
                    " zookeeper://, nacos://, polaris:// or xds://"
                )
        self._url = source
        self._may_fail = routing.may_fail
        self._per_service = self._of_registry or (source is not None and PLACE in source)
        self._on_refresh = on_refresh
        self._faults = FaultLog()
        self._begin()
        if source is not None:
            self._source("any")  # what is wrong with it is told here

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._routes: dict[str, tuple[Route, ...]] = {}
        self._services: weakref.WeakValueDictionary[str, Service] = weakref.WeakValueDictionary()
        self._tasks: dict[str, Future[None]] = {}
        self._stopped = False
        self._refreshed: dict[str, float] = {}
        self._troubles: dict[str, str] = {}
        self._rejected: set[str] = set()
        self._in_force: set[str] = set()

    def ready(self, service: str) -> bool:
        """Tell whether the rules of a service have been read once, or need not be."""
        return self._url is None or self._key(service) in self._in_force

    def age(self, service: str) -> float | None:
        """Give the seconds since the source last had the rules in force; None before, or without.

        It goes on to rise while a document is refused.
        """
        at = self._refreshed.get(self._key(service))
        return None if at is None else lasting() - at

    def trouble(self, service: str) -> str | None:
        """Say why the last document was not taken; None where it was."""
        return self._troubles.get(self._key(service))

    def _key(self, service: str) -> str:
        return service if self._per_service else ""

    def follow(self, service: Service) -> None:
        """Apply the rules to a service from now on."""
        if self._url is None:
            return
        key = self._key(service.name)
        with self._lock:
            self._services[service.name] = service
            if key in self._routes:
                # Told with its first pick: who listens is called without a lock held.
                service.go_by(self._routes[key])
            if key not in self._tasks and not self._stopped:
                self._tasks[key] = background().spawn(self._follow, key)

    def forget(self, service: str) -> None:
        """Follow the rules of a service no longer."""
        with self._lock:
            self._services.pop(service, None)
            if self._per_service and service in self._tasks:
                self._tasks.pop(service).cancel()
                for said in (self._routes, self._refreshed, self._troubles):
                    said.pop(service, None)
                self._in_force.discard(service)
                self._rejected.discard(service)

    def renew(self) -> None:
        """Start over in a forked child; what the services went by stays until it is read anew."""
        self._begin()

    def stop(self) -> None:
        """Follow nothing any more."""
        if self._pid != os.getpid():
            return  # dropped unused in a forked child, where the lock may be held for ever
        with self._lock:
            self._stopped = True
            while self._tasks:
                self._tasks.popitem()[1].cancel()

    def _source(self, key: str) -> RuleSource:
        registry = self._following.registry
        if self._of_registry and has_rules(registry):
            listed_as = self._following.listed_as(key)
            if pushes_rules(registry):
                return WatchedRules(registry, key, listed_as, may_fail=self._may_fail)
            return RegistryRules(registry, key, listed_as, may_fail=self._may_fail)
        return DocumentRules(
            self._url or "", key, may_fail=self._may_fail, beside_list=self._beside_list
        )

    async def _follow(self, key: str) -> None:
        source = self._source(key)
        shown = (self._url or self._following.shown).partition("?")[0].rpartition("@")[2]
        where = f"rules of {shown}{key and f', service {key}'}"
        while True:
            self._on_refresh(await self._look(key, source, where))
            await anyio.sleep(source.interval)

    async def _look(self, key: str, source: RuleSource, where: str) -> str:
        try:
            found = await source.read()
        except ValueError as error:
            self._rejected.add(key)
            return self._keep(key, where, error, "rejected")
        except BaseException as error:  # of an adapter it may be anything, and it is asked again
            if not is_of_adapter(error):
                raise
            return self._keep(key, where, error, "failed")
        if found is None and key in self._rejected:
            return "same"  # as what was refused, which is still there
        self._rejected.discard(key)
        self._troubles.pop(key, None)
        self._faults.report(where, None)
        self._refreshed[key] = lasting()
        if found is None or found == self._routes.get(key):
            return "same"
        self._take(key, found)
        return "changed"

    def _keep(self, key: str, where: str, error: BaseException, outcome: str) -> str:
        said = f"{error}" if isinstance(error, _TOLD) else repr(error)
        self._troubles[key] = said
        self._faults.report(where, f"{said}; the last rules stay")
        return outcome

    def _take(self, key: str, routes: tuple[Route, ...]) -> None:
        self._routes[key] = routes
        # By their references, which are listed at once: other threads may add services meanwhile.
        for ref in self._services.valuerefs():
            service = ref()
            if service is not None and self._key(service.name) == key:
                with self._lock:
                    service.go_by(self._routes[key])
                service.tell()
        self._in_force.add(key)  # not before: whoever has waited for rules goes by them
