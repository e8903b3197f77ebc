"""Offline marks: what a node's own word does, how far it goes, and how it ends."""

from __future__ import annotations

import math

import pytest

from rpcguard import OfflinePolicy, SlowStart
from tests.support.stage import GOOD, REFUSED, SICK, Stage, cancelled, ids, leaving, nodes


def test_the_next_pick_already_avoids_the_node():
    """From the moment the headers are read, before the body is, the node gets no new call."""
    stage = Stage(*ids(3))
    lease = stage.lease("n0")
    stage.service.settle(lease, leaving())
    assert stage.picked() == {"n1", "n2"}
    assert stage.view("n0").state == "offline"
    assert stage.view("n0").reason == "said by signal"
    assert stage.view("n0").until == 30
    assert stage.view("n0").in_flight == 1
    assert stage.view("n0").successes == 1
    stage.service.release(lease)
    assert stage.view("n0").in_flight == 0
    assert stage.kinds("n0") == ["signal", "offline"]


def test_a_word_about_another_node_is_counted_and_not_followed():
    """Only the node that answered can take itself off the list."""
    stage = Stage(*ids(3))
    stage.on("n0", leaving(source="foreign"))
    assert set(stage.states().values()) == {"available"}
    assert [(one.kind, one.enforced) for one in stage.told if one.node] == [("signal", False)]


@pytest.mark.parametrize(("size", "most"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (10, 5)])
def test_marks_cover_at_most_half(size, most):
    """However many nodes say that they leave, half of them stay in use."""
    stage = Stage(*ids(size))
    for name in ids(size):
        stage.on(name, leaving())
    assert list(stage.states().values()).count("offline") == most
    refused = [one for one in stage.told if one.kind == "signal" and not one.enforced]
    assert len(refused) == size - most


@pytest.mark.parametrize("word", [{"status": "draining"}, {"status": "down"}, {"weight": 0.0}])
def test_marks_that_the_registry_confirms_do_not_count(word):
    """A whole fleet may leave, one after the other, as the registry takes out what said so."""
    stage = Stage(*ids(6))
    gone: list[str] = []
    for name in ids(5):
        stage.on(name, leaving())
        assert stage.view(name).state == "offline"
        gone.append(name)
        stage.list(*nodes(*gone, **word), *(set(ids(6)) - set(gone)))
    assert stage.picked() == {"n5"}


@pytest.mark.parametrize("word", [{"status": "draining"}, {"status": "down"}, {"weight": 0.0}])
def test_a_mark_that_takes_no_room_gives_way_to_none(word):
    """The oldest that the registry does not confirm does, and what is confirmed stays marked.

    Such a mark was lifted for nothing: the other node was not left alone, and the first one was
    back as soon as the registry listed it again.
    """
    stage = Stage(*ids(4))
    for name in ("n0", "n1"):
        stage.on(name, leaving(ttl=60))
        stage.probed(name, alive=True)
        stage.list(*nodes("n0", **word), "n1", "n2", "n3")
        stage.clock.advance(3)
    stage.on("n2", leaving(ttl=60))
    assert stage.view("n2").state == "offline"
    assert stage.view("n1").state == "warming"
    stage.list(*ids(4))
    assert stage.view("n0").state == "offline"


@pytest.mark.parametrize("word", [{"status": "draining"}, {"status": "down"}, {"weight": 0.0}])
def test_a_node_that_is_kept_out_may_say_what_it_likes(word):
    """The registry has confirmed beforehand: such a mark needs no room under the cap."""
    stage = Stage(*ids(3))
    held = stage.lease("n0")
    stage.on("n1", leaving())
    stage.list(*nodes("n0", **word), "n1", "n2")
    stage.end(held, leaving())
    assert [one.enforced for one in stage.told if one.kind == "signal"] == [True, True]
    stage.list(*ids(3))
    assert stage.view("n0").state == "offline"


def test_the_last_usable_node_is_never_marked():
    """With the others ejected, the one that is left stays in use although it leaves."""
    stage = Stage(*ids(4))
    for name in ("n0", "n1", "n2"):
        stage.on(name, REFUSED)
        stage.probed(name, alive=False) if stage.view(name).state == "ejected" else None
    for name in ("n0", "n1", "n2"):
        stage.probed(name, alive=False)
    stage.on("n3", leaving())
    assert stage.view("n3").state == "available"


def test_a_mark_ends_early_with_a_new_generation():
    """The mark is of the process that said so: its successor is used at once."""
    stage = Stage(*nodes("a", "b", generation=1))
    stage.on("a", leaving())
    stage.list(*nodes("a", generation=2), *nodes("b", generation=1))
    assert stage.view("a").state == "warming"


def test_a_mark_survives_a_refresh_of_the_same_generation():
    """Any other change of the node leaves the mark alone."""
    stage = Stage(*nodes("a", "b", generation=1))
    stage.on("a", leaving())
    stage.list(*nodes("a", "b", generation=1, version="2"))
    assert stage.view("a").state == "offline"
    assert stage.view("a").node.version == "2"


