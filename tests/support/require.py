"""What happens to a test whose real server is not on this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.servers.base import Server


def require(server: type[Server]) -> None:
    """Skip a test whose server is not there; fail it where none may be missing."""
    if server.available():
        return
    reason = (
        f"no {server.name} here; get it with: python -m tests.support.servers get {server.name}"
    )
    if os.environ.get("RPCGUARD_REQUIRE_SERVERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
