"""What a user is told of a call, typed."""

from __future__ import annotations

import ssl

import httpx

from rpcguard import CallInfo, Node, call_info
from rpcguard._core.call.info import Attempt, note_of


def test_what_a_response_says_of_its_call():
    """The same object as in the extensions; None where no node of a service answered."""
    node = Node("10.0.0.1", 80)
    info = CallInfo("orders", node, (Attempt(node, "200", 0.1),))
    assert call_info(httpx.Response(200, extensions={"rpcguard": info})) is info
    assert call_info(httpx.Response(200)) is None


def test_tls_to_a_node_without_it_is_named_wherever_it_is_said():
    """OpenSSL says it in the error, or in its cause alone; other trouble gets no such hint."""
    node = Node("10.0.0.1", 80)
    told = "rpcguard: service orders: attempt 1 on 10.0.0.1:80: connect after 0.100 s"
    hint = "; a node that speaks plain HTTP is called by http://orders"
    cause = ssl.SSLError("[SSL: WRONG_VERSION_NUMBER] wrong version number")
    plain, caused = httpx.ConnectError("refused"), httpx.ConnectError("")
    caused.__cause__ = cause
    attempts = (Attempt(node, "connect", 0.1),)
    assert note_of("orders", attempts, plain) == told
    assert note_of("orders", attempts, cause) == told + hint
    assert note_of("orders", attempts, caused) == told + hint
