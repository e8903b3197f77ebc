"""Mocks of httpx see what is called through rpcguard, by the URL that was asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rpcguard.testing import mocked
from tests.support.calls import FLAVOURS, each
from tests.support.library import LIBRARY, http

ROOT = Path(__file__).parents[2]


@each(FLAVOURS)
async def test_the_transports_of_httpx_get_the_calls(make_node, make_caller, monkeypatch):
    """With the logical URL, for transports that were there before; and only in the block."""
    seen = []

    def answer(_, request) -> http.Response:
        seen.append(f"{request.method} {request.url}")
        return http.Response(207, text="mocked")

    async def answer_async(transport, request) -> http.Response:
        return answer(transport, request)

    monkeypatch.setattr(http.HTTPTransport, "handle_request", answer)
    monkeypatch.setattr(http.AsyncHTTPTransport, "handle_async_request", answer_async)
    caller = make_caller(make_node())
    assert (await caller.call("/before")).text == "ok"
    with mocked():
        response = await caller.call("/v1/orders/42", method="POST")
    assert (response.status_code, response.text) == (207, "mocked")
    assert seen == ["POST http://orders/v1/orders/42"]
    info = response.extensions["rpcguard"]
    assert (info.service, info.node.address) == ("orders", "orders:80")
    assert [attempt.outcome for attempt in info.attempts] == ["207"]
    assert (await caller.call("/after")).text == "ok"


@each(FLAVOURS)
async def test_what_a_mock_raises_is_raised(make_node, make_caller, monkeypatch):
    """As it is: nothing is tried again, and no note is added."""

    def fail(_, request) -> http.Response:
        raise http.ReadTimeout("as scripted", request=request)

    async def fail_async(transport, request) -> http.Response:
        return fail(transport, request)

    monkeypatch.setattr(http.HTTPTransport, "handle_request", fail)
    monkeypatch.setattr(http.AsyncHTTPTransport, "handle_async_request", fail_async)
    caller = make_caller(make_node())
    with mocked(), pytest.raises(http.ReadTimeout, match="as scripted") as raised:
        await caller.call()
    assert getattr(raised.value, "__notes__", []) == []


PROGRAM = """
import httpx
import pytest
import rpcguard

def find(number):
    transport = rpcguard.Transport("static:///billing=127.0.0.1:9")
    with httpx.Client(transport=transport, base_url="http://orders") as client:
        return client.get(f"/v1/orders/{number}").json()

async def find_async(number):
    transport = rpcguard.AsyncTransport("static:///billing=127.0.0.1:9")
    async with httpx.AsyncClient(transport=transport, base_url="http://orders") as client:
        return (await client.get(f"/v1/orders/{number}")).json()
"""
RESPX = """
import respx
import rpcguard
from program import find, find_async

@respx.mock
def test_respx(rpcguard_mocked):
    route = respx.get("http://orders/v1/orders/42").respond(json={"id": 42})
    assert find(42) == {"id": 42}
    assert route.called

def test_registry(rpcguard_registry):
    rpcguard_registry.set("orders", [rpcguard.Node("10.0.0.1", 80)])
    with rpcguard.Transport(rpcguard_registry) as transport:
        transport.wait_ready("orders", timeout=20)
        assert [view.node.host for view in transport.nodes("orders")] == ["10.0.0.1"]

async def test_respx_async(rpcguard_mocked, respx_mock):
    respx_mock.get(host="orders", path="/v1/orders/42").respond(json={"id": 42})
    assert await find_async(42) == {"id": 42}
"""
PYTEST_HTTPX = """
from program import find, find_async

def test_pytest_httpx(rpcguard_mocked, httpx_mock):
    httpx_mock.add_response(url="http://orders/v1/orders/42", json={"id": 42})
    assert find(42) == {"id": 42}
    assert httpx_mock.get_request().method == "GET"

async def test_pytest_httpx_async(httpx_mock, rpcguard_mocked):
    httpx_mock.add_response(url="http://orders/v1/orders/42", json={"id": 42})
    assert await find_async(42) == {"id": 42}
"""


@pytest.mark.long("runs pytest in a process of its own")
@pytest.mark.skipif(LIBRARY != "httpx", reason="both mock httpx")
@pytest.mark.parametrize(
    ("plugin", "tests", "passed"),
    [("respx", RESPX, 3), ("pytest_httpx", PYTEST_HTTPX, 2)],
    ids=["respx", "pytest_httpx"],
)
def test_the_mocks_that_people_have(tmp_path, plugin, tests, passed):
    """Each sees the call by a fixture that the package brings along, sync and on a loop."""
    pytest.importorskip(plugin)
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "test_program.py").write_text(tests)
    (tmp_path / "pytest.ini").write_text("[pytest]\nanyio_mode = auto\nfilterwarnings = error\n")
    (tmp_path / "conftest.py").write_text(
        "import pytest\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "pytest_rpcguard", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{passed} passed" in ran.stdout


def test_the_plugin_costs_a_test_run_nothing():
    """It is loaded by every run of pytest in the environment, and brings nothing of rpcguard in."""
    code = "import sys, pytest_rpcguard; print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in ran.stdout.split()}
    assert {"rpcguard", "httpx", "anyio"}.isdisjoint(loaded)
