"""The command line of a benchmark that prints sections."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING, Any

from benchmarks.lib.measure import ROUNDS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from benchmarks.lib.report import Section


def show(
    about: str | None,
    *sections: Callable[[int], Section],
    serve: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> None:
    """Measure and print each section; with `--serve` be the node, where the benchmark has one."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    if serve is not None:
        parser.add_argument("--serve", action="store_true", help="be the node")
    options = parser.parse_args()
    if serve is not None and options.serve:
        asyncio.run(serve())
        return
    for section in sections:
        print(section(options.rounds).text(), flush=True)
