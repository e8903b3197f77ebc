"""Several addresses of one name: which is tried when, and who wins."""

from __future__ import annotations

import contextlib
import errno
import importlib
import socket
import threading
import time

import anyio
import pytest

from rpcguard._connections import dial, sync_stream
from rpcguard._connections.dial import (
    ATTEMPT_DELAY,
    BACKLOG_PAUSE,
    Destination,
    Dialled,
    Race,
    numeric,
    order,
)
from tests.support.calls import eventually, unused_port
from tests.support.sockets import full_socket


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()


@pytest.fixture
def refusing():
    return "127.0.0.1", unused_port()


@pytest.fixture
def silent():
    """Give an address that answers nothing: its backlog is full."""
    with contextlib.ExitStack() as stack:
        hole = stack.enter_context(socket.socket())
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        for _ in range(4):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(hole.getsockname())
        yield hole.getsockname()


def race(*addresses) -> Race:
    here = Destination(host="node.example", port=80)
    return Race(here, [(socket.AF_INET, address) for address in addresses], 0.0)


def until_decided(one: Race) -> Dialled:
    end = time.monotonic() + 20
    while (winner := one.winner()) is None and time.monotonic() < end:
        time.sleep(0.001)
    assert winner is not None
    return winner


def test_families_take_turns() -> None:
    """After an address of one family comes one of the other (RFC 8305 §4)."""
    found = [(family, 0, 0, "", name) for family, name in [(6, "a"), (6, "b"), (4, "c"), (6, "d")]]
    assert order(found) == [(6, "a"), (4, "c"), (6, "b"), (6, "d")]


def test_addresses_need_no_resolver() -> None:
    """A host that is an address is used as it is; a name is not one."""
    assert numeric("127.0.0.1", 80) == [(socket.AF_INET, ("127.0.0.1", 80))]
    ((family, address),) = numeric("::1", 80)
    assert (family, address[:2]) == (socket.AF_INET6, ("::1", 80))
    assert numeric("localhost", 80) is None


def test_a_silent_address_is_overtaken(silent, listening) -> None:
    """The second address is tried a quarter of a second after the first, and wins."""
    with contextlib.closing(race(silent, listening)) as one:
        one.advance(0.0)
        assert len(one.pending) == 1
        assert one.left(0.0) == ATTEMPT_DELAY
        one.advance(ATTEMPT_DELAY - 0.01)
        assert len(one.pending) == 1
        one.advance(ATTEMPT_DELAY)
        assert len(one.pending) == 2
        winner, peer = until_decided(one)
        assert winner.getpeername() == peer == listening
        winner.close()


def test_a_refused_address_is_not_waited_for(refusing, listening) -> None:
    """The next address is due at once when one has failed."""
    with contextlib.closing(race(refusing, listening)) as one:
        one.advance(0.0)
        end = time.monotonic() + 20
        while one.pending and time.monotonic() < end:
            one.winner()
        one.advance(0.0)
        winner, peer = until_decided(one)
        assert winner.getpeername() == peer == listening
        winner.close()


def test_all_have_failed(refusing) -> None:
    """One failure is told as it is, several are told together."""
    with contextlib.closing(race(refusing)) as one:
        one.advance(0.0)
        with pytest.raises(OSError, match="refused") as caught:
            until_decided(one)
        assert caught.value.errno == errno.ECONNREFUSED
    with contextlib.closing(race(refusing, refusing)) as one:
        one.advance(0.0)
        end = time.monotonic() + 20
        while one.pending and time.monotonic() < end:
            one.winner()
        one.advance(0.0)
        with pytest.raises(OSError, match="all addresses failed"):
            until_decided(one)


def test_what_fails_at_once_is_not_waited_for(monkeypatch, tmp_path) -> None:
    """A thread that cannot even begin, at a socket that is not there say, is told so at once."""

    def wait(*_: object) -> None:
        raise AssertionError("there is nothing to wait for")

    monkeypatch.setattr(sync_stream, "_wait", wait)
    nowhere = Destination(host="localhost", port=80, path=str(tmp_path / "nobody.sock"))
    with pytest.raises(FileNotFoundError):
        sync_stream.connect(nowhere, sync_stream.Lookup(), None)


