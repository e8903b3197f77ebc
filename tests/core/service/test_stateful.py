"""The live list under any sequence of events: what must hold whatever happens."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rpcguard import Node
from rpcguard._core.policies.incidents import ALL_ON, Switches
from rpcguard._core.policies.routing import Route, Routing
from rpcguard._core.policies.zone import ZonePolicy
from rpcguard._core.service.stages import units_of
from tests.support.stage import GOOD, NOT_FOUND, REFUSED, SICK, Stage, cancelled, leaving

NAMES = ["a", "b", "c", "d", "e", "f"]
UNSEEN = ("down in the registry", "left out of the last snapshot, which is doubted")
"""Reasons of nodes that nothing but the registry's word keeps out."""
ENDS = {
    "good": GOOD,
    "not found": NOT_FOUND,
    "sick": SICK,
    "refused": REFUSED,
    "cancelled": cancelled(),
    "leaving": leaving(),
    "pause": leaving(3, "retry-after", verdict=SICK),
    "foreign": leaving(source="foreign"),
}

node = st.builds(
    lambda name, weight, status, priority, generation, version: Node(
        "10.0.0.1",
        80,
        id=name,
        weight=weight,
        status=status,
        priority=priority,
        generation=generation,
        version=version,
        zone=version,
    ),
    st.sampled_from(NAMES),
    st.sampled_from([1.0, 1.0, 1.0, 0.0, 4.0, 0.3, 1e-9, 1e12]),
    st.sampled_from(["up", "up", "up", "up", "draining", "down"]),
    st.sampled_from([0, 0, 0, 1]),
    st.sampled_from([1, 1, 1, 2]),
    st.sampled_from(["1", "2"]),
)

RULES = {
    "none": [],
    "old": [Route("old", to={"version": "1"})],
    "new": [Route("new", to={"version": "2"}, share=0.3), Route("one", to={"id": ["a", "b"]})],
}


def _dead(live) -> bool:
    return live.health == "dead" or live.word == "down"


