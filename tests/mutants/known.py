"""The changes that change nothing, each by a part of what is printed of it, with the reason."""

from __future__ import annotations

EQUIVALENT: dict[str, str] = {
    "_core/routing/guards.py:26  0.0  ->  1.0": (
        "a guard that has never tripped is at level 0, which is all that the time is compared for"
    ),
}
