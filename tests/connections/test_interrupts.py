"""Threads, and Ctrl-C at every point of a synchronous call."""

from __future__ import annotations

import contextlib
import dis
import gc
import sys
import threading

import httpx
import pytest

from rpcguard._connections import dial, exchange, http11, socket_stream, stack, sync, sync_stream
from rpcguard._connections.sync import ConnectionStack

OURS = {
    module.__file__ for module in (dial, exchange, http11, socket_stream, stack, sync, sync_stream)
}


TOOL = 4


class Interrupter:
    """Raise KeyboardInterrupt where the interpreter would, the nth time it looks for signals.

    It looks when a function starts, after a call returns and when a loop turns, nowhere else. The
    start of a function that httpx calls is left out: it is as if httpx had not called it yet.
    """

    LOOKS = frozenset({"CALL", "CALL_KW", "CALL_FUNCTION_EX", "JUMP_BACKWARD"})

    def __init__(self, nth: int) -> None:
        self.left = nth
        self.where: str | None = None
        self.last: dict[object, int] = {}

    def __enter__(self) -> Interrupter:
        if sys.version_info < (3, 12):
            self.before = sys.gettrace()
            sys.settrace(self.trace)
            return self
        # A tracer is told of no opcodes from 3.13 on, once it has raised.
        events = sys.monitoring.events
        sys.monitoring.use_tool_id(TOOL, "interrupts")
        sys.monitoring.register_callback(TOOL, events.PY_START, self.started)
        sys.monitoring.register_callback(TOOL, events.INSTRUCTION, self.stepped)
        sys.monitoring.set_events(TOOL, events.PY_START | events.INSTRUCTION)
        return self

    def __exit__(self, *_: object) -> None:
        if sys.version_info < (3, 12):
            sys.settrace(self.before)
        else:
            sys.monitoring.set_events(TOOL, 0)
            sys.monitoring.free_tool_id(TOOL)
            sys.monitoring.restart_events()

    def trace(self, frame, event, _arg):
        if frame.f_code.co_filename not in OURS or frame.f_code.co_name == "__del__":
            return None  # an interrupt of a finalizer is told on stderr, and raised by nobody
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "call":
            self.start(frame)
        if event == "opcode":
            self.step(frame, frame.f_lasti)
        return self.trace

    def started(self, code, _offset):
        if code.co_filename not in OURS or code.co_name == "__del__":
            return sys.monitoring.DISABLE
        return self.start(sys._getframe(1))

    def stepped(self, code, offset):
        if code.co_filename not in OURS or code.co_name == "__del__":
            return sys.monitoring.DISABLE
        return self.step(sys._getframe(1), offset)

    def start(self, frame) -> None:
        if frame.f_back.f_code.co_filename in OURS:
            self.look(frame)

    def step(self, frame, offset) -> None:
        code, last = frame.f_code.co_code, self.last.get(frame)
        self.last[frame] = offset
        # A result returned at once: the look belongs to the call, one instruction earlier.
        returned = dis.opname[code[offset]] == "RETURN_VALUE"
        if last is not None and not returned and dis.opname[code[last]] in self.LOOKS:
            self.look(frame)

    def look(self, frame) -> None:
        self.left -= 1
        if self.left == -1:
            self.where = f"{frame.f_code.co_qualname}:{frame.f_lineno}"
            raise KeyboardInterrupt


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize("warm", [False, True], ids=["fresh", "reused"])
def test_an_interrupt_at_each_step(make_node, warm, until) -> None:
    """Ctrl-C anywhere in a call leaves no slot taken, no socket open, and the next call served.

    A socket that Ctrl-C took from between two hands is closed with the garbage, hence the filter.
    """
    node = make_node()
    lost = []
    for nth in range(1000):
        transport = ConnectionStack(
            scheme="http",
            host="127.0.0.1",
            port=node.port,
            limits=httpx.Limits(max_connections=1),
        )
        with httpx.Client(transport=transport, trust_env=False) as client:
            if warm:
                client.get("http://orders/")
            with contextlib.suppress(KeyboardInterrupt), Interrupter(nth) as interrupter:
                client.get("http://orders/")
            if interrupter.where is None:
                break
            if transport.counts.in_use:
                lost.append(interrupter.where)
            else:
                assert client.get("http://orders/").text == "ok"
    assert nth > 30
    assert lost == []
    gc.collect()
    until(lambda: all(peer.sock.fileno() < 0 for peer in node.peers), "connections left open")


def test_many_threads_share_a_stack(make_node, until) -> None:
    """32 threads over 8 connections: every call is answered with its own response."""

    def echo(peer) -> None:
        while head := peer.head():
            path = head.split()[1]
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(path), path))

    node = make_node(echo)
    transport = ConnectionStack(
        scheme="http", host="127.0.0.1", port=node.port, limits=httpx.Limits(max_connections=8)
    )
    wrong: list[object] = []

    def work(name: int) -> None:
        for number in range(30):
            try:
                path = f"/{name}/{number}"
                if client.get(f"http://orders{path}", timeout=20).text != path:
                    wrong.append(path)
            except Exception as exc:
                wrong.append(exc)

    with httpx.Client(transport=transport, trust_env=False) as client:
        threads = [threading.Thread(target=work, args=(n,)) for n in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert len(node.peers) <= 8
        counts = transport.counts
        assert (counts.in_use, counts.waiting) == (0, 0)
    until(lambda: all(peer.sock.fileno() < 0 for peer in node.peers), "connections left open")
