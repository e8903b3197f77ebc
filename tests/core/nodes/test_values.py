"""The values that users make and are given: what they refuse, and what can be done with them."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import pickle

import pytest

from rpcguard import (
    Node,
    Snapshot,
)
from rpcguard._core.call.info import Attempt, CallInfo
from rpcguard._core.nodes.live import Lease
from tests.support.stage import Stage

NODE = Node("10.0.0.1", 80, zone="a", metadata={"rack": "7"}, started_at=5.0)
ATTEMPT = Attempt(NODE, "200", 0.1)


def stage_view():
    stage = Stage(NODE)
    stage.call()
    return stage.view(NODE.id)


@pytest.mark.parametrize(
    "value",
    [
        NODE,
        Node("10.0.0.1", 80),
        Snapshot([NODE], max_age=5.0),
        ATTEMPT,
        CallInfo("orders", NODE, (ATTEMPT,)),
        stage_view(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_are_pickled_and_copied(value):
    """They pass between processes, and into whatever makes dicts of dataclasses."""
    for made in (
        pickle.loads(pickle.dumps(value)),
        copy.copy(value),
        copy.deepcopy(value),
        dataclasses.replace(value),
    ):
        assert made == value
    assert dataclasses.asdict(value)


def test_the_metadata_of_a_node_is_its_own():
    """A copy is kept, which can be read as a dict, and by nobody be changed."""
    given = {"rack": "7"}
    node = Node("10.0.0.1", 80, metadata=given)
    given["rack"] = "8"
    same = pickle.loads(pickle.dumps(node))
    for metadata in (node.metadata, same.metadata, copy.deepcopy(node).metadata):
        assert json.dumps(metadata) == '{"rack": "7"}'
        assert {**metadata, "row": "1"} == {"rack": "7", "row": "1"}
        for change in (
            lambda held: held.update(row="1"),
            lambda held: held.__setitem__("rack", "8"),
            lambda held: held.__delitem__("rack"),
            lambda held: held.__ior__({"row": "1"}),
            lambda held: held.pop("rack"),
            lambda held: held.popitem(),
            lambda held: held.setdefault("row", "1"),
            lambda held: held.clear(),
        ):
            with pytest.raises(TypeError, match="cannot be changed"):
                change(metadata)
        assert metadata == {"rack": "7"}


def test_nodes_without_metadata_share_one():
    """A long list does not pay for what it does not have."""
    assert Node("a", 1, metadata={}).metadata is Node("b", 1).metadata


@pytest.mark.parametrize("metadata", [None, [1], "rack=7", 3])
def test_metadata_is_a_mapping(metadata):
    """Anything else is refused when the node is made."""
    with pytest.raises(ValueError, match=r"^metadata must be a mapping, not "):
        Node("10.0.0.1", 80, metadata=metadata)


def test_a_node_without_an_id_has_its_address():
    """None stands for no id, as it does for a registry that knows none."""
    assert Node("10.0.0.1", 80, id=None).id == "10.0.0.1:80"


@pytest.mark.parametrize("nodes", [[1], [None], None, 3, "abc", [("10.0.0.1", 80)]])
def test_a_snapshot_holds_nodes(nodes):
    """Whatever else a registry of the user's own lists is told where it is made."""
    with pytest.raises(ValueError, match=r"^nodes must be "):
        Snapshot(nodes)


@pytest.mark.parametrize("max_age", ["30", [30], True])
def test_the_age_of_a_snapshot_is_a_number(max_age):
    """The interval of the next question is counted with it."""
    with pytest.raises(ValueError, match=r"^max_age must be seconds or None, not "):
        Snapshot(max_age=max_age)


@pytest.mark.parametrize("max_age", [None, 0, 5, 0.5, math.inf])
def test_an_age_that_is_a_number(max_age):
    """An infinite one says that the list never changes."""
    assert Snapshot(max_age=max_age).max_age == max_age


def test_a_socket_stands_in_for_the_address():
    """It names the node, unless it has a name; control codes are refused as everywhere."""
    node = Node("localhost", 80, uds="/run/orders.sock")
    assert (node.address, node.id) == ("unix:/run/orders.sock", "unix:/run/orders.sock")
    assert Node("localhost", 80, id="a", uds="/run/orders.sock").id == "a"
    with pytest.raises(ValueError, match="uds must be the path"):
        Node("localhost", 80, id="a", uds="/run/\n")


def test_a_lease_that_was_never_made_leaves_no_word():
    """An interrupt as a lease is made leaves one without attributes, which is dropped in peace."""
    Lease.__new__(Lease).__del__()
