"""A caller that uses a part of the nodes has connections to that part alone."""

from __future__ import annotations

from rpcguard import Subset
from tests.support.calls import FLAVOURS, each, soon
from tests.support.library import http

FOREVER = http.Limits(max_connections=100, keepalive_expiry=None)


@each(FLAVOURS)
async def test_who_is_outside_keeps_no_idle_connection(make_node, make_caller, swept_often):
    """One that stood in for a while is left again, and its connection is closed."""
    nodes = [make_node() for _ in range(4)]
    caller = make_caller(*nodes, subset=Subset(size=1), limits=FOREVER)
    await caller.settle_list()
    await caller.call()
    (home,) = [node for node in nodes if node.seen]
    name = caller.view(home).node.id
    caller.transport.mark_offline("orders", name, ttl=60.0)
    await caller.call()
    (other,) = [node for node in nodes if node.seen and node is not home]
    await soon(lambda: (home.open, other.open) == (1, 1), "one each, and no probe of the first")
    caller.transport.mark_online("orders", name)
    await soon(lambda: not other.open, "the connection of the node outside is closed")
    assert caller.view(other).reason == "outside of the subset"
    await caller.call()
    await soon(lambda: (home.open, other.open) == (1, 0), "the one of the subset is kept")
    assert [len(node.seen) for node in (home, other)] == [2, 1]
