"""Which lane a call wants: the first place that names one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rpcguard._context.lane import BASE, is_mark

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class LaneMark:
    """The mark of a call, None for an unmarked one."""

    lane: str | None
    """The lane that it names."""

    source: str = ""
    """The place that said so: option, header, context, process; empty where none did."""

    malformed: tuple[str, ...] = field(default=())
    """The places whose mark was ignored, because it is none."""


NO_MARK: Final = LaneMark(None)

Place = tuple[str, str | None]
"""A name, and the mark that stands there; None is no word, "" or "base" take marks off."""


def first_mark(places: Iterable[Place]) -> LaneMark:
    """Give the mark that the first place names which has a word on it.

    What cannot be a mark is passed over: headers and baggage may come from anywhere.
    """
    malformed: tuple[str, ...] = ()
    for source, said in places:
        if said is None:
            continue
        if said in ("", BASE):
            return LaneMark(None, source, malformed)
        if is_mark(said):
            return LaneMark(said, source, malformed)
        malformed = (*malformed, source)
    return LaneMark(None, "", malformed) if malformed else NO_MARK
