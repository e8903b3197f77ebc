"""No node is passed over: in a whole run of the demo, by its recorded picks."""

from __future__ import annotations

import asyncio

import pytest

from rpcguard._commands.demo.options import DemoOptions
from rpcguard._commands.demo.recording import CallRecord, DemoEvent, Recording, Sighting
from rpcguard._commands.demo.run import Demo
from rpcguard._commands.demo.view import PlainView
from tests.support.starving import starved


def recorded(shares: dict[str, int], *, hurt: str = "") -> Recording:
    """Record ten seconds of calls, so many in a hundred to each node."""
    recording = Recording(tuple(shares), 100.0, 3.0, seconds=10.0)
    recording.sightings += [Sighting(0.0, node, "available", None) for node in shares]
    turns = [node for node, share in shares.items() for _ in range(share)]
    for number in range(1000):
        node = turns[number * 37 % len(turns)]
        recording.calls.append(CallRecord("rpcguard", "GET", number / 100, 0.005, node))
    if hurt:
        recording.events.append(DemoEvent(0.0, hurt, "freeze", "freezes"))
    return recording


def test_a_node_with_less_than_half_of_an_equal_share_is_found():
    """20 of 100 calls among three nodes are enough, 10 are not; of a hurt node nothing is asked."""
    assert starved(recorded({"a": 40, "b": 40, "c": 20}), span=2.0) == []
    found = starved(recorded({"a": 45, "b": 45, "c": 10}), span=2.0)
    assert {node for node, *_ in found} == {"c"}
    assert starved(recorded({"a": 45, "b": 45, "c": 10}, hurt="c"), span=2.0) == []


def test_what_a_machine_that_does_not_keep_up_does_is_not_judged():
    """Less than half of the calls that were to be sent say nothing of the nodes."""
    recording = recorded({"a": 45, "b": 45, "c": 10})
    recording.rate = 250.0
    assert starved(recording, span=2.0) == []


@pytest.mark.real_time("what runs beside it may starve a node, too")
@pytest.mark.timeout(400)
def test_no_available_node_is_starved(tmp_path):
    """None has less than half of an equal share over two seconds, from the first to the last."""
    recording = asyncio.run(Demo(DemoOptions(seconds=30.0), PlainView(), tmp_path).run())
    assert len(recording.of("rpcguard")) > 2000
    assert starved(recording, span=2.0) == []
