"""A caller that nothing ails, in a real Prometheus: numbers, and the first event has a rate."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.docs.blocks import ROOT, blocks_of
from tests.support.calls import eventually
from tests.support.require import require
from tests.support.servers.base import free_ports
from tests.support.servers.observability import Prometheus
from tests.support.telemetry import OK, UNAVAILABLE, Provider

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 100.0  # seconds: a busy machine may be slow
CALLER = """
import sys

import httpx
import rpcguard
from telemetry import set_up

set_up("shop", metrics_port=int(sys.argv[1]))
orders, billing = sys.argv[2:]
transport = rpcguard.Transport(f"static:///orders={orders};billing={billing}")
with httpx.Client(transport=transport, base_url="http://orders") as client:
    transport.wait_ready("billing", timeout=20.0)
    for _ in range(3):
        client.get("/")
    for _ in sys.stdin:
        client.post("/")
"""
"""One service is called and well, one is known and was never called; then a call fails for good."""

pytestmark = pytest.mark.timeout(3 * PATIENCE)


class Scene:
    """A caller, and Prometheus, which looks at it each second and follows the alerts."""

    def __init__(self, prometheus: Prometheus, caller: subprocess.Popen[str]) -> None:
        self.prometheus, self._caller = prometheus, caller

    def values(self, expression: str) -> dict[tuple[str, ...], float]:
        """Give what an expression gives, by the values of its labels."""
        asked = expression.replace("$service", ".*").replace("$__rate_interval", "1m")
        found = self.prometheus.query(asked)
        return {tuple(sorted(o["metric"].values())): float(o["value"][1]) for o in found}

    def fail_once(self) -> None:
        """Let the caller make its call that fails."""
        assert self._caller.stdin is not None
        self._caller.stdin.write("\n")
        self._caller.stdin.flush()


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Iterator[Scene]:
    require(Prometheus)
    here = tmp_path_factory.mktemp("caller")
    page = {block.title: block.text for block in blocks_of(ROOT / "docs/observability.md")}
    (here / "telemetry.py").write_text(page["telemetry.py"])
    node, (port,) = Provider(OK, OK, OK, UNAVAILABLE), free_ports(1)
    caller = subprocess.Popen(
        [sys.executable, "-c", CALLER, str(port), node.id, node.id],
        cwd=here,
        env={**os.environ, "PYTHONPATH": f"{here}:{ROOT}", "OTEL_TRACES_SAMPLER": "always_off"},
        stdin=subprocess.PIPE,
        text=True,
    )
    rules = ROOT / "docs/prometheus-rules.yml"
    prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"), f"127.0.0.1:{port}", rules)
    prometheus.start()
    made = Scene(prometheus, caller)
    counted = 'count_over_time(rpcguard_panics_total{server_address="%s"}[1m]) > 3'
    for service in ("orders", "billing"):
        eventually(lambda: made.values(counted % service), "it is scraped", PATIENCE)  # noqa: B023
    yield made
    caller.communicate(timeout=20)
    prometheus.stop()
    node.close()


def panels() -> dict[str, list[str]]:
    """Give the queries of the dashboard by the title of their panel."""
    board = json.loads((ROOT / "docs/grafana-dashboard.json").read_text())
    return {one["title"]: [t["expr"] for t in one.get("targets", ())] for one in board["panels"]}


BOTH = {("billing",), ("orders",)}
WELL = {"Failed calls and attempts": 0.0, "Attempts per call": 1.0, "Panics": 0.0}


@pytest.mark.parametrize("title", WELL)
def test_a_ratio_is_a_number(scene, title):
    """For a service that is not called at the moment, and for one that never was."""
    for expression in panels()[title]:
        assert scene.values(expression) == dict.fromkeys(BOTH, WELL[title])


COUNTED = (
    "Retries per second",
    "Retries denied per second",
    "Ejections",
    "Offline signals",
    "Failures of the registry",
)


@pytest.mark.parametrize("title", COUNTED)
def test_a_counter_is_there_before_its_first_event(scene, title):
    """At 0, for each reason that is known before."""
    found = scene.values(panels()[title][0])
    assert len(found) >= 4
    assert set(found.values()) == {0.0}


def test_nothing_else_is_no_number(scene):
    """But durations, of which there are none without calls."""
    asked = [
        one for title, queries in panels().items() if "Duration" not in title for one in queries
    ]
    assert not any(math.isnan(value) for one in asked for value in scene.values(one).values())


def test_no_alert_fires_and_none_lacks_its_metric(scene):
    """What an alert compares is there, so that it is silent for a reason."""
    rules = [rule for group in scene.prometheus.rules() for rule in group["rules"]]
    assert {(rule["health"], rule["state"]) for rule in rules} == {("ok", "inactive")}
    compared = [rule["query"].rpartition(" > ")[0] for rule in rules]
    silent = [one for one in compared if "registry_age" not in one]  # a fixed list has no age
    assert len(silent) == 3
    for query in silent:
        assert {labels[-1] for labels in scene.values(query)} == {"billing", "orders"}


def test_the_first_event_has_an_increase(scene):
    """A counter that began with it would have none."""
    scene.fail_once()
    denied = 'increase(rpcguard_retries_denied_total{server_address="orders"}[1m]) > 0'

    def found() -> list[str]:
        return [one["metric"]["rpcguard_denial_reason"] for one in scene.prometheus.query(denied)]

    eventually(lambda: found() == ["not_idempotent"], "it comes", PATIENCE)
