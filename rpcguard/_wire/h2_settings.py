"""How HTTP/2 is set up on our side: what the node may send, and how much of it."""

from __future__ import annotations

import h2.config
import h2.connection
from h2.settings import SettingCodes, Settings

from rpcguard._wire.h2_headers import LONGEST_LIST

STREAM_WINDOW = 4 * 1024 * 1024
"""Bytes of a body that may wait for its reader: what Go's client grants, 80 MB/s over 50 ms."""

CONNECTION_WINDOW = 16 * 1024 * 1024
"""Bytes of all bodies that may be under way. Given back as they arrive, read or not: else a few
bodies that nobody reads would use it up, and every other stream would stand still."""

MAX_STREAMS = 100
"""Calls at once on one connection, however many more the node takes: as httpcore does."""

_HARD_HEADER_LIMIT = 2**20
"""Bytes of a header list that h2 refuses, and with it the connection. Those of one answer are
refused at a tenth of it, and only that answer is."""

_WINDOW_UPDATE = 8  # RFC 9113 §6.9


def h2_connection() -> h2.connection.H2Connection:
    """Make the state of h2 for one connection."""
    # Requests are checked before they come to h2, and answers after, one by one: what h2 finds
    # wrong with either ends the connection, and every other call on it.
    config = h2.config.H2Configuration(
        client_side=True,
        header_encoding=None,
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
        validate_inbound_headers=False,
        normalize_inbound_headers=False,
    )
    books = h2.connection.H2Connection(config)
    # All at once, for `update_settings` would send a second frame.
    books.local_settings = Settings(
        client=True,
        initial_values={
            SettingCodes.ENABLE_PUSH: 0,
            SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
            SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            SettingCodes.MAX_HEADER_LIST_SIZE: LONGEST_LIST,
        },
    )
    # Some servers end a connection over a setting of RFC 8441 that they do not know.
    del books.local_settings[SettingCodes.ENABLE_CONNECT_PROTOCOL]
    books.decoder.max_header_list_size = _HARD_HEADER_LIMIT
    return books


def window_update(size: int) -> bytes:
    """Make the frame that gives so many bytes of the connection's window back."""
    return b"\0\0\4" + bytes((_WINDOW_UPDATE, 0)) + bytes(4) + size.to_bytes(4, "big")
