"""The HTTP registry against a real web server, good and bad."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import logging
import ssl
import threading
import tracemalloc
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import anyio
import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from rpcguard._core.nodes.node import Node
from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard.errors import InvalidRegistryURL, RegistryError
from rpcguard.registries.base import registry_from_url
from rpcguard.registries.http import HttpRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from conftest import ScriptedServer, Seen

ONE = json.dumps({"nodes": [{"host": "a", "port": 1}]})
ALL = json.dumps({"services": {"Orders": [{"host": "a", "port": 1}], "empty": []}})


@pytest.fixture
async def registry(server: ScriptedServer) -> AsyncIterator[HttpRegistry]:
    registry = HttpRegistry(f"http://{server.address}/v1/{{service}}", max_bytes=10_000)
    yield registry
    await registry.aclose()


async def fetch(url: str, service: str = "orders", **options: float) -> Snapshot:
    registry = HttpRegistry(url, **options)  # type: ignore[arg-type]
    try:
        return await registry.fetch(service)
    finally:
        await registry.aclose()


# --- good answers


async def test_a_service_is_asked_for_by_its_encoded_name(server: ScriptedServer) -> None:
    """Proves that the name cannot change the path, and that the query goes out as written."""
    server.say(ONE)
    url = f"http://{server.address}/v1/{{service}}/nodes?env=a%2Fb&x=1&x=2&s={{service}}"
    assert (await fetch(url, "a/b ?&ü")).nodes == (Node("a", 1),)
    name = "a%2Fb%20%3F%26%C3%BC"
    assert server.seen[0].target == f"/v1/{name}/nodes?env=a%2Fb&x=1&x=2&s={name}"


@pytest.mark.parametrize("service", ["shop.bücher.example", "shop.xn--bcher-kva.example"])
async def test_the_nodes_of_a_service_are_its_own_however_it_is_spelt(
    server: ScriptedServer, service: str
) -> None:
    """A document of one service names none, and is that of the one that was asked for."""
    server.say(ONE)
    url = f"http://{server.address}/{{service}}"
    assert (await fetch(url, service)).nodes == (Node("a", 1),)


@pytest.mark.parametrize("service", ["", ".", ".."])
async def test_a_name_that_would_walk_the_path_is_never_asked_for(
    server: ScriptedServer, registry: HttpRegistry, service: str
) -> None:
    """Proves that dots cannot lead to another document."""
    server.say(ONE)
    assert not (await registry.fetch(service)).known
    assert server.seen == []


@pytest.mark.parametrize("path", ["/v1/{service}", "/all.json", ""])
async def test_a_document_of_services_is_understood(server: ScriptedServer, path: str) -> None:
    """Proves that both URL forms take "services": found, empty, and unknown."""
    server.say(ALL)
    url = f"http://{server.address}{path}"
    assert (await fetch(url)).nodes == (Node("a", 1),)
    assert await fetch(url, "empty") == Snapshot(())
    assert await fetch(url, "other") == Snapshot((), known=False)


async def test_404_is_an_unknown_service_only_where_a_service_was_named(
    server: ScriptedServer,
) -> None:
    """Proves that a missing document for all services does not make each of them unknown."""
    server.say("gone", 404)
    assert not (await fetch(f"http://{server.address}/{{service}}")).known
    with pytest.raises(RegistryError, match="/all: status 404"):
        await fetch(f"http://{server.address}/all")


async def test_an_unchanged_list_costs_a_304(
    server: ScriptedServer, registry: HttpRegistry
) -> None:
    """Proves that the tag is sent back per service, and 304 gives the last list again."""

    def script(seen: Seen) -> bytes:
        tag = f'W/"{seen.target}"'
        if seen.headers.get("if-none-match") == tag:
            return server.answer("", 304, ETag=tag)
        port = 1 if seen.target.endswith("orders") else 2
        body = json.dumps({"nodes": [{"host": "a", "port": port}]})
        return server.answer(body, ETag=tag, Cache_Control="max-age=7")

    server.script = script
    first = await registry.fetch("orders")
    other = await registry.fetch("billing")
    assert [await registry.fetch("orders"), await registry.fetch("billing")] == [first, other]
    assert (first.nodes, other.nodes, first.max_age) == ((Node("a", 1),), (Node("a", 2),), 7)
    tags = [seen.headers.get("if-none-match") for seen in server.seen]
    assert tags == [None, None, 'W/"/v1/orders"', 'W/"/v1/billing"']


async def test_a_changed_list_replaces_the_tag(
    server: ScriptedServer, registry: HttpRegistry
) -> None:
    """Proves that the newest tag counts, that one can go away, and that 304 may renew the age."""
    server.say(ONE, ETag='"1"')
    await registry.fetch("orders")
    server.say('{"nodes": []}', ETag='"2"')
    assert (await registry.fetch("orders")).nodes == ()
    server.say("", 304, Cache_Control="max-age=9")
    assert await registry.fetch("orders") == Snapshot((), max_age=9)
    server.say(ONE)
    assert (await registry.fetch("orders")).nodes == (Node("a", 1),)
    await registry.fetch("orders")
    tags = [seen.headers.get("if-none-match") for seen in server.seen]
    assert tags == [None, '"1"', '"2"', '"2"', None]


async def test_a_broken_answer_keeps_the_last_tag_and_list(
    server: ScriptedServer, registry: HttpRegistry
) -> None:
    """Proves that a bad moment between two good ones costs no new download."""
    server.say(ONE, ETag='"1"')
    first = await registry.fetch("orders")
    server.say("{", ETag='"2"')
    with pytest.raises(RegistryError):
        await registry.fetch("orders")
    server.say("", 304)
    assert await registry.fetch("orders") == first
    assert server.seen[-1].headers["if-none-match"] == '"1"'


@pytest.mark.parametrize(
    ("value", "age"),
    [
        ("max-age=15", 15),
        ("public, Max-Age=20, must-revalidate", 20),
        ("max-age=0", 1),
        ("max-age=999999999999999999", 300),
        ("s-maxage=5", None),
        ("max-age=soon", None),
        ("max-age=-3", None),
        ("no-store", None),
    ],
)
async def test_max_age_is_advice_within_bounds(
    server: ScriptedServer, registry: HttpRegistry, value: str, age: float | None
) -> None:
    """Proves that the interval can be neither zero nor for ever."""
    server.say(ONE, Cache_Control=value)
    assert (await registry.fetch("orders")).max_age == age


async def test_gzip_is_asked_for_and_unpacked(
    server: ScriptedServer, registry: HttpRegistry
) -> None:
    """Proves that a packed list is read."""
    server.say(gzip.compress(ONE.encode()), Content_Encoding="gzip")
    assert (await registry.fetch("orders")).nodes == (Node("a", 1),)
    assert server.seen[0].headers["accept-encoding"] == "gzip"


async def test_a_lasting_bad_node_is_warned_of_once(
    server: ScriptedServer, registry: HttpRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Proves that polling does not repeat the warning."""
    server.say('{"nodes": [{"host": "a", "port": 1}, {"host": "a", "port": 0}]}')
    for _ in range(3):
        assert len((await registry.fetch("orders")).nodes) == 1
    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert f"http://{server.address}/v1/orders" in warnings[0]


