"""Calls of one key go to one node, as long as that node can take them."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from rpcguard import Affinity, Node, Route, Routing, SlowStart, ZonePolicy
from rpcguard._core.balancing.rendezvous import hash_of
from rpcguard._core.nodes.peers import LEAST_LATENCY
from rpcguard._core.service.homes import HOME, MOVED
from tests.support.stage import GOOD, NOT_FOUND, REFUSED, Stage, ids, nodes

KEYS = [f"user:{number}" for number in range(600)]
COLD = SlowStart(window=0.0)


def staged(*listed: str | Node, affinity: Affinity | None = None, **options: object) -> Stage:
    """Make a service whose calls may have a key, and whose new nodes are warm at once."""
    options.setdefault("slow_start", COLD)
    return Stage(*listed, affinity=affinity or Affinity(), **options)  # type: ignore[arg-type]


def home(stage: Stage, key: str | bytes) -> str:
    """Make a call with a key; give the id of its node."""
    return stage.end(stage.pick(ask=stage.keyed(key)))


def homes(stage: Stage, keys: list[str] = KEYS) -> dict[str, str]:
    """Give the node of each key."""
    return {key: home(stage, key) for key in keys}


def moved(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """Give the keys that went elsewhere."""
    return {key for key in before if before[key] != after[key]}


def test_a_key_stays_on_its_node() -> None:
    """Each call of a key goes to the same node, in every process, and keys spread over all."""
    stage, other = staged(*ids(10)), staged(*reversed(ids(10)), seed=7)
    first = homes(stage)
    assert homes(stage) == first == homes(other)
    counts = Counter(first.values())
    assert len(counts) == 10
    assert max(counts.values()) <= 1.5 * len(KEYS) / 10
    told = stage.service.explain()[-1]
    assert told.why == HOME
    assert told.candidates == ((told.picked, LEAST_LATENCY),)  # of one without history


@pytest.mark.parametrize("count", [1, 4, 9, 30])
def test_a_node_that_joins_takes_only_its_part(count: int) -> None:
    """At most 1/N of the keys and a twentieth move, all to the new node; back as it goes."""
    stage = staged(*ids(count))
    before = homes(stage)
    stage.list(*ids(count + 1))
    after = homes(stage)
    gone = moved(before, after)
    assert 0 < len(gone) <= len(KEYS) * (1 / (count + 1) + 0.05)
    assert {after[key] for key in gone} == {f"n{count}"}
    stage.list(*ids(count))
    assert homes(stage) == before


def test_a_restart_at_a_new_address_moves_no_key() -> None:
    """What counts is the id: the same nodes at other addresses have the same keys."""
    stage = staged(*nodes(*ids(5)))
    before = homes(stage)
    stage.list(*(Node("10.9.9.9", 99, id=one, generation=2) for one in ids(5)))
    assert homes(stage) == before


def test_keys_are_spread_by_weight() -> None:
    """A node of three times the weight has three times the keys."""
    stage = staged(*nodes("a", "b"), *nodes("c", weight=3.0))
    counts = Counter(homes(stage).values())
    assert 0.5 < counts["c"] / len(KEYS) < 0.7
    assert 0.12 < counts["a"] / len(KEYS) < 0.28


@pytest.mark.parametrize("busy", [1, 2, 100])
def test_a_node_has_no_more_than_its_part(busy: int) -> None:
    """With so many calls in flight of one key no node exceeds the bound, and the floor holds."""
    stage = staged(*ids(5))
    leases = [stage.pick(ask=stage.keyed("hot")) for _ in range(busy)]
    counts = Counter(lease.live.node.id for lease in leases)
    assert max(counts.values()) <= max(2, math.ceil(1.5 * busy / 5))
    if busy <= 2:
        assert len(counts) == 1
    else:
        assert leases[-1].keyed == "moved"
        assert stage.service.explain()[-1].why == MOVED


def test_a_hot_key_disturbs_few_others() -> None:
    """While one key has its node full, only keys of nodes that are full go elsewhere."""
    stage = staged(*ids(20))
    before = homes(stage)
    leases = [stage.pick(ask=stage.keyed("hot")) for _ in range(30)]
    full = {lease.live.node.id for lease in leases}
    assert 1 < len(full) < 20
    assert {before[key] for key in moved(before, homes(stage))} <= full


def test_bounds_that_nobody_meets_choose_the_least_busy() -> None:
    """A bound of the mean itself leaves no room where all are equally busy: no call is lost."""
    stage = staged(*ids(3), affinity=Affinity(balance=1.0, least=1))
    leases = [stage.pick(ask=stage.keyed("hot")) for _ in range(9)]
    assert set(Counter(lease.live.node.id for lease in leases).values()) == {3}


def test_keys_come_home_after_an_ejection() -> None:
    """An ejected node's keys go elsewhere, those of others stay, and all come home with it."""
    stage = staged(*ids(4))
    before = homes(stage)
    lease = stage.pick(ask=stage.keyed(KEYS[0]))
    out = stage.end(lease, REFUSED)
    assert stage.states()[out] == "ejected"
    after = homes(stage)
    assert moved(before, after) == {key for key in KEYS if before[key] == out}
    stage.service.mark_online(out)
    assert homes(stage) == before


