"""What a file does to containers and workers that come back while it is there: real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.calls import eventually
from tests.support.servers.base import accepts, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOTICE = "x-rpcguard-offline"
CONTAINER = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
APP = """
import os
from rpcguard.provider import OfflineASGI, OfflineWSGI

async def answer(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"served"})

def pid(environ, start_response):
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]

asgi, wsgi = OfflineASGI(answer), OfflineWSGI(pid)
"""


@contextmanager
def running(*command: str, folder: Path, file: Path, port: int) -> Iterator[subprocess.Popen]:
    """Run a server until it listens, and end all of its processes."""
    (folder / "leftover_app.py").write_text(APP)
    path = os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(folder)])
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": path, "RPCGUARD_OFFLINE_FILE": str(file)},
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    try:
        eventually(lambda: accepts(port), "the server did not start", 30)
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()
        eventually(lambda: not accepts(port), "the server did not end", 30)


@pytest.fixture
def may_contain() -> None:
    """Skip where this user may not make a namespace, as inside of most containers."""
    tried = subprocess.run([*CONTAINER, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no container here: {tried.stderr.strip()}")


@pytest.mark.usefixtures("may_contain")
def test_a_container_that_was_killed_after_the_touch_is_back(tmp_path, own_file):
    """The folder outlived it; the new one is not the one that was told to leave."""
    [port] = free_ports(1)
    uvicorn = (sys.executable, "-m", "uvicorn", "leftover_app:asgi", "--port", str(port))
    url = f"http://127.0.0.1:{port}/"
    container = [*CONTAINER, *uvicorn]
    with running(*container, folder=tmp_path, file=own_file, port=port) as first:
        assert NOTICE not in httpx.get(url).headers
        own_file.touch()
        eventually(lambda: NOTICE in httpx.get(url).headers, "the file is not seen")
        first.kill()
    touched = os.stat(own_file).st_mtime
    eventually(lambda: time.time() > touched + 0.02, "the clock stands still")
    with running(*container, folder=tmp_path, file=own_file, port=port) as second:
        assert httpx.get(url).text == "served"
        assert NOTICE not in httpx.get(url).headers
        second.kill()
        said = second.communicate()[1]
    assert "found at start" in said
    assert "it is from before this container was started" in said


def test_a_worker_that_takes_anothers_place_says_it_too(tmp_path, own_file):
    """The node still leaves, whoever of its processes has died meanwhile."""
    [port] = free_ports(1)
    gunicorn = (sys.executable, "-m", "gunicorn", "--workers", "2", "--log-level", "warning")
    bind = ("--bind", f"127.0.0.1:{port}", "leftover_app:wsgi")
    url = f"http://127.0.0.1:{port}/"
    with running(*gunicorn, *bind, folder=tmp_path, file=own_file, port=port):
        own_file.touch()
        eventually(lambda: NOTICE in httpx.get(url).headers, "the file is not seen")
        killed = httpx.get(url).text
        os.kill(int(killed), signal.SIGKILL)
        seen: Counter[str] = Counter()

        def both_have_answered() -> bool:
            answer = httpx.get(url)
            assert NOTICE in answer.headers
            seen[answer.text] += 1
            return len(seen.keys() - {killed}) == 2

        eventually(both_have_answered, "no worker has come in its place", 30)
