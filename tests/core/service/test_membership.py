"""Reconcile and the shrink guard: what a snapshot may change, and when it is believed."""

from __future__ import annotations

import pytest

from rpcguard import EjectionPolicy, MembershipPolicy, Node, Snapshot
from rpcguard._core.nodes.live import Lease
from rpcguard._core.service import listing
from rpcguard._core.service import reconcile as membership_module
from rpcguard._core.service.reconcile import compare
from tests.support.stage import (
    GOOD,
    NO_TLS,
    NOT_FOUND,
    REFUSED,
    SICK,
    Stage,
    ids,
    leaving,
    nodes,
)


def test_statistics_ejections_and_marks_survive_a_refresh():
    """A snapshot that changes weight and metadata of a node leaves what was learned of it."""
    stage = Stage(*ids(6))
    stage.on("n0", SICK, 5)
    stage.on("n1", leaving())
    stage.on("n2", GOOD, 3)
    held = stage.lease("n2")
    before = {name: stage.view(name) for name in ids(6)}
    assert stage.list(*nodes(*ids(6), weight=2.0, metadata={"rack": "b"})) is True
    for name in ids(6):
        after = stage.view(name)
        assert after.node.metadata == {"rack": "b"}
        assert after.weight == 2.0
        assert (after.state, after.until) == (before[name].state, before[name].until)
        assert (after.successes, after.failures) == (before[name].successes, before[name].failures)
        assert (after.in_flight, after.load) == (before[name].in_flight, before[name].load)
    assert stage.view("n0").state == "ejected"
    assert stage.view("n1").state == "offline"
    assert stage.view("n2").in_flight == 1
    stage.end(held)
    assert stage.view("n2").in_flight == 0


@pytest.mark.parametrize(
    "again",
    [Node("10.0.0.1", 80, id="n0", generation=2), Node("10.0.0.9", 80, id="n0", generation=1)],
    ids=["new generation", "new address"],
)
def test_a_node_that_registers_anew_starts_fresh(again):
    """A new generation or address of an id ends mark and ejection and forgets the statistics."""
    others = nodes("n1", "n2", "n3")
    stage = Stage(*nodes("n0", generation=1), *others)
    held = stage.lease("n0")
    stage.on("n0", SICK, 5)
    stage.service.mark_offline("n0", None)
    stage.list(again, *others)
    view = stage.view("n0")
    assert (view.state, view.failures, view.in_flight) == ("warming", 0, 0)
    assert view.node == again
    assert not stage.retired
    stage.end(held)
    assert [live.node.host for live in stage.retired] == ["10.0.0.1"]
    assert stage.view("n0").in_flight == 0


def test_ten_thousand_nodes_with_one_change():
    """One changed node in 10,000 changes that node and nothing else."""
    listed = [Node(f"10.0.{n >> 8}.{n & 255}", 80) for n in range(10_000)]
    stage = Stage(*listed)
    stage.calls(200)
    before = {view.node.id: view for view in stage.service.nodes()}
    fresh = [Node(one.host, one.port) for one in listed[:-1]]
    assert stage.list(*fresh, Node("10.9.9.9", 80)) is True
    after = {view.node.id: view for view in stage.service.nodes()}
    assert before.keys() - after.keys() == {listed[-1].id}
    assert after.keys() - before.keys() == {"10.9.9.9:80"}
    assert all(after[key] == before[key] for key in before.keys() & after.keys())
    assert stage.list(*fresh, Node("10.9.9.9", 80)) is False


def test_a_snapshot_that_only_adds_is_believed_whatever_it_says_of_the_rest():
    """A snapshot that is not authoritative adds and changes nodes, and removes none."""
    stage = Stage("a", "b", "c")
    assert stage.list("d", *nodes("a", weight=3.0), authoritative=False) is True
    assert stage.listed() == {"a", "b", "c", "d"}
    assert stage.view("a").weight == 3.0
    assert stage.view("b").reason is None


