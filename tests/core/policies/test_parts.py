"""Which parts of a call a policy may name: those that a call can have, and no others."""

from __future__ import annotations

import pytest

from rpcguard import Affinity, Route

GOOD = ["header.x-session-id", "cookie.sid", "cookie.a[b]", "query.a b", "query.a=b", "query.a.b"]
BAD = [
    "header.x:y",
    "header.x y",
    "header.x=y/z",
    "header.",
    "cookie.a=b",
    "cookie.a;b",
    "cookie. a",
    "query.",
    "query.a\nb",
    f"query.{'a' * 129}",
    "body.a",
    "header",
]


@pytest.mark.parametrize("part", GOOD)
def test_a_part_that_a_call_can_have(part):
    """A query parameter may be called anything, a header and a cookie what they can be called."""
    Affinity(by=part)
    Route("r", when={part: "*"}, to={"version": "2"})
    Route("r", sticky=part, share=0.5, to={"version": "2"})


@pytest.mark.parametrize("part", BAD)
def test_a_part_that_no_call_can_have(part):
    """Such a condition would never hold, and such a key be nobody's: it is told at once."""
    with pytest.raises(ValueError, match=r"^by must be"):
        Affinity(by=part)
    with pytest.raises(ValueError, match="when key must be"):
        Route("r", when={part: "*"}, to={"version": "2"})
    with pytest.raises(ValueError, match="sticky must be"):
        Route("r", sticky=part, share=0.5, to={"version": "2"})


def test_keys_that_are_no_text_are_refused():
    """A document may have anything."""
    with pytest.raises(ValueError, match=r"^by must be"):
        Affinity(by=7)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="when key must be"):
        Route("r", when={7: "*"}, to={"version": "2"})  # type: ignore[dict-item]
