"""One target for every parser of bytes from outside."""

from __future__ import annotations

import gzip
import importlib.metadata
import json
import math
from base64 import b64encode
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any
from unittest import mock

from rpcguard._core.call.plan import CallPlan, read_options
from rpcguard._core.nodes.node import Node
from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard._core.outcomes.responses import classify_response
from rpcguard._core.policies.retry import RetryPolicy
from rpcguard._discovery.store import SnapshotStore
from rpcguard.errors import InvalidRegistryURL, RegistryError
from rpcguard.registries import consul
from rpcguard.registries._shared import bodies as _bodies
from rpcguard.registries._shared.faults import FaultLog
from rpcguard.registries._shared.nodes import nodes_from_json
from rpcguard.registries.base import registry_from_url
from rpcguard.registries.etcd import registry as etcd
from rpcguard.registries.etcd.layouts import LAYOUTS as ETCD_LAYOUTS
from rpcguard.registries.eureka import EurekaRegistry
from rpcguard.registries.file import FileRegistry, _FileState
from rpcguard.registries.http import HttpRegistry
from rpcguard.registries.kubernetes import registry as kubernetes
from rpcguard.registries.kubernetes.endpoint_slices import EndpointSlices, ExpiredError
from rpcguard.registries.nacos import NacosRegistry
from rpcguard.registries.polaris import PolarisRegistry
from rpcguard.registries.xds.rest import XdsRegistry
from rpcguard.registries.zookeeper.znodes import LAYOUTS as ZNODE_LAYOUTS
from rpcguard.registries.zookeeper.znodes import Znode
from tests.fuzz import http11, templates
from tests.fuzz.answers import Client, File, drained, finished, written
from tests.fuzz.draw import ODDITIES, Draw, Template
from tests.fuzz.resolver import Questions
from tests.fuzz.stand import Broken, Stand

Run = Callable[[Stand, bytes], None]

_SERVICES, _NODES = Template(templates.SERVICES), Template(templates.NODES)
_CONSUL, _CURATOR = Template(templates.CONSUL), Template(templates.CURATOR)
_TOKEN, _LOGIN = Template({"token": "t"}), Template(templates.LOGIN)
_LIST, _EVENT = Template(templates.ETCD_LIST), Template(templates.ETCD_EVENT)
_VALUES = [Template(value) for value in templates.ETCD_VALUES]
_VALUE = templates.VALUE.encode()
_DUBBO = [Template(name) for name in templates.DUBBO_NAMES]
_SLICES, _SLICE_EVENT = Template(templates.SLICES), Template(templates.SLICE_EVENT)


@dataclass(frozen=True)
class Target:
    """Name a parser: what runs an input, good inputs, and words that it knows."""

    run: Run
    seeds: tuple[bytes, ...] = (b"",)
    words: tuple[str, ...] = field(default=(), repr=False)


async def _fetch(registry: Any) -> Any:
    return await registry.fetch("orders")


async def _fetch_all(registry: HttpRegistry) -> Any:
    # Without the question that services share: it belongs to an event loop.
    return registry._snapshot(await registry._ask(registry._target, None), "orders")


def _fetching(
    make: Callable[[], Any],
    *documents: Any,
    attribute: str = "_client",
    fetch: Callable[[Any], Coroutine[Any, Any, Any]] = _fetch,
) -> Run:
    """Ask an adapter whose answers are the input's."""
    client = Client()
    registry = make()
    several = isinstance(getattr(registry, attribute), list)
    setattr(registry, attribute, [client] if several else client)

    good = [Template(document) for document in documents]

    def run(stand: Stand, data: bytes) -> None:
        client.draw = draw = Draw(data)
        client.template = draw.choice(good)
        try:
            stand.take(finished(fetch(registry)))
        except RegistryError as error:
            _look_at(error)

    return run


def _look_at(error: Exception) -> None:
    if len(str(error)) > 2000:
        raise Broken("an error is endless")


def _either(*runs: Run) -> Run:
    def run(stand: Stand, data: bytes) -> None:
        runs[data[0] % len(runs) if data else 0](stand, data[1:])

    return run


def _file(stand: Stand, data: bytes) -> None:
    registry = _a_file()
    registry._path = File(written(Draw(data), _SERVICES))  # type: ignore[assignment]
    try:
        state = _FileState(content=registry._read())
        stand.take(registry._list(state, "orders"))
    except (OSError, ValueError):  # what `fetch` and `watch` take for a broken file
        return
    except RegistryError as error:
        _look_at(error)


@cache
def _a_file() -> FileRegistry:
    return FileRegistry("/etc/services.json")


@cache
def _a_store() -> SnapshotStore:
    return SnapshotStore("/nowhere")


