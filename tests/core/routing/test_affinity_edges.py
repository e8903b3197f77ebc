"""Calls of one key while nodes are out, cold or tried out: nobody is stuck, nobody is split."""

from __future__ import annotations

import httpx
import pytest

from rpcguard import Affinity, EjectionPolicy, Node, Route, Routing, SlowStart, ZonePolicy
from rpcguard._core.balancing.rendezvous import distance, hash_of, seed_of
from rpcguard._core.nodes.live import Lease
from rpcguard._core.routing.facts import Facts
from tests.support.stage import GOOD, NOT_FOUND, SICK, STALE, Stage, cancelled, ids, nodes

KEYS = [f"user:{number}" for number in range(600)]
WARM = SlowStart(window=0.0)


def staged(*listed: str | Node, **options: object) -> Stage:
    """Make a service whose calls may have a key, and whose nodes no probe brings back."""
    options.setdefault("slow_start", WARM)
    return Stage(*listed, affinity=Affinity(), probes=False, **options)  # type: ignore[arg-type]


def keyed(stage: Stage, key: str, **headers: str) -> Lease:
    """Pick a node for a call with a key."""
    return stage.pick(ask=stage.keyed(key, **headers))


def key_of(stage: Stage, node: str, **headers: str) -> str:
    """Find a key whose home is a node."""
    for key in KEYS:
        lease = keyed(stage, key, **headers)
        if stage.end(lease, cancelled()) == node:
            return key
    raise AssertionError(node)


def test_a_trial_with_a_key_settles_what_a_node_is_out_for() -> None:
    """A node that is out for its 404s gets a trial now and then, not each call of a session."""
    stage = staged(*ids(4))
    key = key_of(stage, "n1")
    while stage.states()["n1"] != "ejected":
        lease = stage.pick()
        stage.clock.advance(0.01)
        stage.end(lease, NOT_FOUND if lease.live.node.id == "n1" else GOOD)
    met = 0
    for _ in range(600):
        stage.clock.advance(1.0)
        lease = keyed(stage, key)
        met += lease.live.node.id == "n1"
        stage.end(lease, NOT_FOUND if lease.live.node.id == "n1" else GOOD)
    assert 0 < met < 20


def test_a_standby_comes_back_by_calls_with_a_key() -> None:
    """It is the home of no key, but where keys would go if it were well."""
    stage = staged(*nodes("a", status="down"), *nodes("c", "d", priority=1))
    key = key_of(stage, "c")
    while stage.states()["c"] != "ejected":
        stage.end(keyed(stage, key), SICK)
    for number in range(200):
        stage.clock.advance(1.0)
        stage.end(keyed(stage, KEYS[number]))
    assert stage.states()["c"] == "available"


@pytest.mark.parametrize("zone", [None, ZonePolicy(zone="z", strict=True)], ids=["level", "zone"])
def test_where_all_are_cold_sessions_stay_whole(zone: ZonePolicy | None) -> None:
    """Two calls of one session at once meet, and none moves as the ramps go up."""
    far = nodes("c", "d", "e", zone="y", priority=0 if zone else 1)
    stage = staged(*far, zone=zone or ZonePolicy(), slow_start=SlowStart())
    stage.clock.advance(300.0)
    stage.end(keyed(stage, "early"))
    stage.list(*nodes("a", "b", zone="z"), *far)
    first: dict[str, str] = {}
    for _ in range(14):
        stage.clock.advance(10.0)
        for key in KEYS[:60]:
            leases = [keyed(stage, key), keyed(stage, key)]
            assert leases[0].live is leases[1].live
            went = {stage.end(lease, cancelled()) for lease in leases}
            assert went == {first.setdefault(key, min(went))} < {"a", "b"}


def test_in_panic_and_on_the_last_node_once_more_a_call_still_has_its_key() -> None:
    """It counts as one with a key, and what it answers is no sign of a broken node."""
    stage = staged("a", "b")
    for name in "ab":
        stage.service.mark_offline(name, 30.0)
    assert keyed(stage, "k").keyed in {"home", "moved"}
    assert stage.service.explain()[-1].panic
    stage = staged("a")
    ask = stage.keyed("k")
    lease = stage.pick(ask=ask)
    stage.end(lease, STALE)
    again = stage.service.pick_again((lease.live,), same_node=True, ask=ask)
    assert isinstance(again, Lease)
    assert again.keyed == "home"


def test_a_trial_is_told_with_its_own_group() -> None:
    """Not with that of the pick before."""
    rules = [Route("new", when={"header.x-new": "1"}, to={"version": "2"})]
    listed = [*nodes("a", "b", version="1"), *nodes("c", "d", version="2")]
    stage = staged(*listed, routing=Routing(rules=rules))
    key = key_of(stage, "c", **{"x-new": "1"})
    while stage.states()["c"] != "ejected":
        stage.end(keyed(stage, key, **{"x-new": "1"}), SICK)
    stage.clock.advance(6.0)
    stage.end(keyed(stage, "other"))
    lease = keyed(stage, key, **{"x-new": "1"})
    assert lease.live.node.id == "c"
    assert lease.on_trial
    assert lease.routed is not None
    assert lease.routed.group == "new"


