"""How one list is kept live: watched or polled, with patience for a registry in trouble."""

from __future__ import annotations

import math
import random
import time
import weakref
from typing import TYPE_CHECKING

import anyio.lowlevel

from rpcguard._clock import lasting
from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard._discovery.adapters import close_stream, is_of_adapter
from rpcguard._discovery.due import DueTime
from rpcguard._discovery.recheck import Recheck
from rpcguard._text import about, logger, plain, repr_of
from rpcguard.registries._shared.backoff import Backoff
from rpcguard.registries._shared.methods import answer_of, hint_for, stream_of
from rpcguard.registries.base import pushes, watches

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from rpcguard._core.service.service import Service
    from rpcguard._discovery.store import SnapshotStore
    from rpcguard.registries.base import Registry

_FETCH_TIMEOUT = 30.0  # seconds: an answer that takes longer is about another time
_SHORTEST_POLL = 1.0  # seconds: whatever a registry advises, it is not asked more often
_CACHE_AFTER = 1.0  # seconds: a registry that answers is better than a list on disk
_LONGEST_TROUBLE = 1000  # characters: an error may carry the page of a proxy
_JITTER = 0.1  # share: callers that were started together do not poll in step


_LONGEST_LOOK = 1.0
"""Seconds that a list counts as overdue while it is asked for: a registry that does not answer
holds nobody up for longer."""

_LONGEST_COLD = 2.0
"""Seconds between two tries while there is no list at all: calls wait for it, five seconds each by
default, so one that would be given soon must not be missed."""

_LEAST_GAP = 1.0
"""Seconds between two questions at least, however many calls say that the list is wrong."""