def _cache(stand: Stand, data: bytes) -> None:
    body = written(Draw(data), _NODES)
    with mock.patch("rpcguard._discovery.store._read", return_value=body):
        kept = _a_store().load("orders")
    if kept is not None:
        stand.take(kept)


def _consul_watch(stand: Stand, data: bytes) -> None:
    registry, client = consul.ConsulRegistry("consul://h"), Client()
    registry._client, client.template = client, _CONSUL  # type: ignore[assignment]
    client.draw = Draw(data)
    with mock.patch.object(consul._Pace, "wait", _at_once):
        for snapshot in drained(registry.watch("orders"), 1):
            stand.take(snapshot)


async def _at_once(_: object) -> None:
    pass


_NO_PAUSES = SimpleNamespace(sleep=_at_once)


def _etcd(layout: str) -> Run:
    registry, client = etcd.EtcdRegistry(f"etcd://h/?layout={layout}"), Client()
    registry._client = client  # type: ignore[assignment]

    def run(stand: Stand, data: bytes) -> None:
        draw = Draw(data)
        value = b64encode(written(draw, draw.choice(_VALUES)))
        client.draw, client.value = draw, value
        client.lines = [
            written(draw, _EVENT).replace(_VALUE, value) for _ in range(draw.byte() % 3)
        ]
        client.template = _LIST
        with mock.patch.object(etcd, "anyio", _NO_PAUSES):
            for snapshot in drained(registry.watch("orders"), 3):
                stand.take(snapshot)

    return run


def _etcd_login(_: Stand, data: bytes) -> None:
    registry, client = etcd.EtcdRegistry("etcd://user:password@h"), Client()
    registry._client, client.template = client, _TOKEN  # type: ignore[assignment]
    client.draw = Draw(data)
    try:
        token = finished(registry._log_in())
    except RegistryError as error:
        _look_at(error)
    else:
        _look_at_token(token)


def _nacos_login(_: Stand, data: bytes) -> None:
    registry, client = NacosRegistry("nacos://user:password@h"), Client()
    registry._client, client.template = client, _LOGIN  # type: ignore[assignment]
    client.draw = Draw(data)
    try:
        token = finished(registry._login())
    except RegistryError as error:
        _look_at(error)
    else:
        _look_at_token(token)


def _look_at_token(token: object) -> None:
    if not isinstance(token, str):
        raise Broken(f"a token is {token!r}")


def _zookeeper(name: str) -> Run:
    layout = ZNODE_LAYOUTS[name](protocols=("rest", "http", "https"), group=None, version=None)
    faults = FaultLog()

    def run(stand: Stand, data: bytes) -> None:
        draw = Draw(data)
        znodes = []
        for number in range(1 + draw.byte() % 3):
            child = f"n{number}"
            if not layout.has_data:
                named = written(draw, draw.choice(_DUBBO)).decode("utf-8", "replace")
                child = named.replace("/", "%2F")
            body = written(draw, _CURATOR) if layout.has_data else b""
            znodes.append(Znode(f"/services/orders/{child}", body, draw.byte(), 1.7e9))
        try:
            chosen = layout.chosen(znodes)
            nodes = nodes_from_json(chosen, where="zk", faults=faults, read=layout.node)
        except ValueError:  # what `fetch` takes for a broken list
            return
        stand.take(Snapshot(nodes))

    return run


def _kubernetes(stand: Stand, data: bytes) -> None:
    registry = _a_cluster(Draw(data[:1]).choice((None, "http", "8080")))
    client: Any = registry._client
    client.draw = draw = Draw(data[1:])
    client.template = _SLICES
    try:
        slices: EndpointSlices = finished(registry._list("/path"))
        stand.take(registry._snapshot("orders", slices))
        for _ in range(draw.byte() % 3):
            if _changed(slices, written(draw, _SLICE_EVENT)):
                stand.take(registry._snapshot("orders", slices))
    except RegistryError as error:
        _look_at(error)


def _changed(slices: EndpointSlices, line: bytes) -> bool:
    try:
        return slices.take(line)
    except ExpiredError:
        return False
    except ValueError as error:  # what `watch` takes for a broken stream
        raise RegistryError(str(error)) from error


@cache
def _a_cluster(port: str | None) -> kubernetes.KubernetesRegistry:
    registry = kubernetes.KubernetesRegistry("shop", servers=["http://h"], port=port)
    registry._client = Client()  # type: ignore[assignment]
    return registry


def _dns(path: str, *, srv: bool) -> Run:
    questions = cache(lambda: Questions(path, srv=srv))

    def run(stand: Stand, data: bytes) -> None:
        try:
            stand.take(questions().ask(Draw(data)))
        except RegistryError as error:
            _look_at(error)

    return run


_NODE = Node("10.0.0.1", 8080)
_NAMES = (
    b"X-RpcGuard-Offline",
    b"sermant.grace.mark.shutdown.service.endpoint",
    b"x-envoy-immediate-health-check-fail",
    b"finagle-http-nack",
    b"x-bd-error-code",
    b"Retry-After",
    b"Content-Length",
)


