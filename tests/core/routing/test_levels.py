"""How levels of priority share the calls while a part of one is out."""

from __future__ import annotations

from collections import Counter

import pytest

from rpcguard import MembershipPolicy, Node, Transport
from rpcguard.registries.xds.rest import XdsRegistry
from tests.support.stage import Stage


def staged(*sizes: int, over: float | None = 1.4) -> Stage:
    """List so many nodes of each priority."""
    nodes = [
        Node("10.0.0.1", 80, id=f"p{level}-{number}", priority=level)
        for level, size in enumerate(sizes)
        for number in range(size)
    ]
    return Stage(*nodes, membership=MembershipPolicy(overprovision=over))


def went(stage: Stage, out: dict[int, int], calls: int = 100) -> Counter[str]:
    """Take so many nodes of each priority out, and count calls by priority."""
    for level, count in out.items():
        for number in range(count):
            stage.service.mark_offline(f"p{level}-{number}", 1000.0)
    counts: Counter[str] = Counter()
    for _ in range(calls):
        stage.clock.advance(0.01)
        counts[stage.end(stage.pick())[:2]] += 1
    return counts


@pytest.mark.parametrize(
    ("out", "expected"),
    [
        ({}, {"p0": 100}),
        ({0: 2}, {"p0": 100}),
        ({0: 5}, {"p0": 70, "p1": 30}),
        ({0: 9}, {"p0": 14, "p1": 86}),
        ({0: 10}, {"p1": 100}),
        ({0: 9, 1: 8}, {"p0": 33, "p1": 67}),
    ],
)
def test_a_level_gives_away_what_it_cannot_bear(
    out: dict[int, int], expected: dict[str, int]
) -> None:
    """The table of Envoy's documentation, by turns: exact to a call."""
    counts = went(staged(10, 10), out)
    for level, calls in expected.items():
        assert abs(counts[level] - calls) <= 1


def test_three_levels_follow_each_other() -> None:
    """Each takes of what the ones before it leave."""
    counts = went(staged(10, 10, 10), {0: 8, 1: 8}, 1000)
    assert abs(counts["p0"] - 280) <= 2
    assert abs(counts["p1"] - 280) <= 2
    assert abs(counts["p2"] - 440) <= 2


def test_by_default_a_level_keeps_all_while_it_has_a_node() -> None:
    """A standby site is not called because a third of the first one is out."""
    for over in (None, 0.0):
        assert went(staged(10, 10, over=over), {0: 9}) == {"p0": 100}


@pytest.mark.parametrize(("said", "factor"), [(None, 1.4), (0.0, 0.0), (2.0, 2.0)])
@pytest.mark.parametrize("registry", ["xds://127.0.0.1:1", XdsRegistry("xds+http://127.0.0.1:1")])
def test_levels_of_xds_give_calls_away_unless_the_user_says_otherwise(
    registry: str | XdsRegistry, said: float | None, factor: float
) -> None:
    """Its priorities mean that: the protocol's factor is 1.4, and no other registry's is."""
    membership = MembershipPolicy(overprovision=said)
    with Transport(registry, membership=membership) as transport:
        assert transport._policies.overprovision == factor
    with Transport("static://127.0.0.1:1", membership=membership) as transport:
        assert transport._policies.overprovision == (said or 0.0)


@pytest.mark.parametrize("over", [0.5, -1, True, "1.4"])
def test_a_wrong_factor_is_refused(over: object) -> None:
    """Less than its own part no level can bear."""
    with pytest.raises(ValueError, match="overprovision"):
        MembershipPolicy(overprovision=over)  # type: ignore[arg-type]
