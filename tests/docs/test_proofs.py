"""The tests that the pages on trust and security name are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_NAMED = re.compile(r"`([\w/]+\.py)?(?:::(\w+))?`")


def named(page: str) -> list[tuple[str, str]]:
    """Give each test that a page names: its file, and its function where it names one."""
    found, file = [], ""
    for given, function in _NAMED.findall((ROOT / "docs" / page).read_text()):
        if given or function:
            file = given or file
            found.append((file, function))
    return found


def functions_of(path: Path) -> set[str]:
    """Give the tests of a file."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {one.name for one in ast.walk(ast.parse(path.read_text())) if isinstance(one, kinds)}


@pytest.mark.parametrize("page", ["security.md", "trust.md"])
def test_what_proves_a_page_is_there(page):
    """A proof that was renamed or deleted is no proof any more."""
    missing, proofs = [], named(page)
    for file, function in proofs:
        paths = [
            path for path in (ROOT / "tests").rglob(Path(file).name) if str(path).endswith(file)
        ]
        if not paths or (function and function not in functions_of(paths[0])):
            missing.append(f"{file}::{function}")
    assert len(proofs) >= 7
    assert missing == []


def test_each_part_of_security_names_its_proof():
    """Every section that promises something has a row in the table of proofs."""
    text = (ROOT / "docs" / "security.md").read_text()
    told, _, table = text.partition("## How this is tested")
    sections = [one for one in re.findall(r"^## (.+)$", told, re.M) if "trusted" not in one]
    rows = table.partition("\n\n| ")[2].partition("\n\n")[0]
    covered = {
        "What a provider can do": "What a provider",
        "What a registry can do": "What a registry",
    }
    assert [one for one in sections if covered.get(one, one) not in rows] == []
