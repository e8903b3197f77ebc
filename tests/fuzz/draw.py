"""Decisions taken from bytes, so that whatever makes bytes can make documents."""

from __future__ import annotations

import json
import re
from functools import cached_property
from typing import Any

Document = Any

KEEP, ODD, DROP = 176, 236, 246
_ABSENT = object()

ODDITIES: tuple[Document, ...] = (
    None, True, False, 0, 1, -1, 65535, 65536, 2**53, 10**400, -(10**30), 0.5, 1e308, -0.0,
    float("inf"), float("nan"), "", " ", ".", "..", "\x00", "a\r\nX-Evil: 1", "\x1b[31mred",
    "\ud800", "\u202e", "\u2028", "\x85", "a" * 300, "z" * 3000, "127.0.0.1", "169.254.169.254",
    "0x7f.1", "1.2.3.999", "[::1]", "::1", "::ffff:169.254.169.254", "fe80::1%eth0", "localhost",
    "a..b", "-a", "a" * 64, "bücher.example", "xn--", "xn--zzzz--", "日本", "a b", "a/b", "a?b",
    "a#b", "a@b", "a:b", "%41", "NaN", "1e999", "-1", "0", "1", "\u0661", "true", "TRUE", "https",
    "HTTP", "h2c", "up", "UP", "down", "draining", "OUT_OF_SERVICE", "1700000000", "2.5", "1_000",
    "99999999999999999999", [], {}, [[]], [None], {"": {}}, {"a": [1, {"b": None}]}, {"\ud800": 1},
    ["a", "a"],
)  # fmt: skip


class Draw:
    """Take decisions from bytes; when they are used up, every decision is 0."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def byte(self) -> int:
        """Decide from 0 to 255."""
        at = self._at
        if at >= len(self._data):
            return 0
        self._at = at + 1
        return self._data[at]

    def choice(self, options: Any) -> Any:
        """Decide for one of at most 256 options, the first in doubt."""
        return options[self.byte() % len(options)]

    def rest(self) -> bytes:
        """Give the bytes that are left."""
        rest = self._data[self._at :]
        self._at = len(self._data)
        return rest

    def text(self) -> str:
        """Decide on a short text of any kind."""
        begin, self._at = self._at + 1, self._at + 1 + self.byte() % 24
        return self._data[begin : self._at].decode("utf-8", "surrogateescape")

    def bent(self, document: Document) -> Document:
        """Change a document here and there: values replaced, dropped, repeated; as it is in doubt.

        Its own text and lists may be shared with the result.
        """
        bent = self._bent(document, 0)
        return None if bent is _ABSENT else bent

    def _bent(self, value: Document, depth: int) -> Document:
        decision = self.byte()
        if decision >= KEEP:
            if decision < ODD:
                return self.text() if decision % 8 == 0 else self.choice(ODDITIES)
            return _ABSENT if decision < DROP else [value] * (decision - DROP)
        if isinstance(value, dict):
            pairs = ((key, self._bent(one, depth + 1)) for key, one in value.items())
            found = {key: one for key, one in pairs if one is not _ABSENT}
            if decision > KEEP - 8:
                found[self.text()] = self.choice(ODDITIES)
            return found
        if isinstance(value, list):
            ones = [self._bent(one, depth + 1) for one in value]
            return [one for one in ones if one is not _ABSENT]
        return value


_SPELLED = tuple(json.dumps(oddity) for oddity in ODDITIES)
_WORD = re.compile(r"[^/:?&=%,.]+|.")


class Template:
    """Hold a good document as text, and where the values and keys in it are.

    An input is a few edits of the text: making a document anew takes ten times as long.
    """

    def __init__(self, document: Document) -> None:
        self._document = document

    @cached_property
    def text(self) -> str:
        """Give the document as it is good."""
        return self._document if self._is_plain else _spelled(self._document)

    @property
    def _is_plain(self) -> bool:
        return isinstance(self._document, str)

    @cached_property
    def _places(self) -> list[tuple[int, int]]:
        if self._is_plain:
            return [match.span() for match in _WORD.finditer(self.text)]
        places: list[tuple[int, int]] = []
        _note(self._document, 0, places)
        return places

    def bent(self, draw: Draw) -> str:
        """Give the text with as many edits as the input wants, none in doubt."""
        edits = []
        for _ in range(draw.byte() % 6):
            begin, end = self._places[(draw.byte() << 8 | draw.byte()) % len(self._places)]
            edits.append((begin, end, self._other(draw, self.text[begin:end])))
        text, limit = self.text, len(self.text)
        for begin, end, new in sorted(edits, reverse=True):
            if end <= limit:
                text, limit = f"{text[:begin]}{new}{text[end:]}", begin
        return text

    def _other(self, draw: Draw, old: str) -> str:
        decision = draw.byte()
        if decision < 140:
            return str(draw.choice(ODDITIES if self._is_plain else _SPELLED))
        if decision < 190:
            return draw.text() if self._is_plain else json.dumps(draw.text())
        if decision < 215:
            begin, end = draw.choice(self._places)
            return self.text[begin:end]
        return ",".join([old] * (decision - 213)) if decision < 235 else draw.text()


def _spelled(document: Document) -> str:
    return json.dumps(document, separators=(",", ":"))


def _note(value: Document, at: int, places: list[tuple[int, int]]) -> int:
    """Note the places of a value, and of all within it, in its JSON; give its end."""
    begin = at
    if isinstance(value, dict) and value:
        for key, one in value.items():
            end = at + 1 + len(json.dumps(key))
            places.append((at + 1, end))
            at = _note(one, end + 1, places)
    elif isinstance(value, list) and value:
        for one in value:
            at = _note(one, at + 1, places)
    else:
        at += len(_spelled(value)) - 1
    places.append((begin, at + 1))
    return at + 1
