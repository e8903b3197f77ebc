"""One run of chaos: start everything, call, hurt, stop, and tell."""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import rpcguard
from tests.chaos.callers import KINDS, Load, is_keyed, run_callers
from tests.chaos.faults import Composer, World, play, wait_for
from tests.chaos.ledger import Ledger, executions
from tests.chaos.network import Network
from tests.chaos.nodes import Provider, Registry
from tests.support.servers.base import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.chaos.ledger import Judged

NODES = 8
_LAST_CALLS = 30.0
_PROGRESS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Set how long (`seconds`, or until so many `calls`), how fast and which faults."""

    seconds: float
    calls: int | None = None
    rate: float = 300.0
    seed: int = 1
    retry: rpcguard.RetryPolicy = field(default_factory=rpcguard.RetryPolicy)


@dataclass(frozen=True)
class Result:
    """Tell what the callers saw."""

    ledger: Ledger
    network: str
    judged: list[Judged]
    unsafe: list[str]
    twice: int
    seconds: float
    ended: bool

    @property
    def saveable(self) -> list[Judged]:
        return [one for one in self.judged if one.saveable]

    @property
    def calls(self) -> int:
        return sum(self.ledger.calls.values())

    @property
    def holds(self) -> bool:
        """Tell whether the bar is met, and the run itself was sound."""
        bad = self.unsafe or self.saveable or self.ledger.wrong
        return self.ended and not bad and all(self.ledger.calls[kind] for kind in KINDS)

    def text(self) -> str:
        """Show the figures and every fault."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        ledger = self.ledger
        told = ", ".join(f"{kind} {ledger.calls[kind]:,}" for kind in KINDS)
        yield f"calls               {self.calls:,} in {self.seconds:,.0f} s ({told})"
        yield f"network faults by   {self.network}"
        saved = sum(ledger.retried.values())
        yield f"saved by a retry    {saved:,} {dict(ledger.retried)}"
        why = ", ".join(f"{reason} {count}" for reason, count in sorted(self.reasons().items()))
        yield f"failed              {len(self.judged):,} ({why or 'none'})"
        yield f"that could be saved {len(self.saveable)}"
        yield f"executed twice      {len(self.unsafe)} not idempotent, {self.twice} in all"
        yield f"wrong answers       {len(ledger.wrong)}"
        p50, p99, p999 = (ledger.percentile(share) * 1000 for share in (0.5, 0.99, 0.999))
        yield f"latency             p50 {p50:.0f} ms, p99 {p99:.0f} ms, p99.9 {p999:.0f} ms"
        if not self.ended:
            yield "THE CALLERS DID NOT END"
        yield ""
        yield f"{'fault':22}{'times':>6}{'felt for, median / longest':>30}{'back after':>22}"
        for kind, found in sorted(ledger.recoveries().items()):
            felt, back = zip(*found, strict=True)
            known = [one for one in back if one == one] or [0.0]
            yield (
                f"{kind:22}{len(found):6}"
                f"{statistics.median(felt):19.2f} s / {max(felt):5.2f} s"
                f"{statistics.median(known):11.2f} s / {max(known):5.2f} s"
            )

    def reasons(self) -> dict[str, int]:
        """Count the failed calls by why they failed."""
        counts: dict[str, int] = {}
        for one in self.judged:
            counts[one.reason] = counts.get(one.reason, 0) + 1
        return counts


def run(options: Options, tell: Callable[[str], object] = lambda _: None) -> Result:
    """Run chaos; `tell` hears of progress and of every failed call."""
    with (
        tempfile.TemporaryDirectory(prefix="chaos-") as directory,
        started(Path(directory)) as (providers, registry, network),
    ):
        return _run(options, providers, registry, network, tell)


@contextmanager
def started(directory: Path) -> Iterator[tuple[list[Provider], Registry, Network]]:
    """Start the registry and the providers, and end them."""
    network, registry = Network(), Registry(directory)
    providers = [
        Provider(number, port, registry=registry, directory=directory)
        for number, port in enumerate(free_ports(NODES))
    ]
    registry.start()
    try:
        for node in providers:
            node.start()
        for node in providers:
            node.wait()
        yield providers, registry, network
    finally:
        for node in providers:
            node.close()
        registry.kill()


def _run(
    options: Options,
    providers: list[Provider],
    registry: Registry,
    network: Network,
    tell: Callable[[str], object],
) -> Result:
    over = threading.Event()
    ledger = Ledger(frozenset(node.name for node in providers), attempts=options.retry.attempts)
    world = World(providers, registry, network, ledger, over)
    composer = Composer(options.seed, nodes=NODES, able=network.able)
    url, retry = registry.registry_url, options.retry
    load = Load(url, options.rate, options.seed, retry, over.is_set, ledger)
    with ThreadPoolExecutor(1, "faults") as hands:
        callers = run_callers(load)
        faults = hands.submit(play, world, composer)
        try:
            _until_over(options, ledger, faults, tell)
        finally:
            over.set()
        ended = wait_for(callers, _LAST_CALLS)
        faults.result()
    counted = executions(node.log for node in providers)
    twice = [key for key, count in counted.items() if count > 1]
    return Result(
        ledger=ledger,
        network=network.how,
        judged=[ledger.judge(one) for one in ledger.failed],
        unsafe=[call for method, call in twice if method == "POST" and not is_keyed(call)],
        twice=len(twice),
        seconds=time.monotonic() - ledger.start,
        ended=ended,
    )


def _until_over(
    options: Options, ledger: Ledger, faults: Future[None], tell: Callable[[str], object]
) -> None:
    told = 0
    while (spent := time.monotonic() - ledger.start) < options.seconds:
        wait([faults], timeout=min(_PROGRESS, max(options.seconds - spent, 0.0)))
        if faults.done():
            faults.result()  # it ends before the run only by an error
        for failed in ledger.failed[told:]:
            told += 1
            tell(ledger.judge(failed).text(ledger.start))
        calls = sum(ledger.calls.values())
        tell(f"{time.monotonic() - ledger.start:8.1f} s  {calls:,} calls, {told} failed")
        if options.calls is not None and calls >= options.calls:
            return