def test_a_full_backlog_of_a_socket_is_waited_for(tmp_path) -> None:
    """As TCP does by itself; one that nobody listens on, or may write to, has failed."""
    path = str(tmp_path / "orders.sock")
    here = Destination(host="localhost", port=80, path=path)
    addresses = here.known()
    assert addresses is not None
    with full_socket(path) as listener, contextlib.closing(Race(here, addresses, 0.0)) as one:
        one.advance(0.0)
        assert (one.winner(), one.pending, one.left(0.0)) == (None, [], BACKLOG_PAUSE)
        listener.accept()[0].close()
        one.advance(BACKLOG_PAUSE)
        winner = one.winner()
        assert winner is not None
        assert winner[1] == path
        winner[0].close()
    with contextlib.closing(Race(here, addresses, 0.0)) as one:
        one.advance(0.0)
        with pytest.raises(ConnectionRefusedError) as caught:
            one.winner()
        assert caught.value.filename == path


def test_options_of_tcp_are_none_of_a_unix_socket() -> None:
    """They are for the other nodes of a list; those of any socket are set."""
    options = [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    ]
    here = Destination(host="localhost", port=80, path="/orders.sock", socket_options=options)
    with here.open(socket.AF_UNIX) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


@pytest.mark.real_time("the wait for forty addresses is measured by the wait for one")
def test_all_addresses_share_one_timeout(silent, monkeypatch) -> None:
    """Forty addresses that answer nothing cost a thread one connect timeout, not forty."""
    found: list[object] = []
    monkeypatch.setattr(dial.socket, "getaddrinfo", lambda *_, **__: list(found))

    def tried(addresses: int) -> float:
        found[:] = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", silent)] * addresses
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            sync_stream.connect(
                Destination(host="node.example", port=80), sync_stream.Lookup(), 0.1
            )
        return time.monotonic() - began

    assert tried(40) < 20 * tried(1)


def test_a_resolver_that_hangs_counts(monkeypatch) -> None:
    """Waiting for a name is part of the connect timeout, and holds one thread for all callers."""
    asked, go = [], threading.Event()

    def hang(*_, **__):
        asked.append(1)
        go.wait(20)
        return []

    monkeypatch.setattr(dial.socket, "getaddrinfo", hang)
    lookup, where = sync_stream.Lookup(), Destination(host="node.example", port=80)
    for _ in range(3):
        with pytest.raises(TimeoutError, match=r"node\.example"):
            sync_stream.connect(where, lookup, 0.02)
    eventually(lambda: asked, "its thread does not begin")
    go.set()
    assert asked == [1]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_resolver_that_hangs_holds_no_event_loop(backend, monkeypatch) -> None:
    """The system's call runs beside the loop, which goes on and gives the call up in time."""
    loops, asked, go = [], [], threading.Event()

    def hang(*_, **__):
        asked.append(threading.get_ident())
        go.wait(0 if asked[-1] in loops else 20)
        return []

    monkeypatch.setattr(dial.socket, "getaddrinfo", hang)

    async def main() -> None:
        loops.append(threading.get_ident())
        stream = importlib.import_module(f"rpcguard._connections.{backend}_stream")
        for number, patience in enumerate((0.02, 0.2, 2.0, 20.0)):
            with pytest.raises(TimeoutError):
                await stream.connect(Destination(host="node.example", port=80), patience)
            assert len(asked) <= number + 1
            if asked:  # a busy machine may begin it too late
                break
        go.set()

    anyio.run(main, backend=backend)
    assert asked
    assert loops[0] not in asked


def test_a_name_whose_thread_does_not_start_is_looked_up_again(monkeypatch) -> None:
    """The next caller does not wait for an answer that nobody asks for, and no node is at fault."""
    lookup, start = sync_stream.Lookup(), threading.Thread.start

    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    with pytest.raises(OSError, match="new thread") as raised:
        lookup.resolve("localhost", 80, 20.0)
    assert raised.value.errno == errno.ENOMEM
    monkeypatch.setattr(threading.Thread, "start", start)
    assert lookup.resolve("localhost", 80, 20.0)
