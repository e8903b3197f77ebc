"""The example of a full-chain lane: what it shows is what real servers answer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(120)
def test_a_mark_stays_with_its_request_through_every_hop():
    """Each lane keeps its calls; where one has no node base serves, and the mark goes on."""
    shown = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / "full_chain_lane.py")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.splitlines() == [
        "no mark  cart > orders > stock",
        "canary-2 cart of canary-2 > orders of canary-2 > stock of canary-2",
        "fix-7    cart > orders of fix-7 > stock",
    ]
