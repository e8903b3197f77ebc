"""Lanes from end to end: marks come in and go out, calls go to their lane, strangers get none."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from opentelemetry import baggage
from opentelemetry import context as otel

import rpcguard
from rpcguard import Node, Route, Routing, Snapshot
from rpcguard._context.lane import UNHEARD, arrived_with
from tests.support.library import NoAvailableNode, Transport, http

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOOK_EVERY = 0.01  # seconds
NODES = [
    Node("10.0.0.1", 80, id="base", version="1"),
    Node("10.0.0.2", 80, id="lane", version="2", metadata={"lane": "c2"}),
]


class Listing:
    """List what it is told, by service; every other service is unknown."""

    def __init__(self, **services: list[Node]) -> None:
        self.services = services

    async def fetch(self, service: str) -> Snapshot:
        nodes = self.services.get(service)
        return Snapshot(nodes or (), known=nodes is not None)


class Patient(Listing):
    """Answer for the lane's service only when it is told to."""

    opened = False

    async def fetch(self, service: str) -> Snapshot:
        while service == "orders-c2" and not self.opened:  # noqa: ASYNC110 (by another loop)
            await anyio.sleep(0.01)
        return await super().fetch(service)


class Calls:
    """A client whose nodes answer with their id and what they were sent."""

    def __init__(self, registry: Any = None, **options: Any) -> None:
        self.sent: list[tuple[str, http.Headers]] = []
        self.answers: Callable[[str, http.Request], http.Response] = self._answer
        self.transport = Transport(
            registry or Listing(orders=NODES), node_transport=self._child, **options
        )
        self.client = http.Client(transport=self.transport, base_url="http://orders")

    def _child(self, node: Node) -> http.BaseTransport:
        def handle(request: http.Request) -> http.Response:
            self.sent.append((node.id, request.headers))
            return self.answers(node.id, request)

        return http.MockTransport(handle)

    @staticmethod
    def _answer(node: str, _: http.Request) -> http.Response:
        return http.Response(200, text=node)

    def get(self, url: str = "/", *, lane: Any = ..., **options: Any) -> str:
        """Call, and give the node that answered."""
        if lane is not ...:
            options["extensions"] = {"rpcguard": {"lane": lane}}
        return self.client.get(url, **options).text


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the background look at a file of rules again and again, so that nobody waits for it."""
    monkeypatch.setattr("rpcguard._discovery.rule_sources._LOOK_EVERY", LOOK_EVERY)


@pytest.fixture
def calls() -> Iterator[Callable[..., Calls]]:
    with contextlib.ExitStack() as stack:

        def make(*args: Any, **options: Any) -> Calls:
            options.setdefault("routing", Routing())
            made = Calls(*args, **options)
            stack.callback(made.client.close)
            return made

        yield make


def test_a_mark_comes_in_by_the_first_place_that_has_one(
    calls: Callable[..., Calls], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The option, a header that is read, the context, baggage, the process's own lane."""
    monkeypatch.setenv("RPCGUARD_LANE", "c2")
    one = calls(routing=Routing(read=["x-mse-tag"]))
    assert one.get() == "lane"
    monkeypatch.delenv("RPCGUARD_LANE")
    one = calls(routing=Routing(read=["x-mse-tag"]))
    assert one.get() == "base"
    assert one.get(headers={"x-mse-tag": "c2"}) == "lane"
    assert one.get(lane="c2") == "lane"
    assert one.get(lane=None, headers={"x-mse-tag": "c2"}) == "base"
    with rpcguard.lane("c2"):
        assert one.get() == "lane"
        assert one.get(headers={"x-mse-tag": "base"}) == "base"
        with rpcguard.detached():
            assert one.get() == "base"
    token = otel.attach(baggage.set_baggage("rpcguard.lane", "c2"))
    assert one.get() == "lane"
    with rpcguard.lane(None):
        assert one.get() == "base"
    otel.detach(token)


def test_baggage_of_an_outsider_is_not_believed(calls: Callable[..., Calls]) -> None:
    """An instrumentation has read it, the middleware does not trust it: it goes nowhere."""
    one = calls()
    token = otel.attach(baggage.set_baggage("rpcguard.lane", "c2"))
    with arrived_with(UNHEARD):
        assert one.get() == "base"
    otel.detach(token)
    assert "baggage" not in one.sent[0][1]


