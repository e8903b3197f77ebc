"""The package as its source shows it: folders, definitions, docstrings."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "rpcguard"


@cache
def parsed(path: Path) -> ast.Module:
    """Give the syntax tree of a file, read once."""
    return ast.parse(path.read_text())


def modules() -> Iterator[tuple[str, Path]]:
    """Give each file of the package with its place in it."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), path


def folders() -> Iterator[tuple[str, str]]:
    """Give each folder of the package with the docstring at its door."""
    for path in sorted(PACKAGE.rglob("__init__.py")):
        if path.parent != PACKAGE:
            place = path.parent.relative_to(PACKAGE).as_posix()
            yield place, ast.get_docstring(parsed(path)) or ""


def table_of_rooms() -> str:
    """Write the table of rooms as `docs/architecture.md` has it."""
    rows = [f"| `{place}` | {doc.splitlines()[0]} |" for place, doc in folders()]
    return "\n".join(["| room | what it is |", "|---|---|", *rows])