def test_a_key_that_is_a_nodes_id_may_live_there() -> None:
    """Equal hashes are not the greatest distance."""
    names = [f"node:{number}" for number in range(200)]
    seeds, keys = [seed_of(name) for name in names], [hash_of(name) for name in names]
    nearest = sum(
        min(seeds[at : at + 4], key=lambda seed: distance(seed, keys[at], 1.0)) == seeds[at]
        for at in range(196)
    )
    assert 25 <= nearest <= 75  # a quarter of 196


@pytest.mark.parametrize(
    ("given", "fact", "value"),
    [
        ([("cookie", "a=1"), ("cookie", "sid=s7")], "cookie.sid", "s7"),
        ([("cookie", "sid=s7"), ("cookie", "a=1")], "cookie.sid", "s7"),
        ([("x-s", "  ")], "header.x-s", ""),
        ([("x-s", ""), ("x-s", "")], "header.x-s", ""),
        ([("x-s", " 42 ")], "header.x-s", "42"),
        ([("x-s", "a"), ("x-s", "b")], "header.x-s", "a, b"),
        ([("x-s", "käse".encode())], "header.x-s", "käse"),
        ([("x-s", b"\xff")], "header.x-s", "ÿ"),
    ],
)
def test_headers_are_read_as_they_are_meant(
    given: list[tuple[str, str | bytes]], fact: str, value: str
) -> None:
    """Crumbs of cookies, space around values, empty ones, and bytes that are UTF-8 or not."""
    request = httpx.Request("GET", "http://orders/", headers=given)  # type: ignore[arg-type]
    facts = Facts(request, mark=None, baggage=lambda _: None, options={})
    assert facts.get(fact) == value


def test_a_key_of_bytes_is_that_of_its_text_for_shares_too() -> None:
    """Both are one session, whoever looks at it."""
    request = httpx.Request("GET", "http://orders/")
    told = [
        Facts(request, mark=None, baggage=lambda _: None, options={"key": key}).get("key")
        for key in ("käse", "käse".encode())
    ]
    assert told == ["käse", "käse"]


def test_another_node_is_preferred_to_the_same_again() -> None:
    """Where both are as good, a call with a key that may go again goes on to the next node."""
    stage = staged(*ids(3))
    for key in KEYS[:20]:
        ask = stage.keyed(key)
        lease = stage.pick(ask=ask)
        again = stage.service.pick_again((lease.live,), same_node=True, ask=ask)
        assert isinstance(again, Lease)
        assert again.live is not lease.live
        for one in (lease, again):
            stage.end(one, cancelled())


def test_the_only_node_is_asked_again_for_a_key() -> None:
    """Where nothing but one address is there, its keys are at home there the second time too."""
    stage = staged("a")
    stage.service.same_again = True
    ask = stage.keyed("k")
    lease = stage.pick(ask=ask)
    again = stage.service.pick_again((lease.live,), same_node=False, ask=ask)
    assert isinstance(again, Lease)
    assert (again.live, again.keyed) == (lease.live, "home")
    for one in (lease, again):
        stage.end(one, cancelled())


def test_a_node_whose_connection_ended_goes_before_one_that_is_out() -> None:
    """For a call with a key as for every other."""
    stage = staged("a", "b", ejection=EjectionPolicy(jitter=0))
    key = key_of(stage, "a")
    for _ in range(5):
        stage.on("b", SICK)
    assert stage.states()["b"] == "ejected"
    ask = stage.keyed(key)
    lease = stage.pick(ask=ask)
    stage.end(lease, STALE)
    again = stage.service.pick_again((lease.live,), same_node=True, ask=ask)
    assert isinstance(again, Lease)
    assert again.live is lease.live
    stage.end(again)


def test_a_call_with_a_key_amid_another_ones_pick() -> None:
    """A finalizer's: where no lanes are there is nothing to choose by but load."""
    stage = staged("a", "b")
    leases = [stage.service._alone(lambda: keyed(stage, "k")) for _ in range(2)]
    assert {lease.live.node.id for lease in leases} == {"a", "b"}
    for lease in leases:
        stage.end(lease)


def test_every_panic_of_calls_with_keys_is_told() -> None:
    """One that is over is over for them too: the next is told again."""
    stage = staged("a")
    for _ in range(2):
        stage.service.mark_offline("a", 30.0)
        stage.end(keyed(stage, "k"))
        stage.end(keyed(stage, "k"))
        stage.service.mark_online("a")
        stage.end(keyed(stage, "k"))
    assert stage.kinds().count("panic") == 2
