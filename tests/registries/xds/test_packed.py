"""Endpoints that are kept by their bytes are those that a whole reading gives."""

from __future__ import annotations

import random

import pytest

from rpcguard.registries._shared.faults import FaultLog
from rpcguard.registries.xds.assignments import nodes_of
from rpcguard.registries.xds.messages import ASSIGNMENT, ENDPOINT_TYPE, PACKED_ASSIGNMENT
from rpcguard.registries.xds.resources import read_resource


def endpoint(number, **fields):
    place = {"socket_address": {"address": f"10.0.0.{number}", "port_value": 80}}
    return {"endpoint": {"address": place}, "health_status": 1, **fields}


def message(*localities):
    return ASSIGNMENT.encode({"cluster_name": "orders", "endpoints": list(localities)})


def locality(*endpoints, zone="a", **fields):
    return {"locality": {"zone": zone}, "lb_endpoints": list(endpoints), **fields}


def read(data, last=None, faults=None):
    return read_resource(ENDPOINT_TYPE, data, faults or FaultLog(), last)


def whole(data):
    """Read a list with nothing known of it."""
    return tuple(nodes_of(ASSIGNMENT.decode(data), where="here", faults=FaultLog()))


def test_only_what_changed_is_read():
    """All others are the very nodes of the list before."""
    before = read(message(locality(*map(endpoint, range(1, 6)))))
    listed = [endpoint(1), endpoint(2), endpoint(3, load_balancing_weight=3), endpoint(5)]
    after = read(message(locality(*listed)), before)
    assert [node.host for node in after.nodes] == [f"10.0.0.{number}" for number in (1, 2, 3, 5)]
    same = [any(node is old for old in before.nodes) for node in after.nodes]
    assert same == [True, True, False, True]
    assert after.nodes[2].weight == 3.0
    assert len(after.known) == 4  # what is gone is forgotten


@pytest.mark.parametrize("seed", range(20))
def test_any_two_lists(seed):
    """Whatever endpoints, localities, weights and priorities change, nothing of before is left."""
    rng = random.Random(seed)
    last = None
    for _ in range(12):
        numbers = rng.sample(range(1, 30), rng.randint(2, 20))
        first, second = sorted(rng.sample(range(len(numbers) + 1), 2))
        places = [
            locality(
                *(endpoint(one, load_balancing_weight=rng.randint(1, 2)) for one in part),
                zone=rng.choice("ab"),
                load_balancing_weight=rng.randint(0, 2),
                priority=rng.randint(0, 1),
            )
            for part in (numbers[:first], numbers[first:second], numbers[second:])
        ]
        data = message(*places)
        last = read(data, last)
        assert last.nodes == whole(data)


def test_a_fault_is_told_as_long_as_it_lasts(caplog):
    """An endpoint that was left out before is left out again, and one that is listed twice."""
    odd = {"endpoint": {"address": {"socket_address": {"protocol": 1, "port_value": 80}}}}
    faults = FaultLog()
    last = read(message(locality(endpoint(1), odd, endpoint(1))), None, faults)
    assert "2 bad nodes left out" in caplog.text
    caplog.clear()
    last = read(message(locality(endpoint(1), odd, endpoint(1), endpoint(2))), last, faults)
    assert len(last.nodes) == 2
    assert not caplog.text  # the same as before: neither another fault nor none


def test_an_endpoint_that_is_no_message():
    """The whole list is refused, as it is where it is read at once."""
    places = [{"lb_endpoints": [b"\xff"]}]
    data = PACKED_ASSIGNMENT.encode({"cluster_name": "orders", "endpoints": places})
    for reading in (read, whole):
        with pytest.raises(ValueError, match="is no message"):
            reading(data)
