"""Each field of a live node has one owner, so that whoever wonders about it knows where to look."""

from __future__ import annotations

import ast
import re

from rpcguard._core.nodes.live import LiveNode
from rpcguard._core.nodes.load import NodeLoad
from tests.support.rooms import PACKAGE, modules, parsed

CORE = PACKAGE / "_core"
FIELDS = {*LiveNode.__slots__, *NodeLoad.__slots__}
OWN = {"nodes/live.py", "nodes/load.py"}
"""Where a node writes its own fields, as `self`."""
NAMES = {"live", "first", "second", "other", "one", "two", "near", "far", "node"}
"""What a variable that holds a live node is called; `lease.live` is one as well."""


def owners() -> dict[str, str]:
    """Read the block of owners in the docstring of `LiveNode`."""
    block = (LiveNode.__doc__ or "").partition("Owners:")[2].partition("\n\n")[0]
    rows = re.findall(r"(\S+\.py): ([\w,\s]+?)(?=\s+\S+\.py:|\Z)", block)
    return {field: place for place, fields in rows for field in re.findall(r"\w+", fields)}


def _targets(tree: ast.AST) -> list[ast.expr]:
    found: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            found += node.targets
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            found.append(node.target)
    flat: list[ast.expr] = []
    while found:
        target = found.pop()
        if isinstance(target, ast.Tuple | ast.List):
            found += target.elts
        else:
            flat.append(target)
    return flat


def _is_live(value: ast.expr) -> bool:
    if isinstance(value, ast.Attribute):
        return value.attr == "live"
    return isinstance(value, ast.Name) and value.id in NAMES


def written(tree: ast.AST) -> set[str]:
    """Give the fields of live nodes that a file assigns."""
    return {
        target.attr
        for target in _targets(tree)
        if isinstance(target, ast.Attribute) and target.attr in FIELDS and _is_live(target.value)
    }


def test_each_field_has_an_owner():
    """The docstring names one for every field, and none that is no field."""
    assert set(owners()) == FIELDS
    for place in owners().values():
        assert (CORE / place).is_file(), place


def test_only_its_owner_writes_a_field():
    """No other file assigns it; the node itself counts what happens to it."""
    trespasses = {
        (name, field)
        for name, path in modules()
        if path not in {CORE / own for own in OWN}
        for field in written(parsed(path))
        if CORE / owners()[field] != path
    }
    assert trespasses == set()


def test_owners_do_write():
    """An owner that writes nothing would be a name on the wrong door."""
    elsewhere = {field: place for field, place in owners().items() if place not in OWN}
    for field, place in elsewhere.items():
        assert field in written(parsed(CORE / place)), (field, place)
