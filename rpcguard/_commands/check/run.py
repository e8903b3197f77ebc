"""The course of `rpcguard check`: ask the registry, then each node."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict, dataclass, replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import httpx

from rpcguard._commands.base import objection_to
from rpcguard._commands.check.findings import HOST_CHECKS, Finding, Tried, of_list, of_node
from rpcguard._commands.nodes.sources import first_list
from rpcguard._core.policies.retry import RetryPolicy
from rpcguard._httpx import AsyncTransport
from rpcguard._text import plain
from rpcguard.errors import RegistryError
from rpcguard.registries.static import StaticRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rpcguard._core.nodes.node import Node

_AT_ONCE = 20
"""Nodes that are asked at a time: a list of a thousand takes seconds, and few descriptors."""
_SWITCH = "/-/rpcguard/offline"
"""Where a node's offline switch lies, unless it has another `prefix`."""
_REFUSALS = (401, 403, 405)
"""How the switch answers a GET: it wants a token, another way in, or a POST."""
_MARKS = {"ok": "ok", "note": "note", "warn": "warn", "fail": "FAIL"}


@dataclass(frozen=True, slots=True)
class Questions:
    """How nodes are to be asked."""

    path: str
    scheme: str
    timeout: float


def run_check(url: str, service: str, wanted: Questions, *, as_json: bool) -> bool:
    """Print what was found, as it is found; tell whether nothing failed.

    Raises `InvalidRegistryURL`.
    """
    return asyncio.run(_check(url, service, wanted, as_json=as_json))


async def _check(url: str, service: str, wanted: Questions, *, as_json: bool) -> bool:
    found = []
    async for finding in findings(url, service.lower(), wanted):
        found.append(finding)
        if not as_json:
            print(_line(finding), flush=True)
    failed = [one for one in found if one.grade == "fail"]
    if as_json:
        print(json.dumps([asdict(one) for one in found], indent=2))
    else:
        print(f"{len(failed)} of {len(found)} checks failed" if failed else "nothing failed")
    return not failed


async def findings(url: str, service: str, wanted: Questions) -> AsyncIterator[Finding]:
    """Give what is found, step by step; what follows a registry without a list is not tried."""
    async with AsyncTransport(url) as transport:
        try:
            await first_list(transport, service)
        except RegistryError as error:
            yield Finding("fail", "registry", service, str(error))
            return
        nodes = [view.node for view in transport.nodes(service)]
        about = next(one for one in transport.services() if one.name == service)
    yield Finding("ok", "registry", about.registry, "it answers")
    if not nodes and not about.refused:
        known = "lists no node of it" if about.known else "does not know it; is the name right?"
        yield Finding("fail", "list", service, f"{about.registry} {known}")
        return
    objection = objection_to(url, service) if wanted.scheme == "http" else None
    if objection is not None:
        yield Finding("fail", "list", service, objection)
        return
    yield of_list(service, about.registry, nodes, refused=about.refused)
    turns = asyncio.Semaphore(_AT_ONCE)
    for trying in [asyncio.ensure_future(_try(turns, one, service, wanted)) for one in nodes]:
        for finding in of_node(await trying, wanted.path):
            yield finding


async def _try(turns: asyncio.Semaphore, node: Node, service: str, wanted: Questions) -> Tried:
    # A list of this node alone: TLS names, Host and errors are those of any call.
    listed = {service: [replace(node, status="up", weight=1.0)]}
    alone = AsyncTransport(StaticRegistry(listed), retry=_ONCE)
    base = f"{node.scheme or wanted.scheme}://{service}"
    async with (
        turns,
        httpx.AsyncClient(transport=alone, base_url=base, timeout=wanted.timeout) as client,
    ):
        try:
            return await _ask(client, node, wanted)
        except (httpx.HTTPError, OSError) as error:
            return Tried(node, error)


_ONCE = RetryPolicy(attempts=1)
"""One node, one attempt: what it does is to be seen, not to be mended."""


async def _ask(client: httpx.AsyncClient, node: Node, wanted: Questions) -> Tried:
    asked = time.time()
    answer = await _head(client, wanted.path, wanted)
    ahead = _ahead(answer.headers.get("date", ""), asked, time.time())
    by_address = None
    if answer.status_code in HOST_CHECKS:
        again = await _head(client, wanted.path, wanted, {"Host": node.address})
        by_address = again.status_code
    switch = await _head(client, _SWITCH, wanted)
    seen = switch.status_code in _REFUSALS and switch.headers.get("content-type") == _JSON
    return Tried(
        node,
        status=answer.status_code,
        version=answer.http_version,
        by_address=by_address,
        ahead=ahead,
        switch=seen,
        leaving="x-rpcguard-offline" in switch.headers,
    )


async def _head(
    client: httpx.AsyncClient, path: str, wanted: Questions, headers: dict[str, str] | None = None
) -> httpx.Response:
    # To connect and to answer has the timeout each. A stream of events has no end: its body is left
    # unread, and a head that comes byte by byte is not waited for.
    async with (
        asyncio.timeout(2 * wanted.timeout),
        client.stream("GET", path, headers=headers) as answer,
    ):
        return answer


_JSON = "application/json"


def _ahead(date: str, asked: float, answered: float) -> float | None:
    """Tell by how many seconds a `Date` is outside of the time in which the answer was made."""
    try:
        told = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
    return told - min(max(told, asked), answered)


def _line(finding: Finding) -> str:
    grade = _MARKS[finding.grade]
    return plain(f"{grade:<5}{finding.step:<10}{finding.about}  {finding.text}")
