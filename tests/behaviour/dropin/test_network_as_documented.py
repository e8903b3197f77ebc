"""What httpx documents of errors, timeouts, limits, TLS, its environment, mounts and proxies."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading

import pytest

from tests.support.calls import FLAVOURS, PATIENCE, Dead, each, settle
from tests.support.judge import Talk, answering, judge, told
from tests.support.library import NAME, http
from tests.support.scripts import CHUNKED, hang, hang_in_body

pytestmark = each(FLAVOURS)
httpx_leaves_generators = pytest.mark.filterwarnings(
    "ignore:Async generator", "ignore:Exception ignored in"
)

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n"


def saying(data: bytes):
    """Answer the first request with these bytes and leave."""
    return lambda peer: peer.answer(data)


def tunnel_to(port: int):
    """Be a proxy that leads to one port."""

    def script(peer):
        peer.answer(b"HTTP/1.1 200 OK\r\n\r\n")
        with socket.create_connection(("127.0.0.1", port)) as node:
            back = threading.Thread(target=copy, args=(node.recv, peer.send), daemon=True)
            back.start()
            copy(peer.sock.recv, node.sendall)
            node.shutdown(socket.SHUT_RDWR)
            back.join()

    return script


def copy(read, write):
    """Hand on what is read until the end."""
    with contextlib.suppress(OSError):
        while data := read(65536):
            write(data)


BREAKS = {
    "no answer": saying(b""),
    "half a head": saying(HEAD),
    "half a body": saying(HEAD + b"\r\nhalf"),
    "half a chunk": saying(CHUNKED + b"10\r\nhalf"),
    "no chunk": saying(CHUNKED + b"zz\r\n"),
    "no HTTP": saying(b"SSH-2.0-OpenSSH\r\n\r\n"),
    "two lengths": saying(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    "a bad header": saying(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"),
    "a large header": saying(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n"),
    "a bad encoding": saying(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nplain"),
    "silence": hang,
    "silence in the body": hang_in_body,
}


@httpx_leaves_generators
@pytest.mark.parametrize("script", BREAKS.values(), ids=BREAKS)
async def test_nodes_that_break(script, flavour, make_node, plain_context):
    """The exception, its message and its request are those of plain httpx, read or streamed."""

    async def scenario(talk: Talk):
        silent = script in (hang, hang_in_body)
        talk.open(timeout=http.Timeout(PATIENCE, read=0.1 if silent else PATIENCE))
        whole = await talk.failure(talk.post("/x", content=b"1"))
        return whole, await talk.failure(streamed(talk))

    async def streamed(talk: Talk):
        async with talk.stream("/x", method="POST") as response:
            return await talk.parts(response, "iter_bytes")

    node = make_node(script)
    whole, parts = await judge(scenario, flavour, node, plain_context)
    assert "HTTPError" in whole[0]
    assert "RequestError" in parts[0]


@httpx_leaves_generators
async def test_calls_that_cannot_be_sent(flavour, make_node, plain_context):
    """What httpx refuses before anything is sent is refused alike, and no connection is lost."""

    async def scenario(talk: Talk):
        async def broken():
            yield b"begun"
            raise KeyError("the caller's own")

        def sbroken():
            yield b"begun"
            raise KeyError("the caller's own")

        calls = [
            lambda: talk.get("ftp://localhost/"),
            lambda: talk.get("http://localhost:port/"),
            lambda: talk.get("/", headers={"X-Bad": "line\nfeed"}),
            lambda: talk.get("/", headers={"bad name": "x"}),
            lambda: talk.request("BAD METHOD", "/"),
            lambda: talk.get("/", extensions={"target": b"/no no"}),
            lambda: talk.post("/", content=sbroken() if talk.flavour.sync else broken()),
            lambda: talk.post("/", json=object()),
            lambda: talk.get("/", auth=3),
        ]
        failures = [await talk.failure(call()) for call in calls]
        return failures, told(await talk.get("/"))

    failures, _ = await judge(scenario, flavour, make_node(answering({})), plain_context)
    assert len({kinds[0] for kinds, *_ in failures}) > 4


@pytest.mark.parametrize(("length", "words"), [("1", "Too much data"), ("9", "Too little data")])
async def test_a_body_of_another_length(length, words, flavour, make_node, make_caller):
    """It is an error of the library that the caller uses; plain httpx lets one of h11 through."""
    caller = make_caller(make_node())
    with pytest.raises(http.LocalProtocolError, match=words):
        await caller.call(method="POST", content=b"12", headers={"Content-Length": length})
    assert (await caller.call()).text == "ok"


async def test_nobody_listens(flavour, plain_context):
    """A refused connection is the same `ConnectError`."""

    async def scenario(talk: Talk):
        kinds, message, request = await talk.failure(talk.get("/x"))
        return kinds, bool(message), request

    kinds, *_ = await judge(scenario, flavour, Dead(), plain_context)
    assert kinds[0] == "ConnectError"


async def test_clients_that_are_closed(flavour, make_node, plain_context):
    """A closed client refuses calls, and to be opened anew, in httpx's words."""

    async def scenario(talk: Talk):
        await talk.get("/")
        before = talk.client.is_closed
        await settle(talk.client.close() if talk.flavour.sync else talk.client.aclose())
        enter = talk.client.__enter__ if talk.flavour.sync else talk.client.__aenter__

        async def entered():
            await settle(enter())

        return (
            before,
            talk.client.is_closed,
            [
                await talk.failure(talk.get("/")),
                await talk.failure(entered()),
            ],
        )

    await judge(scenario, flavour, make_node(), plain_context)


