"""Services of FastAPI and Starlette that call another service, driven by their test client."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import httpx2
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

import rpcguard
from rpcguard.testing import ScriptedRegistry
from tests.behaviour.frameworks.sdks import END, STREAM, answer, chunk
from tests.support.calls import Dead, InOrder, Peer, eventually, registry
from tests.support.library import LIBRARY, AsyncTransport, Transport, http

PAID = answer({"state": "paid"})
BASE = "http://orders"


def paid(peer: Peer) -> None:
    peer.serve(PAID)


def unreachable(_request: Request, _error: Exception) -> JSONResponse:
    return JSONResponse({"error": "orders cannot be reached"}, 503)


def shop(listing, **options) -> FastAPI:
    """Make a service whose handlers, of both kinds, call `orders`."""

    @asynccontextmanager
    async def lifespan(app: FastAPI):
        threaded = Transport(listing, balancer=InOrder, **options)
        transport = AsyncTransport(listing, balancer=InOrder, **options)
        async with http.AsyncClient(transport=transport, base_url=BASE) as client:
            with http.Client(transport=threaded, base_url=BASE) as sync_client:
                app.state.client, app.state.sync_client = client, sync_client
                yield

    app = FastAPI(lifespan=lifespan, exception_handlers={http.TransportError: unreachable})

    @app.get("/async")
    async def in_a_task(request: Request):
        return (await request.app.state.client.get("/v1/orders/42")).json()

    @app.get("/sync")
    def in_a_thread(request: Request):
        return request.app.state.sync_client.get("/v1/orders/42").json()

    @app.get("/events")
    async def events(request: Request):
        client = request.app.state.client
        upstream = await client.send(client.build_request("GET", "/events"), stream=True)
        return StreamingResponse(upstream.aiter_raw())

    @app.post("/later")
    async def later(request: Request, tasks: BackgroundTasks):
        tasks.add_task(request.app.state.client.post, "/v1/mails")
        return {"accepted": True}

    return app


def test_the_test_client_is_of_httpx2():
    """Starlette's client is httpx2's, so in one process it meets services that call with httpx."""
    assert issubclass(TestClient, httpx2.Client)
    assert (http.Client is httpx2.Client) == (LIBRARY != "httpx")


@pytest.mark.parametrize("path", ["/async", "/sync"])
def test_a_handler_calls_another_service(path, make_node):
    """Handlers of both kinds are spared a dead node, and the lifespan closes what it opened."""
    node = make_node(paid)
    with TestClient(shop(registry(Dead(), node))) as browser:
        for _ in range(3):
            response = browser.get(path)
            assert (response.status_code, response.json()) == (200, {"state": "paid"})
    assert [seen.line for seen in node.seen] == ["GET /v1/orders/42 HTTP/1.1"] * 3
    eventually(lambda: node.open == 0, "a connection was left open")


@pytest.mark.parametrize("path", ["/async", "/sync"])
def test_no_node_is_an_answer_of_the_service(path):
    """A handler of the library's errors turns rpcguard's into an answer."""
    with TestClient(shop(registry(Dead()))) as browser:
        response = browser.get(path)
    assert (response.status_code, response.json()) == (503, {"error": "orders cannot be reached"})


def test_many_browsers_at_once(make_node):
    """Handlers in tasks and threads share their clients: ten calls are at the node together."""
    together = threading.Barrier(10)

    def script(peer: Peer) -> None:
        peer.request()
        together.wait(10)
        peer.send(PAID)

    with (
        TestClient(shop(registry(make_node(script)))) as browser,
        ThreadPoolExecutor(10) as pool,
    ):
        told = list(pool.map(lambda path: browser.get(path).status_code, ("/async", "/sync") * 5))
    assert told == [200] * 10


def test_a_stream_is_passed_on(make_node):
    """A service hands on server-sent events chunk by chunk, whole and in order."""
    events = [f"data: {number}\n\n" for number in range(5)]

    def script(peer: Peer) -> None:
        peer.answer(STREAM + b"".join(map(chunk, events)) + END)
        peer.until_gone()

    with (
        TestClient(shop(registry(make_node(script)))) as browser,
        browser.stream("GET", "/events") as response,
    ):
        assert list(response.iter_lines())[::2] == [f"data: {number}" for number in range(5)]


def test_a_background_task_calls(make_node):
    """A call after the answer, from a background task, is a call like any other."""
    node = make_node()
    with TestClient(shop(registry(Dead(), node))) as browser:
        assert browser.post("/later").json() == {"accepted": True}
        eventually(lambda: node.methods == ["POST"], "the task did not call")


def test_a_client_made_at_import(make_node):
    """Without a lifespan each request of the test client has an event loop of its own."""
    node = make_node(paid)
    transport = AsyncTransport(registry(node), balancer=InOrder)
    client = http.AsyncClient(transport=transport, base_url=BASE)

    async def basket(_request: Request):
        return JSONResponse((await client.get("/v1/orders/42")).json())

    browser = TestClient(Starlette(routes=[Route("/", basket)]))
    for _ in range(3):
        assert browser.get("/").json() == {"state": "paid"}
    assert transport.nodes("orders")[0].successes == 3
    eventually(lambda: node.open == 0, "a connection outlived its loop")


def test_an_overridden_dependency():
    """A test gives the handler a client without sockets: a scripted list and a mock child."""
    asked: list[str] = []

    def orders(request: http.Request) -> http.Response:
        asked.append(f"{request.headers['host']} {request.url}")
        return http.Response(200, json={"state": "open"})

    def get_client():
        raise AssertionError("the real client")

    app = FastAPI()

    @app.get("/")
    def basket(client: http.Client = Depends(get_client)):  # noqa: B008 (as FastAPI has it)
        return client.get("/v1/orders/42").json()

    listing = ScriptedRegistry({"orders": [rpcguard.Node("10.0.0.1", 80)]})
    transport = Transport(listing, node_transport=lambda _: http.MockTransport(orders))
    with http.Client(transport=transport, base_url=BASE) as client:
        app.dependency_overrides[get_client] = lambda: client
        assert TestClient(app).get("/").json() == {"state": "open"}
    assert asked == ["orders http://10.0.0.1/v1/orders/42"]


async def test_two_services_without_a_socket():
    """The other service's application may be the child of a node."""
    orders = FastAPI()

    @orders.get("/v1/orders/{number}")
    async def order(number: int, request: Request):
        return {"id": number, "host": request.headers["host"]}

    listing = ScriptedRegistry({"orders": [rpcguard.Node("10.0.0.1", 80)]})
    child = {"node_transport": lambda _node: http.ASGITransport(orders)}
    transport = AsyncTransport(listing, **child)
    async with http.AsyncClient(transport=transport, base_url=BASE) as client:
        response = await client.get("/v1/orders/7")
    assert response.json() == {"id": 7, "host": "orders"}
