"""The command line of chaos."""

from __future__ import annotations

import argparse
import math

import rpcguard
from tests.chaos.network import enter_namespace
from tests.chaos.run import Options, run


def main() -> int:
    """Run chaos as told; 1 when the bar is missed."""
    parser = argparse.ArgumentParser(prog="chaos")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=float, help="60 by default, without an end by --calls")
    length.add_argument("--minutes", type=float)
    parser.add_argument("--calls", type=int, help="end after so many calls")
    parser.add_argument("--rate", type=float, default=300.0, help="calls per second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--attempts", type=int, default=2, help="of the retry policy")
    given = parser.parse_args()
    enter_namespace()
    seconds = given.seconds if given.minutes is None else given.minutes * 60.0
    if seconds is None:
        seconds = 60.0 if given.calls is None else math.inf
    options = Options(
        seconds=seconds,
        calls=given.calls,
        rate=given.rate,
        seed=given.seed,
        retry=rpcguard.RetryPolicy(attempts=given.attempts),
    )
    result = run(options, tell=lambda line: print(line, flush=True))
    print()
    for one in result.judged:
        if one.saveable:
            print(one.text(result.ledger.start))
    print(result.text())
    print("\nthe bar is", "met" if result.holds else "MISSED")
    return 0 if result.holds else 1
