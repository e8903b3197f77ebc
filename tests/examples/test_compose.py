"""The example with Consul: its programs run here, and its files are what their readers take."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import httpx
import pytest
import yaml

from tests.docs.blocks import ROOT
from tests.support.require import require
from tests.support.servers.base import free_ports
from tests.support.servers.compose import Compose
from tests.support.servers.consul import Consul

if TYPE_CHECKING:
    from collections.abc import Iterator

COMPOSE = ROOT / "examples" / "compose"


@pytest.fixture
def consul(tmp_path) -> Iterator[Consul]:
    """Run a real Consul."""
    require(Consul)
    server = Consul(tmp_path)
    server.start()
    yield server
    server.stop()


def start(stack: ExitStack, program: str, **environment: str) -> subprocess.Popen[str]:
    """Start a program of the example; it is killed with the stack."""
    process = subprocess.Popen(
        [sys.executable, "-u", program],
        cwd=COMPOSE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "LINGER": "0.5", **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    stack.callback(process.communicate)
    stack.callback(process.kill)
    return process


def listed(consul: Consul) -> set[str]:
    """Give the ids of the nodes that Consul lists."""
    url = f"http://127.0.0.1:{consul.port}/v1/health/service/orders"
    entries = httpx.get(url, headers={"X-Consul-Token": consul.token}).json()
    return {entry["Service"]["ID"] for entry in entries}


@pytest.mark.timeout(120)
def test_a_release_of_the_providers_fails_no_call(consul):
    """Each of the three leaves and comes back while the caller calls; nothing fails."""
    with ExitStack() as stack:

        def provider(number: int, port: int) -> subprocess.Popen[str]:
            where = {"CONSUL": f"http://127.0.0.1:{consul.port}", "CONSUL_HTTP_TOKEN": consul.token}
            process = start(stack, "provider.py", NODE=f"n{number}", PORT=str(port), **where)
            while f"n{number}" not in listed(consul):
                assert process.poll() is None, "the provider has ended"
            return process

        nodes = [(number, port) for number, port in enumerate(free_ports(3), 1)]
        running = {number: provider(number, port) for number, port in nodes}
        registry = f"consul://:{consul.token}@127.0.0.1:{consul.port}"
        caller = start(stack, "caller.py", RPCGUARD_REGISTRY=registry)
        for number, port in nodes:
            assert caller.stdout.readline().startswith("calls ")
            running[number].send_signal(signal.SIGTERM)
            assert running[number].wait(20) == 0
            assert f"n{number}" not in listed(consul)
            running[number] = provider(number, port)
        lines = [caller.stdout.readline() for _ in range(2)]
        assert all(", failed 0, " in line for line in lines), lines


def test_compose_takes_it(tmp_path):
    """By the loader of `docker compose config`: its schema, anchors, names; a slip is refused."""
    require(Compose)
    services = Compose.config(COMPOSE / "compose.yaml")["services"]
    orders = [services.pop(f"orders-{number}") for number in (1, 2, 3)]
    assert [one.pop("hostname") for one in orders] == ["orders-1", "orders-2", "orders-3"]
    assert orders[0] == orders[1] == orders[2]
    assert orders[0]["command"] == ["python", "provider.py"]
    assert set(services) == {"consul", "caller", "prometheus", "grafana"}
    slip = tmp_path / "compose.yaml"
    text = (COMPOSE / "compose.yaml").read_text()
    slip.write_text(text.replace("stop_grace_period:", "stop_grace:"))
    with pytest.raises(ValueError, match="stop_grace"):
        Compose.config(slip)


def test_what_is_mounted_is_there():
    """Each file that a container is given stands in the source."""
    document = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    mounts = [m for one in document["services"].values() for m in one.get("volumes", ())]
    assert len(mounts) == 5
    for mount in mounts:
        assert (COMPOSE / mount.partition(":")[0]).is_file(), mount
    for one in document["services"].values():
        assert set(one.get("depends_on", ())) <= set(document["services"])
        assert "image" in one or (COMPOSE / one["build"] / "Dockerfile").is_file()


def test_the_image_has_what_it_runs():
    """The programs that the image starts are those that it copies."""
    dockerfile = (COMPOSE / "Dockerfile").read_text()
    document = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    started = {one["command"][-1] for one in document["services"].values() if "build" in one}
    assert started == {"provider.py", "caller.py"}
    assert all(name in dockerfile for name in started)
