"""Transports in clients that they are not for: told before anything is sent."""

from __future__ import annotations


def misplaced(kind: type, client: str, remedy: str) -> TypeError:
    """Give the error of a transport of this class in a client that needs another."""
    return TypeError(
        f"{kind.__module__}.{kind.__name__} is not for {client}, which needs {remedy};"
        " nothing was sent"
    )


def wrong_library(kind: type, request: object) -> TypeError:
    """Give the error of a request that is not of the library that the transport serves."""
    other = type(request).__module__.partition(".")[0]
    ours = "rpcguard.httpx2" if other == "httpx2" else "rpcguard"
    client = kind.__name__.replace("Transport", "Client")
    remedy = f"{ours}.{kind.__name__} in {other}.{client}"
    return misplaced(kind, f"a client of {other}", remedy)
