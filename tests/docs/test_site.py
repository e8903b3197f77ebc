"""The pictures are current, and the site builds without a warning."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.docs.blocks import ROOT, pages

PICTURES = runpy.run_path(str(ROOT / "docs/pictures.py"))["PICTURES"]


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


@pytest.mark.skipif(find_spec("mkdocstrings") is None, reason="pip install --group docs")
def test_the_site_builds(tmp_path):
    """`mkdocs build --strict`: a broken link, anchor or reference is an error."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "index.html").exists()
