"""Code on a page is whole: no line of it is cut or has to be pushed aside."""

from __future__ import annotations

import pytest

from tests.docs.blocks import all_blocks

WIDEST = 78
"""Characters for which there is room on the site, on a laptop."""

UNBREAKABLE = {
    ("README.md", ".venv/bin/rpcguard demo"): "one line to copy",
    ("README.zh.md", ".venv/bin/rpcguard demo"): "one line to copy",
    ("README.md", ".venv/bin/pytest"): "the line that .ci/run takes as it is",
    ("README.zh.md", ".venv/bin/pytest"): "the line of README.md",
    (
        "docs/guides/configuration.md",
        "rpcguard: config /.../wrong.toml",
    ): "what the command prints in one line",
}
"""Lines that are longer and why, by page and a part of the line."""


def too_wide(*languages: str) -> list[tuple[str, str]]:
    return [
        (block.page, line)
        for block in all_blocks(*languages)
        for line in block.text.splitlines()
        if len(line) > WIDEST
    ]


def reason(page: str, line: str) -> str | None:
    return next(
        (why for (at, part), why in UNBREAKABLE.items() if at == page and part in line), None
    )


@pytest.mark.parametrize("language", ["python", "console"])
def test_code_fits_the_page(language):
    """No line is wider than there is room for, but those that cannot be broken."""
    assert [found for found in too_wide(language) if reason(*found) is None] == []


def test_each_exception_is_still_one():
    """A line that has become short, or has gone, needs no reason."""
    lines = too_wide("python", "console")
    stale = [key for key in UNBREAKABLE if not any(p == key[0] and key[1] in t for p, t in lines)]
    assert stale == []
