"""The status page: over ASGI, and as a browser shows it."""

from __future__ import annotations

import os
import socket
import time
from html.parser import HTMLParser

import pytest

import rpcguard
from rpcguard import Snapshot
from rpcguard._core.nodes.view import RouteView, ServiceView
from rpcguard._core.service.picker import HEDGE
from rpcguard._core.service.records import PickRecord
from rpcguard._status.app import asgi_status
from tests.support.browser import browser
from tests.support.calls import settle
from tests.support.library import http
from tests.support.telemetry import OFFLINE, InOrder
from tests.support.uvicorn_server import UvicornServer

EVIL = "<script>document.title='owned'</script>&\"'"


class Registry:
    """Give a list whose every text is hostile."""

    def __init__(self, *ports: int) -> None:
        self.ports = ports

    def __repr__(self) -> str:
        return f"Registry({EVIL})"

    async def fetch(self, _service: str) -> Snapshot:
        return Snapshot(
            rpcguard.Node(
                "127.0.0.1",
                port,
                id=f"{number}{EVIL}",
                zone=EVIL,
                version=EVIL,
                metadata={"password": "s3cret"},
            )
            for number, port in enumerate(self.ports)
        )


class Cells(HTMLParser):
    """Read the cells of each row."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self._in_cell = False
        self.feed(page)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._in_cell = True
            self.rows[-1].append("")

    def handle_endtag(self, tag) -> None:
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data) -> None:
        if self._in_cell:
            self.rows[-1][-1] += data


def viewing(transport) -> http.AsyncClient:
    """Open a client of the page of a transport."""
    page = http.ASGITransport(asgi_status(transport))
    return http.AsyncClient(transport=page, base_url="http://status")


async def test_the_page_shows_each_node(calling, provider):
    """A row tells a node's state, why, weight, calls, success rate, latencies and last event."""
    leaving, good = provider(OFFLINE), provider()
    async with (
        calling(leaving, good, balancer=InOrder) as caller,
        viewing(caller.transport) as viewer,
    ):
        await caller.get()
        await caller.get()
        answer = await viewer.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    _, first, second = Cells(answer.text).rows
    assert first[:2] == [leaving.id, "offline"]
    assert first[2].startswith("X-RpcGuard-Offline, ")
    assert first[2].endswith(" s left")
    assert second[:5] == [good.id, "available", "", "1", "0"]
    assert second[6:8] == ["1", "100.0%"]
    (median, slowest), event = second[8:10], first[10]
    assert median == slowest
    assert median.endswith(" ms")
    assert event.startswith("offline")
    assert event.endswith(" s ago")
    assert "2 nodes of StaticRegistry" in answer.text


async def test_everything_is_escaped(calling, provider):
    """Nothing that comes from a registry or a caller becomes markup, and no metadata is shown."""
    async with (
        calling(Registry(provider().port)) as caller,
        viewing(caller.transport) as viewer,
    ):
        await caller.get()
        page = (await viewer.get("/")).text
        told = (await viewer.get("/nodes.json")).json()
    assert page.count("<script") == 1
    assert EVIL not in page
    assert Cells(page).rows[1][0].startswith(f"0{EVIL} at 127.0.0.1:")
    assert Cells(page).rows[1][-2:] == [EVIL, EVIL]
    (service,) = told["services"]
    assert service["name"] == "orders"
    assert service["nodes"][0]["node"]["zone"] == EVIL
    assert "s3cret" not in page + str(told)


async def test_the_json_tells_what_the_page_does(calling, provider):
    """The JSON has every service with its list and what its registry does."""
    node = provider()
    async with (
        calling(node) as caller,
        viewing(caller.transport) as viewer,
    ):
        assert (await viewer.get("/nodes.json")).json()["services"] == []
        await caller.get()
        told = (await viewer.get("/nodes.json")).json()
    (service,) = told["services"]
    process = told["process"]
    assert (process["pid"], process["version"]) == (os.getpid(), rpcguard.__version__)
    assert process["host"] == socket.gethostname()
    assert process["started_at"] <= time.time() - time.process_time()
    assert service["nodes"][0]["node"]["id"] == node.id
    assert service["nodes"][0]["state"] == "available"
    assert (service["ready"], service["known"], service["trouble"]) == (True, True, None)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("HEAD", "/nodes.json", 200),
        ("POST", "/", 405),
        ("DELETE", "/nodes.json", 405),
        ("GET", "/nodes", 404),
        ("GET", "/../etc/passwd", 404),
    ],
)
async def test_it_is_read_only(method, path, status, calling):
    """It answers GET and HEAD of two paths and refuses all else, never to be cached or framed."""
    async with (
        calling("static://10.0.0.1:80") as caller,
        viewing(caller.transport) as viewer,
    ):
        answer = await viewer.request(method, path)
    assert answer.status_code == status
    assert answer.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    if method == "HEAD":
        assert answer.content == b""
        assert int(answer.headers["content-length"]) > 0
    if status == 405:
        assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("stripped", [True, False], ids=["stripped", "whole"])
