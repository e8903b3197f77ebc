"""Imports by name, which no contract sees, are few, are known, and run the same way as the rest."""

from __future__ import annotations

import ast
import re
import tomllib
from typing import TYPE_CHECKING

import pytest

from rpcguard._public import ON_FIRST_USE
from tests.support.rooms import PACKAGE, ROOT, modules, parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WAYS = {"import_module", "__import__", "exec_module", "load_module", "run_module", "run_path"}
"""What imports a module whose name is a value; `load()` of an entry point does, too."""

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def by_name(tree: ast.AST) -> Iterator[str]:
    """Give each call that imports what a value names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in WAYS or (called == "load" and not (node.args or node.keywords)):
                yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and node.module in ("importlib", "runpy"):
            # Under another name it would not be seen.
            yield from (f"as {one.asname}" for one in node.names if one.asname)


def late_names() -> set[str]:
    """Give the files of the public names that are loaded on first use."""
    return set(ON_FIRST_USE.values())


def cores() -> set[str]:
    """Give the modules that a `Library` is told to load."""
    return {
        keyword.value.value
        for _, path in modules()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Library"
        for keyword in node.keywords
        if keyword.arg == "core" and isinstance(keyword.value, ast.Constant)
    }


def adapters() -> set[str]:
    """Give the modules of the registries that the package offers."""
    offered = PROJECT["project"]["entry-points"]["rpcguard.registries"]
    return {value.partition(":")[0] for value in offered.values()}


KNOWN: dict[str, Callable[[], set[str]]] = {
    "__init__.py": late_names,
    "_connections/library.py": cores,
    "registries/base.py": adapters,
}
"""Which files import by name, and what gives the names; a registry of users is found so as well."""


def test_imports_by_name_are_known():
    """A new one is written down here, with what it may load."""
    found = {place: list(by_name(parsed(path))) for place, path in modules()}
    assert {place: len(calls) for place, calls in found.items() if calls} == dict.fromkeys(KNOWN, 1)


def layers() -> list[set[str]]:
    """Give the rooms of the package, the highest first, as the contract lists them."""
    (contract,) = (
        one
        for one in PROJECT["tool"]["importlinter"]["contracts"]
        if one.get("containers") == ["rpcguard"]
    )
    return [set(re.findall(r"\w+", layer)) for layer in contract["layers"]]


def room(module: str) -> str:
    """Give the first part of a module's path below the package; of the package itself nothing."""
    return module.partition(".")[2].partition(".")[0]


def level(module: str) -> int:
    """Give how far down a module is; the package itself is above all of its rooms."""
    return next((at for at, rooms in enumerate(layers()) if room(module) in rooms), -1)


@pytest.mark.parametrize("place", KNOWN)
def test_they_run_downward(place):
    """What is loaded lies below, or in the same room, or outside."""
    importer = f"rpcguard.{place.removesuffix('.py').replace('/', '.')}".removesuffix(".__init__")
    targets = KNOWN[place]()
    assert targets, f"nothing gives the names that {place} loads"
    ours = {name for name in targets if name.partition(".")[0] == "rpcguard"}
    above = {
        name for name in ours if room(name) != room(importer) and level(name) <= level(importer)
    }
    assert above == set()
    for name in ours:
        path = PACKAGE.parent / name.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__init__.py").exists(), name


def test_the_core_imports_nothing_by_name():
    """The contract that it does no I/O would not see it."""
    assert not [place for place in KNOWN if place.startswith("_core")]


@pytest.mark.parametrize(
    "line",
    [
        "import_module('rpcguard._transport')",
        "importlib.import_module(name)",
        "__import__('httpx')",
        "spec.loader.exec_module(module)",
        "runpy.run_module('rpcguard')",
        "entry.load()",
        "from importlib import import_module as get",
    ],
)
def test_each_way_is_seen(line):
    """Not only the usual one."""
    assert len(list(by_name(ast.parse(line)))) == 1