# --- bad answers


@pytest.mark.parametrize(
    ("status", "complaint"),
    [
        (500, "status 500"),
        (503, "status 503"),
        (204, "status 204"),
        (401, "credentials are missing, wrong"),
        (403, "credentials are missing, wrong"),
        (304, "status 304"),
    ],
)
async def test_another_status_is_an_error_that_names_it(
    server: ScriptedServer, registry: HttpRegistry, status: int, complaint: str
) -> None:
    """Proves that a list in an answer that is no success does not count."""
    server.say("" if status in (204, 304) else ONE, status)
    with pytest.raises(RegistryError, match=complaint) as caught:
        await registry.fetch("orders")
    assert f"http://{server.address}/v1/orders" in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(
    server: ScriptedServer, registry: HttpRegistry, status: int
) -> None:
    """Proves that the credentials cannot be led elsewhere, and that the error says so."""
    server.say("", status, Location=f"http://{server.address}/elsewhere")
    with pytest.raises(RegistryError, match="redirects are not followed"):
        await registry.fetch("orders")
    assert [seen.target for seen in server.seen] == ["/v1/orders"]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "no JSON"),
        (b'{"nodes": [', "no JSON"),
        (b'{"nodes": "\xff"}', "no JSON"),
        (b"<html>", "no JSON"),
        (b"[]", '"services" is wanted'),
        (b'"text"', '"services" is wanted'),
        (b'{"nodes": {}}', "a list of nodes is wanted, not dict"),
        (b'{"nodes": null}', "a list of nodes is wanted"),
        (b'{"nodes": [{"host": "a", "port": 0}]}', "none of 1 nodes"),
        (b'{"services": {"orders": 3}}', "a list of nodes is wanted"),
    ],
)
async def test_a_wrong_body_is_an_error(
    server: ScriptedServer, registry: HttpRegistry, body: bytes, complaint: str
) -> None:
    """Proves that no wrong document passes for a list, empty or not."""
    server.say(body)
    with pytest.raises(RegistryError, match=complaint):
        await registry.fetch("orders")