def test_a_trial_is_made_by_a_key_of_the_node() -> None:
    """When an ejected node is due, keys of other nodes stay where they are."""
    stage = staged(*ids(3), probes=False)
    before = homes(stage)
    out = before[KEYS[0]]
    stage.end(stage.pick(ask=stage.keyed(KEYS[0])), REFUSED)
    stage.clock.advance(60.0)
    others = [key for key in KEYS if before[key] != out]
    assert not moved({key: before[key] for key in others}, homes(stage, others))
    assert stage.states()[out] == "ejected"
    lease = stage.pick(ask=stage.keyed(KEYS[0]))
    assert lease.live.node.id == out
    assert lease.on_trial
    stage.end(lease, GOOD)
    assert homes(stage) == before


def test_a_key_finds_its_node_behind_many_that_are_out() -> None:
    """With most nodes out each key goes where it would go if only the others were listed."""
    left = staged("n3", "n9", "n27")
    stage = staged(*ids(30), *nodes("standby", priority=1))
    homes(stage)
    for name in set(ids(30)) - {"n3", "n9", "n27"}:
        stage.service.mark_offline(name, 30.0)
    assert homes(stage) == homes(left)


def test_what_is_remembered_of_keys_changes_nothing() -> None:
    """After thousands of other keys, and after a change of weight, a key is where the hash says."""
    stage, fresh = staged(*ids(4)), staged(*nodes("n0", weight=4.0), *ids(4)[1:])
    before = homes(stage)
    homes(stage, [f"other-{number}" for number in range(5000)])
    assert homes(stage) == before
    stage.list(*nodes("n0", weight=4.0), *ids(4)[1:])
    assert homes(stage) == homes(fresh) != before


def test_of_two_trials_that_are_due_a_key_makes_its_own() -> None:
    """Whichever node was ejected first: a key never goes to one that is not its home."""
    stage = staged(*ids(4), probes=False)
    before = homes(stage)
    one_each = {node: key for key, node in before.items()}
    for name in ("n0", "n1"):
        stage.end(stage.pick(ask=stage.keyed(one_each[name])), REFUSED)
    stage.clock.advance(60.0)
    for name in ("n1", "n0"):
        lease = stage.pick(ask=stage.keyed(one_each[name]))
        assert lease.on_trial
        assert stage.end(lease) == name


@pytest.mark.parametrize("how", ["offline", "draining"])
def test_a_node_that_leaves_is_passed_over(how: str) -> None:
    """Keys of a node that is marked or drained go elsewhere until it is back."""
    stage = staged(*ids(3))
    before = homes(stage)
    if how == "offline":
        stage.service.mark_offline("n1", 30.0)
    else:
        stage.list("n0", *nodes("n1", status="draining"), "n2")
    assert moved(before, homes(stage)) == {key for key in KEYS if before[key] == "n1"}
    if how == "offline":
        stage.service.mark_online("n1")
    else:
        stage.list(*ids(3))
    assert homes(stage) == before


def test_a_warming_node_takes_its_keys_one_by_one() -> None:
    """As the ramp goes up keys move over, each once, until the node has all that are its own."""
    warm = staged(*ids(5))
    stage = staged(*ids(4), slow_start=SlowStart(window=100.0, curve=1.0, calls=10_000))
    stage.clock.advance(200.0)
    home(stage, "x")
    stage.list(*ids(5))
    own = {key for key, node in homes(warm).items() if node == "n4"}
    had: set[str] = set()
    for tenth in range(11):
        has = {key for key, node in homes(stage).items() if node == "n4"}
        assert had <= has <= own
        had = has
        stage.clock.advance(10.0)
        if tenth == 4:
            assert 0.25 < len(has) / len(own) < 0.65
    assert had == own


def test_a_retry_goes_to_the_next_of_the_key() -> None:
    """The second choice is the same each time: where the key goes without the first."""
    stage = staged(*ids(6))
    for key in KEYS[:20]:
        ask = stage.keyed(key)
        first = stage.pick(ask=ask)
        again = stage.service.pick_again((first.live,), ask=ask)
        assert not isinstance(again, str)
        assert again.keyed == "moved"
        second = stage.end(again)
        gone = stage.end(first)
        stage.service.mark_offline(gone, 30.0)
        assert home(stage, key) == second
        stage.service.mark_online(gone)


