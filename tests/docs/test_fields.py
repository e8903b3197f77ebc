"""The page on configuration has every field of every policy, with its default."""

from __future__ import annotations

import tomllib

import httpx

from rpcguard._config.document import read
from tests.docs.blocks import ROOT, blocks_of
from tests.support.fields import table_of_fields

PAGE = ROOT / "docs/guides/configuration.md"


def test_the_tables_are_those_of_the_policies():
    """A field that comes or changes changes the page."""
    hint = "the page is not in step: print(tests.support.fields.table_of_fields())"
    assert table_of_fields() in PAGE.read_text(), hint


def test_the_files_of_the_page_are_good():
    """Each TOML block is one that a transport takes."""
    blocks = [block for block in blocks_of(PAGE) if block.language == "toml"]
    assert len(blocks) == 3
    for block in blocks:
        read(tomllib.loads(block.text), block.where, written_at=0.0, limits=httpx.Limits)
