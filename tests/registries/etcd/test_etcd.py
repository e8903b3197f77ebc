"""What a real etcd does not do on demand: compaction, restores, cancelled watches, garbage."""

from __future__ import annotations

import json
import logging
import threading
from base64 import b64encode
from contextlib import aclosing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

import pytest

from rpcguard._core.nodes.node import Node
from rpcguard.errors import InvalidRegistryURL, RegistryError
from rpcguard.registries.base import registry_from_url
from rpcguard.registries.etcd.registry import EtcdRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

PASSWORD = "53cr3t"
CLOSE: Final = None

Message = dict[str, Any] | bytes | None


class FakeEtcd:
    """Answer from a script; the last range and the last login repeat, a watch without one hangs."""

    def __init__(self) -> None:
        self.ranges: list[dict[str, Any] | bytes | tuple[int, Any]] = []
        self.watches: list[list[Message] | tuple[int, Any]] = []
        self.logins: list[tuple[int, Any]] = []
        self.seen: list[tuple[str, Any, str | None]] = []
        self.needs_leader: list[str | None] = []
        self.stopped = threading.Event()

    def targets(self) -> list[str]:
        return [target.rpartition("/")[2] for target, _, _ in self.seen]

    def answer(self, target: str) -> tuple[int, Any]:
        script: list[Any] = self.ranges if target.endswith("range") else self.logins
        said = script.pop(0) if len(script) > 1 else script[0]
        return said if isinstance(said, tuple) else (200, said)


def _handler(fake: FakeEtcd) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fake.seen.append((self.path, body, self.headers["Authorization"]))
            if not self.path.endswith("/watch"):
                self._whole(*fake.answer(self.path))
                return
            fake.needs_leader.append(self.headers["Grpc-Metadata-Hasleader"])
            script: Any = fake.watches.pop(0) if fake.watches else []
            if isinstance(script, tuple):
                self._whole(*script)
            else:
                self._stream(script)

        def _whole(self, status: int, said: Any) -> None:
            body = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _stream(self, messages: list[Message]) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for message in messages:
                if message is CLOSE:
                    self.wfile.write(b"0\r\n\r\n")
                    return
                line = message if isinstance(message, bytes) else json.dumps(message).encode()
                self.wfile.write(b"%x\r\n%s\n\r\n" % (len(line) + 1, line))
            fake.stopped.wait(10)
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@pytest.fixture
def fake() -> FakeEtcd:
    return FakeEtcd()


@pytest.fixture
def address(fake: FakeEtcd) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake))
    server.daemon_threads = True
    server.block_on_close = False
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    fake.stopped.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
async def etcd(address: str) -> AsyncIterator[EtcdRegistry]:
    registry = EtcdRegistry(f"etcd://{address}/s", timeout=3, max_bytes=100_000)
    yield registry
    await registry.aclose()


def b64(text: str | bytes) -> str:
    return b64encode(text.encode() if isinstance(text, str) else text).decode()


def kv(key: str, value: str | bytes = "10.0.0.7:80", *, created: int = 2) -> dict[str, Any]:
    return {"key": b64(key), "value": b64(value), "create_revision": str(created)}


def listed(*kvs: dict[str, Any], revision: int = 5) -> dict[str, Any]:
    return {"header": {"revision": str(revision)}, "kvs": list(kvs)}


def told(*events: dict[str, Any], revision: int = 6, **more: Any) -> dict[str, Any]:
    return {"result": {"header": {"revision": str(revision)}, "events": list(events), **more}}


CREATED = {"result": {"header": {"revision": "5"}, "created": True}}


async def ids(snapshots: AsyncIterator[Any], count: int) -> list[list[str]]:
    """Take so many snapshots; give the ids in each."""
    return [[node.id for node in (await anext(snapshots)).nodes] for _ in range(count)]


async def test_list_then_events(fake: FakeEtcd, etcd: EtcdRegistry) -> None:
    """Proves that puts, changes and deletes arrive, and that the watch begins behind the list."""
    fake.ranges = [listed(kv("/s/web/a"))]
    fake.watches = [
        [
            CREATED,
            told({"kv": kv("/s/web/b", created=6)}),
            told(revision=7),  # progress
            told({"type": "PUT", "kv": kv("/s/web/b", "10.0.0.8:81", created=6)}, revision=8),
            told(
                {"type": "DELETE", "kv": {"key": b64("/s/web/a")}},
                {"type": "DELETE", "kv": {"key": b64("/s/web/never")}},
                revision=9,
            ),
        ]
    ]
    async with aclosing(etcd.watch("web")) as snapshots:
        assert await ids(snapshots, 2) == [["a"], ["a", "b"]]
        assert (await anext(snapshots)).nodes[1] == Node("10.0.0.8", 81, id="b", generation=6)
        assert await ids(snapshots, 1) == [["b"]]
    assert fake.seen[0][1] == {"key": b64("/s/web/"), "range_end": b64("/s/web0")}
    assert fake.seen[1][1]["create_request"]["start_revision"] == 6
    assert fake.needs_leader == ["true"]


