"""Nodes that are killed and come back, as real processes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.calls import eventually, unused_port
from tests.support.library import Transport, http

NEVER = 600.0
"""Seconds: longer than a test may take."""

PROVIDER = """
import asyncio, sys

class Answer(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        print("asked", flush=True)
        self.transport.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\nok")

async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answer, "127.0.0.1", int(sys.argv[1]))
    print("ready", flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


class Process:
    """Run a node on a port of its own; killed and started again at will."""

    def __init__(self) -> None:
        self.port = unused_port()
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-c", PROVIDER, str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout.readline() == "ready\n"

    def kill(self) -> str:
        """Kill the node; give what it said since its start, and nothing the second time."""
        if self._process.returncode is not None:
            return ""
        self._process.kill()
        return self._process.communicate()[0]


@pytest.fixture
def processes():
    nodes = [Process() for _ in range(3)]
    yield nodes
    for node in nodes:
        node.kill()


@pytest.fixture
def client(processes):
    url = "static://" + ",".join(f"127.0.0.1:{node.port}" for node in processes)
    transport = Transport(url)
    with http.Client(transport=transport, base_url="http://orders", timeout=5) as client:
        client.transport = transport
        yield client


def states(client) -> list[str]:
    return [view.state for view in client.transport.nodes("orders")]


def test_one_call_is_all_that_a_killed_node_gets_before_it_is_back(processes, client):
    """A probe finds it, a call shows that it answers; in between every call takes one attempt."""
    victim = processes[0]
    victim.kill()
    for _ in range(20):
        assert client.get("/").status_code == 200
    eventually(lambda: states(client)[0] == "ejected", "the killed node is ejected")
    for _ in range(200):
        answer = client.get("/")
        assert len(answer.extensions["rpcguard"].attempts) == 1
    victim.start()

    def is_back() -> bool:
        assert len(client.get("/").extensions["rpcguard"].attempts) == 1
        return client.transport.nodes("orders")[0].reason == "slow start"

    eventually(is_back, "the node is back")
    assert victim.kill() == "asked\n"


def test_a_dead_service_fails_at_once_and_is_used_as_soon_as_it_is_back(processes, client):
    """Each call fails by a refused connect, and the first one after the return works."""
    assert client.get("/").status_code == 200
    for node in processes:
        node.kill()
    for _ in range(20):
        with pytest.raises(http.ConnectError):
            client.get("/", timeout=NEVER)
    for node in processes:
        node.start()
    assert client.get("/").status_code == 200


def test_one_returning_node_of_a_dead_service_is_found(processes, client):
    """Dead nodes take turns and are probed every second, so the one that is back is not missed."""
    assert client.get("/").status_code == 200
    for node in processes:
        node.kill()
    for _ in range(5):
        with pytest.raises(http.ConnectError):
            client.get("/")
    processes[2].start()

    def answered() -> bool:
        try:
            return client.get("/").status_code == 200
        except http.ConnectError:
            return False

    eventually(answered, "the returning node answers")
