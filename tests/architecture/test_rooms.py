"""What a reader who opens the folder can rely on."""

from __future__ import annotations

import ast
from collections import defaultdict

import pytest

from tests.support.rooms import ROOT, folders, modules, parsed, table_of_rooms

TWO_FACES = {"_httpx.py", "httpx2.py"}
"""The transports of two libraries have one name each, since they are the same for their users."""


@pytest.mark.parametrize(("place", "doc"), list(folders()))
def test_each_folder_says_its_theory(place, doc):
    """A folder's door has a headline and at least three lines on why it is built so."""
    headline, _, theory = doc.partition("\n\n")
    assert headline.endswith(".")
    assert "\n" not in headline, f"{place}: the headline is one line"
    assert len(theory.splitlines()) >= 3, f"{place} does not say its theory"


def test_the_page_shows_the_rooms_as_they_are():
    """The table in docs/architecture.md is made of the folders' first lines."""
    assert table_of_rooms() in (ROOT / "docs/architecture.md").read_text()


def test_no_class_name_stands_for_two_things():
    """A class is found by its name alone; the faces of the two libraries are the exception."""
    places = defaultdict(list)
    for place, path in modules():
        if place not in TWO_FACES:
            for node in ast.walk(parsed(path)):
                if isinstance(node, ast.ClassDef):
                    places[node.name].append(place)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
