"""The registries `xds://` and `xds+tls://`: aggregated discovery (ADS) by gRPC."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final

from rpcguard._core.policies.membership import OVERPROVISION
from rpcguard.errors import RegistryError
from rpcguard.registries._shared.loops import PerLoop
from rpcguard.registries.xds.client import AdsClient
from rpcguard.registries.xds.settings import settings_of

if TYPE_CHECKING:
    import random
    import ssl
    from collections.abc import AsyncGenerator

    from rpcguard._core.nodes.snapshot import Snapshot
    from rpcguard._core.policies.routing import Route
    from rpcguard.registries.xds.chain import Resolved


class AdsRegistry:
    """A registry that holds one stream of aggregated discovery (ADS) to an xDS control plane.

    URL form: `xds://10.0.0.1:15010,10.0.0.2:15010` or `xds+tls://:TOKEN@istiod:15012`, with all in
    gRPC's bootstrap file `xds:///`; `docs/registries/xds` has the options, what Istio wants, and
    where each field of a node comes from. Several addresses are one control plane.

    Live: listener, routes, clusters and endpoints are pushed, in the state-of-the-world variant.
    What cannot be understood is refused with its reason, and what was in use before stays; so it
    does where a resource is deleted, and while the stream is down. A service whose listener does
    not come within the timeout is unknown. Works on asyncio, with a stream for each event loop;
    needs the package h2.
    """

    overprovision: Final = OVERPROVISION
    """How much more than its part a level of priority bears, where the user does not say."""

    def __init__(
        self,
        url: str,
        *,
        ssl_context: ssl.SSLContext | None = None,
        rng: random.Random | None = None,
    ) -> None:
        settings = settings_of(url, ssl_context)
        self._shown = settings.shown
        self._clients = PerLoop(partial(AdsClient, settings, rng=rng))

    @classmethod
    def from_url(cls, url: str) -> AdsRegistry:
        """Read an `xds://` or `xds+tls://` URL; raise `InvalidRegistryURL` for a wrong one."""
        return cls(url)

    async def fetch(self, service: str) -> Snapshot:
        """Give the list as the stream has it; raise `RegistryError` where there is no stream."""
        async with aclosing(self.watch(service)) as snapshots:
            async for snapshot in snapshots:
                return snapshot
        raise RegistryError(f"{self._shown}: the stream ended")

    async def watch(self, service: str) -> AsyncGenerator[Snapshot, None]:
        """Yield the list, and again after each change; raise `RegistryError` without a stream."""
        last: Resolved | None = None
        client = self._clients.here()
        with client.following(service) as followed:
            while True:
                found = await client.news(followed, last)
                if last is None or found.snapshot != last.snapshot:
                    yield found.snapshot
                last = found

    async def routes(self, service: str) -> tuple[Route, ...]:
        """Give the routes as the stream has them; raise `RegistryError` where there is none."""
        async with aclosing(self.watch_routes(service)) as pushed:
            async for routes in pushed:
                return routes
        raise RegistryError(f"{self._shown}: the stream ended")

    async def watch_routes(self, service: str) -> AsyncGenerator[tuple[Route, ...], None]:
        """Yield the routes, and again after each change; the list then has all their nodes."""
        last: Resolved | None = None
        client = self._clients.here()
        with client.following(service, routes=True) as followed:
            while True:
                found = await client.news(followed, last)
                if last is None or found.routes != last.routes:
                    yield found.routes
                last = found

    async def aclose(self) -> None:
        """End the stream of the running event loop."""
        client = self._clients.part()
        if client is not None:
            client.stop()

    def __repr__(self) -> str:
        return f"AdsRegistry({self._shown!r})"
