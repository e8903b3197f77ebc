"""A canary release whose new version fails: its script, what its book says, and the whole of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rpcguard import RouteView, cli
from rpcguard._commands.demo.canary import CanaryBook, canary_routing, canary_script
from rpcguard._commands.demo.options import DemoOptions
from rpcguard._commands.demo.recording import CallRecord

ROUTE = RouteView(
    name="orders-canary",
    service="orders",
    share=0.2,
    effective_share=0.2,
    measured=0.2,
    ramp=1.0,
    strain=1.0,
    nodes=1,
    eligible=1,
    guard=None,
)


def played(*, held_to: str = "old", back_to: str = "new", tester: str | None = "new") -> CanaryBook:
    """Play 10 s on paper: the new version fails from 2 s, the guard holds from 3 to 7 s."""
    book = CanaryBook("new")
    book.falters(2.0)
    told = [book.see(ROUTE, 2.5), book.see(replace(ROUTE, guard=4.0), 3.0)]
    told += [book.see(replace(ROUTE, guard=1.0), 6.0), book.see(ROUTE, 7.05)]
    assert told == [None, "its guard withdraws the share for 4.0 s", None, "has its share again"]
    nodes = {1.0: "new", 2.5: "new", 5.0: held_to, 6.9: "new", 9.0: back_to}
    for at, node in nodes.items():
        book.ended(CallRecord("rpcguard", "GET", at, 0.1, node, error=None), node)
    book.tested(tester)
    return book


def test_the_book_of_a_run_that_went_as_it_should():
    """Each phase has its calls; those within a quarter of a second of a change are in none."""
    book = played()
    assert book.kept_the_promise
    rows = [line.split() for line in book.table().splitlines()]
    assert rows[1] == ["all", "is", "well", "1", "100.0%", "0"]
    assert rows[3] == ["its", "guard", "holds", "1", "0.0%", "0"]
    assert rows[4] == ["well", "again", "1", "100.0%", "0"]
    assert book.table().splitlines()[-1] == "of 1 marked call 0 failed, version 2 answered 1"


@pytest.mark.parametrize(
    "wrong", [{"held_to": "new"}, {"back_to": "old"}, {"tester": None}, {"tester": "old"}]
)
def test_the_book_of_a_run_that_did_not(wrong):
    """A share while the guard holds, none after it, testers who fail or never meet the version."""
    assert not played(**wrong).kept_the_promise


def test_a_guard_that_never_trips_is_no_kept_promise():
    """Nothing that the demo is there to show has happened then."""
    book = CanaryBook("new")
    book.tested("new")
    book.ended(CallRecord("rpcguard", "GET", 1.0, 0.1, "new"), "new")
    assert not book.kept_the_promise
    assert "its guard holds        0              -" in book.table()


def test_the_hold_outlives_the_fault_and_ends_in_time():
    """However fast the guard trips: the last phase is there to be seen."""
    falter, well = canary_script(canary=4, seconds=20.0).steps
    (route,) = canary_routing(20.0).rules
    assert route.guard is not None
    assert (falter.action, well.action, falter.providers) == ("falter", "well", (4,))
    assert well.pause < route.guard.hold < well.pause + canary_script(canary=4, seconds=20.0).tail


def test_a_plan_and_lanes_exclude_each_other(tmp_path):
    """The batches of a plan are another play."""
    from rpcguard._commands.demo.planned import DemoPlan
    from rpcguard._commands.demo.work import Capacity
    from rpcguard._planning.inputs import Rollout

    capacity = Capacity(width=2, seconds=0.1, cold_factor=3.0)
    plan = DemoPlan(((0,),), load=0.5, capacity=capacity, rollout=Rollout(away=4.0))
    with pytest.raises(ValueError, match="lanes must be left out beside a plan"):
        DemoOptions(lanes=True, plan=plan)


@pytest.mark.timeout(120)
def test_real_providers_play_it(tmp_path, capfd):
    """The guard switches the failing version off, its share comes back, and no GET is lost."""
    report = tmp_path / "canary.html"
    words = ["demo", "--lanes", "--plain", "--seconds", "12", "--rate", "50"]
    status = cli.main([*words, "--report", str(report)])
    out = capfd.readouterr().out
    assert status == 0, out
    for said in ("500 every third time", "its guard withdraws the share", "has its share again"):
        assert said in out, out
    assert "version 2, with a fifth of the calls" in report.read_text()