async def test_a_body_nested_too_deeply_is_an_error(server: ScriptedServer) -> None:
    """Proves that it ends no more than the fetch; from Python 3.13 on 9,000 levels are not deep."""
    server.say(b"[" * 100_000)
    with pytest.raises(RegistryError, match="nested too deeply"):
        await fetch(f"http://{server.address}/v1/orders")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\xff\x16\x03 garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200",
        b"",
    ],
)
async def test_an_answer_that_is_no_http_is_an_error(
    server: ScriptedServer, registry: HttpRegistry, garbage: bytes
) -> None:
    """Proves that garbage and a connection cut short end in the documented error."""
    server.script = lambda _: [garbage]
    with pytest.raises(RegistryError, match=r"/v1/orders: \w+"):
        await registry.fetch("orders")


async def test_a_body_over_the_limit_is_not_read_to_its_end(
    server: ScriptedServer, registry: HttpRegistry
) -> None:
    """Proves that an endless body stops at the limit."""
    chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server.script = lambda _: itertools.chain([head], itertools.repeat(chunk))
    with anyio.fail_after(20), pytest.raises(RegistryError, match="more than 10000 bytes"):
        await registry.fetch("orders")


async def test_the_limit_counts_after_unpacking(server: ScriptedServer) -> None:
    """Proves that a small bomb is refused before it grows; a body of the very limit passes."""
    bomb = zlib.compressobj(wbits=31)
    packed = b"".join(bomb.compress(b" " * 2**20) for _ in range(200)) + bomb.flush()
    assert len(packed) < 300_000
    server.say(packed, Content_Encoding="gzip")
    url = f"http://{server.address}/x"
    tracemalloc.start()
    try:
        with pytest.raises(RegistryError, match="more than 1000000 bytes"):
            await fetch(url, max_bytes=1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    server.say(gzip.compress(ALL.encode()), Content_Encoding="gzip")
    assert (await fetch(url, max_bytes=len(ALL))).nodes
    with pytest.raises(RegistryError, match=f"more than {len(ALL) - 1} bytes"):
        await fetch(url, max_bytes=len(ALL) - 1)


@pytest.mark.parametrize(
    ("body", "encoding", "complaint"),
    [
        (gzip.compress(ONE.encode())[:-9], "gzip", "cut short"),
        (gzip.compress(ONE.encode()) * 2, "gzip", "more than one"),
        (ONE.encode(), "gzip", "no gzip"),
        (ONE.encode(), "br", "'br' was not asked for"),
        (ONE.encode(), "gzip, gzip", "'gzip, gzip' was not asked for"),
    ],
)
async def test_a_body_that_is_not_packed_as_said_is_an_error(
    server: ScriptedServer, registry: HttpRegistry, body: bytes, encoding: str, complaint: str
) -> None:
    """Proves that broken, stacked and unknown encodings end in the documented error."""
    server.say(body, Content_Encoding=encoding)
    with pytest.raises(RegistryError, match=complaint):
        await registry.fetch("orders")


@pytest.mark.parametrize(
    "head", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"]
)
async def test_an_answer_that_drips_ends_at_the_timeout(
    server: ScriptedServer, head: bytes
) -> None:
    """Proves that the limit is on the whole exchange: each read of this one is quick."""
    done = threading.Event()

    def drip() -> Iterator[bytes]:
        yield head
        while not done.wait(0.02):
            yield b" " if head else b""

    server.script = lambda _: drip()
    try:
        with anyio.fail_after(20), pytest.raises(RegistryError, match=r"within 0\.3 s|Timeout"):
            await fetch(f"http://{server.address}/x", timeout=0.3)
    finally:
        done.set()


async def test_a_refused_connection_is_an_error_that_names_the_address(
    server: ScriptedServer,
) -> None:
    """Proves that the address that does not answer is in the message."""
    with pytest.raises(RegistryError, match=r"http://127\.0\.0\.1:1/x: ConnectError"):
        await fetch("http://127.0.0.1:1/x")
    with pytest.raises(RegistryError, match=r"aaa:1/x: "):
        await fetch(f"http://{'a' * 70}:1/x")


# --- URLs, credentials, TLS


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http:///x", "no address"),
        ("ftp://a/x", "must be http or https"),
        ("http://a/{srv}", r"only place to fill in is \{service\}"),
        ("http://a/x?key=/k", "need a URL with TLS"),
        ("https://a/x?key=/k", "key needs cert"),
        ("http://a:0/x", "65535"),
        ("http://joe:pass/word@a/x", "write '@' as %40"),
        ("http://joe:1/word@a/x", "write '@' as %40"),
    ],
)
def test_a_wrong_url_is_refused(url: str, complaint: str) -> None:
    """Proves that each mistake is named, an example is shown, and no password."""
    with pytest.raises(InvalidRegistryURL, match=complaint) as caught:
        HttpRegistry(url)
    assert "https://user:password@registry.local/" in str(caught.value)
    assert "joe" not in str(caught.value)


