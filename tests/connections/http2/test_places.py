"""Who sits on which shared connection, who opens one, and who waits."""

from __future__ import annotations

import math

import pytest

from rpcguard._connections.books import StackClosed
from rpcguard._connections.http2.places import Place, PlaceBooks
from rpcguard._core.nodes.view import ConnectionCounts
from rpcguard.testing import ManualClock


class Shared:
    """A connection that carries so many calls."""

    def __init__(self, name: str | None = None, capacity: int = 2, *, ready: bool = True) -> None:
        self.name, self.capacity, self.ready = name, capacity, ready
        self.usable = True
        self.calls = 0
        self.expires = self.idle_since = self.opened_at = 0.0


class Flag:
    """An event that only remembers."""

    def __init__(self) -> None:
        self.told = False

    def set(self) -> None:
        """Remember."""
        self.told = True


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


def books(clock, *, most=None, idle=None, expiry=5.0) -> PlaceBooks:
    return PlaceBooks(
        max_connections=most, max_idle=idle, keepalive_expiry=expiry, clock=clock, event=Flag
    )


def seated(kept: PlaceBooks, connection: Shared) -> Place:
    """Let a call open a connection."""
    place = Place(connection.name)
    assert kept.request(place)
    assert place.opened
    kept.opened(place, connection)
    return place


def waiting(kept: PlaceBooks, name: str | None = None) -> Place:
    """Let a call wait in line."""
    place = Place(name)
    assert not kept.request(place)
    return place


def test_one_opens_and_the_others_of_its_name_wait(clock):
    """Then as many as fit sit down, and the next one opens another connection."""
    kept = books(clock)
    first = Place(None)
    assert kept.request(first)
    second, third = waiting(kept), waiting(kept)
    assert kept.expects(None)
    shared = Shared()
    kept.opened(first, shared)
    assert second.connection is shared
    assert third.opened  # granted, for it is full
    assert third.connection is None
    assert kept.counts == ConnectionCounts(0, 2, 0)


def test_nobody_joins_before_the_node_has_said_how_many_it_takes(clock):
    """They wait for its settings, and sit down when they come."""
    kept = books(clock)
    shared = Shared(capacity=1, ready=False)
    seated(kept, shared)
    place = waiting(kept)
    shared.capacity, shared.ready = 2, True
    kept.serve()
    assert place.connection is shared
    assert place.event.told


def test_a_name_has_connections_of_its_own(clock):
    """One that was verified for another name is not used, busy or idle."""
    kept = books(clock)
    held = seated(kept, Shared("orders"))
    other = Place("billing")
    assert kept.request(other)
    assert other.connection is None
    kept.release(held)
    third = Place("evil")
    assert kept.request(third)
    assert third.connection is None


def test_who_gives_up_opening_leaves_it_to_the_next(clock):
    """A cancelled set-up: the next in line is granted a connection of its own."""
    kept = books(clock)
    first = Place(None)
    kept.request(first)
    second = waiting(kept)
    kept.release(first)
    assert second.event.told
    assert second.opened
    assert second.failure is None


def test_who_cannot_connect_tells_all_who_waited(clock):
    """Unless there is a connection with calls on it, for which they go on to wait."""
    kept, busy = books(clock, most=2), books(clock, most=2)
    first = Place(None)
    kept.request(first)
    second = waiting(kept)
    failure = OSError("refused")
    kept.failed(first, failure)
    assert second.failure is failure
    assert kept.counts == ConnectionCounts(0, 0, 0)
    seated(busy, Shared(capacity=1))
    opening = Place(None)
    busy.request(opening)
    left = waiting(busy)
    busy.failed(opening, failure)
    assert left.failure is None


def test_the_limit_is_of_connections_not_of_calls(clock):
    """With one at most, two calls share it and the third waits; an idle one of a name gives way."""
    kept = books(clock, most=1)
    shared = Shared("a")
    first = seated(kept, shared)
    second = Place("a")
    assert kept.request(second)
    third = waiting(kept, "a")
    kept.release(second)
    assert third.connection is shared
    kept.release(third)
    kept.release(first)
    assert kept.counts == ConnectionCounts(1, 0, 0)
    other = Place("b")
    assert kept.request(other)
    assert list(kept.reap()) == [shared]


def test_idle_ones_are_kept_for_a_time_and_up_to_a_number(clock):
    """Last in, first out; what is over its time, or has ended, is closed."""
    kept = books(clock, idle=2)
    shared = [Shared(capacity=1) for _ in range(3)]
    places = [seated(kept, one) for one in shared]
    for place in places:
        kept.release(place)
    assert list(kept.reap()) == shared[:1]
    place = Place(None)
    kept.request(place)
    assert place.connection is shared[2]
    assert place.reused
    clock.advance(6.0)
    kept.expire()
    assert list(kept.reap()) == shared[1:2]
    kept.release(place)
    shared[2].usable = False
    kept.expire()
    assert list(kept.reap()) == shared[2:]


def test_a_call_may_refuse_what_has_been_idle_for_long(clock):
    """One that may not be repeated takes no connection that the node may be closing."""
    kept = books(clock, expiry=None)
    shared = Shared()
    kept.release(seated(kept, shared))
    clock.advance(4.0)
    careful = Place(None, oldest=3.0)
    assert kept.request(careful)
    assert careful.connection is None
    kept.release(careful)
    place = Place(None, oldest=math.inf)
    kept.request(place)
    assert place.connection is shared


def test_one_that_leaves_takes_no_more_calls_and_is_closed_after_its_last(clock):
    """After a GOAWAY: the next call opens another one."""
    kept = books(clock)
    shared = Shared()
    first = seated(kept, shared)
    shared.usable, shared.capacity = False, 0
    second = Place(None)
    assert kept.request(second)
    assert second.opened
    kept.release(first)
    assert list(kept.reap()) == [shared]


def test_closing_sends_the_line_away(clock):
    """Those who wait wake up, what is in use is given back to be cut, and nothing is granted."""
    kept = books(clock, most=1)
    shared = Shared(capacity=1)
    held = seated(kept, shared)
    place = waiting(kept)
    assert kept.close() == [shared]
    assert place.event.told
    assert not kept.waits(place)
    with pytest.raises(StackClosed):
        kept.request(Place(None))
    kept.release(held)
    assert list(kept.reap()) == [shared]


def test_a_call_that_lost_an_old_connection_takes_a_younger_one(clock):
    """Neither a busy nor an idle one that was there before; those of one moment share the next."""
    kept = books(clock)
    busy, idle = Shared(), Shared(capacity=1)
    seated(kept, busy)
    busy.capacity = 1
    kept.release(seated(kept, idle))
    busy.capacity = 9
    clock.advance(1.0)
    places = [Place(None), Place(None)]
    for place in places:
        place.renew(clock())
    assert kept.request(places[0])
    assert not kept.request(places[1])
    young = Shared()
    kept.opened(places[0], young)
    assert [place.connection for place in places] == [young, young]


def test_where_no_other_may_be_opened_an_old_one_is_better_than_none(clock):
    """The limit of connections is one, and it has room."""
    kept = books(clock, most=1)
    busy = Shared(capacity=9)
    seated(kept, busy)
    clock.advance(1.0)
    place = Place(None)
    place.renew(clock())
    assert kept.request(place)
    assert place.connection is busy
