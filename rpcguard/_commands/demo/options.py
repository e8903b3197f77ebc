"""What can be set for a demo run."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from rpcguard._commands.demo.canary import canary_script
from rpcguard._commands.demo.script import Script, release_script

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from rpcguard._commands.demo.planned import DemoPlan
    from rpcguard._commands.demo.recording import Client
    from rpcguard._commands.demo.work import Capacity

SERVICE = "orders"
POST_SHARE = 0.2
"""One call in five may not be repeated, as in a service that mostly reads."""
PICTURES = (".html", ".svg")
"""What a picture of a run can be: a page, or the drawing alone."""
TIMEOUT = 2.0
"""Seconds. Longer than any good answer by far, and short enough that a frozen node's victims
show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """How long, how big and how the demo is shown.

    Raises `ValueError` naming the bad field.
    """

    seconds: float = 45.0
    """Length of the load: the script as it is written, without haste. A slow machine may need
    longer for it."""
    rate: float = 100.0
    """Calls a second of each client, which a laptop bears beside the providers."""
    providers: int = 5
    """Processes of the service: one that is out is a fifth of it, and the table stays short."""
    seed: int = 1
    """What drives the choice of GET and POST; always the same one, so that runs can be compared."""
    plain: bool = False
    """Print lines instead of a live table."""
    report: Path | None = None
    """Where the picture goes; None draws none."""
    lanes: bool = False
    """Play a canary release instead, whose new version fails until its guard switches it off."""
    plan: DemoPlan | None = None
    """Play the batches of this plan instead of the script, with nodes of its capacity."""

    def __post_init__(self) -> None:
        if self.lanes and self.plan is not None:
            raise ValueError("lanes must be left out beside a plan")
        if self.plan is not None:
            object.__setattr__(self, "providers", self.plan.providers)
            object.__setattr__(self, "rate", self.plan.rate)
        _within("seconds", self.seconds, 5, 3600)
        _within("rate", self.rate, 1, 1000)
        _within("providers", self.providers, 1 if self.plan else 3, 20)
        # Better now than after the whole run.
        if self.report is not None and self.report.suffix.lower() not in PICTURES:
            kinds = " or ".join(PICTURES)
            raise ValueError(f"report must be a file {kinds}, not {self.report.name!r}")
        if self.report is not None and not _is_writable(self.report):
            raise ValueError(f"report must be a file that can be written, not {str(self.report)!r}")

    @property
    def capacity(self) -> Capacity | None:
        """What a provider can do; None for any number of calls at a time."""
        return self.plan.capacity if self.plan else None

    def clients(self) -> tuple[Client, ...]:
        """Give the clients that are compared: a third one where a release is played, if it can."""
        third = self._compares_three and _has_retries()
        return ("httpx", "httpx-retries", "rpcguard") if third else ("httpx", "rpcguard")

    def lacks_a_side(self) -> bool:
        """Tell whether a third client is missing only because it is not installed."""
        return self._compares_three and not _has_retries()

    @property
    def _compares_three(self) -> bool:
        # A canary and a plan are about shares and capacity, not about who loses what.
        return not self.lanes and self.plan is None

    def gap(self, rng: random.Random) -> float:
        """Give the seconds to the next call: all the same, and at random for a plan.

        A rehearsal has calls that come at random, and those wait for each other.
        """
        return rng.expovariate(self.rate) if self.plan else 1.0 / self.rate

    def script(self) -> Script:
        """Write the script of the run."""
        if self.plan is not None:
            return self.plan.script(seconds=self.seconds)
        if self.lanes:
            return canary_script(canary=self.providers - 1, seconds=self.seconds)
        return release_script(providers=self.providers, seconds=self.seconds)


def _has_retries() -> bool:
    return find_spec("httpx_retries") is not None


def _is_writable(path: Path) -> bool:
    if path.exists():
        return path.is_file() and os.access(path, os.W_OK)
    return path.parent.is_dir() and os.access(path.parent, os.W_OK)


def _within(name: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise ValueError(f"{name} must be {low} to {high}, not {value!r}")
