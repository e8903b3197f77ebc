"""The HTTP client that registries share: fail-over, event loops, forks, closing."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import subprocess
import sys
import threading
from importlib.metadata import version
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

from rpcguard.errors import RegistryError
from rpcguard.registries._shared.bodies import reason
from rpcguard.registries._shared.client import RegistryClient
from tests.support.calls import unhurried

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from conftest import ScriptedServer

DEAD = "http://127.0.0.1:1"


@pytest.fixture
def pair(new_server: Callable[[], ScriptedServer]) -> list[ScriptedServer]:
    servers = [new_server(), new_server()]
    for number, server in enumerate(servers):
        server.say(str(number))
    return servers


@pytest.fixture
async def client(pair: list[ScriptedServer]) -> AsyncIterator[RegistryClient]:
    client = RegistryClient([f"http://{server.address}" for server in pair], timeout=5)
    yield client
    await client.aclose()


async def test_the_base_that_works_is_kept(
    client: RegistryClient, pair: list[ScriptedServer]
) -> None:
    """Proves that a failing base is left for the next, and not gone back to while that works."""
    assert (await client.request("GET", "/x")).json() == 0
    pair[0].say("no leader", 500)
    assert (await client.request("GET", "/x")).json() == 1
    pair[0].say("0")
    assert (await client.request("GET", "/x")).json() == 1
    assert (len(pair[0].seen), len(pair[1].seen)) == (2, 2)
    pair[1].say("busy", 503)
    assert (await client.request("GET", "/x")).json() == 0


async def test_a_status_below_500_is_an_answer(
    client: RegistryClient, pair: list[ScriptedServer]
) -> None:
    """Proves that what one member refuses is not asked of the others."""
    pair[0].say("who?", 403)
    assert (await client.request("GET", "/x")).status == 403
    assert pair[1].seen == []


async def test_the_answer_of_the_last_failing_base_is_returned(
    client: RegistryClient, pair: list[ScriptedServer]
) -> None:
    """Proves that a caller can read why the whole cluster refuses."""
    pair[0].say("no leader", 500)
    pair[1].say("starting", 503)
    answer = await client.request("GET", "/x?token=hush")
    assert (answer.status, answer.body) == (503, b"starting")
    assert "hush" not in repr(answer) + str(answer.error())
    assert "starting" not in repr(answer)


async def test_a_dead_member_is_passed_over(pair: list[ScriptedServer]) -> None:
    """Proves that a refused connection, or a broken answer, costs nothing but a try."""
    pair[0].script = lambda _: [b"garbage"]
    bases = [DEAD, *(f"http://{server.address}" for server in pair)]
    client = RegistryClient(bases)
    assert (await client.request("GET", "/x")).json() == 1
    await client.aclose()


async def test_the_error_names_every_base() -> None:
    """Proves that with no member left the message tells each one's fault."""
    client = RegistryClient([DEAD, "http://[::1]:1"])
    with pytest.raises(RegistryError) as caught:
        await client.request("GET", "/x?token=hush")
    assert f"{DEAD}/x: ConnectError" in str(caught.value)
    assert "; http://[::1]:1/x: ConnectError" in str(caught.value)
    assert "hush" not in str(caught.value)
    assert repr(client) == f"RegistryClient({DEAD}, http://[::1]:1)"
    await client.aclose()


async def test_json_and_headers_are_sent(
    client: RegistryClient, pair: list[ScriptedServer]
) -> None:
    """Proves what goes out with a request, its own headers over those of the client."""
    pair[0].script = lambda _: [pair[0].answer("{}")]
    await client.request("POST", "/x", json={"a": 1}, headers={"Accept": "text/plain", "X-A": "b"})
    headers = pair[0].seen[0].headers
    assert (headers["accept"], headers["x-a"]) == ("text/plain", "b")
    assert (headers["content-type"], headers["content-length"]) == ("application/json", "7")
    assert headers["user-agent"].startswith("rpcguard/")


async def test_requests_in_a_row_share_a_connection(
    client: RegistryClient, pair: list[ScriptedServer]
) -> None:
    """Proves that a body read to its end gives the connection back, and `aclose` drops it."""
    for _ in range(5):
        await client.request("GET", "/x")
    assert pair[0].connections == 1
    await client.aclose()
    await client.aclose()
    await client.request("GET", "/x")
    assert pair[0].connections == 2


async def test_a_request_may_have_a_timeout_of_its_own(
    client: RegistryClient, pair: list[ScriptedServer]
) -> None:
    """Proves that one request can be shorter than the rest, and that both bases are tried."""
    done = threading.Event()

    def silence() -> Iterator[bytes]:
        done.wait(20)
        yield b""

    async def scenario(seconds: float) -> bool:
        for server in pair:
            server.seen.clear()
        with anyio.fail_after(20), pytest.raises(RegistryError):
            await client.request("GET", "/x", timeout=seconds)
        return [len(server.seen) for server in pair] == [1, 1]

    for server in pair:
        server.script = lambda _: silence()
    try:
        await unhurried(scenario, 0.1)  # else there is no time to ask both
    finally:
        done.set()


