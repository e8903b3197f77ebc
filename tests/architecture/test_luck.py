"""No test says that something took less than a constant: a busy machine is no fault.

What is left for the clock has a control beside it, a margin of twenty, and the mark `real_time`, by
which it runs after everything else, when nothing that others have started is still at work.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tests.support.rooms import ROOT, parsed

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = ROOT / "tests"
CLOCKS = {"monotonic", "perf_counter", "process_time", "thread_time", "time"}
MARK = "real_time"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
BELOW, ABOVE = (ast.Lt, ast.LtE), (ast.Gt, ast.GtE)


def is_reading(node: ast.expr) -> bool:
    """Tell whether a clock is read: `time.monotonic()`, `anyio.current_time()`."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    owner = node.func.value
    of_time = isinstance(owner, ast.Name) and owner.id == "time" and node.func.attr in CLOCKS
    return of_time or node.func.attr in ("total_seconds", "current_time")


def is_measure(node: ast.expr, names: set[str]) -> bool:
    """Tell whether a value is a time that something took."""
    while isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
        return any(is_reading(one) for one in ast.walk(node) if isinstance(one, ast.expr))
    if isinstance(node, ast.Call):
        named = isinstance(node.func, ast.Name) and node.func.id in names
        return named or any(is_measure(one, names) for one in node.args)
    if isinstance(node, ast.GeneratorExp):
        return is_measure(node.elt, names)
    return isinstance(node, ast.Name) and node.id in names


def is_constant(node: ast.expr) -> bool:
    """Tell whether a value is fixed: a number, a name in capitals, or what is made of these."""
    if isinstance(node, ast.BinOp):
        return is_constant(node.left) and is_constant(node.right)
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Name) and node.id.isupper())


def measures(tree: ast.AST) -> set[str]:
    """Give the names that hold times that something took, lists of them, or functions of them."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS):
            given = [one.value for one in ast.walk(node) if isinstance(one, ast.Return)]
            if any(value is not None and is_measure(value, set()) for value in given):
                names.add(node.name)
        if isinstance(node, ast.Assign) and is_measure(node.value, set()):
            names |= {one.id for one in node.targets if isinstance(one, ast.Name)}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner, added = node.func.value, node.func.attr == "append"
            if added and isinstance(owner, ast.Name) and is_measure(node.args[0], set()):
                names.add(owner.id)
    return names


def bounds(tree: ast.AST, names: set[str]) -> Iterator[tuple[ast.Assert, ast.expr]]:
    """Give each assertion that something took less than a value, and the value."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assert):
            continue
        for part in ast.walk(node.test):
            if not isinstance(part, ast.Compare):
                continue
            sides = [part.left, *part.comparators]
            for left, how, right in zip(sides, part.ops, sides[1:], strict=False):
                less, more = (left, right) if isinstance(how, BELOW) else (right, left)
                if isinstance(how, BELOW + ABOVE) and is_measure(less, names):
                    yield node, more


def lucky(tree: ast.Module) -> list[int]:
    """Give the lines that assert that something took less than a constant."""
    return [node.lineno for node, more in bounds(tree, measures(tree)) if is_constant(more)]


def unmarked(tree: ast.Module) -> list[str]:
    """Give the tests that compare with a control, and have no mark or a margin below twenty."""
    names, found = measures(tree), []
    for test in tree.body:
        if not isinstance(test, FUNCTIONS):
            continue
        marked = any(f"mark.{MARK}(" in ast.unparse(one) for one in test.decorator_list)
        controls = [more for _, more in bounds(test, names) if not is_constant(more)]
        wide = all(ast.unparse(more).startswith("20 * ") for more in controls)
        if controls and not (marked and wide):
            found.append(test.name)
    return found


@pytest.mark.parametrize(
    "source",
    [
        "assert time.monotonic() - began < 0.25",
        "assert 0.15 < anyio.current_time() - start < 0.6",
        "assert 2 * LIMIT >= time.perf_counter() - began",
        "took = time.monotonic() - began\nassert 0.2 < took <= 4 * 0.4",
        "took.append(time.monotonic() - began)\nassert sorted(took)[3] < 0.2",
        "times = []\ntimes.append(time.time() - began)\nassert min(times) < 0.010",
        "def cost():\n  return time.time() - began\nassert min(cost() for _ in range(3)) < 0.010",
    ],
)
def test_such_assertions_are_found(source):
    """Whatever the clock, the side and the name that holds it."""
    assert lucky(ast.parse(source)) == [source.count("\n") + 1]


@pytest.mark.parametrize(
    "source",
    [
        "assert time.monotonic() < end, 'it hangs'",
        "assert time.monotonic() - began > 0.2",
        "took = time.monotonic() - began\nassert took < 20 * control",
        "assert len(drops) < 500",
    ],
)
def test_nothing_else_is(source):
    """A guard against hanging, a timer that is not early and a control beside it are no luck."""
    assert lucky(ast.parse(source)) == []


def test_no_test_depends_on_luck():
    """What is to be quick is proven by the order of events, an injected clock or a control."""
    found = {
        str(path.relative_to(TESTS)): lines
        for path in sorted(TESTS.rglob("*.py"))
        if (lines := lucky(parsed(path)))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("decorator", "margin", "expected"),
    [
        ('@pytest.mark.real_time("it has a control")', 20, []),
        ('@pytest.mark.real_time("it has a control")', 3, ["t"]),
        ("@once", 20, ["t"]),
    ],
)
def test_what_is_left_for_the_clock_is_found(decorator, margin, expected):
    """A control alone is not enough."""
    body = f"took = time.time() - began; assert took < {margin} * control"
    assert unmarked(ast.parse(f"{decorator}\ndef t(control):\n  {body}")) == expected


def test_what_is_left_for_the_clock_is_marked():
    """Each such test runs alone, with a margin that a busy machine does not use up."""
    found = {
        str(path.relative_to(TESTS)): tests
        for path in sorted(TESTS.rglob("*.py"))
        if (tests := unmarked(parsed(path)))
    }
    assert found == {}
