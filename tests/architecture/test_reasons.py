"""Every number at the top of a module or class says why it is what it is."""

from __future__ import annotations

import ast
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.support.rooms import modules

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def unexplained(source: str) -> Iterator[str]:
    """Give the numbers without a comment beside or above, or a string below.

    Wherever they stand in the value: in a tuple, a set, a dict, a call, over several lines. A class
    counts its fields from 0, and what a function does with a number is its own.
    """
    lines = source.splitlines()
    yield from _in_body(ast.parse(source).body, lines, free=())


def _in_body(body: Sequence[ast.stmt], lines: list[str], free: tuple[int, ...]) -> Iterator[str]:
    for node, below in pairwise([*body, None]):
        if isinstance(node, ast.ClassDef):
            yield from _in_body(node.body, lines, free=(0,))
        elif isinstance(node, ast.If | ast.Try):
            yield from _in_body([*node.body, *node.orelse], lines, free)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and not _is_said(node, below, lines):
            for at in sorted(set(_numbers(node.value, free))):
                if "  # " not in lines[at - 1]:
                    yield lines[at - 1].strip()


def _is_said(node: ast.stmt, below: ast.stmt | None, lines: list[str]) -> bool:
    string = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
    return string or lines[node.lineno - 2].lstrip().startswith("#")


def _numbers(value: ast.AST | None, free: tuple[int, ...]) -> Iterator[int]:
    """Give the line of each number in a value."""
    if value is None or isinstance(value, ast.Lambda | ast.JoinedStr):
        return
    if isinstance(value, ast.Constant):
        number = isinstance(value.value, int | float) and not isinstance(value.value, bool)
        if number and value.value not in free:
            yield value.lineno
    for part in ast.iter_child_nodes(value):
        yield from _numbers(part, free)


def test_every_number_has_its_reason():
    """A limit, a time or a share without a reason cannot be judged, nor changed."""
    found = {place: list(unexplained(path.read_text())) for place, path in modules()}
    assert {place: lines for place, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "value",
    [
        *("3", "-3.0", "(1, 2)", "[1]", "{1}", "frozenset({503})", "{'ports': {'http': 80}}"),
        *("Limits(most=500)", "2 * OTHER", "OTHER + 5", "{**OTHER, 'a': (('b', 1),)}"),
    ],
)
def test_a_number_is_seen_wherever_it_stands(value):
    """In whatever it is wrapped, in a class as at the top, and said in any of three ways."""
    for before, after in (("", ""), ("class A:\n    ", ""), ("if X:\n    ", "")):
        assert len(list(unexplained(f"{before}_MOST = {value}{after}"))) == 1
    assert not list(unexplained(f"_MOST = {value}  # as RFC 9110 says"))
    assert not list(unexplained(f"# As RFC 9110 says.\n_MOST = {value}"))
    assert not list(unexplained(f'_MOST = {value}\n"""As RFC 9110 says."""'))


def test_what_is_no_number_needs_no_reason():
    """Texts, truths, what functions do, and the nothing that a field begins with."""
    source = "A = 'x'\nB = True\nC = lambda x: x + 1\nclass D:\n    count: int = 0\n    e = True"
    assert not list(unexplained(source))
