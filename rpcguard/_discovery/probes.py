"""Probe nodes that are out by a TCP connect, in the background, until they are back."""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import TYPE_CHECKING

import anyio

from rpcguard._discovery.turns import probe_turns
from rpcguard._text import logger

if TYPE_CHECKING:
    import weakref
    from collections.abc import Generator

    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.service.service import Service


_JITTER = 0.1  # share: callers that ejected a node together do not probe it in step
_LOCAL_ERRNOS = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, socket.EAI_AGAIN}
)


def probing(ref: weakref.ref[Service], live: LiveNode) -> Generator[float, bool | None, None]:
    """Yield the seconds to wait before each probe of a node; take in what the probe finds.

    Does no I/O, holds the service weakly, and ends when no other probe is wanted. None stands for
    a probe that could not find out.
    """
    service = ref()
    if service is None:
        return
    policy = service.policies.ejection
    interval, pause, before = policy.probe_interval, 0.0, None
    while True:
        del service
        alive = yield pause
        service = ref()
        if service is None or service.closed:
            return
        patience = service.probed(live, alive=alive)
        if patience is None:
            return
        if alive not in (None, before):
            interval, before = policy.probe_interval, alive
        pause = min(interval * service.rng.uniform(1.0 - _JITTER, 1.0), patience)
        interval = min(interval * 2.0, policy.probe_max_interval)


async def probe(ref: weakref.ref[Service], live: LiveNode) -> None:
    """Connect to a node by TCP, at once and then at growing intervals, while its service asks."""
    service = ref()
    if service is None:
        return
    timeout = service.policies.ejection.probe_timeout
    del service
    steps, turns, first = probing(ref, live), probe_turns(), True
    with contextlib.suppress(StopIteration):
        pause = next(steps)
        while True:
            await anyio.sleep(pause)
            async with turns.turn(_rank(live, first=first)):
                alive = await _connects(live.node.host, live.node.port, timeout)
            first = False
            pause = steps.send(alive)


def _rank(live: LiveNode, *, first: bool) -> int:
    # A restart on the same address is seen down and up again only by one who looks often.
    if live.state == "offline":
        return 0
    return 1 if first else 2


async def _connects(host: str, port: int, timeout: float) -> bool | None:
    """Tell whether a node takes connections; None when that could not be found out."""
    try:
        with anyio.fail_after(timeout):
            stream = await anyio.connect_tcp(host, port)
    except (TimeoutError, UnicodeError):  # the latter: a name that no resolver takes
        return False
    except OSError as error:
        # Out of descriptors or ports, no resolver: that tells of this process, not of the node.
        return None if any(one.errno in _LOCAL_ERRNOS for one in _reasons(error)) else False
    except Exception as error:  # whatever else it is, a node that is not probed never comes back
        logger.warning("a probe of %s:%s could not be made: %r", host, port, error)
        return None
    await anyio.aclose_forcefully(stream)
    return True


def _reasons(error: OSError) -> list[OSError]:
    cause = error.__cause__
    causes = cause.exceptions if isinstance(cause, BaseExceptionGroup) else (cause,)
    return [error, *(one for one in causes if isinstance(one, OSError))]
