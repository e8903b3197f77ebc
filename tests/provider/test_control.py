"""Who may turn the switch over HTTP: with a token, or over a socket that nobody else can reach."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import httpx
import pytest

from rpcguard.provider import OfflineASGI, OfflineWSGI
from tests.support.require import require
from tests.support.servers.haproxy import HAProxy
from tests.support.servers.nginx import BareNginx, Nginx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.servers.base import Server

OFFLINE, ONLINE = "/-/rpcguard/offline", "/-/rpcguard/online"
TOKEN = "grün-and-s3cret"


async def asgi(scope, receive, send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"served"})


def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Length", "6")])
    return [b"served"]


@pytest.fixture(params=["asgi", "wsgi"])
def provider(request, uvicorn_at, wsgiref_at) -> Callable[..., tuple[OfflineASGI, str]]:
    """Run a provider on TCP, and give its middleware and its URL."""

    def run(**options):
        kind, app, serve = {
            "asgi": (OfflineASGI, asgi, uvicorn_at),
            "wsgi": (OfflineWSGI, wsgi, wsgiref_at),
        }[request.param]
        guarded = kind(app, **options)
        return guarded, serve(guarded)

    return run


@pytest.fixture
def behind(tmp_path_factory) -> Iterator[Callable[[str, str], str]]:
    """Put a real proxy in front of a provider, and give the URL that strangers use."""
    running: list[Server] = []

    def start(proxy: str, url: str) -> str:
        require({"nginx": Nginx, "haproxy": HAProxy}[proxy.partition(" ")[0]])
        directory = tmp_path_factory.mktemp("proxy")
        running.append(_proxy(proxy, directory, url))
        running[-1].start()
        return f"http://127.0.0.1:{running[-1].port}"

    yield start
    for server in running:
        server.kill()


def _proxy(proxy: str, directory: Path, url: str) -> Server:
    if proxy == "haproxy":
        address = url.removeprefix("http://").replace("unix:", "unix@").rstrip(":")
        return HAProxy(directory, address)
    kept = 'proxy_http_version 1.1; proxy_set_header Connection "";'
    return BareNginx(directory, url, more=kept if proxy == "nginx kept alive" else "")


PROXIES = pytest.mark.parametrize("proxy", ["nginx", "nginx kept alive", "haproxy"])


@PROXIES
def test_a_proxy_opens_the_switch_to_nobody(provider, behind, proxy):
    """Whatever `Host` a stranger writes, and whichever one the proxy sends on."""
    guarded, own = provider()
    url = behind(proxy, own)
    hosts = ["shop.example", "localhost", "127.0.0.1", own.removeprefix("http://"), "[::1]"]
    with httpx.Client(base_url=url, trust_env=False) as client:
        assert client.get("/").text == "served"
        for host in hosts:
            for path in (OFFLINE, ONLINE):
                assert client.post(path, headers={"host": host}).status_code == 403
            assert not guarded.offline
        assert client.get("/").text == "served"


@PROXIES
def test_a_token_is_good_through_a_proxy(provider, behind, proxy):
    """It proves who asks, whichever way the request takes; a wrong one proves nothing."""
    guarded, own = provider(token=TOKEN)
    with httpx.Client(base_url=behind(proxy, own), trust_env=False) as client:
        assert client.post(OFFLINE).status_code == 401
        assert client.post(OFFLINE, headers=bearer("wrong")).status_code == 401
        assert not guarded.offline
        assert client.post(OFFLINE, headers=bearer(TOKEN)).json() == {"offline": True}
        assert guarded.offline
        assert client.post(ONLINE, headers=bearer(TOKEN)).json() == {"offline": False}


def bearer(token: str) -> dict[str, bytes]:
    return {"authorization": b"Bearer " + token.encode()}


def test_without_a_token_nobody_is_heard_over_tcp(provider):
    """Not from loopback either: the answer says what to use instead."""
    guarded, url = provider()
    refused = httpx.post(url + OFFLINE)
    assert refused.status_code == 403
    assert "rpcguard offline" in refused.json()["error"]
    assert not guarded.offline


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": TOKEN.encode()},
        {"authorization": b"Basic " + TOKEN.encode()},
        {"authorization": b"Bearer " + TOKEN.encode()[:-1]},
        {"authorization": b"Bearer " + TOKEN.encode() + b"x"},
        {"authorization": b"Bearer " + TOKEN.encode("latin-1")},
        {"x-forwarded-for": "127.0.0.1", "host": "localhost"},
    ],
)
def test_anything_but_the_token_is_refused(provider, sent):
    """With 401 and the scheme that is wanted."""
    guarded, url = provider(token=TOKEN)
    refused = httpx.post(url + OFFLINE, headers=sent)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert not guarded.offline


def test_the_token_turns_the_switch_of_all_workers(provider, tmp_path):
    """The POST writes the file that the others look at."""
    file = tmp_path / "leaving"
    guarded, url = provider(token=TOKEN, file=file)
    answer = httpx.post(url + OFFLINE, headers=bearer(TOKEN))
    assert answer.json() == {"offline": True}
    assert answer.headers["x-rpcguard-offline"].startswith("1")
    assert file.exists()
    answer = httpx.post(url + ONLINE, headers=bearer(TOKEN))
    assert (answer.json(), "x-rpcguard-offline" in answer.headers) == ({"offline": False}, False)
    assert not file.exists()
    assert not guarded.offline


def test_a_file_that_cannot_be_written_is_told(provider, tmp_path):
    """This process says that it leaves, and the hook learns that the others do not."""
    guarded, url = provider(token=TOKEN, file=tmp_path / "missing" / "leaving")
    answer = httpx.post(url + OFFLINE, headers=bearer(TOKEN))
    assert answer.status_code == 500
    assert answer.json()["offline"] is True
    assert "No such file or directory" in answer.json()["error"]
    assert guarded.offline


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_other_methods_change_nothing(provider, method):
    """A crawler's GET is no switch: 405 that names POST."""
    guarded, url = provider(token=TOKEN)
    response = httpx.request(method, url + OFFLINE, headers=bearer(TOKEN))
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert not guarded.offline


