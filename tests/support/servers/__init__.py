"""The real registries that the tests run against: each is obtained, started, stopped, emptied.

A module of this package offers its servers in a tuple `servers`.
`python -m tests.support.servers` lists them, `python -m tests.support.servers get NAME` obtains
one.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.servers.base import Server


def all_servers() -> dict[str, type[Server]]:
    """Give every server that a module here offers, by name."""
    found: dict[str, type[Server]] = {}
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        if not module.name.endswith((".__main__", ".base")):
            offered = importlib.import_module(module.name).servers
            found.update((server.name, server) for server in offered)
    return found


def named_servers() -> dict[str, type[Server]]:
    """Give those that are too much for every machine, and are got by their names alone."""
    from tests.support.servers.istiod import by_name

    return {server.name: server for server in by_name}
