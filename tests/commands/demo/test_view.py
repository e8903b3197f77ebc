"""What a person sees while the demo runs."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from rpcguard._commands.demo.board import Board
from rpcguard._commands.demo.clients import Attempted
from rpcguard._commands.demo.recording import CallRecord, DemoEvent, Sighting
from rpcguard._commands.demo.view import LiveView, PlainView, clock_time, screen
from rpcguard._core.nodes.node import Node
from rpcguard._core.nodes.view import NodeView


def view_of(name: str, state="available", reason=None, *, effective=1.0, failures=0) -> NodeView:
    node = Node("127.0.0.1", 9001, id=name)
    return NodeView(node, state, reason, None, 1.0, effective, 3, 0.01, 90, failures)


@pytest.fixture
def board() -> Board:
    """Give a board on which a call was saved, one was lost and a node is gone."""
    board = Board(["orders-1", "orders-2", "orders-3"])
    for number in range(30):
        attempts = [Attempted("orders-1", 0.004)]
        board.call(CallRecord("rpcguard", "GET", number / 10, 0.004, "orders-1"), attempts)
        board.call(CallRecord("httpx", "GET", number / 10, 0.004, "orders-1"), ())
    attempts = [
        Attempted("orders-2", 0.002),
        Attempted("orders-1", 0.006),
    ]
    board.call(CallRecord("rpcguard", "GET", 3.0, 0.008, "orders-1", 2), attempts)
    lost = CallRecord("httpx", "GET", 3.0, 0.1, None, 1, "ConnectError", saveable=True)
    board.call(lost, ())
    board.event(DemoEvent(2.0, "orders-2", "kill", "is killed (SIGKILL)"))
    board.event(DemoEvent(2.1, "orders-2", "state", "is ejected (ConnectError)"))
    board.see(
        [
            view_of("orders-1", effective=0.25),
            view_of("orders-2", "ejected", "ConnectError", failures=1),
        ],
        3.0,
    )
    return board


def drawn(board: Board, *, width: int, height: int = 24) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(screen(board, 3.1, width=width, height=height))
    return console.file.getvalue().splitlines()


def test_the_live_view_has_a_line_per_node(board):
    """State, reason, both weights, share, in flight, latencies, failures and what happens to it."""
    lines = drawn(board, width=150)
    (first,) = [line for line in lines if line.startswith("orders-1")]
    assert first.split()[:5] == ["orders-1", "available", "1", "→", "0.25"]
    assert [cell for cell in first.split() if cell.endswith("%")] == ["97%"]
    assert first.split()[-4:] == ["3", "4", "6", "0"]
    (second,) = [line for line in lines if line.startswith("orders-2")]
    assert second.split()[:3] == ["orders-2", "ejected", "ConnectError"]
    assert second.split()[-6:-3] == ["2", "2", "1"]
    assert any("orders-3" in line and "not listed" in line for line in lines)


def test_the_live_view_has_the_totals_of_both_clients(board):
    """Calls, retries, saved calls, failed calls, and which could have been saved."""
    lines = drawn(board, width=150)
    totals = {line.split()[0]: line.split() for line in lines if line.startswith(("rpcg", "plain"))}
    assert totals["rpcguard"][-5:] == ["31", "1", "1", "0", "0"]
    assert totals["plain"][-5:] == ["31", "0", "0", "1", "1"]


def test_the_live_view_shows_the_last_events(board):
    """The newest event is at the end, and old ones leave."""
    for number in range(20):
        board.event(DemoEvent(10.0 + number, "orders-1", "state", f"event {number}"))
    lines = drawn(board, width=150)
    assert lines[-1].endswith("event 19")
    assert not any("SIGKILL" in line and line.startswith("00:02") for line in lines)


@pytest.mark.parametrize("width", [80, 100])
def test_the_live_view_fits_a_small_terminal(board, width):
    """No line is wider than the terminal, and the node and its state stay readable."""
    lines = drawn(board, width=width)
    assert max(map(len, lines)) <= width
    assert len(lines) <= 24
    assert any("orders-2" in line and "ejected" in line for line in lines)


def test_the_live_view_draws_on_a_terminal(board, capsys, monkeypatch):
    """Drawing puts the screen on the terminal, and leaving the view gives the cursor back."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    with LiveView() as view:
        view.event(board.events[-1])
        view.draw(board, 3.1)
    out = capsys.readouterr().out
    assert "orders-2" in out
    assert out.rstrip().endswith("\x1b[?25h")


