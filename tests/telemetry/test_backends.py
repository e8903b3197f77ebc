"""The page docs/observability.md against real back-ends, and what it says against the source."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.docs.blocks import ROOT, blocks_of
from tests.support.require import require
from tests.support.servers.base import Server, free_ports
from tests.support.servers.grafana import GrafanaSchemas
from tests.support.servers.observability import Jaeger, Prometheus
from tests.support.telemetry import OK, UNAVAILABLE, Provider

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs/observability.md"
DASHBOARD = ROOT / "docs/grafana-dashboard.json"
PAUSE = "time.sleep(0.05)"
PATIENCE = 100  # a busy machine may be slow; a caller that has ended is not waited for
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
# Each tenth call is the caller's own fault; one fails for good, since both nodes are unwell.
SCRIPT = ([OK] * 9 + [NOT_FOUND]) * 4 + [UNAVAILABLE] + [OK] * 9


pytestmark = pytest.mark.timeout(3 * PATIENCE)


def blocks(language: str) -> dict[str, str]:
    """Give the titled blocks of the page in a language."""
    return {b.title: b.text for b in blocks_of(PAGE) if b.language == language and b.title}


def started(server: type[Server], *arguments: object) -> Server:
    if not server.available():
        reason = (
            f"no {server.name} here; get it with: python -m tests.support.servers get {server.name}"
        )
        if os.environ.get("RPCGUARD_REQUIRE_SERVERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    made = server(*arguments)
    made.start()
    return made


class Caller:
    """Run the page's caller until it waits for its reader, and count what it printed.

    It waits once before, in the midst of its calls, until it is told to `go_on`.
    """

    def __init__(self, directory: Path, jaeger: Jaeger, node: Provider, metrics_port: int) -> None:
        (dead,) = free_ports(1)
        for name, text in blocks("python").items():
            text = text.replace("9464", str(metrics_port)).replace("8001", str(dead))
            if name == "caller.py":
                assert PAUSE in text
                text = text.replace(PAUSE, f"input() if _ == 30 else {PAUSE}")
            (directory / name).write_text(text.replace("8002", str(node.port)))
        self.dead, self.node = dead, node.port
        self._process = subprocess.Popen(
            [sys.executable, "caller.py"],
            cwd=directory,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": jaeger.endpoint,
                "OTEL_BSP_SCHEDULE_DELAY": "200",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.calls: list[list[str]] = []
        self.waiting = threading.Event()
        threading.Thread(target=self._read).start()

    def _read(self) -> None:
        for line in self._process.stdout:
            status, *outcomes = line.split()
            self.calls.append([status, *outcomes])
            if len(self.calls) == 100:
                break
        self.waiting.set()

    def go_on(self) -> None:
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def close(self) -> None:
        self._process.communicate("\n", timeout=20)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Start the back-ends and the page's caller, and wait until it has made its calls."""
    jaeger = started(Jaeger, tmp_path_factory.mktemp("jaeger"))
    node = Provider(*SCRIPT)
    assert "127.0.0.1:9464" in blocks("yaml")["prometheus.yml"]
    (port,) = free_ports(1)
    prometheus = started(Prometheus, tmp_path_factory.mktemp("prometheus"), f"127.0.0.1:{port}")
    eventually(lambda: prometheus.query("up"))
    caller = Caller(tmp_path_factory.mktemp("caller"), jaeger, node, port)
    # A rate needs two scrapes that differ.
    eventually(lambda: prometheus.query("rpcguard_call_duration_seconds_count"))
    caller.go_on()
    assert caller.waiting.wait(PATIENCE)
    assert len(caller.calls) == 100, "it has ended early"
    yield jaeger, prometheus, caller
    caller.close()
    prometheus.stop()
    jaeger.kill()  # a graceful end takes it ten seconds
    node.close()


def eventually(condition):
    """Wait for what a back-end takes in, bounded; give what the condition gave."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)
    return found


def tags(span: dict) -> dict:
    return {tag["key"]: tag["value"] for tag in span["tags"]}


def test_jaeger_shows_a_retry_as_siblings(scene):
    """The trace with the retry has two attempts side by side under the caller's own span."""
    jaeger, _, caller = scene

    def retried():
        return [trace for trace in jaeger.traces("shop") if len(trace["spans"]) == 3]

    traces = eventually(retried)
    for trace in traces:
        outer, first, second = sorted(trace["spans"], key=lambda span: span["startTime"])
        assert outer["operationName"] == "checkout"
        for span in (first, second):
            (reference,) = span["references"]
            assert (reference["refType"], reference["spanID"]) == ("CHILD_OF", outer["spanID"])
            assert span["operationName"] == "GET"
            assert tags(span)["span.kind"] == "client"
            assert tags(span)["server.address"] == "orders"
        assert "http.request.resend_count" not in tags(first)
        assert tags(first)["error"] is True
        assert tags(second)["http.request.resend_count"] == 1
    dead = [
        t
        for t in traces
        if any(tags(s).get("network.peer.port") == caller.dead for s in t["spans"])
    ]
    assert dead, "the dead node was tried"
    first = min((s for s in dead[0]["spans"] if s["references"]), key=lambda s: s["startTime"])
    assert tags(first)["error.type"] == "httpx.ConnectError"