@pytest.mark.parametrize("mark", ["a b", "x" * 10_000, "c2;drop", "ä"])
def test_what_is_no_mark_is_ignored(calls: Callable[..., Calls], mark: str) -> None:
    """In a header or in baggage it may come from anywhere; in the code it is an error."""
    one = calls(routing=Routing(read=["x-mse-tag"]))
    assert one.get(headers={"x-mse-tag": mark.encode()}) == "base"
    token = otel.attach(baggage.set_baggage("rpcguard.lane", mark))
    assert one.get() == "base"
    otel.detach(token)
    assert all("rpcguard.lane" not in headers.get("baggage", "") for _, headers in one.sent)
    with pytest.raises(ValueError, match="lane"):
        one.get(lane=mark)


def test_a_mark_goes_out_with_each_attempt(calls: Callable[..., Calls]) -> None:
    """As baggage, and in the headers that are asked for; the user's own request is not changed."""
    one = calls(routing=Routing(write=["x-mse-tag"]))
    request = one.client.build_request("GET", "/", headers={"baggage": "user=alice"})
    with rpcguard.lane("c2"):
        one.client.send(request)
    ((_, headers),) = one.sent
    assert headers["baggage"] == "user=alice,rpcguard.lane=c2"
    assert headers["x-mse-tag"] == "c2"
    assert request.headers["baggage"] == "user=alice"
    assert "x-mse-tag" not in request.headers

    def refuse(node: str, _: http.Request) -> http.Response:
        return http.Response(503 if node == "lane" else 200, text=node)

    one.answers = refuse
    one.sent.clear()
    assert one.get(lane="c2") == "base"
    assert [(node, headers["x-mse-tag"]) for node, headers in one.sent] == [
        ("lane", "c2"),
        ("base", "c2"),
    ]


def test_an_unmarked_call_carries_no_mark(calls: Callable[..., Calls]) -> None:
    """What a forger put into baggage is no mark once the context says that there is none."""
    one = calls(routing=Routing(write=["x-mse-tag"]))
    with rpcguard.lane(None):
        one.get(headers={"baggage": "rpcguard.lane=c2,a=b", "x-mse-tag": "c2"})
    ((node, headers),) = one.sent
    assert node == "base"
    assert headers["baggage"] == "a=b"
    assert "x-mse-tag" not in headers


def test_a_mark_that_nobody_here_knows_is_carried_on(calls: Callable[..., Calls]) -> None:
    """A service further down may have the lane."""
    one = calls()
    assert one.get(lane="further-down") == "base"
    assert one.sent[0][1]["baggage"] == "rpcguard.lane=further-down"


def test_a_route_stains_the_calls_that_it_takes(calls: Callable[..., Calls]) -> None:
    """Later hops follow the mark; the answer tells the route."""
    rule = Route("testers", when={"header.x-tester": "*"}, to={"lane": "c2"}, mark="c2")
    one = calls(routing=Routing(rules=[rule]))
    response = one.client.get("/", headers={"x-tester": "alice"})
    assert response.text == "lane"
    info = response.extensions["rpcguard"]
    assert (info.route, info.lane, info.fallback) == ("testers", "c2", None)
    assert one.sent[0][1]["baggage"] == "rpcguard.lane=c2"
    record = one.transport.explain("orders")[-1]
    assert (record.route, record.lane, record.group, record.fallback) == (
        "testers",
        "c2",
        "testers",
        None,
    )


def test_the_answer_tells_that_a_call_fell_back(calls: Callable[..., Calls]) -> None:
    """The lane is not here."""
    one = calls()
    response = one.client.get("/", extensions={"rpcguard": {"lane": "c9"}})
    info = response.extensions["rpcguard"]
    assert (info.route, info.lane, info.fallback) == (None, "c9", "base")


def test_without_a_routing_nothing_is_told(calls: Callable[..., Calls]) -> None:
    """Lanes are not looked at, and marks travel as any baggage does."""
    one = calls(routing=None)
    with rpcguard.lane("c9"):
        response = one.client.get("/", extensions={"rpcguard": {"lane": "c2"}})
    assert response.extensions["rpcguard"].lane is None
    assert "baggage" not in one.sent[0][1]
    assert one.transport.routes("orders") == []
    assert one.transport.explain("orders")[-1].group is None


