"""No file imports, by way of others, itself: not even for types."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.support.rooms import PACKAGE, parsed


def files() -> dict[str, ast.Module]:
    """Parse every file of the package, by the name that it is imported by."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = parsed(path)
    return found


def is_import_by_name(node: ast.AST) -> bool:
    """Tell whether a node is the name of the function that imports by name."""
    return "import_module" in (getattr(node, "id", ""), getattr(node, "attr", ""))


def imports(trees: dict[str, ast.Module]) -> dict[str, set[str]]:
    """Give the files that each file imports, for types, lazily or by name as well."""
    graph: dict[str, set[str]] = {name: set() for name in trees}
    for name, tree in trees.items():
        by_name = any(map(is_import_by_name, ast.walk(tree)))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                graph[name] |= {one.name for one in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                whole = (f"{node.module}.{one.name}" for one in node.names)
                graph[name] |= {one if one in trees else node.module for one in whole}
            elif isinstance(node, ast.Constant) and by_name:
                graph[name] |= {node.value} & trees.keys()  # what is imported by name
        graph[name] = {one for one in graph[name] if one in trees and one != name}
    return graph


def test_there_is_no_circle() -> None:
    """Whoever reads a file finds what it stands on further down, all the way."""
    graph = imports(files())
    assert sum(map(len, graph.values())) > len(graph)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def test_a_circle_is_seen() -> None:
    """Two files that import each other, one of them for types alone, are one."""
    trees = {"a": ast.parse("import b"), "b": ast.parse("if X:\n    from a import c")}
    with pytest.raises(CycleError):
        TopologicalSorter(imports(trees)).prepare()
    trees["a"] = ast.parse("import_module('b')")
    with pytest.raises(CycleError):
        TopologicalSorter(imports(trees)).prepare()
