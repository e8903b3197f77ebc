"""`allowed_networks`: a registry that points at the metadata service, at loopback, at the world."""

from __future__ import annotations

import ipaddress
import logging

import httpx
import pytest

import rpcguard
from rpcguard import MembershipPolicy, Node, Snapshot
from rpcguard._telemetry.log import EventLog
from rpcguard.registries.static import StaticRegistry
from rpcguard.testing import ManualClock, ScriptedRegistry
from tests.support.stage import Stage

INSIDE = MembershipPolicy(allowed_networks=["10.0.0.0/8", "fd00::/8"])

ELSEWHERE = (
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "64:ff9b::a9fe:a9fe",
    "127.0.0.1",
    "0.0.0.0",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "fe80::1",
    "fe00::1",
    "11.0.0.1",
    "9.255.255.255",
    "localhost",
    "localhost.",
    "metadata.google.internal",
    "10.0.0.1.nip.io",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0xa.0.0.1",
    "orders",
)


@pytest.mark.parametrize("host", ELSEWHERE)
def test_a_node_elsewhere_is_never_picked(host):
    """Whatever is outside of the networks, or a name, is left out; what is inside is used."""
    stage = Stage(Node(host, 80, id="evil"), Node("10.0.0.1", 80, id="good"), membership=INSIDE)
    assert stage.picked(50) == {"good"}
    assert stage.listed() == {"good"}
    assert stage.service.refused == 1


@pytest.mark.parametrize("host", ["10.255.0.1", "::ffff:10.0.0.1", "fd00::1", "[FD00::2]"])
def test_a_node_inside_is_used(host):
    """An address of a network is taken in each of its spellings."""
    stage = Stage(Node(host, 80, id="good"), membership=INSIDE)
    assert stage.picked(5) == {"good"}
    assert stage.service.refused == 0


def test_without_networks_any_node_is_used():
    """The default allows any host, as the documentation says."""
    hosts = "169.254.169.254", "127.0.0.1", "localhost", "::1", "orders.internal"
    stage = Stage(*(Node(host, 80, id=host) for host in hosts))
    assert stage.listed() == set(hosts)


def test_ipv6_for_all_lets_no_ipv4_in():
    """`::/0` does not take in the IPv4 addresses that can be written as IPv6."""
    stage = Stage(
        Node("::ffff:169.254.169.254", 80, id="mapped"),
        Node("2001:db8::1", 80, id="good"),
        membership=MembershipPolicy(allowed_networks=["::/0"]),
    )
    assert stage.listed() == {"good"}


def test_a_list_that_is_moved_elsewhere_does_not_take_the_service_down():
    """A registry that sends all nodes elsewhere has dropped them, so the old ones stay for now."""
    stage = Stage(Node("10.0.0.1", 80, id="a"), Node("10.0.0.2", 80, id="b"), membership=INSIDE)
    stage.list(Node("127.0.0.1", 80, id="a"), Node("127.0.0.1", 81, id="b"))
    assert stage.picked(20) == {"a", "b"}
    assert {view.node.host for view in stage.service.nodes()} == {"10.0.0.1", "10.0.0.2"}
    assert stage.kinds() == ["changed", "doubted", "refused"]


def test_a_refused_list_is_no_news():
    """The same refused nodes in each poll do not look like changes, and are told of once."""
    stage = Stage(Node("10.0.0.1", 80, id="a"), Node("127.0.0.1", 80, id="b"), membership=INSIDE)
    told = stage.kinds()
    assert told.count("refused") == 1
    for _ in range(5):
        assert stage.list(Node("10.0.0.1", 80, id="a"), Node("127.0.0.1", 80, id="b")) is False
    assert stage.kinds() == told


def test_the_warning_is_held_to_one_in_a_while(caplog):
    """A registry that goes back and forth does not flood the log."""
    clock = ManualClock()
    stage = Stage(Node("10.0.0.1", 80, id="a"), membership=INSIDE)
    with caplog.at_level(logging.WARNING, "rpcguard"):
        journal = EventLog(clock=clock)
        for _ in range(20):
            stage.list(Node("10.0.0.1", 80, id="a"), Node("127.0.0.1", 80, id="b"))
            stage.list(Node("10.0.0.1", 80, id="a"))
        refused = [event for event in stage.told if event.kind == "refused"]
        for event in refused:
            journal.record(event)
    assert len(refused) == 20
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert "1 nodes outside of allowed_networks, first 127.0.0.1:80" in record.getMessage()


