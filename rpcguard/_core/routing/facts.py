"""What a call brings along that a route may look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Facts:
    """The facts of one call, each read at the first look at it.

    `request` is an httpx request of either library, of which nothing is changed; `baggage` gives a
    member of the caller's baggage; `options` is what the user said of the call.
    """

    __slots__ = ("_baggage", "_options", "_request", "_values", "mark")

    def __init__(
        self,
        request: Any,
        *,
        mark: str | None,
        baggage: Callable[[str], str | None],
        options: Mapping[str, Any],
    ) -> None:
        self.mark: str | None = mark
        self._request = request
        self._baggage = baggage
        self._options = options
        self._values: dict[str, str | None] = {}

    def headers(self, names: frozenset[bytes]) -> dict[str, str]:
        """Give the headers of these names, in small letters, bare of outer space and joined.

        Most calls have none of the headers that rules are about, which is found out for less.
        """
        raw = self._request.headers.raw
        lowered = [name.lower() for name, _ in raw]
        found = names.intersection(lowered)
        if not found:
            return {}
        said: dict[str, str] = {}
        repeated: dict[str, list[str]] = {}
        for key, (_, value) in zip(lowered, raw, strict=True):
            if key in found:
                name, text = key.decode(), _text(value).strip(" \t")
                if name in said:
                    repeated.setdefault(name, [said[name]]).append(text)
                else:
                    said[name] = text
        for name, texts in repeated.items():
            said[name] = _joined(name, texts)
        return said

    def _header(self, name: str) -> str | None:
        """Give a header bare of outer space, those of one name joined; None where there is none."""
        key = name.encode()
        return self.headers(frozenset((key,))).get(name)

    def get(self, key: str) -> str | None:
        """Give a fact by its key in a route's conditions; None where the call lacks it."""
        values = self._values
        if key in values:
            return values[key]
        value = values[key] = self._read(key)
        return value

    def _read(self, key: str) -> str | None:
        request = self._request
        kind, _, name = key.partition(".")
        if kind == "header":
            return self._header(name.lower())
        if kind == "path":
            return str(request.url.path)
        if kind == "method":
            return str(request.method)
        if kind == "query":
            value: str | None = request.url.params.get(name)
            return value
        if kind == "cookie":
            return _cookie(self._header("cookie") or "", name)
        if kind == "baggage":
            return self._baggage(name)
        if kind == "mark":
            return self.mark
        option = self._options.get("key" if kind == "key" else name)
        if isinstance(option, bytes):
            return _text(option)
        return None if option is None else str(option)


def _joined(name: str, values: Sequence[str]) -> str:
    comma = "; " if name == "cookie" else ", "  # RFC 9113 §8.2.3
    return comma.join(filter(None, values))  # an empty one adds nothing


def _text(raw: bytes) -> str:
    """Read what is UTF-8 as that, as httpx writes it, and all else byte by byte."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _cookie(header: str, wanted: str) -> str | None:
    for part in header.split(";"):
        name, _, value = part.partition("=")
        if name.strip() == wanted:
            return value.strip().strip('"')
    return None
