"""The fenced blocks of the README and of the pages under docs, and what is to be done with each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[a-z]*) *(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_TITLE = re.compile(r'title="([^"]*)"')
_PORT = re.compile(r"\b80(?:0[1-9]|80)\b")


@dataclass(frozen=True)
class Block:
    """One fenced block; `line` is that of its first line in the page."""

    page: str
    line: int
    language: str
    title: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def is_file(self) -> bool:
        """A title with a dot names a file that later blocks of the page use."""
        return "." in self.title and not self.title.startswith("Terminal")


def pages() -> list[Path]:
    return [ROOT / "README.md", ROOT / "README.zh.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    name = str(page.relative_to(ROOT))
    blocks = []
    for match in _FENCE.finditer(text):
        indent = len(match["indent"])
        body = "".join(line[indent:] or "\n" for line in match["body"].splitlines(keepends=True))
        title = _TITLE.search(match["info"])
        line = text.count("\n", 0, match.start("body")) + 1
        blocks.append(Block(name, line, match["language"], title[1] if title else "", body))
    return blocks


def all_blocks(*languages: str) -> list[Block]:
    return [block for page in pages() for block in blocks_of(page) if block.language in languages]


def ports_in(text: str) -> set[str]:
    """Give the ports that pages use for local nodes, 8001 to 8009 and 8080, where they occur."""
    return set(_PORT.findall(text))


def with_ports(text: str, ports: dict[str, int]) -> str:
    """Put real ports in the place of those of the page."""
    return _PORT.sub(lambda match: str(ports[match[0]]), text)