@pytest.mark.parametrize(
    "message",
    [
        told(revision=9, canceled=True, compact_revision="8"),
        told(revision=9, created=True, canceled=True, compact_revision="8"),
        told(revision=3),
        told({"kv": kv("/s/web/x")}, revision=4),
        CLOSE,
    ],
    ids=["compacted", "compacted at once", "older store", "event of an older store", "closed"],
)
async def test_the_list_is_read_anew(
    fake: FakeEtcd, etcd: EtcdRegistry, message: Message, caplog: pytest.LogCaptureFixture
) -> None:
    """Proves that a watch that cannot go on, though its stream may stay open, starts over."""
    fake.ranges = [listed(kv("/s/web/a")), listed(kv("/s/web/b"), revision=9)]
    fake.watches = [[CREATED, message], [told({"kv": kv("/s/web/c")}, revision=10)]]
    async with aclosing(etcd.watch("web")) as snapshots:
        assert await ids(snapshots, 3) == [["a"], ["b"], ["b", "c"]]
    assert [seen[1]["create_request"]["start_revision"] for seen in fake.seen[1::2]] == [6, 10]
    assert not caplog.records


async def test_silence_reads_the_list_anew(fake: FakeEtcd, address: str) -> None:
    """Proves that a watch that says nothing is not trusted for longer than `idle`."""
    fake.ranges = [listed(kv("/s/web/a")), listed(kv("/s/web/b"))]
    fake.watches = [[CREATED], [CREATED]]
    registry = EtcdRegistry(f"etcd://{address}/s?idle=0.1")
    async with aclosing(registry.watch("web")) as snapshots:
        assert await ids(snapshots, 2) == [["a"], ["b"]]
    await registry.aclose()


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (told(canceled=True, cancel_reason="etcdserver: permission denied"), "permission denied"),
        (told(canceled=True), "cancelled"),
        ({"error": {"message": "transport is closing", "http_code": 503}}, "closing"),
        ({"error": "odd"}, "odd"),
        ({"result": {}}, "object"),
        ({"result": {"header": {"revision": "x"}}}, "revision"),
        (told({"kv": {}}), "key"),
        (told(7), "object"),  # type: ignore[arg-type]
        (b"garbage", "Expecting value"),
        (b'{"result": "\xff"}', "utf"),
        (b"[" * 50_000, "nested"),
        (b"1" * 200_000, "100000 bytes"),
    ],
)
async def test_a_broken_watch_raises(
    fake: FakeEtcd, etcd: EtcdRegistry, message: Message, said: str
) -> None:
    """Proves that what a watch cannot understand ends it with the reason."""
    fake.ranges = [listed(kv("/s/web/a"))]
    fake.watches = [[CREATED, message]]
    async with aclosing(etcd.watch("web")) as snapshots:
        await anext(snapshots)
        with pytest.raises(RegistryError, match=said):
            await anext(snapshots)


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage",
        b"[]",
        b"{}",
        {"header": {"revision": "1"}, "kvs": 7},
        {"header": {"revision": "1"}, "kvs": [{}]},
        {"header": {"revision": "1" * 30}},
        listed(kv("/s/web/a", "nonsense")),
        (302, b""),
        (404, b"404 page not found"),
        (503, {"error": "etcdserver: no leader", "message": "etcdserver: no leader"}),
        (200, b" " * 200_000),
    ],
)
async def test_useless_lists(fake: FakeEtcd, etcd: EtcdRegistry, answer: Any) -> None:
    """Proves that refusals, redirects and garbage raise an error, and never give an empty list."""
    fake.ranges = [answer]
    with pytest.raises(RegistryError):
        await etcd.fetch("web")


