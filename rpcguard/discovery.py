"""Keep snapshots coming and probe nodes: one background event loop per process."""

from __future__ import annotations

import atexit
import errno
import logging
import math
import os
import random
import threading
import time
import weakref
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import anyio
from anyio.from_thread import BlockingPortal

from rpcguard.registries.base import WatchableRegistry, registry_from_url
from rpcguard.store import SnapshotStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Future
    from pathlib import Path

    from rpcguard.live import LiveNode
    from rpcguard.nodes import Snapshot
    from rpcguard.registries.base import Registry
    from rpcguard.service import Service

logger = logging.getLogger("rpcguard")

_FIRST_BACKOFF = 0.2
_LONGEST_BACKOFF = 30.0
_FETCH_TIMEOUT = 30.0
_CACHE_AFTER = 1.0
_JITTER = 0.1
_EXIT_TIMEOUT = 2.0


class Background:
    """Run coroutines on an event loop in a daemon thread of its own.

    An httpx client may never be entered, be closed from another task, or block its loop: nothing
    of the caller's loop can carry the list. Thread-safe.
    """

    def __init__(self) -> None:
        self._started = threading.Event()
        self._portal: BlockingPortal
        self._thread = threading.Thread(
            target=anyio.run, args=(self._main,), name="rpcguard-discovery", daemon=True
        )
        self._thread.start()
        self._started.wait()

    async def _main(self) -> None:
        async with BlockingPortal() as portal:
            self._portal = portal
            self._started.set()
            await portal.sleep_until_stopped()

    def spawn(self, task: Callable[..., Awaitable[Any]], *args: object) -> Future[Any]:
        """Start a task; cancelling the future cancels it."""
        return self._portal.start_task_soon(task, *args)

    def stop(self) -> None:
        """Cancel every task and end the thread; bounded in time."""
        if self._thread.is_alive():
            self._portal.start_task_soon(self._portal.stop, True)  # noqa: FBT003
            self._thread.join(_EXIT_TIMEOUT)


_guard = threading.Lock()
_background: Background | None = None


def background() -> Background:
    """Give the discovery loop of this process, started on first use and stopped at exit."""
    global _background  # noqa: PLW0603
    with _guard:
        if _background is None:
            _background = Background()
            atexit.register(_background.stop)
        return _background


def _forget() -> None:
    # Threads do not survive a fork, and the lock may have been held by one of them.
    global _background, _guard  # noqa: PLW0603
    _guard = threading.Lock()
    if _background is not None:
        atexit.unregister(_background.stop)
    _background = None


os.register_at_fork(after_in_child=_forget)


class Feed:
    """Keep the list of one service live from its registry.

    `trouble` says what is wrong with the registry, None while all is well; `refreshed_at` is the
    monotonic time of the last answer. Runs on the discovery loop; holds its service weakly, and
    ends when it is gone.
    """

    def __init__(
        self,
        service: Service,
        registry: Registry,
        *,
        store: SnapshotStore | None = None,
        rng: random.Random | None = None,
        on_refresh: Callable[[str, str | None], None] = lambda _service, _error: None,
    ) -> None:
        self.trouble: str | None = None
        self.refreshed_at: float | None = None
        self._name = service.name
        self._policy = service.policies.membership
        self._service = weakref.ref(service)
        self._registry = registry
        self._store = store
        self._rng = rng or random.Random()
        self._on_refresh = on_refresh
        self._failures = 0
        self._watching: anyio.CancelScope | None = None

    async def run(self) -> None:
        """Watch or poll until cancelled."""
        async with anyio.create_task_group() as group:
            if self._store is not None:
                group.start_soon(self._use_store_if_late)
            if isinstance(self._registry, WatchableRegistry):
                group.start_soon(self._watch, self._registry)
                group.start_soon(self._resync)
            else:
                group.start_soon(self._poll)

    async def _poll(self) -> None:
        while True:
            snapshot = await self._fetch()
            if snapshot is None:
                await anyio.sleep(self._backoff())
                continue
            self._take(snapshot)
            advised = snapshot.max_age
            pause = self._policy.poll_interval if advised is None else advised
            if pause == math.inf:
                await anyio.sleep_forever()
            await anyio.sleep(self._spread(pause))

    async def _watch(self, registry: WatchableRegistry) -> None:
        while True:
            try:
                with anyio.CancelScope() as self._watching:
                    async with aclosing(registry.watch(self._name)) as snapshots:  # type: ignore[type-var]
                        async for snapshot in snapshots:
                            self._take(snapshot)
                self._troubled("the watch ended")
            except Exception as error:  # adapters of others may raise anything; none may end this
                self._troubled(f"{type(error).__name__}: {error}")
            await anyio.sleep(self._backoff())

    async def _resync(self) -> None:
        while True:
            await anyio.sleep(self._spread(self._policy.resync_interval))
            snapshot = await self._fetch()
            if snapshot is not None and self._take(snapshot) and self._watching is not None:
                # The watch should have told: connected but silent counts as broken.
                self._watching.cancel()

    async def _fetch(self) -> Snapshot | None:
        try:
            with anyio.fail_after(_FETCH_TIMEOUT):
                return await self._registry.fetch(self._name)
        except Exception as error:  # adapters of others may raise anything; none may end this
            self._troubled(f"{type(error).__name__}: {error}")
            return None

    def _take(self, snapshot: Snapshot) -> bool:
        service = self._service()
        if service is None:
            return False
        if self.trouble is not None:
            logger.info("service %s: the registry answers again", self._name)
        self.trouble = None
        self._failures = 0
        self.refreshed_at = time.monotonic()
        self._on_refresh(self._name, None)
        changed = service.reconcile(snapshot)
        if changed and self._store is not None and snapshot.nodes:
            self._store.save(self._name, snapshot.nodes)
        return changed

    def _troubled(self, trouble: str) -> None:
        if self.trouble is None:
            logger.warning(
                "service %s: registry %r gives no list (%s); the last one stays in use",
                self._name,
                self._registry,
                trouble,
            )
        self.trouble = trouble
        self._on_refresh(self._name, trouble)
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
            logger.warning("service %s: using the list kept on disk", self._name)
            service.reconcile(snapshot)

    def _backoff(self) -> float:
        self._failures += 1
        longest = min(_FIRST_BACKOFF * 2.0 ** min(self._failures - 1, 30), _LONGEST_BACKOFF)
        return longest * self._rng.uniform(0.5, 1.0)

    def _spread(self, seconds: float) -> float:
        return seconds * self._rng.uniform(1.0 - _JITTER, 1.0 + _JITTER)