# Before 4.16 anyio leaves a connection, made while it is cancelled, to the collector.
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
    if int(version("anyio").split(".")[1]) < 16
    else "error"
)
async def test_cancelled_requests_leave_a_client_that_works(
    client: RegistryClient, pair: list[ScriptedServer]
) -> None:
    """Proves that cancellation at any moment does not jam the next request."""
    for step in range(60):
        with anyio.move_on_after(step * 0.0001):
            await client.request("GET", "/x")
    with anyio.fail_after(20):
        assert (await client.request("GET", "/x")).json() in (0, 1)
    gc.collect()


async def test_a_handshake_that_is_cancelled_leaves_nothing_open() -> None:
    """Proves that the server sees its end at once, not when the collector comes by."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = RegistryClient([f"https://127.0.0.1:{listener.getsockname()[1]}"])
        async with anyio.create_task_group() as group:
            group.start_soon(client.request, "GET", "/x")
            peer, _ = await anyio.to_thread.run_sync(listener.accept)
            peer.settimeout(20)
            hello = await anyio.to_thread.run_sync(peer.recv, 65536)
            group.cancel_scope.cancel()
        with peer:
            assert hello
            assert peer.recv(65536) == b""
        await client.aclose()


def test_a_timeout_of_zero_is_refused() -> None:
    """Proves that the value is checked when it is given."""
    with pytest.raises(ValueError, match="timeout must be above 0, not 0"):
        RegistryClient([DEAD], timeout=0)


@pytest.mark.parametrize(
    "backends", [("asyncio", "asyncio"), ("trio", "trio"), ("asyncio", "trio")]
)
def test_a_client_is_used_from_one_event_loop_after_the_other(
    pair: list[ScriptedServer], backends: tuple[str, str]
) -> None:
    """Proves that each loop gets connections of its own and can close them."""
    client = RegistryClient([f"http://{pair[0].address}"])

    async def use() -> int:
        for _ in range(2):
            await client.request("GET", "/x")
        await client.aclose()
        return pair[0].connections

    assert [anyio.run(use, backend=backend) for backend in backends] == [1, 2]


FORK = """
import os, sys, anyio
from rpcguard.registries._shared.bodies import reason
from rpcguard.registries._shared.client import RegistryClient

client = RegistryClient([sys.argv[1]])

async def ask():
    assert (await client.request("GET", "/x")).json() == 0

async def ask_and_close():
    await ask()
    await client.aclose()

anyio.run(ask, backend=sys.argv[2])
if (child := os.fork()) == 0:
    anyio.run(ask_and_close, backend=sys.argv[2])
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
anyio.run(ask_and_close, backend=sys.argv[2])
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_client_works_after_a_loop_that_left_it_open_and_after_a_fork(
    pair: list[ScriptedServer], backend: str
) -> None:
    """Proves that neither a dead loop's connections nor the parent's are used again."""
    command = [sys.executable, "-c", FORK, f"http://{pair[0].address}", backend]
    environment = {**os.environ, "PYTHONWARNINGS": "error,ignore::ResourceWarning"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert pair[0].connections == 3


def test_a_timeout_shows_nothing_of_how_it_was_made() -> None:
    """Proves that the cancellation below a timeout, whose text names tasks, is not in an error."""
    error = httpx.ConnectTimeout("")
    error.__cause__ = TimeoutError()
    error.__cause__.__context__ = asyncio.CancelledError("by cancel scope 7f83")
    assert reason(error).startswith("ConnectTimeout: no connection in time")
    other = httpx.ReadError("")
    other.__cause__ = OSError("no route to host")
    assert reason(other) == "ReadError: no route to host"


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (ConnectionRefusedError(111, "x"), "the connection is refused"),
        (ConnectionResetError(104, "x"), "the connection was reset"),
        (BrokenPipeError(32, "x"), "the connection was reset"),
        (socket.gaierror(-2, "x"), "the name cannot be resolved"),
    ],
)
def test_what_a_connect_error_was_is_told_apart(cause: OSError, words: str) -> None:
    """One address or several, raised from or only after: the system's own word counts."""
    one, several, later = (httpx.ConnectError("All connection attempts failed") for _ in "abc")
    one.__cause__ = cause
    several.__cause__ = ExceptionGroup("several", [OSError("x"), cause])
    later.__context__ = OSError("y")
    later.__context__.__cause__ = cause
    for error in (one, several, later):
        assert reason(error).startswith(f"ConnectError: {words}")
