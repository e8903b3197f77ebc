"""Programs of their own, run to their end, with every warning an error."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.calls import Node

ROOT = Path(__file__).parents[2]


def run_python(code: str, *nodes: Node, timeout: float = 50.0) -> subprocess.CompletedProcess:
    """Run a program of its own with every warning an error; `REGISTRY` lists the nodes.

    `http`, `Transport` and `AsyncTransport` are those of this run's library.
    """
    addresses = ",".join(f"{node.host}:{node.port}" for node in nodes)
    given = f"REGISTRY = 'static:///orders={addresses}'\nfrom tests.support.library import *\n"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", given + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def check_quiet(done: subprocess.CompletedProcess, output: str) -> None:
    """Hold a program to its output, with nothing on stderr: no warning, no traceback."""
    assert done.stderr == ""
    assert done.stdout == output
    assert done.returncode == 0