@pytest.mark.parametrize(
    ("listed", "left"),
    [(5, 2), (9, 4)],
    ids=["more than half", "one more than half"],
)
def test_a_list_that_shrinks_at_once_is_doubted(listed, left):
    """A snapshot without more than half of the list keeps the others, as the last resort."""
    stage = Stage(*ids(listed))
    assert stage.list(*ids(left)) is True
    assert stage.listed() == set(ids(listed))
    assert stage.picked() == set(ids(left))
    assert "doubted" in stage.kinds()
    view = stage.view(ids(listed)[-1])
    assert (view.state, view.until) == ("available", pytest.approx(60.0))
    assert "doubted" in (view.reason or "")
    for name in ids(left):
        stage.service.mark_offline(name, None)
    assert stage.picked() == set(ids(listed)[left:])


@pytest.mark.parametrize("listed", [1, 2, 4])
def test_on_the_word_of_an_empty_list_nodes_that_answer_stay(listed):
    """A registry that has lost everything, and repeats it, ends no call for an hour."""
    stage = Stage(*ids(listed))
    for _ in range(70):
        stage.list()
        stage.calls(10 * listed)
        stage.clock.advance(50)
    assert stage.listed() == set(ids(listed))
    for _ in range(3):
        stage.clock.advance(50)
        stage.service.pick(repeatable=True)
    assert stage.listed() == set()


def test_over_plain_http_a_node_that_is_not_heard_of_for_a_minute_goes():
    """Its address may be another's by now, so an empty list is believed of silent nodes."""
    stage = Stage(*ids(3))
    stage.list()
    stage.clock.advance(59)
    stage.on("n0", GOOD)
    stage.clock.advance(2)
    assert stage.listed() == {"n0"}
    stage.clock.advance(58)
    assert stage.listed() == set()


def test_over_tls_a_node_needs_no_proof_but_its_certificate():
    """A certificate shows with each connection whose answers these are."""
    stage = Stage(*nodes("a", scheme="https"), "b")
    stage.list()
    stage.clock.advance(61)
    assert stage.listed() == {"a"}
    stage = Stage("a", "b")
    stage.service.secure()
    stage.list()
    stage.clock.advance(3599)
    assert stage.listed() == {"a", "b"}
    stage.clock.advance(2)
    assert stage.listed() == set()


def test_leases_that_run_out_one_by_one_are_one_loss():
    """A registry that loses its nodes within a minute is doubted as if it lost them at once."""
    stage = Stage(*ids(10))
    for left in range(9, -1, -1):
        stage.clock.advance(5)
        stage.calls(20)
        stage.list(*ids(left))
    assert stage.listed() == {"n0", "n1", "n2", "n3", "n4"}
    assert stage.picked() == {"n0", "n1", "n2", "n3", "n4"}


def test_a_list_that_shrinks_slowly_is_believed():
    """What goes over minutes is a fleet that is made smaller."""
    stage = Stage(*ids(10))
    for left in range(9, 0, -1):
        stage.clock.advance(61)
        stage.list(*ids(left))
        assert stage.listed() == set(ids(left))


@pytest.mark.parametrize("surge", [0, 1, 10])
def test_a_release_that_replaces_every_node_is_no_loss(surge):
    """All ten nodes replaced in 50 s: the old ones get no call after they left."""
    old, new = ids(10), ids(10, "m")
    stage = Stage(*old)
    for at in range(10 + surge):
        stage.clock.advance(50 / (10 + surge))
        listed = [*old[max(at + 1 - surge, 0) :], *new[: at + 1]]
        stage.list(*listed)
        assert stage.listed() == set(listed)
    assert stage.listed() == set(new)


@pytest.mark.parametrize("end", [GOOD, leaving(), REFUSED], ids=["killed", "leaving", "refused"])
def test_a_release_leaves_no_gain_behind(end):
    """Whoever came in the place of a node that was known to leave makes up for no other loss."""
    old, new = ids(10), ids(10, "m")
    stage = Stage(*old)
    for at, name in enumerate(old):
        stage.on(name, end)
        stage.list(*old[at + 1 :], *new[:at])
        stage.list(*old[at + 1 :], *new[: at + 1])
    for left in range(9, -1, -1):
        stage.list(*new[:left])
    assert stage.listed() == set(new[:5])


