"""Every block of the README and of the pages runs, parses, or says here why it cannot."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from importlib.util import find_spec

import pytest

from tests.docs.blocks import ROOT, Block, all_blocks, blocks_of, pages, ports_in, with_ports
from tests.docs.reasons import GIVEN, NEEDS, OWN_NODES, REASONS, given, reason_not_to_run
from tests.support.servers.base import free_ports

LANGUAGES = {"python", "console", "json", "yaml", "toml", "ini", "diff", "text", "dockerfile"}
LANGUAGES |= {"java", "properties", "promql"}
PATIENCE = 280.0
"""Seconds: a page of half a minute takes minutes on a busy machine."""


def described(block: Block) -> str:
    return block.where


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_runs_from_top_to_bottom(page, tmp_path, nodes_at):
    """What a page shows works, in the order in which it is read."""
    for name, modules in NEEDS.items():
        missing = [module for module in modules if find_spec(module) is None]
        if str(page.relative_to(ROOT)) == name and missing:
            pytest.skip(f"{name} needs {', '.join(missing)}: pip install --group docs")
    blocks = [block for block in blocks_of(page) if reason_not_to_run(block) is None]
    if not any(block.language in ("python", "console") for block in blocks):
        return
    used = sorted(set().union(*(ports_in(block.text) for block in blocks)))
    ports = dict(zip(used, free_ports(len(used)), strict=True))
    if str(page.relative_to(ROOT)) not in OWN_NODES:
        nodes_at(list(ports.values()))
    done = subprocess.run(
        [sys.executable, "-m", "tests.docs.page"],
        input=json.dumps([as_job(block, ports) for block in blocks]),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        cwd=tmp_path,
        env=effects(),
    )
    assert done.returncode == 0, done.stderr


def as_job(block: Block, ports: dict[str, int]) -> dict[str, object]:
    return {
        "where": block.where,
        "path": str(ROOT / block.page),
        "line": block.line,
        "language": block.language,
        "title": block.title,
        "file": block.is_file,
        "given": with_ports(given(block), ports),
        "text": with_ports(block.text, ports),
    }


def effects() -> dict[str, str]:
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    kept = {name: value for name, value in os.environ.items() if name != "RPCGUARD_REGISTRY"}
    return {**kept, "PATH": path, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@pytest.mark.parametrize("block", all_blocks("python"), ids=described)
def test_python_compiles(block):
    """A block is valid Python, also where it is not run."""
    compile(block.text, block.where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("block", all_blocks("json", "toml", "yaml"), ids=described)
def test_data_parses(block):
    """A block of data can be read by what it is written for."""
    if block.language == "json":
        json.loads(block.text)
    elif block.language == "toml":
        tomllib.loads(block.text)
    else:
        yaml = pytest.importorskip("yaml", reason="pip install --group docs")
        assert all(document is not None for document in yaml.safe_load_all(block.text))


def test_no_block_is_of_an_unknown_kind():
    """Each block says its language, so that none escapes the checks above."""
    odd = [
        block.where
        for page in pages()
        for block in blocks_of(page)
        if block.language not in LANGUAGES
    ]
    assert odd == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_of_a_page_is_used(page):
    """A file that a page shows is run or read by a later block of the page, or excused."""
    blocks = blocks_of(page)
    for place, block in enumerate(blocks):
        if not block.is_file or reason_not_to_run(block) is not None:
            continue
        stem = block.title.rpartition(".")[0]
        later = [
            other.text for other in blocks[place + 1 :] if other.language in ("python", "console")
        ]
        assert any(stem in text for text in later), f"nothing uses {block.title} of {block.where}"


def test_every_excuse_is_needed():
    """What is said of a block belongs to a block that is there."""
    every = [block for page in pages() for block in blocks_of(page)]
    for page, fragment in [*REASONS, *GIVEN]:
        found = [block for block in every if fnmatch(block.page, page) and fragment in block.text]
        assert found or not fragment, f"no block of {page} has {fragment!r}"
