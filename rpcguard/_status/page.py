"""What transports show of themselves: a web page, and the same as JSON."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import time
from dataclasses import asdict
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from rpcguard._core.service.picker import HEDGE
from rpcguard._process import process_began
from rpcguard._text import percent
from rpcguard._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rpcguard._core.nodes.view import NodeView, RouteView, ServiceView
    from rpcguard._core.service.records import PickRecord

_MOST_ROWS = 1000
"""Nodes on a page: more than anybody reads, and few enough to be drawn at once."""
_MOST_PICKS = 10
"""Picks of a service on a page: the newest tell how it chooses now; `explain` has more."""
_MOST_EXCLUDED = 5
"""Nodes that a pick left out, as far as the page names them."""


class Shown(Protocol):
    """A transport, as far as the page goes."""

    def services(self) -> list[ServiceView]:
        """Show the services."""
        ...

    def nodes(self, service: str) -> list[NodeView]:
        """Show the nodes of a service."""
        ...

    def explain(self, service: str) -> list[PickRecord]:
        """Show the last picks of a service."""
        ...

    def routes(self, service: str) -> list[RouteView]:
        """Show the routes of a service."""
        ...


class PageReply(NamedTuple):
    """A whole answer, before either interface has put it into its own words."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def answer(shown: Sequence[Shown], *, method: str, path: str, mounted: str) -> PageReply:
    """Answer a request for `path`, below the place where the page is `mounted`."""
    reply = _answer(shown, method, path, mounted)
    length = ("content-length", str(len(reply.body)))
    body = b"" if method == "HEAD" else reply.body
    return PageReply(reply.status, [*reply.headers, length, *_ALWAYS], body)


def _answer(shown: Sequence[Shown], method: str, path: str, mounted: str) -> PageReply:
    if method not in ("GET", "HEAD"):
        return PageReply(405, [("allow", "GET, HEAD"), _TEXT], b"Method Not Allowed")
    if path in ("", "/"):
        return PageReply(200, [("content-type", "text/html; charset=utf-8")], _page(shown, mounted))
    if path == "/nodes.json":
        return PageReply(200, [("content-type", "application/json")], _json(shown))
    return PageReply(404, [_TEXT], b"Not Found")


def _json(shown: Sequence[Shown]) -> bytes:
    services = [
        {
            **service.as_dict(),
            "nodes": [_plain(view) for view in transport.nodes(service.name)],
            "routes": [asdict(route) for route in transport.routes(service.name)],
        }
        for transport in shown
        for service in transport.services()
    ]
    return json.dumps({"services": services, "process": _process()}).encode()


def _plain(view: NodeView) -> dict[str, Any]:
    plain = view.as_dict()
    del plain["node"]["metadata"]
    return plain


def _process() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "version": __version__,
        "started_at": process_began(os.getpid()),
    }


def _page(shown: Sequence[Shown], mounted: str) -> bytes:
    sections = [
        _section(transport, service, f"{number}-{service.name}")
        for number, transport in enumerate(shown)
        for service in transport.services()
    ]
    body = "".join(sections) or "<p>No service has been called yet.</p>"
    page = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>rpcguard</title>'
        '<meta name="viewport" content="width=device-width">'
        '<noscript><meta http-equiv="refresh" content="5"></noscript>'
        f"<style>{_STYLE}</style></head><body><main><h1>Live node lists</h1>"
        f"<p>{escape(_about())}</p>{body}"
        f'<p><a href="{escape(mounted)}/nodes.json">the same as JSON</a></p></main>'
        f"<script>{_SCRIPT}</script></body></html>"
    )
    return page.encode(errors="replace")


def _about() -> str:
    process = _process()
    told = f"process {process['pid']} on {process['host']}, rpcguard {process['version']}"
    if process["started_at"] is None:
        return told
    started = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(process["started_at"]))
    return f"{told}, started {started}"


def _section(transport: Shown, service: ServiceView, mark: str) -> str:
    views = transport.nodes(service.name)
    more = len(views) - _MOST_ROWS
    rest = f"<p>and {more} more nodes, in the JSON</p>" if more > 0 else ""
    return (
        f"<h2>{escape(service.name)}</h2><p>{escape(_told(service, views))}</p>"
        f"{_table(_HEADS, map(_row, views[:_MOST_ROWS]))}{rest}"
        f"{_routes(transport.routes(service.name))}"
        f"{_last_picks(transport.explain(service.name), mark)}"
    )


