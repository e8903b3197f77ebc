"""What `import rpcguard` loads: noise cannot fool a list of modules."""

from __future__ import annotations

import json
import subprocess
import sys

import rpcguard

SLOW = ("anyio", "asyncio", "httpcore", "importlib.metadata", "opentelemetry")
UNUSED = (
    *("cachetools", "rpcguard._config", "rpcguard._connections", "rpcguard._core.routing"),
    *("rpcguard._core.service.service", "rpcguard._discovery", "rpcguard._status"),
    *("rpcguard._telemetry", "rpcguard._transport", "rpcguard._wire", "rpcguard.registries._rules"),
)
"""What policies, values and balancers, which are there at once, have no use for."""
LOADED = """
import json, sys, httpx
before = set(sys.modules)
import rpcguard
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_importing_loads_nothing_slow():
    """What takes long to load waits until a transport is made."""
    answer = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, check=True)
    loaded = json.loads(answer.stdout)
    assert "rpcguard._core.nodes.node" in loaded
    assert not [name for name in SLOW if name in loaded]


def test_importing_loads_what_its_names_need():
    """Nor is anything loaded, quick or not, that only a transport uses."""
    answer = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, check=True)
    assert not set(json.loads(answer.stdout)) & set(UNUSED)


def test_every_public_name_is_there():
    """A name that is loaded late is found like the others, and an unknown one is not."""
    assert all(hasattr(rpcguard, name) for name in rpcguard.__all__)
    assert set(rpcguard.__all__) <= set(dir(rpcguard))
    assert not hasattr(rpcguard, "Transports")
