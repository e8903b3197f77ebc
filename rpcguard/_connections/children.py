"""The child transports of the nodes: how they are made, and what is sent to them."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar
from weakref import WeakValueDictionary

from rpcguard._checks import require
from rpcguard._connections.contexts import TlsContext
from rpcguard._connections.idle_age import IdleAge
from rpcguard._text import about, logger
from rpcguard._wire.h2_counts import StreamCount
from rpcguard._wire.parsers import head_parser

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Mapping
    from types import ModuleType

    import httpx

    from rpcguard._connections.library import Library
    from rpcguard._core.nodes.node import Node


ChildT = TypeVar("ChildT")
Flavour = Literal["sync", "aio"]
"""How calls are driven: in threads or in tasks."""

SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
"""The schemes of a call's URL, and over what each is spoken."""

PORTS = {"http": 80, "https": 443}
"""Where each is spoken when a URL names no port."""


def scheme_of(node: Node, asked: str) -> str:
    """Say over what a call goes to a node: TLS where the registry or the URL wants it.

    So whoever writes https gets it, or an error: a registry cannot turn it off.
    """
    return "https" if node.scheme == "https" else SCHEMES[asked]


class NodeRequest:
    """The request of one attempt, as far as a node's connections look at it.

    A request of httpx takes several times as long to make. The headers are the caller's own:
    whoever adds to them replaces them by a copy.
    """

    __slots__ = (
        "buffered",
        "extensions",
        "fresh",
        "headers",
        "method",
        "patience",
        "repeatable",
        "stream",
        "url",
    )

    def __init__(
        self,
        request: httpx.Request,
        stream: Any,
        extensions: dict[str, Any],
        patience: Callable[[], float] | None = None,
        *,
        repeatable: bool = True,
        fresh: bool = False,
        buffered: int = 0,
    ) -> None:
        self.method: str = request.method
        self.url: httpx.URL = request.url
        self.headers: httpx.Headers = request.headers
        self.stream: Any = stream
        self.extensions: dict[str, Any] = extensions
        self.patience = patience
        self.repeatable = repeatable
        self.fresh = fresh
        self.buffered = buffered


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildOptions:
    """What a user says of the children that rpcguard makes itself; as in `httpx.HTTPTransport`."""

    verify: ssl.SSLContext | str | bool = True
    cert: Any = None
    trust_env: bool = True
    http1: bool = True
    http2: bool = False
    limits: httpx.Limits | None = None
    local_address: str | None = None
    socket_options: Iterable[Any] | None = None


