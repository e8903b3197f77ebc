"""The library that the tests of behaviour call with, by the variable `RPCGUARD_TEST_LIBRARY`.

`httpx` (the default) with `rpcguard.Transport`; `httpx2` with `rpcguard.httpx2.Transport`; or
`alias`: httpx2 under the name of httpx, with `rpcguard.Transport`. Tests, and the programs that
they start, take `http`, `Transport` and `AsyncTransport` from here in place of their own imports.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

VARIABLE = "RPCGUARD_TEST_LIBRARY"
LIBRARY = os.environ.get(VARIABLE, "httpx")

if LIBRARY not in ("httpx", "httpx2", "alias"):
    raise ValueError(f"{VARIABLE} must be httpx, httpx2 or alias, not {LIBRARY!r}")

if LIBRARY == "alias" and not TYPE_CHECKING:
    import httpx2

    httpx2.alias_httpx()  # here, before anything imports rpcguard

if LIBRARY == "httpx2" and not TYPE_CHECKING:
    import httpcore2 as core
    import httpx2 as http

    from rpcguard.httpx2 import AsyncTransport, NoAvailableNode, Transport, TransportClosed
else:
    import httpcore as core
    import httpx as http

    from rpcguard import AsyncTransport, NoAvailableNode, Transport, TransportClosed

NAME = http.__name__

__all__ = [
    "LIBRARY",
    "NAME",
    "AsyncTransport",
    "NoAvailableNode",
    "Transport",
    "TransportClosed",
    "core",
    "http",
]