def test_a_lane_that_must_not_be_left_says_why(calls: Callable[..., Calls]) -> None:
    """The error names the lane, the route and each node with the reason."""
    one = calls(
        routing=Routing(otherwise="fail", rules=[Route("r", when={"path": "/r"}, mark="c2")])
    )
    one.get(lane="c2")
    one.transport.mark_offline("orders", "lane")
    with pytest.raises(NoAvailableNode, match=r"of lane 'c2'.*lane offline: marked"):
        one.get(lane="c2")
    with pytest.raises(NoAvailableNode, match=r"of route 'r' of lane 'c2'"):
        one.get("/r")


def in_a_thread(work: Callable[[], str]) -> str:
    """Do something in a thread that was started by hand."""
    seen: list[str] = []
    thread = threading.Thread(target=lambda: seen.append(work()))
    thread.start()
    thread.join()
    return seen[0]


def in_a_pool(work: Callable[[], str]) -> str:
    """Do something in a thread of a pool."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def in_an_executor(work: Callable[[], str]) -> str:
    """Do something in the executor of a loop."""

    async def main() -> str:
        return await asyncio.get_running_loop().run_in_executor(None, work)

    return asyncio.run(main())


@pytest.mark.parametrize("elsewhere", [in_a_thread, in_a_pool, in_an_executor])
def test_a_thread_that_copies_no_context_has_lost_the_mark(
    calls: Callable[..., Calls],
    monkeypatch: pytest.MonkeyPatch,
    elsewhere: Callable[[Callable[[], str]], str],
) -> None:
    """The process's lane counts there; a copied context has the mark."""
    monkeypatch.setenv("RPCGUARD_LANE", "c2")
    one = calls()
    with rpcguard.lane(None):
        copied = contextvars.copy_context()
        assert elsewhere(one.get) == "lane"
        assert elsewhere(lambda: copied.run(one.get)) == "base"


def test_to_thread_takes_the_mark_along(calls: Callable[..., Calls]) -> None:
    """It copies the context."""
    one = calls()

    async def main() -> str:
        with rpcguard.lane("c2"):
            return await asyncio.to_thread(one.get)

    assert asyncio.run(main()) == "lane"


@pytest.mark.parametrize(("method", "sent"), [("POST", 1), ("GET", 2)])
@pytest.mark.parametrize("where", ["share", "marked", "base"])
def test_routes_send_no_call_twice_that_may_have_run(
    calls: Callable[..., Calls], method: str, sent: int, where: str
) -> None:
    """Wherever the routes have other nodes left that a retry might go to."""
    share = Route("canary", share=float(where == "share"), to={"id": ["lane", "other"]})
    registry = Listing(orders=[*NODES, Node("10.0.0.7", 80, id="other"), Node("10.0.0.8", 80)])
    one = calls(registry, routing=Routing(rules=[share]))

    def broken(*_: object) -> http.Response:
        raise http.ReadError("it ended")

    one.answers = broken
    lane = "c2" if where == "marked" else None
    with pytest.raises(http.ReadError):
        one.client.request(method, "/", extensions={"rpcguard": {"lane": lane}})
    assert len(one.sent) == sent


# Strangers


class Stranger(BaseHTTPRequestHandler):
    """A host that is called directly; it keeps what it is sent."""

    def do_GET(self) -> None:
        self.server.seen.append(self.headers)  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def stranger() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    server.seen = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("routing", [None, Routing(read=["x-mse-tag"], write=["x-mse-tag"])])
def test_a_direct_host_never_gets_a_mark(
    calls: Callable[..., Calls], stranger: ThreadingHTTPServer, routing: Routing | None
) -> None:
    """Not from the context, nor from what the user's own headers say; other baggage stays."""
    one = calls(routing=routing, unknown_service="direct")
    url = f"http://127.0.0.1:{stranger.server_port}/"
    headers = {"baggage": "a=b,rpcguard.lane=c2"}
    if routing is not None:
        headers["x-mse-tag"] = "c2"
    token = otel.attach(baggage.set_baggage("rpcguard.lane", "c2"))
    with rpcguard.lane("c2"):
        one.client.get(url)
        one.client.get(url, headers=headers)
        one.client.get(url, extensions={"rpcguard": {"lane": "c2"}})
    otel.detach(token)
    seen = stranger.seen  # type: ignore[attr-defined]
    assert len(seen) == 3
    assert not any("c2" in str(headers) for headers in seen)


