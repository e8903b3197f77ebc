"""What `import rpcguard` loads: noise cannot fool a list of modules."""

from __future__ import annotations

import json
import subprocess
import sys

import rpcguard

AT_ONCE = {"rpcguard", "rpcguard._public", "rpcguard._version", "rpcguard.errors"}
"""What every program that imports rpcguard has; all else waits until it is asked for."""
LOADED = """
import json, sys, httpx
before = set(sys.modules)
import rpcguard
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def loaded(then: str = "") -> set[str]:
    """Give what a fresh interpreter with httpx loads for `import rpcguard` and what follows."""
    program = LOADED.replace("import rpcguard\n", f"import rpcguard\n{then}\n")
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return set(json.loads(answer.stdout))


def test_importing_loads_the_errors_alone():
    """Neither what is slow nor what is not used: a program may never make a call."""
    assert loaded() == AT_ONCE


def test_a_policy_loads_no_transport():
    """Who only says what is wanted waits for nothing that makes calls."""
    names = loaded("rpcguard.RetryPolicy(attempts=3)")
    assert "rpcguard._core.policies.retry" in names
    assert not {"anyio", "asyncio", "opentelemetry", "rpcguard._transport"} & names


def test_every_public_name_is_there():
    """A name that is loaded late is found like the others, and an unknown one is not."""
    assert all(hasattr(rpcguard, name) for name in rpcguard.__all__)
    assert set(rpcguard.__all__) <= set(dir(rpcguard))
    assert not hasattr(rpcguard, "Transports")


def test_what_a_test_puts_into_a_place_stays():
    """A stand-in for a public name is not driven out by another name that is loaded later."""
    program = """
import rpcguard
rpcguard.Node  # whose file is loaded by then
rpcguard.Node = rpcguard.Route = "stand-in"
rpcguard.Snapshot, rpcguard.Guard
assert (rpcguard.Node, rpcguard.Route) == ("stand-in", "stand-in")
"""
    subprocess.run([sys.executable, "-c", program], check=True)
