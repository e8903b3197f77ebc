"""Fixtures of pytest for programs that call through rpcguard.

Nothing of rpcguard is imported before one of them is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rpcguard.testing import ScriptedRegistry


@pytest.fixture
def rpcguard_mocked() -> Iterator[None]:
    """Let the mocks of httpx, such as respx and pytest-httpx, see the calls by their own URLs."""
    from rpcguard.testing import mocked

    with mocked():
        yield


@pytest.fixture
def rpcguard_registry() -> ScriptedRegistry:
    """Give a registry that lists what the test says."""
    from rpcguard.testing import ScriptedRegistry

    return ScriptedRegistry()
