"""Draw mutants and try them: `python -m tests.mutants [seed] [count]`, 2026 and 100 by default."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.known import EQUIVALENT
from tests.mutants.operators import ROOT, Mutant, draw

SEED, COUNT = 2026, 100
PATIENCE = 900.0
"""Seconds after which a mutant that hangs counts as noticed: the tests take a tenth of it."""

TESTS = ("tests/core", "tests/transport/test_handing_out.py")
SEEDS = 2000
"""Simulated worlds for what the tests of the core let pass."""


def survives(mutant: Mutant) -> bool:
    """Try a mutant on a copy of the tree: first the tests of the core, then the simulation."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("rpcguard", "tests", "benchmarks", "pyproject.toml"):
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
        (copy / mutant.path.relative_to(ROOT)).write_text(mutant.source)
        tests = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *TESTS]
        worlds = [sys.executable, "-m", "tests.simulation", "0", str(SEEDS)]
        return _passes(tests, copy) and _passes(worlds, copy)


def _passes(command: list[str], folder: Path) -> bool:
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        run = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return run.returncode == 0


def main() -> int:
    """List the survivors; 0 when each is known to change nothing."""
    seed, count = (*(int(one) for one in sys.argv[1:]), *(SEED, COUNT)[len(sys.argv) - 1 :])
    mutants = draw(seed, count)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        alive = list(pool.map(survives, mutants))
    left = [str(one) for one, lives in zip(mutants, alive, strict=True) if lives]
    unknown = [one for one in left if not any(name in one for name in EQUIVALENT)]
    for one in left:
        print(f"survives{'' if one in unknown else ', and changes nothing'}: {one}")
    print(f"{count - len(left)} of {count} noticed, {len(left) - len(unknown)} equivalent")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
