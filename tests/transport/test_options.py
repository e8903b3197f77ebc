"""Options of another kind than wanted: told when the transport is made, by name."""

from __future__ import annotations

import pytest

import rpcguard
from rpcguard.testing import ScriptedRegistry
from tests.support.library import AsyncTransport, Transport

WRONG: dict[str, list[object]] = {
    "balancer": [rpcguard.LeastLoaded(), "least loaded"],
    "node_transport": [3, "http"],
    "registry": [3, object(), b"static://10.0.0.1:80", ScriptedRegistry],
    "retry": [3, {"attempts": 3}, rpcguard.EjectionPolicy()],
    "ejection": [3],
    "slow_start": [30.0],
    "offline": [3],
    "membership": [3],
    "drain_timeout": [None, "1", True, -1, float("nan"), float("inf")],
}


@pytest.mark.parametrize("kind", [Transport, AsyncTransport])
@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_an_option_of_another_kind_is_named(kind, name, value):
    """Whoever passes the wrong thing hears at once which, and what is wanted."""
    with pytest.raises(ValueError, match=f"^{name} must be .* not ") as caught:
        kind(**{"registry": "static://10.0.0.1:80", name: value})
    assert repr(value) in str(caught.value)


def test_an_instance_of_a_balancer_comes_with_the_remedy():
    """The ordinary slip, `LeastLoaded()` for `LeastLoaded`, is told as what it is."""
    with pytest.raises(ValueError, match=r"pass the class, LeastLoaded, not LeastLoaded\(\)"):
        Transport("static://10.0.0.1:80", balancer=rpcguard.LeastLoaded())  # type: ignore[arg-type]
