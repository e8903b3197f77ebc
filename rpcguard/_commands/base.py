"""What every subcommand is made of: its parser, its exit status, and the one line of an error."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import re
import sys
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENVIRONMENT = "RPCGUARD_REGISTRY"
_URL = re.compile(r"[\w+.-]+:(?!\d+$)", re.ASCII)
"""How a URL begins, its slashes forgotten or not, and no service does: at most it has a port."""
FAILED, USAGE, INTERRUPTED = 1, 2, 130
"""Exit statuses as shells and argparse have them; 130 is 128 + SIGINT."""


class Commands(Protocol):
    """Where a subcommand adds itself: what `ArgumentParser.add_subparsers` gives."""

    def add_parser(self, name: str, /, **options: object) -> argparse.ArgumentParser:
        """Make the parser of one subcommand."""
        ...


class CommandError(Exception):
    """The one line that a command ends with, and its exit status."""

    def __init__(self, message: str, *, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status


def statuses(failed: str) -> str:
    """Write the table of exit statuses for a help page; `failed` says what 1 means."""
    return f"""\
exit status:
  0    done
  1    {failed}
  2    wrong usage
  130  interrupted"""


def add_command(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    help: str,
    description: str,
    epilog: str,
) -> argparse.ArgumentParser:
    """Add a subcommand and give its parser; `run` takes the parsed options and gives the status."""
    parser = commands.add_parser(
        name,
        help=help,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_registry(
    parser: argparse.ArgumentParser, about: str = "of a registry, such as consul://127.0.0.1:8500"
) -> argparse.Action:
    """Add URL and SERVICE, both of which may be left out: `read_registry` says which was meant."""
    told = f"{about} (default: {ENVIRONMENT})"
    url = parser.add_argument("registry", metavar="URL", nargs="?", help=told)
    name = "the logical name of the service"
    parser.add_argument("service", metavar="SERVICE", nargs="?", help=name)
    return url


def read_registry(options: argparse.Namespace, *, needs_service: bool = True) -> None:
    """Settle URL and SERVICE: without a URL the environment names the registry.

    Or the configuration file that the environment names. Says on standard error where calls of the
    service would not go to the list. Raises `CommandError` where one is missing.
    """
    if options.service is None and options.registry and not _URL.match(options.registry):
        options.registry, options.service = None, options.registry
    if needs_service and not options.service:
        raise CommandError("name a service: URL SERVICE", status=USAGE)
    with told_in_one_line():
        from rpcguard._transport.given import given_registry

        options.registry = str(given_registry(options.registry or _configured()))
        objection = objection_to(options.registry, options.service or "")
    if objection is not None:
        print(f"note: {objection}", file=sys.stderr)


def objection_to(url: str, service: str) -> str | None:
    """Say why a service may not be called without TLS by a list; raise `InvalidRegistryURL`."""
    if not url.lower().startswith("static://"):
        return None
    from rpcguard.registries.static import StaticRegistry

    return StaticRegistry.from_url(url).objection(service.lower())


def _configured() -> str | None:
    if os.environ.get(ENVIRONMENT):
        return None  # which goes before the file
    from rpcguard._config.settings import found_file

    file = found_file(None, dict)
    registry: str | None = None if file is None else file.read().options.get("registry")
    return registry


def seconds(text: str) -> float:
    """Read a number of seconds, 0 or more, from the command line."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds, 0 or more, not {text!r}")
    return value


def header(text: str) -> tuple[str, str]:
    """Read a header `NAME: VALUE` from the command line."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or not (text.isascii() and text.isprintable()):
        raise CommandError(
            f"--header needs 'NAME: VALUE' of printable ASCII, not {text!r}", status=USAGE
        )
    return name.strip(), value.strip()


def check_path(option: str, given: str) -> None:
    """Refuse what is no path of a URL."""
    if not given.startswith("/"):
        raise CommandError(f"{option} needs a path such as /health, not {given!r}", status=USAGE)


@contextlib.contextmanager
def told_in_one_line() -> Iterator[None]:
    """End the command with one line where rpcguard fails; a wrong URL is wrong usage.

    So is what the environment and its configuration file say wrong of a transport.
    """
    import httpx

    from rpcguard.errors import RpcguardError

    try:
        yield
    except BrokenPipeError:
        raise
    except (ValueError, httpx.InvalidURL) as error:
        raise CommandError(one_line(error), status=USAGE) from error
    except (RpcguardError, OSError) as error:  # a file of certificates that is not there, say
        raise CommandError(one_line(error)) from error


def one_line(error: Exception) -> str:
    """Write an error in one line."""
    return " ".join(str(error).split())