class Feed:
    """What keeps the list of one service live from its registry.

    `trouble` says what is wrong with the registry, None while all is well; `refreshed_at` is the
    time of the last answer by `clock`, None before it and for a list that is fixed. `on_refresh`
    hears of each answer, and of each failure with its type. `listed_as` is what the registry calls
    the service, where that is another name. Runs on the discovery loop; holds its
    service weakly, and ends when it is gone.
    """

    def __init__(
        self,
        service: Service,
        registry: Registry,
        *,
        listed_as: str | None = None,
        store: SnapshotStore | None = None,
        rng: random.Random | None = None,
        clock: Callable[[], float] = lasting,
        wall: Callable[[], float] = time.time,
        on_refresh: Callable[[str, str | None], None] = lambda _service, _error: None,
    ) -> None:
        self.trouble: str | None = None
        self.refreshed_at: float | None = None
        self._name = service.name
        self._policy = service.policies.membership
        self._service = weakref.ref(service)
        self._registry = registry
        self._watched = watches(registry)
        self._listed_as = listed_as or service.name
        self._recheck = Recheck(self._listed_as, registry)
        self._store = store
        self._unsaved = False
        self._rng = rng or random.Random()
        self._on_refresh = on_refresh
        self._group: TaskGroup
        self._watching: anyio.CancelScope | None = None
        self._again: anyio.Event | None = None
        self._asked_at = -math.inf
        self._answers = 0
        self._clock = clock
        self._due = DueTime(clock, wall)

    async def run(self) -> None:
        """Watch or poll until cancelled, or until the service is gone."""
        async with anyio.create_task_group() as self._group:
            if self._store is not None:
                self._group.start_soon(self._use_store_if_late)
            if self._watched:
                self._group.start_soon(self._watch)
                self._group.start_soon(self._resync)
            else:
                self._group.start_soon(self._poll)
                if pushes(self._registry):
                    self._group.start_soon(self._listen)

    async def check(self, node: str) -> None:
        """Ask the registry about one node, by its id, that has failed; the list may be older."""
        news = await self._recheck.ask(node)
        service = self._service()
        if news is not None and service is not None:
            service.reconcile(news)

    @property
    def may_ask(self) -> bool:
        """Tell whether a list that is disproved may be asked for: it waits for its next poll.

        Where it is watched, the watch may be silent, which a whole list would show; that is asked
        for as seldom as if it were polled.
        """
        gap = max(self._policy.poll_interval, _LEAST_GAP) if self._watched else _LEAST_GAP
        return self._again is not None and self._clock() - self._asked_at >= gap

    @property
    def is_overdue(self) -> bool:
        """Tell whether the next answer of the registry should have come long ago.

        This process did not run, so the list is as old as that, whatever its age says.
        """
        if not self._due.overdue:
            return False
        return self._again is not None or self._clock() - self._asked_at < _LONGEST_LOOK

    async def ask_again(self) -> None:
        """Poll now, since the list is disproved."""
        if self.may_ask:
            self._ask_now()

    async def catch_up(self) -> None:
        """Ask now, since the list is overdue, unless it was asked for since it was found to be."""
        if self._due.overdue:
            self._ask_now()

    def _ask_now(self) -> None:
        if self._again is not None:
            self._again.set()

    async def _wait(self, seconds: float) -> None:
        self._due.put_off(seconds)
        self._again = anyio.Event()
        with anyio.move_on_after(seconds):
            await self._again.wait()
        self._again = None

    def _pause(self, backoff: Backoff) -> float:
        service = self._service()
        is_cold = service is not None and not service.ready
        return min(backoff.pause(), self._spread(_LONGEST_COLD) if is_cold else math.inf)

    async def _poll(self) -> None:
        backoff = Backoff(self._rng)
        while True:
            answer = await self._ask()
            if answer is None:
                await self._wait(self._pause(backoff))
                continue
            backoff.reset()
            pause, advised = self._policy.poll_interval, answer[0].max_age
            if advised is not None and advised >= 0.0:
                pause = max(advised, min(pause, _SHORTEST_POLL))
            if pause == math.inf:
                self.refreshed_at = None
                await anyio.sleep_forever()
            await self._wait(self._spread(pause))

    async def _watch(self) -> None:
        backoff = Backoff(self._rng)
        pause = 0.0
        while True:
            began = anyio.current_time()
            trouble: str | None = "the watch ended without a list"
            failure = "watch_ended"
            with anyio.CancelScope() as self._watching:
                snapshots = None
                try:
                    snapshots = stream_of(self._registry, "watch", self._listed_as)
                    async for snapshot in snapshots:
                        self._take(snapshot)
                        trouble = None
                        await anyio.lowlevel.checkpoint()  # a watch may never wait itself
                except BaseException as error:  # of an adapter it may be anything; go on anyway
                    if not is_of_adapter(error):
                        raise
                    trouble, failure = self._describe(error), type(error).__name__
                finally:
                    await close_stream(snapshots)
            if trouble is not None and not self._watching.cancelled_caught:
                self._troubled(trouble, failure)
            if anyio.current_time() - began > pause:
                backoff.reset()
            pause = self._pause(backoff)
            await anyio.sleep(pause)

    async def _listen(self) -> None:
        """Take what is pushed; where nothing is, polls go on as if there were no push."""
        backoff = Backoff(self._rng)
        while True:
            pushed = None
            try:
                pushed = stream_of(self._registry, "pushed", self._listed_as)
                async for snapshot in pushed:
                    self._take(snapshot)
                    backoff.reset()
            except BaseException as error:  # of an adapter it may be anything; go on anyway
                if not is_of_adapter(error):
                    raise
                logger.debug("service %s: no push: %s", self._name, self._describe(error))
            finally:
                await close_stream(pushed)
            await anyio.sleep(backoff.pause())

    async def _resync(self) -> None:
        while True:
            await self._wait(self._spread(self._policy.resync_interval))
            answer = await self._ask()
            if answer is not None and answer[1] and self._watching is not None:
                logger.debug(
                    "service %s: the watch is silent, it starts over",
                    self._name,
                    extra=about(self._name),
                )
                self._watching.cancel()

    async def _ask(self) -> tuple[Snapshot, bool] | None:
        self._asked_at, answers = self._clock(), self._answers
        try:
            with anyio.fail_after(_FETCH_TIMEOUT):
                snapshot = await answer_of(self._registry, "fetch", self._listed_as)
            self._due.put_off(math.inf)  # before who waits for the list is woken
            if self._answers != answers and isinstance(snapshot, Snapshot):
                # What was watched or pushed meanwhile is newer, or as new: this may be of before.
                return snapshot, False
            return snapshot, self._take(snapshot)
        except BaseException as error:  # adapters of others may raise anything; none may end this
            if not is_of_adapter(error):
                raise
            self._due.put_off(math.inf)
            self._troubled(self._describe(error), type(error).__name__)
            return None

    def _take(self, snapshot: object) -> bool:
        """Give the list what the registry said; True for news. Raises whatever it does wrong."""
        service = self._service()
        if service is None:
            self._group.cancel_scope.cancel()
            return False
        if not isinstance(snapshot, Snapshot):
            raise TypeError(f"a Snapshot is wanted, not {type(snapshot).__name__}")
        self._answers += 1
        news = service.reconcile(self._recheck.corrected(snapshot), gone=self._recheck.gone)
        if self.trouble is not None:
            logger.info(
                "service %s: the registry answers again", self._name, extra=about(self._name)
            )
        self.trouble = None
        self.refreshed_at = self._clock()
        self._on_refresh(self._name, None)
        whole = bool(snapshot.nodes) and snapshot.authoritative and not service.doubts
        self._unsaved = self._unsaved or news
        if self._unsaved and whole and self._store is not None:
            self._store.save(self._name, snapshot.nodes)
            self._unsaved = False
        return news

    def _troubled(self, trouble: str, error_type: str) -> None:
        if self.trouble is None:
            logger.warning(
                "service %s: registry %s gives no list (%s); the last one stays in use",
                self._name,
                repr_of(self._registry),
                trouble,
                extra=about(self._name, reason=trouble),
            )
        self.trouble = trouble
        self._on_refresh(self._name, error_type)
        service = self._service()
        if service is not None and not service.ready:
            self._use_store()

    async def _use_store_if_late(self) -> None:
        await anyio.sleep(_CACHE_AFTER)
        self._use_store()

    def _use_store(self) -> None:
        service = self._service()
        if service is None or service.ready or self._store is None:
            return
        snapshot = self._store.load(self._name)
        if snapshot is not None:
            logger.warning(
                "service %s: using the list kept on disk", self._name, extra=about(self._name)
            )
            service.reconcile(snapshot)

    def _spread(self, seconds: float) -> float:
        return seconds * self._rng.uniform(1.0 - _JITTER, 1.0 + _JITTER)

    def _describe(self, error: BaseException) -> str:
        try:
            said = f"{type(error).__name__}: {error}"
        except Exception:  # even its text is an adapter's
            said = type(error).__name__
        hint = hint_for(self._registry, error)
        return plain(said.removesuffix(": "))[:_LONGEST_TROUBLE] + hint
