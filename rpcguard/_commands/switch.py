"""`rpcguard offline` and `rpcguard online`: the switch of the node on this machine."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from rpcguard._commands.base import USAGE, CommandError, add_command, seconds, statuses
from rpcguard._text import printable

if TYPE_CHECKING:
    import argparse

    from rpcguard._commands.base import Commands

_EPILOG = f"""\
examples:
  rpcguard offline --wait 8
  rpcguard offline --file /run/orders/leaving --wait 8

As the preStop hook of a container:
  exec: {{command: ["rpcguard", "offline", "--wait", "8"]}}

The app looks at the same file: that of OfflineASGI(app, file=...), of RPCGUARD_OFFLINE_FILE, or
/tmp/rpcguard-offline. It counts for ten minutes.

{statuses("the file could not be written; it has waited all the same")}"""


def add_to(commands: Commands) -> None:
    """Add both subcommands."""
    offline = add_command(
        commands,
        "offline",
        _offline,
        help="let the node on this machine say that it leaves",
        description=(
            "Write the file by which every worker of the node on this machine says, on all that\n"
            "it still answers, that it leaves; then wait for callers to do without it."
        ),
        epilog=_EPILOG,
    )
    online = add_command(
        commands,
        "online",
        _online,
        help="take that back",
        description="Remove that file: the node serves as before.",
        epilog=statuses("the file could not be removed"),
    )
    for parser in (offline, online):
        parser.add_argument(
            "--file",
            metavar="PATH",
            help="of the file (default: RPCGUARD_OFFLINE_FILE, or /tmp/rpcguard-offline)",
        )
    offline.add_argument(
        "--wait",
        type=seconds,
        default=0.0,
        metavar="SECONDS",
        help="how long to wait then, also where it failed (default: 0)",
    )


def _offline(options: argparse.Namespace) -> int:
    try:
        return _turn(options.file, offline=True)
    except CommandError as error:
        # Told before the wait, since a hook that takes too long is killed.
        print(f"rpcguard: {printable(error)}", file=sys.stderr, flush=True)
        return error.status
    finally:
        # Callers that learn it from the registry need the time in any case.
        time.sleep(options.wait)


def _online(options: argparse.Namespace) -> int:
    return _turn(options.file, offline=False)


def _turn(file: str | None, *, offline: bool) -> int:
    from rpcguard.provider.file import OfflineFile, offline_path

    try:
        path = offline_path(file)
    except ValueError as error:
        raise CommandError(str(error), status=USAGE) from error
    shared = OfflineFile(path)
    try:
        if offline:
            shared.write()
        else:
            shared.remove()
    except OSError as error:
        action = "write" if offline else "remove"
        raise CommandError(f"cannot {action} {path}: {error.strerror}") from error
    print(f"{'offline' if offline else 'online'}: {printable(path)}", flush=True)
    return 0