@pytest.mark.parametrize("token", ["", "  "])
def test_an_empty_token_is_refused(token):
    """A variable that is unset in production must not open the switch."""
    with pytest.raises(ValueError, match="token"):
        OfflineASGI(asgi, token=token)
    with pytest.raises(ValueError, match="token"):
        OfflineWSGI(wsgi, token=token)


# Over a unix socket


def over(path: Path) -> httpx.Client:
    return httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://node")


@pytest.fixture
def private(tmp_path) -> Path:
    """Give the place of a socket in a folder that nobody else may search."""
    tmp_path.chmod(0o700)
    return tmp_path / "s"


@pytest.fixture
def public() -> Iterator[Path]:
    """Give the place of a socket that everybody may find."""
    with TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder) / "s"


def test_a_socket_of_ones_own_needs_no_token(uvicorn_at, private):
    """Whoever can reach it could as well write the file."""
    guarded = OfflineASGI(asgi)
    uvicorn_at(guarded, uds=str(private))
    with over(private) as client:
        assert client.post(OFFLINE).json() == {"offline": True}
        assert guarded.offline
        assert client.post(ONLINE).json() == {"offline": False}


def test_a_token_counts_over_a_unix_socket_too(uvicorn_at, private):
    """Where there is one, there is no way around it."""
    guarded = OfflineASGI(asgi, token=TOKEN)
    uvicorn_at(guarded, uds=str(private))
    with over(private) as client:
        assert client.post(OFFLINE).status_code == 401
        assert client.post(OFFLINE, headers=bearer(TOKEN)).status_code == 200


