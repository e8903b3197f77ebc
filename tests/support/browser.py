"""The real browser that pages are looked at with."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_FLAGS = (
    "headless no-sandbox disable-gpu disable-background-networking disable-component-update"
    " disable-sync no-first-run"
)


def browser(directory: Path, *arguments: str) -> str:
    """Run it with a profile of its own in `directory`, and give what it prints."""
    command = shutil.which("chromium")
    if command is None:
        reason = "no chromium here; get it with: python -m tests.support.servers get chromium"
        if os.environ.get("RPCGUARD_REQUIRE_SERVERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    flags = [f"--{flag}" for flag in _FLAGS.split()]
    done = subprocess.run(
        [command, *flags, f"--user-data-dir={directory}/profile", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
        env={**os.environ, "HOME": str(directory)},
    )
    return done.stdout