@httpx_leaves_generators
async def test_timeouts(flavour, make_node, plain_context):
    """`read` and `write` are told apart, and what a call says replaces what the client says."""
    over = threading.Event()

    async def scenario(talk: Talk):
        over.clear()
        large = b"x" * 20_000_000
        read, write = http.Timeout(PATIENCE, read=0.05), http.Timeout(PATIENCE, write=0.05)
        quick = {"extensions": {"timeout": {"read": 0.05}}}
        failures = [
            await talk.failure(talk.post("/", timeout=read)),
            await talk.failure(talk.post("/", content=large, timeout=write)),
            await talk.failure(talk.post("/", **quick)),
        ]
        talk.open(timeout=read)
        failures.append(await talk.failure(talk.post("/")))
        over.set()
        return failures

    node = make_node(lambda peer: over.wait(PATIENCE))  # reads nothing
    said = await judge(scenario, flavour, node, plain_context)
    assert [kinds[0] for kinds, *_ in said] == [
        *("ReadTimeout", "WriteTimeout", "ReadTimeout", "ReadTimeout")
    ]


@pytest.mark.parametrize(
    ("limits", "opened"),
    [
        ({}, 1),
        ({"max_keepalive_connections": 0}, 3),
        ({"keepalive_expiry": 0.0}, 3),
        ({"max_connections": None}, 1),
    ],
    ids=str,
)
async def test_limits_of_idle_connections(limits, opened, flavour, make_node, plain_context):
    """How many connections three calls in a row open is what the limits say."""

    async def scenario(talk: Talk):
        return [told(await talk.get("/")) for _ in range(3)], talk.opened

    given = http.Limits(**limits)
    _, said = await judge(scenario, flavour, make_node(), plain_context, limits=given)
    assert said == opened


async def test_limits_of_busy_connections(flavour, make_node, plain_context):
    """When all connections are busy a call waits for `pool`, and no longer."""

    async def scenario(talk: Talk):
        timeout = http.Timeout(PATIENCE, pool=0.05)
        async with talk.stream("/chunked", timeout=timeout) as response:
            kinds, _, asked = await talk.failure(talk.get("/second", timeout=timeout))
            parts = await talk.parts(response, "iter_raw", chunk_size=100)
        return kinds, asked, parts, told(await talk.get("/third", timeout=timeout))

    node = make_node(answering({"/chunked": CHUNKED + b"1\r\na\r\n0\r\n\r\n"}))
    limits = http.Limits(max_connections=1)
    kinds, *_ = await judge(scenario, flavour, node, plain_context, limits=limits)
    assert kinds[0] == "PoolTimeout"


async def secured(talk: Talk):
    async with talk.stream("/") as response:
        stream = response.extensions["network_stream"]
        tls = stream.get_extra_info("ssl_object")
        names = tls.getpeercert()["subjectAltName"]
        return tls.version(), tls.cipher(), tls.selected_alpn_protocol(), names