def test_a_session_that_gets_404_is_no_sign_of_a_broken_node() -> None:
    """Only calls without a key may find the odd one out: a key may ask one node for what is not."""
    stage = staged(*ids(4))
    odd = home(stage, "lost")
    others = [key for key, node in homes(stage, KEYS[:20]).items() if node != odd]
    for _ in range(40):
        homes(stage, others)
        stage.end(stage.pick(ask=stage.keyed("lost")), NOT_FOUND)
    assert stage.states()[odd] == "available"


def test_without_a_key_the_balancer_picks() -> None:
    """No header, an empty one and an empty key are no key; what has none spreads as ever."""
    stage = staged(*ids(3))
    for key, headers in ((None, {}), (None, {"x-session-id": ""}), ("", {"x-session-id": "a"})):
        ask = stage.keyed(key, **headers)
        leases = [stage.pick(ask=ask) for _ in range(9)]
        assert {lease.keyed for lease in leases} == {None}
        assert {stage.end(lease) for lease in leases} == set(ids(3))


def test_keys_of_every_kind() -> None:
    """A text and its UTF-8 are one key, long ones count to the last byte, all may be in them."""
    assert hash_of("käse") == hash_of("käse".encode())
    assert hash_of("x" * 1_000_000) != hash_of("x" * 999_999 + "y")
    stage = staged(*ids(9))
    for key in ("x" * 1_000_000, b"\xff\x00", "\udc80", "\n"):
        assert home(stage, key) == home(stage, key)


def test_what_is_the_key() -> None:
    """Header, cookie or query by the policy; the key of the call goes before them."""
    stage = staged(*ids(3), affinity=Affinity(by="cookie.sid"))
    assert stage.keyed(None, cookie='a=1; sid="s7"').key == hash_of("s7")
    assert stage.keyed("mine", cookie="sid=s7").key == hash_of("mine")
    stage = staged(*ids(3))
    assert stage.keyed(None, **{"X-Session-Id": "s8"}).key == hash_of("s8")
    assert stage.keyed(None).key is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("by", "x-session-id"),
        ("by", "header."),
        ("by", "path"),
        ("by", "body.session"),
        ("by", 3),
        ("balance", 0.9),
        ("balance", math.inf),
        ("least", 0),
        ("least", 1.5),
    ],
)
def test_a_bad_value_is_named(field: str, value: object) -> None:
    """The error names the field and what was given."""
    with pytest.raises(ValueError, match=f"^{field} must be .*{value!r}"):
        Affinity(**{field: value})  # type: ignore[arg-type]


def test_groups_come_first() -> None:
    """A key has its home among the nodes that lanes and routes give the call."""
    rules = [Route("new", share=0.3, sticky="key", to={"version": "2"})]
    stage = staged(
        *nodes("a", "b", version="1"), *nodes("c", "d", version="2"), routing=Routing(rules=rules)
    )
    plain = staged("a", "b", "c", "d")
    assert set(homes(plain).values()) == {"a", "b", "c", "d"}
    for key in KEYS:
        ask = stage.keyed(key)
        lease = stage.pick(ask=ask)
        assert lease.keyed == "home"
        assert lease.routed is not None
        assert (stage.end(lease) in "cd") == (lease.routed.route == "new")
    assert 0.2 < sum(node in "cd" for node in homes(stage).values()) / len(KEYS) < 0.4


def test_priorities_come_first() -> None:
    """A standby has no key while a node of the first level can serve, however busy that is."""
    stage = staged("a", "b", *nodes("c", priority=1), affinity=Affinity(balance=1.0, least=1))
    for key in KEYS[:20]:
        lease = stage.pick(ask=stage.keyed(key))
        assert lease.keyed == "home"
        stage.end(lease)
    leases = [stage.pick(ask=stage.keyed("hot")) for _ in range(50)]
    assert {lease.live.node.id for lease in leases} == {"a", "b"}


def test_a_zone_matters_only_where_it_must_not_be_left() -> None:
    """A session is on its node wherever that is, unless the zone is strict."""
    listed = [*nodes("a", "b", zone="a"), *nodes("c", "d", zone="b")]
    assert set(homes(staged(*listed, zone=ZonePolicy(zone="a"))).values()) == {"a", "b", "c", "d"}
    strict = staged(*listed, zone=ZonePolicy(zone="a", strict=True))
    assert set(homes(strict).values()) == {"a", "b"}