def answers(prometheus: Prometheus, expression: str) -> dict[tuple, float]:
    """Give the values of a query by the labels beside the service."""
    return {
        tuple(sorted((k, v) for k, v in one["metric"].items() if k != "server_address")): float(
            one["value"][1]
        )
        for one in prometheus.query(expression)
    }


def growth(prometheus: Prometheus, name: str) -> float:
    """Give how much a number of one series grew between the first scrape and the last."""
    (series,) = prometheus.query(f"{name}[5m]")
    values = [float(value) for _, value in series["values"]]
    return values[-1] - values[0]


def test_prometheus_gives_the_numbers_that_the_client_counted(scene):
    """The queries of the page give exactly what the caller itself saw."""
    _, prometheus, caller = scene
    queries = blocks("promql")
    calls, attempts = len(caller.calls), sum(len(outcomes) for _, *outcomes in caller.calls)
    again = [outcomes[0] for _, *outcomes in caller.calls if len(outcomes) > 1]
    eventually(lambda: answers(prometheus, queries["calls"]).get(()) == calls)
    assert answers(prometheus, queries["attempts"]) == {(): attempts}
    retries = answers(prometheus, queries["retries"])
    assert {key: value for key, value in retries.items() if value} == {
        (("rpcguard_retry_reason", outcome),): again.count(outcome) for outcome in set(again)
    }
    by_status = answers(
        prometheus,
        "sum by (http_response_status_code) (rpcguard_call_duration_seconds_count)",
    )
    statuses = [status for status, *_ in caller.calls]
    assert by_status == {
        (("http_response_status_code", status),): statuses.count(status) for status in set(statuses)
    }
    states = answers(prometheus, queries["nodes by state"])
    assert states[(("rpcguard_node_state", "ejected"),)] == 1
    assert sum(states.values()) == 2


def test_the_rates_of_the_page_are_right(scene):
    """Ratios over time agree with the caller's own count, as far as the scrapes allow."""
    _, prometheus, caller = scene
    queries = blocks("promql")
    eventually(lambda: answers(prometheus, queries["calls"]).get(()) == len(caller.calls))
    grown = [growth(prometheus, f"rpcguard_call_attempts_{part}") for part in ("sum", "count")]
    (told,) = answers(prometheus, queries["attempts per call"]).values()
    assert told == pytest.approx(grown[0] / grown[1], rel=0.1)
    all_calls = "sum by (le) (rpcguard_call_duration_seconds_bucket) == %d"
    bounds = [float(dict(key)["le"]) for key in answers(prometheus, all_calls % len(caller.calls))]
    (slowest,) = answers(prometheus, queries["99th percentile of a call"]).values()
    assert 0.0 < slowest <= min(bounds)
    (rate,) = answers(prometheus, queries["calls per second"]).values()
    assert rate > 0.0


@pytest.mark.parametrize("title", blocks("promql"))
def test_every_query_of_the_page_is_understood(scene, title):
    """Prometheus takes each query; an alert fires only where its reason is there."""
    _, prometheus, _ = scene
    found = prometheus.query(blocks("promql")[title])
    if title.startswith("alert"):
        assert found == []
    elif "would" in title:
        assert {one["value"][1] for one in found} == {"0"}
    elif "failed" not in title:
        assert found


def expressions() -> list[str]:
    board = json.loads(DASHBOARD.read_text())
    return [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]


@pytest.mark.parametrize("expression", expressions())
def test_every_query_of_the_dashboard_runs(scene, expression):
    """Each panel asks for a metric that the caller has, and gets an answer if there is any."""
    _, prometheus, caller = scene
    asked = expression.replace("$service", ".*").replace("$__rate_interval", "5m")
    eventually(lambda: answers(prometheus, blocks("promql")["calls"]).get(()) == len(caller.calls))
    found = prometheus.query(asked)
    quiet = (
        "rejected",
        "registry",
        "error_type!~",
        "rpcguard_group",
        "routed",
        "marks",
        "rules",
        "zone",
        "affinity",
        "hedges",
        "config",
    )
    assert found or any(name in expression for name in quiet)


