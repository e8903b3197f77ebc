"""The mark of the work at hand: where it follows, and where it is lost."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from rpcguard._context.lane import current_lane, detached, is_mark, lane


def test_a_block_is_in_a_lane_and_what_follows_is_not() -> None:
    """The mark ends with its block, also with one inside another."""
    assert current_lane() is None
    with lane("canary-2"):
        assert current_lane() == "canary-2"
        with lane(None):
            assert current_lane("process") is None
        assert current_lane() == "canary-2"
    assert current_lane("process") == "process"


def test_what_is_detached_has_no_mark() -> None:
    """Background work can leave its request's lane."""
    with lane("canary-2"), detached():
        assert current_lane("process") is None


def test_tasks_and_to_thread_inherit_the_mark() -> None:
    """`create_task`, `to_thread` and `copy_context` copy it."""
    asyncio.run(_inherit())


async def _inherit() -> None:
    with lane("canary-2"):
        task = asyncio.create_task(_mark_later())
        copied = contextvars.copy_context()
        in_thread = await asyncio.to_thread(current_lane)
    assert await task == "canary-2"
    assert in_thread == "canary-2"
    assert copied.run(current_lane) == "canary-2"


async def _mark_later() -> str | None:
    await asyncio.sleep(0)
    return current_lane()


def test_a_bare_thread_has_lost_the_mark() -> None:
    """A thread that is started by hand has a context of its own: the process's lane counts."""
    seen: list[str | None] = []
    with lane("canary-2"):
        thread = threading.Thread(target=lambda: seen.append(current_lane("process")))
        thread.start()
        thread.join()
    assert seen == ["process"]


@pytest.mark.parametrize("text", ["", "a b", "a\n", "ä", "x" * 65, "x" * 10_000, "a,b", None, 5])
def test_what_cannot_be_a_mark_is_refused(text: object) -> None:
    """A mark is 1 to 64 of a few characters, since it goes into headers."""
    assert not is_mark(text)
    if isinstance(text, str):
        with pytest.raises(ValueError, match="lane must be"), lane(text):
            pass
