"""What a reader who opens the folder can rely on."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from dataclasses import is_dataclass
from functools import cache
from inspect import getdoc, signature
from itertools import pairwise
from typing import Any

import pytest

import rpcguard
from rpcguard._transport.base import TransportBase
from tests.support.rooms import PACKAGE, ROOT, folders, modules, parsed, table_of_rooms

TWICE = {
    "AsyncTransport": ["_httpx.py", "httpx2.py"],
    "Transport": ["_httpx.py", "httpx2.py"],
    # Those of httpx2 are errors of both: who catches rpcguard's or httpx2's by name catches them.
    "DeadlineExceeded": ["errors.py", "httpx2.py"],
    "NoAvailableNode": ["errors.py", "httpx2.py"],
    "Overloaded": ["errors.py", "httpx2.py"],
    "TransportClosed": ["errors.py", "httpx2.py"],
}
"""Names that a program which goes from httpx to httpx2 keeps: only its import changes."""


@pytest.mark.parametrize(("place", "doc"), list(folders()))
def test_each_folder_says_its_theory(place, doc):
    """A folder's door has a headline, and 10 to 40 lines on why it is built so."""
    headline, _, theory = doc.partition("\n\n")
    assert headline.endswith(".")
    assert "\n" not in headline, f"{place}: the headline is one line"
    assert theory
    assert 10 <= len(doc.splitlines()) <= 40, f"{place} does not say its theory"
    doc = " ".join(doc.split())
    assert "mports: " in doc, f"{place} does not say what it may import"
    assert "newcomer gets wrong: " in doc, f"{place} does not warn"