def _table(heads: Iterable[str], rows: Iterable[str]) -> str:
    head = "".join(f'<th scope="col">{head}</th>' for head in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _routes(routes: list[RouteView]) -> str:
    return _table(_ROUTE_HEADS, map(_route_row, routes)) if routes else ""


def _route_row(route: RouteView) -> str:
    held = "" if route.guard is None else f"held back by its guard, {route.guard:.0f} s left"
    cells = (
        percent(route.share),
        percent(route.effective_share),
        percent(route.measured),
        f"{route.eligible} of {route.nodes}",
    )
    numbers = "".join(f'<td class="number">{cell}</td>' for cell in cells)
    name = f'<th scope="row">{escape(route.name)}</th>'
    return f'<tr>{name}{numbers}<td class="told">{held}</td></tr>'


def _last_picks(picks: list[PickRecord], mark: str) -> str:
    if not picks:
        return ""
    lines = "".join(f"<li>{escape(_pick(pick))}</li>" for pick in picks[: -_MOST_PICKS - 1 : -1])
    return (
        f'<details id="{escape(mark)}"><summary>last picks</summary>'
        f'<ol class="told">{lines}</ol></details>'
    )


def _pick(pick: PickRecord) -> str:
    told = [f"{max(time.monotonic() - pick.at, 0.0):.1f} s ago: {_compared(pick)}"]
    told += _routed(pick)
    if pick.why.startswith(HEDGE):
        told.append(HEDGE)
    if pick.panic:
        told.append("the least bad, since none was eligible")
    if pick.tried:
        told.append(f"tried before: {', '.join(pick.tried)}")
    if pick.excluded:
        names = [f"{name} ({reason})" for name, reason in pick.excluded[:_MOST_EXCLUDED]]
        more = len(pick.excluded) - len(names)
        told.append(f"left out: {', '.join(names)}{f' and {more} more' if more else ''}")
    return "; ".join(told)


def _routed(pick: PickRecord) -> Iterator[str]:
    if pick.route is not None:
        yield f"route {pick.route}"
    if pick.lane is not None:
        yield f"lane {pick.lane}"
    if pick.fallback is not None:
        yield f"to {pick.fallback}, since its own cannot serve"


def _compared(pick: PickRecord) -> str:
    loads = [f"{name} ({_span(load)})" for name, load in pick.candidates]
    return " rather than ".join(loads) or pick.picked


def _told(service: ServiceView, views: list[NodeView]) -> str:
    told = [f"{len(views)} nodes of {service.registry}"]
    if not service.ready:
        told.append("no list yet")
    elif not service.known:
        told.append("not known to the registry")
    if service.age is not None:
        told.append(f"answered {service.age:.1f} s ago")
    if service.retries:
        told.append(f"{service.retries} retries lately, of {service.budget} that its calls allow")
    told += _held_back(service)
    if service.refused:
        told.append(f"{service.refused} more are outside of allowed_networks")
    if service.trouble is not None:
        told.append(f"now failing: {service.trouble}")
    if service.rules_age is not None:
        told.append(f"rules of {service.rules_age:.1f} s ago")
    if service.rules_trouble is not None:
        told.append(f"rules refused: {service.rules_trouble}")
    return "; ".join(told)


def _held_back(service: ServiceView) -> Iterator[str]:
    if service.limit is not None:
        yield f"{service.limit} calls at a time at most"
    if service.throttled:
        yield f"throttled: {percent(service.throttled)} of its calls are refused"
    if service.hedges is not None:
        after = service.hedge_delay
        late = "no hedges now" if after is None else f"hedged after {after * 1000:.1f} ms"
        counts = [f"{count} {result}" for result, count in sorted(service.hedges.items())]
        yield f"{late}{': ' if counts else ''}{', '.join(counts)}"


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
    yield f'<td class="number">{_span(view.load) if calls else "-"}</td>'
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


_ROUTE_HEADS = ("route", "share", "now", "measured", "eligible", "why")
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
.stale main { opacity: .5; }
"""
_SCRIPT = """
async function update() {
  if (!getSelection().isCollapsed) return;
  try {
    const answer = await fetch(location.href, {cache: "no-store"});
    if (!answer.ok) throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const open of document.querySelectorAll("details[open]"))
      page.getElementById(open.id)?.setAttribute("open", "");
    document.querySelector("main").replaceWith(page.querySelector("main"));
    document.body.className = "";
  } catch {
    document.body.className = "stale";
  }
}
setInterval(update, 2000);
"""


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


_TEXT = ("content-type", "text/plain; charset=utf-8")
_ALWAYS = (
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    (
        "content-security-policy",
        f"default-src 'none'; style-src 'sha256-{_hash(_STYLE)}'; "
        f"script-src 'sha256-{_hash(_SCRIPT)}'; connect-src 'self'; frame-ancestors 'none'",
    ),
)
