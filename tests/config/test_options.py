"""Options of another kind than wanted: told when the transport is made, by name."""

from __future__ import annotations

import inspect
import json
import sys

import pytest

import rpcguard
from rpcguard._config.options import SECRET
from rpcguard._core.policies.bundle import OPTIONS, Policies
from rpcguard.testing import ScriptedRegistry
from tests.support.library import AsyncTransport, Transport, http

WRONG: dict[str, list[object]] = {
    "balancer": [rpcguard.LeastLoaded(), "least loaded"],
    "node_transport": [3, "http"],
    "registry": [3, object(), b"static://10.0.0.1:80", ScriptedRegistry],
    "retry": [3, 0, "", True, {"attempts": 3}, rpcguard.EjectionPolicy()],
    "ejection": [3, 0],
    "slow_start": [30.0, 0],
    "offline": [3, {}],
    "membership": [3, ()],
    "routing": [0, [], "file:///routes.json"],
    "zone": ["a", 0],
    "deadline": [2.0, 0],
    "overload": [512, 0],
    "affinity": ["header.x-user", ""],
    "subset": [20, 0],
    "services": [3, ["orders"]],
    "unknown_service": ["ignore", ["direct"], True],
    "names": ["orders", {"orders": 3}, 0, {"orders": ""}],
    "verify": [None, 1, b"ca.pem"],
    "cert": [3, ("a.pem",), {"cert": "a.pem"}],
    "trust_env": ["no", 0, None],
    "http1": ["no", 1],
    "http2": ["yes", 0],
    "limits": [
        10,
        {"max_connections": 10},
        http.Limits(max_connections="ten"),  # type: ignore[arg-type]
        http.Limits(max_keepalive_connections=True),
        http.Limits(keepalive_expiry=-1.0),
    ],
    "local_address": [3, ("10.0.0.1", 0), "eth0", ""],
    "socket_options": [3, "nodelay", {1: 2}, [1, 2]],
    "tracer_provider": ["otlp"],
    "meter_provider": [3],
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
    assert name in ("registry", *SECRET) or repr(value) in str(caught.value)


WRONG_CERTS = [
    ("a.pem", "a.key", b"hidden"),
    {"cert": "a.pem", "password": "hidden"},
    ("a.pem", "a.key", "hidden", "more"),
    b"hidden",
]


@pytest.mark.parametrize("cert", WRONG_CERTS, ids=repr)
def test_what_may_hold_a_password_is_not_quoted(tmp_path, cert):
    """Neither in code nor in a file, whose faults are logged: the class tells enough."""
    with pytest.raises(
        ValueError, match=r"^cert must be .*, not a value of the class (tuple|dict|bytes)$"
    ) as caught:
        Transport("static://10.0.0.1:80", cert=cert)
    assert "hidden" not in str(caught.value)
    path = tmp_path / "rpcguard.json"
    path.write_text(json.dumps({"cert": ["a.pem", "a.key", {"password": "hidden"}]}))
    with pytest.raises(
        ValueError, match=r"cert must be .*, not a value of the class list$"
    ) as caught:
        Transport("static://10.0.0.1:80", config=path)
    assert "hidden" not in str(caught.value)


def test_a_registry_of_another_kind_is_not_quoted(tmp_path):
    """Its URL has a token, wherever it stands."""
    url = "consul://:hidden@10.0.0.1:8500"
    with pytest.raises(ValueError, match=r"^registry must be .*, not a value of the class list$"):
        Transport([url])  # type: ignore[arg-type]
    path = tmp_path / "rpcguard.json"
    for document in ({"registry": [url]}, [url]):
        path.write_text(json.dumps(document))
        with pytest.raises(ValueError, match=r"must be .*, not a value of the class list$"):
            Transport(config=path)


def test_an_instance_of_a_balancer_comes_with_the_remedy():
    """The ordinary slip, `LeastLoaded()` for `LeastLoaded`, is told as what it is."""
    with pytest.raises(ValueError, match=r"pass the class, LeastLoaded, not LeastLoaded\(\)"):
        Transport("static://10.0.0.1:80", balancer=rpcguard.LeastLoaded())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_false_switches_a_policy_off(name):
    """`False` is no default and no error: what the policy would do is not done."""
    policies = Policies(**{name: False})
    assert getattr(policies, name) == OPTIONS[name].off()
    Transport("static://10.0.0.1:80", **{name: False}).close()


def test_what_off_means():
    """One attempt, nothing ejected, no ramp, no signal heard, each list believed, no limit."""
    off = Policies(**dict.fromkeys(OPTIONS, False))
    assert off.retry.attempts == 1
    assert (off.ejection.enforce, off.offline.enforce) == (False, False)
    assert off.slow_start.ramp(0.0, 0) == 1.0
    assert (off.membership.shrink_hold, off.membership.empty_hold) == (0.0, 0.0)
    assert not off.overload
    assert [off.zone.zone, off.routing, off.deadline, off.affinity, off.subset] == [None] * 5


def test_a_zone_that_is_off_is_not_read_from_the_environment(monkeypatch):
    """`zone=False` is the word of the code, which goes before `RPCGUARD_ZONE`."""
    monkeypatch.setenv("RPCGUARD_ZONE", "a")
    for zone, found in ((None, "a"), (False, None)):
        with Transport("static://10.0.0.1:80", zone=zone) as transport:
            assert transport._policies.zone.zone == found


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("retries", r"called retry here, such as retry=RetryPolicy\(attempts=3\)"),
        ("ejections", r"did you mean ejection=EjectionPolicy\(consecutive=3\)\?"),
        ("drain_timout", r"did you mean drain_timeout\?"),
        ("timeout", r"option of the client: httpx.Client\(transport=transport, timeout=...\)"),
        ("zzz", "it has affinity, balancer, "),
    ],
)
def test_a_name_that_is_no_option_names_the_right_one(name, said):
    """As a call with a wrong keyword does it in Python, and with the way out."""
    with pytest.raises(TypeError, match=f"^Transport has no option '{name}'.*{said}"):
        Transport("static://10.0.0.1:80", **{name: 3})


def test_nothing_is_left_to_speak():
    """Neither HTTP/1.1 nor HTTP/2 is an error before the first call."""
    with pytest.raises(ValueError, match="http1 must be True, or http2 with it"):
        Transport("static://10.0.0.1:80", http1=False)


def test_http2_without_h2_says_what_to_install(monkeypatch):
    """At construction, by the name of the extra."""
    ours = ("rpcguard._connections.http2", "rpcguard._wire.h2")
    for name in [name for name in sys.modules if name.startswith(ours)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "h2", None)
    with pytest.raises(ImportError, match=r"pip install 'rpcguard\[http2\]'"):
        Transport("static://10.0.0.1:80", http2=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_files_of_certificates_are_named(tmp_path):
    """Which option it is, and which file; one that is there and of no use is told as that."""
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("nothing")
    url = "static://10.0.0.1:80"
    with pytest.raises(FileNotFoundError, match=r"for verify, which takes .*'nope\.pem'"):
        Transport(url, verify="nope.pem")
    with pytest.raises(FileNotFoundError, match=r"for cert, which takes .*'nope\.pem'"):
        Transport(url, cert=(str(garbage), "nope.pem"))
    with pytest.raises(OSError, match=r"cannot be loaded"):
        Transport(url, verify=str(garbage))


def test_the_signature_is_that_of_the_constructor():
    """Editors and help() show the options, although something looks at them before."""
    names = inspect.signature(Transport).parameters
    assert {"registry", "retry", "services", "meter_provider"} < set(names)