def test_a_node_seen_down_and_then_up_is_back():
    """A restart on the same address ends the mark, whatever is left of its time."""
    stage = Stage(*ids(4))
    stage.on("n0", leaving())
    assert len(stage.probing) == 1
    assert stage.probed("n0", alive=True, answered=True) == pytest.approx(1)
    stage.clock.advance(2)
    assert stage.probed("n0", alive=True, answered=True) == pytest.approx(1)
    stage.clock.advance(2)
    assert stage.probed("n0", alive=False) == pytest.approx(1)
    assert stage.view("n0").state == "offline"
    stage.clock.advance(2)
    assert stage.probed("n0", alive=True, answered=True) is None
    view = stage.view("n0")
    assert (view.state, view.effective_weight) == ("warming", 0.1)
    assert stage.kinds("n0") == ["signal", "offline", "restored"]


def test_the_users_word_is_not_cut():
    """`max_ttl` bounds what a node says; what the user says stands, whatever the node adds."""
    stage = Stage(*ids(4), probes=False)
    early, late = stage.lease("n0"), stage.lease("n0")
    stage.service.mark_offline("n0", 300)
    assert stage.view("n0").until == 300
    stage.end(early, leaving())
    assert stage.view("n0").until == 300
    stage.clock.advance(290)
    assert stage.view("n0").state == "offline"
    stage.end(late, leaving())
    assert stage.view("n0").until == 30
    stage.service.mark_offline("n0", 5)
    stage.clock.advance(5)
    assert stage.view("n0").state == "warming"


def test_the_end_of_its_time_needs_a_good_probe():
    """After the ttl the node is still out, until a probe succeeds."""
    stage = Stage(*ids(4))
    stage.on("n0", leaving())
    stage.clock.advance(31)
    assert "n0" not in stage.picked()
    assert stage.view("n0").until is None
    assert "probe pending" in (stage.view("n0").reason or "")
    assert stage.probed("n0", alive=False) == math.inf
    assert stage.view("n0").state == "offline"
    assert stage.probed("n0", alive=True, answered=True) is None
    assert stage.view("n0").state == "warming"


def test_a_probe_that_comes_first_after_the_end_of_its_time_ends_it():
    """No call needs to pass for time to be noticed: the probe itself moves the clock."""
    stage = Stage(*ids(4))
    stage.on("n0", leaving())
    stage.clock.advance(30)
    assert stage.probed("n0", alive=True, answered=True) is None
    assert stage.view("n0").state == "warming"


def test_without_probes_a_mark_ends_by_itself():
    """Where nodes cannot be probed, the time is all there is; slow start follows."""
    stage = Stage(*ids(4), probes=False)
    stage.on("n0", leaving(ttl=10))
    stage.clock.advance(9.9)
    assert "n0" not in stage.picked()
    stage.clock.advance(0.2)
    assert stage.view("n0").state == "warming"
    assert stage.kinds("n0")[-1] == "restored"


def test_a_mark_that_has_run_out_ends_whatever_is_marked_next():
    """The end of a mark is not lost when another node is marked before time was looked at."""
    stage = Stage(*ids(6), probes=False)
    held = stage.lease("n1")
    stage.on("n0", leaving(ttl=1))
    stage.clock.advance(2)
    stage.end(held, leaving(ttl=100))
    assert stage.states()["n0"] == "warming"
    assert stage.view("n1").until == 100


@pytest.mark.parametrize(("ttl", "lives"), [(None, 30), (5, 5), (1000, 120)])
def test_the_time_that_a_signal_asks_for(ttl, lives):
    """30 s unless the node says otherwise, and at most 120 s."""
    stage = Stage(*ids(3))
    stage.on("n0", leaving(ttl))
    assert stage.view("n0").until == lives


@pytest.mark.parametrize(("ttl", "lives"), [(7, 7), (3600, 60)])
def test_retry_after_is_followed_for_a_minute_at_most(ttl, lives):
    """503 with Retry-After keeps the node out for that long, up to 60 s, and needs no probe."""
    stage = Stage(*ids(4))
    stage.on("n0", leaving(ttl, "retry-after", verdict=SICK))
    assert stage.view("n0").until == lives
    assert stage.probing == []
    stage.clock.advance(lives + 0.1)
    assert stage.view("n0").state == "warming"


def test_every_signal_renews_the_mark():
    """The last word counts, and renewing it is no new event."""
    stage = Stage(*ids(3))
    held = [stage.lease("n0") for _ in range(3)]
    stage.end(held[0], leaving())
    stage.clock.advance(20)
    stage.end(held[1], leaving())
    assert stage.view("n0").until == 30
    stage.end(held[2], leaving(ttl=3))
    assert stage.view("n0").until == 3
    assert stage.kinds("n0") == ["signal", "offline"]


def test_retry_after_does_not_shorten_a_leaving_nodes_mark():
    """A node that leaves is not back in a second because its last answer is a 503."""
    stage = Stage(*ids(3))
    held = stage.lease("n0")
    stage.on("n0", leaving())
    stage.end(held, leaving(1, "retry-after"))
    assert stage.view("n0").until == 30
    assert stage.view("n0").reason == "said by signal"


