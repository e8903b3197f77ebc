"""What each node gets: by its weight, whatever is in flight, and after one slow answer."""

from __future__ import annotations

from random import Random

import pytest

from rpcguard import LeastLoaded, LeastRequests, SlowStart
from rpcguard._core.outcomes.verdict import Safety, Verdict
from rpcguard._core.policies.bundle import Policies
from rpcguard._planning.fleet import FleetProvider, Simulation, exponential

WEIGHTS = [(3, 1), (10, 1), (100, 1), (4, 1, 1)]


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
@pytest.mark.parametrize("in_flight", [1, 10, 100])
@pytest.mark.parametrize("balancer", [LeastLoaded, LeastRequests])
def test_shares_follow_the_weights_at_any_number_of_calls(balancer, in_flight, weights):
    """Each share of 10,000 calls is within a fifth of its weight's share, or within one point."""
    providers = {
        f"n{at}": FleetProvider(exponential(0.01), workers=999) for at in range(len(weights))
    }
    run = Simulation(providers, policies=Policies(balancer=balancer))
    run.list_nodes(**{f"n{at}": {"weight": weight} for at, weight in enumerate(weights)})
    span = 100.0 / in_flight
    run.keep_in_flight(in_flight, span)
    run.run(span + 1)
    for at, weight in enumerate(weights):
        fair = weight / sum(weights)
        assert run.share(f"n{at}") == pytest.approx(fair, abs=max(0.2 * fair, 0.01))


@pytest.mark.parametrize(("size", "rate"), [(2, 20), (10, 200)])
@pytest.mark.parametrize("first", [0.1, 1.0, 5.0])
def test_one_slow_answer_is_forgiven(size, rate, first):
    """The first call of a node is slow: three seconds after its answer it has half its share."""
    providers = {f"n{at}": FleetProvider(exponential(0.01), workers=999) for at in range(size)}
    served = []

    def once(_, rng):
        served.append(1)
        return first if len(served) == 1 else rng.expovariate(100.0)

    providers["n0"].seconds = once
    run = Simulation(providers)
    run.list_nodes()
    run.arrive(rate, first + 20)
    run.run(first + 21)
    assert run.share("n0", since=first + 4) * size > 0.5


class Missing(FleetProvider):
    """A provider that has nothing, and says so in its own time."""

    def serve(self, now, rng):
        verdict = Verdict("404", failed=False, safety=Safety.NEVER, blame="none")
        return super().serve(now, rng)[0], verdict


@pytest.mark.parametrize("balancer", [LeastLoaded, LeastRequests])
def test_a_new_node_that_only_refuses_loses_by_its_load(balancer):
    """Ten times slower than the others and never well: new for good, it had a whole share."""
    providers = {f"n{at}": FleetProvider(exponential(0.05), workers=999) for at in range(2)}
    providers["new"] = Missing(exponential(0.5), workers=999)
    policies = Policies(balancer=balancer, slow_start=SlowStart(window=5.0))
    run = Simulation(providers, policies=policies)
    run.list_nodes(["n0", "n1"])
    run.arrive(100.0, 40.0)
    run.run(5.0)
    run.list_nodes()
    run.run(36.0)
    assert run.share("new", since=20.0) * 3 < 0.5


@pytest.mark.parametrize("weights", [(1, 100), (1, 1, 1, 100)], ids=str)
@pytest.mark.parametrize("balancer", [LeastLoaded, LeastRequests])
def test_a_new_node_beside_a_heavy_one_gets_no_more_than_its_weight(balancer, weights):
    """It is in every pair or in many: by its ramp alone it had six times its share for a minute.

    And those as light as it had it as well, to be level with it in turns.
    """
    providers = {f"n{at}": FleetProvider(exponential(0.01), workers=999) for at in range(4)}
    run = Simulation(providers, policies=Policies(balancer=lambda: balancer(rng=Random(1))))
    listed = {f"n{at}": {"weight": weight} for at, weight in enumerate(weights)}
    run.list_nodes(list(listed)[1:], **listed)
    run.arrive(100.0, 70.0)
    run.run(10.0)
    run.list_nodes(list(listed), **listed)
    run.run(61.0)
    for name, fields in listed.items():
        assert run.share(name, since=10.0) * sum(weights) / fields["weight"] < 1.5


def test_a_light_node_that_was_slow_is_back_as_soon_as_others():
    """Its turns are long: it was not tried for a minute, one of a hundred calls made no tail."""
    providers = {f"n{at}": FleetProvider(exponential(0.05), workers=999) for at in range(2)}
    run = Simulation(providers)
    providers["n0"].seconds = lambda now, rng: rng.expovariate(
        2.0 if 1010.0 < now < 1060.0 else 20.0
    )
    run.list_nodes(n0={"weight": 1}, n1={"weight": 100})
    run.arrive(60.0, 100.0)
    run.run(101.0)
    assert run.share("n0", since=20.0, until=60.0) * 101 < 0.5
    assert run.share("n0", since=65.0, until=95.0) * 101 > 0.5
