"""What is relied on of h2, hpack and httpcore beyond what they promise.

Each failure says what has changed. Read their changelogs then, mend what stands on it, and only
then move the bound in pyproject.toml.
"""

from __future__ import annotations

import inspect
import tomllib
from importlib.metadata import version
from pathlib import Path

import h2.connection
import h2.events
import h2.exceptions
import httpcore
import httpcore2
import pytest
from hpack import Decoder, Encoder, NeverIndexedHeaderTuple
from hyperframe.frame import Frame, SettingsFrame

from rpcguard._connections.library import CORE_ERRORS
from rpcguard._wire.h2_settings import CONNECTION_WINDOW, STREAM_WINDOW, h2_connection

PYPROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
LINES = PYPROJECT["dependencies"] + PYPROJECT["optional-dependencies"]["http2"]
GET = [(b":method", b"GET"), (b":authority", b"a"), (b":scheme", b"http"), (b":path", b"/")]


@pytest.mark.parametrize(("package", "major"), [("h2", 4), ("hpack", 4), ("httpcore", 1)])
def test_only_the_major_version_that_was_tried_is_allowed(package, major):
    """A later one may change what is relied on without a word."""
    (line,) = (one for one in LINES if one.partition(">")[0] == package)
    assert line.endswith(f",<{major + 1}"), f"the bound of {package} has moved: try it first"
    assert version(package).startswith(f"{major}."), f"{package} {version(package)} was never tried"


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


def test_h2_has_the_events_and_errors_that_are_read():
    """By these names, and with these fields."""
    fields = {
        "DataReceived": ("data", "flow_controlled_length", "stream_id"),
        "ResponseReceived": ("headers", "stream_id"),
        "StreamReset": ("error_code", "remote_reset", "stream_id"),
        "TrailersReceived": ("headers", "stream_id"),
        "WindowUpdated": ("stream_id",),
    }
    for name, wanted in fields.items():
        kind = getattr(h2.events, name, None)
        assert kind is not None, f"h2.events.{name} is gone"
        known = {*inspect.get_annotations(kind), *dir(kind), *inspect.signature(kind).parameters}
        assert known.issuperset(wanted), f"h2.events.{name} has not {wanted} any more"
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
