"""Recovery probes by HTTP: what they send, and an application that listens before it can answer."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time

import pytest

from rpcguard import EjectionPolicy
from tests.support.calls import FLAVOURS, Dead, Node, Peer, each, eventually, soon, unused_port
from tests.support.library import Transport, http

IMPORTING = """
import socket, sys, time

listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1000)
print("listening", flush=True)
time.sleep(float(sys.argv[2]))
print("imported", flush=True)
while True:
    peer, _ = listener.accept()
    asked = peer.recv(65536)
    peer.sendall(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: 2\\r\\n\\r\\nok")
    peer.close()
"""


def answer(status: bytes):
    """Give what answers one request with this status."""
    return lambda peer: peer.answer(b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % status)


@pytest.fixture
def revive():
    """Give what starts a node on the port of a dead one."""
    nodes: list[Node] = []

    def start(dead: Dead, *scripts, **options) -> Node:
        nodes.append(Node(*scripts, port=dead.port, **options))
        return nodes[-1]

    yield start
    for node in nodes:
        node.close()


@each(FLAVOURS)
async def test_a_probe_asks_as_a_call_would(make_node, make_caller, revive):
    """One GET of the path, with the service's name, until it is answered with less than 500."""
    dead = Dead()
    caller = make_caller(dead, make_node(), ejection=EjectionPolicy(probe_path="/-/ready?full=1"))
    assert (await caller.call()).status_code == 200
    ready = answer(b"404 Not Found")
    node = revive(dead, Peer.until_gone, answer(b"503 Service Unavailable"), ready)
    await soon(lambda: caller.view(dead).state != "ejected", "it is back", patience=60.0)
    assert caller.view(dead).state == "warming"
    asked = {(seen.line, seen.headers["host"]) for seen in node.seen}
    assert asked == {("GET /-/ready?full=1 HTTP/1.1", "orders")}
    eventually(lambda: not node.open, "the connections of probes are closed")


@pytest.mark.parametrize(
    ("registry", "name"), [("hosts://", "[::1]:{port}"), ("static://[::1]:{port}", "::1")]
)
def test_a_service_may_be_an_address(registry, name):
    """One of IPv6 has to stand in brackets, also where its node is asked whether it is back."""
    port = unused_port("::1")
    transport = Transport(registry.format(port=port), ejection=EjectionPolicy(probe_path="/"))
    url, name = f"http://[::1]:{port}/", name.format(port=port)
    with http.Client(transport=transport) as client:
        with pytest.raises(http.ConnectError):
            client.get(url)
        eventually(lambda: transport.nodes(name)[0].state == "ejected", "it is out")
        with contextlib.closing(Node(host="::1", port=port)) as node:
            eventually(lambda: transport.nodes(name)[0].state != "ejected", "it is back")
            assert client.get(url).text == "ok"
            assert {seen.headers["host"] for seen in node.seen} <= {"[::1]", f"[::1]:{port}"}


@pytest.mark.parametrize(
    ("name", "state", "probes"), [("orders", "warming", 1), ("billing", "ejected", 2)]
)
def test_a_probe_checks_the_certificate(certified, trusting, revive, name, state, probes):
    """Over TLS it names the service, and a certificate of another name brings nobody back."""
    dead = Dead()
    transport = Transport(
        f"static://127.0.0.1:{dead.port}", ejection=EjectionPolicy(probe_path="/"), verify=trusting
    )
    with http.Client(transport=transport, base_url=f"https://{name}") as client:
        with pytest.raises(http.ConnectError):
            client.get("/")
        eventually(lambda: transport.nodes(name)[0].state == "ejected", "it is out")
        node = revive(dead, tls=certified("orders"))
        eventually(lambda: len(node.names) >= probes, "probes come")
        assert set(node.names) == {name}
        eventually(lambda: transport.nodes(name)[0].state == state, "it stands as it should")


class Application:
    """A server that listens at once and answers after it has been imported, as gunicorn's do."""

    def __init__(self) -> None:
        self.port = unused_port()

    def start(self, seconds: float) -> None:
        command = [sys.executable, "-c", IMPORTING, str(self.port), str(seconds)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "listening\n"

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


def _all_are_in(transport: Transport) -> bool:
    return all(view.state != "ejected" for view in transport.nodes("orders"))


@pytest.mark.parametrize(("path", "slow"), [("/", 0), (None, 1)])
def test_an_application_that_listens_long_before_it_answers_costs_no_post(make_node, path, slow):
    """Killed and started again, it is imported for 10 s: a GET may wait for it, and no POST does.

    A probe that only connects lets one call find that out; one that asks lets none.
    """
    application, well = Application(), make_node()
    application.start(0)
    transport = Transport(
        f"static://127.0.0.1:{application.port},127.0.0.1:{well.port}",
        ejection=EjectionPolicy(probe_path=path, jitter=0),
    )
    waited = []
    with http.Client(transport=transport, base_url="http://orders", timeout=4.0) as client:
        for _ in range(4):
            client.get("/")
        application.kill()
        while _all_are_in(transport):
            client.get("/")
        application.start(10)
        back = False
        while not back:
            # Whoever is back only now has not been called yet, and may be thrown out by that.
            were_in = _all_are_in(transport)
            for method in ("POST", "GET"):
                answer = client.request(method, "/")
                assert answer.status_code == 200
                waited += answer.extensions["rpcguard"].attempts[:-1]
            back = were_in and _all_are_in(transport)
            time.sleep(0.05)
    application.kill()
    assert [one.outcome for one in waited] == ["ReadTimeout"] * slow


@pytest.mark.parametrize("path", ["healthz", "/health\n", "/\x00", "/gesünd", 1])
def test_a_path_that_no_url_takes_is_refused(path):
    """Else the prober would end by it, and the node never be found again."""
    with pytest.raises(ValueError, match="probe_path must be a path such as '/healthz', or None"):
        EjectionPolicy(probe_path=path)
