"""The course of `rpcguard nodes`."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from rpcguard._commands.nodes.readiness import objections, slowness
from rpcguard._commands.nodes.show import screen
from rpcguard._commands.nodes.sources import source
from rpcguard.errors import RegistryError

if TYPE_CHECKING:
    from rpcguard._commands.nodes.show import Screen
    from rpcguard._commands.nodes.sources import Look, LookSource


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
            look = await _next_look(opened, look)
            shown.show(look)


def wait_until_ready(
    url: str, service: str, batch: int, *, watch: bool, timeout: float | None, call: str | None
) -> list[str]:
    """Look until `batch` more nodes of a service may leave; give what speaks against it.

    Without `watch` it looks once; with it, it gives up after `timeout` seconds, if there are any.
    Raises as `run_nodes` does.
    """

    async def wait() -> list[str]:
        async with source(url, service, call=call) as opened:
            return await until_ready(opened, batch, watch=watch, timeout=timeout)

    return asyncio.run(wait())


async def until_ready(
    opened: LookSource, batch: int, *, watch: bool, timeout: float | None = None
) -> list[str]:
    """Do the same with an open source; the p99 of its first look is that of calm."""
    look = await opened.look()
    calm = slowness(look.rows)
    against = objections(look.rows, batch)
    try:
        async with asyncio.timeout(timeout):
            while against and watch:
                look = await _next_look(opened, look)
                against = objections(look.rows, batch, calm=calm)
    except TimeoutError:
        pass  # what spoke against it at the last look is the answer
    return against


async def _next_look(opened: LookSource, last: Look) -> Look:
    await asyncio.sleep(opened.pause)
    try:
        return await opened.look()
    except RegistryError as error:
        return replace(last, trouble=str(error))


def _why_empty(look: Look) -> str:
    if not look.known:
        return f"{look.registry} does not know this service; is its name right?"
    if look.refused:
        return f"all {look.refused} nodes of {look.registry} are outside of allowed_networks"
    return f"{look.registry} lists no node of it; is one registered?"
