"""The names of the services that a registry has, or that a running program has called."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import httpx

from rpcguard._commands.nodes.sources import PAGES, READY_TIMEOUT, STATUS, StatusPage
from rpcguard._text import plain
from rpcguard.errors import RegistryError
from rpcguard.registries._shared.methods import close
from rpcguard.registries.base import entry_of, lists_services, registry_from_url

if TYPE_CHECKING:
    from collections.abc import Collection


def list_services(url: str, *, as_json: bool) -> None:
    """Print the names in order, a line each.

    Raises `InvalidRegistryURL`, and `RegistryError` where the registry does not tell.
    """
    names = sorted(asyncio.run(service_names(url)))
    print(json.dumps(names) if as_json else "\n".join(map(plain, names)))


async def service_names(url: str) -> Collection[str]:
    """Give the names; raises as `list_services` does."""
    if url.startswith(STATUS):
        async with httpx.AsyncClient() as client:
            return await StatusPage(client, url, "").services()
    entry_of(url, also=PAGES)
    registry = registry_from_url(url)
    if not lists_services(registry):
        scheme = url.partition("://")[0]
        raise RegistryError(f"{scheme}:// cannot list its services; give the name of one")
    try:
        async with asyncio.timeout(READY_TIMEOUT):
            return await registry.services()
    except TimeoutError as error:
        raise RegistryError(f"{registry} has not answered in {READY_TIMEOUT:g} s") from error
    finally:
        await close(registry)
