"""`python -m tests.support.servers [list | get [NAME...]]`: see which real servers are there."""

from __future__ import annotations

import argparse
import sys
import traceback

from tests.support.servers import all_servers, named_servers


def main() -> int:
    """Run the command line; the status is 1 when a server could not be had."""
    every = all_servers()
    servers = {**every, **named_servers()}
    parser = argparse.ArgumentParser(prog="python -m tests.support.servers", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("list", help="show which servers are there (the default)")
    get = commands.add_parser("get", help="obtain servers; without a name nearly all of them")
    get.add_argument("names", nargs="*", metavar="NAME", help=", ".join(servers))
    options = parser.parse_args()
    if options.command != "get":
        for name, server in servers.items():
            print(f"{name:20} {'there' if server.available() else 'missing'}")
        return 0
    unknown = set(options.names) - set(servers)
    if unknown:
        parser.error(f"no such server: {', '.join(sorted(unknown))}")
    missing = 0
    for name in options.names or every:
        print(f"{name}: getting it", flush=True)
        try:
            servers[name].get()
        except Exception:  # whatever went wrong with one, the others are still wanted
            traceback.print_exc()
        if not servers[name].available():
            missing += 1
            print(f"{name}: could not be had", file=sys.stderr, flush=True)
    return 1 if missing else 0


if __name__ == "__main__":
    raise SystemExit(main())
