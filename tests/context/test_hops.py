"""What a hop knows of the one above: by when it is to answer, and whether it is asked again."""

from __future__ import annotations

import contextvars

import pytest

from rpcguard._context.hops import Hop, arrive, due_at, is_retried, seconds_of, served
from rpcguard._context.lane import current_lane, detached, lane

MILLISECONDS = "x-envoy-expected-rq-timeout-ms"


@pytest.mark.parametrize(
    ("header", "value", "seconds"),
    [
        *[("grpc-timeout", f"2{unit}", 2 * size) for unit, size in
          (("H", 3600), ("M", 60), ("S", 1), ("m", 1e-3), ("u", 1e-6), ("n", 1e-9))],
        ("grpc-timeout", "99999999m", 99999.999),
        ("grpc-timeout", "123456789m", None),
        ("grpc-timeout", "5", None),
        ("grpc-timeout", "-5S", None),
        ("grpc-timeout", "5 S", None),
        ("grpc-timeout", "", None),
        (MILLISECONDS, "1500", 1.5),
        (MILLISECONDS, " 1500 ", 1.5),
        (MILLISECONDS, "1.5", None),
        (MILLISECONDS, "1500ms", None),
        (MILLISECONDS, "9" * 400, None),
        (MILLISECONDS, "٣", None),
    ],
)  # fmt: skip
def test_what_headers_say_is_read_strictly(header: str, value: str, seconds: float | None) -> None:
    """Every unit of gRPC, and nothing that only looks like a number."""
    assert seconds_of(header, value) == (None if seconds is None else pytest.approx(seconds))


def test_a_deadline_and_the_word_of_a_retry_hold_for_a_block() -> None:
    """One inside another goes first, and what follows has neither."""
    with served(Hop(20.0, retried=True)):
        assert (due_at(), is_retried()) == (20.0, True)
        with served(Hop(10.0, retried=False)):
            assert (due_at(), is_retried()) == (10.0, False)
        assert (due_at(), is_retried()) == (20.0, True)
    assert (due_at(), is_retried()) == (None, None)


def test_a_task_that_outlives_its_request_has_no_deadline() -> None:
    """Nor is it tried again above: it copied the context, and that has ended with the answer."""
    with served(Hop(20.0, retried=True)):
        copied = contextvars.copy_context()
        assert (copied.run(due_at), copied.run(is_retried)) == (20.0, True)
    assert (copied.run(due_at), copied.run(is_retried)) == (None, False)


def test_a_context_that_a_server_makes_for_a_request_is_that_requests() -> None:
    """There is no block to leave: it ends with its context, and others have nothing of it."""
    context = contextvars.copy_context()
    context.run(arrive, Hop(20.0, retried=True))
    assert (context.run(due_at), context.run(is_retried)) == (20.0, True)
    assert (due_at(), is_retried()) == (None, None)


def test_what_is_detached_has_no_deadline() -> None:
    """Nor a lane: background work is no part of the answer."""
    with lane("canary-2"), served(Hop(20.0, retried=True)), detached():
        assert (due_at(), is_retried(), current_lane()) == (None, False, None)
