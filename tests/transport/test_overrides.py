"""Policies of single services: what one has otherwise than the rest of its transport."""

from __future__ import annotations

import pytest

import rpcguard
from rpcguard import DeadlinePolicy, Overrides, RetryPolicy, ZonePolicy
from rpcguard._core.policies.overrides import PoliciesByService
from tests.support.library import Transport, http

NODES = "static:///orders=10.0.0.1:1,10.0.0.2:1;billing=10.0.0.1:1,10.0.0.2:1"


def by_service(services, **given):
    """Give the policies of a transport without any files and connections."""
    return PoliciesByService(given, services)


def test_what_a_service_does_not_say_is_as_for_the_rest():
    """An override replaces one policy as a whole; the others stay those of the transport."""
    common = RetryPolicy(attempts=3)
    found = by_service({"Orders": Overrides(deadline=DeadlinePolicy(total=1.0))}, retry=common)
    assert found.of("orders").deadline == DeadlinePolicy(total=1.0)
    assert found.of("orders").retry is common
    assert found.of("billing") is found.common


@pytest.mark.parametrize("host", ["shop.bücher.example", "shop.xn--bcher-kva.example:8080"])
@pytest.mark.parametrize("given", ["shop.bücher.example", "shop.xn--bcher-kva.example."])
def test_the_policies_of_a_service_count_however_it_is_spelt(given, host):
    """A host whose first part is plain comes from httpx in ASCII, others in their own letters."""
    found = by_service({given: Overrides(retry=False)})
    assert found.of(host).retry.attempts == 1


def test_false_switches_off_for_one_service():
    """The same word as for the transport."""
    found = by_service(
        {"orders": Overrides(retry=False, deadline=False)}, deadline=DeadlinePolicy()
    )
    assert found.of("orders").retry.attempts == 1
    assert found.of("orders").deadline is None
    assert found.of("billing").deadline is not None


def test_a_zone_without_a_name_has_that_of_the_transport():
    """The zone is the caller's, so it is the same for all; `False` looks at none."""
    zones = {"orders": Overrides(zone=ZonePolicy(strict=True)), "billing": Overrides(zone=False)}
    found = by_service(zones, zone=ZonePolicy(zone="a"))
    assert found.of("orders").zone == ZonePolicy(zone="a", strict=True)
    assert found.of("billing").zone.zone is None


def test_a_name_with_a_port_goes_by_its_host():
    """Registries whose services have ports, such as hosts://, need no other spelling."""
    found = by_service({"orders": Overrides(retry=False), "orders:81": Overrides(balancer=dict)})
    assert found.of("orders:80").retry.attempts == 1
    assert found.of("orders:81").retry.attempts == 2


def test_probing_is_decided_anew_for_a_service():
    """What the transport's policy says of probes does not stick to one that says nothing."""
    quiet = rpcguard.EjectionPolicy(probe=False)
    found = by_service({"orders": Overrides(ejection=rpcguard.EjectionPolicy())}, ejection=quiet)
    assert (found.common.probes, found.of("orders").probes) == (False, True)


@pytest.mark.parametrize(
    ("services", "said"),
    [
        ({"orders": RetryPolicy()}, r"^services\['orders'\] must be of the class Overrides"),
        ({"orders": {"retry": False}}, r"^services\['orders'\] must be of the class Overrides"),
        ({"": Overrides()}, "^services must be by names of services, not ''"),
        ({3: Overrides()}, "^services must be by names of services, not 3"),
    ],
)
def test_what_is_no_override_is_named(services, said):
    """With the service and the right class."""
    with pytest.raises(ValueError, match=said):
        Transport(NODES, services=services)


def test_what_cannot_be_overridden():
    """The registry, the connections and the routes are the transport's; the error is Python's."""
    with pytest.raises(TypeError, match="membership"):
        Overrides(membership=rpcguard.MembershipPolicy())  # type: ignore[call-arg]
    with pytest.raises(ValueError, match=r"^retry must be of the class RetryPolicy, such as"):
        Overrides(retry=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^balancer must be what makes balancers"):
        Overrides(balancer=3)  # type: ignore[arg-type]


def test_calls_go_by_the_policies_of_their_service():
    """One transport: a service that tries once and tells its deadline, another as by default."""
    seen = []

    def answer(request):
        seen.append(request)
        return http.Response(503)

    once = Overrides(retry=False, deadline=DeadlinePolicy(total=5.0))
    transport = Transport(
        NODES,
        services={"orders": once, "nobody-calls-this": Overrides()},
        node_transport=lambda _: http.MockTransport(answer),
    )
    with http.Client(transport=transport) as client:
        assert len(client.get("http://orders/").extensions["rpcguard"].attempts) == 1
        assert len(client.get("http://billing/").extensions["rpcguard"].attempts) == 2
    told = ["x-envoy-expected-rq-timeout-ms" in request.headers for request in seen]
    assert told == [True, False, False]
