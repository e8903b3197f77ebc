"""Tests and benchmarks stand alone: nobody imports a test, nobody bends the path."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from tests.support.rooms import ROOT, parsed

if TYPE_CHECKING:
    from collections.abc import Iterator


def imports(folder: str) -> Iterator[tuple[str, str]]:
    """Give each module that a file below the folder imports."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ImportFrom):
                module = f"{'.' * node.level}{node.module or ''}"
                yield str(path.relative_to(ROOT)), module
                for one in node.names:
                    yield str(path.relative_to(ROOT)), f"{module.rstrip('.')}.{one.name}"
            elif isinstance(node, ast.Import):
                yield from ((str(path.relative_to(ROOT)), one.name) for one in node.names)


def test_no_test_imports_another_test():
    """What tests share lies in tests/support, or in a module of their folder that is no test."""
    shared = [
        (where, what)
        for where, what in imports("tests")
        if what.startswith(("tests.", ".")) and (ROOT / f"{what.replace('.', '/')}.py").exists()
        if what.rpartition(".")[2].startswith("test_")
    ]
    assert shared == []


def test_benchmarks_use_no_test():
    """A benchmark uses what the tests share, and chaos and conformance, which are played too."""
    allowed = ("tests.support", "tests.chaos", "tests.conformance")
    used = [
        (where, what)
        for where, what in imports("benchmarks")
        if what.startswith("tests") and not what.startswith(allowed)
    ]
    assert used == []


BENT = re.compile(r"\bsys\.path(\.(insert|append|extend)\b|(\[[^\]]*\])?\s*\+?=[^=])")
ALLOWED = {
    "tests/docs/page.py": "its blocks are programs in a folder of their own",
    "tests/packaging/test_packages.py": "lends packages to an environment that it makes",
}


def test_nobody_bends_the_path():
    """Benchmarks and tests are started as modules, from the root of the checkout."""
    bent = [
        str(path.relative_to(ROOT))
        for folder in ("benchmarks", "tests", "rpcguard")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if BENT.search(path.read_text())
    ]
    assert bent == list(ALLOWED)


@pytest.mark.parametrize("way", [".append(x)", "[:0] = [x]", " += [x]", " = x"])
def test_each_way_to_bend_it_is_seen(way):
    """Not only the usual one."""
    assert BENT.search(f"sys.path{way}")
