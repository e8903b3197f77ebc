"""The played fleet: what it pays for, as a transport does."""

from __future__ import annotations

import pytest

from rpcguard import EjectionPolicy, RetryPolicy
from rpcguard._core.policies.bundle import Policies
from rpcguard._planning.fleet import FleetProvider, Simulation

NO_EJECTION = EjectionPolicy(enforce=False)


def played(retry: RetryPolicy, *, dead: int = 0, sick: int = 0) -> Simulation:
    """Play 500 calls to six nodes, of which some refuse connections and some answer 500."""
    providers = {f"n{number}": FleetProvider(workers=999) for number in range(6)}
    for provider in list(providers.values())[:dead]:
        provider.dead = lambda _: True
    for provider in list(providers.values())[dead : dead + sick]:
        provider.sick = lambda _: True
    run = Simulation(providers, policies=Policies(retry=retry, ejection=NO_EJECTION))
    run.list_nodes()
    run.arrive(50.0, 10.0)
    run.run(12.0)
    return run


def test_a_try_that_could_not_connect_costs_nothing():
    """Without any budget each call finds the one node that is there, and pays nothing for it."""
    run = played(RetryPolicy(budget_ratio=0.0, budget_floor=0.0), dead=5)
    assert any(len(call.nodes) > 2 for call in run.calls)
    assert all(call.good for call in run.calls)
    assert run.services[0].retries() == (0, 0)


def test_a_failure_after_such_tries_is_paid_for():
    """A node that answers 500 has had the call: what follows costs an attempt of the budget."""
    run = played(RetryPolicy(budget_ratio=0.0, budget_floor=0.0), dead=3, sick=2)
    failed = [call for call in run.calls if not call.good]
    assert failed
    assert {call.attempts for call in failed} == {1}


@pytest.mark.parametrize("ratio", [0.1, 0.2])
def test_the_budget_is_a_share_of_the_calls(ratio):
    """Calls are counted in, so their share may be retried where there is no floor."""
    run = played(RetryPolicy(budget_ratio=ratio, budget_floor=0.0), sick=5)
    retried = sum(call.attempts == 2 for call in run.calls)
    assert retried == pytest.approx(ratio * len(run.calls), rel=0.2)


def test_calls_are_counted_out():
    """Nothing is under way when all calls have ended."""
    assert played(RetryPolicy(), dead=1, sick=1).services[0].calls == 0