def test_nodes_that_were_kept_are_no_gain_when_they_are_back():
    """After an hour of empty lists the same ten are listed, and then run out one by one."""
    stage = Stage(*ids(10))
    stage.service.secure()
    stage.list()
    stage.clock.advance(600)
    stage.list(*ids(10))
    for left in range(9, -1, -1):
        stage.list(*ids(left))
    assert stage.listed() == set(ids(5))


@pytest.mark.parametrize("gain", ["wiped", "struck off", "replaced", "scaled up"])
def test_nodes_that_came_make_up_for_no_later_loss(gain):
    """What was lost before them may count no more, and still no lease may run out for them.

    A list that was wiped and is whole again, nodes that had left before others came, or twenty that
    were two: nineteen ran out one by one, and the last node had all calls.
    """
    stage, come = Stage("a", "b"), ids(18)
    if gain in ("wiped", "struck off"):
        stage.list("a", "b", *come)
        stage.clock.advance(70)
        stage.list()
        stage.clock.advance(50 if gain == "wiped" else 90)
        assert (stage.listed() == set()) == (gain == "struck off")
    elif gain == "replaced":
        stage.list("a", "b", *nodes(*come, status="draining"))
        stage.list("a", "b")
        stage.clock.advance(30)
        come = ids(18, "m")
    left = ["a", "b", *come]
    stage.list(*left)
    stage.clock.advance(20 if gain == "wiped" else 35)
    while left:
        left.pop()
        stage.list(*left)
        stage.clock.advance(1)
    assert stage.listed() == {"a", "b", *come[:8]}


def test_one_release_at_once_is_no_loss():
    """A list of other nodes as many as before is believed."""
    stage = Stage(*ids(10))
    stage.list(*ids(10, "m"))
    assert stage.listed() == set(ids(10, "m"))


@pytest.mark.parametrize(("listed", "left"), [(4, 2), (5, 3), (2, 1)])
def test_a_list_that_shrinks_by_half_is_believed(listed, left):
    """A snapshot that drops half of the list or less is carried out at once."""
    stage = Stage(*ids(listed))
    stage.list(*ids(left))
    assert stage.listed() == set(ids(left))
    assert len(stage.retired) == listed - left


def test_the_last_usable_node_counts_as_the_whole_list():
    """Draining nodes do not hide that the one usable node is left out."""
    stage = Stage("a", *nodes("b", status="draining"))
    stage.list(*nodes("b", status="draining"))
    assert stage.picked() == {"a"}


def test_a_registry_that_repeats_itself_is_not_believed_sooner():
    """The hold counts from when each node left, however often the list is said to be short."""
    stage = Stage(*ids(4))
    stage.list("n0")
    for _ in range(5):
        stage.clock.advance(11)
        assert stage.list("n0") is False
    assert stage.listed() == set(ids(4))
    stage.clock.advance(5)
    assert stage.listed() == {"n0"}


def test_a_doubt_ends_after_the_hold_without_another_word():
    """Nodes that are left out are struck off after `shrink_hold`, asked again or not."""
    stage = Stage(*ids(4))
    stage.list("n0")
    stage.clock.advance(59.9)
    assert stage.picked() == {"n0"}
    assert stage.listed() == set(ids(4))
    stage.clock.advance(0.1)
    assert stage.picked() == {"n0"}
    assert stage.listed() == {"n0"}
    assert len(stage.retired) == 3


def test_a_node_that_the_registry_drained_goes_without_doubt():
    """Nodes drained by the registry before they are dropped are removed at once."""
    stage = Stage(*ids(4))
    stage.list("n0", *nodes("n1", "n2", "n3", status="draining"))
    assert stage.picked() == {"n0"}
    stage.list("n0")
    assert stage.listed() == {"n0"}


def test_a_node_that_said_that_it_leaves_goes_without_doubt():
    """A node whose own word and whose registry agree is removed at once, whoever else is not."""
    stage = Stage(*ids(3))
    stage.on("n0", leaving())
    stage.list()
    assert stage.listed() == {"n1", "n2"}


