"""The page over WSGI, and on a port of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

import rpcguard
from tests.support.library import Transport, http


@pytest.fixture
def transport():
    with Transport("static:///orders=10.0.0.1:80") as made:
        made.wait_ready("orders", timeout=20)
        yield made


def names(url: str) -> list[str]:
    shown = http.get(f"{url}/nodes.json", trust_env=False).raise_for_status().json()
    return [service["name"] for service in shown["services"]]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "", 200),
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/nodes.json", 200),
        ("POST", "/", 405),
        ("GET", "/nodes", 404),
    ],
)
def test_a_wsgi_app_says_what_the_asgi_app_says(transport, method, path, status):
    """Checked by the validator of the standard library, below a prefix of its framework's."""
    environ: dict = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": ""}
    environ["SCRIPT_NAME"] = "/admin"
    setup_testing_defaults(environ)
    started: list = []
    answer = validator(rpcguard.wsgi_status(transport))(environ, lambda *a: started.append(a))
    body = b"".join(answer)
    answer.close()
    ((line, headers, *_),) = started
    assert line.split()[0] == str(status)
    told = dict(headers)
    assert told["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in told["content-security-policy"]
    assert (len(body) == int(told["content-length"])) is (method != "HEAD")
    if path == "/" and method == "GET":
        assert b'href="/admin/nodes.json"' in body


def test_a_port_of_its_own(transport):
    """On loopback by default, by a thread that serves until it is closed."""
    with rpcguard.start_status_server(0, transport) as server:
        assert server.host == "127.0.0.1"
        url = f"http://127.0.0.1:{server.port}"
        page = http.get(url, trust_env=False)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "10.0.0.1:80" in page.text
        assert names(url) == ["orders"]
        assert http.head(url, trust_env=False).content == b""
    with pytest.raises(http.ConnectError):
        http.get(url, trust_env=False)
    server.close()


def test_without_a_transport_it_shows_all_of_the_process(transport):
    """Those that are made later too, whichever library they serve."""
    with rpcguard.start_status_server(0) as server:
        url = f"http://127.0.0.1:{server.port}"
        assert "orders" in names(url)
        with Transport("static:///made-later=10.0.0.2:80") as later:
            later.wait_ready("made-later", timeout=20)
            assert {"orders", "made-later"} <= {*names(url)}


def test_a_port_that_is_taken_is_told():
    """By the usual error, where it is started."""
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(OSError, match="in use"):
        rpcguard.start_status_server(other.getsockname()[1])


def test_a_reader_that_holds_its_connection_holds_nobody(transport):
    """Others are answered meanwhile, and closing does not wait for it."""
    server = rpcguard.start_status_server(0, transport)
    with socket.create_connection(("127.0.0.1", server.port)) as idle:
        idle.sendall(b"GET / HTTP/1.1\r\n")
        assert names(f"http://127.0.0.1:{server.port}") == ["orders"]
        closing = threading.Thread(target=server.close)
        closing.start()
        closing.join(10)
        assert not closing.is_alive()


def test_it_never_delays_the_exit():
    """A batch program ends when its work is done, without a word."""
    code = """
import rpcguard
server = rpcguard.start_status_server(0)
assert server.port
"""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
