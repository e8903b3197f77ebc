"""Faults between the transports of a process and its nodes."""

from __future__ import annotations

import errno
import threading
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import anyio

from rpcguard._checks import is_amount, is_whole, require
from rpcguard._transport.kept import KeptChildren

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

Kind = Literal["refused", "unavailable", "slow", "cut"]


class Faults:
    """How often attempts are hurt, and what was done so far; thread-safe."""

    def __init__(self, every: dict[Kind, int], delay: float) -> None:
        for kind, number in every.items():
            require(kind, number, "a whole number, 0 or more", is_whole(number))
        require("delay", delay, "seconds, 0 or more", is_amount(delay))
        self.delay: float = delay
        """Seconds that a slow answer takes longer."""
        self.attempts: int = 0
        """Attempts that went through here."""
        self.done: Counter[Kind] = Counter()
        """Attempts that were hurt, by kind."""
        self._every: dict[Kind, int] = {kind: number for kind, number in every.items() if number}
        self._lock = threading.Lock()

    def draw(self) -> Kind | None:
        """Count an attempt, and say what happens to it; where several are due, the first kind."""
        with self._lock:
            self.attempts += 1
            for kind, number in self._every.items():
                if self.attempts % number == 0:
                    self.done[kind] += 1
                    return kind
            return None


@contextmanager
def faults(
    *,
    refused: int = 0,
    unavailable: int = 0,
    slow: int = 0,
    cut: int = 0,
    delay: float = 1.0,
    transport: object = None,
) -> Iterator[Faults]:
    """Hurt one attempt in so many, below the transports of this process, while the block lasts.

    They are counted, not drawn: `refused=10` is every tenth attempt, whichever node it goes to.
    So the transport retries, ejects and reports as it would in production, and a test that fails
    fails again. Blocks may be nested. Thread-safe.

    Args:
        refused: one in so many finds no node that listens: `ConnectError`, nothing was sent.
        unavailable: one in so many is answered 503 in the place of its node.
        slow: one in so many takes `delay` longer, or runs into its read timeout.
        cut: one in so many is sent, and its answer lost: `ReadError`.
        delay: seconds.
        transport: the only one to be hurt; None: each of the process, also those made meanwhile.

    Raises:
        ValueError: a number is not as said.
    """
    every: dict[Kind, int] = {
        "refused": refused,
        "unavailable": unavailable,
        "slow": slow,
        "cut": cut,
    }
    told = Faults(every, delay)
    before = KeptChildren.of_node
    setattr(KeptChildren, "of_node", _between(before, told, transport))  # noqa: B010 (a method)
    try:
        yield told
    finally:
        setattr(KeptChildren, "of_node", before)  # noqa: B010


def _between(find: Callable[..., Any], told: Faults, only: object) -> Callable[..., Any]:
    def found(kept: Any, *about: Any) -> Any:
        child = find(kept, *about)
        if only is not None and kept is not getattr(only, "_kept", None):
            return child
        return FaultyChild(child, kept.library.http, told)

    return found


class FaultyChild:
    """The child transport of a node, with what may happen on the way to it."""

    def __init__(self, child: Any, http: Any, told: Faults) -> None:
        self._child, self._http, self._told = child, http, told

    def handle_request(self, request: httpx.Request) -> Any:
        """Send a request to the node, or do what is due instead."""
        kind = self._told.draw()
        if kind == "slow":
            time.sleep(self._pause(request))
            self._give_up_if_late(request)
        elif kind is not None and kind != "cut":
            return self._instead(kind)
        response = self._child.handle_request(request)
        if kind == "cut":
            response.stream.close()
            raise self._lost()
        return response

    async def handle_async_request(self, request: httpx.Request) -> Any:
        """Do the same on an event loop."""
        kind = self._told.draw()
        if kind == "slow":
            await anyio.sleep(self._pause(request))
            self._give_up_if_late(request)
        elif kind is not None and kind != "cut":
            return self._instead(kind)
        response = await self._child.handle_async_request(request)
        if kind == "cut":
            await response.stream.aclose()
            raise self._lost()
        return response

    def _instead(self, kind: Kind) -> Any:
        if kind == "unavailable":
            return self._http.Response(503, headers={"content-length": "0"}, content=b"")
        refused = ConnectionRefusedError(errno.ECONNREFUSED, "refused by rpcguard.testing.faults")
        raise self._http.ConnectError(str(refused)) from refused

    def _lost(self) -> Exception:
        error: Exception = self._http.ReadError("the answer was lost by rpcguard.testing.faults")
        return error

    def _pause(self, request: httpx.Request) -> float:
        longest = request.extensions.get("timeout", {}).get("read")
        return self._told.delay if longest is None else min(self._told.delay, longest)

    def _give_up_if_late(self, request: httpx.Request) -> None:
        if self._pause(request) < self._told.delay:
            raise self._http.ReadTimeout("slowed down by rpcguard.testing.faults")
