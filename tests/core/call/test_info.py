"""What a user is told of a call, typed."""

from __future__ import annotations

import httpx

from rpcguard import CallInfo, Node, call_info
from rpcguard._core.call.info import Attempt


def test_what_a_response_says_of_its_call():
    """The same object as in the extensions; None where no node of a service answered."""
    node = Node("10.0.0.1", 80)
    info = CallInfo("orders", node, (Attempt(node, "200", 0.1),))
    assert call_info(httpx.Response(200, extensions={"rpcguard": info})) is info
    assert call_info(httpx.Response(200)) is None
