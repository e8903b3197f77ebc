"""A list whose nodes cannot be connected to is asked for again at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from rpcguard import MembershipPolicy, Node, Snapshot
from tests.support.calls import eventually
from tests.support.library import Transport, http

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OLD = [Node("10.0.0.1", 1), Node("10.0.0.2", 1)]
NEW = [Node("10.0.0.3", 1), Node("10.0.0.4", 1)]


class Polled:
    """A registry that counts how often it is asked, and advises to ask once an hour."""

    def __init__(self) -> None:
        self.listed, self.asked = OLD, 0

    async def fetch(self, service: str) -> Snapshot:
        self.asked += 1
        return Snapshot(self.listed, max_age=3600.0)


class Silent(Polled):
    """A registry whose watch says what there is, and nothing of what comes after it."""

    async def watch(self, service: str) -> AsyncIterator[Snapshot]:
        yield Snapshot(self.listed)
        await anyio.sleep_forever()

    async def aclose(self) -> None:
        pass


@pytest.fixture(params=[Polled, Silent])
def registry(request):
    return request.param()


@pytest.fixture
def client(registry):
    """A client to whom only the new nodes answer, once `registry` has replaced the old ones."""

    def node_transport(node: Node) -> http.MockTransport:
        def answer(request: http.Request) -> http.Response:
            if node in OLD and registry.listed is NEW:
                raise http.ConnectError("refused", request=request)
            return http.Response(200)

        return http.MockTransport(answer)

    transport = Transport(
        registry, node_transport=node_transport, membership=MembershipPolicy(poll_interval=3600.0)
    )
    with http.Client(transport=transport, base_url="http://orders") as client:
        client.get("/")
        yield client


def test_all_nodes_replaced_just_after_a_poll(registry, client):
    """The poll of an hour is not waited for, and the registry is asked once a second at most."""
    registry.listed = NEW
    failed = 0

    def answers() -> bool:
        nonlocal failed
        try:
            return client.get("/").status_code == 200
        except http.ConnectError:
            failed += 1
            return False

    eventually(answers, "the old list stays in use")
    assert failed > 0
    assert registry.asked == 2 - isinstance(registry, Silent)


def test_a_call_that_fails_otherwise_asks_for_nothing(registry, client, monkeypatch):
    """An answer of 500, or a name that nobody knows, disproves no list."""
    asked = []
    monkeypatch.setattr(client._transport._following, "ask_again", asked.append)
    client.get("/")
    with pytest.raises(http.UnsupportedProtocol):
        client.get("ftp://orders/")
    assert asked == []


@pytest.mark.parametrize("clock", ["lasting", "wall"])
def test_the_first_call_after_a_stop_of_the_process(clock, registry, client):
    """Stopped or asleep for long: the list is asked for before a call fails by it."""
    feed, _ = client._transport._following._feeds["orders"]
    eventually(lambda: feed._again is not None, "it does not wait for its next poll")
    registry.listed = NEW
    at, wall_at = feed._due._at
    feed._due._at = (at - 7200.0, wall_at) if clock == "lasting" else (at, wall_at - 7200.0)
    feed._asked_at -= 7200.0
    response = client.get("/")
    assert len(response.extensions["rpcguard"].attempts) == 1
    assert registry.asked == 2 - isinstance(registry, Silent)