async def test_credentials_are_sent_and_shown_nowhere(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Proves basic authentication, and that no log, error or repr has user, password or query."""
    caplog.set_level(logging.DEBUG)
    url = f"http://joe:p%40ss%2Fword@{server.address}/{{service}}?token=hush"
    registry = HttpRegistry(url, headers={"X-Key": "quiet"})
    server.say('{"nodes": [{"host": "a", "port": 1}, {}]}')
    await registry.fetch("orders")
    sent = server.seen[0].headers
    assert base64.b64decode(sent["authorization"].removeprefix("Basic ")) == b"joe:p@ss/word"
    assert (sent["x-key"], server.seen[0].target) == ("quiet", "/orders?token=hush")
    said = [repr(registry), repr(registry._client)]
    for body in ("{", ONE):
        server.say(body, 200 if body == "{" else 401)
        with pytest.raises(RegistryError) as caught:
            await registry.fetch("orders")
        said.append(str(caught.value))
    await registry.aclose()
    said += [record.getMessage() for record in caplog.records]
    assert len(said) > 4
    secrets = ("joe", "p@ss", "p%40ss", "hush", "quiet", sent["authorization"])
    assert not [text for text in said if any(secret in text for secret in secrets)]


async def test_a_header_that_cannot_be_sent_is_not_shown(server: ScriptedServer) -> None:
    """Proves that the message of the HTTP library, which repeats the header, is not passed on."""
    registry = HttpRegistry(f"http://{server.address}/x", headers={"X-Key": "quiet\n"})
    with pytest.raises(RegistryError, match="a request header cannot be sent") as caught:
        await registry.fetch("orders")
    await registry.aclose()
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_the_environment_sets_no_proxy(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that a proxy meant for the outside world does not get the registry's requests."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    server.say(ALL)
    assert (await fetch(f"http://{server.address}/x")).nodes


class _Secure(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(ALL)))
        self.end_headers()
        self.wfile.write(ALL.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure_port(authority: trustme.CA) -> Iterator[int]:
    """Run a server that asks for a client certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Secure)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