class LiveList(RuleBasedStateMachine):
    """Call, fail, cancel, mark, probe, reconcile and let time pass in any order."""

    @initialize(probes=st.booleans(), seed=st.integers(0, 3), zone=st.sampled_from([None, "1"]))
    def begin(self, probes, seed, zone):
        routing = Routing(source="file:///rules.json")
        self.stage = Stage(probes=probes, seed=seed, routing=routing, zone=ZonePolicy(zone=zone))
        self.held = []

    @rule(name=st.sampled_from(sorted(RULES)))
    def go_by(self, name):
        self.stage.service.go_by(RULES[name])

    @rule(out=st.sets(st.sampled_from(NAMES), max_size=3))
    def switch(self, out):
        self.stage.service.switch(Switches(out=frozenset(out)))

    @rule(listed=st.lists(node, max_size=8), authoritative=st.sampled_from([True, True, False]))
    def reconcile(self, listed, authoritative):
        before = {view.node.id: view for view in self.stage.service.nodes()}
        self.stage.list(*listed, authoritative=authoritative)
        for view in self.stage.service.nodes():
            old = before.get(view.node.id)
            if old is not None and old.node.generation == view.node.generation:
                assert view.successes == old.successes
                assert view.failures == old.failures
                assert view.in_flight == old.in_flight
                if old.state in ("ejected", "offline") and old.reason not in UNSEEN:
                    assert view.state in (old.state, "draining")

    @rule(repeatable=st.booleans())
    def pick(self, repeatable):
        states, usable = self.stage.states(), self.usable()
        lease = self.stage.service.pick(repeatable=repeatable)
        views = self.stage.service.nodes()
        if lease is None:
            assert not [view for view in views if view.weight]
            return
        name = lease.live.node.id
        assert lease.live.node.weight
        if states[name] == "draining":
            dead = {one.node.id for one in self.stage.service._roster.nodes.values() if _dead(one)}
            others = {view.node.id for view in views if view.state != "draining"}
            assert others <= dead
        elif name not in usable:
            trial = lease.proof and states[name] in ("ejected", "warming")
            assert trial or not usable
        self.held.append(lease)

    def usable(self) -> set[str]:
        """Give the nodes that any call may go to: not those that wait for their first answer."""
        return {
            view.node.id
            for view in self.stage.service.nodes()
            if view.state in ("available", "warming") and view.effective_weight
        }

    @precondition(lambda self: self.held)
    @rule(data=st.data(), end=st.sampled_from(sorted(ENDS)), same_node=st.booleans())
    def pick_again(self, data, end, same_node):
        lease = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        self.stage.end(lease, ENDS[end])
        following = self.stage.service.pick_again((lease.live,), same_node=same_node)
        if not isinstance(following, str):
            assert same_node or following.live is not lease.live
            self.held.append(following)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), end=st.sampled_from(sorted(ENDS)), body=st.booleans())
    def end(self, data, end, body):
        lease = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        self.end_within_the_cap(lease, ENDS[end], body=body)

    def end_within_the_cap(self, lease, verdict, *, body=False):
        judged, marked = self.count_out()
        self.stage.service.settle(lease, verdict)
        if body:
            self.stage.service.fail_body(lease, SICK)
        self.stage.service.release(lease)
        roster = self.stage.service._roster
        judged_now, marked_now = self.count_out()
        dead = len(roster.blacklist) - judged_now
        assert judged_now <= max(judged, (roster.judged - dead) // 2, 1)
        assert marked_now <= max(marked, roster.serving // 2, 1)

    def count_out(self):
        roster = self.stage.service._roster
        ejections = [roster.blacklist.get(live) for live in roster.nodes.values()]
        judged = sum(one is not None and one.live.health != "dead" for one in ejections)
        return judged, sum(roster.serves(mark.live) for mark in roster.marks)

    @rule(name=st.sampled_from(NAMES), end=st.sampled_from(sorted(ENDS)))
    def many_ends_on_one_node(self, name, end):
        leases = [self.stage.service.pick(repeatable=True) for _ in range(40)]
        for lease in leases:
            if lease is not None:
                verdict = ENDS[end] if lease.live.node.id == name else cancelled()
                self.end_within_the_cap(lease, verdict)

    @rule(seconds=st.sampled_from([0.01, 1.0, 4.0, 11.0, 31.0, 70.0, 400.0]))
    def let_time_pass(self, seconds):
        self.stage.clock.advance(seconds)

    @precondition(lambda self: any(live.probing for live in self.stage.probing))
    @rule(data=st.data(), alive=st.booleans())
    def probe(self, data, alive):
        probing = [live for live in self.stage.probing if live.probing]
        live = data.draw(st.sampled_from(probing))
        self.stage.service.probed(live, alive=alive)

    @precondition(lambda self: self.stage.listed())
    @rule(data=st.data(), online=st.booleans())
    def users_word(self, data, online):
        name = data.draw(st.sampled_from(sorted(self.stage.listed())))
        if online:
            self.stage.service.mark_online(name)
            assert self.stage.states()[name] in ("available", "warming", "draining", "ejected")
        else:
            self.stage.service.mark_offline(name, 5)

    @invariant()
    def in_flight_is_what_is_held(self):
        held = [lease.live for lease in self.held]
        assert all(live.in_flight == held.count(live) for live in held)
        assert sum(view.in_flight for view in self.stage.service.nodes()) <= len(held)
        assert all(view.in_flight >= 0 for view in self.stage.service.nodes())

    @invariant()
    def the_books_agree(self):
        service = self.stage.service
        roster = service._roster
        eligible = self.usable()
        assert eligible == {live.node.id for live in roster.nodes.values() if live.in_pool}
        assert roster.eligible == len(eligible)
        assert set(roster.out) == set(roster.nodes.values()) - {
            live for live in roster.nodes.values() if live.in_pool
        }
        assert len(roster.pools) == len(eligible)
        assert all(0.1 <= live.ramp <= 1.0 for live in roster.nodes.values())
        for live in roster.nodes.values():
            ejection, mark = roster.blacklist.get(live), roster.marks.get(live)
            assert not live.gone
            if ejection is not None and ejection.connect:
                assert live.probing
            if mark is not None and mark.proof:
                assert live.probing
            if live.trial:
                assert ejection is not None

    @invariant()
    def what_is_weighed_is_there(self):
        roster = self.stage.service._roster
        pools, weighed = roster.pools, Counter()
        for live, pool in pools._places.items():
            offered = live.node.status != "draining" and live.weight > 0.0
            assert pool.key == pools._key_of(live.node, doubted=live.doubted_at is not None)
            for part in (pool, pool.cell):
                weighed[part, "listed"] += offered
                weighed[part, "_listed_units"] += offered * units_of(live.weight)
                weighed[part, "units"] += live.in_pool * units_of(live.weight)
        assert set(pools._places) == set(roster.nodes.values())
        assert set(pools._pools.values()) == set(pools._places.values())
        for part in (*pools._pools.values(), *pools.cells.values()):
            for name in ("listed", "_listed_units", "units"):
                assert getattr(part, name) == weighed[part, name], name
        assert roster.serving == sum(
            live.node.status == "up" and live.weight > 0.0 and not roster._is_taken_out(live.node)
            for live in roster.nodes.values()
        )

    @invariant()
    def what_leaves_is_retired_once_and_idle(self):
        retired = self.stage.retired
        assert all(live.gone and not live.in_flight for live in retired)
        assert len({id(live) for live in retired}) == len(retired)

    def teardown(self):
        while self.held:
            self.stage.end(self.held.pop())
        assert all(view.in_flight == 0 for view in self.stage.service.nodes())
        self.stage.service.switch(ALL_ON)
        self.stage.clock.advance(1000)
        for _ in range(3):
            for live in self.stage.probing:
                if live.probing:
                    self.stage.service.probed(live, alive=True)
            for _ in range(60):
                lease = self.stage.service.pick(repeatable=True)
                if lease is not None:
                    self.stage.end(lease)
        serving = {
            live.node.id
            for live in self.stage.service._roster.nodes.values()
            if live.node.status == "up" and live.weight
        }
        states = self.stage.states()
        assert {states[name] for name in serving} <= {"available", "warming"}


TestLiveList = LiveList.TestCase
TestLiveList.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
