"""What a call brings along that a route may look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Facts:
    """The facts of one call, each read at the first look at it.

    `request` is an httpx request of either library, of which nothing is changed; `baggage` gives a
    member of the caller's baggage; `options` is what the user said of the call.
    """

    __slots__ = ("_baggage", "_headers", "_options", "_request", "_values", "mark")

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
        self._headers: dict[str, str] | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Give the headers by lower-case names, those of one name joined, bare of outer space."""
        headers = self._headers
        if headers is None:
            headers = self._headers = {}
            for raw, value in self._request.headers.raw:
                name, text = raw.decode("latin-1").lower(), _text(value).strip(" \t")
                before = headers.get(name)
                if not before:  # an empty one adds nothing
                    headers[name] = text
                elif text:
                    comma = "; " if name == "cookie" else ", "  # RFC 9113 §8.2.3
                    headers[name] = f"{before}{comma}{text}"
        return headers

    def has_header(self, names: frozenset[bytes]) -> bool:
        """Tell whether the call has a header of one of these names, in small letters."""
        return not names.isdisjoint([raw.lower() for raw, _ in self._request.headers.raw])

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
            return self.headers.get(name.lower())
        if kind == "path":
            return str(request.url.path)
        if kind == "method":
            return str(request.method)
        if kind == "query":
            value: str | None = request.url.params.get(name)
            return value
        if kind == "cookie":
            return _cookie(self.headers.get("cookie", ""), name)
        if kind == "baggage":
            return self._baggage(name)
        if kind == "mark":
            return self.mark
        option = self._options.get("key" if kind == "key" else name)
        if isinstance(option, bytes):
            return _text(option)
        return None if option is None else str(option)


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
