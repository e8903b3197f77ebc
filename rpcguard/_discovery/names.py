"""The names that a registry has, for whoever asked for one that it does not know."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

import anyio

from rpcguard._discovery.adapters import is_of_adapter
from rpcguard._text import logger, plain, repr_of
from rpcguard.registries._shared.methods import answer_of
from rpcguard.registries.base import lists_services

if TYPE_CHECKING:
    from rpcguard.registries.base import Registry

NAMES_WITHIN: Final = 1.0
"""Seconds that the names may take: an error waits for them that has been waited for already."""


async def names_like(name: str, registry: Registry) -> list[str]:
    """Give up to three names of services that are like this one; none where nobody tells."""
    if not lists_services(registry):
        return []
    try:
        with anyio.fail_after(NAMES_WITHIN):
            known = {one.lower(): one for one in await answer_of(registry, "services")}
    except BaseException as error:  # of an adapter it may be anything, and this is only help
        if not is_of_adapter(error):
            raise
        logger.debug("no names of services from %s: %s", repr_of(registry), repr_of(error))
        return []
    return [plain(known[near]) for near in get_close_matches(name.lower(), known)]
