"""What is relied on of httpx, its core, h2 and the parsers beyond what they promise.

Each failure says what has changed. Read their changelogs then, mend what stands on it, and only
then move the bound in pyproject.toml.
"""

from __future__ import annotations

import ast
import inspect
import platform
import re
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import h11
import httpcore
import httpcore2
import httpx
import httpx2
import pytest
from hpack import Decoder, Encoder, NeverIndexedHeaderTuple
from hyperframe.frame import Frame, SettingsFrame

from rpcguard._connections.library import CORE_ERRORS
from rpcguard._wire import h11_heads
from rpcguard._wire.h2_settings import CONNECTION_WINDOW, STREAM_WINDOW, h2_connection
from rpcguard.registries._rules.yaml import mapping_from_yaml
from tests.support.rooms import PACKAGE, modules, parsed

PYPROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
EXTRAS = ("demo", "http2", "httpx2", "kubernetes", "rules", "zookeeper")
LINES = [
    *PYPROJECT["dependencies"],
    *(line for extra in EXTRAS for line in PYPROJECT["optional-dependencies"][extra]),
]
GET = [(b":method", b"GET"), (b":authority", b"a"), (b":scheme", b"http"), (b":path", b"/")]


TRIED = {
    "httpx": 0,
    "httpcore": 1,
    "httpx2": 2,
    "httpcore2": 2,
    "h2": 4,
    "hpack": 4,
    "hyperframe": 6,
    "h11": 0,
    "httptools": 0,
    "kazoo": 2,
    "pyyaml": 6,
    "uvicorn": 0,
}
"""The major versions that were tried of whatever has classes or attributes that are relied on."""


@pytest.mark.parametrize(("package", "major"), TRIED.items())
def test_only_the_major_version_that_was_tried_is_allowed(package, major):
    """A later one may change what is relied on without a word."""
    bounds = [one.partition(";")[0] for one in LINES if one.partition(">")[0] == package]
    assert bounds
    for bound in bounds:
        assert bound.endswith(f",<{major + 1}"), f"the bound of {package} has moved: try it first"
    assert version(package).startswith(f"{major}."), f"{package} {version(package)} was never tried"


def test_whatever_is_subclassed_has_a_bound():
    """A class of others may change under ours with any major version."""
    found = {origin for _, path in modules() for origin in bases(parsed(path))}
    packages = {"yaml": "pyyaml"}
    assert {"httpx", "httpx2", "kazoo", "yaml"} <= found
    assert {packages.get(one, one) for one in found} - {*TRIED} == set()


def bases(tree: ast.Module) -> set[str]:
    """Give the packages of others that the classes of a file derive from."""
    origin = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for one in node.names:
                name = (one.asname or one.name).partition(".")[0]
                origin[name] = getattr(node, "module", None) or one.name
    found = {
        origin.get(re.split(r"\W", ast.unparse(base))[0], "").partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for base in node.bases
    }
    return found - sys.stdlib_module_names - {"", "rpcguard"}


def used(*holders: str, under: str = "") -> set[str]:
    """Give the attributes that the package looks up on what has one of these names."""
    return {
        node.attr
        for place, path in modules()
        if place.startswith(under)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in holders
    }


def lost(thing: object, names: set[str]) -> str:
    """Say which of the names a thing has not, for the message of a failure."""
    gone = sorted(name for name in names if not hasattr(thing, name))
    return f"{thing!r} has no {', '.join(gone)} any more" if gone else ""


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_httpx_has_what_is_used(library):
    """Of whichever library is served: its classes, errors and the makers of TLS contexts."""
    names = used("self._http", "library.http", "self.http", "http", under="_connections")
    names |= used("self._http", "self.library.http", under="_transport")
    assert len(names) > 10
    assert not lost(library, names)


@pytest.mark.parametrize("core", [httpcore, httpcore2])
def test_httpcore_has_what_is_used(core):
    """Of the core below it."""
    names = used("self._core", "self.core", "core", under="_connections")
    assert len(names) > 10
    assert not lost(core, names)


def test_h2_has_what_is_used():
    """The methods of a connection, and the codes by name."""
    names = used("self._h2", "books", under="_wire/h2_")
    assert len(names) > 10
    assert not lost(h2_connection(), names)
    assert not lost(h2.errors.ErrorCodes, used("ErrorCodes", under="_wire/h2_"))
    assert not lost(h2.settings.SettingCodes, used("SettingCodes", under="_wire/h2_"))
    assert not lost(h2.events, used("h2.events", under="_wire/h2_"))
    assert not lost(h2.exceptions, used("h2.exceptions", under="_wire/h2_"))


