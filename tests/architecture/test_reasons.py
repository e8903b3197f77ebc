"""Every number at the top of a module says why it is what it is."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from tests.support.rooms import modules, parsed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def unexplained(path: Path) -> Iterator[str]:
    """Give the numbers of a module without a comment beside or above, or a string below."""
    lines = path.read_text().splitlines()
    body = parsed(path).body
    for node, below in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not _is_number(node.value):
            continue
        string = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        above = lines[node.lineno - 2].lstrip().startswith("#")
        beside = "  # " in lines[node.end_lineno - 1]
        if not (string or above or beside):
            yield lines[node.lineno - 1]


def _is_number(value: ast.expr | None) -> bool:
    """Tell whether a value is a number, or a sum or product or tuple of numbers."""
    if isinstance(value, ast.Constant):
        return isinstance(value.value, int | float) and not isinstance(value.value, bool)
    if isinstance(value, ast.BinOp):
        return _is_number(value.left) and _is_number(value.right)
    if isinstance(value, ast.UnaryOp):
        return _is_number(value.operand)
    return isinstance(value, ast.Tuple) and bool(value.elts) and all(map(_is_number, value.elts))


def test_every_number_has_its_reason():
    """A limit, a time or a share without a reason cannot be judged, nor changed."""
    found = {place: list(unexplained(path)) for place, path in modules()}
    assert {place: lines for place, lines in found.items() if lines} == {}