async def test_tls_files_are_options_of_the_url(
    secure_port: int, authority: trustme.CA, tmp_path: Path
) -> None:
    """Proves that ca, cert and key are used, are not passed on, and are needed here."""
    ca, cert, key = (tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem"))
    mine = authority.issue_cert("client.local")
    authority.cert_pem.write_to_path(ca)
    mine.cert_chain_pems[0].write_to_path(cert)
    mine.private_key_pem.write_to_path(key)
    url = f"https://localhost:{secure_port}/x"
    assert (await fetch(f"{url}?ca={ca}&cert={cert}&key={key}")).nodes == (Node("a", 1),)
    with pytest.raises(RegistryError, match="CERTIFICATE_VERIFY_FAILED"):
        await fetch(f"{url}?cert={cert}&key={key}")
    with pytest.raises(RegistryError, match=f"https://localhost:{secure_port}/x: "):
        await fetch(f"{url}?ca={ca}")
    with pytest.raises(RegistryError, match=r"ca='/nowhere\.pem'.*No such file"):
        await fetch(f"{url}?ca=/nowhere.pem")


async def test_an_ssl_context_can_be_given(secure_port: int, authority: trustme.CA) -> None:
    """Proves that the keyword option replaces the files, and that the name is checked."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    authority.issue_cert("client.local").configure_cert(context)
    for host, good in (("localhost", True), ("127.0.0.1", False)):
        registry = HttpRegistry(f"https://{host}:{secure_port}/x", ssl_context=context)
        if good:
            assert (await registry.fetch("orders")).nodes
        else:
            with pytest.raises(RegistryError, match="CERTIFICATE_VERIFY_FAILED"):
                await registry.fetch("orders")
        await registry.aclose()


@pytest.fixture
def locked(authority: trustme.CA, tmp_path: Path) -> Path:
    """Give a file with a certificate and its key, the key behind a password."""
    mine = authority.issue_cert("client.local")
    key = serialization.load_pem_private_key(mine.private_key_pem.bytes(), None)
    closed = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"hush"),
    )
    path = tmp_path / "locked.pem"
    path.write_bytes(mine.cert_chain_pems[0].bytes() + closed)
    return path


async def test_a_key_behind_a_password_does_not_ask_on_the_terminal(locked: Path) -> None:
    """Proves that the event loop is not held up by OpenSSL's question."""
    with anyio.fail_after(20), pytest.raises(RegistryError, match="encrypted key cannot be used"):
        await fetch(f"https://localhost:1/x?cert={locked}")


async def test_the_entry_point_makes_the_same_registry(server: ScriptedServer) -> None:
    """Proves the way from a URL to a list."""
    server.say(ALL)
    registry = registry_from_url(f"http://{server.address}/x")
    assert isinstance(registry, HttpRegistry)
    assert (await registry.fetch("orders")).nodes == (Node("a", 1),)
    await registry.aclose()


async def test_one_document_for_all_services_is_asked_for_once(server: ScriptedServer) -> None:
    """Fifty services that are polled in turn cost one question a round, and 304 serves all."""
    names = [f"service{number}" for number in range(50)]
    services = {name: [{"host": "a", "port": port}] for port, name in enumerate(names, 1)}
    services["broken"] = [{"host": "a", "port": 0}]
    whole = server.answer(json.dumps({"services": services}), ETag='"1"')
    same = server.answer("", 304)
    server.script = lambda seen: same if "if-none-match" in seen.headers else whole
    registry = HttpRegistry(f"http://{server.address}/services")
    for round_ in (1, 2, 3):
        for port, name in enumerate(names, 1):
            assert [node.port for node in (await registry.fetch(name)).nodes] == [port]
        with pytest.raises(RegistryError, match="none of 1 nodes"):
            await registry.fetch("broken")
        assert len(server.seen) == round_
    await registry.aclose()


async def test_an_etag_goes_back_byte_by_byte(server: ScriptedServer) -> None:
    """What RFC 9110 allows in an ETag beyond ASCII is sent back as it came."""
    document = json.dumps({"nodes": [{"host": "a", "port": 1}]})
    etag = '"caf\u00e9"'.encode("latin-1")
    head = b"HTTP/1.1 200 OK\r\nETag: %s\r\nContent-Length: %d\r\n\r\n" % (etag, len(document))
    heads: list[bytes] = []

    def reply(seen: Seen) -> bytes:
        heads.append(seen.headers.get("if-none-match", "").encode("latin-1"))
        return head + document.encode()

    server.script = reply
    registry = HttpRegistry(f"http://{server.address}/{{service}}")
    for _ in range(2):
        assert (await registry.fetch("orders")).nodes
    assert heads == [b"", etag]
    await registry.aclose()


async def test_a_token_may_have_any_letter(server: ScriptedServer) -> None:
    """What a header has beyond ASCII is sent as UTF-8, not refused at each poll."""
    server.say('{"nodes": []}')
    registry = HttpRegistry(
        f"http://{server.address}/{{service}}", headers={"X-Token": "schl\u00fcssel"}
    )
    assert (await registry.fetch("orders")).known
    sent = server.seen[0].headers["x-token"]
    assert sent.encode("latin-1").decode() == "schl\u00fcssel"
    await registry.aclose()