def test_each_folder_is_a_package():
    """One without a door would be seen by no check of this folder, and by no contract."""
    inside = {path.parent for _, path in modules()}
    assert [folder for folder in inside if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize(
    "path", sorted((PACKAGE / "_core/policies").glob("*.py")), ids=lambda path: path.stem
)
def test_each_field_of_a_policy_is_explained_where_it_stands(path):
    """An editor and the reference page show what a field means, and why its default is so."""
    bare = [
        f"{kind.name}.{field.target.id}"
        for kind in parsed(path).body
        if isinstance(kind, ast.ClassDef) and path.name != "bundle.py"
        for field, following in pairwise([*kind.body, kind])
        if isinstance(field, ast.AnnAssign) and not _is_text(following)
    ]
    assert bare == []


PUBLIC = {
    name: kind
    for name, kind in ((name, getattr(rpcguard, name)) for name in rpcguard.__all__)
    if isinstance(kind, type) and is_dataclass(kind)
}


@pytest.mark.parametrize("name", PUBLIC)
def test_each_field_of_a_public_value_is_explained_where_it_stands(name):
    """Not only of policies: what users are shown, and what they write, has a table too."""
    (kind,) = (node for _, node in _definitions(ast.ClassDef) if node.name == name)
    bare = [
        field.target.id
        for field, following in pairwise([*kind.body, kind])
        if isinstance(field, ast.AnnAssign) and not _is_text(following)
    ]
    assert bare == []


ELSEWHERE = re.compile(r"\b(?:as (?:there|above|below|before)|see above|likewise|ditto)\b", re.I)
"""A text that says less than it seems to, since no editor shows the line that it means."""

WHY = re.compile(r"[:;]|\. [A-Z]|\b(?:default|since|because|so that)\b")
"""How a reason begins: a number that stands alone in its text has none."""

UNIT = re.compile(
    r"(?i)\b(?:seconds?|minutes?|calls?|attempts?|requests?|share|part|rate|times|power|bytes|"
    r"failures|retries|nodes|services|files|number|probability|"
    r"what is left|how (?:much|many|often|far))\b"
)
"""What a number counts."""


def _is_text(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _has_number(value: ast.expr | None) -> bool:
    parts = [] if value is None else ast.walk(value)
    numbers = (one.value for one in parts if isinstance(one, ast.Constant))
    return any(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers)


def numbers_of_policies() -> list[tuple[str, str]]:
    """Give the text of each field whose default is a number."""
    return [
        (f"{kind.name}.{field.target.id}", " ".join(ast.literal_eval(text.value).split()))
        for path in sorted((PACKAGE / "_core/policies").glob("*.py"))
        for kind in parsed(path).body
        if isinstance(kind, ast.ClassDef) and path.name != "bundle.py"
        for field, text in pairwise(kind.body)
        if isinstance(field, ast.AnnAssign) and _is_text(text) and _has_number(field.value)
    ]


@pytest.mark.parametrize(("name", "text"), numbers_of_policies())
def test_a_number_of_a_policy_has_its_unit_and_its_reason(name, text):
    """Whoever sets another one knows what it counts, and what the default was chosen for."""
    assert UNIT.search(text), f"{name} does not say what it counts"
    assert WHY.search(text), f"{name} does not say why its default is so"
    assert len(text) >= 40, f"{name} says next to nothing"


def test_each_option_of_a_transport_is_explained():
    """A parameter without its line under `Args:` would be a riddle in every editor."""
    doc = getdoc(TransportBase.__init__) or ""
    told = dict(re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", doc.partition("Args:\n")[2], re.M))
    names = [name for name in signature(TransportBase.__init__).parameters if name != "self"]
    assert len(names) > 20
    assert list(told) == names
    assert [name for name, text in told.items() if ELSEWHERE.search(text)] == []
    default = re.compile(r"default|\b(?:None|True|False|RPCGUARD_\w+)\b|\d|without")
    assert [name for name, text in told.items() if not default.search(text)] == []
    assert [name for name, text in told.items() if len(text) < 40] == []


@pytest.mark.parametrize("text", ["The client's certificate, as there.", "See above.", "Likewise."])
def test_what_points_elsewhere_is_seen(text):
    """An editor shows one option, not the one above it."""
    assert ELSEWHERE.search(text)


def test_a_number_that_stands_alone_is_seen():
    """It has a unit and no reason, or neither."""
    assert not WHY.search("Seconds that a hold lasts at most.")
    assert not UNIT.search("The limit.")


def test_the_page_shows_the_rooms_as_they_are():
    """The table in docs/architecture.md is made of the folders' first lines."""
    assert table_of_rooms() in (ROOT / "docs/architecture.md").read_text()


def test_no_class_name_stands_for_two_things():
    """A class is found by its name alone, but for those that two libraries have in common."""
    places = defaultdict(list)
    for place, node in _definitions(ast.ClassDef):
        places[node.name].append(place)
    assert {name: found for name, found in places.items() if len(found) > 1} == TWICE


NO_VERBS = {
    "a",
    "an",
    "all",
    "each",
    "how",
    "one",
    "the",
    "two",
    "what",
    "where",
    "whether",
    "which",
}
"""Words that docstrings of functions begin with, those of properties, that are no verbs."""


def _first_word(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    word = (ast.get_docstring(node) or "").partition("\n")[0].partition(" ")[0]
    return word.strip("`.,:;").lower()


@cache
def _definitions(*kinds: type[ast.AST]) -> list[tuple[str, Any]]:
    return [
        (place, node)
        for place, path in modules()
        for node in ast.walk(parsed(path))
        if isinstance(node, kinds)
    ]


def verbs() -> set[str]:
    """Give the verbs that functions are described by, and their third persons."""
    functions = _definitions(ast.FunctionDef, ast.AsyncFunctionDef)
    found = {_first_word(node) for _, node in functions} - NO_VERBS - {""}
    forms = {form for verb in found for form in (f"{verb}s", f"{verb}es", f"{verb[:-1]}ies")}
    return found | forms | {"be", "is", "hold", "holds", "represent", "represents"}


def test_each_class_is_said_to_be_something():
    """A private one as well: whoever reads its file asks what it is."""
    mute = [
        f"{place}: {node.name}"
        for place, node in _definitions(ast.ClassDef)
        if not ast.get_docstring(node)
    ]
    assert mute == []


def test_a_class_is_said_to_be_something():
    """Its docstring names a thing: what a class does is said of its methods."""
    doing = verbs()
    assert {"give", "gives", "close", "tell"} <= doing
    odd = [
        f"{place}: {node.name}: {ast.get_docstring(node)}".partition("\n")[0]
        for place, node in _definitions(ast.ClassDef)
        if _first_word(node) in doing
    ]
    assert odd == []


def test_a_class_docstring_is_a_phrase_and_no_sentence():
    """What has happened is a story; the class is the thing that tells it."""
    inside = r"(?: (?!that\b|wh)[\w-]+){1,4}"
    told = re.compile(rf"(?:The|A|An){inside} (?:is|was|are|were|has|had)\b")
    odd = [
        f"{place}: {node.name}"
        for place, node in _definitions(ast.ClassDef)
        if told.match(ast.get_docstring(node) or "")
    ]
    assert odd == []
