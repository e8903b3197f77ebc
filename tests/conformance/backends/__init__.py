"""One module per registry: what the scenarios need of it, in a tuple `backends`."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conformance.backends.base import Backend


def all_backends() -> dict[str, type[Backend]]:
    """Give every backend that a module here offers, by name."""
    found: dict[str, type[Backend]] = {}
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        if not module.name.endswith(".base"):
            offered = importlib.import_module(module.name).backends
            found.update((backend.name, backend) for backend in offered)
    return found
