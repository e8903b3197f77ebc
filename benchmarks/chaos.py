"""Call eight providers while they, their registry and the network are hurt at random.

`python benchmarks/chaos.py --minutes N [--calls N] [--seed N] [--rate 300]`. What is hurt, and how
it is judged, is in tests/chaos. Exits with 1 when a call was lost that could have been saved, or
one that must not be repeated was executed twice.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.chaos.command import main

if __name__ == "__main__":
    sys.exit(main())
