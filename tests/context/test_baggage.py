"""The `baggage` header of W3C, of which one member is ours."""

from __future__ import annotations

import httpx
import pytest

from rpcguard._context.baggage import member, set_member, with_member


def test_a_member_of_baggage_is_read_set_and_taken_out() -> None:
    """The others stay as they were written, with their properties."""
    header = "user=al%20ice;ttl=5, rpcguard.lane = canary-2 ,k=v"
    assert member(header, "rpcguard.lane") == "canary-2"
    assert member(header, "user") == "al ice"
    assert member(header, "lane") is None
    without = with_member(header, "rpcguard.lane", None)
    assert without == "user=al%20ice;ttl=5,k=v"
    assert with_member(without, "rpcguard.lane", "b,c") == f"{without},rpcguard.lane=b%2Cc"
    assert with_member("", "rpcguard.lane", "x") == "rpcguard.lane=x"
    assert with_member("rpcguard.lane=x", "rpcguard.lane", None) == ""


@pytest.mark.parametrize(
    ("given", "value", "after"),
    [
        (None, None, None),
        (None, "x", "k=x"),
        ("a=1", "x", "a=1,k=x"),
        ("k=old,a=1", "x", "a=1,k=x"),
        ("k=old,a=1", None, "a=1"),
        ("k=old", None, None),
        ("k=old, a=1", None, "a=1"),
        ("a=1 ,\tk=old", None, "a=1"),
        ("k=old, a=1", "x", "a=1,k=x"),
    ],
)
def test_headers_have_the_member_or_no_baggage_at_all(
    given: str | None, value: str | None, after: str | None
) -> None:
    """An empty header would say nothing, and some gateways refuse it."""
    headers = httpx.Headers({} if given is None else {"baggage": given})
    set_member(headers, "k", value)
    assert headers.get("baggage") == after
