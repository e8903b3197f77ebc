"""The course of `rpcguard nodes`."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from rpcguard._commands.nodes.show import screen
from rpcguard._commands.nodes.sources import source
from rpcguard.errors import RegistryError

if TYPE_CHECKING:
    from rpcguard._commands.nodes.show import Screen
    from rpcguard._commands.nodes.sources import Look


def run_nodes(url: str, service: str, *, watch: bool, as_json: bool, call: str | None) -> None:
    """Show the list of a service once, or until interrupted where `watch` is set.

    Raises `InvalidRegistryURL`, and `RegistryError` when there is no list to begin with.
    """
    with screen(as_json=as_json, watch=watch) as shown:
        asyncio.run(_follow(url, service, shown, watch=watch, call=call))


async def _follow(url: str, service: str, shown: Screen, *, watch: bool, call: str | None) -> None:
    async with source(url, service, call=call) as opened:
        look = await opened.look()
        if not look.views:
            raise RegistryError(f"service {service!r} has no node: {_why_empty(look)}")
        shown.show(look)
        while watch:
            await asyncio.sleep(opened.pause)
            try:
                look = await opened.look()
            except RegistryError as error:
                look = replace(look, trouble=str(error))
            shown.show(look)


def _why_empty(look: Look) -> str:
    if not look.known:
        return f"{look.registry} does not know this service; is its name right?"
    if look.refused:
        return f"all {look.refused} nodes of {look.registry} are outside of allowed_networks"
    return f"{look.registry} lists no node of it; is one registered?"
