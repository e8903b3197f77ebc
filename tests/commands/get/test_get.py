"""`rpcguard get` makes one call and shows its answer and its attempts."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

from rpcguard import cli
from tests.support.calls import Peer, unused_port
from tests.support.fixtures import make_node

__all__ = ["make_node"]


def registry(*nodes: str) -> str:
    """Give the URL of a list of these nodes; its order is no promise."""
    return f"static:///orders={','.join(nodes)}"


def address(node) -> str:
    """Give `host:port` of a node."""
    return f"{node.host}:{node.port}"


def test_the_answer_and_its_attempts(make_node, capfdbinary):
    """The body alone is on standard output; a dead node shows as an attempt where it was met."""
    node, dead = make_node(), f"127.0.0.1:{unused_port()}"
    met = b""
    for _ in range(20):  # which of the two is drawn first is chance: two in a row are 1 in 2
        arguments = ["get", "http://orders/v1", "--header", "x-a: 1"]
        assert cli.main([*arguments, "--registry", registry(address(node), dead)]) == 0
        out, err = capfdbinary.readouterr()
        assert out == b"ok"
        assert b"HTTP/1.1 200 OK\n" in err
        assert f"attempt: {address(node)}: 200".encode() in err
        met += err
    assert f"attempt: {dead}: ConnectError".encode() in met
    assert node.seen[0].headers["x-a"] == "1"
    assert node.seen[0].line == "GET /v1 HTTP/1.1"


def test_statuses(make_node, capsys, monkeypatch):
    """An answer of 400 or above, no answer, and a wrong URL are 1, 1 and 2."""
    node = make_node(lambda peer: peer.serve(b"HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\nnope"))
    monkeypatch.setenv("RPCGUARD_REGISTRY", registry(address(node)))
    assert cli.main(["get", "http://orders/"]) == 1
    assert capsys.readouterr().out == "nope"
    dead = f"127.0.0.1:{unused_port()}"
    assert cli.main(["get", "http://orders/", "--registry", registry(dead)]) == 1
    assert f"on {dead}: ConnectError" in capsys.readouterr().err
    assert cli.main(["get", "orders/v1"]) == 2
    assert "must be like http://orders/v1" in capsys.readouterr().err
    for wrong in ("no colon", "x-a: \N{LATIN SMALL LETTER U WITH DIAERESIS}", "x-a: 1\nx-b: 2"):
        assert cli.main(["get", "http://orders/", "--header", wrong]) == 2
        assert "--header needs 'NAME: VALUE' of printable ASCII" in capsys.readouterr().err
    monkeypatch.delenv("RPCGUARD_REGISTRY")
    assert cli.main(["get", "http://orders/"]) == 2
    assert "set RPCGUARD_REGISTRY" in capsys.readouterr().err


def test_what_a_node_writes_does_not_steer_a_terminal(make_node):
    """Bytes for programs, but for a terminal what steers it is escaped."""
    said = b"HTTP/1.1 200 OK\r\nX-A: \x1b[2J\r\nContent-Length: 8\r\n\r\na\n\x1b[2J.\n"
    node = make_node(lambda peer: peer.serve(said))
    command = [sys.executable, "-m", "rpcguard", "get", "http://orders/"]
    command += ["--registry", registry(address(node))]
    piped = subprocess.run(command, capture_output=True, check=True, timeout=50)
    assert piped.stdout == b"a\n\x1b[2J.\n"
    assert b"\x1b" not in piped.stderr
    shown, terminal = pty.openpty()
    subprocess.run(command, stdout=terminal, stderr=terminal, check=True, timeout=50)
    os.close(terminal)
    assert b"\x1b" not in (screen := os.read(shown, 65536))
    assert b"a\r\n\\x1b[2J." in screen
    os.close(shown)


def test_a_body_that_breaks_off(make_node, capsys):
    """What came is handed on, then the command fails."""

    def cut(peer: Peer) -> None:
        peer.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")

    where = registry(address(make_node(cut)))
    assert cli.main(["get", "http://orders/", "--registry", where]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("rpcguard: ")
