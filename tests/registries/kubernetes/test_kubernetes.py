"""The Kubernetes registry: what the API server says, and what it does not say on demand."""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest

from rpcguard._core.nodes.node import Node
from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard.errors import InvalidRegistryURL, RegistryError
from rpcguard.registries._shared.tls import TLSFiles
from rpcguard.registries.base import registry_from_url
from rpcguard.registries.kubernetes import access
from rpcguard.registries.kubernetes import registry as kubernetes
from rpcguard.registries.kubernetes.registry import KubernetesRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx
    from conftest import ScriptedServer, Seen

    from rpcguard.registries.kubernetes.endpoint_slices import EndpointSlices
    from tests.support.servers.kubernetes import Kubernetes

Document = dict[str, Any]
HTTP = {"name": "http", "port": 8080, "protocol": "TCP"}


def endpoint(address: str, **more: object) -> Document:
    return {"addresses": [address], **more}


def pod(name: str, address: str, **more: object) -> Document:
    target = {"kind": "Pod", "name": name, "uid": f"uid-{name}"}
    return endpoint(address, targetRef=target, **more)


def a_slice(name: str, *endpoints: Document, version: int = 5, **more: object) -> Document:
    return {
        "metadata": {"name": name, "resourceVersion": str(version)},
        "addressType": "IPv4",
        "ports": [HTTP],
        "endpoints": list(endpoints),
        **more,
    }


def a_list(*slices: Document, version: int = 10) -> bytes:
    return json.dumps({"metadata": {"resourceVersion": str(version)}, "items": slices}).encode()


def event(kind: str, document: Document) -> bytes:
    return json.dumps({"type": kind, "object": document}).encode() + b"\n"


def bookmark(version: int) -> bytes:
    return event("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})


def query(seen: Seen) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(urlsplit(seen.target).query).items()}


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"


