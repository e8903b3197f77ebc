"""A node that speaks HTTP/2, one frame at a time where a test wants it."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, ClassVar

import h2.config
import h2.connection
import h2.events
from h2.errors import ErrorCodes
from h2.events import StreamEnded, StreamReset

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.calls import Node, Peer

    Act = Callable[["H2", int], None]


class H2:
    """Speak HTTP/2 on one connection; `act` decides what each whole request gets."""

    settings: ClassVar[dict[int, int]] = {}

    def __init__(self, peer: Peer, act: Act) -> None:
        self.peer, self.act = peer, act
        self.wire = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.bodies: dict[int, bytes] = {}
        self.lock = threading.RLock()
        self.gone = False

    def run(self) -> None:
        self.peer.node.speakers.append(self)
        self.wire.initiate_connection()
        if self.settings:
            self.wire.update_settings(self.settings)
        self.flush()
        while data := self.peer.recv():
            with self.lock:
                # Once it has gone, h2 takes what still comes for a fault.
                events = [] if self.gone else self.wire.receive_data(data)
                left = {event.stream_id for event in events if isinstance(event, StreamReset)}
                for event in events:
                    # A call that was left before this thread read of it has no answer.
                    if not (isinstance(event, StreamEnded) and event.stream_id in left):
                        self.take(event)
                self.flush()

    def say(self, act: Callable[..., object], *arguments: object) -> None:
        """Do something from another thread, and send what comes of it."""
        with self.lock:
            act(*arguments)
            self.flush()

    def take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            headers = dict(event.headers)
            node = self.peer.node
            node.calls.append((headers[b":method"].decode(), headers[b":authority"].decode()))
            node.asked_for[headers[b":path"].decode()] = self, event.stream_id
        elif isinstance(event, StreamReset):
            self.peer.node.resets.append((event.stream_id, int(event.error_code)))
        elif isinstance(event, h2.events.DataReceived):
            self.wire.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
        elif isinstance(event, StreamEnded):
            self.act(self, event.stream_id)

    def flush(self) -> None:
        self.peer.send(self.wire.data_to_send())

    def answer(self, stream: int, status: int = 200, body: bytes = b"ok") -> None:
        length = str(len(body))
        self.wire.send_headers(stream, [(":status", str(status)), ("content-length", length)])
        for start in range(0, len(body), 16384):
            self.wire.send_data(stream, body[start : start + 16384])
        self.wire.end_stream(stream)

    def begin(self, stream: int, body: bytes = b"") -> None:
        self.wire.send_headers(stream, [(":status", "200")])
        if body:
            self.wire.send_data(stream, body)

    def refuse(self, stream: int) -> None:
        self.wire.reset_stream(stream, ErrorCodes.REFUSED_STREAM)

    def break_off(self, stream: int) -> None:
        self.wire.reset_stream(stream, ErrorCodes.INTERNAL_ERROR)

    def go_away(self, last_stream: int) -> None:
        self.wire.close_connection(last_stream_id=last_stream)
        self.flush()
        self.gone = True
        with contextlib.suppress(OSError):
            self.peer.sock.shutdown(socket.SHUT_WR)


def as_h2_node(node: Node, act: Act) -> Node:
    """Let a node keep what its HTTP/2 connections heard: calls, resets, who was asked for what."""
    node.calls, node.resets, node.asked_for, node.speakers = [], [], {}, []
    node.scripts = (speaking_h2(act),)
    return node


def speaking_h2(act: Act):
    """Make the script of a node that speaks HTTP/2."""
    return lambda peer: H2(peer, act).run()
