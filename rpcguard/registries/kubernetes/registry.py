"""The registry `kubernetes://`: EndpointSlices of a cluster, listed and watched."""

from __future__ import annotations

import re
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import anyio

from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard._files import secret_in
from rpcguard.errors import RegistryError
from rpcguard.registries._shared.client import HttpReply, RegistryClient
from rpcguard.registries._shared.documents import MAX_BYTES
from rpcguard.registries._shared.faults import FaultLog
from rpcguard.registries._shared.fields import mapping, number, objects, part
from rpcguard.registries._shared.nodes import nodes_from_json
from rpcguard.registries._shared.urls import RegistryURL, parse_url
from rpcguard.registries.kubernetes.access import OPTIONS, Access
from rpcguard.registries.kubernetes.endpoint_slices import EndpointSlices, ExpiredError

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence

    from rpcguard.registries._shared.tls import TLSSource

_EXAMPLE: Final = "kubernetes://my-namespace?port=http&server=https://10.0.0.1:6443"
_OPTIONS: Final = ("port", "timeout", *OPTIONS)
_NAME: Final = "kubernetes.io/service-name"
"""The label by which a slice says whose it is."""
_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

_WATCH_SECONDS: Final = 300  # seconds; the API server closes watches at five to ten minutes anyway
_IDLE: Final = 150.0  # seconds: bookmarks come about once a minute, and one may be late
_SHORTEST_WATCH: Final = 1.0  # seconds: watches that end at once do not become a flood of requests
_LONGEST_RETRY_AFTER: Final = 30.0  # seconds: as long as the longest back-off