async def test_tls(flavour, make_node, certified, trusting):
    """The TLS connection is the same, seen from the response's `ssl_object` and from the node."""
    context = certified("localhost")
    context.set_alpn_protocols(["http/1.1"])
    node = make_node(tls=context)
    _, _, alpn, names = await judge(secured, flavour, node, trusting)
    assert (alpn, names) == ("http/1.1", (("DNS", "localhost"),))
    assert node.names == ["localhost", "localhost"]


async def test_tls_by_the_environment(
    flavour, make_node, certified, authority, tmp_path, monkeypatch
):
    """`SSL_CERT_FILE` and `SSLKEYLOGFILE` count, and not with `trust_env=False`."""
    trusted, keys = tmp_path / "ca.pem", tmp_path / "keys"
    authority.cert_pem.write_to_path(trusted)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    node = make_node(tls=certified("localhost"))
    await judge(secured, flavour, node, True)
    assert keys.read_text().count("CLIENT_TRAFFIC_SECRET_0") == 2

    async def refused(talk: Talk):
        return (await talk.failure(talk.get("/")))[0]

    assert (await judge(refused, flavour, node, True, trust_env=False))[0] == "ConnectError"


async def test_proxies_of_the_environment_are_not_used(
    flavour, make_node, plain_context, monkeypatch
):
    """A client with a transport does not look at `HTTP_PROXY` and its like."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{Dead().port}")

    async def scenario(talk: Talk):
        return told(await talk.get("/"))

    assert (await judge(scenario, flavour, make_node(), plain_context))["text"] == "ok"


async def test_log_lines(flavour, make_node, plain_context, caplog):
    """Httpx logs one line per call, with the logical URL."""
    caplog.set_level(logging.INFO, NAME)

    async def scenario(talk: Talk):
        for path in ("/", "/302"):
            await talk.get(path, follow_redirects=True)

    paths = {"/302": b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"}
    node = make_node(answering(paths))
    await judge(scenario, flavour, node, plain_context)
    lines = [record.getMessage() for record in caplog.records if record.name == NAME]
    assert lines[:3] == lines[3:]
    assert lines[0] == f'HTTP Request: GET http://localhost:{node.port}/ "HTTP/1.1 200 OK"'


@pytest.mark.parametrize(
    ("pattern", "guarded"),
    [
        ("all://", ["http://orders/", "http://a.orders/", "http://orders:81/"]),
        ("http://", ["http://orders/", "http://a.orders/", "http://orders:81/"]),
        ("https://", []),
        ("all://orders", ["http://orders/", "http://orders:81/"]),
        ("all://*orders", ["http://orders/", "http://a.orders/", "http://orders:81/"]),
        ("all://*.orders", ["http://a.orders/"]),
        ("http://orders:81", ["http://orders:81/"]),
        ("all://*:81", ["http://orders:81/"]),
    ],
)
async def test_mounts(pattern, guarded, flavour, make_node, make_caller):
    """Every kind of mount brings to the transport what its pattern says, and nothing else."""
    node = make_node()
    listing = f"static:///orders=127.0.0.1:{node.port};a.orders=127.0.0.1:{node.port}"
    transport = make_caller(listing=listing).transport
    other = http.MockTransport(lambda _: http.Response(200, text="other"))
    client = flavour.client(mounts={pattern: transport}, transport=other)
    urls = ["http://orders/", "http://a.orders/", "http://orders:81/"]
    said = {url: (await settle(client.get(url))).text for url in urls}
    assert [url for url, text in said.items() if text == "ok"] == guarded
    await settle(client.close() if flavour.sync else client.aclose())


async def test_a_proxy_of_the_client(flavour, make_node, make_caller):
    """`proxy=` of a client takes its calls away from the transport; a mount takes them back."""
    proxy, node = make_node(), make_node()
    options = {"proxy": f"http://127.0.0.1:{proxy.port}", "trust_env": False}
    caller = make_caller(node, client=options)
    await caller.call("/x")
    assert [seen.line for seen in proxy.seen] == ["GET http://orders/x HTTP/1.1"]
    client = flavour.client(mounts={"all://orders": caller.transport}, **options)
    await settle(client.get("http://orders/y"))
    await settle(client.close() if flavour.sync else client.aclose())
    assert [seen.line for seen in node.seen] == ["GET /y HTTP/1.1"]


async def test_a_proxy_before_the_nodes(flavour, make_node, make_caller):
    """Children that go through a proxy ask it for the node, in the name of the service."""
    proxy, node = make_node(), make_node()
    kind = http.HTTPTransport if flavour.sync else http.AsyncHTTPTransport
    child = {"node_transport": lambda _: kind(proxy=f"http://127.0.0.1:{proxy.port}")}
    await make_caller(node, **child).call("/x")
    (seen,) = proxy.seen
    assert seen.line == f"GET http://127.0.0.1:{node.port}/x HTTP/1.1"
    assert seen.headers["host"] == "orders"
    assert node.seen == []


@pytest.mark.parametrize(
    ("environment", "pattern", "options", "arrives"),
    [
        ({"HTTP_PROXY": "{}"}, "all://orders", {}, True),
        ({"HTTP_PROXY": "{}", "NO_PROXY": "internal,localhost"}, "all://orders", {}, True),
        ({"HTTP_PROXY": "{}", "NO_PROXY": "*"}, "all://orders", {}, True),
        ({"NO_PROXY": "orders"}, "all://orders", {}, False),
        ({"NO_PROXY": "orders"}, "all://*orders", {}, True),
        ({"NO_PROXY": "orders"}, "all://orders", {"trust_env": False}, True),
        ({"HTTP_PROXY": "{}"}, "all://", {}, False),
        ({"HTTP_PROXY": "{}"}, "http://", {}, True),
        ({"HTTP_PROXY": "{}"}, "all://", {"trust_env": False}, True),
    ],
)
async def test_proxies_of_the_environment_beside_a_mount(
    environment, pattern, options, arrives, flavour, make_node, make_caller, monkeypatch
):
    """A client chooses by the longest pattern, and `NO_PROXY=orders` is `all://*orders` to it."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(f"http://127.0.0.1:{Dead().port}"))
    node = make_node()
    transport = make_caller(node).transport
    client = flavour.client(mounts={pattern: transport}, **options)
    try:
        await settle(client.get("http://orders/x"))
    except http.ConnectError:
        assert not arrives
    assert [seen.line for seen in node.seen] == arrives * ["GET /x HTTP/1.1"]
    await settle(client.close() if flavour.sync else client.aclose())


