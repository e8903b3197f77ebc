"""Run the command line as `python -m rpcguard`."""

import sys

from rpcguard.cli import main

if __name__ == "__main__":
    sys.exit(main())