def _headers(stand: Stand, data: bytes) -> None:
    draw = Draw(data)
    status = draw.choice((200, 503, 500, 404, 429, 599, 100))
    headers = []
    for _ in range(draw.byte() % 5):
        name = draw.choice(_NAMES)
        begin = draw.byte()
        headers.append((name, draw.rest()[:begin] if begin > 200 else draw.text().encode(*_RAW)))
    _judge(stand, status, headers)


_RAW = "utf-8", "surrogateescape"


def _retry_after(stand: Stand, data: bytes) -> None:
    _judge(stand, 503, [(b"retry-after", data)])


def _judge(stand: Stand, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
    verdict = classify_response(status, headers, _NODE)
    notice = verdict.notice
    if notice is not None and notice.ttl is not None and not 0 < notice.ttl < math.inf:
        raise Broken(f"a notice lives for {notice.ttl!r}")
    if not stand.views():
        stand.take(Snapshot([_NODE, Node("10.0.0.2", 8080), Node("10.0.0.3", 8080)]))
    stand.pick(verdict)
    for view in stand.views():
        if view.until is not None and not 0 <= view.until <= 120 and view.state == "offline":
            raise Broken(f"{view.node.id} is marked for {view.until!r}")
    if not any(view.state in ("available", "warming") for view in stand.views()):
        raise Broken("headers took the whole service off")


_URLS = (
    "static://10.0.0.1:8080,10.0.0.2:80?weight=1,2&zone=a",
    "static:///orders=10.0.0.1:80,h:81;billing=10.0.0.3:80",
    "file:///etc/services.json?interval=0.5",
    "http://user:SECRET@h1:80,h2/path/{service}?ca=/etc/ca.pem",
    "consul://:SECRET@h1:8500,h2:8500?dc=dc1&wait=30",
    "etcd+https://root:SECRET@[fd00::1]:2379/prefix?layout=kratos",
    "zookeeper://user:SECRET@h1:2181/root?layout=dubbo",
    "nacos://user:SECRET@h:8848/nacos?namespace=prod&group=g",
    "eureka+http://u:SECRET@h1,h2:8761/eureka?address=ip",
    "polaris://:SECRET@h:8090/default?interval=2",
    "kubernetes://shop?server=http://10.0.0.1:6443&port=http",
    "dns://10.0.0.53/{service}.example.org?port=8080",
    "dns+srv:///_http._tcp.{service}.example.org?min_ttl=1",
    "xds+http://u:SECRET@h:18000?node=a&resource={service}",
)


@cache
def _offered() -> Any:
    return importlib.metadata.entry_points(group="rpcguard.registries")


def _urls(_: Stand, data: bytes) -> None:
    url = data.decode("utf-8", "surrogateescape")
    offered = _offered()
    with mock.patch("importlib.metadata.entry_points", return_value=offered):
        try:
            shown = repr(registry_from_url(url))
        except InvalidRegistryURL as error:
            shown = str(error)
            if error.__context__ is not None and not error.__suppress_context__:
                shown += str(error.__context__)
    # Where it stands elsewhere as well, that may be a host or a path, which are shown.
    if ":SECRET@" in url and url.count("SECRET") == 1 and "SECRET" in shown:
        raise Broken(f"{shown!r} shows the password")


_OPTIONS = {"idempotent": True, "attempts": 3, "deadline": 2.5, "attempt_timeout": 1}


def _options(_: Stand, data: bytes) -> None:
    draw = Draw(data)
    given = draw.choice(ODDITIES) if draw.byte() > 250 else draw.bent(_OPTIONS)
    try:
        plan = CallPlan(method="GET", **read_options(given, 1000.0, _RETRY))
    except ValueError:
        return
    good = plan.until is None or 1000.0 <= plan.until < math.inf
    if not (good and plan.attempts >= 1 and plan.repeatable(_RETRY) in (True, False)):
        raise Broken(f"{given!r} gives {plan!r}")


_RETRY = RetryPolicy()
_LIMIT = 4096


def _gzip(_: Stand, data: bytes) -> None:
    body = _bodies._Body(_LIMIT, packed=True)
    size = 1 + (data[0] if data else 0)
    try:
        for begin in range(1, len(data), size):
            body.feed(data[begin : begin + size])
    except ValueError:
        pass
    if len(body.data) > _LIMIT + 1:
        raise Broken(f"{len(body.data)} bytes are kept")


class _Chunks:
    def __init__(self, data: bytes) -> None:
        self._data = data

    async def aiter_raw(self):
        size = 1 + (self._data[0] if self._data else 0)
        for begin in range(1, len(self._data), size):
            yield self._data[begin : begin + size]


def _lines(_: Stand, data: bytes) -> None:
    response: Any = _Chunks(data)
    lines = _bodies.Lines(response, limit=64, shown="it")
    found = []
    try:
        while True:
            found.append(finished(lines.__anext__()))
    except (RegistryError, StopAsyncIteration):
        pass
    if b"\n".join(found) != data[1:][: len(b"\n".join(found))]:
        raise Broken(f"{found!r} is not what was sent")


def _json_seeds(*documents: Any) -> tuple[bytes, ...]:
    raw = [b"\x00\x00\x00\x07" + json.dumps(document).encode() for document in documents]
    edits = [
        bytes([*[0] * start, 2, 0, place, 0, 24, 0, place + 5, 0, 12])
        for place in range(0, 60, 7)
        for start in (2, 3, 4)
    ]
    return (b"", bytes(64), *edits, *raw)


def _words(*documents: Any) -> tuple[str, ...]:
    found: set[str] = set()
    waiting = list(documents)
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            found |= {str(key) for key in one}
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, str):
            found.add(one)
    return tuple(sorted(word for word in found if 0 < len(word) < 60))


