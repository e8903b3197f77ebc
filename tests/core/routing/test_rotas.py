"""Turns of shares of the same calls: each has what it is owed, to one call."""

from __future__ import annotations

import random
from collections import Counter
from itertools import product
from unittest.mock import Mock

import pytest

from rpcguard._core.routing.rotas import Rota, Turn
from rpcguard._core.routing.shares import Share

NOISE = 1e-6
"""What sums of binary fractions may be off."""


class Turns:
    """Shares of one caller, and how far each was ever from what it was owed."""

    def __init__(self, *parts: float, seed: int = 1, start: float | None = None) -> None:
        rng = random.Random(seed)
        self.draw = Mock(side_effect=rng.random if start is None else lambda: start)
        self.rota = Rota(self.draw)
        self.shares = [Share() for _ in parts]
        self.parts = parts
        self.turns: tuple[Turn, ...] = ()
        self.owed = [0.0] * len(parts)
        self.taken = [0] * len(parts)
        self.off = 0.0
        self.left_out = 0

    def call(self) -> int | None:
        """Make a call; give the share that took it."""
        if tuple(part for _, part in self.turns) != tuple(self.parts):
            self.turns = tuple(zip(self.shares, self.parts, strict=True))
        taker = self.rota.turn(self.turns)
        place = None if taker is None else self.shares.index(taker)
        self.left_out += place is None
        for at, part in enumerate(self.parts):
            self.owed[at] += part
            self.taken[at] += at == place
            self.off = max(self.off, abs(self.taken[at] - self.owed[at]))
        return place

    def calls(self, count: int) -> Turns:
        """Make calls."""
        for _ in range(count):
            self.call()
        return self


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 1 / 3, 0.5, 0.99])
def test_a_share_is_exact_to_one_call(share: float) -> None:
    """Whatever the start is, after any number of calls it has what it is owed."""
    for seed in range(20):
        assert Turns(share, seed=seed).calls(1000).off <= 1.0 + NOISE


@pytest.mark.parametrize("whole", range(2, 9))
def test_each_of_three_shares_is_exact_to_one_call(whole: int) -> None:
    """All threes of fractions with a small denominator, for three times what they repeat after."""
    for tops in product(range(whole + 1), repeat=3):
        if sum(tops) <= whole:
            turns = Turns(*(top / whole for top in tops), seed=sum(tops)).calls(3 * whole)
            assert turns.off <= 1.0 + NOISE, tops


def test_each_of_many_shares_is_exact_to_one_call() -> None:
    """Two to eight of any size, which are all of the calls or a part of them."""
    rng = random.Random(7)
    for seed in range(300):
        sizes = [rng.random() ** rng.choice([1, 3]) for _ in range(rng.randint(2, 8))]
        whole = sum(sizes) * rng.choice([1.0, 1.0, 1.0 + rng.random(), 10.0])
        turns = Turns(*(size / whole for size in sizes), seed=seed).calls(150)
        assert turns.off <= 1.0 + NOISE, turns.parts


@pytest.mark.parametrize("parts", [(0.6, 0.4), (0.99, 0.01), (0.5, 0.3, 0.2), (1 / 3,) * 3])
def test_shares_that_are_all_of_the_calls_leave_none_out(parts: tuple[float, ...]) -> None:
    """Every call is for one of them, whatever the start is."""
    for seed in range(20):
        turns = Turns(*parts, seed=seed).calls(200)
        assert turns.left_out == 0
        assert turns.off <= 1.0 + NOISE


@pytest.mark.parametrize("parts", [(0.05,), (0.6, 0.4), (0.1, 0.05), (0.9, 0.05, 0.05)])
@pytest.mark.parametrize("calls", [1, 5])
def test_callers_do_not_take_their_turns_together(parts: tuple[float, ...], calls: int) -> None:
    """Of many callers with a few calls each, every share has about its part."""
    got: Counter[int] = Counter()
    callers = 2000
    for seed in range(callers):
        turns = Turns(*parts, seed=seed).calls(calls)
        got.update(dict(enumerate(turns.taken)))
    for at, part in enumerate(parts):
        fair = part * calls * callers
        assert 0.5 * fair <= got[at] <= 1.5 * fair


def test_a_whole_call_that_is_owed_is_taken() -> None:
    """Not the next one after it: where the start makes a sum of exactly one."""
    turns = Turns(0.5, start=0.5)
    assert [turns.call() for _ in range(4)] == [0, None, 0, None]