def test_the_error_and_the_views_say_why(caplog):
    """Where every node is elsewhere, the caller is told so, and so is whoever looks at the list."""
    registry = StaticRegistry([Node("169.254.169.254", 80)])
    transport = rpcguard.Transport(registry, membership=INSIDE)
    with httpx.Client(transport=transport) as client:
        with pytest.raises(rpcguard.NoAvailableNode, match="outside of allowed_networks"):
            client.get("http://orders/latest/meta-data/")
        [shown] = transport.services()
    assert shown.refused == 1
    assert shown.as_dict()["refused"] == 1
    assert "1 nodes outside of allowed_networks, first 169.254.169.254:80" in caplog.text


def test_what_options_of_a_registry_left_out_is_told():
    """An empty list says which option took how many, beside what the networks took."""

    class Filtered:
        async def fetch(self, service):
            nodes = [Node("169.254.169.254", 80)] if service == "orders" else []
            return Snapshot(nodes, left_out="2 left out by group=g")

    transport = rpcguard.Transport(Filtered(), membership=INSIDE)
    with httpx.Client(transport=transport) as client:
        said = "2 left out by group=g, 1 by allowed_networks"
        with pytest.raises(rpcguard.NoAvailableNode, match=said):
            client.get("http://orders/")
        with pytest.raises(rpcguard.NoAvailableNode, match="nothing is left: 2 left out by group"):
            client.get("http://bills/")


def test_no_byte_is_sent_elsewhere(make_node):
    """A real node at loopback gets no call and no probe when loopback is not allowed."""
    node = make_node()
    registry = ScriptedRegistry()
    registry.set("orders", [Node(node.host, node.port)])
    with httpx.Client(transport=rpcguard.Transport(registry, membership=INSIDE)) as client:
        for _ in range(3):
            with pytest.raises(rpcguard.NoAvailableNode):
                client.get("http://orders/")
    assert not node.peers
    allowed = MembershipPolicy(allowed_networks=["127.0.0.0/8"])
    with httpx.Client(transport=rpcguard.Transport(registry, membership=allowed)) as client:
        assert client.get("http://orders/").status_code == 200


def test_the_lists_kept_on_disk_are_held_to_it_too(tmp_path):
    """A file of the snapshot cache cannot bring in what the registry may not."""
    path = tmp_path / "orders.json"
    path.write_text('{"nodes": [{"host": "169.254.169.254", "port": 80}]}')
    policy = MembershipPolicy(cache_dir=tmp_path, allowed_networks=["10.0.0.0/8"])
    registry = ScriptedRegistry()
    registry.fail("orders", OSError("down"))
    transport = rpcguard.Transport(registry, membership=policy)
    refused = pytest.raises(rpcguard.NoAvailableNode, match="allowed_networks")
    with httpx.Client(transport=transport) as client, refused:
        client.get("http://orders/")


@pytest.mark.parametrize(
    "given",
    [
        "10.0.0.0/8",
        b"10.0.0.0/8",
        [],
        ["10.0.0.1/8"],
        ["example.org"],
        [""],
        [None],
        5,
        ["::ffff:10.0.0.0/104"],
    ],
)
def test_wrong_networks_are_refused(given):
    """What is no network is an error when the policy is made, and names the field."""
    with pytest.raises(ValueError, match="allowed_networks"):
        MembershipPolicy(allowed_networks=given)


def test_any_iterable_of_networks_will_do():
    """Networks may be objects or text, and may come from a generator."""
    network = ipaddress.ip_network("10.1.0.0/16")
    policy = MembershipPolicy(allowed_networks=(one for one in (network, "10.2.0.1")))
    assert policy.allowed_networks == (network, ipaddress.ip_network("10.2.0.1/32"))
    assert policy.admits("10.1.2.3")
    assert policy.admits("10.1.2.3")
    assert policy.admits("10.2.0.1")
    assert not policy.admits("10.2.0.2")
    assert hash(policy) == hash(MembershipPolicy(allowed_networks=[network, "10.2.0.1/32"]))