def _adapter(run: Run, *documents: Any) -> Target:
    return Target(run, _json_seeds(*documents), _words(*documents))


_HTTP = templates.NODES, templates.SERVICES

TARGETS: dict[str, Target] = {
    "file": _adapter(_file, templates.SERVICES),
    "cache": _adapter(_cache, templates.NODES),
    "http": _adapter(
        _either(
            _fetching(lambda: HttpRegistry("http://h/{service}"), *_HTTP),
            _fetching(lambda: HttpRegistry("http://h/all"), *_HTTP, fetch=_fetch_all),
        ),
        *_HTTP,
    ),
    "consul": _adapter(
        _either(
            _fetching(lambda: consul.ConsulRegistry("consul://h?port=http"), templates.CONSUL),
            _consul_watch,
        ),
        templates.CONSUL,
    ),
    "etcd": _adapter(
        _either(*(_etcd(layout) for layout in ETCD_LAYOUTS), _etcd_login),
        templates.ETCD_LIST,
        templates.ETCD_EVENT,
    ),
    "zookeeper": _adapter(
        _either(*(_zookeeper(layout) for layout in ("curator", "dubbo-app", "dubbo"))),
        templates.CURATOR,
        *templates.DUBBO_NAMES,
    ),
    "nacos": _adapter(
        _either(
            # A push is of an event loop, and there is none here.
            _fetching(
                lambda: NacosRegistry("nacos://h?push=off"),
                templates.NACOS_V3,
                templates.NACOS_V1,
            ),
            _nacos_login,
        ),
        templates.NACOS_V3,
        templates.NACOS_V1,
    ),
    "eureka": _adapter(
        _fetching(
            lambda: EurekaRegistry("eureka+http://h"), templates.EUREKA, attribute="_peers"
        ),
        templates.EUREKA,
    ),
    "polaris": _adapter(
        _fetching(lambda: PolarisRegistry("polaris://h"), templates.POLARIS), templates.POLARIS
    ),
    "kubernetes": _adapter(_kubernetes, templates.SLICES, templates.SLICE_EVENT),
    "dns": Target(
        _either(_dns("{service}.", srv=False), _dns("_http._tcp.{service}.", srv=True)),
        (b"", bytes([0, 0, 0, 3, *[0] * 16]), bytes([1, 0, 0, 3, *[0] * 16]), b"\x00\xff" * 20),
    ),
    "xds": _adapter(_fetching(lambda: XdsRegistry("xds+http://h"), templates.EDS), templates.EDS),
    "headers": Target(
        _headers,
        (b"\x01\x01\x00\x0d1; ttl=30", b"\x00\x01\x01\x0e10.0.0.9:8080", b"\x01\x01\x05\x035"),
        ("1", "ttl=", "2003", "10.0.0.1:8080", "Sun, 06 Nov 1994 08:49:37 GMT", "120"),
    ),
    "retry-after": Target(
        _retry_after,
        (b"120", b"Sun, 06 Nov 2094 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 +9999"),
        ("GMT", "Nov", "Sun", "+0000", "-9999", "1e9", ":", "2094", "am", "PM"),
    ),
    "urls": Target(
        _urls,
        tuple(url.encode() for url in _URLS),
        tuple(url.partition("//")[0] + "//" for url in _URLS),
    ),
    "options": Target(_options, (b"", bytes([0, 0, 0, 0, 255, 3] * 3)), tuple(_OPTIONS)),
    "gzip": Target(_gzip, (b"\xff" + gzip.compress(b"a" * 100, mtime=0),)),
    "lines": Target(_lines, (b"\x05one\ntwo\n\nthree",)),
    "http11": Target(http11.answers, http11.SEEDS, http11.WORDS),
}  # fmt: skip