def test_other_parts_take_over_where_the_old_ones_were() -> None:
    """Shares that are raised, lowered, or withdrawn for a while make no burst and no gap."""
    rng = random.Random(3)
    for seed in range(100):
        turns = Turns(0.1, 0.2, 0.3, seed=seed)
        for _ in range(10):
            sizes = [rng.choice([0.0, rng.random()]) for _ in range(3)]
            whole = sum(sizes) * rng.choice([1.0, 2.0]) or 1.0
            turns.parts = tuple(size / whole for size in sizes)
            before = [*turns.taken]
            turns.calls(20)
            for part, was, now in zip(turns.parts, before, turns.taken, strict=True):
                assert abs(now - was - 20 * part) <= 2.5
                assert part or now == was


@pytest.mark.parametrize("parts", [(0.05, 0.15), (0.5, 0.3, 0.2), (0.9, 0.05, 0.05)])
def test_what_was_drawn_is_gone_through_again(parts: tuple[float, ...]) -> None:
    """Nothing is drawn any more after a few rounds, and each share stays exact to one call."""
    orders = set()
    for seed in range(20):
        turns = Turns(*parts, seed=seed)
        turns.calls(1 + 40 * 20)  # it takes some rounds to come back to where one began
        turns.draw.reset_mock()
        order = [turns.call() for _ in range(20)]
        assert [turns.call() for _ in range(40)] == order * 2
        turns.draw.assert_not_called()
        assert turns.off <= 1.0 + NOISE
        orders.add(tuple(order))
    assert len(orders) > 1, "callers take their turns together"


@pytest.mark.parametrize(
    "parts",
    [
        (0.5,),
        (0.05,),
        (0.5, 0.5),
        (0.95, 0.05),
        (0.9, 0.05, 0.05),
        (0.4, 0.4, 0.2),
        (0.05, 0.05),
        (0.3, 0.2),
        (0.5, 0.0),
    ],
)
def test_calls_of_two_kinds_in_turns_meet_every_share(parts: tuple[float, ...]) -> None:
    """A caller that gets and posts in turns sent a canary of 5 % only one of these, for ever.

    So it was with one, with several that are all calls, and with two of a part of them.
    """
    for seed in range(3):
        turns, met = Turns(*parts, seed=seed), Counter[tuple[int | None, int]]()
        for place in range(20_000):
            met[turns.call(), place % 2] += 1
        for at, part in enumerate(parts):
            for kind in range(2):
                assert met[at, kind] == pytest.approx(10_000 * part, rel=0.5)
        assert turns.off <= 1.0 + NOISE


@pytest.mark.parametrize("parts", [(0.05,), (0.95,), (0.05, 0.95), (0.95, 0.05)])
def test_each_of_twenty_calls_is_as_likely_the_one(parts: tuple[float, ...]) -> None:
    """Which of them a twentieth takes, or is left out: wherever it stands beside the rest.

    Where it stood behind, a caller of twenty kinds of calls in turns never sent it some of them.
    """
    turns, met = Turns(*parts), Counter[int]()
    few = parts.index(0.05) if 0.05 in parts else None
    for place in range(20_000):
        met[place % 20] += turns.call() == few
    assert turns.off <= 1.0 + NOISE
    assert min(met[kind] for kind in range(20)) >= 25


def test_parts_that_are_no_whole_calls_for_long_are_drawn_anew() -> None:
    """There is no round of these, and nothing is kept to look for one."""
    turns = Turns(1 / 3.001, 1 / 3.002, 0.1).calls(1000)
    turns.draw.reset_mock()
    assert turns.calls(100).off <= 1.0 + NOISE
    turns.draw.assert_called()


class Compared(float):
    """A part of the calls that counts how often it is looked how many calls make it whole."""

    times = 0

    def __mul__(self, calls: float) -> float:
        Compared.times += 1
        return float(self) * calls


@pytest.mark.parametrize("together", [1, 2, 10])
def test_no_round_is_looked_for_where_other_calls_come_between(together: int) -> None:
    """As with a path that has a route of its own: it was for nothing, and cost fifty draws each."""
    turns = Turns(*map(Compared, (1 / 3.001, 1 / 3.002, 0.1)))
    Compared.times = 0
    for place in range(1000):
        if place % together == 0:
            turns.turns = ()  # the same shares, of calls that match something else as well
        turns.call()
    assert Compared.times == 0
    assert turns.off <= 1.0 + NOISE


