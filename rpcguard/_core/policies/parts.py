"""The parts of a call that policies name: a header, a cookie, a query parameter and their like."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What a header may be called, RFC 9110 §5.6.2."""

_IN_COOKIES: Final = "=;"
"""What ends the name of a cookie, or the cookie."""

_LONGEST: Final = 128
"""Characters of a name: such a one is shown in logs and kept by each service."""


def is_name(value: object) -> bool:
    """Tell whether a text can name a route or a part: 1 to 128 printable characters."""
    return isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isprintable()


def is_part(value: object, kinds: Collection[str]) -> bool:
    """Tell whether a text is `KIND.NAME` of one of these kinds, with a name that a call can have.

    A header or cookie that no call can have would be a condition that never holds, or a key that
    nobody has.
    """
    if not isinstance(value, str):
        return False
    kind, _, name = value.partition(".")
    if kind not in kinds or not is_name(name):
        return False
    if kind == "header":
        return _TOKEN.fullmatch(name) is not None
    if kind == "cookie":
        return name == name.strip() and not any(one in name for one in _IN_COOKIES)
    return True
