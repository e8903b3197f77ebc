"""The pages in Chinese are in step with the English ones."""

from __future__ import annotations

import os
from itertools import zip_longest

import pytest

from tests.docs.blocks import ROOT, Block, blocks_of
from tests.docs.pairs import PAIRS, first_difference, links_of, passages, read, target

BOTH = [*PAIRS, *PAIRS.values()]
CHANGED = {
    "a heading comes": ("## Rules", "## Rules\n\n## More"),
    "a heading moves": ("## Rules", "### Rules"),
    "a row comes": ("| `a` | 5 |", "| `a` | 5 |\n| `b` | 6 |"),
    "an option is renamed": ("| `a` | 5 |", "| `b` | 5 |"),
    "a default in a table": ("| `a` | 5 |", "| `a` | 6 |"),
    "a figure in a paragraph": ("after 30 s", "after 60 s"),
    "a name in a paragraph": ("`close()`", "`aclose()`"),
    "an item goes": ("- one\n- two", "- one"),
    "a paragraph comes": ("## Rules", "New.\n\n## Rules"),
    "a link leads elsewhere": ("(eureka.md)", "(consul.md)"),
}
ENGLISH = """# Nacos

See [Eureka](eureka.md): `close()` after 30 s.

| option | default |
|---|---|
| `a` | 5 |

## Rules

- one
- two
"""
CHINESE = """# Nacos

30 s 之后 `close()`。见 [Eureka](../registries/eureka.md)。

| 选项 | 默认值 |
|---|---|
| `a` | 5 |

## 规则

- 一
- 二
"""


def hint(chinese: str, what: str) -> str:
    """Say what is to be done by whom has changed one page of two."""
    english = PAIRS[chinese]
    return (
        f"{chinese} is not in step with {english}: {what}. See `git log -p -- {english}` and"
        f" change {chinese} alike: translate the words, and copy code blocks, inline code and"
        " figures as they are, in the same order of headings, paragraphs, items and rows"
    )


def shown(block: Block) -> tuple[str, str, str]:
    return block.language, block.title, block.text


@pytest.mark.parametrize("chinese", PAIRS)
def test_code_is_the_same(chinese):
    """The blocks of both pages are the same, in the same order: so those of one are run for two."""
    wanted, found = (
        [shown(block) for block in blocks_of(ROOT / page)] for page in (PAIRS[chinese], chinese)
    )
    assert wanted
    for place, (one, other) in enumerate(zip_longest(wanted, found), 1):
        assert one == other, hint(chinese, f"code block {place} differs")


@pytest.mark.parametrize("chinese", PAIRS)
def test_passages_are_in_step(chinese):
    """Headings, rows, items and paragraphs have the same order, code, figures and links."""
    english = PAIRS[chinese]
    what = first_difference(
        passages(english, read(english)),
        passages(chinese, read(chinese)),
    )
    assert what is None, hint(chinese, str(what))


@pytest.mark.parametrize("page", BOTH)
def test_links_lead_to_files(page):
    """A relative link of either page means a file that is there."""
    targets = [target(page, link) for link in links_of(read(page))]
    assert [one for one in targets if "://" not in one and not (ROOT / one).exists()] == []


@pytest.mark.parametrize("chinese", PAIRS)
def test_each_page_offers_the_other(chinese):
    """The first line below the title leads to the same page in the other language."""
    english = PAIRS[chinese]
    there, back = (
        os.path.relpath(to, os.path.dirname(page) or ".")
        for page, to in ((english, chinese), (chinese, english))
    )
    assert read(english).splitlines()[2] == f"English | [简体中文]({there})"
    assert read(chinese).splitlines()[2] == f"[English]({back}) | 简体中文"


def test_every_page_in_chinese_has_its_pair():
    """A page that follows none would grow old unseen."""
    found = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs/zh").rglob("*.md")}
    assert found | {"README.zh.md"} == set(PAIRS)


def difference(english: str, chinese: str) -> str | None:
    return first_difference(
        passages("docs/registries/nacos.md", english), passages("docs/zh/nacos.md", chinese)
    )


def test_a_translation_is_in_step():
    """Other words in another order, and a link from another folder, are no difference."""
    assert difference(ENGLISH, CHINESE) is None


@pytest.mark.parametrize("change", CHANGED)
def test_a_change_is_noticed(change):
    """What changes in the English page is missed in the Chinese one until that follows."""
    old, new = CHANGED[change]
    assert ENGLISH.count(old) == 1
    assert difference(ENGLISH.replace(old, new), CHINESE) is not None