def test_only_changes_of_state_are_told(board):
    """A ramp or a count that moves is no event; a state, a reason or a listing is."""
    assert (
        board.see(
            [view_of("orders-1", effective=0.5), view_of("orders-2", "ejected", "ConnectError")],
            4.0,
        )
        == []
    )
    assert board.see([view_of("orders-1"), view_of("orders-2", "warming", "restored")], 5.0) == [
        Sighting(5.0, "orders-2", "warming", "restored")
    ]
    assert board.see([view_of("orders-1")], 6.0) == [Sighting(6.0, "orders-2", None, None)]


def test_failures_are_kept_when_a_node_registers_anew(board):
    """The list starts to count at 0 for a new generation; the screen goes on."""
    for seen in (3, 5, 0, 1):
        board.see([view_of("orders-2", failures=seen)], 4.0)
    board.see([], 5.0)
    board.see([view_of("orders-2", failures=2)], 6.0)
    assert board.failures["orders-2"] == 8
    assert board.failures["orders-1"] == 0


def test_old_traffic_leaves_the_share(board):
    """Share and latencies are about the last seconds, not about the whole run."""
    for number in range(10):
        attempts = [Attempted("orders-3", 0.02)]
        board.call(CallRecord("rpcguard", "GET", 60 + number / 10, 0.02, "orders-3"), attempts)
    recent = board.recent(61.0)
    assert recent["orders-3"].share == 1.0
    assert recent["orders-3"].p50 == 0.02
    assert recent["orders-1"].share == 0.0


def test_the_plain_view_prints_one_line_per_event(capsys, board):
    """A time stamp, the node, the words; drawing prints nothing."""
    with PlainView() as view:
        view.event(DemoEvent(62.34, "orders-1", "leave", "announces that it leaves"))
        view.draw(board, 63.0)
    assert capsys.readouterr().out == "01:02.3  orders-1  announces that it leaves\n"


def test_times_are_written_for_people():
    """Minutes, seconds and tenths; never negative."""
    assert [clock_time(s) for s in (-1, 0, 5.25, 61)] == [
        "00:00.0",
        "00:00.0",
        "00:05.2",
        "01:01.0",
    ]


def test_a_large_terminal_has_lost_calls_by_second_and_more_events(board):
    """A row of marks for each client, higher where more was lost, and the events of a minute."""
    for number in range(30):
        board.event(DemoEvent(10.0 + number, "orders-1", "state", f"event {number}"))
    lines = drawn(board, width=220, height=50)
    (plain,) = [line for line in lines if line.startswith("plain httpx") and "█" in line]
    assert plain.split()[-1] == "···█"
    (ours,) = [line for line in lines if line.startswith("rpcguard ") and "·" in line]
    assert ours.split()[-1] == "····"
    assert any(line.endswith("event 10") for line in lines)
    assert len(lines) < 50
    assert max(map(len, lines)) <= 220


def test_a_third_client_has_a_row(board):
    """Named as it is, between rpcguard and plain httpx."""
    board = Board(["orders-1"], ("httpx", "httpx-retries", "rpcguard"))
    lines = drawn(board, width=100)
    names = ("rpcguard  ", "httpx-retries", "plain httpx")
    found = [next(n for n, line in enumerate(lines) if line.startswith(name)) for name in names]
    assert found == [found[0], found[0] + 1, found[0] + 2]


@pytest.mark.parametrize("height", [24, 36, 44, 70])
def test_every_height_is_used_and_not_passed(board, height):
    """Events fill what is left, and nothing is cut off."""
    for number in range(60):
        board.event(DemoEvent(10.0 + number, "orders-1", "state", f"event {number}"))
    assert height - 10 < len(drawn(board, width=140, height=height)) < height
