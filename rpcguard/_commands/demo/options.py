"""What can be set for a demo run."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SERVICE = "orders"
POST_SHARE = 0.2
"""One call in five may not be repeated, as in a service that mostly reads."""
TIMEOUT = 2.0
"""Seconds. Longer than any good answer by far, and short enough that a frozen node's victims
show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """Set how long, how big and how the demo is shown.

    `seconds` is the length of the load (a slow machine may need longer for the script), `rate`
    the calls per second of each of the two clients, `seed` drives the choice of GET and POST,
    `report` where the picture goes. Raises `ValueError` naming the bad field.
    """

    seconds: float = 45.0
    rate: float = 100.0
    providers: int = 5
    seed: int = 1
    plain: bool = False
    report: Path | None = None

    def __post_init__(self) -> None:
        _within("seconds", self.seconds, 5, 3600)
        _within("rate", self.rate, 1, 1000)
        _within("providers", self.providers, 3, 20)
        # Better now than after the whole run.
        if self.report is not None and not _is_writable(self.report):
            raise ValueError(f"report must be a file that can be written, not {str(self.report)!r}")


def _is_writable(path: Path) -> bool:
    if path.exists():
        return path.is_file() and os.access(path, os.W_OK)
    return path.parent.is_dir() and os.access(path.parent, os.W_OK)


def _within(name: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise ValueError(f"{name} must be {low} to {high}, not {value!r}")
