"""Public things are of the path that they are imported by, wherever their file lies today."""

from __future__ import annotations

import dataclasses
import io
import math
import pickle
import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points

import httpx
import pytest

import rpcguard
import rpcguard.httpx2
import rpcguard.provider
import rpcguard.testing
from tests.support.rooms import ROOT
from tests.support.stage import Stage

OPEN = ("rpcguard", "rpcguard.httpx2", "rpcguard.provider", "rpcguard.testing")
"""The modules whose `__all__` is public."""

NODE = rpcguard.Node("10.0.0.1", 8080, metadata={"lane": "blue"}, zone="a")
ATTEMPT = rpcguard.Attempt(NODE, "200", 0.1)
ROUTE = rpcguard.Route("blue", when={"method": ["GET"]}, to={"lane": "blue"}, share=0.1)


def documented() -> set[str]:
    """Give each public name as a program spells it."""
    pages = "".join(page.read_text() for page in (ROOT / "docs/reference").glob("*.md"))
    names = set(re.findall(r"^::: (\S+)", pages, re.MULTILINE))
    for module in OPEN:
        names |= {f"{module}.{name}" for name in import_module(module).__all__}
    for entry in entry_points(group="rpcguard.registries"):
        if entry.value.startswith("rpcguard."):
            names.add(entry.value.removesuffix(".from_url").replace(":", "."))
    return names - {"rpcguard.__version__"}


@pytest.mark.parametrize("path", sorted(documented()))
def test_each_public_name_says_where_it_is_imported_from(path):
    """What tracebacks, reprs and pickles name is what the documentation does."""
    home, _, name = path.rpartition(".")
    found = getattr(import_module(home), name)
    assert (found.__module__, found.__qualname__) == (home, name)


HANDED_OUT = """
import {home}
transport = {home}.Transport("static://10.0.0.1:80")
transport.wait_ready("orders", timeout=30)
print(type(transport.nodes("orders")[0]).__module__)
transport.close()
"""


@pytest.mark.parametrize("home", ["rpcguard", "rpcguard.httpx2"])
def test_what_is_handed_out_has_its_public_path_before_its_name_was_used(home):
    """A program that never says `rpcguard.NodeView` may pickle one all the same."""
    answer = subprocess.run(
        [sys.executable, "-c", HANDED_OUT.format(home=home)],
        capture_output=True,
        check=True,
        text=True,
    )
    assert answer.stdout.strip() == "rpcguard"


def _values() -> dict[str, object]:
    stage = Stage(NODE)
    stage.call()
    view = dataclasses.replace(
        stage.view(NODE.id), connections=rpcguard.ConnectionCounts(1, 2, 3), latencies=(0.1, 0.2)
    )
    setting = rpcguard.Setting("retry.attempts", 2, "default")
    service = rpcguard.ServiceView("orders", "static", True, True, 1.0, None)
    route = rpcguard.RouteView("blue", "orders", 0.1, 0.1, None, 1.0, 1.0, 1, 1, None)
    picked = rpcguard.PickRecord(1.0, NODE.id, ((NODE.id, 0.0),), (), (("b", "gone"),), False)
    refused = rpcguard.Overloaded("too many", request=httpx.Request("GET", "http://orders/"))
    refused.service, refused.limit, refused.retry_after = "orders", "throttle", 1.0
    url = "static://10.0.0.1:80,10.0.0.2:80"
    static = rpcguard.registry_from_url(url)
    file = rpcguard.registry_from_url("file:///etc/services.json?interval=0.5")
    return {
        "node": NODE,
        "metadata": NODE.metadata,
        "snapshot": rpcguard.Snapshot([NODE], max_age=math.inf),
        "view": view,
        "counts": view.connections,
        "service": service,
        "setting": setting,
        "route view": route,
        "pick": picked,
        "attempt": ATTEMPT,
        "event": rpcguard.Event("ejected", "orders", NODE.id, "cannot connect", code="connect"),
        "call": rpcguard.CallInfo("orders", NODE, (ATTEMPT,), route="blue"),
        "route": ROUTE,
        "conditions": ROUTE.to,
        "routing": rpcguard.Routing(rules=[ROUTE], read=["x-mse-tag"]),
        "networks": rpcguard.MembershipPolicy(allowed_networks=["10.0.0.0/8"]),
        "overload": rpcguard.OverloadPolicy(throttle=rpcguard.Throttle(), adaptive=True),
        "refused": refused,
        "static": static,
        "file": file,
        **{kind.__name__: kind() for kind in _kinds() if _has_defaults(kind)},
        **{kind.__name__: _error(kind) for kind in _kinds() if issubclass(kind, Exception)},
        **{
            f"httpx2.{name}": _error(getattr(rpcguard.httpx2, name))
            for name in rpcguard.httpx2.__all__
            if not name.endswith("Transport")
        },
    }


