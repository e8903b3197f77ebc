"""How many calls a node is known to take on one connection."""

from __future__ import annotations

import pytest

from rpcguard._wire.h2_counts import LAST_STREAM, NodeCount, StreamCount


@pytest.mark.parametrize(
    ("ends", "calls"),
    [
        ([], None),
        ([1000], None),
        ([1000, 1000], 875),
        ([1000, 100, 1000], 875),
        ([121, 123, 122, 124, 121], 106),
        ([121, 123, 122, 124, 125, 121], None),
        ([60, 59, 58, 60], None),
        ([60, 59, 60], 53),
        ([25, 24, 25], None),
        ([1000, 1000, 100, 100], 88),
        ([100, 100, 1000, 1000], 88),
        ([4, 20, 4, 21, 4], None),
        ([20, 20], 18),
        ([5, 5], 4),
        ([4, 4, 4], None),
    ],
)
def test_what_is_known_after_connections_ended(ends: list[int], calls: int | None) -> None:
    """A number is believed where it comes again, within four if it is large; the least counts."""
    count = StreamCount()
    for end in ends:
        count.learn(2 * end - 1)
    assert count.last == (LAST_STREAM if calls is None else 2 * calls - 1)


def test_whether_nodes_count_is_told_of_any_number():
    """Proves that of small ones it is known as well, by which no connection is left."""
    count = StreamCount()
    assert [count.learn(last) for last in (1, 1, 3, 1, 1)] == [False, True, False, False, True]
    assert count.last == LAST_STREAM


def test_a_node_that_had_more_on_the_connection_before_teaches_as_well():
    """Where it reads several calls at once it counts a few more of them, now and then."""
    node = NodeCount()
    for last in (241, 239, 239):
        node.ended(last, upon_call=True)
    other = NodeCount(node.service)
    assert not other.ended(241, upon_call=True)
    assert node.service.last == 2 * (120 - 15) - 1


def test_a_node_of_a_release_is_not_taken_for_one_that_counts():
    """It ends a young connection upon its first call, as others did, and had more on one before."""
    service = StreamCount()
    for _ in range(2):
        node = NodeCount(service)
        node.ended(99, upon_call=False)
        assert not node.ended(1, upon_call=True)
