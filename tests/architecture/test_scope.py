"""What the usual run leaves out is there, has its reason, and is run by `--full` and in CI."""

from __future__ import annotations

import re

import pytest

from tests.support.scope import LONG, ROOT, is_long, last_by_the_clock


@pytest.mark.parametrize("place", LONG)
def test_what_is_left_out_is_there(place):
    """A path that has moved would be run without anybody's noticing."""
    assert (ROOT / place).exists()
    assert len(LONG[place]) > 10


def test_what_is_marked_has_its_reason():
    """As each path has: whoever meets the mark sees what it costs."""
    bare = re.compile(r"mark\.(?:long|real_time)(?!\(\"[^\"]{10,}\"\))")
    files = (ROOT / "tests").rglob("*.py")
    assert [path.name for path in files if bare.search(path.read_text())] == []


def test_variants_of_a_test(request):
    """The usual run has threads and asyncio; trio, httpx's own pools and httpx2 are the rest."""
    item = request.node
    original = item.name
    expected = {"t[asyncio-stack]": False, "t[sync-stack]": False, "t": False}
    expected |= {"t[trio-stack]": True, "t[sync-pool]": True, "t[a-httpx2]": True, "trio": False}
    try:
        for name, long in expected.items():
            item.name = name
            assert is_long(item) is long, name
    finally:
        item.name = original


@pytest.mark.real_time("it is the one that is asked after")
def test_what_measures_time_runs_alone(request):
    """Nothing that other tests have started may be at work beside it; the rest keeps its order."""
    items = [item for item in request.session.items if item.path == request.node.path]
    assert last_by_the_clock([request.node, *items])[-1] is request.node
    assert items[-1] is request.node
    assert is_long(request.node)


def test_ci_runs_the_rest():
    """First the command of the README as it is, then what that leaves out."""
    script = (ROOT / ".ci/run").read_text()
    assert script.index("README.md") < script.index("pytest --rest")