async def test_unknown_and_empty(fake: FakeEtcd, etcd: EtcdRegistry) -> None:
    """Proves that a service is unknown until a node of it was seen, then it is just empty."""
    fake.ranges = [{"header": {"revision": "5"}}]
    assert not (await etcd.fetch("web")).known
    fake.ranges = [listed(kv("/s/web/a"))]
    assert (await etcd.fetch("web")).known
    fake.ranges = [listed()]
    assert (await etcd.fetch("web")).known
    assert not (await etcd.fetch("other")).known


async def test_bad_values_are_left_out(
    fake: FakeEtcd, etcd: EtcdRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Proves that good nodes are used beside bad ones, with one warning for all reads."""
    bad = [b"\xff", "", "h", "h:0", "{", '{"host": "h"}', '{"host":"h","port":[1]}']
    kvs = [kv(f"/s/web/{number}", value) for number, value in enumerate(bad)]
    odd = {**kv("/s/web/x"), "key": b64(b"/s/web/\xff")}
    fake.ranges = [listed(*kvs, odd, {**kv("/s/web/y"), "value": "%%"}, kv("/s/web/good"))]
    for _ in range(2):
        assert [node.id for node in (await etcd.fetch("web")).nodes] == ["good"]
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "9 bad nodes" in record.getMessage()


KRATOS = {
    "id": "x",
    "name": "web",
    "version": "v1",
    "metadata": {"weight": "50", "zone": "a", "team": "blue"},
    "endpoints": ["grpc://10.0.0.7:9000", "HTTP://10.0.0.7:8000?isSecure=true"],
}
GRPC = {"Op": 0, "Addr": "[::1]:80", "Metadata": {"weight": 3, "version": "v2", "zone": None}}
RAW = {"id": "own", "host": "h", "port": 80, "status": "draining", "weight": 2, "zone": "a"}


@pytest.mark.parametrize(
    ("url", "key", "value", "node"),
    [
        ("", "web/1", "10.0.0.7:80", Node("10.0.0.7", 80, id="1")),
        ("/", "web/1", "https://[::1]:443/", Node("::1", 443, id="1", scheme="https")),
        ("/a/b/", "/a/b/web/1/2", "h:80\n", Node("h", 80, id="1/2")),
        ("?prefix=a", "a/web/1", json.dumps(RAW), Node("h", 80, id="1", status="draining")),
        ("?layout=gozero", "web/758", "h:80", Node("h", 80, id="758")),
        ("?layout=grpc&prefix=t", "t/web/1", json.dumps(GRPC), Node("::1", 80, id="1")),
        (
            "?layout=kratos",
            "/microservices/web/1",
            json.dumps(KRATOS),
            Node("10.0.0.7", 8000, id="1", scheme="https", weight=0.5, zone="a", version="v1"),
        ),
    ],
)
async def test_layouts(
    fake: FakeEtcd, address: str, url: str, key: str, value: str, node: Node
) -> None:
    """Proves where each layout looks and what it makes of a value."""
    fake.ranges = [listed(kv(key, value))]
    registry = EtcdRegistry(f"etcd://{address}{url}")
    [found] = (await registry.fetch("web")).nodes
    await registry.aclose()
    assert fake.seen[0][1]["key"] == b64(key[: key.index("web") + 4])
    same = ("address", "id", "scheme", "status")
    assert [getattr(found, name) for name in same] == [getattr(node, name) for name in same]
    if "kratos" in url:
        assert (found.weight, found.zone, found.version) == (node.weight, node.zone, node.version)
        assert found.metadata == KRATOS["metadata"]
    if "grpc" in url:
        assert (found.weight, found.version, found.zone) == (3.0, "v2", None)


async def test_a_kratos_node_without_http(fake: FakeEtcd, address: str) -> None:
    """Proves that a node that speaks gRPC alone is not called by HTTP."""
    value = json.dumps({**KRATOS, "endpoints": ["grpc://h:1"]})
    fake.ranges = [listed(kv("/microservices/web/1", value))]
    registry = EtcdRegistry(f"etcd://{address}?layout=kratos")
    with pytest.raises(RegistryError, match="no http endpoint"):
        await registry.fetch("web")
    await registry.aclose()


# Logging in


@pytest.fixture
async def guarded(address: str) -> AsyncIterator[EtcdRegistry]:
    registry = EtcdRegistry(f"etcd://me:{PASSWORD}@{address}/s", timeout=20)
    yield registry
    await registry.aclose()


def token(name: str) -> tuple[int, Any]:
    return 200, {"header": {}, "token": name}


def refused(status: int, message: str) -> tuple[int, Any]:
    return status, {"error": message, "code": 3, "message": message}


@pytest.mark.parametrize(
    "refusal",
    [
        refused(401, "etcdserver: invalid auth token"),
        refused(400, "etcdserver: revision of auth store is old"),
    ],
)
async def test_an_expired_token_is_renewed(
    fake: FakeEtcd, guarded: EtcdRegistry, refusal: tuple[int, Any]
) -> None:
    """Proves that a list is had although the token expired in between, by one more login."""
    fake.logins = [token("one"), token("two")]
    fake.ranges = [listed(), refusal, listed(kv("/s/web/a"))]
    await guarded.fetch("web")
    assert len((await guarded.fetch("web")).nodes) == 1
    assert [authorization for _, _, authorization in fake.seen] == [None, "one", "one", None, "two"]
    assert fake.seen[0][1] == {"name": "me", "password": PASSWORD}


async def test_a_token_does_not_outlive_a_member(fake: FakeEtcd, guarded: EtcdRegistry) -> None:
    """Proves that after a member said that it stops, the login is done anew."""
    fake.logins = [token("one"), token("two")]
    fake.ranges = [listed(), refused(503, "etcdserver: server stopped"), listed()]
    await guarded.fetch("web")
    with pytest.raises(RegistryError, match="server stopped"):
        await guarded.fetch("web")
    await guarded.fetch("web")
    assert [seen[2] for seen in fake.seen] == [None, "one", "one", None, "two"]


async def test_a_token_does_not_outlive_trouble(fake: FakeEtcd, guarded: EtcdRegistry) -> None:
    """Proves that after a broken watch the login is done anew: an old token may hang for ever."""
    fake.logins = [token("one"), token("two")]
    fake.ranges = [listed(kv("/s/web/a"))]
    fake.watches = [[CREATED, {"error": "gone"}]]
    async with aclosing(guarded.watch("web")) as snapshots:
        await anext(snapshots)
        with pytest.raises(RegistryError, match="gone"):
            await anext(snapshots)
    await guarded.fetch("web")
    assert fake.targets() == ["authenticate", "range", "watch", "authenticate", "range"]


async def test_no_access_control(fake: FakeEtcd, guarded: EtcdRegistry) -> None:
    """Proves that credentials do no harm where none are wanted, or not yet."""
    fake.logins = [refused(400, "etcdserver: authentication is not enabled"), token("one")]
    fake.ranges = [listed(), refused(400, "etcdserver: user name is empty"), listed()]
    await guarded.fetch("web")
    await guarded.fetch("web")
    assert [seen[2] for seen in fake.seen] == [None, None, None, None, "one"]


@pytest.mark.parametrize(
    ("login", "answer"),
    [
        (refused(400, "etcdserver: authentication failed, invalid user ID or password"), None),
        (token("one"), refused(403, "etcdserver: permission denied")),
        (token("one"), refused(401, "etcdserver: invalid auth token")),
    ],
)
async def test_wrong_credentials(
    fake: FakeEtcd, guarded: EtcdRegistry, login: tuple[int, Any], answer: Any
) -> None:
    """Proves that a refusal says so, shows no password, and is not tried for ever."""
    fake.logins = [login]
    fake.ranges = [answer]
    with pytest.raises(RegistryError, match=r"credentials|must allow to read") as raised:
        await guarded.fetch("web")
    assert PASSWORD not in f"{raised.value!r} {guarded!r}"
    assert len(fake.seen) <= 4


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("etcd://", "no address"),
        ("etcd://h?layout=odd", "layout"),
        ("etcd://h/a?prefix=b", "prefix"),
        ("etcd://:secret@h", "no user"),
        ("etcd://h?cert=/x", "TLS"),
        ("etcd://h?idle=-1", "idle"),
        ("etcd://h?odd=1", "odd"),
    ],
)
def test_wrong_urls(url: str, part: str) -> None:
    """Proves that a wrong URL says which part is wrong, and shows a right one."""
    with pytest.raises(InvalidRegistryURL, match=part) as raised:
        registry_from_url(url)
    assert "layout=kratos" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_right_urls() -> None:
    """Proves that both schemes are found, with the default port and without credentials."""
    assert repr(registry_from_url("etcd://h")) == "EtcdRegistry('etcd://h:2379/')"
    registry = registry_from_url(f"etcd+https://me:{PASSWORD}@h,[::1]:9/a/b?layout=gozero")
    assert repr(registry) == "EtcdRegistry('etcd+https://h:2379,[::1]:9/a/b')"
