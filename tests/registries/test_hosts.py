"""The registry of those who have none: hosts are services."""

from __future__ import annotations

import socket
import threading

import anyio
import httpx
import pytest

import rpcguard
from rpcguard._core.nodes.node import Node
from rpcguard.errors import InvalidRegistryURL, RegistryError
from rpcguard.registries.hosts import HostsRegistry

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_addresses_of_a_host_are_its_nodes(monkeypatch):
    """Each address is a node once, at the port of the service."""

    async def resolve(host, port, **_):
        assert (host, port) == ("api.example", "8443")
        places = [("10.0.0.2", 8443), ("10.0.0.1", 8443), ("10.0.0.2", 8443), ("fd00::1", 8443)]
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", place) for place in places]

    monkeypatch.setattr(anyio, "getaddrinfo", resolve)
    snapshot = await HostsRegistry().fetch("api.example:8443")
    assert snapshot.nodes == (
        Node("10.0.0.2", 8443),
        Node("10.0.0.1", 8443),
        Node("fd00::1", 8443),
    )
    assert (await HostsRegistry().fetch("api.example:8443")).max_age == 30


@pytest.mark.parametrize(("code", "known"), [(socket.EAI_NONAME, False), (socket.EAI_AGAIN, None)])
async def test_a_name_that_nobody_has_is_unknown_and_no_answer_is_an_error(
    monkeypatch, code, known
):
    """Only a sure answer is one: a resolver in trouble leaves the addresses in use."""

    async def resolve(*_, **__):
        raise socket.gaierror(code, "no")

    monkeypatch.setattr(anyio, "getaddrinfo", resolve)
    if known is None:
        with pytest.raises(RegistryError, match=r"api\.example: no"):
            await HostsRegistry().fetch("api.example:80")
    else:
        assert (await HostsRegistry().fetch("api.example:80")).known is known


def test_nothing_comes_after_the_scheme():
    """A host in the URL would be taken for a registry."""
    assert repr(HostsRegistry.from_url("hosts://")) == "HostsRegistry()"
    with pytest.raises(InvalidRegistryURL, match="nothing comes after hosts://"):
        HostsRegistry.from_url("hosts://api.example")


def test_calls_go_to_the_host_and_port_of_their_url(new_server):
    """Two ports of one host are two services, and the node sees the URL's own Host."""
    first, second = new_server(), new_server()
    for node in (first, second):
        node.say("ok")
    transport = rpcguard.Transport(HostsRegistry())
    with httpx.Client(transport=transport) as client:
        for node in (first, second):
            assert client.get(f"http://localhost:{node.port}/").status_code == 200
            assert node.seen[0].headers["host"] == f"localhost:{node.port}"
        names = {view.name for view in transport.services()}
    assert names == {f"localhost:{node.port}" for node in (first, second)}


def test_one_address_gets_the_retry_on_a_new_connection():
    """A connection that breaks in the middle of an answer costs a GET nothing."""
    accepted = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        port = server.getsockname()[1]

        def serve():
            for reply in (OK[:20], OK):
                conn, _ = server.accept()
                with conn:
                    accepted.append(conn.recv(65536))
                    conn.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        with httpx.Client(transport=rpcguard.Transport(HostsRegistry())) as client:
            response = client.get(f"http://127.0.0.1:{port}/")
        thread.join()
    assert response.status_code == 200
    assert len(response.extensions["rpcguard"].attempts) == 2
    assert len(accepted) == 2