class ApiServer:
    """Answer lists in turn (the last one again and again), and watches as scripted, in turn."""

    def __init__(self, server: ScriptedServer) -> None:
        self.server = server
        self.lists: list[bytes] = []
        self.watches: list[bytes | list[bytes]] = []
        self.released = threading.Event()
        server.script = self._script

    def url(self, options: str = "") -> str:
        return f"kubernetes://shop?server=http://{self.server.address}&timeout=20{options}"

    @property
    def watched(self) -> list[Seen]:
        return [seen for seen in self.server.seen if "watch=1" in seen.target]

    def _script(self, seen: Seen) -> bytes | Iterator[bytes]:
        if "watch=1" not in seen.target:
            return self.server.answer(self.lists.pop(0) if len(self.lists) > 1 else self.lists[0])
        found = self.watches.pop(0) if self.watches else None
        return found if isinstance(found, bytes) else self._stream(found)

    def _stream(self, lines: list[bytes] | None) -> Iterator[bytes]:
        yield STREAM
        yield from lines or ()
        if lines is None:
            self.released.wait(20)  # quiet, but open


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next watch begin at once."""
    monkeypatch.setattr(kubernetes, "_SHORTEST_WATCH", 0.0)


@pytest.fixture
def api(server: ScriptedServer) -> Iterator[ApiServer]:
    api = ApiServer(server)
    yield api
    api.released.set()


async def listed(api: ApiServer, *slices: Document, options: str = "") -> Snapshot:
    api.lists = [a_list(*slices)]
    registry = KubernetesRegistry.from_url(api.url(options))
    try:
        return await registry.fetch("orders")
    finally:
        await registry.aclose()


# --- lists


async def test_slices_are_merged_with_every_field(api: ApiServer) -> None:
    """Proves the mapping, over several slices, with and without a pod behind."""
    snapshot = await listed(
        api,
        a_slice("a", pod("p1", "10.1.0.1", zone="z1", nodeName="n1")),
        a_slice("b", endpoint("10.1.0.2", hints={"forZones": [{"name": "z1"}, {"name": "z2"}]})),
    )
    first = Node(
        "10.1.0.1",
        8080,
        id="p1",
        generation="uid-p1",
        zone="z1",
        scheme="http",
        metadata={"node": "n1"},
    )
    second = Node("10.1.0.2", 8080, scheme="http", metadata={"hints": "z1,z2"})
    assert snapshot == Snapshot((first, second))
    assert query(api.server.seen[0]) == {"labelSelector": "kubernetes.io/service-name=orders"}
    path = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"
    assert urlsplit(api.server.seen[0].target).path == path


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        (None, "up"),
        ({}, "up"),
        ({"ready": None, "serving": None, "terminating": None}, "up"),
        ({"ready": False}, "down"),
        ({"ready": False, "serving": True, "terminating": True}, "draining"),
        ({"ready": False, "serving": None, "terminating": True}, "draining"),
        ({"ready": True, "serving": True, "terminating": True}, "draining"),
        ({"ready": False, "serving": False, "terminating": True}, "down"),
    ],
)
async def test_conditions(api: ApiServer, conditions: Document | None, status: str) -> None:
    """Proves that what is not told counts as good, and that terminating drains."""
    (node,) = (await listed(api, a_slice("a", pod("p1", "10.1.0.1", conditions=conditions)))).nodes
    assert node.status == status


async def test_an_endpoint_in_two_slices_counts_once(api: ApiServer) -> None:
    """Proves the order: the better status, then IPv4, then the slice changed last."""
    down = {"ready": False}
    snapshot = await listed(
        api,
        a_slice("a", pod("p1", "10.1.0.1", conditions=down), pod("p2", "10.2.0.1"), version=9),
        a_slice("b", pod("p1", "10.1.0.2"), pod("p2", "10.2.0.2"), version=10),
        a_slice("c", pod("p2", "fd00::2"), pod("p3", "fd00::3"), version=11, addressType="IPv6"),
    )
    assert {node.id: node.host for node in snapshot.nodes} == {
        "p1": "10.1.0.2",
        "p2": "10.2.0.2",
        "p3": "fd00::3",
    }


METRICS = {"name": "metrics", "port": 9}
ODD: Document = {"name": "odd", "port": 53, "protocol": "UDP"}


@pytest.mark.parametrize(
    ("options", "ports", "found"),
    [
        ("", [METRICS, HTTP], (8080, "http")),
        ("", [METRICS, {"name": "https", "port": 8443}], (8443, "https")),
        ("", [METRICS, {"name": "web", "port": 81}], (9, None)),
        ("", [{"name": "", "port": 81, "appProtocol": "https"}], (81, "https")),
        ("", [{"name": "grpc", "port": 81, "appProtocol": "kubernetes.io/h2c"}], (81, "http")),
        ("&port=web", [HTTP, {"name": "web", "port": 81}], (81, None)),
        ("&port=9", [HTTP, METRICS], (9, None)),
        ("&port=7", [{"name": "", "port": None}], (7, None)),
    ],
)
async def test_ports(
    api: ApiServer, options: str, ports: list[Document], found: tuple[int, str | None]
) -> None:
    """Proves which port is taken, and which scheme it has."""
    snapshot = await listed(api, a_slice("a", pod("p1", "10.1.0.1"), ports=ports), options=options)
    assert [(node.port, node.scheme) for node in snapshot.nodes] == [found]


async def test_slices_may_have_the_port_at_different_numbers(api: ApiServer) -> None:
    """Proves that a port belongs to its slice."""
    other = [{"name": "http", "port": 9090}]
    snapshot = await listed(
        api, a_slice("a", pod("p1", "10.1.0.1")), a_slice("b", pod("p2", "10.1.0.2"), ports=other)
    )
    assert {node.id: node.port for node in snapshot.nodes} == {"p1": 8080, "p2": 9090}


async def test_a_port_that_nobody_has_is_an_error(
    api: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Proves that a wrong `port` is told, rather than taken for a service without nodes."""
    with pytest.raises(RegistryError, match="endpoints without the port web"):
        await listed(
            api, a_slice("a", pod("p1", "10.1.0.1"), ports=[HTTP, ODD]), options="&port=web"
        )
    snapshot = await listed(
        api,
        a_slice("a", pod("p1", "10.1.0.1")),
        a_slice("b", pod("p2", "10.1.0.2"), ports=[{"name": "web", "port": 81}]),
        options="&port=web",
    )
    assert [node.id for node in snapshot.nodes] == ["p2"]
    assert "endpoints without the port web" in caplog.text


