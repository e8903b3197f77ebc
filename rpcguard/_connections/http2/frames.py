"""What a GOAWAY means for the streams of an HTTP/2 connection, told so that h2 gets it right."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD = 9
_HEADERS, _RST_STREAM, _GOAWAY = 1, 3, 7
_END_STREAM = 1
_NO_ERROR = bytes(4)
_REFUSED_STREAM = (7).to_bytes(4, "big")
_LONGEST = 2**14
"""What h2 takes of a frame; nothing longer is waited for."""
_FRESH, _FEW = 5.0, 5
_REMEMBERED = 1000


class Frames:
    """Watch the frames of one connection, and change those that come in where needed.

    RFC 9113 §6.8: after a GOAWAY the streams up to the last one that it names go on, and the others
    were not processed. The h2 package takes every GOAWAY for the end of the connection, which
    breaks them all. So one that tells no error is held back until the connection ends, and each
    stream above the last one is reset with REFUSED_STREAM, which proves that it may go again.
    A GOAWAY with an error, or with no stream processed at all, passes as it is.

    A reset without an error after a whole answer only says that the rest of the request is not
    wanted (§8.1), but h2 would not let it be sent: it is left out.

    `leaving` is true after a GOAWAY: no new stream is to be opened. `departing` is true where it
    came soon after the connection was opened: then not the connection is old, but the node leaves.
    `refused` are the last streams that were not processed.
    HTTP/1.1 passes untouched. One thread may read while another one writes.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.leaving: bool = False
        self.departing: bool = False
        self.refused: deque[int] = deque(maxlen=_REMEMBERED)
        self._clock = clock
        self._opened = clock()
        self._plain: bool | None = None
        self._newest = 0
        self._last: int | None = None
        self._answers = 0
        self._answered: deque[int] = deque(maxlen=_REMEMBERED)
        self._waiting: deque[bytes] = deque()
        self._held = b""
        self._start = b""
        self._left = 0
        self._left_to_send = 0

    @property
    def watched(self) -> bool:
        """Tell whether this is HTTP/2, as far as is known."""
        return self._plain is False

    def sent(self, data: bytes) -> None:
        """Take note of what is written: whole frames, after the preface."""
        at = 0
        if self._plain is None and data:
            self._plain = not data.startswith(_PREFACE)
            at = len(_PREFACE)
        if self._plain:
            return
        at += self._left_to_send
        while at < len(data):
            if data[at + 3] == _HEADERS:
                self._open(int.from_bytes(data[at + 5 : at + 9], "big"))
            at += _HEAD + int.from_bytes(data[at : at + 3], "big")
        self._left_to_send = at - len(data)

    def received(self, data: bytes) -> bytes:
        """Give what h2 may see of what came in; nothing where the rest must come first."""
        if self._plain:
            return data
        data, at = self._start + data, 0
        passed = bytearray()
        while True:
            if self._left:
                part = data[at : at + self._left]
                passed += part
                at += len(part)
                self._left -= len(part)
            if self._left:
                break
            while self._waiting:
                passed += self._waiting.popleft()
            if len(data) < at + _HEAD:
                break
            length, kind = int.from_bytes(data[at : at + 3], "big"), data[at + 3]
            if kind not in (_GOAWAY, _RST_STREAM) or length > _LONGEST:
                self._answers += kind == _HEADERS
                if kind <= _HEADERS and data[at + 4] & _END_STREAM:
                    self._answered.append(int.from_bytes(data[at + 5 : at + 9], "big"))
                self._left = _HEAD + length
                continue
            if len(data) < at + _HEAD + length:
                break
            frame = data[at : at + _HEAD + length]
            passed += self._go_away(frame) if kind == _GOAWAY else self._reset(frame)
            at += len(frame)
        self._start = data[at:]
        return bytes(passed)

    def ended(self) -> bytes:
        """Give what h2 sees when the connection ends: what was held back."""
        held, self._held = self._held, b""
        return b"" if self._left else self.received(b"") + held

    def _open(self, stream: int) -> None:
        if stream > self._newest:
            self._newest = stream
            if self._last is not None and stream > self._last:
                self._waiting.append(self._refusal(stream))

    def _go_away(self, frame: bytes) -> bytes:
        last = int.from_bytes(frame[9:13], "big") & 0x7FFF_FFFF
        failed = any(frame[13:17])
        self.leaving = True
        if not last:
            return frame
        if self._last is None:
            young = self._clock() - self._opened < _FRESH
            self.departing = young and self._answers < _FEW and not failed
        self._last = last
        above = range((last + 1) | 1, self._newest + 1, 2)
        refused = b"".join(map(self._refusal, above))
        if failed:
            return refused + frame
        self._held = frame
        return refused

    def _reset(self, frame: bytes) -> bytes:
        stream = int.from_bytes(frame[5:9], "big")
        if frame[_HEAD:] == _REFUSED_STREAM:
            self.refused.append(stream)
        return b"" if frame[_HEAD:] == _NO_ERROR and stream in self._answered else frame

    def _refusal(self, stream: int) -> bytes:
        self.refused.append(stream)
        head = len(_REFUSED_STREAM).to_bytes(3, "big") + bytes((_RST_STREAM, 0))
        return head + stream.to_bytes(4, "big") + _REFUSED_STREAM
