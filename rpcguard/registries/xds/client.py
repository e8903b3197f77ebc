"""One stream to a control plane, which all services of a registry share."""

from __future__ import annotations

import asyncio
import random
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import anyio
from anyio import to_thread

from rpcguard._files import secret_in
from rpcguard._text import logger
from rpcguard.errors import RegistryError
from rpcguard.registries._shared.backoff import Backoff
from rpcguard.registries._shared.faults import FaultLog
from rpcguard.registries._shared.grpc import connected
from rpcguard.registries._shared.tls import TLSFiles
from rpcguard.registries.xds.books import AdsBooks
from rpcguard.registries.xds.chain import Chain, Resolved
from rpcguard.registries.xds.resources import TYPES
from rpcguard.registries.xds.settings import PLACE

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from rpcguard.registries._shared.grpc import GrpcChannel, GrpcStream
    from rpcguard.registries.xds.books import Missing
    from rpcguard.registries.xds.resources import Resource
    from rpcguard.registries.xds.settings import AdsSettings, ControlPlane

_PATH: Final = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"

Names = dict[str, set[str]]


@dataclass(slots=True)
class Followed:
    """A service that somebody follows."""

    chain: Chain
    watchers: int = 0
    routers: int = 0
    resolved: Resolved | None = None
    """What the control plane says of it, while it speaks to us."""
    names: Names = field(default_factory=dict)
    """The resources behind that."""


