"""Programs that have not loaded httpcore: nothing loads it, and nobody can tell the difference."""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import subprocess
import sys

import httpcore
import httpcore2
import pytest

from rpcguard._connections import stand_in
from rpcguard._connections.asyncio_stream import AsyncioStream
from rpcguard._connections.library import CORE_ERRORS
from rpcguard._wire.parsers import PARSER

HEAVY = ("httpcore", "httpcore2", "trio", "h2", "hpack", "h11")
"""What takes long to load, and only some need; h11 for heads that stray from the grammar."""

NODE = """
import asyncio, socket, struct, sys, threading
import {http} as httpx
from {ours} import AsyncTransport, Transport

def loaded():
    return sorted(set(sys.argv[1:]) & set(sys.modules))

held = socket.socket()  # bound, or somebody else might come to listen there
held.bind(("127.0.0.1", 0))
nobody = held.getsockname()[1]
listener = socket.create_server(("127.0.0.1", 0))
registry = "static://127.0.0.1:%d" % listener.getsockname()[1]

def serve(listener):
    while True:
        sock, _ = listener.accept()
        with sock:
            while head := sock.recv(65536):
                if head.startswith(b"CONNECT"):
                    sock.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n")
                    sock.recv(100)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    break
                if b"/cut" in head:
                    break
                sock.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")

threading.Thread(target=serve, args=[listener], daemon=True).start()
"""

THREADS = """
with httpx.Client(transport=Transport(registry), base_url="http://orders") as client:
    assert client.get("/").text == "ok"
    try:
        client.post("/cut")
    except httpx.RemoteProtocolError as error:
        assert error.__cause__ is not None
    else:
        sys.exit("no error")
    print(loaded())
    {then}
with httpx.Client(transport=Transport("static://127.0.0.1:%d" % nobody)) as client:
    try:
        client.get("http://orders/")
    except httpx.ConnectError:
        pass
    else:
        sys.exit("no error")
"""

TASKS = """
async def main():
    async with httpx.AsyncClient(
        transport=AsyncTransport(registry), base_url="http://orders"
    ) as client:
        assert (await client.get("/")).text == "ok"
        try:
            await client.post("/cut")
        except httpx.TransportError as error:
            assert error.__cause__ is not None
        else:
            sys.exit("no error")
        print(loaded())
        {then}
    transport = AsyncTransport("static://127.0.0.1:%d" % nobody)
    async with httpx.AsyncClient(transport=transport) as client:
        try:
            await client.get("http://orders/")
        except httpx.ConnectError:
            pass
        else:
            sys.exit("no error")

asyncio.run(main())
"""

LIBRARIES = {"httpx": ("rpcguard", "httpcore"), "httpx2": ("rpcguard.httpx2", "httpcore2")}


def fresh(library: str, program: str, then: str = "pass") -> str:
    """Run a program in an interpreter of its own, and give what it printed."""
    ours, _ = LIBRARIES[library]
    node = NODE.replace("{http}", library).replace("{ours}", ours)
    command = [sys.executable, "-c", node + program.replace("{then}", then), *HEAVY]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, PARSER: "llhttp"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("program", [THREADS, TASKS], ids=["threads", "asyncio"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_calls_that_succeed_and_fail_load_nothing_that_is_slow(library, program):
    """Neither making a transport nor a call, whatever becomes of it."""
    assert fresh(library, program) == "[]\n"


@pytest.mark.parametrize("library", LIBRARIES)
def test_who_upgrades_in_threads_gets_the_errors_of_httpcore(library):
    """What talks over the stream waits for them, and may load httpcore after the first call."""
    _, core = LIBRARIES[library]
    then = f"""
    with client.stream("CONNECT", "/") as response:
        import {core} as core
        stream = response.extensions["network_stream"]
        stream.write(b"go")
        try:
            stream.read(10, 5.0)
        except core.ReadError:
            print("told")
"""
    assert fresh(library, THREADS, then).endswith("told\n")


@pytest.mark.parametrize("library", LIBRARIES)
def test_who_upgrades_in_tasks_gets_the_errors_of_httpcore(library):
    """A timeout of the stream too, which a timer of the loop raises."""
    _, core = LIBRARIES[library]
    then = f"""
        async with client.stream("CONNECT", "/") as response:
            import {core} as core
            stream = response.extensions["network_stream"]
            try:
                await stream.read(10, 0.01)
            except core.ReadTimeout:
                print("late")
            await stream.write(b"go")
            try:
                await stream.read(10, 5.0)
            except core.ReadError:
                print("told")
"""
    assert fresh(library, TASKS, then).endswith("late\ntold\n")


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_trace_hook_sees_a_request_of_httpcore(library):
    """It is loaded for that."""
    _, core = LIBRARIES[library]
    then = """
    def hook(event, info):
        if event == "http11.send_request_headers.started":
            print(type(info["request"]).__module__, info["request"].url.target)
    client.get("/x", extensions=dict(trace=hook))
"""
    assert fresh(library, THREADS, then).endswith(f"{core} b'/x'\n")


def test_an_error_that_came_before_the_upgrade_is_told_in_the_words_of_httpcore():
    """The loop may have read the end of a connection before its caller had the answer."""

    async def read() -> None:
        near, far = socket.socketpair()
        with far:
            stream = AsyncioStream(near, stand_in)
            stream.close()
            stream.raise_those_of(httpcore)
            with pytest.raises(httpcore.ReadError):
                stream.receive()

    asyncio.run(read())


@pytest.mark.parametrize("core", [httpcore, httpcore2])
def test_the_stand_in_is_like_what_it_stands_in_for(core):
    """The same names, each under the same bases."""
    named = [name for name, _ in inspect.getmembers(stand_in, inspect.isclass)]
    assert set(named) == {*CORE_ERRORS, "NetworkStream", "AsyncNetworkStream"}
    for name in named:
        theirs = [kind.__name__ for kind in getattr(core, name).__mro__]
        assert [kind.__name__ for kind in getattr(stand_in, name).__mro__] == theirs