def test_one_failed_connect_ends_a_doubted_node_for_good():
    """A connection refused is the second word about a doubted node; one bad answer is not."""
    stage = Stage(*ids(5))
    held = [stage.lease("n2"), stage.lease("n3")]
    stage.list("n0", "n1")
    stage.end(held[0], SICK)
    assert "n2" in stage.listed()
    stage.end(held[1], REFUSED)
    assert stage.listed() == {"n0", "n1", "n2", "n4"}
    assert stage.probing == []
    assert [live.node.id for live in stage.retired] == ["n3"]


def test_with_an_empty_list_a_connection_refused_ends_a_node_too():
    """Nodes that answer stay, and one that does not is gone, as the registry says."""
    stage = Stage(*ids(4))
    stage.list()
    stage.on("n0", REFUSED)
    assert stage.listed() == {"n1", "n2", "n3"}
    stage.on("n1", NO_TLS)
    assert stage.listed() == {"n2", "n3"}
    stage.on("n2", SICK, 5)
    assert stage.states() == {"n2": "ejected", "n3": "available"}


def test_a_failed_probe_ends_a_doubted_node():
    """A node that is marked and left out goes with the first probe that finds it down."""
    stage = Stage(*ids(4))
    stage.list()
    stage.on("n0", leaving())
    stage.probed("n0", alive=False)
    assert stage.listed() == {"n1", "n2", "n3"}


def test_an_address_that_another_service_took_over_is_given_up():
    """A doubted node that answers 404 and never did is another's; one that always did is not."""
    stage = Stage(*ids(3))
    stage.on("n0", NOT_FOUND)
    stage.list()
    stage.on("n0", NOT_FOUND)
    assert stage.listed() == {"n0", "n1", "n2"}
    stage.on("n1", NOT_FOUND)
    assert stage.listed() == {"n0", "n2"}


def test_a_registry_that_calls_nearly_all_down_is_not_the_last_word():
    """A retry goes to a node that is down by the registry's word alone, rather than to none."""
    stage = Stage("a", "b", "c")
    stage.list("a", *nodes("b", "c", status="down"))
    assert stage.calls(20) == {"a": 20}
    first = stage.pick()
    second = stage.service.pick_again((first.live,))
    assert isinstance(second, Lease)
    assert second.live.node.id in {"b", "c"}
    third = stage.service.pick_again((first.live, second.live))
    assert isinstance(third, Lease)
    assert {lease.live.node.id for lease in (first, second, third)} == {"a", "b", "c"}


def test_a_node_that_is_dead_is_worse_than_one_that_is_called_down():
    """In panic a node that only the registry calls down goes before one that refused a probe."""
    stage = Stage(*nodes("a"), *nodes("b", status="down"))
    stage.on("a", REFUSED)
    stage.probed("a", alive=False)
    assert stage.pick().live.node.id == "b"


def test_a_doubted_node_that_is_listed_again_is_as_before():
    """A node that comes back into the list keeps what was learned; a later doubt starts anew."""
    stage = Stage(*ids(3))
    stage.on("n1", GOOD, 4)
    stage.list()
    stage.clock.advance(8)
    assert stage.list(*ids(3)) is True
    view = stage.view("n1")
    assert (view.state, view.reason, view.successes) == ("available", None, 4)
    stage.clock.advance(8)
    stage.list()
    stage.clock.advance(8)
    stage.list()
    assert stage.listed() == set(ids(3))


def test_a_doubted_node_that_registers_anew_starts_fresh():
    """A new generation of a doubted and marked node leaves nothing behind of the old one."""
    stage = Stage(*nodes("a", "b", generation=1), probes=False)
    stage.list()
    stage.service.mark_offline("a", 5)
    stage.list(*nodes("a", "b", generation=2))
    assert stage.states() == {"a": "warming", "b": "warming"}
    stage.clock.advance(10)
    assert stage.picked() == {"a", "b"}
    assert "restored" not in stage.kinds()


def test_a_service_stays_known_while_its_nodes_are_held():
    """A registry that forgets the service for a moment does not make it unknown, nor unmet ever."""
    stage = Stage("a", "b")
    stage.list(known=False)
    assert stage.service.known
    stage.clock.advance(61)
    assert stage.listed() == set()
    stage.list(known=False)
    assert not stage.service.known
    assert stage.service.met
    assert stage.service.ready
    assert not Stage(*[]).service.met


