"""Counters have their label sets, at 0, before the first event."""

from __future__ import annotations

import re

import pytest

from rpcguard._telemetry.births import DENIALS, EJECTIONS, label_sets
from tests.docs.blocks import ROOT
from tests.support.telemetry import labels


async def test_a_service_that_was_never_in_trouble_has_its_zeros(calling, recorded, provider):
    """From the first look at its metrics; each is one series, and stays at what was counted."""
    async with calling(provider()) as caller:
        await caller.get()
        zeros = recorded.points("rpcguard.panics", born=True)
        assert zeros == {labels(server_address="orders"): 0}
        denied = recorded.points("rpcguard.retries.denied", born=True)
        assert {dict(key)["rpcguard.denial.reason"] for key in denied} == set(DENIALS)
        for name in ("ejections", "offline.signals", "retries"):
            found = recorded.points(f"rpcguard.{name}", born=True)
            assert found
            assert not any(found.values())
        refreshed = recorded.points("rpcguard.registry.refreshes", born=True)
        assert refreshed[labels(server_address="orders")] == 1
        assert sum(refreshed.values()) == 1


async def test_a_host_of_no_registry_has_one_address_in_all_metrics(calling, recorded, provider):
    """Its port is a label of its own or none, so that what begins at 0 is what is counted."""
    node = provider()
    async with calling("hosts://") as caller:
        await caller.get(f"http://127.0.0.1:{node.port}/")
        names = [name for name in recorded.metrics() if recorded.points(name, born=True)]
        assert {"rpcguard.nodes", "rpcguard.retries", "rpcguard.call.duration"} <= {*names}
        for name in names:
            found = recorded.points(name, born=True)
            assert {dict(key)["server.address"] for key in found} == {"127.0.0.1"}


def test_a_service_costs_some_thirty_series():
    """And none of them twice."""
    sets = [(counter, frozenset(about.items())) for counter, about in label_sets("orders")]
    assert len(set(sets)) == len(sets) < 40


@pytest.mark.parametrize(
    ("attribute", "words"), [("denial.reason", DENIALS), ("ejection.reason", EJECTIONS)]
)
def test_the_words_are_those_of_the_page(attribute, words):
    """In its table of attributes."""
    page = (ROOT / "docs/observability.md").read_text()
    (row,) = re.findall(rf"^\| `rpcguard.{attribute}` \| (.*?)[;|]", page, re.MULTILINE)
    assert re.findall(r"`(\w+)`", row) == list(words)
