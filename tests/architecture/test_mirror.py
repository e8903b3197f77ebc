"""Tests lie where what they test lies, so that whoever changes a room knows what to run."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tests.support.rooms import PACKAGE, ROOT, folders, parsed

if TYPE_CHECKING:
    from pathlib import Path

TESTS = ROOT / "tests"
ROOMS = [place for place, _ in folders() if len([*(PACKAGE / place).glob("*.py")]) > 1]
KINDS = {
    "architecture": "the house itself",
    "behaviour": "what users see, by its name",
    "chaos": "real processes and networks that fail",
    "conformance": "real registries",
    "cost": "what a call costs",
    "docs": "what the pages say",
    "examples": "programs that are shown",
    "fuzz": "bytes that nobody sends on purpose",
    "mutants": "whether tests notice a change",
    "packaging": "what is installed",
    "simulation": "whole services in made-up worlds",
    "support": "what tests share",
}
"""The folders that mirror no room, and what they are about."""
DOORS = {
    "_commands/config": "rpcguard.cli",
    "_commands/get": "rpcguard.cli",
    "_commands/plan": "rpcguard.cli",
    "_commands/routes": "rpcguard.cli",
    "_config": "tests.support.library",
}
"""By what a room is tested whose tests do not import it: as its users come in."""


def mirror(place: str) -> Path:
    """Give the folder of a room's tests: named as the room is, without underscores."""
    return TESTS.joinpath(*(part.lstrip("_") for part in place.split("/")))


def imported(path: Path) -> set[str]:
    """Give the modules that a file imports, names of them included."""
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{one.name}" for one in node.names)}
        elif isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
    return found


@pytest.mark.parametrize("place", ROOMS)
def test_each_room_has_its_tests(place):
    """In a folder of the same name, and about that room: some of them import it."""
    tests = list(mirror(place).glob("test_*.py"))
    assert tests, f"no tests in {mirror(place).relative_to(ROOT)}"
    room = DOORS.get(place, f"rpcguard.{place.replace('/', '.')}")
    names = set().union(*(imported(path) for path in tests))
    assert [name for name in names if f"{name}.".startswith(f"{room}.")], f"none imports {room}"


def test_each_folder_of_tests_is_a_room_or_has_a_name():
    """What mirrors nothing is a kind of test that is told here."""
    folders_of_tests = {path.parent for path in TESTS.rglob("test_*.py")} - {TESTS}
    mirrors = {mirror(place) for place in ROOMS}
    odd = {
        path.relative_to(TESTS).as_posix()
        for path in folders_of_tests - mirrors
        if path.relative_to(TESTS).parts[0] not in KINDS
    }
    assert odd == set()
    assert [kind for kind in KINDS if not (TESTS / kind).is_dir()] == []