def _kinds() -> list[type]:
    public = [getattr(rpcguard, name) for name in rpcguard.__all__]
    return [one for one in public if isinstance(one, type)]


def _has_defaults(kind: type) -> bool:
    if not dataclasses.is_dataclass(kind) or kind is rpcguard.Snapshot:
        return False
    given = (dataclasses.MISSING, dataclasses.MISSING)
    return all((one.default, one.default_factory) != given for one in dataclasses.fields(kind))


def _error(kind: type[Exception]) -> Exception:
    error = kind("service 'orders' has no node")
    error.add_note("rpcguard: attempt 1")
    return error


class Loading(pickle.Unpickler):
    """What notes each name that a pickle asks for."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self.asked: set[tuple[str, str]] = set()

    def find_class(self, module: str, name: str) -> object:
        self.asked.add((module, name))
        return super().find_class(module, name)


@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
@pytest.mark.parametrize("value", [pytest.param(one, id=name) for name, one in _values().items()])
def test_pickles_and_reprs_name_public_paths_only(value, protocol):
    """One that is written today can be read when the files have moved."""
    loading = Loading(pickle.dumps(value, protocol))
    twin = loading.load()
    ours = [name for name in loading.asked if name[0].startswith("rpcguard")]
    assert [name for name in ours if "._" in name[0]] == []
    if type(value).__eq__ is not object.__eq__:
        assert twin == value
    else:
        assert repr(twin).partition(" at 0x")[0] == repr(value).partition(" at 0x")[0]
    assert "._" not in repr(value)


REGISTRIES = [
    "http://10.0.0.1:1/nodes.json",
    "consul://10.0.0.1:1",
    "etcd://10.0.0.1:1",
    "xds+http://10.0.0.1:1",
    "nacos://10.0.0.1:1",
    "eureka+http://10.0.0.1:1/eureka",
    "polaris://10.0.0.1:1",
    "zookeeper://10.0.0.1:1",
    "kubernetes://shop?server=https://10.0.0.1:1&port=http",
]


def _living() -> dict[str, object]:
    return {
        **{url.partition(":")[0]: rpcguard.registry_from_url(url) for url in REGISTRIES},
        "live node": rpcguard.LiveNode(NODE, 0.0),
        **{
            name: getattr(rpcguard, name)()
            for name in ("LeastLoaded", "LeastRequests", "Random", "RoundRobin")
        },
        "manual clock": rpcguard.testing.ManualClock(),
        "scripted registry": rpcguard.testing.ScriptedRegistry(),
    }


# Of a counter Python 3.12 and 3.13 say that 3.14 will refuse it, before the lock beside it refuses.
@pytest.mark.filterwarnings("ignore:Pickle, copy:DeprecationWarning")
@pytest.mark.parametrize("value", [pytest.param(one, id=name) for name, one in _living().items()])
def test_what_is_of_one_process_is_not_pickled(value):
    """Connections, locks and what was learned of nodes mean nothing in another one."""
    with pytest.raises((TypeError, AttributeError), match=r"(?i)pickle"):
        pickle.dumps(value)
    assert "._" not in repr(value)


def test_each_public_class_is_in_one_of_the_two_lists():
    """A new one is looked at as well."""
    seen = {type(one) for one in [*_values().values(), *_living().values()]}
    never = {"AsyncTransport", "Transport", "StatusServer"}  # tests/behaviour/processes
    protocols = {"Balancer", "Registry"}
    protocols |= {f"{kind}Registry" for kind in ("Checking", "Listing", "Ruled", "Watchable")}
    contexts = {"detached", "lane"}
    assert {one.__name__ for one in _kinds()} - {one.__name__ for one in seen} <= (
        never | protocols | contexts
    )
