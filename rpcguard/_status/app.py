"""What a transport shows of itself, and a web page that shows it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from html import escape
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rpcguard._core.nodes.view import NodeView, ServiceView

# Frameworks type these three in their own ways.
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]

_MOST_ROWS = 1000
"""Nodes on a page: more than anybody reads, and few enough to be drawn at once."""


class Shown(Protocol):
    """Be a transport, as far as the page goes."""

    def services(self) -> list[ServiceView]:
        """Show the services."""
        ...

    def nodes(self, service: str) -> list[NodeView]:
        """Show the nodes of a service."""
        ...


def asgi_status(transport: Shown) -> ASGIApp:
    """Make an ASGI app that shows the live lists of a transport: a page, and `/nodes.json`.

    Read-only: it answers GET and HEAD, and asks no registry. Everything is escaped, and the
    metadata of nodes, which may hold secrets, is left out. It tells addresses, so mount it where
    only operators come. Works on asyncio and trio with either transport, which stays the caller's
    to close.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        else:
            status, headers, body = _answer(transport, scope)
            headers += [(b"content-length", str(len(body)).encode()), *_ALWAYS]
            if scope["method"] == "HEAD":
                body = b""
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    return app


async def _live(receive: Any, send: Any) -> None:
    while True:
        phase = (await receive())["type"]
        await send({"type": f"{phase}.complete"})
        if phase == "lifespan.shutdown":
            return


_Header = tuple[bytes, bytes]


def _answer(transport: Shown, scope: Any) -> tuple[int, list[_Header], bytes]:
    if scope["method"] not in ("GET", "HEAD"):
        return 405, [(b"allow", b"GET, HEAD"), _TEXT], b"Method Not Allowed"
    mounted = scope.get("root_path", "")
    path = str(scope["path"]).removeprefix(mounted)
    if path in ("", "/"):
        return 200, [(b"content-type", b"text/html; charset=utf-8")], _page(transport, mounted)
    if path == "/nodes.json":
        return 200, [(b"content-type", b"application/json")], _json(transport)
    return 404, [_TEXT], b"Not Found"


def _json(transport: Shown) -> bytes:
    shown = [
        {**service.as_dict(), "nodes": [_plain(view) for view in transport.nodes(service.name)]}
        for service in transport.services()
    ]
    return json.dumps({"services": shown}).encode()


def _plain(view: NodeView) -> dict[str, Any]:
    plain = view.as_dict()
    del plain["node"]["metadata"]
    return plain


def _page(transport: Shown, mounted: str) -> bytes:
    services = transport.services()
    shown = [_section(service, transport.nodes(service.name)) for service in services]
    body = "".join(shown) or "<p>No service has been called yet.</p>"
    page = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>rpcguard</title>'
        '<meta name="viewport" content="width=device-width"><meta http-equiv="refresh" content="5">'
        f"<style>{_STYLE}</style></head><body><main><h1>Live node lists</h1>{body}"
        f'<p><a href="{escape(mounted)}/nodes.json">the same as JSON</a></p></main></body></html>'
    )
    return page.encode(errors="replace")


def _section(service: ServiceView, views: list[NodeView]) -> str:
    heads = "".join(f'<th scope="col">{head}</th>' for head in _HEADS)
    rows = "".join(_row(view) for view in views[:_MOST_ROWS])
    more = len(views) - _MOST_ROWS
    rest = f"<p>and {more} more nodes, in the JSON</p>" if more > 0 else ""
    return (
        f"<h2>{escape(service.name)}</h2><p>{escape(_told(service, views))}</p>"
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>{rest}"
    )


def _told(service: ServiceView, views: list[NodeView]) -> str:
    told = [f"{len(views)} nodes of {service.registry}"]
    if not service.ready:
        told.append("no list yet")
    elif not service.known:
        told.append("not known to the registry")
    if service.age is not None:
        told.append(f"answered {service.age:.1f} s ago")
    if service.refused:
        told.append(f"{service.refused} more are outside of allowed_networks")
    if service.trouble is not None:
        told.append(f"now failing: {service.trouble}")
    return "; ".join(told)


def _row(view: NodeView) -> str:
    return f"<tr>{''.join(_cells(view))}</tr>"


def _cells(view: NodeView) -> Iterator[str]:
    node = view.node
    named = f"{node.id} at {node.address}" if node.id != node.address else node.id
    yield f'<th scope="row">{escape(named)}</th>'
    yield f'<td><span class="state {view.state}">{view.state}</span></td>'
    left = f"{view.until:.0f} s left" if view.until is not None else ""
    why = ", ".join(part for part in (view.reason, left) if part)
    yield f'<td class="told">{escape(why)}</td>'
    weight = f"{view.weight:g}"
    if view.state == "warming":
        share = f'value="{view.effective_weight:.3f}" max="{view.weight:g}"'
        weight = f"{view.weight:g} → {view.effective_weight:.2f} <progress {share}></progress>"
    yield f'<td class="weight">{weight}</td>'
    calls = view.successes + view.failures
    yield f'<td class="number">{view.in_flight}</td>'
    yield f'<td class="number">{_span(view.load)}</td>'
    yield f'<td class="number">{calls}</td>'
    yield f'<td class="number">{f"{view.successes / calls:.1%}" if calls else ""}</td>'
    yield from (f'<td class="number">{_span(seconds)}</td>' for seconds in (view.p50, view.p99))
    yield f'<td class="told">{escape(_event(view))}</td>'
    yield f"<td>{escape(node.zone or '')}</td><td>{escape(node.version or '')}</td>"


def _span(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.1f} ms"


def _event(view: NodeView) -> str:
    if view.event is None:
        return ""
    age = f", {view.event_age:.0f} s ago" if view.event_age is not None else ""
    return f"{view.event}{age}"


_HEADS = (
    "node",
    "state",
    "why",
    "weight",
    "in flight",
    "load",
    "calls",
    "good",
    "p50",
    "p99",
    "last event",
    "zone",
    "version",
)
_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 90rem; margin: 2rem auto; padding: 0 1rem; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .45rem; border-bottom: 1px solid #8886; }
thead th { font-size: .85em; color: GrayText; white-space: nowrap; }
tbody th { font: 14px ui-monospace, monospace; min-width: 10rem; }
tbody th, td { overflow-wrap: anywhere; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.state { white-space: nowrap; padding: .1rem .5rem; border-radius: 1rem; }
.state { color: #fff; background: #555; }
.available { background: #1a7f37; }
.warming { background: #9a6700; }
.ejected { background: #cf222e; }
.offline { background: #0969da; }
.told { min-width: 8rem; }
.weight { white-space: nowrap; }
progress { width: 4rem; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_TEXT = (b"content-type", b"text/plain; charset=utf-8")
_ALWAYS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (
        b"content-security-policy",
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'".encode(),
    ),
)