class Following:
    """Keep the lists of one transport's services live, from one registry.

    Thread-safe. A registry given as a URL is ours, and closed with the transport.
    """

    def __init__(self, given: str | Registry, *, cache_dir: str | Path | None) -> None:
        self._url = given if isinstance(given, str) else None
        self.registry = registry_from_url(given) if isinstance(given, str) else given
        self._store = SnapshotStore(cache_dir) if cache_dir is not None else None
        self._feeds: dict[str, tuple[Feed, Future[None]]] = {}

    def follow(self, service: Service) -> None:
        """Start to keep a service's list live."""
        feed = Feed(service, self.registry, store=self._store)
        self._feeds[service.name] = feed, background().spawn(feed.run)

    def trouble(self, service: str) -> str | None:
        """Say what is wrong with the registry, as far as a service's list goes."""
        feed, _ = self._feeds.get(service, (None, None))
        return feed.trouble if feed is not None else None

    def renew(self) -> None:
        """Start over in a forked child, whose parent's connections are not its own."""
        self._feeds.clear()
        if self._url is not None:
            self.registry = registry_from_url(self._url)

    def stop(self) -> Future[None] | None:
        """Follow nothing any more; the future is done when the registry is closed."""
        feeds = list(self._feeds.values())
        self._feeds.clear()
        for _, task in feeds:
            task.cancel()
        return background().spawn(self._close) if feeds else None

    async def _close(self) -> None:
        close = getattr(self.registry, "aclose", None)
        if close is not None and self._url is not None:
            await close()


async def probe(ref: weakref.ref[Service], live: LiveNode) -> None:
    """Connect to a node by TCP, at once and then at growing intervals, while its service asks."""
    service = ref()
    if service is None:
        return
    policy = service.policies.ejection
    host, port = live.node.host, live.node.port
    interval, before = policy.probe_interval, None
    while True:
        alive = await _connects(host, port, policy.probe_timeout)
        service = ref()
        if service is None:
            return
        if alive is not None and not service.probed(live, alive=alive):
            return
        if alive != before:
            interval, before = policy.probe_interval, alive
        pause = policy.probe_interval if service.in_panic else interval
        interval = min(interval * 2.0, policy.probe_max_interval)
        spread = service.rng.uniform(1.0 - _JITTER, 1.0)
        del service
        await anyio.sleep(pause * spread)


async def _connects(host: str, port: int, timeout: float) -> bool | None:
    try:
        with anyio.fail_after(timeout):
            stream = await anyio.connect_tcp(host, port)
    except TimeoutError:
        return False
    except OSError as error:
        # Out of descriptors or ports: that tells of this process, not of the node.
        local = (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS)
        return None if error.errno in local else False
    await anyio.aclose_forcefully(stream)
    return True