def test_the_events_of_h2_have_the_fields_that_are_read():
    """Each handler reads those of the event that it is written for."""
    read = [
        (ast.unparse(one.annotation), node.attr)
        for place, path in modules()
        if place.startswith("_wire/h2_")
        for handler in ast.walk(parsed(path))
        if isinstance(handler, ast.FunctionDef)
        for one in handler.args.args
        if one.annotation is not None and ast.unparse(one.annotation).startswith("h2.events.")
        for node in ast.walk(handler)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == one.arg
    ]
    assert len(read) > 5
    for kind, name in read:
        event = getattr(h2.events, kind.rpartition(".")[2])
        known = {*dir(event), *inspect.get_annotations(event), *inspect.signature(event).parameters}
        assert name in known, f"{kind} has no {name} any more"


def test_h2_takes_frames_that_hyperframe_writes():
    """It reads them with hyperframe, and tells what is wrong with one as an error of its own."""
    books = h2_connection()
    books.initiate_connection()
    (event,) = books.receive_data(SettingsFrame(0).serialize())
    assert isinstance(event, h2.events.RemoteSettingsChanged), "h2 tells of settings otherwise"
    with pytest.raises(h2.exceptions.ProtocolError):
        books.receive_data((5).to_bytes(3, "big") + b"\x06" + bytes(5) + bytes(5))  # half a PING


