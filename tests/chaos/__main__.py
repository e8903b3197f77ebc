"""Chaos by hand: `python -m tests.chaos --seconds 60 [--seed N]`."""

import sys

from tests.chaos.command import main

sys.exit(main())