class KubernetesRegistry:
    """A registry that follows the EndpointSlices of a Kubernetes service.

    URL form: `kubernetes://namespace?port=http`; without a namespace (`kubernetes:///`) that of the
    pod. A service in another namespace is called as `http://name.namespace/`.
    `docs/registries/kubernetes` has the options, the role that the account needs, and where each
    field of a node comes from.

    Live by list and watch: the slices of a service are listed at once and merged, then each change
    of a slice is applied. Bookmarks keep the position fresh; when it is too old (410) everything is
    listed again; a stream without even a bookmark for 150 s is broken. The token is read anew for
    every request, since it is replaced every hour or so. A service without any slice is unknown;
    a slice without endpoints is an empty list. Works on asyncio and trio; `aclose` it in the event
    loop that used it.
    """

    def __init__(
        self,
        namespace: str,
        *,
        servers: Sequence[str],
        port: str | None = None,
        token: str | None = None,
        bearer: Callable[[], str | None] | None = None,
        tls: TLSSource | ssl.SSLContext | None = None,
        timeout: float = 10.0,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._namespace = namespace
        self._port = port
        self._token = token
        self._bearer = bearer
        self._shown = f"{', '.join(servers)}, namespace {namespace}"
        self._client = RegistryClient(servers, tls=tls, timeout=timeout, max_bytes=max_bytes)
        self._faults = FaultLog()

    @classmethod
    def from_url(cls, url: str) -> KubernetesRegistry:
        """Read a `kubernetes://` URL; raise `InvalidRegistryURL` naming the part that is wrong."""
        parsed = parse_url(url, example=_EXAMPLE, default_port=1, options=_OPTIONS)
        _check(parsed)
        access = Access.from_url(parsed)
        return cls(
            _namespace(parsed, access),
            servers=access.servers,
            port=parsed.query.get("port"),
            token=access.token_file,
            bearer=access.token,
            tls=access.tls,
            timeout=parsed.number("timeout", 10.0),
        )

    async def fetch(self, service: str) -> Snapshot:
        """List now; raise `RegistryError` where there is no usable answer."""
        target = self._target(service)
        if target is None:
            return Snapshot((), known=False)
        return self._snapshot(service, await self._list(target))

    async def watch(self, service: str) -> AsyncIterator[Snapshot]:
        """Yield the list first and after each change; raise when it cannot be followed."""
        target = self._target(service)
        if target is None:
            yield Snapshot((), known=False)
            await anyio.sleep_forever()
            return
        last: Snapshot | None = None
        while True:
            begun = time.monotonic()
            slices = await self._list(target)
            try:
                async with aclosing(self._changes(target, slices)) as changes:
                    async for _ in changes:
                        fresh = self._snapshot(service, slices)
                        if fresh != last:
                            yield fresh
                        last = fresh
            except ExpiredError:
                await _pause(begun)

    async def services(self) -> Collection[str]:
        """Return the names of the namespace that have a slice; raise as `fetch` does."""
        target = _slices(self._namespace)
        answer = await self._client.request("GET", target, headers=self._headers())
        if answer.status != 200:
            raise await _refused(answer)
        try:
            items = objects(mapping(answer.json()), "items")
        except ValueError as error:
            raise answer.error(str(error)) from error
        labels = (part(part(one, "metadata"), "labels") for one in items)
        return {str(label[_NAME]) for label in labels if _NAME in label}

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def __repr__(self) -> str:
        return f"KubernetesRegistry({self._shown!r})"

    def _target(self, service: str) -> str | None:
        name, _, rest = service.partition(".")
        namespace = rest.partition(".")[0] or self._namespace
        if not _LABEL.fullmatch(name) or not _LABEL.fullmatch(namespace):
            return None
        query = urlencode({"labelSelector": f"{_NAME}={name}"})
        return f"{_slices(namespace)}?{query}"

    async def _list(self, target: str) -> EndpointSlices:
        answer = await self._client.request("GET", target, headers=self._headers())
        if answer.status != 200:
            raise await _refused(answer)
        try:
            return EndpointSlices(answer.json())
        except ValueError as error:
            raise answer.error(str(error)) from error

    async def _changes(self, target: str, slices: EndpointSlices) -> AsyncGenerator[None, None]:
        """Bring slices up to date, yielding at once and after each change."""
        yield
        left = MAX_BYTES  # what a list may have at once, changes may not bring by and by
        while True:
            begun = time.monotonic()
            more = {"watch": 1, "allowWatchBookmarks": "true", "timeoutSeconds": _WATCH_SECONDS}
            query = urlencode({**more, "resourceVersion": slices.version})
            lines = await self._client.stream(
                "GET", f"{target}&{query}", headers=self._headers(), idle=_IDLE
            )
            if isinstance(lines, HttpReply):
                raise ExpiredError if lines.status == 410 else await _refused(lines)
            try:
                async for line in lines:
                    left -= len(line)
                    if left < 0:
                        raise ExpiredError
                    if slices.take(line):
                        yield
            except ValueError as error:
                raise RegistryError(f"{self._shown}: {error}") from error
            finally:
                await lines.aclose()
            await _pause(begun)  # the server ends a watch now and then; it goes on from there

    def _headers(self) -> dict[str, str]:
        bearer = None if self._bearer is None else self._bearer()
        if self._token is not None:
            try:
                bearer = secret_in(self._token)
            except ValueError as error:
                raise RegistryError(f"token file {self._token}: {error}") from error
        return {} if bearer is None else {"Authorization": f"Bearer {bearer}"}

    def _snapshot(self, service: str, slices: EndpointSlices) -> Snapshot:
        where = f"{self._shown}, service {service!r}"
        try:
            entries, lacking = slices.nodes(self._port)
            self._faults.report(f"{where}, ports", lacking)
            nodes = nodes_from_json(entries, where=where, faults=self._faults)
        except ValueError as error:
            raise RegistryError(f"{where}: {error}") from error
        if lacking and not nodes:
            raise RegistryError(f"{where}: {lacking}")
        return Snapshot(nodes, known=bool(slices.by_name))


def _slices(namespace: str) -> str:
    return f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"


async def _pause(begun: float) -> None:
    # A server that ends every stream at once must not be asked without end.
    await anyio.sleep(max(0.0, begun + _SHORTEST_WATCH - time.monotonic()))


async def _refused(answer: HttpReply) -> RegistryError:
    seconds = number(answer.headers.get("retry-after"))
    if seconds is not None and answer.status in (429, 503):
        await anyio.sleep(min(seconds, _LONGEST_RETRY_AFTER))
    return answer.error()


def _check(parsed: RegistryURL) -> None:
    if parsed.username is not None or parsed.password is not None:
        raise parsed.invalid("there is no user or password: write a token into a file")
    if parsed.path.strip("/"):
        raise parsed.invalid("there is no path: the namespace stands where a host would")
    if len(parsed.hosts) > 1:
        raise parsed.invalid("there can be only one namespace")


def _namespace(parsed: RegistryURL, access: Access) -> str:
    name = parsed.hosts[0][0] if parsed.hosts else access.namespace
    if name is None:
        raise parsed.invalid("outside of a pod, the namespace must be given")
    if not _LABEL.fullmatch(name):
        raise parsed.invalid(f"{name!r} is no namespace")
    return name
