"""What pages say of the picture of a release is what the picture shows."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from tests.docs.blocks import ROOT

PICTURE = ROOT / "docs" / "pictures" / "release.svg"
NUMBER = re.compile(r"\d+(?:,\d{3})*")


def texts(look: str) -> list[str]:
    """Give the words on the picture of one class, from left to right."""
    return [
        element.text or ""
        for element in ElementTree.parse(PICTURE).iter("{http://www.w3.org/2000/svg}text")
        if look in element.get("class", "").split()
    ]


def told_by_the_picture() -> list[str]:
    """Give how many calls failed, client by client, and of how many."""
    failed = [NUMBER.match(words)[0] for words in texts("big")]
    (calls,) = {words.split()[1] for words in texts("soft") if words.startswith("of ")}
    return [*failed, calls]


@pytest.mark.parametrize("page", ["README.md", "README.zh.md", "docs/index.md"])
def test_the_words_for_the_picture_have_its_numbers(page):
    """A picture that is drawn anew takes its figures along, in both languages."""
    (alt,) = re.findall(r"!\[([^]]*)\]\([^)]*release\.svg\)", (ROOT / page).read_text("utf-8"))
    assert sorted(NUMBER.findall(alt)) == sorted(told_by_the_picture())


def test_rpcguard_lost_nothing_that_could_have_been_saved():
    """On the picture as in the words: what failed there was not safe to send again."""
    told = [words for words in texts("soft") if words.startswith("of ")]
    assert told[-1].endswith(" · 0 could have been saved")


def test_the_home_page_counts_the_same_calls():
    """The sentence below the picture too."""
    page = (ROOT / "docs" / "index.md").read_text("utf-8")
    assert f"the same {told_by_the_picture()[-1]} calls" in page
