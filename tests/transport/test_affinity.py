"""Affinity from end to end: a session is on one node, by what its calls bring along."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from rpcguard import Affinity, Route, Routing
from tests.support.library import AsyncTransport, Transport, http

if TYPE_CHECKING:
    from rpcguard import Node

URL = "static:///orders=10.0.0.1:80,10.0.0.2:80,10.0.0.3:80,10.0.0.4:80"


def child(node: Node) -> http.MockTransport:
    """Answer with the id of the node."""
    return http.MockTransport(lambda _: http.Response(200, text=node.id))


def went(client: http.Client, url: str = "/", **options: Any) -> set[str]:
    """Give the nodes of some calls that are alike."""
    return {client.get(url, **options).text for _ in range(12)}


def keyed(key: object) -> dict[str, Any]:
    """Say the key of a call."""
    return {"rpcguard": {"key": key}}


@pytest.mark.parametrize(
    "routing", [None, Routing(), Routing(rules=[Route("all", to={"id": "*"})])]
)
def test_a_session_stays_on_one_node(routing: Routing | None) -> None:
    """By header, and by the key of the call before it, with and without routes."""
    with Transport(URL, node_transport=child, affinity=Affinity(), routing=routing) as transport:
        client = http.Client(transport=transport, base_url="http://orders")
        homes = [went(client, headers={"X-Session-ID": f"s{number}"}) for number in range(20)]
        assert {len(home) for home in homes} == {1}
        assert len(set.union(*homes)) == 4
        for key in ("s3", b"s3"):
            headers = {"x-session-id": "s4"}
            assert went(client, headers=headers, extensions=keyed(key)) == homes[3]
        assert len(went(client)) > 1
        assert len(went(client, extensions=keyed(""))) > 1
        with pytest.raises(ValueError, match="rpcguard option key must be a text or bytes, not 7"):
            client.get("/", extensions=keyed(7))


@pytest.mark.anyio
async def test_cookies_and_queries_are_keys_too() -> None:
    """Of calls on asyncio, with a client's own cookie jar."""
    for by in ("cookie.sid", "query.sid"):
        async with AsyncTransport(
            URL,
            node_transport=lambda node: child(node),
            affinity=Affinity(by=by),
        ) as transport:
            client = http.AsyncClient(
                transport=transport, base_url="http://orders", cookies={"sid": "s7"}
            )
            nodes = {(await client.get("/?sid=s7")).text for _ in range(12)}
            assert len(nodes) == 1


def test_homes_are_counted() -> None:
    """Attempts at home, elsewhere since the home is out, and without a key."""
    reader = InMemoryMetricReader()
    with Transport(
        URL,
        node_transport=child,
        affinity=Affinity(),
        meter_provider=MeterProvider(metric_readers=[reader]),
    ) as transport:
        client = http.Client(transport=transport, base_url="http://orders")
        home = client.get("/", extensions=keyed("a")).text
        transport.mark_offline("orders", home)
        assert client.get("/", extensions=keyed("a")).text != home
        assert client.get("/", extensions=keyed("a")).text != home
        client.get("/")
    counts = {
        point.attributes["rpcguard.affinity.result"]: point.value
        for resource in reader.get_metrics_data().resource_metrics  # type: ignore[union-attr]
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "rpcguard.affinity"
        for point in metric.data.data_points
    }
    assert counts == {"home": 1, "moved": 2, "none": 1}


def test_what_is_no_policy_is_refused() -> None:
    """A header's name alone is no policy."""
    with pytest.raises(ValueError, match="affinity must be of the class Affinity or None"):
        Transport(URL, affinity="header.x-session-id")  # type: ignore[arg-type]