def test_h11_has_what_is_used():
    """It has the words for what is wrong, and reads what llhttp does not."""
    assert not lost(h11, used("h11"))
    for text, status in (
        (b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n", 200),
        (b"HTTP/1.1 101 x\r\n\r\n", 101),
    ):
        head = h11_heads.parse_head(text)
        assert head.status == status, "h11 reads a head otherwise"
    assert h11_heads.parse_head(b"HTTP/1.0 200 OK\r\nA:  b \r\n\r\n").fields == [(b"A", b"b")], (
        "h11 gives the names or values of fields otherwise"
    )
    with pytest.raises(h11.LocalProtocolError):
        h11.Request(method="GET", target="/", headers=[("a b", "c")])


@pytest.mark.skipif(platform.python_implementation() != "CPython", reason="not installed there")
def test_httptools_has_what_is_used():
    """Its callbacks come in this order, and an upgrade and a bad head are told by these errors."""
    httptools = pytest.importorskip("httptools")
    told = []

    class Told:
        def __getattr__(self, name: str) -> object:
            if not name.startswith("on_"):
                raise AttributeError(name)
            return lambda *given: told.append((name, *given))

    parser = httptools.HttpResponseParser(Told())
    assert not lost(parser, used("parser", under="_wire/llhttp"))
    parser.feed_data(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n")
    wanted = {"on_status", "on_header", "on_headers_complete"}
    names = [name for name, *_ in told if name in wanted]
    assert names == ["on_status", "on_header", "on_headers_complete"], "httptools tells otherwise"
    assert (parser.get_status_code(), parser.get_http_version()) == (200, "1.1")
    with pytest.raises(httptools.HttpParserError):
        httptools.HttpResponseParser(Told()).feed_data(b"HTTP/1.1 200 OK\r\nA b\r\n\r\n")
    upgrade = b"HTTP/1.1 101 x\r\nUpgrade: a\r\nConnection: upgrade\r\n\r\n"
    with pytest.raises(httptools.HttpParserUpgrade):
        httptools.HttpResponseParser(Told()).feed_data(upgrade)


def test_h2_takes_all_settings_in_its_first_frame():
    """They are put in place before the connection begins; `update_settings` sends a second one."""
    books = h2_connection()
    books.initiate_connection()
    data = books.data_to_send().removeprefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    frame, length = Frame.parse_frame_header(memoryview(data[:9]))
    frame.parse_body(memoryview(data[9 : 9 + length]))
    assert isinstance(frame, SettingsFrame), "h2 begins a connection with another frame"
    assert len(data) == 9 + length, "h2 sends more than one frame of settings"
    assert frame.settings[SettingsFrame.ENABLE_PUSH] == 0, "h2 does not send our settings"
    assert frame.settings[SettingsFrame.INITIAL_WINDOW_SIZE] == STREAM_WINDOW
    assert SettingsFrame.ENABLE_CONNECT_PROTOCOL not in frame.settings


def test_h2_counts_the_window_that_was_announced():
    """A stream that begins before the node has acknowledged it has the whole of it."""
    books = h2_connection()
    books.initiate_connection()
    books.increment_flow_control_window(CONNECTION_WINDOW)
    books.send_headers(1, GET, end_stream=True)
    found = books.remote_flow_control_window(1)
    assert found == STREAM_WINDOW, "h2 does not count with our initial window"


def test_h2_leaves_headers_to_us():
    """What it finds wrong would end the connection of all calls."""
    books = h2_connection()
    books.initiate_connection()
    books.send_headers(1, [*GET, (b"Connection", b"keep-alive")], end_stream=True)
    block = Encoder().encode([(":status", "200"), ("X-Upper", "1"), ("a b", "c")])
    wire = len(block).to_bytes(3, "big") + b"\1\4\0\0\0\1" + block
    (event,) = books.receive_data(wire)
    assert (b"X-Upper", b"1") in event.headers, "h2 checks or changes headers all the same"


def test_h2_refuses_a_header_list_at_our_limit():
    """`decoder.max_header_list_size` is set by hand."""
    books = h2_connection()
    books.initiate_connection()
    books.send_headers(1, GET, end_stream=True)
    block = Encoder().encode([(":status", "200"), ("x", "y" * 100_000)])
    parts = [block[at : at + 16384] for at in range(0, len(block), 16384)]
    for place, part in enumerate(parts):
        kind, flags = (1 if not place else 9), (4 if place == len(parts) - 1 else 0)
        events = books.receive_data(
            len(part).to_bytes(3, "big") + bytes((kind, flags)) + b"\0\0\0\1" + part
        )
    assert isinstance(events[0], h2.events.ResponseReceived), "h2 refuses 100 KB of headers"
    decoder = Decoder()
    assert hasattr(decoder, "max_header_list_size"), "hpack has no limit of that name any more"


def test_h2_tells_a_closed_stream_as_one_of_its_faults():
    """Whoever resets a stream twice catches the narrower of the two."""
    assert issubclass(h2.exceptions.StreamClosedError, h2.exceptions.ProtocolError)


def test_hpack_keeps_what_is_marked_out_of_its_tables():
    """A secret is sent whole each time."""
    encoder = Encoder()
    secret = NeverIndexedHeaderTuple(b"authorization", b"Bearer secret")
    assert encoder.encode([secret]) == encoder.encode([secret]), "hpack has put it into its table"


@pytest.mark.parametrize("core", [httpcore, httpcore2])
def test_httpcore_has_the_errors_and_the_stream_that_are_used(core):
    """Its pools and connections are not used any more."""
    missing = [name for name in CORE_ERRORS if not hasattr(core, name)]
    assert missing == [], f"{core.__name__} has no {missing} any more"
    for base in (core.NetworkStream, core.AsyncNetworkStream):
        for method in ("read", "write", "start_tls", "get_extra_info"):
            assert hasattr(base, method), f"{base.__name__}.{method} is gone from {core.__name__}"


def test_yaml_has_the_loader_that_is_made_stricter():
    """Its two methods are called for each node and each mapping."""
    yaml = pytest.importorskip("yaml")
    assert not lost(yaml, used("yaml", under="registries/"))
    assert not lost(yaml.SafeLoader, {"check_event"})
    for method, names in {"compose_node": 3, "construct_mapping": 3}.items():
        taken = inspect.signature(getattr(yaml.SafeLoader, method)).parameters
        assert len(taken) == names, f"{method} of PyYAML takes {[*taken]}"
    with pytest.raises(ValueError, match="alias"):
        mapping_from_yaml("a: &one [1]\nb: *one\n", name="rules")
    with pytest.raises(ValueError, match="twice"):
        mapping_from_yaml("a: 1\na: 2\n", name="rules")


def test_uvicorn_tells_when_it_listens():
    """The demo's providers say so once `startup` is done."""
    uvicorn = pytest.importorskip("uvicorn")
    assert inspect.iscoroutinefunction(uvicorn.Server.startup)
    assert [*inspect.signature(uvicorn.Server.startup).parameters] == ["self", "sockets"]


def test_kazoo_has_the_threads_and_the_options_that_are_used():
    """Its threads are subclassed, so that a socket takes no more than an answer may have."""
    kazoo = pytest.importorskip("kazoo.client")
    threads = pytest.importorskip("kazoo.handlers.threading").SequentialThreadingHandler
    assert not lost(threads, {"start", "stop", "create_connection"})
    names = used("client", "self._client", under="registries/zookeeper/")
    assert not lost(kazoo.KazooClient(), names)
    taken = inspect.signature(kazoo.KazooClient.__init__).parameters
    given = {
        keyword.arg
        for node in ast.walk(parsed(PACKAGE / "registries/zookeeper/registry.py"))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "KazooClient"
        for keyword in node.keywords
    }
    assert given
    assert given <= {*taken}, f"KazooClient takes no {given - {*taken}} any more"
