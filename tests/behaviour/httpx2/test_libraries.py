"""The tests of behaviour once more on httpx2, and on httpx2 by the name of httpx.

What the other folders test does not call through a transport, or knows nothing of its library:
lists, registries, providers, the demo, benchmarks and pages.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.library import LIBRARY, VARIABLE

ROOT = Path(__file__).parents[3]

FOLDERS = (
    "config",
    "transport",
    "core/outcomes",
    "behaviour/dropin",
    "behaviour/frameworks",
    "behaviour/http2",
    "behaviour/draining",
    "behaviour/streams",
    "telemetry",
    "status",
)
ALIASED = (*FOLDERS, "connections")  # by itself that runs on both libraries already
RUNS = [("httpx2", folder) for folder in FOLDERS] + [("alias", folder) for folder in ALIASED]
LEFT_OUT = {
    "tests/behaviour/dropin/test_overloaded.py": "is about httpx-retries, which is made for httpx",
    "tests/telemetry/test_backends.py": "is about what Jaeger and Prometheus make of spans",
    "tests/telemetry/test_idle.py": "is about what Prometheus makes of a caller of its own",
    "tests/telemetry/test_setup.py": "is about how OpenTelemetry is found",
}
SHORTER = {
    ("httpx2", "behaviour/http2"): "not test_proxies or asyncio",  # a proxy knows no event loop
    ("alias", "behaviour/http2"): "not test_proxies",
    ("alias", "connections"): "not httpx2",  # these rows are not touched by the alias
    (
        "alias",
        "behaviour/draining",
    ): "not storm and not cycles",  # took long enough on httpx2 itself
}
BOUND = {
    "tests/core/outcomes/test_outcomes.py": "holds one table against both libraries",
    "tests/behaviour/dropin/test_errors.py": "holds the errors of both against their bases",
    "tests/behaviour/http2/proxies.py": "speaks to the proxies beside the calls",
    "tests/behaviour/frameworks/test_tools.py": "is about tools that are made for httpx",
    "tests/behaviour/http2/test_interrupts.py": "is about signals",
    "tests/connections/conftest.py": "runs each test on both",
    "tests/connections/test_idle.py": "makes contexts for httpx, beside calls on both",
    "tests/connections/test_asyncio_stream.py": "compares with httpx",
    "tests/connections/test_interleavings.py": "is about threads",
    "tests/connections/test_interrupts.py": "is about signals",
    "tests/transport/test_misplaced.py": "puts transports of one into clients of the other",
    **LEFT_OUT,
}


@pytest.mark.skipif(LIBRARY != "httpx", reason="this is such a run")
@pytest.mark.timeout(400)
@pytest.mark.parametrize(("library", "folder"), RUNS)
def test_behaviour_is_the_same(library, folder, request):
    """Every test of behaviour passes on the other library, and under its alias."""
    options = [f"--ignore={path}" for path in LEFT_OUT]
    options += ["-k", SHORTER.get((library, folder), ""), "--tb=short"]
    options += ["-o", f"cache_dir=.pytest_cache/{library}-{folder.replace('/', '-')}"]
    if request.config.getoption("lf", False):
        options.append("--last-failed")  # of these alone, too
    done = subprocess.run(
        [sys.executable, "-m", "pytest", f"tests/{folder}", *options],
        cwd=ROOT,
        env={**os.environ, VARIABLE: library},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    assert f"library: {library} (httpx2 2." in done.stdout
    assert re.search(r"= \d+ passed", done.stdout)


def test_no_test_of_behaviour_is_bound_to_one_library():
    """Tests take the library from `tests.support.library`, or say here why not."""
    bound = [
        str(path.relative_to(ROOT))
        for folder in ALIASED
        for path in sorted((ROOT / "tests" / folder).rglob("*.py"))
        if re.search(r"^ *(?:import httpx\b|from httpx\b)", path.read_text(), re.MULTILINE)
    ]
    assert [path for path in bound if path not in BOUND] == []
