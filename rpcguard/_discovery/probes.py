"""Probe nodes in the background: those that are out, and those that the registry has lost."""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import TYPE_CHECKING

import anyio

from rpcguard._discovery.http_probe import Found
from rpcguard._discovery.turns import ProbeTurns, probe_turns
from rpcguard._text import logger

if TYPE_CHECKING:
    import weakref
    from collections.abc import Generator

    from anyio.abc import ByteStream

    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.service.service import Service
    from rpcguard._discovery.http_probe import HttpProbe


_FRAME_HEAD = 9
"""Bytes of an HTTP/2 frame's head (RFC 9113 §4.1), which a node without HTTP/1.1 begins with."""

_SETTINGS = b"\x04"
"""The type of the frame that it begins with (RFC 9113 §3.4)."""

_JITTER = 0.1  # share: callers that ejected a node together do not probe it in step
_LOCAL_ERRNOS = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, socket.EAI_AGAIN}
)


def probing(ref: weakref.ref[Service], live: LiveNode) -> Generator[float, Found, None]:
    """Yield the seconds to wait before each probe of a node; take in what the probe finds.

    Does no I/O, holds the service weakly, and ends when no other probe is wanted.
    """
    service = ref()
    if service is None:
        return
    policy = service.policies.ejection
    interval, pause, before = policy.probe_interval, 0.0, None
    while True:
        del service
        alive, answered = yield pause
        service = ref()
        if service is None or service.closed:
            return
        patience = service.probed(live, alive=alive, answered=answered)
        if patience is None:
            return
        if alive not in (None, before):
            interval, before = policy.probe_interval, alive
        pause = min(interval * service.rng.uniform(1.0 - _JITTER, 1.0), patience)
        interval = min(interval * 2.0, policy.probe_max_interval)


async def probe(
    ref: weakref.ref[Service], live: LiveNode, over_http: HttpProbe | None = None
) -> None:
    """Probe a node, at once and then at growing intervals, while its service asks for it.

    At the `probe_path` of its service if that has one, else by a TCP connect; then one that the
    registry has lost has to answer over HTTP all the same. A node that has a prober on this loop
    gets no second one: what waits long for its turn is taken for lost.
    """
    turns = probe_turns()
    if live in turns.probed:
        return
    turns.probed.add(live)
    try:
        await _probe(ref, live, turns, over_http)
    finally:
        turns.probed.discard(live)


async def _probe(
    ref: weakref.ref[Service], live: LiveNode, turns: ProbeTurns, over_http: HttpProbe | None
) -> None:
    service = ref()
    if service is None:
        return
    policy, name = service.policies.ejection, service.name
    timeout, path = policy.probe_timeout, policy.probe_path
    del service
    steps, first = probing(ref, live), True
    with contextlib.suppress(StopIteration):
        pause = next(steps)
        while True:
            await anyio.sleep(pause)
            service = ref()
            asked = (name,) if service is not None and service.needs_proof(live) else ()
            scheme = "https" if service is not None and service.is_secured(live) else "http"
            del service
            async with turns.turn(_rank(live, first=first)):
                node = live.node
                if path is not None and over_http is not None:
                    found = await over_http(name, node, path, scheme=scheme, timeout=timeout)
                else:
                    answers = await _connects(node.host, node.port, timeout, *asked, uds=node.uds)
                    found = Found(answers)
            first = False
            pause = steps.send(found)


def _rank(live: LiveNode, *, first: bool) -> int:
    # A restart on the same address is seen down and up again only by one who looks often.
    if live.state == "offline":
        return 0
    return 1 if first else 2


async def _connects(
    host: str, port: int, timeout: float, asked: str | None = None, *, uds: str | None = None
) -> bool | None:
    """Tell whether a node takes connections, and answers where a service's name is `asked` for.

    None when that could not be found out.
    """
    try:
        with anyio.fail_after(timeout):
            stream: ByteStream
            if uds is None:
                stream = await anyio.connect_tcp(host, port)
            else:
                stream = await anyio.connect_unix(uds)
            if asked is not None:
                async with stream:
                    return await _answers(stream, asked)
    except (TimeoutError, UnicodeError):  # the latter: a name that no resolver takes
        return False
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return False
    except OSError as error:
        # Out of descriptors or ports, no resolver: that tells of this process, not of the node.
        return None if any(one.errno in _LOCAL_ERRNOS for one in _reasons(error)) else False
    except Exception as error:  # whatever else it is, a node that is not probed never comes back
        logger.warning("a probe of %s:%s could not be made: %r", host, port, error)
        return None
    await anyio.aclose_forcefully(stream)
    return True


async def _answers(stream: ByteStream, name: str) -> bool:
    """Tell whether something that speaks HTTP is there, of either version, whatever it says."""
    await stream.send(f"HEAD / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
    head = await stream.receive(_FRAME_HEAD)
    while len(head) < _FRAME_HEAD:
        head += await stream.receive(_FRAME_HEAD - len(head))  # a frame may come in pieces
    return head.startswith(b"HTTP/1.") or head[3:4] == _SETTINGS


def _reasons(error: OSError) -> list[OSError]:
    cause = error.__cause__
    causes = cause.exceptions if isinstance(cause, BaseExceptionGroup) else (cause,)
    return [error, *(one for one in causes if isinstance(one, OSError))]
