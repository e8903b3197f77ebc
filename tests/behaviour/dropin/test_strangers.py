"""Hosts that the registry does not know are services of their own addresses, where they may be."""

from __future__ import annotations

import socket

import anyio
import pytest

import rpcguard
from rpcguard import (
    DeadlinePolicy,
    EjectionPolicy,
    MembershipPolicy,
    Overrides,
    RetryPolicy,
    Snapshot,
)
from rpcguard.testing import ManualClock, ScriptedRegistry
from tests.support.calls import (
    FLAVOURS,
    OK,
    PATIENCE,
    InOrder,
    Peer,
    each,
    eventually,
    settle,
    unhurried,
)
from tests.support.library import http

pytestmark = each(FLAVOURS)
DIRECT = {"unknown_service": "direct"}
CUT = OK[:-1]
"""An answer whose last byte never comes."""


def unavailable(peer: Peer) -> None:
    """Answer whatever comes by 503."""
    peer.serve(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")


@pytest.fixture
def addresses(monkeypatch):
    """Let every name have two addresses of this machine."""

    async def resolve(_, port, **options):
        places = [("127.0.0.1", int(port)), ("127.0.0.2", int(port))]
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", place) for place in places]

    monkeypatch.setattr("rpcguard.registries.hosts.anyio.getaddrinfo", resolve)


async def test_a_get_that_is_cut_goes_again_on_a_new_connection(make_node, make_caller):
    """Also with one address, and in the middle of an answer; a POST does not, it may have run."""
    node = make_node(lambda peer: peer.answer(CUT), Peer.serve)
    caller = make_caller(make_node(), **DIRECT)
    url = f"http://127.0.0.1:{node.port}/"
    response = await caller.call(url)
    info = response.extensions["rpcguard"]
    assert response.text == "ok"
    assert [one.node.id for one in info.attempts] == [f"127.0.0.1:{node.port}"] * 2
    assert info.service == f"127.0.0.1:{node.port}"
    assert [seen.connection for seen in node.seen] == [1, 2]
    assert {seen.headers["host"] for seen in node.seen} == {f"127.0.0.1:{node.port}"}
    other = make_node(lambda peer: peer.answer(CUT), Peer.serve)
    with pytest.raises(http.TransportError):
        await caller.call(f"http://127.0.0.1:{other.port}/", method="POST")
    assert len(other.seen) == 1


async def test_the_second_address_is_tried_where_the_first_refuses(
    addresses, make_node, make_caller
):
    """For any method, since nothing was sent; and the one that refused is left out from then on."""
    with socket.socket() as refusing:  # bound and not listening, or another process might serve it
        refusing.bind(("127.0.0.1", 0))
        node = make_node(host="127.0.0.2", port=refusing.getsockname()[1])
        caller = make_caller(make_node(), balancer=InOrder, **DIRECT)
        response = await caller.call(f"http://api.example:{node.port}/", method="POST")
    assert [one.node.host for one in response.extensions["rpcguard"].attempts] == [
        "127.0.0.1",
        "127.0.0.2",
    ]
    assert node.seen[0].headers["host"] == f"api.example:{node.port}"
    first, second = caller.transport.nodes(f"api.example:{node.port}")
    assert (first.state, second.state) == ("ejected", "available")


async def test_the_certificate_is_that_of_the_name(
    addresses, make_node, make_caller, certified, trusting
):
    """The address is where the call goes, and proves nothing."""
    node = make_node(host="127.0.0.2", tls=certified("api.example"))
    caller = make_caller(make_node(), verify=trusting, **DIRECT)
    assert (await caller.call(f"https://api.example:{node.port}/")).text == "ok"
    assert node.names[-1] == "api.example"
    with pytest.raises(http.ConnectError, match="api2"):
        await caller.call(f"https://api2.example:{node.port}/")


async def test_retries_are_paid_for(make_node, make_caller):
    """From the budget of the host, as for a service."""
    node = make_node(unavailable)
    stingy = RetryPolicy(budget_ratio=0.5, budget_floor=0.0)
    caller = make_caller(make_node(), retry=stingy, **DIRECT)
    for _ in range(4):
        assert (await caller.call(f"http://127.0.0.1:{node.port}/")).status_code == 503
    assert len(node.seen) == 4 + 2


async def test_the_deadline_counts_from_the_beginning_of_the_call(make_node, make_caller):
    """What the registry took to say that it does not know the host is gone."""
    node = make_node(Peer.until_gone)
    url = f"http://127.0.0.1:{node.port}/"

    async def is_given_up(seconds: float) -> bool:
        """Tell whether the address was found and called in what is left."""
        clock = ManualClock()

        class Slow:
            async def fetch(self, service):
                while not any(one.calls for one in transport._services):  # noqa: ASYNC110
                    await anyio.sleep(0.001)
                clock.advance(4.0)
                return Snapshot((), known=False)

        caller = make_caller(listing=Slow(), **DIRECT)
        transport = caller.transport
        transport._service("127.0.0.1").clock = clock
        given = []
        beyond = transport._opening.beyond
        find = beyond.open
        beyond.open = lambda *about: given.append(about[1]) or find(*about)
        extensions = {"rpcguard": {"deadline": 4.0 + seconds}}
        with pytest.raises((http.TimeoutException, rpcguard.NoAvailableNode)) as caught:
            await caller.call(url, extensions=extensions)
        assert given == [pytest.approx(seconds)]
        return isinstance(caught.value, http.ReadTimeout)

    await unhurried(is_given_up, 0.5)


async def test_a_host_that_the_registry_comes_to_know_is_its_service(make_node, make_caller):
    """From the next call on; its connections as a stranger are no longer used."""
    before, after = make_node(), make_node()
    listing = ScriptedRegistry()
    caller = make_caller(listing=listing, **DIRECT)
    url = f"http://localhost:{before.port}/"
    assert (await caller.call(url)).text == "ok"
    listing.set("localhost", [rpcguard.Node("127.0.0.1", after.port)])
    assert (await caller.call(url)).text == "ok"
    assert (before.asked, after.asked) == (1, 1)


async def test_hosts_are_shown_with_their_port(make_node, make_caller):
    """Beside what the registry knows: nodes, picks, how their names are resolved, and marks."""
    node = make_node()
    caller = make_caller(make_node(), **DIRECT)
    name = f"127.0.0.1:{node.port}"
    await caller.call(f"http://{name}/")
    transport = caller.transport
    (view,) = transport.nodes(name)
    assert (view.node.id, view.state, view.connections.idle) == (name, "available", 1)
    assert transport.explain(name)[-1].picked == name
    shown = {one.name: one for one in transport.services()}
    assert (shown[name].registry, shown[name].known) == ("HostsRegistry()", True)
    assert not shown["127.0.0.1"].known
    transport.mark_offline(name, name)
    assert transport.nodes(name)[0].state == "offline"
    assert {one.service for one in transport.census()} == {name}


async def test_the_bounds_of_the_registry_are_none_for_them(make_node, make_caller, tmp_path):
    """Networks, kept lists and the path of probes are about nodes of ours."""
    node = make_node()
    caller = make_caller(
        make_node(),
        membership=MembershipPolicy(allowed_networks=["10.0.0.0/8"], cache_dir=tmp_path),
        ejection=EjectionPolicy(probe_path="/ready"),
        **DIRECT,
    )
    assert (await caller.call(f"http://127.0.0.1:{node.port}/")).text == "ok"
    service = caller.transport._service(f"127.0.0.1:{node.port}", 1)
    assert service.policies.ejection.probe_path is None
    assert not list(tmp_path.iterdir())


async def test_it_learns_nothing_of_ours_and_may_have_policies_of_its_own(make_node, make_caller):
    """A second attempt says neither that it is one nor what time is left; a host may have none."""
    node = make_node(unavailable)
    caller = make_caller(
        make_node(),
        deadline=DeadlinePolicy(total=PATIENCE, write="x-left", mark_retries=True),
        services={"localhost": Overrides(retry=False)},
        **DIRECT,
    )
    await caller.call(f"http://127.0.0.1:{node.port}/")
    assert len(node.seen) == 2
    assert not any("left" in str(seen.head) or "retr" in str(seen.head) for seen in node.seen)
    await caller.call(f"http://localhost:{node.port}/")
    assert len(node.seen) == 3


class Forgetful:
    """A registry that knows nobody, and answers about each name once."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def fetch(self, service):
        self.asked.append(service)
        if self.asked.count(service) > 1:
            await anyio.sleep_forever()
        return Snapshot((), known=False, max_age=3600.0)


async def test_many_hosts_are_neither_kept_nor_waited_for(make_node, make_caller):
    """The last 256 are followed; the registry is not waited for again because of the others."""
    node, listing = make_node(host="0.0.0.0"), Forgetful()
    caller = make_caller(listing=listing, **DIRECT)
    urls = [f"http://127.1.{n // 100}.{n % 100 + 1}:{node.port}/" for n in range(260)]
    for url in urls:
        assert (await caller.call(url)).text == "ok"
    with anyio.fail_after(PATIENCE):
        assert (await caller.call(urls[0])).text == "ok"
    assert all(len(table) <= 256 for table in caller.transport._tables)
    assert all(len(table.following._feeds) <= 256 for table in caller.transport._tables)
    eventually(lambda: listing.asked.count("127.1.0.1") == 2, "it is asked about all the same")


async def test_close_ends_all(make_node, make_caller):
    """Connections to hosts too, and what resolves their names; a call after it is refused."""
    node = make_node()
    caller = make_caller(make_node(), **DIRECT)
    url = f"http://127.0.0.1:{node.port}/"
    await caller.call(url)
    transport = caller.transport
    await settle(transport.close() if caller.flavour.sync else transport.aclose())
    eventually(lambda: node.open == 0, "a connection was left open")
    assert not any(table.following._feeds for table in transport._tables)
    with pytest.raises(rpcguard.TransportClosed):
        await caller.call(url)


async def test_hosts_are_hosts_where_there_is_no_other_registry(make_node, make_caller):
    """With hosts:// every host is known or has no address, so there is nothing beyond."""
    caller = make_caller(listing="hosts://", **DIRECT)
    assert len(caller.transport._tables) == 1
    with pytest.raises(rpcguard.NoAvailableNode, match="does not know"):
        await caller.call("http://nobody.invalid/")
