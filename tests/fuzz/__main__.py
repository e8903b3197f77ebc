"""`python -m tests.fuzz [TARGET...] [--runs N]`: give parsers bad input for long."""

from __future__ import annotations

import argparse
import subprocess
import sys

# What else runs for an input is not to be explored, and tracing it takes twice the time.
_PARSERS = [
    "rpcguard._checks",
    "rpcguard._core.nodes",
    "rpcguard._core.call.plan",
    "rpcguard._core.outcomes",
    "rpcguard.registries",
    "rpcguard._discovery.store",
]


def main() -> int:
    """Run the command line; the status is 1 when a target broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all without one")
    parser.add_argument("--runs", type=int, default=1_000_000, help="inputs for each target")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations without atheris")
    parser.add_argument("--plain", action="store_true", help="mutations only, even with atheris")
    options = parser.parse_args()
    if len(options.targets) == 1:
        return _run(options.targets[0], options)
    from tests.fuzz.targets import TARGETS

    # One process each: atheris ends its own, and targets are not to share what has grown.
    more = [f"--runs={options.runs}", f"--seed={options.seed}", *["--plain"] * options.plain]
    commands = [
        [sys.executable, "-m", "tests.fuzz", name, *more] for name in options.targets or TARGETS
    ]
    return max(subprocess.run(command, check=False).returncode != 0 for command in commands)


def _run(name: str, options: argparse.Namespace) -> int:
    if not options.plain:
        try:
            import atheris
        except ModuleNotFoundError:
            print("atheris is not installed: inputs are mutated without its guidance")
        else:
            with atheris.instrument_imports(include=_PARSERS, enable_loader_override=False):
                from tests.fuzz.engine import run_guided
            run_guided(name, options.runs, atheris.Setup, atheris.Fuzz)
            return 0
    from tests.fuzz.engine import run_mutations

    print(run_mutations(name, options.runs, options.seed))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
