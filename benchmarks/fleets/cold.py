"""Restart all providers at one instant, under load, with rpcguard and with an Envoy as sidecar.

`python -m benchmarks.fleets.cold [--rounds 5]`: real processes, which come back cold; each round
plays it once with either.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import httpx

import rpcguard
from benchmarks.calls.overhead import registry
from benchmarks.lib import provider
from benchmarks.lib.command import show
from benchmarks.lib.measure import ROUNDS
from benchmarks.lib.proxies import Envoy
from benchmarks.lib.report import Check, Section, Table
from tests.support.servers.base import accepts, free_ports

if TYPE_CHECKING:
    from collections.abc import Sequence

PROVIDERS, RATE, POSTS = 6, 200.0, 0.2
"""Calls per second, and the share of them that may not be made twice."""
SECONDS, COLD = 0.01, 1.0
RESTART, LENGTH, TIMEOUT = 2.0, 6.0, 2.0
SIDES = ("rpcguard", "Envoy")


class Sidecar(Envoy):
    """Watch over the nodes as a mesh would: health checks, outlier ejection, one retry."""

    def settings(self) -> dict[str, Any]:
        """Give the bootstrap configuration; what is not idempotent goes again if it was unsent."""
        made: dict[str, Any] = super().settings()
        [cluster], [listener] = (
            made["static_resources"][kind] for kind in ("clusters", "listeners")
        )
        cluster |= {
            "connect_timeout": "1s",
            "health_checks": [
                {
                    "timeout": "0.5s",
                    "interval": "1s",
                    "no_traffic_interval": "1s",
                    "unhealthy_threshold": 1,
                    "healthy_threshold": 1,
                    "http_health_check": {"path": "/health"},
                }
            ],
            "outlier_detection": {"consecutive_5xx": 5, "base_ejection_time": "1s"},
        }
        config = listener["filter_chains"][0]["filters"][0]["typed_config"]
        [host] = config["route_config"]["virtual_hosts"]
        get = {"name": ":method", "string_match": {"exact": "GET"}}
        host["routes"] = [
            _route("5xx,connect-failure,refused-stream", headers=[get]),
            _route("connect-failure,refused-stream"),
        ]
        return made


def _route(again: str, **match: Any) -> dict[str, Any]:
    other = "envoy.retry_host_predicates.previous_hosts"
    kind = (
        "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    )
    policy = {
        "retry_on": again,
        "num_retries": 1,
        "retry_host_predicate": [{"name": other, "typed_config": {"@type": kind}}],
        "host_selection_retry_max_attempts": 5,
    }
    route = {"cluster": "orders", "timeout": f"{TIMEOUT}s", "retry_policy": policy}
    return {"match": {"prefix": "/", **match}, "route": route}


@dataclass
class Seen:
    """Hold what the callers saw in one run."""

    failed: Counter[str] = field(default_factory=Counter)
    took: list[float] = field(default_factory=list)
    executed: Counter[str] = field(default_factory=Counter)

    @property
    def worst(self) -> float:
        """Give the longest call in ms."""
        return max(self.took) * 1000.0

    @property
    def twice(self) -> int:
        """Count the POSTs that more than one provider began."""
        return sum(n > 1 for target, n in self.executed.items() if "POST" in target)


class Fleet:
    """The providers' processes."""

    def __init__(self, ports: Sequence[int], logs: Path) -> None:
        self.ports, self._logs = ports, logs
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, cold: float) -> None:
        """Start all of them."""
        told = [str(SECONDS), str(cold)]
        self._processes = [
            subprocess.Popen([sys.executable, provider.__file__, str(port), self._log(port), *told])
            for port in self.ports
        ]

    def _log(self, port: int) -> Path:
        return self._logs / f"{port}.log"

    def wait(self) -> None:
        """Wait until all of them listen."""
        while not all(map(accepts, self.ports)):
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill all of them, and wait for their ends."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()

    def executed(self) -> Counter[str]:
        """Count what was begun."""
        logs = [self._log(port) for port in self.ports]
        return Counter(line for log in logs if log.exists() for line in log.read_text().split())


async def play(client: httpx.AsyncClient, fleet: Fleet) -> Seen:
    """Call steadily while all providers are restarted."""
    seen, rng = Seen(), random.Random(7)

    async def one(number: int) -> None:
        method, began = "POST" if rng.random() < POSTS else "GET", time.monotonic()
        try:
            answer = await client.request(method, f"/work/{method}-{number}")
            good = answer.status_code == 200
        except httpx.TransportError:
            good = False
        seen.failed[method] += not good
        seen.took.append(time.monotonic() - began)

    async def restart() -> None:
        await asyncio.sleep(RESTART)
        fleet.kill()
        fleet.start(COLD)

    start = time.monotonic()
    async with asyncio.TaskGroup() as group:
        group.create_task(restart())
        for number in range(int(RATE * LENGTH)):
            await asyncio.sleep(max(start + number / RATE - time.monotonic(), 0.0))
            group.create_task(one(number))
    seen.executed = fleet.executed()
    return seen


async def one_run(side: str, ports: list[int], base: str) -> Seen:
    """Play it with one of the two."""
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
    transport = rpcguard.AsyncTransport(registry(ports)) if side == SIDES[0] else None
    with tempfile.TemporaryDirectory() as logs:
        fleet = Fleet(ports, Path(logs))
        fleet.start(0.0)
        try:
            fleet.wait()
            await asyncio.sleep(1.5)  # a health check of the sidecar finds them
            async with httpx.AsyncClient(
                transport=transport, base_url=base, limits=limits, timeout=TIMEOUT
            ) as client:
                return await play(client, fleet)
        finally:
            fleet.kill()


def mass_restart(rounds: int = ROUNDS) -> Section:
    """Play it in turns, and compare the worst calls."""
    seen: dict[str, list[Seen]] = {side: [] for side in SIDES}
    Sidecar.get()
    with ExitStack() as stack:
        ports = free_ports(PROVIDERS)
        proxy = Sidecar(Path(stack.enter_context(tempfile.TemporaryDirectory())), ports)
        proxy.start()
        stack.callback(proxy.stop)
        bases = {"rpcguard": "http://orders", "Envoy": f"http://127.0.0.1:{proxy.port}"}
        for _ in range(rounds):
            for side in SIDES:
                seen[side].append(asyncio.run(one_run(side, ports, bases[side])))
    table = Table(["", "failed GET", "failed POST", "worst call, ms", "its rounds", "POST twice"])
    for side, runs in seen.items():
        worst = sorted(run.worst for run in runs)
        failed = [f"{median(run.failed[kind] for run in runs):.0f}" for kind in ("GET", "POST")]
        span, twice = f"{worst[0]:.0f}–{worst[-1]:.0f}", sum(run.twice for run in runs)
        table.rows.append([side, *failed, f"{median(worst):.0f}", span, f"{twice}"])
    ratios = [one.worst / other.worst for one, other in zip(*seen.values(), strict=True)]
    spread = min(ratios), max(ratios)
    check = Check("mass restart, worst call ÷ Envoy's", median(ratios), 1.0, spread=spread)
    about = (
        f"{PROVIDERS} providers are killed at one instant and started again at once, {RATE:.0f}"
        f" calls a second, a fifth of them POST, {SECONDS * 1000:.0f} ms each; for {COLD:g} s they"
        " are cold: two calls at a time, each four times as long. Envoy is a sidecar with health"
        " checks each second, outlier ejection and one retry to another host. Medians of the runs."
    )
    return Section("A mass restart beside Envoy", about, table, [check])


if __name__ == "__main__":
    show(__doc__, mass_restart)
