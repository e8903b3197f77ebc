"""What a mutant is tried on, the nearest and quickest first, each in a process forked for it."""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.mutants.operators import CORE, ROOT
from tests.support.replaced import Replaced

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.mutants.operators import Mutant

_GLANCE, _SEEDS = 60, 500
"""Simulated worlds: at first, and for what all tests of the core let pass."""

_LONG = (
    "routing/test_zones.py::test_no_call_is_lost_to_a_zone",
    "service/test_several.py",
    "service/test_stateful.py",
    "balancing/test_balancers.py::test_a_few_random_errors_do_not_upset_the_balance",
    "outcomes/test_outcomes.py::test_no_header_raises",
    "service/test_service.py::test_threads_that_call_while_the_list_changes",
)
"""Tests of the core that take a second and more, half of what they take together."""

_PROCESSOR = 300
"""Seconds of the processor after which a mutant hangs: the slowest ring takes a fifth of it."""

_WAITS = 300
"""Seconds after which one test of it hangs, without a use of the processor."""

_WALL = 1800.0
"""Seconds after which it is ended in any case, be the machine ever so busy."""


@dataclass(frozen=True, slots=True)
class Ring:
    """A name, and what gives 0 for a mutant that is not noticed."""

    name: str
    passes: Callable[[Mutant | None], int]


def _tested(*places: str, variants: str = "") -> int:
    paths = [one if one.startswith("-") else str(ROOT / "tests" / one) for one in places]
    # Asserts need no words here, and rewriting them is not to be had for what is imported already.
    options = ["-q", "-x", "-p", "no:cacheprovider", "--assert=plain", f"--timeout={_WAITS}"]
    return pytest.main([*options, "-k", variants, *paths])


def _quick(*rooms: str) -> int:
    return _tested(
        *(f"core/{room}" for room in rooms), *(f"--deselect=tests/core/{one}" for one in _LONG)
    )


def _room_of(mutant: Mutant | None) -> str:
    room = mutant.path.relative_to(CORE).parts[0] if mutant else ""
    return room if (ROOT / "tests" / "core" / room).is_dir() else ""


def _own_room(mutant: Mutant | None) -> int:
    room = _room_of(mutant)
    return _quick(room) if room else 0


def _core(mutant: Mutant | None) -> int:
    rooms = sorted(one.name for one in (ROOT / "tests" / "core").iterdir() if one.is_dir())
    return _quick(*(room for room in rooms if room != _room_of(mutant)))


def _worlds(count: int, _mutant: Mutant | None) -> int:
    # Here: what is imported before the fork is not the mutant.
    from tests.simulation.run import first_failing_case, first_failure

    return 1 if first_failing_case() or first_failure(range(count)) else 0


def _on_sockets(_mutant: Mutant | None) -> int:
    return _tested("transport", "discovery/test_proof.py", variants="not (trio or pool or httpx2)")


def _slowly(_mutant: Mutant | None) -> int:
    return _tested(*(f"core/{one}" for one in _LONG), "status")


RINGS = (
    Ring("a glance", partial(_worlds, _GLANCE)),
    Ring("its room", _own_room),
    Ring("the core", _core),
    Ring("many worlds", partial(_worlds, _SEEDS)),
    Ring("what takes long", _slowly),
    Ring("on sockets", _on_sockets),
)


class Trial:
    """One mutant, or the source as it is, in one ring: a process that is asked how it goes."""

    def __init__(self, mutant: Mutant | None, ring: int) -> None:
        self.mutant, self.ring = mutant, ring
        self.began = time.monotonic()
        self._process = os.fork()
        if not self._process:
            _be(mutant, RINGS[ring])

    def outcome(self) -> int | None:
        """Give how it ended, None while it runs: 0 for a mutant that passes, -n for signal n.

        What is late is ended by SIGKILL or SIGXCPU, as a mutant that hangs.
        """
        process, status = os.waitpid(self._process, os.WNOHANG)
        if process:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() - self.began > _WALL:
            self.end()
        return None

    def end(self) -> None:
        """End the process and what it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process, signal.SIGKILL)


def _be(mutant: Mutant | None, ring: Ring) -> None:
    status = 1
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (_PROCESSOR, _PROCESSOR))
        silent = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(silent, stream)
        with tempfile.TemporaryDirectory() as folder:
            # What one mutant fails on is not to be tried first on the next one.
            os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = folder
            if mutant is not None:
                sys.meta_path.insert(0, Replaced(mutant.module, mutant.path, mutant.source))
            status = int(ring.passes(mutant))
    finally:
        os._exit(status)
