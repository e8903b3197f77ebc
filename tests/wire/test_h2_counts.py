"""How many calls a node is known to take on one connection."""

from __future__ import annotations

import pytest

from rpcguard._wire.h2_counts import LAST_STREAM, StreamCount


@pytest.mark.parametrize(
    ("ends", "calls"),
    [
        ([], None),
        ([1000], None),
        ([1000, 1000], 875),
        ([1000, 100, 1000], None),
        ([1000, 1000, 100, 100], 88),
        ([100, 100, 1000, 1000], 88),
        ([20, 21, 20], None),
        ([20, 20], 18),
        ([5, 5], 4),
        ([4, 4, 4], None),
    ],
)
def test_what_is_known_after_connections_ended(ends: list[int], calls: int | None) -> None:
    """A number is believed where it comes twice in a row, and the least counts."""
    count = StreamCount()
    for end in ends:
        count.learn(2 * end - 1)
    assert count.last == (LAST_STREAM if calls is None else 2 * calls - 1)


def test_whether_nodes_count_is_told_of_any_number():
    """Proves that of small ones it is known as well, by which no connection is left."""
    count = StreamCount()
    assert [count.learn(last) for last in (1, 1, 3, 1, 1)] == [False, True, False, False, True]
    assert count.last == LAST_STREAM