async def test_unknown_and_empty(api: ApiServer) -> None:
    """Proves that no slice is an unknown service, and a slice without endpoints an empty one."""
    assert await listed(api) == Snapshot((), known=False)
    assert await listed(api, a_slice("a", endpoints=None)) == Snapshot(())
    fqdn = a_slice("a", endpoint("db.example.org"), addressType="FQDN", endpoints=[])
    assert await listed(api, fqdn) == Snapshot(())


@pytest.mark.parametrize(
    ("service", "namespace"),
    [
        ("orders", "shop"),
        ("orders.billing", "billing"),
        ("orders.billing.svc.cluster.local", "billing"),
        ("Orders", None),
        ("a/b", None),
        ("orders.b_b", None),
        ("..", None),
        ("x" * 64, None),
    ],
)
async def test_a_name_may_bring_its_namespace(
    api: ApiServer, service: str, namespace: str | None
) -> None:
    """Proves where a service is looked for, and that an impossible name asks nobody."""
    api.lists = [a_list(a_slice("a", pod("p1", "10.1.0.1")))]
    registry = KubernetesRegistry.from_url(api.url())
    assert (await registry.fetch(service)).known == (namespace is not None)
    await registry.aclose()
    paths = [urlsplit(seen.target).path for seen in api.server.seen]
    wanted = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    assert paths == ([wanted] if namespace else [])


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[]", b"{}", b'{"metadata": {"resourceVersion": ""}, "items": []}',
     b'{"metadata": {"resourceVersion": "1"}, "items": {}}',
     b'{"metadata": {"resourceVersion": "1"}, "items": [5]}',
     a_list(a_slice("a", endpoints=[5])), a_list(a_slice("a", endpoints="none")),
     a_list(a_slice("a", {"addresses": []}))],
)  # fmt: skip
async def test_another_shape_is_an_error(api: ApiServer, body: bytes) -> None:
    """Proves that a broken list never becomes an empty one."""
    api.lists = [body]
    registry = KubernetesRegistry.from_url(api.url())
    with pytest.raises(RegistryError):
        await registry.fetch("orders")
    await registry.aclose()


@pytest.mark.parametrize(
    ("status", "reason"), [(401, "credentials"), (403, "credentials"), (500, "500"), (404, "404")]
)
async def test_a_refusal_is_an_error(api: ApiServer, status: int, reason: str) -> None:
    """Proves that the list stays in use whatever the API server refuses."""
    api.server.say(b"{}", status)
    registry = KubernetesRegistry.from_url(api.url())
    with pytest.raises(RegistryError, match=reason):
        await registry.fetch("orders")
    await registry.aclose()


async def test_a_server_that_asks_for_time_gets_it(api: ApiServer) -> None:
    """Proves that `Retry-After` of 429 is waited for before the next try."""
    api.server.say(b"{}", 429, Retry_After="0.3")
    registry = KubernetesRegistry.from_url(api.url())
    begin = time.monotonic()
    with pytest.raises(RegistryError, match="429"):
        await registry.fetch("orders")
    assert time.monotonic() - begin > 0.29
    await registry.aclose()


