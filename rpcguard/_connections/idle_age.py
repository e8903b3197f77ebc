"""How long the nodes of a service keep idle connections, learned from what they say and do.

A connection that the node closes as a request goes out costs that request, unless it may be sent
again. Servers close idle connections after a time that is the same for all nodes of a service,
mostly, and rarely told. So a call that may not be repeated takes no connection that is nearly as
old as one that was told, or seen, to be closed: rather a new one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rpcguard._clock import lasting

if TYPE_CHECKING:
    from collections.abc import Callable

MARGIN = 0.9
"""Of the learned age, what is used: the rest is for the way there and a node that is early."""
_SHORTEST = 0.5
"""Seconds: what closes earlier is a node that stops, not one that tidies up."""
_REMEMBERED = 600.0
"""Seconds after which a shorter age may give way to a longer one: servers are set up anew."""


class IdleAge:
    """The seconds that a connection to a service may have been idle; any thread may use it."""

    def __init__(self, clock: Callable[[], float] = lasting) -> None:
        self._clock = clock
        self._learned = math.inf
        self._at = -math.inf

    @property
    def limit(self) -> float:
        """Seconds up to which an idle connection is as good as a new one; infinite at first."""
        return self._learned * MARGIN

    def learn(self, seconds: float) -> None:
        """Take in that a node closes, or has closed, a connection that was idle for so long."""
        if seconds < _SHORTEST:
            return
        now = self._clock()
        if seconds <= self._learned or now - self._at > _REMEMBERED:
            self._learned, self._at = seconds, now