def test_a_redirect_to_a_direct_host_takes_no_mark_along(
    calls: Callable[..., Calls], stranger: ThreadingHTTPServer
) -> None:
    """Whatever the request before it carried."""
    routing = Routing(read=["x-mse-tag"], write=["x-mse-tag"])
    one = calls(routing=routing, unknown_service="direct")
    url = f"http://127.0.0.1:{stranger.server_port}/"
    one.answers = lambda *_: http.Response(302, headers={"location": url})
    one.client.get("/", headers={"x-mse-tag": "c2"}, follow_redirects=True)
    assert one.sent[0][0] == "lane"
    (headers,) = stranger.seen  # type: ignore[attr-defined]
    assert "c2" not in str(headers)


# Lanes that are services


def test_a_lane_may_be_a_service_of_its_own(calls: Callable[..., Calls]) -> None:
    """As in Kubernetes; Host stays, and a name that does not exist keeps nobody waiting."""
    registry = Patient(orders=[NODES[0]], **{"orders-c2": [Node("10.0.0.9", 80, id="own")]})
    one = calls(registry, routing=Routing(lane_service="{service}-{lane}"))
    assert one.get(lane="c2") == "base", "not followed yet, and not waited for"
    registry.opened = True
    one.transport.wait_ready("orders-c2", timeout=20.0)
    response = one.client.get("/", extensions={"rpcguard": {"lane": "c2"}})
    assert response.text == "own"
    assert response.extensions["rpcguard"].service == "orders-c2"
    assert one.sent[-1][1]["host"] == "orders"
    assert one.sent[-1][1]["baggage"] == "rpcguard.lane=c2"
    assert one.get(lane="c9") == "base"
    assert one.get() == "base"


# Rules


def until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


CANARY = {"name": "canary", "when": {"header.x-tester": "*"}, "to": {"version": "2"}, "mark": "c2"}
TOML = """
[[routes]]
name = "canary"
mark = "c2"
[routes.when]
"header.x-tester" = "*"
"""


