"""A real browser of 1400 pixels looks at the site: nothing is cut, the home page says it all."""

from __future__ import annotations

import contextlib
import functools
import html
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from tests.docs.blocks import ROOT, pages
from tests.support.browser import browser

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 280.0
"""Seconds: to build the site takes a minute on a busy machine."""

pytestmark = [
    pytest.mark.skipif(find_spec("mkdocstrings") is None, reason="pip install --group docs"),
    pytest.mark.timeout(PATIENCE + 120.0),  # the browser comes after it
]

_FRAME = '<iframe sandbox="allow-same-origin" style="width:1400px;height:900px" src="{}"></iframe>'
"""Without scripts: how wide a block is does not depend on them, and they would take a minute."""

_PROBE = """<!doctype html><title>probe</title><pre id="found"></pre>FRAMES<script>
onload = () => {
  const found = {}
  for (const frame of document.querySelectorAll("iframe")) {
    const blocks = [...frame.contentDocument.querySelectorAll("article pre > code")]
    found[frame.getAttribute("src")] = {
      cut: blocks.filter(one => one.scrollWidth > one.clientWidth).map(one => one.textContent),
      bottom: blocks.map(one => one.getBoundingClientRect().bottom),
    }
  }
  document.getElementById("found").textContent = JSON.stringify(found)
}
</script>"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serve files and say nothing of it."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, where a broken link, anchor or reference is an error."""
    built = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(built)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return built


@contextlib.contextmanager
def serving(site: Path) -> Iterator[str]:
    """Serve the site on loopback."""
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def seen(site: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """Give what the browser sees of each page."""
    written = [p.relative_to(ROOT / "docs") for p in pages() if p.is_relative_to(ROOT / "docs")]
    names = [path.with_suffix(".html").as_posix() for path in written]
    frames = "".join(map(_FRAME.format, names))
    (site / "probe.html").write_text(_PROBE.replace("FRAMES", frames))
    with serving(site) as url:
        profile = tmp_path_factory.mktemp("browser")
        options = ("--window-size=1400,900", "--dump-dom")
        dumped = browser(profile, *options, f"{url}/probe.html")
    found = re.search(r'<pre id="found">(.*?)</pre>', dumped, re.DOTALL)
    assert found is not None
    assert found[1], "the browser has not come to its end"
    return json.loads(html.unescape(found[1]))


def test_the_site_builds(site):
    """`mkdocs build --strict` has no warning."""
    assert (site / "index.html").exists()


def test_the_site_says_its_languages(site):
    """A browser chooses fonts, hyphens and translation by the language of a page."""
    for page, language in {"zh/nacos.html": "zh-Hans", "registries/nacos.html": "en"}.items():
        assert f'<html lang="{language}"' in (site / page).read_text(encoding="utf-8")


def test_no_code_is_cut(seen):
    """Every block of every page is shown in its whole width."""
    assert sum(len(page["bottom"]) for page in seen.values()) > 100
    assert {name: page["cut"] for name, page in seen.items() if page["cut"]} == {}


def test_the_home_page_says_it_above_the_fold(seen):
    """Install line, picture and the code of a call are seen without scrolling."""
    install, code, *_ = seen["index.html"]["bottom"]
    assert install < code <= 900