def test_the_dashboard_can_be_imported():
    """The dashboard has ids, places on the grid that do not overlap, and its variables."""
    board = json.loads(DASHBOARD.read_text())
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    assert {variable["name"] for variable in board["templating"]["list"]} == {
        "datasource",
        "service",
    }


def test_the_dashboard_is_one_by_the_schemas_of_grafana():
    """Nothing is missing, unknown or of another type, in its panels and queries too."""
    require(GrafanaSchemas)
    assert GrafanaSchemas.faults(DASHBOARD) == []
    board = json.loads(DASHBOARD.read_text())
    board["panels"][0]["targets"][0]["expression"] = board["panels"][0]["targets"][0].pop("expr")
    faults = GrafanaSchemas.faults(json.dumps(board))
    assert any(fault.startswith("panels[0].targets[0].expr: required") for fault in faults)
    assert any("unexpected field" in fault for fault in faults)


def created() -> dict[str, tuple[str, str]]:
    """Give the kind and the unit of each metric of the source."""
    found = {}
    for node in ast.walk(ast.parse((ROOT / "rpcguard/_telemetry/metrics.py").read_text())):
        words = [
            argument.value
            for argument in (node.args if isinstance(node, ast.Call) else ())
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
        ]
        if isinstance(node, ast.Call) and len(words) >= 3:
            made = ast.unparse(node.func)
            kind = next((k for k in ("histogram", "gauge") if k in made), "counter")
            found[words[0]] = kind, words[1]
    return found


def prometheus_name(name: str) -> str:
    kind, unit = created()[name]
    seconds = "_seconds" if unit == "s" else ""
    return name.replace(".", "_") + seconds + ("_total" if kind == "counter" else "")


def test_the_page_has_every_metric():
    """The table of metrics is that of the source, with kinds and units."""
    rows = re.findall(r"^\| `([a-z_.]+)` \| (\w+), (\S+) \|", PAGE.read_text(), re.MULTILINE)
    assert {name: (kind, unit) for name, kind, unit in rows} == created()
    assert len(created()) == 20


def test_queries_ask_for_metrics_that_exist():
    """The page and the dashboard ask for no name that is not there, and for every one that is."""
    asked = "\n".join([*blocks("promql").values(), *expressions()])
    without_labels = re.sub(r"(?:by|ignoring) \([^)]*\)|\{[^}]*\}", "", asked)
    names = set(re.findall(r"\b(?:rpcguard|http_client)_\w+", without_labels))
    parts = {re.sub(r"_(count|sum|bucket)$", "", name) for name in names}
    assert parts == {prometheus_name(name) for name in created()}


def log_formats() -> list[str]:
    """Give the message of every log line of the package, the demo's aside."""
    found = []
    for path in sorted((ROOT / "rpcguard").rglob("*.py")):
        if "demo" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("logger."):
                words = [a.value for a in node.args if isinstance(a, ast.Constant)]
                found += [word for word in words if isinstance(word, str)]
    return found


@pytest.mark.parametrize("message", log_formats())
def test_the_page_has_every_log_line(message):
    """Each message of the source stands in the table, whatever stands for its parts."""
    wanted = ".*".join(re.escape(part) for part in re.split(r"%[sr]", message))
    assert re.search(rf"^\|.*`.*{wanted}.*`", PAGE.read_text(), re.MULTILINE), message


def test_prometheus_takes_the_alerts(tmp_path):
    """The rules file is loaded, and each rule is evaluated without an error."""
    rules = ROOT / "docs/prometheus-rules.yml"
    prometheus = started(Prometheus, tmp_path, "127.0.0.1:1", rules)
    try:
        groups = eventually(lambda: evaluated(prometheus))
        found = {rule["name"]: rule for group in groups for rule in group["rules"]}
        written = re.findall(r"alert: (\w+)", rules.read_text())
        assert sorted(found) == sorted(written)
        assert {rule["health"] for rule in found.values()} == {"ok"}
    finally:
        prometheus.stop()


def evaluated(prometheus: Prometheus) -> list[dict]:
    """Give the groups of rules once each has been evaluated."""
    groups = prometheus.rules()
    rules = [rule for group in groups for rule in group["rules"]]
    return groups if rules and all(rule["health"] != "unknown" for rule in rules) else []


def test_the_alerts_ask_for_metrics_that_exist():
    """Each name in the rules is one that the dashboard shows, too."""
    named = re.findall(r"rpcguard_\w+(?=[\[{ )])", (ROOT / "docs/prometheus-rules.yml").read_text())
    metrics = {name for name in named if not name.startswith("rpcguard_node_state")}
    assert len(metrics) >= 4
    shown = DASHBOARD.read_text()
    assert [name for name in sorted(metrics) if name not in shown] == []
