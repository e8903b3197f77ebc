"""`rpcguard nodes` and `rpcguard routes` beside a real control plane of xDS: go-control-plane."""

from __future__ import annotations

import json

import pytest

from rpcguard import cli
from tests.support.require import require
from tests.support.servers.control_plane import (
    GoControlPlane,
    cluster,
    endpoints,
    listener,
    route,
    routes,
)
from tests.support.servers.xds import lb_endpoint


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    """A control plane that knows `orders`: a header leads to v2, and so does a tenth."""
    require(GoControlPlane)
    server = GoControlPlane(tmp_path_factory.mktemp("plane"))
    server.start()
    tester = {"name": "x-user", "string_match": {"exact": "alice"}}
    named = {
        "v1": [
            {
                "locality": {"zone": "a"},
                "lb_endpoints": [
                    lb_endpoint("10.0.0.1", 80, load_balancing_weight=3),
                    lb_endpoint("10.0.0.2", 80, health_status="DRAINING"),
                ],
            }
        ],
        "v2": [{"lb_endpoints": [lb_endpoint("10.0.0.3", 80)]}],
    }
    for name, localities in named.items():
        server.put(cluster(name), endpoints(name, *localities))
    special = {**route("v2", prefix="/", headers=[tester]), "name": "testers"}
    special["route"] |= {"timeout": "2s", "retryPolicy": {"retryOn": "5xx", "numRetries": 2}}
    split = {**route({"v1": 90, "v2": 10}), "name": "split"}
    server.put(routes("table", "*", special, split), listener("orders", "table"))
    yield server
    server.stop()


@pytest.fixture
def run(plane, capsys):
    """Run a command beside the control plane; give its status and what it printed."""

    def run(command, *arguments, service="orders", query=""):
        url = f"xds://:{plane.token}@127.0.0.1:{plane.port}?timeout=20{query}"
        status = cli.main([command, url, service, *arguments])
        shown = capsys.readouterr()
        assert plane.token not in shown.out + shown.err
        return status, shown.out, shown.err

    return run


def test_nodes(run):
    """What the control plane says of each: status, weight, zone, and the clusters that have it."""
    status, out, _ = run("nodes", "--json")
    found = [
        (each["node"]["id"], each["state"], each["weight"], each["node"]["zone"])
        for each in json.loads(out)
    ]
    assert (status, found) == (
        0,
        [
            ("10.0.0.1:80", "available", 3.0, "a"),
            ("10.0.0.2:80", "draining", 1.0, "a"),
            ("10.0.0.3:80", "available", 1.0, None),
        ],
    )
    marks = [set(each["node"]["metadata"]) for each in json.loads(out)]
    assert marks == [{"xds:v1"}, {"xds:v1"}, {"xds:v2"}]
    status, out, _ = run("nodes")
    assert (status, [line.split()[0] for line in out.splitlines()[1:]]) == (
        0,
        ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"],
    )


def test_routes(run):
    """Where an ordinary call would go and one with a header, its nodes and its limits."""
    assert run("routes")[:2] == (
        0,
        "route split: v1: 90 % of such calls, to split: v1\n"
        "  10.0.0.1:80  zone a\n"
        "route split: v2: 10 % of such calls, to split: v2\n"
        "  10.0.0.3:80\n"
        "no route: the calls that are left, to base\n"
        "  10.0.0.1:80  zone a\n"
        "  10.0.0.3:80\n",
    )
    tester = ("--header", "x-user: alice")
    told = "route testers: 100 % of such calls, to testers{}\n  10.0.0.3:80\n"
    assert run("routes", *tester)[:2] == (0, told.format(""))
    limits = "; at most 2 s, 3 attempts"
    assert run("routes", *tester, query="&limits=on")[:2] == (0, told.format(limits))


@pytest.mark.parametrize("command", ["nodes", "routes"])
def test_an_unknown_service(run, command):
    """One line says so, and the status."""
    status, out, error = run(command, service="nothing")
    assert (status, out) == (1, "")
    assert error.startswith("rpcguard: service 'nothing' has no node")
    assert error.count("\n") == 1