def test_a_signal_takes_the_place_of_retry_after():
    """A node that first asked for a pause and then leaves is treated as leaving."""
    stage = Stage(*ids(3))
    held = stage.lease("n0")
    stage.on("n0", leaving(1, "retry-after"))
    stage.end(held, leaving())
    assert stage.view("n0").until == 30
    assert len(stage.probing) == 1


def test_goaway_is_a_word_like_any_other():
    """A GOAWAY that broke a request takes the node off the list."""
    stage = Stage(*ids(3))
    stage.on("n0", leaving(source="goaway", verdict=cancelled()))
    assert stage.view("n0").state == "offline"


def test_being_seen_down_outlives_a_renewal():
    """A late answer of the old process does not hide that it has stopped since."""
    stage = Stage(*ids(3))
    held = stage.lease("n0")
    stage.on("n0", leaving())
    stage.probed("n0", alive=False)
    stage.end(held, leaving())
    assert stage.probed("n0", alive=True) is None


def test_a_node_that_is_offline_and_ejected_needs_both_to_end():
    """The end of the mark leaves the ejection in force, and the other way round."""
    stage = Stage(*ids(4), probes=False, slow_start=SlowStart(window=0))
    held = [stage.lease("n0") for _ in range(6)]
    stage.end(held[0], leaving(ttl=1))
    for lease in held[1:]:
        stage.end(lease, SICK)
    assert stage.view("n0").state == "ejected"
    stage.clock.advance(1)
    assert stage.view("n0").state == "ejected"
    stage.clock.advance(6)
    assert stage.call(GOOD) == "n0"
    assert stage.view("n0").state == "available"


def test_a_probe_that_works_ends_mark_and_ejection_together():
    """A node that left, died and is up again comes back once, not twice."""
    stage = Stage(*ids(4))
    held = stage.lease("n0")
    stage.on("n0", leaving())
    stage.end(held, REFUSED)
    assert stage.view("n0").state == "ejected"
    stage.probed("n0", alive=False)
    assert stage.probed("n0", alive=True, answered=True) is None
    assert stage.view("n0").state == "warming"
    assert stage.kinds("n0").count("restored") == 1


def test_a_judged_node_that_dies_comes_back_by_probe():
    """Ejected for failures, leaving, seen down, up again: that is a new process, no trial."""
    stage = Stage(*ids(4))
    held = stage.lease("n0")
    stage.on("n0", SICK, 5)
    stage.end(held, leaving())
    stage.probed("n0", alive=False)
    assert stage.probed("n0", alive=True, answered=True) is None
    assert stage.view("n0").state == "warming"


def test_the_users_word():
    """`mark_offline` and `mark_online` take an id or an address, and no cap holds them back."""
    stage = Stage("a", "b")
    stage.service.mark_offline("a", 10)
    stage.service.mark_offline("b", None)
    assert stage.states() == {"a": "offline", "b": "offline"}
    assert stage.view("a").until == 10
    assert stage.view("a").reason == "marked by the caller"
    stage.service.mark_online("b")
    assert stage.picked() == {"b"}
    with pytest.raises(ValueError, match="service 'orders' has no node 'c'; it has"):
        stage.service.mark_offline("c", None)


def test_no_other_node_ends_a_mark_of_the_user():
    """It is the oldest, and its node answers: it gives way once the user's time is over.

    The node was back in use as soon as another one said that it leaves.
    """
    stage = Stage(*ids(3))
    held = stage.lease("n0")
    stage.service.mark_offline("n0", 10)
    stage.end(held, leaving(ttl=60))
    stage.probed("n0", alive=True)
    stage.clock.advance(9)
    stage.on("n1", leaving())
    assert stage.states() == {"n0": "offline", "n1": "available", "n2": "available"}
    stage.clock.advance(3)
    stage.on("n1", leaving())
    assert stage.states() == {"n0": "warming", "n1": "offline", "n2": "available"}


def test_what_several_nodes_say_ends_no_mark_of_the_user():
    """The user has marked a node that then says what others say, too, and that is of no node."""
    stage = Stage(*ids(3))
    held = stage.lease("n0")
    stage.service.mark_offline("n0", 60)
    stage.end(held, leaving(named=False))
    stage.on("n1", leaving(named=False))
    assert stage.states() == {"n0": "offline", "n1": "available", "n2": "available"}


@pytest.mark.parametrize("ttl", [0, -1, math.nan, math.inf, "soon"])
def test_a_wrong_ttl_is_refused(ttl):
    """A ttl that is no time above 0 is refused and nothing is marked."""
    stage = Stage("a", "b")
    with pytest.raises(ValueError, match="ttl must be seconds above 0"):
        stage.service.mark_offline("a", ttl)
    assert stage.states()["a"] == "available"


def test_shadow_mode_counts_and_marks_nothing():
    """`enforce=False` tells of the signals and follows none."""
    stage = Stage(*ids(3), offline=OfflinePolicy(enforce=False))
    stage.on("n0", leaving())
    assert stage.view("n0").state == "available"
    assert [one.enforced for one in stage.told if one.kind == "signal"] == [False]
