"""Line breaks and worse in what a registry says of a node: no header, no log, no error has them."""

from __future__ import annotations

import json
import logging

import pytest

import rpcguard
from rpcguard import Node
from rpcguard.registries._shared.faults import FaultLog
from rpcguard.registries._shared.nodes import nodes_from_json
from rpcguard.registries.http import HttpRegistry
from rpcguard.registries.static import StaticRegistry
from tests.support.calls import FLAVOURS, each, soon

EVIL = {
    "CR LF": "a\r\nX-Evil: 1",
    "LF": "a\nX-Evil: 1",
    "NUL": "a\x00b",
    "escape": "a\x1b[2Jb",
    "C1": "a\x85b",
    "line separator": "a\u2028b",
    "right to left": "a\u202eb",
    "surrogate": "a\ud800b",
}
LONG = "x" * 1025
evil = pytest.mark.parametrize("text", EVIL.values(), ids=EVIL)


@evil
@pytest.mark.parametrize("field", ["host", "id", "zone", "version", "generation"])
def test_a_node_refuses_what_cannot_be_printed(field, text):
    """Nothing that breaks a line or hides text gets into a node's names, whoever makes it."""
    with pytest.raises(ValueError, match=field) as caught:
        Node(**{"host": "a", "port": 1, field: text})
    assert text not in str(caught.value)


@pytest.mark.parametrize("field", ["id", "zone", "version", "generation"])
def test_a_node_refuses_endless_names(field):
    """A name has at most 1024 characters."""
    Node("a", 1, **{field: LONG[1:]})
    with pytest.raises(ValueError, match=field):
        Node("a", 1, **{field: LONG})


@pytest.mark.parametrize(
    "host",
    [
        *("a b", "a\tb", "a/b", "a?b", "a#b", "a@b", "a\\b", "a%0d%0ab", "a:80", "::1]:80"),
        *("", ".", "..", "a..b", "-a", "a-", "a" * 64, f"{'a.' * 130}b", "1.2.3.999", "a'b", "a<b"),
    ],
)  # fmt: skip
def test_a_node_refuses_hosts_that_no_resolver_takes(host):
    """A host is a name or an address: anything else fails in the resolver, in ways of its own."""
    with pytest.raises(ValueError, match="host"):
        Node(host, 80)


def test_an_international_host_is_kept_in_ascii():
    """A name in letters of any script is used in the form that DNS has."""
    assert Node("Bücher.example", 80).host == "xn--bcher-kva.example"


@each(FLAVOURS)
async def test_what_metadata_says_is_never_sent(make_node, make_caller):
    """Metadata may hold anything, and neither it nor the names of a node reach the request."""
    node = make_node()
    marked = "MARK"
    listed = Node(
        node.host,
        node.port,
        id=f"id-{marked}",
        zone=f"zone-{marked}",
        version=f"version-{marked}",
        generation=f"generation-{marked}",
        metadata={"X-Evil": f"1\r\nX-Worse: {marked}", f"{marked}\r\nX-Third": "1"},
    )
    caller = make_caller(listing=StaticRegistry([listed]))
    assert (await caller.call("/path")).status_code == 200
    [seen] = node.seen
    assert seen.headers["host"] == "orders"
    assert marked.encode() not in seen.head
    assert b"Evil" not in seen.head


@evil
def test_a_fault_of_a_registry_is_one_line_of_the_log(text, caplog):
    """What a registry wrote is escaped where a warning repeats it, and never endless."""
    good = {"host": "good", "port": 1}
    for field in ("host", "id", "zone", "status"):
        nodes_from_json([{"host": "a", "port": 1, field: text}, good], where="here")
    nodes_from_json([{"host": "a", "port": 1, "id": "y" * 10_000}, good], where="here")
    FaultLog().report("here", f"it says {text}")
    assert len(caplog.records) == 6
    for record in caplog.records:
        assert record.getMessage().isprintable()
        assert len(record.getMessage()) < 500


@evil
async def test_the_trouble_with_a_registry_is_one_line_everywhere(
    text, new_server, caplog, make_caller
):
    """A registry's own words in an error are escaped in the log, the views and the exception."""
    server = new_server()
    server.say(json.dumps({"nodes": [{"host": f"a{text}", "port": 1}]}))
    caller = make_caller(listing=HttpRegistry(f"http://{server.address}/{{service}}"))
    with caplog.at_level(logging.DEBUG, "rpcguard"):
        caller.transport.nodes("orders")
        await soon(lambda: caller.transport.services()[0].trouble, "the list is refused")
        with pytest.raises(rpcguard.NoAvailableNode) as caught:
            await caller.call("/", extensions={"rpcguard": {"deadline": 0.02}})
        [shown] = caller.transport.services()
    assert shown.trouble is not None
    told = [str(caught.value), shown.trouble, *(one.getMessage() for one in caplog.records)]
    assert all(line.isprintable() for line in told), told
