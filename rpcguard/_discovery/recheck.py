"""Ask a registry about one node that has failed, and hold its word against older lists."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import anyio

from rpcguard._core.nodes.node import Node
from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard._discovery.adapters import is_of_adapter
from rpcguard._text import about, logger, plain
from rpcguard.registries._shared.methods import answer_of
from rpcguard.registries.base import checks

if TYPE_CHECKING:
    from rpcguard.registries.base import CheckingRegistry, Registry


_TIMEOUT = 10.0
"""Seconds for one answer about one node; later it is no news."""
_AT_A_TIME = 4
"""Questions at a time, so that a dying fleet does not flood its registry."""
_MOST_WAITING = 64
"""Nodes that wait to be asked about; in a larger trouble one node is no news."""
_PAUSE = 3.0
"""Seconds before the same node is asked about again."""
_HOLD = 60.0
"""Seconds that a finding holds against older lists: what Eureka needs to catch up, twice 30 s."""


@dataclass(frozen=True, slots=True)
class _Finding:
    """What was said of a node, None for gone, and what the list said of it at that time."""

    said: Node | None
    listed: Node
    until: float


class Recheck:
    """What the registry says of single nodes of one service when it is asked directly.

    A list may come out of a cache of the server. So a finding outlives lists for 60 seconds, until
    one says something else of the node than before. Does nothing for a registry that is no
    `CheckingRegistry`. `gone` are the ids of nodes that it has no more, as it said of each alone,
    and that the last list lacks as well or gives as it did then. Runs on the discovery loop.
    """

    def __init__(self, service: str, registry: Registry) -> None:
        self._service = service
        self._registry = registry if checks(registry) else None
        self._listed: dict[str, Node] = {}
        self._findings: dict[str, _Finding] = {}
        self.gone: frozenset[str] = frozenset()
        self._waiting: set[str] = set()
        self._again_at: dict[str, float] = {}
        self._lanes = anyio.CapacityLimiter(_AT_A_TIME)

    def corrected(self, snapshot: Snapshot) -> Snapshot:
        """Give a list with what is known better."""
        if self._registry is None:
            return snapshot
        now = anyio.current_time()
        self._listed = {node.id: node for node in snapshot.nodes}
        self._again_at = {key: at for key, at in self._again_at.items() if now < at}
        fresh = {key: one for key, one in self._findings.items() if now < one.until}
        self.gone = frozenset(key for key, one in fresh.items() if self._is_gone(key, one))
        if not fresh:
            self._findings = fresh
            return snapshot
        self._findings = {
            key: finding
            for key, finding in fresh.items()
            if self._is_unchanged(key, finding, snapshot)
        }
        known = {key: finding.said for key, finding in self._findings.items()}
        said = [known.get(node.id, node) for node in snapshot.nodes]
        return replace(snapshot, nodes=tuple(node for node in said if node is not None))

    def _is_gone(self, key: str, finding: _Finding) -> bool:
        return finding.said is None and self._listed.get(key) in (None, finding.listed)

    def _is_unchanged(self, key: str, finding: _Finding, snapshot: Snapshot) -> bool:
        listed = self._listed.get(key)
        return listed == finding.listed or (listed is None and not snapshot.authoritative)

    async def ask(self, key: str) -> Snapshot | None:
        """Ask about a listed node; give what is to be merged, None where nothing is new.

        A node is asked about once at a time, and once in 3 seconds. One that is gone is given as
        down: the next list takes it off, and as an explained loss.
        """
        listed, now = self._listed.get(key), anyio.current_time()
        if self._registry is None or listed is None or not self._may_ask(key, now):
            return None
        self._waiting.add(key)
        self._again_at[key] = now + _PAUSE
        try:
            said = await self._answer(self._registry, listed)
        except BaseException as error:  # of an adapter it may be anything; the next list tells
            if not is_of_adapter(error):
                raise
            said_of = self._service, plain(key), plain(repr(error))
            logger.debug(
                "service %s: node %s cannot be checked: %s", *said_of, extra=about(*said_of)
            )
            return None
        finally:
            self._waiting.discard(key)
        if said == listed or self._listed.get(key) != listed:
            return None
        self._findings[key] = _Finding(said, listed, anyio.current_time() + _HOLD)
        logger.info(
            "service %s: node %s: the registry, asked for it alone, says that it is %s",
            self._service,
            plain(key),
            said.status if said is not None else "gone",
            extra=about(self._service, plain(key), said.status if said is not None else "gone"),
        )
        return Snapshot([said or replace(listed, status="down")], authoritative=False)

    def _may_ask(self, key: str, now: float) -> bool:
        # What only counts ejections, or is held back from one, may say so many times a second.
        rested = now >= self._again_at.get(key, now)
        return rested and key not in self._waiting and len(self._waiting) < _MOST_WAITING

    async def _answer(self, registry: CheckingRegistry, listed: Node) -> Node | None:
        async with self._lanes:
            with anyio.fail_after(_TIMEOUT):
                said: object = await answer_of(registry, "check", self._service, listed)
        if said is None or (isinstance(said, Node) and said.id == listed.id):
            return said
        raise TypeError(f"the same node or None is wanted, not {said!r}")