@pytest.mark.parametrize("fields", [{"status": "draining"}, {"weight": 0}])
def test_a_drained_node_finishes_what_it_has(fields):
    """Draining or weight 0: never picked, calls in flight end normally, and it may come back."""
    stage = Stage("a", "b")
    held = stage.lease("b")
    stage.list("a", *nodes("b", **fields))
    assert stage.picked() == {"a"}
    assert stage.view("b").state == "draining"
    assert stage.view("b").effective_weight == 0.0
    stage.end(held)
    assert stage.view("b").successes == 1
    stage.list("a", "b")
    assert stage.picked() == {"a", "b"}


@pytest.mark.parametrize("fields", [{"status": "draining"}, {"weight": 0.0}], ids=str)
def test_a_late_answer_of_a_drained_node_is_an_answer(fields):
    """A call that was under way as the node lost its weight may end later than is usual."""
    stage = Stage(*ids(2))
    stage.calls(100)
    held = stage.lease("n0")
    stage.list("n1", *nodes("n0", **fields))
    stage.clock.advance(0.019)
    stage.end(held)
    assert stage.view("n0").in_flight == 0


def test_a_draining_node_is_the_last_resort_before_failing():
    """With nothing else at all a node that still serves is used; one of weight 0 never is."""
    stage = Stage(*nodes("a", status="draining"), *nodes("b", weight=0))
    assert stage.picked() == {"a"}
    assert stage.view("a").reason == "drained by the registry"
    assert stage.view("b").reason == "weight 0"
    lease = stage.pick()
    assert stage.service.pick_again((lease.live,)) == "no_other_node"
    stage = Stage("a", *nodes("b", status="draining"))
    lease = stage.pick()
    assert stage.end(lease, SICK) == "a"
    assert stage.service.pick_again((lease.live,)) == "no_other_node"


def test_a_node_that_is_down_is_used_only_in_panic():
    """`status="down"` keeps a node out, but is no reason to fail when nothing else is left."""
    stage = Stage("a", *nodes("b", status="down"))
    assert stage.picked() == {"a"}
    assert stage.view("b").reason == "down in the registry"
    stage.list(*nodes("b", status="down"), *nodes("a", status="draining"))
    assert stage.picked() == {"b"}


def test_a_leaving_node_is_retired_once_idle():
    """What is kept for a node that left is given back at the end of its last call, not before."""
    stage = Stage("a", "b")
    held = [stage.lease("b"), stage.lease("b")]
    stage.list("a")
    assert stage.listed() == {"a"}
    stage.end(held[0])
    assert stage.retired == []
    stage.end(held[1], REFUSED)
    assert [live.node.id for live in stage.retired] == ["b"]
    assert stage.listed() == {"a"}


def test_a_lower_priority_comes_first_and_spills_over():
    """A level is used when every level before it has no eligible node, and only then."""
    first, second = nodes("a", "b", priority=0), nodes("c", priority=1)
    stage = Stage(*second, *first, *nodes("d", priority=5))
    assert stage.picked() == {"a", "b"}
    stage.service.mark_offline("a", None)
    assert stage.picked() == {"b"}
    stage.service.mark_offline("b", None)
    assert stage.picked() == {"c"}
    stage.service.mark_online("b")
    assert stage.picked() == {"b"}
    stage.list(*nodes("c", priority=0), *first, *nodes("d", priority=5))
    assert stage.picked() == {"b", "c"}


def test_a_retry_spills_over_to_the_next_priority():
    """An untried node of a later level is better than none."""
    stage = Stage(*nodes("a", priority=0), *nodes("b", priority=1))
    lease = stage.pick()
    assert stage.end(lease, SICK) == "a"
    again = stage.service.pick_again((lease.live,))
    assert not isinstance(again, str)
    assert stage.end(again) == "b"


