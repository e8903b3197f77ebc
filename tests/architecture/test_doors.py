"""What a door says of imports is what the files behind it do."""

from __future__ import annotations

import ast
import re
import tomllib
from typing import TYPE_CHECKING

import pytest

from tests.support.rooms import PACKAGE, ROOT, folders, parsed

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
DOORS = {place: " ".join(doc.split()) for place, doc in folders()}
EVERYTHING = re.compile(r"\b(?:everything|anything)\b")
"""A door that says so allows whatever the contracts do."""


def floors() -> list[set[str]]:
    """Give the rooms from the top down, those of the core in the place of the core."""
    layers = {
        one["containers"][0]: [set(re.findall(r"\w+", layer)) for layer in one["layers"]]
        for one in CONTRACTS["contracts"]
        if one["type"] == "layers"
    }
    inside = [{f"_core/{room}" for room in floor} for floor in layers["rpcguard._core"]]
    found = []
    for floor in layers["rpcguard"]:
        found += inside if "_core" in floor else [floor]
    return found


FLOORS = floors()


def floor_of(room: str) -> int:
    """Give how far down a room is; a folder in a room is as far down as that."""
    outer = room if room.startswith("_core/") else room.partition("/")[0]
    if outer == "_core":
        return min(floor_of(one) for one in DOORS if one.startswith("_core/"))
    return next((at for at, rooms in enumerate(FLOORS) if outer in rooms), -1)


def room_of(module: str) -> str:
    """Give the room in which a module is, or its own name where it is in none."""
    parts = module.split(".")[1:]
    while parts and "/".join(parts) not in DOORS:
        if len(parts) == 1:
            return parts[0]
        parts.pop()
    return "/".join(parts) or "rpcguard"


def imported(place: str) -> Iterator[str]:
    """Give the rooms that the files of a room import, for types as well."""
    for path in sorted((PACKAGE / place).glob("*.py")):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Import):
                yield from (room_of(one.name) for one in node.names if _is_ours(one.name))
            elif isinstance(node, ast.ImportFrom) and _is_ours(node.module or ""):
                for one in node.names:
                    whole = f"{node.module}.{one.name}"
                    found = PACKAGE.parent.joinpath(*whole.split(".")).with_suffix(".py").exists()
                    yield room_of(whole if found else node.module or "")


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == "rpcguard"


def named(place: str) -> set[str]:
    """Give the rooms that a door names where it speaks of imports."""
    said = re.search(r"mports: (.*?)newcomer gets wrong", DOORS[place])
    assert said is not None
    found = set()
    for word in re.findall(r"`([\w/]+)`", said[1]):
        beside = f"{place.rpartition('/')[0]}/{word}"
        inside = f"{place}/{word}"
        found.add(next((one for one in (beside, inside) if one in DOORS), word))
    return found


def is_allowed(place: str, room: str) -> bool:
    """Tell whether a door lets its files import a room."""
    if f"{room}/".startswith(f"{place}/") or place.startswith(f"{room}/"):
        return True  # its own rooms, and the one that it is in
    if room in FLOORS[-1] or EVERYTHING.search(DOORS[place].partition("mports: ")[2]):
        return True
    rooms = named(place)
    below = "below" in DOORS[place].partition("mports: ")[2]
    return any(f"{room}/".startswith(f"{one}/") for one in rooms) or (
        below and any(floor_of(room) > floor_of(one) >= 0 for one in rooms)
    )


@pytest.mark.parametrize("place", [place for place in DOORS if place != "_core"])
def test_a_room_imports_what_its_door_says(place):
    """A reader who believes the door is not surprised behind it."""
    assert sorted({room for room in imported(place) if not is_allowed(place, room)}) == []


@pytest.mark.parametrize("place", DOORS)
def test_a_door_names_no_room_above(place):
    """What it may not import by the contracts it does not promise either."""
    if not EVERYTHING.search(DOORS[place].partition("mports: ")[2]):
        above = {one for one in named(place) if 0 <= floor_of(one) < floor_of(place)}
        assert above == set()


def test_what_a_door_does_not_say_is_seen():
    """A room above, and one beside it of which it says nothing."""
    assert not is_allowed("_core/policies", "_core/routing")
    assert not is_allowed("_core/balancing", "_core/outcomes")
    assert not is_allowed("registries/etcd", "registries/xds")
    assert is_allowed("registries/etcd", "registries/_shared")
    assert is_allowed("_core/service", "_core/routing")


def test_no_adapter_imports_another():
    """Each can be read, and be taken away, alone; an old path of a file is no adapter."""
    shared = {"_shared", "_rules", "base"}
    single = {path.stem for path in (PACKAGE / "registries").glob("[!_]*.py")} - shared
    whole = {path.parent.name for path in (PACKAGE / "registries").glob("[!_]*/__init__.py")}
    found = set()
    for name in sorted(single | whole):
        path = PACKAGE / "registries" / name
        for one in sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]:
            for node in ast.walk(parsed(one)):
                if isinstance(node, ast.ImportFrom):
                    parts = (node.module or "").split(".")
                    if parts[:2] == ["rpcguard", "registries"] and len(parts) > 2:
                        found |= {(name, parts[2])} if parts[2] not in {*shared, name} else set()
    assert found == set()