class Children(Generic[ChildT]):
    """What makes the children of one transport, all with one TLS context, and their requests.

    Keeps none, and does not know its transport: a child that outlives that must not keep it alive.
    `addressed` says that they are the user's own, which go by the URL of a request.
    """

    def __init__(
        self,
        library: Library,
        flavour: Flavour,
        options: ChildOptions,
        *,
        node_transport: Callable[[Node], ChildT] | None = None,
    ) -> None:
        usable = node_transport is None or callable(node_transport)
        require("node_transport", node_transport, "what makes a transport of a node", usable)
        http, given = library.http, options.socket_options
        self._http: ModuleType = http
        self._node_transport = node_transport
        self._options: dict[str, Any] = {
            # Below the idle timeout of common servers (5 s), or both ends close at once.
            "limits": options.limits or http.Limits(max_connections=100, keepalive_expiry=4.0),
            "local_address": options.local_address,
            "socket_options": None if given is None else list(given),
        }
        self._http1 = options.http1
        self._stack: Callable[..., ChildT] = _stack_of(library, flavour)
        self._http2: Callable[..., ChildT] | None = None
        if options.http2:
            self._http2 = _http2_stack_of(library, flavour)
        self.addressed: bool = node_transport is not None
        verify, cert = options.verify, options.cert
        self._tls = TlsContext(http, verify=verify, cert=cert, trust_env=options.trust_env)
        self._ages: WeakValueDictionary[str, IdleAge] = WeakValueDictionary()
        self._counts: WeakValueDictionary[str, StreamCount] = WeakValueDictionary()
        if node_transport is None:
            # Else the first call would load them, while an event loop waits for it.
            library.errors_of(library.core)
            head_parser()
        # What is wrong with the options is to be told now, not at the first call.
        if verify is not True or cert is not None:
            self._tls.prove()

    def child(self, node: Node, scheme: str, service: str) -> ChildT:
        """Make the child of a node of a service, for http or https."""
        if self._node_transport is not None:
            return self._node_transport(node)
        return self.direct(scheme, node.host, node.port, service, uds=node.uds)

    def direct(
        self,
        scheme: str,
        host: str,
        port: int,
        service: str | None = None,
        *,
        uds: str | None = None,
    ) -> ChildT:
        """Make a child that goes to an address; those of one service learn from each other."""
        make: Callable[..., ChildT] = self._stack
        # Without TLS nothing is agreed on: then HTTP/2 is spoken where nothing else may be.
        if self._http2 is not None and (scheme == "https" or not self._http1):
            count = None if service is None else self._counts.setdefault(service, StreamCount())
            make = functools.partial(self._http2, http1=self._http1, streams=count)
        return make(
            scheme=scheme,
            host=host,
            port=port,
            uds=uds,
            ssl_context=self._tls,
            idle_age=None if service is None else self._ages.setdefault(service, IdleAge()),
            **self._options,
        )

    def request(
        self,
        request: httpx.Request,
        body: Any,
        node: Node,
        timeouts: Mapping[str, Any],
        *,
        scheme: str,
        patience: Callable[[], float] | None = None,
        repeatable: bool = True,
        fresh: bool = False,
        buffered: int = 0,
    ) -> Any:
        """Make the request of one attempt: it goes to the node, and names the service.

        `patience` tells how many seconds of silence are enough once the node says that it leaves,
        `repeatable` whether another attempt may follow one that was cut off, `fresh` whether it
        needs a new connection, `buffered` up to how many bytes an answer is read before it is
        handed out.
        """
        url = request.url
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug(
                "service %s: sending to node %s", url.host, node.id, extra=about(url.host, node.id)
            )
        extensions = {**request.extensions, "timeout": timeouts}
        extensions.pop("rpcguard", None)
        if scheme == "https":
            extensions.setdefault("sni_hostname", url.raw_host.decode("ascii"))
        if not self.addressed:
            return NodeRequest(
                request,
                body,
                extensions,
                patience,
                repeatable=repeatable,
                fresh=fresh,
                buffered=buffered,
            )
        url = url.copy_with(scheme=scheme, host=node.host, port=node.port)
        return self._made(request, url, body, extensions)

    def _made(self, request: httpx.Request, url: Any, body: Any, extensions: Any) -> httpx.Request:
        made: httpx.Request = self._http.Request(
            request.method, url, headers=request.headers, stream=body, extensions=extensions
        )
        return made


def _stack_of(library: Library, flavour: Flavour) -> Callable[..., Any]:
    # Loaded where it is wanted: threads need no anyio, and tasks no lock.
    if flavour == "sync":
        from rpcguard._connections.sync import SyncExchange

        return functools.partial(library.derive(SyncExchange, "BaseTransport"), library)
    from rpcguard._connections.aio import AsyncExchange

    return functools.partial(library.derive(AsyncExchange, "AsyncBaseTransport"), library)


def _http2_stack_of(library: Library, flavour: Flavour) -> Callable[..., Any]:
    try:
        if flavour == "sync":
            from rpcguard._connections.http2.sync import SyncHttp2Exchange

            return functools.partial(library.derive(SyncHttp2Exchange, "BaseTransport"), library)
        from rpcguard._connections.http2.aio import AsyncHttp2Exchange
    except ModuleNotFoundError as missing:
        if missing.name != "h2":
            raise
        raise ImportError("http2=True needs h2: pip install 'rpcguard[http2]'") from missing
    return functools.partial(library.derive(AsyncHttp2Exchange, "AsyncBaseTransport"), library)