def test_a_node_struck_off_while_the_snapshot_is_read_is_listed_again(monkeypatch):
    """Nothing breaks, and nothing is missing, when a node fails between the plan and its doing."""
    names = ids(40)
    stage = Stage(*names, ejection=EjectionPolicy(probe=False))
    held = [stage.lease(name) for name in names[20:24]]
    stage.list(*names[:10])

    def fail_meanwhile() -> None:
        while held:
            stage.end(held.pop(), REFUSED)

    monkeypatch.setattr(listing, "_let_others_run", fail_meanwhile)
    monkeypatch.setattr(membership_module, "_PAUSE_EVERY", 30)
    changed = [
        *nodes(*names[20:21], weight=2.0),
        *nodes(*names[21:22], generation="new"),
        *nodes(*names[22:23]),
    ]
    assert stage.list(*names[:20], *changed, *names[24:]) is True
    assert not held
    assert set(names) - stage.listed() == {names[23]}
    assert stage.view(names[20]).weight == 2.0


def test_a_removal_that_was_done_meanwhile_is_no_error(monkeypatch):
    """A planned removal or doubt of a node that is already gone is skipped."""
    names = ids(40)
    stage = Stage(*names)
    for name in names[20:25]:
        stage.service.mark_offline(name, None)
    stage.list(*names[:15])

    def fail_meanwhile() -> None:
        stage.clock.advance(61)
        stage.picked(1)

    monkeypatch.setattr(listing, "_let_others_run", fail_meanwhile)
    monkeypatch.setattr(membership_module, "_PAUSE_EVERY", 20)
    stage.list(*names[:14], *ids(20, "x"))
    assert stage.listed() == {*names[:14], *ids(20, "x")}


def test_two_runs_of_the_same_are_alike():
    """What is missing is asked after in the order of the list, not in that of memory."""
    stages = [Stage(*ids(8)) for _ in range(10)]
    for stage in stages:
        stage.list()
    assert [[live.node.id for live in stage.probing] for stage in stages] == [ids(8)] * 10


@pytest.mark.parametrize(("patience", "kept"), [(None, True), (5.0, False)])
def test_who_trusts_the_registry_more_waits_less(patience, kept):
    """With `confirm_after` a doubted node that is left out again is gone before the hold ends."""
    stage = Stage("a", "b", "c", "d", membership=MembershipPolicy(confirm_after=patience))
    stage.list("a")
    assert stage.listed() == {"a", "b", "c", "d"}
    stage.clock.advance(4.0)
    stage.list("a")
    assert stage.listed() == {"a", "b", "c", "d"}
    stage.clock.advance(1.0)
    stage.list("a")
    assert stage.listed() == ({"a", "b", "c", "d"} if kept else {"a"})


def test_an_empty_list_is_not_confirmed():
    """On the word of an empty list nodes stay for `empty_hold`, however often it is repeated."""
    stage = Stage("a", "b", membership=MembershipPolicy(confirm_after=1.0))
    for _ in range(3):
        stage.list()
        stage.clock.advance(2.0)
    assert stage.listed() == {"a", "b"}


def test_an_emptied_list_keeps_what_was_called_down_just_before():
    """A registry that loses sight of the nodes calls them down, and may then drop them all."""
    stage = Stage("a", *nodes("b", weight=0.0))
    stage.list(*nodes("a", status="down"), *nodes("b", weight=0.0))
    stage.list()
    assert stage.listed() == {"a"}
    assert stage.calls(1) == {"a": 1}
    stage.list(*nodes("c"))
    assert stage.calls(1) == {"c": 1}
    assert stage.listed() == {"a", "c"}
    stage.clock.advance(60)
    assert stage.listed() == {"c"}


@pytest.mark.parametrize("patience", [None, 5.0])
def test_an_emptied_list_that_fills_again_drops_nobody_at_once(patience):
    """The nodes register anew one by one: till then the others are the last resort."""
    stage = Stage(*ids(4), membership=MembershipPolicy(confirm_after=patience))
    for _ in range(6):
        stage.list()
        stage.calls(20)
        stage.clock.advance(50)
    stage.list("n0")
    stage.list("n0")
    assert stage.listed() == set(ids(4))
    assert stage.picked() == {"n0"}
    stage.list("n0", "n1")
    stage.on("n0", REFUSED)
    stage.on("n1", REFUSED)
    assert stage.picked() == {"n2", "n3"}
    stage.clock.advance(patience or 60.0)
    stage.list("n0", "n1")
    assert stage.listed() == {"n0", "n1"}