def test_a_round_that_is_left_counts_as_far_as_it_came() -> None:
    """After each number of calls: what a share is owed then is what it is owed and did not take."""
    for calls in range(60):
        turns = Turns(0.5, 0.3, 0.2, seed=calls).calls(calls)
        turns.rota.owe(())
        for share, owed, taken in zip(turns.shares, turns.owed, turns.taken, strict=True):
            assert share.due == pytest.approx(owed - taken, abs=NOISE)


def test_what_a_share_could_not_have_amid_a_round_is_made_up_for() -> None:
    """Sticky calls that went elsewhere by their user, among others that go by turns."""
    turns = Turns(0.5, 0.3, 0.2).calls(35)
    turns.rota.owe([turns.turns[1]] * 3)
    before = turns.taken[1]
    turns.calls(200)
    assert turns.taken[1] - before == pytest.approx(200 * 0.3 + 3 * 0.3, abs=1.0)


def test_one_of_two_shares_is_not_starved_by_calls_that_only_the_other_is_for() -> None:
    """Each tenth call, say, of a path with a route between them: what it declined was all of it."""
    for start in range(20):
        turns = Turns(0.9, 0.1, start=start / 20)
        one, other = turns.shares
        both, took = ((one, 0.9), (other, 0.1)), 0
        for place in range(300):
            alone = place % 10 == 0
            took += turns.rota.turn(both[:1] if alone else both) is other
        assert took == pytest.approx(270 * 0.1, abs=2)


@pytest.mark.parametrize("parts", [(0.1, 0.1, 0.8), (0.3, 0.3, 0.4), (0.4, 0.6), (0.1, 0.1, 0.1)])
@pytest.mark.parametrize("few", [1, 2])
def test_calls_for_some_of_the_shares_take_nothing_from_the_rest(
    parts: tuple[float, ...], few: int
) -> None:
    """What those had beyond theirs was the rest's for good, where each call is for one of all.

    Of 0.3, 0.3 and 0.4 the last had up to 0.55, where each second call was for the first alone.
    """
    for order, start in product(([0, 1], [1, 1, 1, 0], [0, 0, 0, 1]), range(10)):
        turns = Turns(*parts, start=start / 10)
        each = tuple(zip(turns.shares, parts, strict=True))
        kinds = (each, ()), (each[:few], turns.shares[few:])
        for place in range(1000):
            owed, absent = kinds[order[place % len(order)]]
            taker = turns.rota.turn(owed, absent)
            for at, (share, part) in enumerate(owed):
                turns.owed[at] += part
                turns.taken[at] += share is taker
                assert abs(turns.owed[at] - turns.taken[at]) < 2.0


def test_a_share_of_nothing_takes_nothing() -> None:
    """Even if it was owed almost a call before."""
    for others in ((), (0.5,), (0.5, 0.5)):
        turns = Turns(0.9, *([0.0] * len(others)), start=0.0)
        turns.call()
        turns.parts = (0.0, *others)
        assert 0 not in {turns.call() for _ in range(20)}


def test_one_share_is_left_of_those_that_had_all_calls() -> None:
    """It has every call from then on, whatever it had before."""
    for seed in range(50):
        for parts in ((0.5, 0.5), (0.5, 0.3, 0.2)):
            turns = Turns(*parts, seed=seed).calls(1 + seed % 7)
            turns.parts = (1.0, *[0.0] * (len(parts) - 1))
            assert {turns.call() for _ in range(20)} == {0}


def test_a_share_that_has_all_calls_alone_has_each_of_them() -> None:
    """Even if it had more than its part before."""
    for seed in range(50):
        turns = Turns(0.5, 0.3, 0.2, seed=seed).calls(1 + seed % 7)
        alone = [(turns.shares[0], 1.0)]
        assert {turns.rota.turn(alone) for _ in range(20)} == {turns.shares[0]}


def test_what_a_share_could_not_have_is_not_made_up_for_at_once() -> None:
    """A thousand calls of one sticky user are no debt of a thousand calls."""
    turns = Turns(0.1, 0.1)
    for _ in range(1000):
        turns.rota.owe(zip(turns.shares, turns.parts, strict=True))
    assert sum(turns.calls(100).taken) <= 100 * 0.2 + 21


def test_a_call_that_is_for_some_share_is_for_the_largest_where_none_is_owed() -> None:
    """The one that was owed has lost its nodes; the others had theirs before."""
    turns = Turns(0.0, 0.6, 0.4)
    for share, due in zip(turns.shares, (0.9, -0.7, -0.5), strict=True):
        share.due = due
    assert turns.call() == 1