async def test_the_token_is_read_anew(api: ApiServer, tmp_path: Path) -> None:
    """Proves that a rotated token is used at once, and that none at all is an error."""
    token = tmp_path / "token"
    api.lists = [a_list()]
    registry = KubernetesRegistry.from_url(api.url(f"&token={token}"))
    for text in ("first\n", "second"):
        token.write_text(text)
        await registry.fetch("orders")
    told = [seen.headers["authorization"] for seen in api.server.seen]
    assert told == ["Bearer first", "Bearer second"]
    token.unlink()
    with pytest.raises(RegistryError, match="token: it cannot be read: No such file"):
        await registry.fetch("orders")
    token.symlink_to(os.devnull)  # as a pipe, it may never end
    with pytest.raises(RegistryError, match="token: it is not a regular file"):
        await registry.fetch("orders")
    await registry.aclose()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"s3cret\nother\n", "it has more than one line"),
        (b"s3cret\0", "what is no text"),
        (b"s3cret\xff", "it is not ASCII"),
        (b"s3cret" * 20_000, "it has more than 65536 bytes"),
    ],
)
async def test_a_token_file_that_is_half_written(
    api: ApiServer, tmp_path: Path, content: bytes, told: str
) -> None:
    """Proves that the file is named with what is wrong, and nothing of it is shown or sent."""
    token = tmp_path / "token"
    token.write_bytes(content)
    registry = KubernetesRegistry.from_url(api.url(f"&token={token}"))
    with pytest.raises(RegistryError, match=f"token file {token}: .*{told}") as caught:
        await registry.fetch("orders")
    assert "s3cret" not in repr(caught.value)
    assert api.server.seen == []
    await registry.aclose()


# --- watches


async def follow(
    api: ApiServer, act: Callable[[int], None] | None = None, count: int = 1
) -> list[list[str]]:
    """Give the ids of the first `count` snapshots of a watch."""
    registry = KubernetesRegistry.from_url(api.url())
    found: list[list[str]] = []
    try:
        with anyio.fail_after(10):
            async with aclosing(registry.watch("orders")) as watch:
                async for snapshot in watch:
                    found.append(sorted(node.id for node in snapshot.nodes))
                    if len(found) == count:
                        break
                    if act is not None:
                        act(len(found))
    finally:
        await registry.aclose()
    return found


async def test_events_change_the_list(api: ApiServer) -> None:
    """Proves ADDED, MODIFIED and DELETED of slices, and that no news is no snapshot."""
    one, two = pod("p1", "10.1.0.1"), pod("p2", "10.1.0.2")
    api.lists = [a_list(a_slice("a", one))]
    api.watches = [
        [
            event("MODIFIED", a_slice("a", one, version=11)),
            bookmark(12),
            event("ADDED", a_slice("b", two, version=13)),
            event("MODIFIED", a_slice("a", version=14)),
            event("DELETED", a_slice("b", two, version=15)),
        ]
    ]
    assert await follow(api, count=4) == [["p1"], ["p1", "p2"], ["p2"], []]
    assert (
        query(api.watched[0]).items() >= {"resourceVersion": "10", "timeoutSeconds": "300"}.items()
    )
    assert query(api.watched[0])["allowWatchBookmarks"] == "true"


async def test_an_ended_watch_goes_on_where_it_was(api: ApiServer) -> None:
    """Proves that the last version seen, a bookmark's too, is where the next watch begins."""
    api.lists = [a_list(a_slice("a", pod("p1", "10.1.0.1")))]
    api.watches = [
        [bookmark(77)],
        [event("ADDED", a_slice("b", pod("p2", "10.1.0.2"), version=80))],
    ]
    assert await follow(api, count=2) == [["p1"], ["p1", "p2"]]
    assert [query(seen)["resourceVersion"] for seen in api.watched] == ["10", "77"]
    assert len(api.server.seen) == 3


