"""Ctrl-C at every place where the interpreter looks for it, one after the other."""

from __future__ import annotations

import dis
import sys
from functools import cache
from typing import TYPE_CHECKING

import sniffio

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

TOOL = 4


class Interrupter:
    """Raise KeyboardInterrupt where the interpreter would, the nth time it looks for signals.

    It looks when a function or a step of a generator starts, after a call returns and when a loop
    turns, nowhere else. `ours` picks the files in which it is raised. The start of a function that
    somebody else calls is left out: it is as if it had not been called yet. So are finalizers: what
    is raised there is told on stderr, and interrupts nobody.
    """

    LOOKS = frozenset({"CALL", "CALL_KW", "CALL_FUNCTION_EX", "JUMP_BACKWARD"})

    def __init__(self, nth: int, ours: Callable[[str], bool]) -> None:
        self.left = nth
        self.where: str | None = None
        self.last: dict[object, int] = {}
        self.ours = ours

    def __enter__(self) -> Interrupter:
        if sys.version_info < (3, 12):
            self.before = sys.gettrace()
            sys.settrace(self.trace)
            return self
        # A tracer is told of no opcodes from 3.13 on, once it has raised.
        events = sys.monitoring.events
        started = events.PY_START | events.PY_RESUME
        sys.monitoring.use_tool_id(TOOL, "interrupts")
        sys.monitoring.register_callback(TOOL, events.PY_START, self.started)
        sys.monitoring.register_callback(TOOL, events.PY_RESUME, self.started)
        sys.monitoring.register_callback(TOOL, events.INSTRUCTION, self.stepped)
        sys.monitoring.set_events(TOOL, started | events.INSTRUCTION)
        return self

    def __exit__(self, *_: object) -> None:
        if sys.version_info < (3, 12):
            sys.settrace(self.before)
        else:
            sys.monitoring.set_events(TOOL, 0)
            sys.monitoring.free_tool_id(TOOL)
            sys.monitoring.restart_events()
        self.last.clear()

    def is_ours(self, code) -> bool:
        return self.ours(code.co_filename) and code.co_name != "__del__"

    def trace(self, frame, event, _arg):
        if not self.is_ours(frame.f_code):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "call":
            self.start(frame)
        if event == "opcode":
            self.step(frame, frame.f_lasti)
        return self.trace

    def started(self, code, _offset):
        return self.start(sys._getframe(1)) if self.is_ours(code) else sys.monitoring.DISABLE

    def stepped(self, code, offset):
        if not self.is_ours(code):
            return sys.monitoring.DISABLE
        return self.step(sys._getframe(1), offset)

    def start(self, frame) -> None:
        if frame.f_back is not None and self.ours(frame.f_back.f_code.co_filename):
            self.look(frame)

    def step(self, frame, offset) -> None:
        code, last = frame.f_code.co_code, self.last.get(frame)
        self.last[frame] = offset
        # A result returned at once: the look belongs to the call, one instruction earlier.
        returned = dis.opname[code[offset]] == "RETURN_VALUE"
        if last is None or returned or dis.opname[code[last]] not in self.LOOKS:
            return
        # The interpreter raises within the call, a tracer can only before the next instruction.
        # Where that is under other handlers, the call has raised an exception of its own, which
        # would stay as one that is being handled, or has left a `with` whose exit would be missed.
        if handler(frame.f_code, last) == handler(frame.f_code, offset):
            self.look(frame)

    def look(self, frame) -> None:
        self.left -= 1
        if self.left < 0 and self.where is None and not is_shielded(frame):
            self.where = f"{frame.f_code.co_qualname}:{frame.f_lineno}"
            raise KeyboardInterrupt


class Signals(Interrupter):
    """Call a signal handler wherever the interpreter would, each time it looks for signals."""

    def __init__(
        self, signalled: Callable[[FrameType], object], ours: Callable[[str], bool]
    ) -> None:
        super().__init__(0, ours)
        self.signalled = signalled

    def look(self, frame) -> None:
        self.signalled(frame)


@cache
def handlers(code: CodeType) -> list[tuple[range, int]]:
    """Give the ranges of a function that have a handler, and where it is."""
    return [
        (range(entry.start, entry.end), entry.target) for entry in dis._parse_exception_table(code)
    ]


def handler(code: CodeType, offset: int) -> int | None:
    """Give where an exception that an instruction raises is handled, None for nowhere."""
    return next((target for covered, target in handlers(code) if offset in covered), None)


def is_shielded(frame) -> bool:
    """Tell whether a finalizer has led here, or trio, which keeps Ctrl-C from code of its own."""
    if sniffio.thread_local.name == "trio":
        return sys.modules["trio"].lowlevel.currently_ki_protected()
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False
