"""Why nothing follows an attempt that has failed."""

from __future__ import annotations

import pytest

from rpcguard._context.hops import Hop, is_tried
from rpcguard._core.call.denials import denial_of
from rpcguard._core.call.plan import CallPlan
from rpcguard._core.call.tries import Done
from rpcguard._core.outcomes.verdict import Safety, Verdict
from tests.support.library import http

TRIED = [("X-RpcGuard-Tried", "1")]


def answered(hop: Hop) -> Hop:
    """End a request."""
    hop.open = False
    return hop


def denial(
    safety: Safety = Safety.MAYBE,
    *,
    headers: list[tuple[str, str]] | None = None,
    hop: Hop | None = None,
    touched: bool = False,
    repeatable: bool = True,
    left: float = 9.0,
) -> str | None:
    verdict = Verdict("503", failed=True, safety=safety, blame="failure")
    reply = None if headers is None else http.Response(503, headers=headers)
    plan = CallPlan(method="GET", hop=hop, replayable=lambda: not touched)
    return denial_of(plan, Done(verdict, reply=reply), repeatable=repeatable, left=left)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, None),
        ({"repeatable": False, "hop": Hop(retried=True)}, "not_idempotent"),
        ({"hop": Hop(retried=True), "headers": TRIED}, "retried_above"),
        ({"hop": Hop(), "headers": []}, None),
        ({"hop": answered(Hop(retried=True))}, None),
        ({"headers": TRIED, "touched": True}, "retried_below"),
        ({"touched": True, "left": 0.0}, "not_replayable"),
        ({"left": 0.0}, "deadline"),
    ],
)
def test_the_first_reason_is_told(given: dict, said: str | None) -> None:
    """What may have run is held back first by what it is, then by who else tries it."""
    assert denial(**given) == said


@pytest.mark.parametrize("safety", [Safety.UNSENT, Safety.UNCONNECTED])
def test_what_was_not_sent_goes_again_whatever_others_try(safety: Safety) -> None:
    """Nothing of it has run, here or further on."""
    assert denial(safety, headers=TRIED, hop=Hop(retried=True), repeatable=False) is None


@pytest.mark.parametrize(
    ("name", "value", "heard"),
    [
        (b"X-Rpcguard-Tried", b"1", True),
        (b"x-rpcguard-tried", b" 1 ", True),
        (b"x-rpcguard-tried", b"1, 1", True),
        (b"x-rpcguard-tried", b"0", False),
        (b"x-rpcguard-tried", b"11", False),
        (b"x-rpcguard-tried", b"", False),
        (b"x-rpcguard-retry", b"1", False),
    ],
)
def test_the_word_of_those_below_is_a_one(name: bytes, value: bytes, heard: bool) -> None:
    """Whatever the case of its name."""
    assert is_tried([(b"date", b"1"), (name, value)]) is heard
