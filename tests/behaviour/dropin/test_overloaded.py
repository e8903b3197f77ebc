"""`Overloaded` under libraries that repeat failed calls: it is not repeated, or not at once."""

from __future__ import annotations

import httpx
import pytest

import rpcguard
from rpcguard import OverloadPolicy, Throttle
from tests.support.calls import InOrder, Node, registry

tenacity = pytest.importorskip("tenacity")
httpx_retries = pytest.importorskip("httpx_retries")

PATIENT = httpx_retries.Retry(
    total=5,
    backoff_factor=0.0,
    retry_on_exceptions=(httpx.ReadTimeout, httpx.ConnectError, httpx.RemoteProtocolError),
)
"""As the guide has it: without `PoolTimeout`, which `Overloaded` is."""


class Asked:
    """A transport that counts what comes by, on its way to another one."""

    def __init__(self, inner: rpcguard.Transport) -> None:
        self.inner, self.count = inner, 0

    def calls(self) -> httpx.BaseTransport:
        """Give the transport that counts."""
        outer = self

        class Counting(httpx.BaseTransport):
            def handle_request(self, request: httpx.Request) -> httpx.Response:
                outer.count += 1
                return outer.inner.handle_request(request)

            def close(self) -> None:
                outer.inner.close()

        return Counting()


@pytest.fixture
def full():
    """Give a transport of which the only place is taken, and what its node has seen."""
    node = Node()
    transport = rpcguard.Transport(
        registry(node), balancer=InOrder, overload=OverloadPolicy(max_in_flight=1)
    )
    with httpx.Client(transport=transport, base_url="http://orders") as client:
        request = client.build_request("POST", "/")
        response = client.send(request, stream=True)
        yield Asked(transport), node
        response.close()
    node.close()


def test_httpx_retries_leaves_it_alone(full):
    """With the exceptions that the guide names, a refusal is told at once."""
    asked, node = full
    retrying = httpx_retries.RetryTransport(transport=asked.calls(), retry=PATIENT)
    client = httpx.Client(transport=retrying, base_url="http://orders")
    with pytest.raises(rpcguard.Overloaded):
        client.get("/")
    assert (asked.count, len(node.seen)) == (1, 1)


def test_tenacity_leaves_it_alone(full):
    """With the predicate that the guide names."""
    asked, node = full
    client = httpx.Client(transport=asked.calls(), base_url="http://orders")

    @tenacity.retry(
        retry=tenacity.retry_if_exception_type(httpx.TransportError)
        & tenacity.retry_if_not_exception_type(rpcguard.Overloaded),
        stop=tenacity.stop_after_attempt(5),
        reraise=True,
    )
    def get() -> httpx.Response:
        return client.get("/")

    with pytest.raises(rpcguard.Overloaded):
        get()
    assert (asked.count, len(node.seen)) == (1, 1)


def test_tenacity_may_wait_as_long_as_it_is_told(full):
    """Who repeats it all the same waits for its `retry_after` in between."""
    asked, node = full
    client = httpx.Client(transport=asked.calls(), base_url="http://orders")
    waited: list[float] = []

    def told(state) -> float:
        return state.outcome.exception().retry_after

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(rpcguard.Overloaded),
        wait=told,
        sleep=waited.append,
        stop=tenacity.stop_after_attempt(3),
        reraise=True,
    )
    with pytest.raises(rpcguard.Overloaded):
        retrying(client.get, "/")
    assert (asked.count, len(node.seen)) == (3, 1)
    assert all(seconds > 0 for seconds in waited)


def test_no_refused_call_reaches_a_node():
    """Whatever repeats it: what a throttle refuses costs the service nothing."""
    node = Node(lambda peer: peer.serve(b"HTTP/1.1 500 Bad\r\nContent-Length: 0\r\n\r\n"))
    transport = rpcguard.Transport(
        registry(node),
        overload=OverloadPolicy(throttle=Throttle(floor=0)),
        retry=rpcguard.RetryPolicy(attempts=1),
    )
    refused = 0
    with httpx.Client(transport=transport, base_url="http://orders") as client:
        for _ in range(200):
            try:
                client.get("/")
            except rpcguard.Overloaded:
                refused += 1
    assert refused > 100
    assert len(node.seen) == 200 - refused
    node.close()
