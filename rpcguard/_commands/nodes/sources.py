"""Where `rpcguard nodes` looks: at a list of its own, or at that of a running program."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import httpx

from rpcguard._commands.nodes.rows import Row
from rpcguard._core.balancing.round_robin import RoundRobin
from rpcguard._core.policies.retry import RetryPolicy
from rpcguard._httpx import AsyncTransport
from rpcguard._text import host_name
from rpcguard.errors import InvalidRegistryURL, RegistryError
from rpcguard.registries.base import entry_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STATUS = "status+"
PAGES = ("status+http", "status+https")
_GLANCE = 0.01
"""Seconds between two looks at what a registry has said so far: it is told as soon as it is."""
READY_TIMEOUT = 5.0
"""Seconds for the first list, as a transport waits."""
_CALL_TIMEOUT = 5.0
"""Seconds of a call by `--call`; a node that takes longer is shown as failing."""
_MOST_CALLS = 100.0
"""Calls a second by `--call` at the most: it is a look, not a load test."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a service: its nodes, as `NodeView.as_dict` gives them and to be shown.

    `known` says whether the registry knows the service, `refused` how many nodes it lists outside
    of the allowed networks.
    """

    service: str
    registry: str
    trouble: str | None
    views: list[dict[str, Any]]
    rows: list[Row]
    known: bool = True
    refused: int = 0


class LookSource(Protocol):
    """What can be looked at, every `pause` seconds."""

    pause: float

    async def look(self) -> Look:
        """Look once; raises `RegistryError` where there is nothing to be seen."""
        ...


@asynccontextmanager
async def source(url: str, service: str, *, call: str | None = None) -> AsyncIterator[LookSource]:
    """Open the list of a service, from its registry or a program's `status+http://` page.

    `call` is a path to GET once a second for each node meanwhile. Raises `InvalidRegistryURL`,
    and `RegistryError` when there is no list in time.
    """
    async with AsyncExitStack() as stack:
        if url.startswith(STATUS):
            yield StatusPage(await stack.enter_async_context(httpx.AsyncClient()), url, service)
            return
        entry_of(url, also=PAGES)
        transport = AsyncTransport(url, balancer=RoundRobin, retry=RetryPolicy(attempts=1))
        await stack.enter_async_context(transport)
        own = OwnList(transport, service.lower())
        await first_list(transport, service)
        if call is not None:
            calling = asyncio.ensure_future(own.call(call))
            stack.push_async_callback(_end, calling)
        yield own


async def first_list(transport: AsyncTransport, service: str) -> None:
    """Wait for the first list of a service.

    Raises `RegistryError` as soon as the registry is known to give none.
    """
    waiting = asyncio.ensure_future(transport.wait_ready(service, timeout=READY_TIMEOUT, nodes=0))
    try:
        while not (await asyncio.wait({waiting}, timeout=_GLANCE))[0]:
            for about in transport.services():
                if about.trouble is not None and not about.ready:
                    raise RegistryError(f"service {service!r}: no list ({about.trouble})")
        await waiting
    finally:
        waiting.cancel()


class OwnList:
    """The list that a transport of this process keeps."""

    pause: float = 0.25  # nothing is asked for it, and faster nobody can read

    def __init__(self, transport: AsyncTransport, service: str) -> None:
        self._transport = transport
        self._service = service
        self._listed = 1

    async def look(self) -> Look:
        """Look once."""
        views = [view.as_dict() for view in self._transport.nodes(self._service)]
        self._listed = max(len(views), 1)
        about = next(one for one in self._transport.services() if one.name == self._service)
        rows = [Row.of(view) for view in views]
        return Look(
            self._service,
            about.registry,
            about.trouble,
            views,
            rows,
            known=about.known,
            refused=about.refused,
        )

    async def call(self, path: str) -> None:
        """Call each node about once a second, until cancelled."""
        client = httpx.AsyncClient(
            transport=self._transport,
            base_url=f"http://{self._service}",
            timeout=_CALL_TIMEOUT,
        )
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(_call_once(client, path))
                await asyncio.sleep(1 / min(self._listed, _MOST_CALLS))


async def _call_once(client: httpx.AsyncClient, path: str) -> None:
    with suppress(httpx.HTTPError):  # the list tells what came of it
        await client.get(path)


async def _end(task: asyncio.Future[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


class StatusPage:
    """The list of a running program, through the page of its `asgi_status`."""

    pause: float = 0.5  # each look costs the program an answer

    def __init__(self, client: httpx.AsyncClient, url: str, service: str) -> None:
        try:
            page = httpx.URL(url.removeprefix(STATUS))
        except httpx.InvalidURL as error:
            raise _no_page(url) from error
        if page.scheme not in ("http", "https") or not page.host:
            raise _no_page(url)
        self._url = page.copy_with(path=f"{page.path.rstrip('/')}/nodes.json")
        self._shown = str(page.copy_with(userinfo=b"", query=None))
        self._client = client
        self._service = service

    async def look(self) -> Look:
        """Ask the program once."""
        services = await self.services()
        try:
            by_name = {host_name(name): said for name, said in services.items()}
            about = by_name.get(host_name(self._service))
            rows = [Row.of(view) for view in about["nodes"]] if about else []
            known, refused = (about["known"], about["refused"]) if about else (False, 0)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._not_one() from error
        if about is None:
            called = ", ".join(services) or "none"
            raise RegistryError(
                f"the program at {self._shown} has not called {self._service!r} so far;"
                f" services: {called}"
            )
        registry = f"{about['registry']}, as {self._shown} sees it"
        return Look(
            self._service,
            registry,
            about["trouble"],
            about["nodes"],
            rows,
            known=known,
            refused=refused,
        )

    async def services(self) -> dict[str, Any]:
        """Ask the program for what it has called so far, by name."""
        try:
            answer = await self._client.get(self._url, timeout=READY_TIMEOUT)
            answer.raise_for_status()
            return {one["name"]: one for one in answer.json()["services"]}
        except httpx.HTTPStatusError as error:
            raise RegistryError(f"{self._shown} answers {error.response.status_code}") from error
        except httpx.HTTPError as error:
            raise RegistryError(f"{self._shown} does not answer: {error!r}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise self._not_one() from error

    def _not_one(self) -> RegistryError:
        return RegistryError(f"{self._shown} is no status page of rpcguard")


def _no_page(url: str) -> InvalidRegistryURL:
    return InvalidRegistryURL(
        f"{url!r} is no status page; one looks like status+http://10.0.0.1:8000/-/rpcguard/status"
    )
