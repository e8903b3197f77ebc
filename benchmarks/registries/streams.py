"""Measure what a stream of xDS costs a process, beside one of grpcio.

`python -m benchmarks.registries.streams` starts go-control-plane and a process for each side: ours
goes the whole way to nodes, that of grpcio holds the stream alone and leaves endpoints unread. It
is left out where the package grpcio is missing: it is no dependency, not even of the tests.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from benchmarks.lib.report import Table
from tests.support.servers.control_plane import (
    GoControlPlane,
    cluster,
    endpoints,
    listener,
    route,
    routes,
)
from tests.support.servers.xds import lb_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

FEW = 30
MIB = 1 << 20


class State(NamedTuple):
    """What a process has at one moment."""

    resident: int
    cpu: float
    threads: int


def assignment(count: int, changed: int = 0) -> dict[str, Any]:
    """Give endpoints as Istio describes them; one of them has another weight in each version."""
    described = "orders-{};shop;orders;v1;Kubernetes"
    places = [
        lb_endpoint(
            f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
            8080,
            load_balancing_weight=1 + (changed if number == 7 else 0),
            metadata={"filter_metadata": {"istio": {"workload": described.format(number)}}},
        )
        for number in range(count)
    ]
    return endpoints("orders", {"locality": {"zone": "a"}, "lb_endpoints": places})


def states(output: IO[str]) -> Iterator[State]:
    """Read what a process says of itself."""
    for line in output:
        yield State(*json.loads(line))


def measure(plane: GoControlPlane, side: str, many: int, changes: int) -> list[str]:
    """Follow few endpoints, then many of which one changes, again and again."""
    plane.put(assignment(FEW))
    command = [sys.executable, "-m", "benchmarks.registries.stream_side", side]
    with subprocess.Popen(
        [*command, str(plane.port), plane.token], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        told = states(process.stdout)
        try:
            before, first = next(told), next(told)
            plane.put(assignment(many))
            full = next(told)
            for number in range(1, changes + 1):
                plane.put(assignment(many, number))
                last = next(told)
        finally:
            process.kill()
    return [
        side,
        f"{(first.resident - before.resident) / MIB:.1f}",
        f"{(first.cpu - before.cpu) * 1000:.0f}",
        f"+{first.threads - before.threads}",
        f"{(last.resident - before.resident) / MIB:.1f}",
        f"{(full.cpu - first.cpu) * 1000:.0f}",
        f"{(last.cpu - full.cpu) * 1000 / changes:.1f}",
    ]


def main() -> None:
    """Print a row for each side that is there."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--endpoints", type=int, default=9999, help="of the long list (9999)")
    parser.add_argument("--changes", type=int, default=10, help="of one of them (10)")
    options = parser.parse_args()
    sides = ["rpcguard"] + ["grpcio"] * (importlib.util.find_spec("grpc") is not None)
    what = (f"{FEW}: MiB", "CPU ms", "threads", f"{options.endpoints}: MiB", "CPU ms", "change, ms")
    table = Table(["", *what])
    with tempfile.TemporaryDirectory() as directory:
        plane = GoControlPlane(Path(directory))
        plane.start()
        try:
            plane.put(cluster("orders"), routes("table", "*", route("orders")))
            plane.put(listener("orders", "table"))
            table.rows += [
                measure(plane, side, options.endpoints, options.changes) for side in sides
            ]
        finally:
            plane.stop()
    print(table.text())


if __name__ == "__main__":
    main()
