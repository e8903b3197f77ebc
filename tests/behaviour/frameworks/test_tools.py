"""What people bring along to their clients: caches, tokens, cassettes and error trackers."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import httpx
import pytest

import rpcguard
from rpcguard.testing import mocked
from tests.support.calls import Node, Peer
from tests.support.library import LIBRARY

pytestmark = pytest.mark.skipif(LIBRARY != "httpx", reason="each of them is made for httpx")


def saying(body: str, *lines: str):
    head = "".join(f"{line}\r\n" for line in (f"Content-Length: {len(body)}", *lines))
    answer = f"HTTP/1.1 200 OK\r\n{head}\r\n{body}".encode()
    return lambda peer: Peer.serve(peer, answer)


def listing(**nodes: Node) -> str:
    named = ";".join(f"{name}=127.0.0.1:{node.port}" for name, node in nodes.items())
    return f"static:///{named}"


def run(program: str, registry: str) -> str:
    """Run a program that changes its whole process, and give what it prints."""
    ran = subprocess.run(
        [sys.executable, "-c", program, registry],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_hishel_caches_what_rpcguard_fetches(make_node, tmp_path, monkeypatch):
    """Its transport goes around rpcguard's: what it has kept asks no node."""
    hishel = pytest.importorskip("hishel.httpx")
    monkeypatch.chdir(tmp_path)  # it keeps a database in the working directory
    node = make_node(saying("ok", "Cache-Control: max-age=60"))
    caching = hishel.CacheTransport(rpcguard.Transport(listing(orders=node)))
    with httpx.Client(transport=caching, base_url="http://orders") as client:
        assert [client.get("/v1/orders/42").text for _ in range(3)] == ["ok"] * 3
    assert len(node.seen) == 1


def test_authlib_fetches_its_token_and_sends_it(make_node):
    """Both go through the transport; of two libraries it calls with httpx2 where that is there."""
    authlib = pytest.importorskip("authlib.integrations.httpx_client")
    token = {"access_token": "t0k3n", "token_type": "Bearer", "expires_in": 3600}
    login = make_node(saying(json.dumps(token), "Content-Type: application/json"))
    orders = make_node(saying("ok"))
    of_httpx = issubclass(authlib.OAuth2Client, httpx.Client)
    if of_httpx:
        transport = rpcguard.Transport(listing(login=login, orders=orders))
    else:
        from rpcguard.httpx2 import Transport

        transport = Transport(listing(login=login, orders=orders))
    with authlib.OAuth2Client("id", "secret", transport=transport) as client:
        client.fetch_token("http://login/token", grant_type="client_credentials")
        assert client.get("http://orders/v1/orders/42").text == "ok"
    [asked] = orders.seen
    assert asked.headers["authorization"] == "Bearer t0k3n"


CASSETTE = """\
version: 1
interactions:
- request: {method: GET, uri: "http://orders/v1/orders/42", body: "", headers: {}}
  response:
    status: {code: 200, message: OK}
    headers: {Content-Length: ["2"]}
    body: {string: ok}
"""


def test_vcr_plays_its_cassettes(tmp_path):
    """By the URL that was asked for, under `mocked`, with no node at all."""
    vcr = pytest.importorskip("vcr")
    (tmp_path / "orders.yaml").write_text(CASSETTE)
    transport = rpcguard.Transport("static:///orders=127.0.0.1:9")
    played = vcr.use_cassette(str(tmp_path / "orders.yaml"), record_mode="none")
    with (
        mocked(),
        played as cassette,
        httpx.Client(transport=transport, base_url="http://orders") as client,
    ):
        assert client.get("/v1/orders/42").text == "ok"
        assert cassette.play_count == 1


SENTRY = """
import json, sys
import httpx, rpcguard, sentry_sdk

class Kept(sentry_sdk.transport.Transport):
    def capture_envelope(self, envelope):
        for item in envelope.items:
            if item.type == "transaction":
                print(json.dumps([span["description"] for span in item.payload.json["spans"]]))

sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", transport=Kept(), traces_sample_rate=1.0)
with sentry_sdk.start_transaction(name="checkout"):
    with httpx.Client(transport=rpcguard.Transport(sys.argv[1])) as client:
        assert client.get("http://orders/v1/orders/42").text == "ok"
"""


def test_sentry_sees_the_call(make_node):
    """One span by the logical URL, and its trace goes on to the node."""
    pytest.importorskip("sentry_sdk")
    node = make_node(saying("ok"))
    assert json.loads(run(SENTRY, listing(orders=node))) == ["GET http://orders/v1/orders/42"]
    assert "sentry-trace" in node.seen[0].headers


DJANGO = """
import sys
import django, httpx, rpcguard
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

common = ["django.middleware.common.CommonMiddleware"]
settings.configure(ALLOWED_HOSTS=[sys.argv[1]], ROOT_URLCONF=__name__, MIDDLEWARE=common)
urlpatterns = [path("", lambda request: HttpResponse("ok"))]
node = httpx.WSGITransport(get_wsgi_application())
transport = rpcguard.Transport("static:///orders=127.0.0.1:9", node_transport=lambda _: node)
with httpx.Client(transport=transport) as client:
    print(client.get("http://orders/").status_code)
"""
STARLETTE = """
import asyncio, sys
import httpx, rpcguard
from starlette.applications import Starlette
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("ok"))])
app.add_middleware(TrustedHostMiddleware, allowed_hosts=[sys.argv[1]])
node = httpx.ASGITransport(app)

async def main():
    nodes = "static:///orders=127.0.0.1:9"
    transport = rpcguard.AsyncTransport(nodes, node_transport=lambda _: node)
    async with httpx.AsyncClient(transport=transport) as client:
        print((await client.get("http://orders/")).status_code)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("package", "program"),
    [("django", DJANGO), ("starlette", STARLETTE)],
    ids=["django", "starlette"],
)
def test_a_host_check_wants_the_name_of_the_service(package, program):
    """As Migrate and the FAQ say: not the address of the node."""
    pytest.importorskip(package)
    assert run(program, "orders").split()[-1] == "200"
    assert run(program, "127.0.0.1").split()[-1] == "400"


LOGFIRE = """
import json, sys
import httpx, logfire, rpcguard
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

kept = InMemorySpanExporter()
options = {"send_to_logfire": False, "console": False}
logfire.configure(additional_span_processors=[SimpleSpanProcessor(kept)], **options)
logfire.instrument_httpx()
with httpx.Client(transport=rpcguard.Transport(sys.argv[1])) as client:
    assert client.get("http://orders/v1/orders/42").text == "ok"
print(json.dumps([span.attributes.get("rpcguard.node.id") for span in kept.get_finished_spans()]))
"""


def test_logfire_sees_the_attempt_once(make_node):
    """The span is rpcguard's, with its node, beside the instrumentation of other clients."""
    pytest.importorskip("logfire")
    node = make_node(saying("ok"))
    told = run(LOGFIRE, listing(orders=node))
    assert json.loads(told) == [f"127.0.0.1:{node.port}"]
