"""The course of `rpcguard nodes`."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from rpcguard._commands.nodes.names import service_names
from rpcguard._commands.nodes.readiness import objections, slowness
from rpcguard._commands.nodes.show import screen, watch_screen
from rpcguard._commands.nodes.sources import Look, source
from rpcguard.errors import RegistryError

if TYPE_CHECKING:
    from rpcguard._commands.nodes.keys import Wish
    from rpcguard._commands.nodes.show import Screen, WatchScreen
    from rpcguard._commands.nodes.sources import LookSource

_AGAIN = 1.0
"""Seconds until a service without a list is looked at anew: each look asks the registry."""


def run_nodes(url: str, service: str, *, watch: bool, as_json: bool, call: str | None) -> None:
    """Show the list of a service once, or until interrupted where `watch` is set.

    Raises `InvalidRegistryURL`, and `RegistryError` when there is no list to begin with.
    """
    if not watch:
        asyncio.run(_show_once(url, service, screen(as_json=as_json)))
        return
    with watch_screen(as_json=as_json) as shown:
        asyncio.run(_watch(url, service, shown, call))


async def _show_once(url: str, service: str, shown: Screen) -> None:
    async with source(url, service) as opened:
        shown.show(await _first_look(opened, service))


async def _watch(url: str, service: str, shown: WatchScreen, call: str | None) -> None:
    wish: Wish | None = await _follow(url, service, shown, call)
    while wish != "quit":
        if wish == "next":
            service = await _next_service(url, service, shown)
        try:
            wish = await _follow(url, service, shown, call)
        except RegistryError as error:  # of a service that was not asked for by name
            shown.show(Look(service, "", str(error), [], []))
            wish = await shown.wait(_AGAIN)


async def _follow(url: str, service: str, shown: WatchScreen, call: str | None) -> Wish:
    async with source(url, service, call=call) as opened:
        look = await _first_look(opened, service)
        shown.show(look)
        while (wish := await shown.wait(opened.pause)) is None:
            look = await _looked_again(opened, look)
            shown.show(look)
    return wish


async def _first_look(opened: LookSource, service: str) -> Look:
    look = await opened.look()
    if not look.views:
        raise RegistryError(f"service {service!r} has no node: {_why_empty(look)}")
    return look


async def _next_service(url: str, service: str, shown: WatchScreen) -> str:
    try:
        names = sorted(await service_names(url))
    except RegistryError as error:
        shown.note(str(error))
        return service
    return next((name for name in names if name > service.lower()), names[0] if names else service)


def wait_until_ready(
    url: str,
    service: str,
    batch: int,
    *,
    whole: int,
    watch: bool,
    timeout: float | None,
    call: str | None,
) -> list[str]:
    """Look until `batch` more nodes of a service may leave; give what speaks against it.

    `whole` nodes have to be listed. Without `watch` it looks once; with it, it gives up after
    `timeout` seconds, if there are any.
    Raises as `run_nodes` does.
    """

    async def wait() -> list[str]:
        async with source(url, service, call=call) as opened:
            return await until_ready(opened, batch, whole=whole, watch=watch, timeout=timeout)

    return asyncio.run(wait())


async def until_ready(
    opened: LookSource,
    batch: int,
    *,
    whole: int = 0,
    watch: bool,
    timeout: float | None = None,
) -> list[str]:
    """Do the same with an open source; the p99 of its first look is that of calm."""
    look = await opened.look()
    calm = slowness(look.rows)
    against = objections(look, batch, whole=whole)
    try:
        async with asyncio.timeout(timeout):
            while against and watch:
                await asyncio.sleep(opened.pause)
                look = await _looked_again(opened, look)
                against = objections(look, batch, whole=whole, calm=calm)
    except TimeoutError:
        pass  # what spoke against it at the last look is the answer
    return against


async def _looked_again(opened: LookSource, last: Look) -> Look:
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
