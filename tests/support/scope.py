"""What `pytest` by itself leaves out, so that it ends within minutes: `--full` runs everything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[2]

LONG: dict[str, str] = {
    "tests/behaviour/draining/test_close.py": "waits for answers that a close cuts or lets end",
    "tests/behaviour/draining/test_exit.py": "starts programs that exit in many ways",
    "tests/behaviour/draining/test_storm.py": "cancels thousands of calls",
    "tests/behaviour/frameworks": "starts whole applications",
    "tests/behaviour/http2/test_interrupts.py": "walks all interruptible places of a call",
    "tests/behaviour/http2/test_proxies.py": "drains real proxies under load",
    "tests/behaviour/httpx2": "runs parts of the suite again in processes of their own",
    "tests/behaviour/processes": "forks, exits and interrupts programs of their own",
    "tests/behaviour/security/test_services.py": "fills a table of services",
    "tests/chaos": "hurts real providers for a minute",
    "tests/commands/demo": "plays releases on real providers",
    "tests/connections/test_interrupts.py": "walks all interruptible places of a call",
    "tests/conformance": "starts each registry and takes it through outages",
    "tests/cost/test_gate.py": "makes thousands of calls, and counts what each does",
    "tests/core/routing/test_zones.py": "plays a minute of traffic for each case",
    "tests/discovery/test_probe_storm.py": "probes ten thousand nodes for hours",
    "tests/docs/test_blocks.py": "runs every page from top to bottom",
    "tests/docs/test_look.py": "builds the site and looks at it in a browser",
    "tests/examples": "starts real registries and services",
    "tests/fuzz": "searches for a while",
    "tests/packaging": "builds and installs the package",
    "tests/planning/test_plan.py": "rehearses whole releases",
    "tests/provider/test_rolling_restart.py": "restarts seven kinds of servers under load",
    "tests/registries/test_rogue.py": "tells each adapter hundreds of things that no registry says",
    "tests/simulation": "plays hours of traffic from many seeds",
    "tests/telemetry/test_backends.py": "starts Jaeger and Prometheus",
    "tests/telemetry/test_idle.py": "starts Prometheus and waits for some of its scrapes",
    "tests/transport/test_probe_path.py": "waits for an application that takes seconds to import",
}
"""Path and reason; each is there, by tests/architecture/test_scope.py."""

OTHER_FLAVOURS = ("trio", "pool", "httpx2")
"""Parts of the names of variants: the usual run has threads and asyncio on connections of our own,
on the library that is installed first."""

MARKS = ("long", "real_time")
"""What leaves a single test out; the second is for those that compare times with a control."""


def is_long_path(path: Path) -> bool:
    """Tell whether all tests of a file or folder are left out of the usual run."""
    name = path.relative_to(ROOT).as_posix()
    return any(name == place or name.startswith(f"{place}/") for place in LONG)


def is_long(item: pytest.Item) -> bool:
    """Tell whether a test is left out of the usual run."""
    if is_long_path(item.path) or any(item.get_closest_marker(mark) for mark in MARKS):
        return True
    variant = item.name.partition("[")[2]
    return any(name in variant for name in OTHER_FLAVOURS)


def everything(config: pytest.Config) -> bool:
    """Tell whether nothing is left out: what was asked for by path is run, whatever it takes."""
    return bool(config.getoption("full")) or config.args_source is not config.ArgsSource.TESTPATHS


def is_passed_over(path: Path, config: pytest.Config) -> bool:
    """Tell whether the run need not even import a file or folder, which takes seconds for all."""
    return not everything(config) and not config.getoption("rest") and is_long_path(path)


def chosen(config: pytest.Config, items: list[pytest.Item]) -> list[pytest.Item]:
    """Give what is to be run."""
    if everything(config):
        return items
    rest = bool(config.getoption("rest"))
    return [item for item in items if is_long(item) == rest]


def last_by_the_clock(items: list[pytest.Item]) -> list[pytest.Item]:
    """Put those that measure time after all others, which may have left threads at work."""
    return sorted(items, key=lambda item: item.get_closest_marker("real_time") is not None)