def test_a_list_that_fills_again_is_believed_of_silent_nodes():
    """As the empty one was: over plain HTTP, who has not answered for a minute goes."""
    stage = Stage(*ids(3))
    stage.list()
    stage.clock.advance(50)
    stage.list("n0")
    assert stage.probed("n1", alive=True, answered=True) == 20.0
    stage.clock.advance(11)
    assert stage.listed() == {"n0", "n1"}
    assert stage.probed("n1", alive=True, answered=True) == 20.0
    stage.clock.advance(49)
    assert stage.listed() == {"n0"}


def test_what_was_called_down_is_no_gain_when_it_is_back():
    """Its drop was no loss: else as many leases might run out one by one and nobody would doubt."""
    stage = Stage(*"abcd")
    stage.list(*nodes(*"abcd", status="down"))
    stage.list()
    stage.list(*"abcd")
    for left in ("abc", "ab", "a"):
        stage.list(*left)
    assert stage.listed() == {"a", "b"}


def test_an_emptied_list_drops_what_is_down_by_more_than_its_word():
    """A node that has said it leaves or that refuses goes, whatever the registry calls it."""
    stage = Stage("a", "b", "c")
    stage.on("a", leaving())
    stage.on("b", REFUSED)
    stage.list(*nodes("a", "b", "c", status="down"))
    stage.list()
    assert stage.listed() == {"c"}


def test_a_shorter_list_drops_what_was_called_down():
    """Only an empty list is doubted for nodes whose end was told; they are no loss either."""
    stage = Stage("a", "b", "c", "d")
    stage.list("a", *nodes("b", "c", "d", status="down"))
    stage.list("a")
    assert stage.listed() == {"a"}
    stage.list()
    stage.list("a", "e", "f")
    stage.list("a", "e")
    assert stage.listed() == {"a", "e"}


def test_what_a_snapshot_changes_is_news_once():
    """Only what no snapshot before has said is news."""
    stage = Stage("a", "b")
    current = stage.service._roster.nodes
    policy = MembershipPolicy()
    assert not compare(current, Snapshot(nodes("a", "b")), now=0.0, policy=policy)
    doubted = compare(current, Snapshot(), now=0.0, policy=policy)
    assert sorted(doubted.doubted) == ["a", "b"]
    assert (doubted.moves, doubted.emptied) == ((2, 0, 0), True)
    stage.list()
    assert not compare(current, Snapshot(), now=0.0, policy=policy, lately=[doubted.moves])
    again = compare(current, Snapshot(nodes("a")), now=0.0, policy=policy, lately=[doubted.moves])
    assert ([node.id for node in again.trusted], again.moves) == (["a"], (0, 0, 1))


def test_a_long_list_lets_others_run_meanwhile():
    """Comparing pauses now and then, for the listed nodes and for those that are missing."""
    policy, pauses = MembershipPolicy(), []
    listed = Snapshot([Node("10.0.0.1", 80, id=f"n{number}") for number in range(2000)])
    compare({}, listed, now=0.0, policy=policy, pause=lambda: pauses.append(1))
    assert len(pauses) == 3
    stage = Stage()
    stage.service.reconcile(listed)
    current = stage.service._roster.nodes
    compare(current, Snapshot(), now=0.0, policy=policy, pause=lambda: pauses.append(1))
    assert len(pauses) == 6


@pytest.mark.parametrize("host", ["localhost", "node-1", "10.0.0.300", ""])
def test_a_name_is_in_no_network(host):
    """Where only some networks are allowed, a node by name is not: it may lead anywhere."""
    allowed = MembershipPolicy(allowed_networks=["0.0.0.0/0", "::/0"])
    assert not allowed.admits(host)
    assert allowed.admits("10.0.0.1")
    assert MembershipPolicy().admits(host)