async def test_it_can_be_mounted(calling, stripped):
    """Below a prefix it finds its paths, whether the framework strips the prefix or not."""
    sent = []

    async def send(message):
        sent.append(message)

    path = "/nodes.json" if stripped else "/admin/nodes.json"
    scope = {"type": "http", "method": "GET", "path": path, "root_path": "/admin", "headers": []}
    async with calling("static://10.0.0.1:80") as caller:
        app = asgi_status(caller.transport)
        await app(scope, None, send)
        assert sent[0]["status"] == 200
        await app({**scope, "path": "/admin/"}, None, send)
    assert b'href="/admin/nodes.json"' in sent[3]["body"]


async def test_other_kinds_of_connections(calling):
    """A lifespan is followed to its end, and a websocket is closed."""
    sent = []
    steps = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive():
        return {"type": next(steps)}

    async def send(message):
        sent.append(message["type"])

    async with calling("static://10.0.0.1:80") as caller:
        app = asgi_status(caller.transport)
        await app({"type": "lifespan"}, receive, send)
        await app({"type": "websocket"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete", "websocket.close"]


async def test_the_page_says_whose_it_is_and_how_it_picks(calling, provider):
    """Process, host, version and start; and the newest picks with what they were drawn from."""
    first, second = provider(), provider()
    async with (
        calling(first, second, balancer=InOrder) as caller,
        viewing(caller.transport) as viewer,
    ):
        assert "last picks" not in (await viewer.get("/")).text
        for _ in range(12):
            await caller.get()
        caller.transport.mark_offline("orders", second.id)
        await caller.get()
        page = (await viewer.get("/")).text
    host = socket.gethostname()
    assert f"process {os.getpid()} on {host}, rpcguard {rpcguard.__version__}, started 2" in page
    newest, *others = page.partition("<ol")[2].split("<li>")[1:]
    assert len(others) == 9
    assert f"s ago: {first.id}" in newest
    assert f"left out: {second.id} (" in newest


async def test_the_page_shows_retries_and_routes(calling, provider):
    """How many retries were made of how many that are allowed; what each route leads to."""
    failing = provider(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
    canary = rpcguard.Route("orders-canary", service="orders", share=0.25, to={"version": "2"})
    options = {"balancer": InOrder, "routing": rpcguard.Routing(rules=[canary])}
    async with (
        calling(failing, provider(), **options) as caller,
        viewing(caller.transport) as viewer,
    ):
        assert (await caller.get()).status_code == 200
        page = (await viewer.get("/")).text
        (service,) = (await viewer.get("/nodes.json")).json()["services"]
    (route,) = service["routes"]
    assert (route["name"], route["share"], route["eligible"]) == ("orders-canary", 0.25, 0)
    [row] = [row for row in Cells(page).rows if row[0] == "orders-canary"]
    assert row[:3] == ["orders-canary", "25.0%", "25.0%"]
    assert (service["retries"], service["budget"]) == (1, 100)
    assert "1 retries lately, of 100 that its calls allow" in page


class Fixed:
    """Show made-up lists: one of each state, and a registry that fails."""

    def routes(self, service: str) -> list[RouteView]:
        if service != "billing":
            return []
        more = {"measured": None, "ramp": 1.0, "strain": 1.0, "nodes": 4, "eligible": 3}
        return [RouteView(EVIL, service, 0.05, 0.0, guard=12.3, **more)]

    def explain(self, service: str) -> list[PickRecord]:
        if service != "orders":
            return []
        out = tuple((f"n{number}", "offline") for number in range(7))
        return [
            PickRecord(time.monotonic(), "n1", (("n1", 0.5), ("n2", 1.5)), (), out, False),
            PickRecord(time.monotonic(), EVIL, (), ("n1", "n2"), (), True, why=f"{HEDGE}: x"),
        ]

    def services(self) -> list[ServiceView]:
        trouble = f"ConnectError: {EVIL}"
        return [
            ServiceView("orders", "ConsulRegistry('http://127.0.0.1:8500')", True, True, 1.2, None),
            ServiceView(
                *("billing", f"Registry({EVIL})", True, True, 93.0, trouble),
                rules_age=4.2,
                rules_trouble=f"route 'a': share {EVIL}",
                limit=7,
                throttled=0.25,
                hedge_delay=0.012,
                hedges={"won": 3, "cap": 1},
            ),
            ServiceView("shipping", "Registry()", False, False, None, None),
        ]

    def nodes(self, service: str) -> list[rpcguard.NodeView]:
        states = [
            ("available", None, None, 1.0),
            ("warming", "slow start", 80.2, 0.3),
            ("ejected", "5 failures in a row", 4.0, 0.0),
            ("offline", "X-RpcGuard-Offline", 28.7, 0.0),
            ("draining", "drained by the registry", None, 0.0),
        ]
        if service == "shipping":
            return []
        return [
            rpcguard.NodeView(
                node=rpcguard.Node("10.0.0.1", 8000 + number, zone="a", version=EVIL),
                state=state,
                reason=reason,
                until=until,
                weight=1.0,
                effective_weight=weight,
                in_flight=number,
                load=0.0123,
                successes=990,
                failures=10,
                event=EVIL if number else None,
                event_age=4.2 if number else None,
                latencies=(0.5, 0.010, 0.0123) if number else (),
            )
            for number, (state, reason, until, weight) in enumerate(states)
        ]


@pytest.fixture
def asked() -> list[str]:
    """Give how a browser has asked for the page: to open it, or from a script."""
    return []


@pytest.fixture
def served(asked):
    """Serve the page of made-up lists on a socket and give its URL."""
    page = asgi_status(Fixed())

    async def noting(scope, receive, send) -> None:
        if scope["type"] == "http" and scope["path"] == "/":
            asked.append(dict(scope["headers"]).get(b"sec-fetch-mode", b"").decode())
        await page(scope, receive, send)

    server = UvicornServer(noting, log_level="warning").begin()
    yield f"http://127.0.0.1:{server.listens_at}"
    server.stop()


async def test_rules_that_were_refused():
    """How old the rules in force are, and why the last document was not taken."""
    async with viewing(Fixed()) as viewer:
        page = (await viewer.get("/")).text
        services = (await viewer.get("/nodes.json")).json()["services"]
    assert "; rules of 4.2 s ago; rules refused: route &#x27;a&#x27;: share &lt;script&gt;" in page
    assert [one["rules_age"] for one in services] == [None, 4.2, None]


async def test_what_is_held_back_and_sent_twice():
    """The limit, the throttle and the hedges of a service, and which of its picks was a hedge."""
    async with viewing(Fixed()) as client:
        page = (await client.get("/")).text
    assert "; 7 calls at a time at most; throttled: 25.0% of its calls are refused" in page
    assert "; hedged after 12.0 ms: 1 cap, 3 won" in page
    assert f"; {HEDGE}; the least bad" in page


async def test_a_route_that_its_guard_holds_back():
    """Its row says for how long, and nothing is measured yet."""
    async with viewing(Fixed()) as viewer:
        page = (await viewer.get("/")).text
    [row] = [row for row in Cells(page).rows if row[0] == EVIL]
    assert row[1:] == ["5.0%", "0.0%", "", "3 of 4", "held back by its guard, 12 s left"]


async def test_a_pick_is_told_in_full():
    """What it was compared with, what the call had tried, who was left out, and the panic."""
    async with viewing(Fixed()) as viewer:
        page = (await viewer.get("/")).text
    panic, usual = page.partition("<ol")[2].partition("</ol>")[0].split("<li>")[1:]
    assert "s ago: n1 (500.0 ms) rather than n2 (1500.0 ms); left out: n0 (offline), " in usual
    assert "n4 (offline) and 2 more<" in usual
    assert "; the least bad, since none was eligible; tried before: n1, n2<" in panic
    assert EVIL not in panic


@pytest.mark.long("starts a browser")
def test_a_browser_updates_it_in_place(served, asked, tmp_path):
    """The page asks for itself again and again, and is opened once."""
    page = browser(tmp_path, "--virtual-time-budget=9000", "--dump-dom", served)
    assert asked.count("navigate") == 1
    assert asked.count("cors") >= 3
    assert "stale" not in page.partition("<main>")[0].partition("<body")[2]


@pytest.mark.long("starts a browser")
def test_a_browser_shows_it(served, tmp_path):
    """A real browser runs nothing of what a registry says, and draws the page."""
    picture = tmp_path / "page.png"
    browser(tmp_path, f"--screenshot={picture}", "--window-size=1200,900", served)
    assert picture.read_bytes().startswith(b"\x89PNG")
    page = browser(tmp_path, "--dump-dom", served)
    assert "<title>rpcguard</title>" in page
    assert "owned" not in page.partition("</title>")[0]
    quiet, unwell = Cells(page).rows[1:3]
    assert quiet[8:11] == ["", "", ""]
    assert unwell[8:11] == ["12.3 ms", "500.0 ms", f"{EVIL}, 4 s ago"]
    assert [row[1] for row in Cells(page).rows[1:6]] == [
        "available",
        "warming",
        "ejected",
        "offline",
        "draining",
    ]


async def test_a_load_that_was_never_measured_is_not_shown(calling, provider):
    """What a balancer assumes of a node that nobody has called yet looks like any other."""
    async with calling(provider()) as caller, viewing(caller.transport) as viewer:
        await settle(caller.transport.wait_ready("orders", timeout=20.0))
        _, row = Cells((await viewer.get("/")).text).rows
        assert row[5] == "-"
        await caller.get()
        heads, row, *_ = Cells((await viewer.get("/")).text).rows
        assert (heads[5], row[5].endswith(" ms")) == ("load", True)
