"""The configuration file of a running transport: followed for the switches of an incident."""

from __future__ import annotations

import os
import threading
import time
import weakref
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import anyio

from rpcguard._core.policies.incidents import in_force, switches_of
from rpcguard._core.service.effects import Event, carry_out
from rpcguard._discovery.background import background
from rpcguard._text import plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from rpcguard._config.document import ConfigDocument
    from rpcguard._config.settings import ConfigFile, Settings
    from rpcguard._core.policies.incidents import Incident
    from rpcguard._core.service.service import Service


class IncidentSwitches:
    """The switches of one transport's services, as its configuration file has them.

    Thread-safe. `tell` hears of each change as an event `config`, with one of the codes `switched`,
    `ended`, `rejected` (the file is refused whole, and the last good one stays) and `waiting` (what
    has changed besides switches counts from the next start). `wall` is the time in epoch seconds.
    """

    def __init__(
        self,
        settings: Settings,
        tell: Callable[[Event], object],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._file = settings.file
        self._made_of = self._document = settings.document
        self._tell = tell
        self._wall = wall
        self._told: tuple[Incident, ...] = ()
        self._fault: str | None = None
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._services: weakref.WeakSet[Service] = weakref.WeakSet()
        self._task: Future[None] | None = None
        self._stopped = False

    @property
    def incidents(self) -> tuple[Incident, ...]:
        """Give those of the last good file, whether they are over or not."""
        return self._document.incidents

    def follow(self, service: Service) -> None:
        """Let a service go by the switches from now on."""
        if self._file is None:
            return
        self._turn(service)
        with self._lock:
            self._services.add(service)
            if self._task is None:
                self._task = background().spawn(_follow, weakref.ref(self), self._file)
        if self._stopped:
            self.stop()

    def forget(self, service: str) -> None:
        """Follow a service no longer."""
        with self._lock:
            for one in [one for one in self._services if one.name == service]:
                self._services.discard(one)

    def renew(self) -> None:
        """Start over in a forked child, with what the parent knew."""
        self._begin()

    def stop(self) -> None:
        """Follow nothing any more."""
        self._stopped = True  # first: who begins to follow meanwhile looks at it last
        task = self._task
        if task is not None and self._pid == os.getpid():
            task.cancel()

    def take(self, found: object | None, fault: str | None = None) -> None:
        """Take in a look at the file: a document that may be new, None for none, or a fault."""
        if found is not None and self._file is not None:
            try:
                self._adopt(self._file.understood(found))
            except ValueError as error:
                fault = str(error)
            else:
                self._fault = None
        if fault not in (None, self._fault):
            self._fault = fault
            self._say(f"{fault}; the last good one stays", code="rejected", enforced=False)
        self.turn()

    def _adopt(self, document: ConfigDocument) -> None:
        before, self._document = self._document, document
        made_of = self._made_of
        waiting = sorted(
            name
            for name in {*document.options, *before.options}
            if document.options.get(name)
            not in (before.options.get(name), made_of.options.get(name))
        )
        if document.services not in (before.services, made_of.services):
            waiting.append("services")
        if waiting:
            reason = f"{', '.join(waiting)} changed, which counts from the next start"
            self._say(reason, code="waiting", enforced=False)
        for incident in document.incidents:
            if incident.until <= self._wall() and incident not in before.incidents:
                reason = f"over before it began, by the time of the file: {incident.turned}"
                self._say(reason, incident.service, code="ended", enforced=False)

    def turn(self) -> None:
        """Turn the switches of all services as they stand now; tell what has begun or is over."""
        now = in_force(self.incidents, self._wall())
        with self._lock:
            services, told = list(self._services), self._told
            self._told = now
        for service in services:
            self._turn(service)
        for incident in now:
            if incident not in told:
                self._say(_begun(incident), incident.service, code="switched")
        for incident in told:
            if incident not in now:
                self._say(f"over: {incident.turned}", incident.service, code="ended")

    def _turn(self, service: Service) -> None:
        switches = switches_of(self.incidents, service.name, self._wall())
        if service.switches != switches:
            service.switch(switches)

    def _say(self, reason: str, service: str = "", *, code: str, enforced: bool = True) -> None:
        event = Event("config", service, None, plain(reason), enforced, code)
        carry_out(partial(self._tell, event))  # an interrupt has nothing here to end but this


def _begun(incident: Incident) -> str:
    end = datetime.fromtimestamp(incident.until, UTC).isoformat(timespec="seconds")
    why = f" ({incident.why})" if incident.why else ""
    return f"{incident.turned}, until {end}{why}"


async def _follow(here: weakref.ref[IncidentSwitches], file: ConfigFile) -> None:
    while True:
        found, fault = None, None
        try:
            found = await file.document.read()
        except Exception as error:  # whatever is wrong with a file, it goes on to be followed
            fault = f"config {file.path}: cannot be read: {error}"
        switches = here()
        if switches is None:
            return
        switches.take(found, fault)
        del switches
        await anyio.sleep(file.document.interval)
