"""The fields of the policies as the page on configuration shows them."""

from __future__ import annotations

import ast
import json
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING

from rpcguard._core.policies.bundle import OPTIONS
from tests.support.rooms import modules, parsed

if TYPE_CHECKING:
    from collections.abc import Iterator


def said_of(kind: type) -> dict[str, str]:
    """Give what stands under each field of a class, up to its first full stop or semicolon."""
    tree = next(
        node
        for _, path in modules()
        for node in parsed(path).body
        if isinstance(node, ast.ClassDef) and node.name == kind.__name__
    )
    found = {}
    for one, below in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(one, ast.AnnAssign) and isinstance(below, ast.Expr):
            assert isinstance(one.target, ast.Name)
            assert isinstance(below.value, ast.Constant)
            words = " ".join(str(below.value.value).split())
            found[one.target.id] = words.partition(". ")[0].partition(";")[0].rstrip(".")
    return found


def default_of(value: object) -> str:
    """Write a default as TOML has it; `none` where there is none, since TOML has no word for it."""
    if value is MISSING or value is None:
        return "none"
    if isinstance(value, frozenset | tuple):
        listed = sorted(value) if isinstance(value, frozenset) else value
        return f"[{', '.join(map(default_of, listed))}]"
    return json.dumps(value)


def rows(name: str) -> Iterator[str]:
    """Give the rows of one policy."""
    kind = OPTIONS[name].kind
    said = said_of(kind)
    for one in fields(kind):
        yield f"| `{name}.{one.name}` | `{default_of(one.default)}` | {said[one.name]} |"


def table_of_fields() -> str:
    """Write the tables of all policies."""
    tables = [
        "\n".join([f"### {name}", "", "| field | default | what |", "|---|---|---|", *rows(name)])
        for name in OPTIONS
    ]
    return "\n\n".join(tables)
