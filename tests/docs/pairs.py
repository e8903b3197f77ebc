"""The pages in Chinese, the English ones that they follow, and what a translation must not change.

Words are not compared. Of each heading, row, item and paragraph, in order, what can be compared
is: what it is, its inline code, its numbers in digits, and where its links lead.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING

from tests.docs.blocks import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PAIRS = {
    "README.zh.md": "README.md",
    "docs/zh/nacos.md": "docs/registries/nacos.md",
    "docs/zh/polaris.md": "docs/registries/polaris.md",
    "docs/zh/zookeeper.md": "docs/registries/zookeeper.md",
    "docs/zh/canary.md": "docs/guides/canary.md",
}
"""Each page in Chinese, and the page that it follows."""

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\]\(([^)\s#]*)[^)]*\)")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_BEGINNINGS = {"#": "heading", "|": "row", "- ": "item"}


@dataclass(frozen=True)
class Passage:
    """A heading, a row of a table, an item or a paragraph, by what no translation changes."""

    line: int = field(compare=False)
    kind: str
    code: tuple[str, ...]
    numbers: tuple[str, ...]
    links: tuple[str, ...]


def links_of(text: str) -> list[str]:
    """Give where the links of a page lead, as it writes them, without fragments."""
    return _LINK.findall(_CODE.sub("", _without_fences(text)))


def target(page: str, link: str) -> str:
    """Give the file that a relative link of a page means, from the root; others as they are."""
    if "://" in link:
        return link
    return os.path.normpath(os.path.join(os.path.dirname(page), link)) if link else page


def passages(page: str, text: str) -> list[Passage]:
    """Give the passages of a page but the line of languages, which each page has for itself."""
    return [_passage(page, line, words) for line, words in _split(text) if "简体中文" not in words]


def first_difference(english: list[Passage], chinese: list[Passage]) -> str | None:
    """Say where two pages part, and in what; `None` where they are in step."""
    for one, other in zip_longest(english, chinese):
        if one is None or other is None:
            more, longer = (one, "English") if one else (other, "Chinese")
            return f"only the {longer} page goes on, with a {more.kind} in line {more.line}"
        for part in ("kind", "code", "numbers", "links"):
            wanted, found = getattr(one, part), getattr(other, part)
            if wanted != found:
                places = f"line {one.line} (English) and line {other.line} (Chinese)"
                return f"{part} of {places}: {wanted!r} and {found!r}"
    return None


def _without_fences(text: str) -> str:
    return _FENCE.sub(lambda fence: "\n" * fence[0].count("\n"), text)


def _split(text: str) -> Iterator[tuple[int, str]]:
    """Give each passage with its line: a blank line ends one, and so does what begins another."""
    start, words = 0, ""
    for number, line in enumerate(_without_fences(text).splitlines(), 1):
        begins = not line.strip() or line.startswith(tuple(_BEGINNINGS))
        if begins and words:
            yield start, words
            words = ""
        if line.strip():
            start, words = (start, f"{words}\n{line}") if words else (number, line)
    if words:
        yield start, words


def _passage(page: str, line: int, text: str) -> Passage:
    kind = next((kind for mark, kind in _BEGINNINGS.items() if text.startswith(mark)), "paragraph")
    if kind == "heading":
        kind = f"{kind} of level {len(text) - len(text.lstrip('#'))}"
    plain = _CODE.sub("", text)
    targets = (target(page, link) for link in _LINK.findall(plain))
    return Passage(
        line,
        kind,
        code=tuple(sorted(_CODE.findall(text))),
        numbers=tuple(sorted(_NUMBER.findall(_LINK.sub("", plain)))),
        links=tuple(sorted(PAIRS.get(one, one) for one in targets)),
    )


def read(page: str) -> str:
    """Give the text of a page."""
    return (ROOT / page).read_text(encoding="utf-8")