class AdsClient:
    """One stream of aggregated discovery, open for as long as somebody follows a service.

    A stream that ends after it has answered is begun anew, at the next address if need be, and
    nobody hears of it: control planes end connections of a certain age. Whoever waits hears of one
    that does not come about, or never answers. Belongs to the event loop of asyncio it is made on.
    """

    def __init__(self, settings: AdsSettings, *, rng: random.Random | None = None) -> None:
        self._settings = settings
        self._backoff = Backoff(rng or random.Random())
        self._faults = FaultLog()
        self._followed: dict[str, Followed] = {}
        self._task: asyncio.Task[None] | None = None
        self._waiting: anyio.CancelScope | None = None
        self._dirty = False
        self._news = anyio.Event()
        self._failures = self._preferred = 0
        self._failure = ""
        self._again_at = 0.0
        self._books = self._new_books()

    def _new_books(self) -> AdsBooks:
        settings = self._settings
        return AdsBooks(
            settings.node,
            patience=settings.patience,
            shown=settings.shown,
            clock=anyio.current_time,
        )

    @contextmanager
    def following(self, service: str, *, routes: bool = False) -> Iterator[Followed]:
        """Follow a service within the block; `routes` says that somebody looks at its routes."""
        followed = self._followed.get(service) or self._new(service)
        followed.watchers += 1
        followed.routers += routes
        self._interest_changed(followed)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
            self._task.add_done_callback(self._ended)
        try:
            yield followed
        finally:
            followed.watchers -= 1
            followed.routers -= routes
            if not followed.watchers and self._followed.get(service) is followed:
                del self._followed[service]
            self._interest_changed(followed)

    def _new(self, service: str) -> Followed:
        settings = self._settings
        name = settings.resource.replace(PLACE, service)
        chain = Chain(
            service,
            name,
            start=settings.start,
            faults=self._faults,
            limited=settings.limited,
        )
        followed = self._followed[service] = Followed(chain)
        return followed

    def _interest_changed(self, followed: Followed) -> None:
        routed = followed.routers > 0
        if followed.chain.routed != routed:
            followed.chain.routed, followed.resolved = routed, None
        if not self._followed:
            self.stop()
        self._dirty = True
        if self._waiting is not None:
            self._waiting.cancel()

    def stop(self) -> None:
        """End the stream; whoever still waits gets an error."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        self._forget()
        self._books = self._new_books()
        if self._followed:
            self._fail(f"{self._settings.shown}: the registry was closed")

    def _forget(self) -> None:
        self._books.end()
        for followed in self._followed.values():
            followed.resolved = None

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._task is task:
            self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(repr(error))

    async def news(self, followed: Followed, last: Resolved | None) -> Resolved:
        """Wait for something else to be known of a service than `last`.

        Raises `RegistryError` when the control plane cannot be reached.
        """
        failures = self._failures
        while followed.resolved is None or followed.resolved is last:
            if self._task is None or self._failures > failures:
                raise RegistryError(self._failure)
            news = self._news
            await news.wait()
        return followed.resolved

    def _tell(self) -> None:
        news, self._news = self._news, anyio.Event()
        news.set()

    def _fail(self, failure: str) -> None:
        self._failures += 1
        self._failure = failure
        self._tell()

    # The stream

    async def _run(self) -> None:
        while True:
            # Not in the pause of each service: a hundred of them would ask a hundred times.
            await anyio.sleep_until(self._again_at)
            began = anyio.current_time()
            errors = await self._try_all()
            if anyio.current_time() - began > self._settings.patience:
                self._backoff.reset()
            self._again_at = anyio.current_time() + self._backoff.pause()
            if errors:
                self._fail("; ".join(errors))

    async def _try_all(self) -> list[str]:
        """Speak to the first address that answers, to the end; give the errors if none does."""
        planes, errors = self._settings.planes, []
        for turn in range(len(planes)):
            index = (self._preferred + turn) % len(planes)
            try:
                await self._converse(planes[index])
            except RegistryError as error:
                errors.append(str(error))
            finally:
                answered = self._books.answered
                # One that was stopped ends late, and the books are another stream's by then.
                if self._task is asyncio.current_task():
                    self._forget()
            if answered:
                self._preferred = index
                logger.debug("%s: the stream ended: %s", self._settings.shown, errors[-1:])
                return []
        return errors

    async def _converse(self, plane: ControlPlane) -> None:
        tls, metadata = await to_thread.run_sync(_credentials, plane)
        async with connected(
            plane.host,
            plane.port,
            patience=self._settings.patience,
            tls=tls,
            name=plane.name,
            path=plane.path,
        ) as channel:
            stream = channel.open(_PATH, metadata)
            self._books.begin()
            until = anyio.current_time() + self._settings.patience
            try:
                while await self._step(channel, stream, until):
                    pass
                if not self._books.answered:
                    raise RegistryError(f"{channel.shown}: the stream ended without an answer")
            finally:
                stream.close()

    async def _step(self, channel: GrpcChannel, stream: GrpcStream, until: float) -> bool:
        """Say what there is to say, and hear the next answer; False at the end."""
        self._dirty = False
        self._settle(until)
        for request in self._books.requests():
            await stream.send(request)
        with anyio.CancelScope(deadline=self._deadline(channel, until)) as self._waiting:
            if self._dirty:
                return True
            message = await stream.receive()
            if message is None:
                return False
            try:
                self._books.take(message)
            except ValueError as error:
                raise RegistryError(f"{channel.shown}: an answer cannot be read: {error}") from None
        return True

    def _deadline(self, channel: GrpcChannel, until: float) -> float:
        """Give when to look again; raise `RegistryError` where an answer should be there by now.

        None at all is an answer too, where nothing was ever there: the service is unknown.
        """
        if self._books.answered:
            return self._books.next_due
        if anyio.current_time() < until:
            return min(until, self._books.next_due)
        if self._books.holds_some or not channel.answers:
            raise RegistryError(f"{channel.shown}: no answer in {self._settings.patience:g} s")
        return self._books.next_due

    def _settle(self, until: float) -> None:
        """See what is known of each service now, and what has to be asked for.

        Before the first answer, or `until` then, nothing is told: what is held is of another time.
        """
        told = self._books.answered or anyio.current_time() >= until
        wanted: Names = {url: set() for url in TYPES}
        changed = False
        for followed in self._followed.values():
            names: Names = {url: set() for url in TYPES}

            def find(url: str, name: str, names: Names = names) -> Resource | Missing:
                names[url].add(name)
                return self._books.find(url, name)

            found = followed.chain.walk(find)
            if found is not None:
                followed.names = names
                if told:
                    changed = changed or followed.resolved is not found
                    followed.resolved = found
            for url in TYPES:
                wanted[url] |= names[url] | followed.names.get(url, set())
        self._books.want(wanted)
        if changed:
            self._tell()


def _credentials(
    plane: ControlPlane,
) -> tuple[ssl.SSLContext | None, list[tuple[str, str]]]:
    """Read what a connection needs of files; raise `RegistryError` where one cannot be used."""
    tls = plane.tls.context() if isinstance(plane.tls, TLSFiles) else plane.tls
    token = plane.token
    if plane.token_file is not None:
        try:
            token = secret_in(plane.token_file)
        except ValueError as error:
            raise RegistryError(f"the token file {plane.token_file!r}: {error}") from error
    return tls, [("authorization", f"Bearer {token}")] if token else []
