"""The pictures are current, and each is shown."""

from __future__ import annotations

import runpy

import pytest

from tests.docs.blocks import ROOT, pages

PICTURES = runpy.run_path(str(ROOT / "docs/pictures.py"))["PICTURES"]


@pytest.mark.long("plays minutes of traffic")
@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_what_the_policies_do(name):
    """The committed file is what `python docs/pictures.py` draws from the code of today."""
    committed = (ROOT / "docs/pictures" / name).read_text(encoding="utf-8")
    assert PICTURES[name]() == committed, "run: python docs/pictures.py"


def test_every_picture_is_shown():
    """Each file under docs/pictures stands on a page or in the README."""
    text = "".join(page.read_text() for page in pages())
    drawn = {path.name for path in (ROOT / "docs/pictures").iterdir()}
    assert [name for name in sorted(drawn) if f"pictures/{name}" not in text] == []
