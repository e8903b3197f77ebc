"""Scripted nodes that speak HTTP/2 without TLS, and the callers of every flavour."""

from __future__ import annotations

import pytest

from tests.support.fixtures import *  # noqa: F403
from tests.support.http2_node import H2, as_h2_node


@pytest.fixture
def make_h2(make_node):
    """Make nodes that speak HTTP/2 by prior knowledge."""

    def make(act=H2.answer):
        return as_h2_node(make_node(), act)

    return make


@pytest.fixture
def make_h2_caller(make_caller):
    """Make callers that speak HTTP/2 by prior knowledge."""
    return lambda *nodes, **options: make_caller(
        *nodes, **{"http1": False, "http2": True} | options
    )