def test_a_socket_that_others_can_reach_opens_nothing(uvicorn_at, public):
    """Another user, such as that of a proxy, may be the one who asks."""
    guarded = OfflineASGI(asgi)
    uvicorn_at(guarded, uds=str(public))
    with over(public) as client:
        assert client.get("/").text == "served"
        assert client.post(OFFLINE).status_code == 403
        public.chmod(0o600)
        assert client.post(OFFLINE).status_code == 200


@pytest.mark.parametrize("proxy", ["nginx", "haproxy"])
def test_a_proxy_before_a_unix_socket(uvicorn_at, behind, public, proxy):
    """It can be reached by the proxy, so by another user, and is no proof."""
    guarded = OfflineASGI(asgi)
    uvicorn_at(guarded, uds=str(public))
    url = behind(proxy, f"http://unix:{public}:")
    for host in ("shop.example", "localhost"):
        assert httpx.post(url + OFFLINE, headers={"host": host}).status_code == 403
    assert httpx.get(url).text == "served"
    assert not guarded.offline


def test_a_proxy_of_the_same_user_is_known_by_its_version(uvicorn_at, behind, private):
    """Nginx as it is set up by default speaks HTTP/1.0 to what is behind it."""
    guarded = OfflineASGI(asgi)
    uvicorn_at(guarded, uds=str(private))
    url = behind("nginx", f"http://unix:{private}:")
    assert httpx.post(url + OFFLINE).status_code == 403
    assert not guarded.offline


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "Origin"])
def test_a_request_through_a_proxy_or_a_web_page(uvicorn_at, private, header):
    """The socket is one's own, but what asks over it speaks for somebody else."""
    guarded = OfflineASGI(asgi)
    uvicorn_at(guarded, uds=str(private))
    with over(private) as client:
        assert client.post(OFFLINE, headers={header: "127.0.0.1"}).status_code == 403
    assert not guarded.offline


def turned_over(listening: socket.socket | None) -> int:
    """Ask a WSGI app over a connection that gunicorn has accepted there; give the status."""
    environ = {"PATH_INFO": OFFLINE, "REQUEST_METHOD": "POST", "REMOTE_ADDR": ""}
    given = environ if listening is None else {**environ, "gunicorn.socket": listening}
    said: list[str] = []
    OfflineWSGI(wsgi)(given, lambda status, _: said.append(status))
    return int(said[0].split()[0])


def test_gunicorn_tells_which_socket_it_was(private):
    """A WSGI environment has no other word for a unix socket than the connection itself."""
    nameless, other = socket.socketpair()
    with nameless, other, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(private))
        assert turned_over(None) == 403
        assert turned_over(nameless) == 403
        assert turned_over(listening) == 200
        private.unlink()
        assert turned_over(listening) == 403


@pytest.mark.parametrize(
    ("folder", "own", "status"),
    [
        (0o755, 0o666, 403),
        (0o755, 0o620, 403),
        (0o755, 0o602, 403),
        (0o755, 0o644, 200),
        (0o710, 0o666, 403),
        (0o701, 0o666, 403),
        (0o700, 0o666, 200),
        (0o766, 0o666, 200),
    ],
)
def test_who_can_connect_to_a_socket(public, folder, own, status):
    """Whoever may write to it, and search every folder above it."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(public))
        public.chmod(own)
        public.parent.chmod(folder)
        assert turned_over(listening) == status
    public.parent.chmod(0o700)


def test_a_folder_far_above_keeps_others_out_too(public):
    """The way to a socket leads through all of them."""
    inner = public.parent / "open" / "wide"
    inner.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(inner / "s"))
        (inner / "s").chmod(0o666)
        assert turned_over(listening) == 403
        public.parent.chmod(0o700)
        assert turned_over(listening) == 200


def test_the_post_takes_back_what_its_process_said(provider):
    """One that is asked to be online is, by its own word as by the file."""
    guarded, url = provider(token=TOKEN)
    guarded.go_offline()
    assert httpx.post(url + ONLINE, headers=bearer(TOKEN)).json() == {"offline": False}
    assert not guarded.offline