async def test_a_server_that_ends_each_watch_is_not_asked_without_end(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that there is a pause before the next watch."""
    monkeypatch.setattr(kubernetes, "_SHORTEST_WATCH", 60.0)
    api.lists = [a_list()]
    api.watches = [[] for _ in range(100)]
    registry = KubernetesRegistry.from_url(api.url())
    async with aclosing(registry.watch("orders")) as watch:
        await anext(watch)
        with anyio.move_on_after(0.2):
            await anext(watch)
    await registry.aclose()
    assert len(api.watched) <= 1


@pytest.mark.parametrize(
    "gone",
    [
        [event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})],
        b"HTTP/1.1 410 Gone\r\nContent-Length: 2\r\n\r\n{}",
    ],
    ids=["event", "status"],
)
async def test_an_expired_version_lists_anew(api: ApiServer, gone: bytes | list[bytes]) -> None:
    """Proves that 410, as event and as status, gives a fresh list, deletions included."""
    api.lists = [
        a_list(a_slice("a", pod("p1", "10.1.0.1")), a_slice("b", pod("p2", "10.1.0.2"))),
        a_list(a_slice("a", pod("p1", "10.1.0.1")), version=99),
    ]
    api.watches = [gone]
    assert await follow(api, count=2) == [["p1", "p2"], ["p1"]]


@pytest.mark.parametrize(
    "line",
    [
        event("ERROR", {"kind": "Status", "code": 500, "message": "no quorum"}),
        b"rubbish\n",
        b"\xff\n",
        b"[]\n",
        b'{"type": "ADDED"}\n',
        event("MODIFIED", {"metadata": {"name": "a"}}),
        b'{"type": "ADDED", "object": ',
    ],
)
async def test_a_broken_watch_raises(api: ApiServer, line: bytes) -> None:
    """Proves that errors and nonsense end the watch, after the good list before them."""
    api.lists = [a_list(a_slice("a", pod("p1", "10.1.0.1")))]
    api.watches = [[line]]
    with pytest.raises(RegistryError):
        await follow(api, count=2)


async def test_a_refused_watch_raises(api: ApiServer) -> None:
    """Proves that an account which may list but not watch is told so."""
    api.lists = [a_list()]
    api.watches = [b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}"]
    with pytest.raises(RegistryError, match="credentials"):
        await follow(api, count=2)


async def test_a_silent_watch_is_broken(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that a stream without even bookmarks does not count as alive."""
    monkeypatch.setattr(kubernetes, "_IDLE", 0.3)
    api.lists = [a_list()]
    with pytest.raises(RegistryError, match="silent"):
        await follow(api, count=2)


async def test_watching_an_impossible_name_asks_nobody(api: ApiServer) -> None:
    """Proves that such a watch is quiet, and not an error again and again."""
    registry = KubernetesRegistry.from_url(api.url())
    async with aclosing(registry.watch("NO")) as watch:
        assert await anext(watch) == Snapshot((), known=False)
        with anyio.move_on_after(0.1) as scope:
            await anext(watch)
    assert scope.cancelled_caught
    assert api.server.seen == []


# --- the real API server


@pytest.fixture
def real(kubernetes_api: Kubernetes) -> Iterator[tuple[Kubernetes, httpx.Client]]:
    with kubernetes_api.client() as client:
        yield kubernetes_api, client


async def test_ten_slices_of_a_hundred(real: tuple[Kubernetes, httpx.Client]) -> None:
    """Proves, against the real server, that full slices merge and that one event changes one."""
    server, client = real
    folder = f"/apis/discovery.k8s.io/v1/namespaces/{server.namespace}/endpointslices"

    def document(number: int, count: int) -> Document:
        pods = [pod(f"p{number}-{i}", f"10.1.{number}.{i + 1}") for i in range(count)]
        made = a_slice(f"many-{number}", *pods)
        labels = {"kubernetes.io/service-name": "many"}
        return {**made, "metadata": {"name": f"many-{number}", "labels": labels}}

    for number in range(10):
        client.post(folder, json=document(number, 100))
        client.put(f"{folder}/many-{number}", json=document(number, 100)).raise_for_status()
    registry = KubernetesRegistry.from_url(
        f"kubernetes://{server.namespace}?server={server.url}"
        f"&token={server.token_file}&ca={server.ca_file}"
    )
    async with aclosing(registry.watch("many")) as watch:
        with anyio.fail_after(10):
            assert len((await anext(watch)).nodes) == 1000
            await anyio.to_thread.run_sync(
                lambda: client.put(f"{folder}/many-3", json=document(3, 99)).raise_for_status()
            )
            assert len((await anext(watch)).nodes) == 999
    await registry.aclose()


async def test_a_forgotten_version_lists_anew(
    real: tuple[Kubernetes, httpx.Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves, against the real server, that a watch from before its history starts over."""
    server, client = real
    folder = f"/apis/discovery.k8s.io/v1/namespaces/{server.namespace}/endpointslices"
    made = a_slice("late", pod("p1", "10.1.0.1"))
    made["metadata"] = {"name": "late", "labels": {"kubernetes.io/service-name": "late"}}
    client.post(folder, json=made)
    await anyio.to_thread.run_sync(server.forget)
    registry = KubernetesRegistry.from_url(
        f"kubernetes://{server.namespace}?server={server.url}"
        f"&token={server.token_file}&ca={server.ca_file}"
    )
    listing = registry._list
    lists = []

    async def first_from_long_ago(target: str) -> EndpointSlices:
        slices = await listing(target)
        if not lists:
            slices.by_name.clear()
            slices.version = "2"
        lists.append(slices.version)
        return slices

    monkeypatch.setattr(registry, "_list", first_from_long_ago)
    async with aclosing(registry.watch("late")) as watch:
        assert not (await anext(watch)).known
        with anyio.fail_after(10):
            assert [node.id for node in (await anext(watch)).nodes] == ["p1"]
    await registry.aclose()
    assert len(lists) == 2


# --- URLs


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("kubernetes://shop", "outside of a pod, option 'server' or 'kubeconfig' must be given"),
        ("kubernetes://shop?server=http://h&context=a", "server or kubeconfig, not both"),
        ("kubernetes://shop?kubeconfig=/nowhere", "kubeconfig /nowhere: [Errno 2]"),
        (
            "kubernetes://shop?kubeconfig=/nowhere&token=/t",
            "option 'token' is for a URL",
        ),
        ("kubernetes:///?server=http://h", "outside of a pod, the namespace must be given"),
        ("kubernetes://a,b?server=http://h", "only one namespace"),
        ("kubernetes://a_b?server=http://h", "'a_b' is no namespace"),
        ("kubernetes://:t0ken@shop?server=http://h", "write a token into a file"),
        ("kubernetes://shop/orders?server=http://h", "there is no path"),
        ("kubernetes://shop?server=10.0.0.1:6443", "option 'server'"),
        ("kubernetes://shop?server=https://h/api", "option 'server'"),
        ("kubernetes://shop?server=http://h&ca=/etc/ca.pem", "TLS"),
        ("kubernetes://shop?server=http://h&timeout=0", "'timeout'"),
        ("kubernetes://shop?server=http://h&tokn=x", "unknown option 'tokn'"),
    ],
)
def test_a_wrong_url_is_told_in_full(url: str, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that the wrong part is named, a right URL shown, and no token repeated."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    with pytest.raises(InvalidRegistryURL) as raised:
        registry_from_url(url)
    assert part in str(raised.value)
    assert "kubernetes://my-namespace?port=http" in str(raised.value)
    assert "t0ken" not in str(raised.value)


def test_in_a_pod_the_url_can_be_empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Proves that the service account gives namespace, token, CA and server."""
    monkeypatch.setattr(access, "_POD", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    (tmp_path / "namespace").write_text("shop\n")
    (tmp_path / "token").write_text("t0ken")
    registry = registry_from_url("kubernetes:///")
    assert repr(registry) == "KubernetesRegistry('https://[fd00::1]:443, namespace shop')"
    assert isinstance(registry, KubernetesRegistry)
    assert registry._headers() == {"Authorization": "Bearer t0ken"}
    assert registry._client._pools.tls == TLSFiles(ca=str(tmp_path / "ca.crt"))
