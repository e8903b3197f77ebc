"""Replay a seed and shrink it: `python -m tests.simulation 4711`; or run many: `... 0 100000`."""

from __future__ import annotations

import logging
import sys

from tests.simulation.driver import Play
from tests.simulation.run import fails, first_failure
from tests.simulation.scenario import draw, shown
from tests.simulation.shrink import shrink
from tests.simulation.world import START


def replay(seed: int) -> int:
    """Tell what goes wrong with a seed, in as short a story as can be found."""
    if fails(draw(seed)) is None:
        print(f"seed {seed}: all is well")
        return 0
    smallest = shrink(draw(seed))
    print(smallest)
    play = Play(smallest)
    try:
        play.run()
    except Exception as error:  # a broken core may raise anything
        for at, *what in play.world.story:
            print(
                f"{at - START:9.3f} ",
                *(one if isinstance(one, str) else shown(one) for one in what),
            )
        print(f"{play.world.now - START:9.3f}  {type(error).__name__}: {error}")
        raise
    return 1


def main() -> int:
    """Replay one seed, or run a range of them until one fails, and replay that."""
    logging.getLogger("rpcguard").disabled = True
    seeds = [int(one) for one in sys.argv[1:]]
    if len(seeds) == 1:
        return replay(seeds[0])
    found = first_failure(range(*seeds))
    print(f"seed {found.seed}: {found.error}" if found else "all is well")
    return replay(found.seed) if found else 0


if __name__ == "__main__":
    sys.exit(main())
