"""The figures at the end of a run, and the exit status that follows from them."""

from __future__ import annotations

import math

import pytest

from rpcguard._commands.demo.recording import CallRecord, Recording
from rpcguard._commands.demo.summary import (
    counted,
    figures,
    milliseconds,
    quantile,
    rows,
    summary,
    verdict,
)


def run_of(*calls: CallRecord) -> Recording:
    recording = Recording(("orders-1",), 100.0, 3.0)
    recording.calls += calls
    recording.seconds = 1.0
    return recording


GOOD = CallRecord("rpcguard", "GET", 0.1, 0.005, "orders-1")
SAVED = CallRecord("rpcguard", "GET", 0.2, 0.015, "orders-1", 2)
LOST_GET = CallRecord("rpcguard", "GET", 0.3, 0.1, None, 2, "ReadTimeout", saveable=True)
LOST_POST = CallRecord("rpcguard", "POST", 0.4, 2.0, None, 1, "ReadTimeout")


def test_the_figures_count_each_client_for_itself():
    """Calls, failures, retries and saved calls are those of the client asked for."""
    plain = CallRecord("httpx", "GET", 0.1, 0.5, None, 1, "ConnectError", saveable=True)
    seen = figures(run_of(GOOD, SAVED, LOST_GET, LOST_POST, plain), "rpcguard")
    assert (seen.calls, seen.failed, seen.could_be_saved) == (4, 2, 1)
    assert (seen.retries, seen.saved, seen.slowest) == (2, 1, 2.0)
    assert dict(seen.errors) == {"GET ReadTimeout": 1, "POST ReadTimeout": 1}
    assert figures(run_of(GOOD, plain), "httpx").could_be_saved == 1


@pytest.mark.parametrize(
    ("calls", "kept"),
    [((GOOD, SAVED), True), ((GOOD, LOST_POST), True), ((GOOD, LOST_GET), False)],
)
def test_the_promise_is_about_calls_that_could_have_been_saved(calls, kept):
    """A POST that may have been processed is no broken promise; a lost GET is."""
    assert figures(run_of(*calls), "rpcguard").kept_the_promise is kept


def test_a_post_that_ran_twice_breaks_the_promise():
    """Even with no failed call at all."""
    recording = run_of(GOOD)
    recording.executed_twice["rpcguard"] = 1
    assert not figures(recording, "rpcguard").kept_the_promise
    assert verdict(recording) == "rpcguard had 1 POST executed twice."
    recording.executed_twice = {"rpcguard": 0, "httpx": 3}
    assert figures(recording, "rpcguard").kept_the_promise


def test_the_verdict_names_what_was_lost():
    """Each of the three ways a run can end has its own words."""
    assert verdict(run_of(GOOD)).startswith("No call of rpcguard failed, and")
    assert "1 POST failed after the request had left" in verdict(run_of(LOST_POST))
    assert verdict(run_of(LOST_GET)) == "1 call of rpcguard failed without need."


def test_the_summary_is_aligned_and_complete(recording):
    """Both columns are there, every row has the width of the head, failures are named."""
    text = summary(recording)
    head, *body = text.splitlines()
    assert head.split() == ["rpcguard", "plain", "httpx,", "round", "robin"]
    table = body[: body.index("failures of rpcguard: 1 x POST ReadTimeout")]
    assert len(table) == 9
    assert {len(line) for line in table} == {len(head)}
    assert "could have been saved" in text
    assert text.endswith("not safe.")


def test_quantiles_and_words():
    """The small functions under the figures, at their edges."""
    assert math.isnan(quantile([], 0.5))
    assert quantile([1, 2, 3, 4], 0.5) == 3
    assert quantile([1.0], 0.99) == 1.0
    assert [milliseconds(s) for s in (math.nan, 0.0074, 2.0)] == ["-", "7.4 ms", "2,000 ms"]
    assert [counted(n, "call") for n in (0, 1, 1200)] == ["0 calls", "1 call", "1,200 calls"]


def test_a_third_client_has_a_column_between_the_others(three):
    """Its retries are counted too, and its failures are named."""
    head, calls, failed, *_ = rows(three)
    assert head == ("", "rpcguard", "httpx-retries, round robin", "plain httpx, round robin")
    assert calls == ("calls", "4,501", "4,500", "4,500")
    assert failed == ("failed calls", "1", "52", "425")
    assert "failures of httpx-retries: 52 x GET 500" in summary(three)