async def test_tls_through_a_proxy(flavour, make_node, make_caller, certified, trusting):
    """Through a proxy httpx checks the node's address, and httpx2 the name of the service."""
    kind = http.HTTPTransport if flavour.sync else http.AsyncHTTPTransport
    for name in ("orders", "127.0.0.1"):
        trusted = (name == "orders") is (http.__name__ == "httpx2")
        node = make_node(tls=certified(name))
        proxy = make_node(tunnel_to(node.port))
        child = {
            "node_transport": lambda _, port=proxy.port: kind(
                proxy=f"http://127.0.0.1:{port}", verify=trusting
            )
        }
        caller = make_caller(node, **child)
        try:
            await caller.call("https://orders/x")
        except http.ConnectError:
            assert not trusted
        assert [seen.line for seen in node.seen] == trusted * ["GET /x HTTP/1.1"]


async def test_an_application_as_a_child(flavour, make_node, make_caller):
    """A WSGI or ASGI application may be a node's child; it sees its address and the name."""

    def wsgi(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{environ['HTTP_HOST']} {environ['SERVER_PORT']}".encode()]

    async def asgi(scope, receive, send):
        host = dict(scope["headers"])[b"host"].decode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        body = f"{host} {scope['server'][1]}".encode()
        await send({"type": "http.response.body", "body": body})

    child = http.WSGITransport(wsgi) if flavour.sync else http.ASGITransport(asgi)
    caller = make_caller(node := make_node(), node_transport=lambda _: child)
    assert (await caller.call()).text == f"orders {node.port}"


async def test_a_transport_around_it(flavour, make_node, make_caller):
    """A transport of the user's own may wrap rpcguard's, and see each call once."""
    asked: list[str] = []

    class Around(http.BaseTransport, http.AsyncBaseTransport):
        def __init__(self, inner) -> None:
            self.inner = inner

        def handle_request(self, request):
            asked.append(str(request.url))
            return self.inner.handle_request(request)

        async def handle_async_request(self, request):
            asked.append(str(request.url))
            return await self.inner.handle_async_request(request)

    caller = make_caller(Dead(), make_node())
    client = flavour.client(transport=Around(caller.transport))
    assert (await settle(client.get("http://orders/x"))).text == "ok"
    assert asked == ["http://orders/x"]
