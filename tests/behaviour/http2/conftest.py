"""Scripted nodes that speak HTTP/2 without TLS, and the callers of every flavour."""

from __future__ import annotations

import pytest

from tests.support.fixtures import anyio_backend, flavour, make_caller, make_node, plain_context
from tests.support.http2_node import H2, speaking_h2

__all__ = ["anyio_backend", "flavour", "make_caller", "make_node", "plain_context"]


@pytest.fixture
def make_h2(make_node):
    """Make nodes that speak HTTP/2 by prior knowledge."""

    def make(act=H2.answer):
        node = make_node(speaking_h2(act))
        node.calls = []
        return node

    return make


@pytest.fixture
def make_h2_caller(make_caller):
    """Make callers that speak HTTP/2 by prior knowledge."""
    return lambda *nodes, **options: make_caller(*nodes, http1=False, http2=True, **options)