def test_rules_are_read_from_a_file_that_is_edited(
    calls: Callable[..., Calls], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Half written, a key unknown or twice, gone: the last rules stay, and it is told once."""
    file = tmp_path / "routes.json"
    file.write_text(json.dumps({"routes": [CANARY]}))
    one = calls(routing=Routing(source=f"file://{file}", required=True))
    one.transport.wait_ready("orders", timeout=20.0)
    assert one.get(headers={"x-tester": "alice"}) == "lane"
    with caplog.at_level(logging.WARNING, "rpcguard"):
        twice = f'{{"routes": [], "routes": {json.dumps([CANARY])}}}'
        unknown = json.dumps({"routes": [{**CANARY, "colour": "red"}]})
        for bad in ('{"routes": [', unknown, twice):
            file.write_text(bad)
            until(lambda: "last rules stay" in caplog.text)
            assert one.get(headers={"x-tester": "alice"}) == "lane"
            caplog.clear()
        file.unlink()
        until(lambda: "last rules stay" in caplog.text)
        caplog.clear()
    assert [view.name for view in one.transport.routes("orders")] == ["canary"]
    file.write_text('{"routes": []}')
    until(lambda: not one.transport.routes("orders"))
    assert one.get(headers={"x-tester": "alice"}) == "base"


def test_rules_may_be_toml_and_are_for_services_to_come(
    calls: Callable[..., Calls], tmp_path: Path
) -> None:
    """A service that is called later goes by the rules that are there."""
    file = tmp_path / "routes.toml"
    file.write_text(TOML)
    registry = Listing(orders=NODES, billing=NODES)
    one = calls(registry, routing=Routing(source=f"file://{file}", required=True))
    one.transport.wait_ready("orders", timeout=20.0)
    one.transport.wait_ready("billing", timeout=20.0)
    assert one.get("http://billing/", headers={"x-tester": "alice"}) == "lane"


def test_rules_may_stand_beside_the_list(calls: Callable[..., Calls], tmp_path: Path) -> None:
    """In the document of the registry; a document without rules has none."""
    file = tmp_path / "services.json"
    listed = {
        "orders": [
            {"host": "10.0.0.1", "port": 80, "id": "base", "version": "1"},
            {"host": "10.0.0.2", "port": 80, "id": "new", "version": "2"},
        ]
    }
    file.write_text(json.dumps({"services": listed, "routes": [CANARY]}))
    one = calls(f"file://{file}", routing=Routing(source="registry", required=True))
    one.transport.wait_ready("orders", timeout=20.0)
    assert one.get(headers={"x-tester": "alice"}) == "new"
    file.write_text(json.dumps({"services": listed}))
    until(lambda: not one.transport.routes("orders"))


def test_rules_beside_a_list_need_a_document() -> None:
    """A registry without documents has no room for them; the error says so."""
    for registry in ("static://10.0.0.1:80", Listing()):
        with pytest.raises(ValueError, match="must be beside a registry"):
            Transport(registry, routing=Routing(source="registry"))
    with pytest.raises(rpcguard.InvalidRegistryURL, match="names no file"):
        Transport("static://10.0.0.1:80", routing=Routing(source="file:///etc/"))


class Ruled(Listing):
    """A registry that has rules of its own; what it says next, or raises, can be changed."""

    said: Any = ()

    async def routes(self, service: str) -> Any:
        assert service in ("ORDERS", "SHOP")
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


def test_rules_of_a_registry_are_about_the_service_that_it_knows_by_another_name(
    calls: Callable[..., Calls],
) -> None:
    """Those of `xds://` name the service as it was asked for, which is no name that calls have."""
    registry = Ruled(SHOP=NODES)
    registry.said = [Route("canary", service="SHOP", when={"header.x-tester": "*"}, mark="c2")]
    routing = Routing(source="registry", required=True)
    one = calls(registry, routing=routing, names={"orders": "SHOP"})
    one.transport.wait_ready("orders", timeout=20.0)
    assert one.get(headers={"x-tester": "alice"}) == "lane"


def test_a_registry_may_have_rules_of_its_own(
    calls: Callable[..., Calls], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Asked by the name that it has for the service; what is refused or lost changes nothing."""
    monkeypatch.setattr("rpcguard._discovery.rule_sources._ASK_EVERY", 0.02)
    registry = Ruled(ORDERS=NODES)
    good = Route("canary", when={"header.x-tester": "*"}, mark="c2")
    registry.said = [good]
    routing = Routing(source="registry", required=True)
    one = calls(registry, routing=routing, names={"orders": "ORDERS"})
    one.transport.wait_ready("orders", timeout=20.0)
    assert one.get(headers={"x-tester": "alice"}) == "lane"

    def view() -> rpcguard.ServiceView:
        (service,) = one.transport.services()
        return service

    assert view().rules_age is not None
    assert view().rules_trouble is None
    with caplog.at_level(logging.WARNING, "rpcguard"):
        for bad, told in (
            ([Route("r", to={"id": "n"}, otherwise="fail")], "route 'r': otherwise"),
            ([good, good], "route 'canary': name"),
            (ValueError("tag 'x': match"), "tag 'x': match"),
            (rpcguard.RegistryError("gone"), "gone"),
            (KeyError("a defect of the registry"), "KeyError('a defect of the registry')"),
        ):
            registry.said = bad
            until(lambda told=told: told in (view().rules_trouble or ""))  # type: ignore[misc]
            assert one.get(headers={"x-tester": "alice"}) == "lane"
        until(lambda: caplog.text.count("the last rules stay") == 5)
    registry.said = []
    until(lambda: not one.transport.routes("orders"))
    assert view().rules_trouble is None


def test_rules_that_stay_refused_grow_old(calls: Callable[..., Calls], tmp_path: Path) -> None:
    """A file that is not read again, since it is the same, does not make its rules look fresh."""
    file = tmp_path / "routes.json"
    file.write_text(json.dumps({"routes": [CANARY]}))
    one = calls(routing=Routing(source=f"file://{file}", required=True))
    one.transport.wait_ready("orders", timeout=20.0)
    rules = one.transport._rules
    assert rules is not None
    file.write_text("{")
    until(lambda: rules.trouble("orders") is not None)
    first = rules.age("orders")
    until(lambda: (rules.age("orders") or 0.0) > (first or 0.0) + 20 * LOOK_EVERY)
    assert rules.trouble("orders") is not None


def test_rules_that_fail_calls_need_leave(
    calls: Callable[..., Calls], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever writes the file is not whoever wrote the program."""
    file = tmp_path / "routes.json"
    file.write_text(json.dumps({"routes": [{**CANARY, "otherwise": "fail"}]}))
    with caplog.at_level(logging.WARNING, "rpcguard"):
        one = calls(routing=Routing(source=f"file://{file}"))
        one.get()
        until(lambda: "may_fail" in caplog.text)
    assert one.transport.routes("orders") == []
    one = calls(routing=Routing(source=f"file://{file}", may_fail=True))
    one.get()
    until(lambda: one.transport.routes("orders"))


ETAG = '"caf\xe9"'
"""It may have bytes above 127, and goes back as it came."""


class RulesServer(BaseHTTPRequestHandler):
    """Serve rules with an ETag; what it is asked for is kept."""

    def do_GET(self) -> None:
        server: Any = self.server
        server.asked.append((self.path, self.headers.get("If-None-Match")))
        status, body = server.answer(self.path, self.headers.get("If-None-Match"))
        self.send_response(status)
        self.send_header("ETag", ETAG)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("path", ["/rules.json", "/rules/{service}"])
def test_rules_are_polled_from_a_url(
    calls: Callable[..., Calls], monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """With an ETag, for each service where the URL says so; 404 leaves the last rules in force."""
    monkeypatch.setattr("rpcguard._discovery.rule_sources._ASK_EVERY", 0.02)
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), RulesServer)
    server.asked, gone = [], threading.Event()

    def answer(_: str, etag: str | None) -> tuple[int, bytes]:
        if gone.is_set():
            return 404, b""
        return (304, b"") if etag else (200, json.dumps({"routes": [CANARY]}).encode())

    server.answer = answer
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        source = f"http://127.0.0.1:{server.server_port}{path}"
        one = calls(routing=Routing(source=source, required=True))
        one.transport.wait_ready("orders", timeout=20.0)
        assert one.get(headers={"x-tester": "alice"}) == "lane"
        expected = path.replace("{service}", "orders")
        until(lambda: (expected, ETAG) in server.asked)
        gone.set()
        asked = len(server.asked)
        until(lambda: len(server.asked) > asked + 2)
        assert one.get(headers={"x-tester": "alice"}) == "lane"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_url_that_is_gone_leaves_the_last_rules(
    calls: Callable[..., Calls], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told once, however often it is asked again, and that it is back."""
    monkeypatch.setattr("rpcguard._discovery.rule_sources._ASK_EVERY", 0.02)
    tries: list[bool] = []

    async def read(_: object) -> object:
        tries.append(True)
        if lost.is_set():
            raise ConnectionRefusedError("nobody listens")
        return {"routes": [CANARY]}

    lost = threading.Event()
    monkeypatch.setattr("rpcguard._discovery.rule_sources.DocumentURL.read", read)
    one = calls(routing=Routing(source="http://127.0.0.1:1/rules.json", required=True))
    one.transport.wait_ready("orders", timeout=20.0)
    with caplog.at_level(logging.INFO, "rpcguard"):
        lost.set()
        until(lambda: "nobody listens; the last rules stay" in caplog.text)
        asked = len(tries)
        until(lambda: len(tries) > asked + 5)
        assert one.get(headers={"x-tester": "alice"}) == "lane"
        assert caplog.text.count("the last rules stay") == 1
        lost.clear()
        until(lambda: one.transport.services()[0].rules_trouble is None)
    assert one.get(headers={"x-tester": "alice"}) == "lane"


def test_required_rules_that_do_not_come_are_waited_for(
    calls: Callable[..., Calls], tmp_path: Path
) -> None:
    """And the error says what is missing."""
    routing = Routing(source=f"file://{tmp_path}/none.json", required=True)
    one = calls(routing=routing)
    service = one.transport._service("orders")
    until(lambda: service.ready)
    with pytest.raises(rpcguard.RegistryError, match="no rules"):
        one.transport.wait_ready("orders", timeout=0.3)
    assert one.get() == "base"
