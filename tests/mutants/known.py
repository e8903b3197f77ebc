"""The changes that change nothing, each by a part of what is printed of it, with the reason."""

from __future__ import annotations

EQUIVALENT: dict[str, str] = {}
