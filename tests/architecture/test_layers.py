"""Imports run one way: the contracts of `pyproject.toml`, types included, without exceptions."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def test_no_import_runs_upward():
    """The rooms, the core, and what the core may not touch: all contracts are kept."""
    done = subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kept, 0 broken" in done.stdout


def test_the_contracts_make_no_exceptions():
    """Nothing is ignored, and an import for types only counts like any other."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    assert settings["exclude_type_checking_imports"] is False
    assert len(settings["contracts"]) == 3
    assert not [one["name"] for one in settings["contracts"] if "ignore_imports" in one]
