"""Files and functions are short enough to be read whole, and nothing in them is left over."""

from __future__ import annotations

import ast
import re
from collections import Counter

import pytest

from tests.support.rooms import modules, parsed

MOST_LINES = 350
"""Of a file: what is longer is about two things."""
MOST_OF_FUNCTION = 30
"""Lines of what a function does: what fits on a screen, with its docstring above."""
LONG = {
    "_commands/switch.py:add_to": (32, "the same for two commands"),
    "_core/balancing/least_requests.py:_better": (32, "the hot path, where a call costs"),
    "_core/nodes/live.py:__init__": (31, "one statement per field"),
    "_telemetry/metrics.py:__init__": (77, "one statement per instrument"),
    "_transport/base.py:__init__": (52, "names each of its options once"),
}
"""Functions that are longer, by how much, and why they are not cut."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def length(node: Function) -> int:
    """Count the lines of what a function does: neither its parameters nor its docstring."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    last = node.body[-1].end_lineno
    assert last is not None
    return last - body[0].lineno + 1 if body else 0


def test_files_are_short():
    """A room that grows gets another file."""
    long = {place: len(path.read_text().splitlines()) for place, path in modules()}
    assert {place: lines for place, lines in long.items() if lines > MOST_LINES} == {}


def test_functions_are_short():
    """Those that are not are known, and do not grow."""
    found = {
        f"{place}:{node.name}": length(node)
        for place, path in modules()
        for node in ast.walk(parsed(path))
        if isinstance(node, Function) and length(node) > MOST_OF_FUNCTION
    }
    assert found == {name: lines for name, (lines, _) in LONG.items()}


def test_a_docstring_makes_no_function_long():
    """What is said of a function is no part of what it does, nor is what it takes."""
    source = "def long(\n  a,\n  b\n):\n    '''" + "x\n" * 40 + "    '''\n    a = 1\n    return a"
    (node,) = ast.parse(source).body
    assert isinstance(node, ast.FunctionDef)
    assert length(node) == 2
    (node,) = ast.parse("def none():\n    '''Nothing.'''").body
    assert isinstance(node, ast.FunctionDef)
    assert length(node) == 0


def top_names(tree: ast.Module) -> list[str]:
    """Give the private names that a file defines at its top."""
    found = []
    for node in tree.body:
        if isinstance(node, ast.Assign):
            found += [one.id for one in node.targets if isinstance(one, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.append(node.target.id)
        elif isinstance(node, Function | ast.ClassDef):
            found.append(node.name)
    return [name for name in found if is_private(name)]


def is_private(name: str) -> bool:
    """Tell whether a name is for its own file."""
    return name.startswith("_") and not name.startswith("__")


def left_over(source: str) -> list[str]:
    """Give the private names at the top of a file that stand in it only once."""
    words = Counter(re.findall(r"\w+", source))
    return [name for name in top_names(ast.parse(source)) if words[name] == 1]


def borrowed(tree: ast.Module) -> list[str]:
    """Give the private names that a file imports from another one of the package."""
    return [
        one.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rpcguard.")
        for one in node.names
        if is_private(one.name)
    ]


def test_nothing_is_left_over():
    """A constant or function that nobody in its file uses, and nobody else may, is dead."""
    found = {place: left_over(path.read_text()) for place, path in modules()}
    assert {place: names for place, names in found.items() if names} == {}


def test_nobody_borrows_a_private_name():
    """What a neighbour uses has a name without an underscore."""
    found = {place: borrowed(parsed(path)) for place, path in modules()}
    assert {place: names for place, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "line", ["_MOST = 3", "_MOST: int = 3", "def _most(): ...", "class _M: ..."]
)
def test_what_is_left_over_is_seen(line):
    """However it is defined; one that is used is none."""
    (name,) = left_over(line)
    assert left_over(f"{line}\n{name}") == []


def test_what_is_borrowed_is_seen():
    """A private name of another file; a private file of a room is no such thing."""
    assert borrowed(ast.parse("from rpcguard._core.call import _draw, plan")) == ["_draw"]
    assert borrowed(ast.parse("from rpcguard._core.call.plan import CallPlan")) == []
