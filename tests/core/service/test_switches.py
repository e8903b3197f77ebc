"""What is switched for the time of an incident, and what a service makes of it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from rpcguard import RoundRobin, Route, Routing
from rpcguard._core.policies.incidents import (
    ALL_ON,
    Incident,
    Switches,
    in_force,
    incidents_of,
    switches_of,
)
from tests.support.stage import SICK, Stage, ids, leaving, nodes

WRITTEN = 1_000_000.0


def only(**table):
    """Give the one incident that a table means."""
    (incident,) = incidents_of(table, WRITTEN)
    return incident


def test_a_switch_has_an_end():
    """An hour after the file was written, or what the switch says, as a length or a moment."""
    assert only(retry=False).until == WRITTEN + 3600.0
    assert only(**{"retry": False, "for": 60}).until == WRITTEN + 60.0
    moment = datetime(2026, 11, 26, 15, tzinfo=UTC)
    assert only(retry=False, until=moment).until == moment.timestamp()
    assert only(retry=False, until="2026-11-26T15:00:00Z").until == moment.timestamp()


def test_it_is_over_at_its_end():
    """Not a moment later, whoever looks."""
    incident = only(**{"retry": False, "for": 60})
    assert in_force([incident], WRITTEN + 59.0) == (incident,)
    assert in_force([incident], WRITTEN + 60.0) == ()


def test_several_incidents_turn_their_own():
    """Those of all services and of one go together; what nobody turned is on."""
    incidents = incidents_of(
        [
            {"ejection": "shadow", "out": ["a"]},
            {"service": "Orders.", "retry": False, "hedge": False, "out": ["b"]},
            {"service": "billing", "routes": False},
        ],
        WRITTEN,
    )
    found = switches_of(incidents, "orders", WRITTEN)
    assert found == Switches(retry=False, hedge=False, ejection=False, out=frozenset("ab"))
    assert switches_of(incidents, "billing", WRITTEN).routes is False
    assert switches_of(incidents, "orders", WRITTEN + 3600.0) == ALL_ON


def test_what_is_turned_in_words():
    """For the log: each switch, and each node by its id."""
    incident = Incident(retry=False, hedge=False, routes=False, ejection="shadow", out=("a", "b"))
    told = "retry off, hedge off, routes off, ejection in shadow, node a out, node b out"
    assert incident.turned == told


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (3, "incident must be a table, or a list of tables, not 3"),
        (["retry"], "incident must be a table, or a list of tables"),
        ({"retry": "off"}, "incident: retry must be false, to switch it off, not 'off'"),
        ({"ejection": False}, 'incident: ejection must be the text "shadow", not False'),
        ({"out": "a"}, "incident: out must be a list of ids or addresses"),
        ({"retry": False, "why": 3}, "incident: why must be a text, not 3"),
        ({"retries": False}, "incident: key must be one of ejection, for, .*, not 'retries'"),
        ({"why": "nothing"}, "incident: an incident must be one that switches something"),
        ({"retry": False, "for": "1h"}, "incident: for must be seconds above 0, not '1h'"),
        ({"retry": False, "for": 0}, "incident: for must be seconds above 0, not 0"),
        ({"retry": False, "until": 5}, "incident: until must be a moment with its offset"),
        ({"retry": False, "until": "soon"}, "incident: until must be .*, not 'soon'"),
        (
            {"retry": False, "until": datetime(2026, 11, 26, 15)},
            "incident: until must be a moment with its offset",
        ),
        ({"retry": False, "for": 5, "until": 5}, "incident: for must be left out beside until"),
    ],
)
def test_what_is_wrong_is_named(given, said):
    """The key, the value and the right form: whoever writes it is in a hurry."""
    with pytest.raises(ValueError, match=f"^{said}"):
        incidents_of(given, WRITTEN)


def test_ejection_in_shadow():
    """What is out comes back at once and unramped; what fails from then on is told, not done."""
    stage = Stage("a", "b", "c", balancer=RoundRobin)
    stage.on("a", SICK, times=5)
    assert stage.states()["a"] == "ejected"
    stage.service.switch(Switches(ejection=False))
    assert stage.states()["a"] == "available"
    stage.on("a", SICK, times=5)
    assert stage.states()["a"] == "available"
    assert [event.enforced for event in stage.told if event.kind == "ejected"] == [True, False]
    stage.service.switch(ALL_ON)
    stage.on("a", SICK, times=5)
    assert stage.states()["a"] == "ejected"


def test_a_node_out():
    """By id or address: it gets no call and says why; afterwards it comes back by its ramp."""
    stage = Stage(*nodes("a", "b"))
    stage.service.switch(Switches(out=frozenset(["a"])))
    assert stage.kinds("a") == ["offline"]  # told by the switch, not by the next call
    assert stage.picked() == {"b"}
    view = stage.view("a")
    assert (view.state, view.reason) == ("draining", "taken out by a switch")
    stage.service.switch(ALL_ON)
    assert stage.states()["a"] == "warming"
    assert stage.kinds("a") == ["offline", "restored"]


def test_a_node_out_stays_out_whatever_the_registry_says():
    """A list that names it anew, or a node that comes only now, changes nothing."""
    stage = Stage("a")
    stage.service.switch(Switches(out=frozenset(["b"])))
    stage.list("a", "b")
    stage.list("a", "b")
    assert stage.picked() == {"a"}


def test_the_last_node_is_used_all_the_same():
    """A switch that takes all nodes out must not be worse than the incident."""
    stage = Stage(*nodes("a"))
    stage.service.switch(Switches(out=frozenset(["10.0.0.1:80"])))
    assert stage.picked() == {"a"}


def test_nodes_out_are_no_half_of_the_list():
    """Where a switch has half of them, the others fail together by a cause that is not theirs.

    All of them were ejected, and all but one of those that said they leave were marked.
    """
    stage = Stage(*ids(10), "new")
    stage.service.switch(Switches(out=frozenset([*ids(5), "late"])))
    stage.list(*ids(10), "late")
    stage.calls(200, SICK)
    assert "frozen" in stage.kinds()
    assert Counter(stage.states().values()) == {"draining": 6, "available": 5}
    stage.clock.advance(60)
    for name in ids(10)[5:9]:
        stage.on(name, leaving())
    assert Counter(stage.states().values()) == {"draining": 6, "available": 3, "offline": 2}
    stage.service.switch(ALL_ON)
    stage.on("n7", leaving())
    assert stage.states()["n7"] == "offline"


def test_nodes_out_that_are_ejected_leave_room_for_another():
    """Whoever is on call takes out what fails: the next that fails is ejected all the same."""
    stage = Stage(*ids(10))
    for name in ids(4):
        stage.on(name, SICK, times=5)
    stage.service.switch(Switches(out=frozenset(ids(4))))
    stage.on("n5", SICK, times=5)
    assert stage.states()["n5"] == "ejected"
    stage.on("n6", SICK, times=5)
    assert stage.states()["n6"] == "available"


def test_a_node_out_is_not_lost_with_the_list():
    """Whoever takes it out wants it back: what is doubted of the others is doubted of it."""
    for left in ("", "c"):
        stage = Stage(*"abc")
        stage.service.switch(Switches(out=frozenset("a")))
        stage.list(*left)
        assert stage.listed() == set("abc")
        stage.service.switch(ALL_ON)
        assert stage.states()["a"] == "warming"


def test_routes_off():
    """Calls go as if there were none; rules that come meanwhile count when they are on again."""
    canary = Route("canary", share=1.0, to={"version": "2"})
    listed = [*nodes("a", version="1"), *nodes("b", version="2")]
    stage = Stage(*listed, routing=Routing(rules=[canary]))

    def went():
        return {stage.end(stage.pick(ask=stage.ask())) for _ in range(50)}

    assert went() == {"b"}
    stage.service.switch(Switches(routes=False))
    assert stage.service.routes() == []
    assert went() == {"a", "b"}
    stage.service.go_by([Route("old", share=1.0, to={"version": "1"})])
    stage.service.tell()
    assert went() == {"a", "b"}
    stage.service.switch(ALL_ON)
    assert went() == {"a"}


def test_a_forked_child_keeps_the_switches():
    """What is out in the parent is out in the child, before it has looked at the file."""
    stage = Stage("a", "b")
    stage.service.switch(Switches(retry=False, out=frozenset(["a"])))
    heir = stage.service.heir()
    assert heir.switches == stage.service.switches
    assert {view.node.id: view.state for view in heir.nodes()}["a"] == "draining"
