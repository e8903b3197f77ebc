"""What a transport is made of: code before environment, that before the file, then the defaults."""

from __future__ import annotations

import json
import os
import time

import pytest

from rpcguard import DeadlinePolicy, Overrides, RetryPolicy
from rpcguard._config.settings import ConfigFile, Setting
from rpcguard.testing import ScriptedRegistry
from tests.support.library import AsyncTransport, Transport, http

URL = "static://10.0.0.1:1"


@pytest.fixture
def file(tmp_path):
    """Write a configuration file; give its path."""

    def write(text: str, name: str = "rpcguard.toml") -> str:
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def sources(transport) -> dict[str, tuple[object, str]]:
    """Give what a transport goes by, each value with its source."""
    return {one.name: (one.value, one.source) for one in transport.settings()}


@pytest.mark.parametrize("kind", [Transport, AsyncTransport])
def test_code_goes_before_the_file_and_that_before_the_defaults(kind, file):
    """Option by option: a policy that code gives is taken as a whole."""
    path = file(
        "drain_timeout = 3\nhttp1 = true\n[retry]\nattempts = 5\n[slow_start]\nwindow = 9\n"
    )
    transport = kind(URL, config=path, retry=RetryPolicy(attempts=3), drain_timeout=10.0)
    found = sources(transport)
    assert found["retry.attempts"] == (3, "code")
    assert found["drain_timeout"] == (10.0, "code")
    assert found["slow_start.window"] == (9, "file")
    assert found["http1"] == (True, "file")
    assert found["ejection.consecutive"] == (5, "default")
    assert transport._policies.slow_start.window == 9


def test_the_environment_names_the_file(file, monkeypatch):
    """`RPCGUARD_CONFIG`, unless code says another or none."""
    monkeypatch.setenv("RPCGUARD_CONFIG", file("drain_timeout = 3"))
    other = file("drain_timeout = 4", "other.toml")
    for config, found in ((None, 3), (other, 4), (False, 10.0)):
        with Transport(URL, config=config) as transport:
            assert sources(transport)["drain_timeout"][0] == found


def test_a_registry_from_the_file(file, monkeypatch):
    """The file may name it; the environment goes before it, since it knows where a process runs."""
    path = file(f'registry = "{URL}"')
    monkeypatch.delenv("RPCGUARD_REGISTRY", raising=False)
    with Transport(config=path) as transport:
        assert sources(transport)["registry"] == (URL, "file")
    with Transport(ScriptedRegistry(), config=path) as transport:
        assert sources(transport)["registry"][1] == "code"
    monkeypatch.setenv("RPCGUARD_REGISTRY", "static://10.0.0.2:1")
    with Transport(config=path) as transport:
        assert sources(transport)["registry"] == ("static://10.0.0.2:1", "environment")
        transport.wait_ready("orders", timeout=20)
        assert [view.node.host for view in transport.nodes("orders")] == ["10.0.0.2"]


def test_json_says_the_same(file):
    """By its name; everything but `.toml` is JSON."""
    path = file(json.dumps({"retry": {"attempts": 5}}), "rpcguard.json")
    with Transport(URL, config=path) as transport:
        assert sources(transport)["retry.attempts"] == (5, "file")


def test_services_of_both_go_together(file):
    """Option by option for each service, code first."""
    path = file("[services.orders]\nretry = false\n[services.orders.deadline]\ntotal = 2\n")
    services = {"Orders": Overrides(deadline=DeadlinePolicy(total=1.0))}
    with Transport(URL, config=path, services=services) as transport:
        found = sources(transport)
        assert found["services.orders.retry.attempts"] == (1, "file")
        assert found["services.orders.deadline.total"] == (1.0, "code")
        assert transport._by_service.of("orders").retry.attempts == 1


def test_a_switch_goes_before_code(file):
    """What is switched in an incident is in force, whoever said otherwise."""
    path = file(
        '[[incident]]\nejection = "shadow"\nretry = false\nroutes = false\nhedge = false\n'
        '[[incident]]\nservice = "orders"\nout = ["a"]\n'
    )
    with Transport(URL, config=path, retry=RetryPolicy(attempts=3)) as transport:
        found = sources(transport)
    assert found["retry.attempts"] == (1, "switch")
    assert found["ejection.enforce"] == (False, "switch")
    assert found["routing.rules"] == ((), "switch")
    assert found["hedge"] == (False, "switch")
    assert found["services.orders.out"] == (("a",), "switch")


def test_a_file_with_a_fault_is_told_at_once(file, tmp_path):
    """A transport is not made of half a file: its path and its fault are in the sentence."""
    with pytest.raises(ValueError, match=r"^config .*rpcguard\.toml: retry: attempts must be"):
        Transport(URL, config=file("[retry]\nattempts = 0\n"))
    with pytest.raises(ValueError, match=r"^config .*rpcguard\.toml: cannot be read: .*line 1"):
        Transport(URL, config=file("[retry\n"))
    with pytest.raises(ValueError, match=r"^config .*missing\.toml: cannot be read: .*No such"):
        Transport(URL, config=tmp_path / "missing.toml")
    with pytest.raises(ValueError, match=r"^config must be the path of a TOML or JSON file"):
        Transport(URL, config=3)


def test_limits_are_those_of_the_library(file):
    """Httpx and httpx2 have a class each."""
    with Transport(URL, config=file("[limits]\nmax_connections = 7\n")) as transport:
        (limits,) = [one.value for one in transport.settings() if one.name == "limits"]
    assert limits == http.Limits(max_connections=7, keepalive_expiry=4.0)


def test_the_time_of_a_file_is_never_in_the_future(file):
    """A clock that was put back must not make a switch last for years."""
    path = file("[incident]\nretry = false\n")
    ahead = time.time() + 1e8
    os.utime(path, (ahead, ahead))
    (incident,) = ConfigFile(path, http.Limits).read().incidents
    assert incident.until < ahead


def test_no_file_is_not_an_empty_name(file):
    """A variable of the program that is not set must not mean that there are no options."""
    with pytest.raises(ValueError, match="config must be the path of a TOML or JSON file, or Fa"):
        Transport(URL, config="")


@pytest.mark.parametrize(
    "secret",
    [
        "consul://:hidden@10.0.0.1:8500",
        "consul://:hid/hidden@10.0.0.1:8500",
        "consul+https://hidden@10.0.0.1:8500",
        "https://rules.local/{service}?Access_Token=hid/hidden",
        "https://rules.local/{service}?password=hidden@x#y",
    ],
)
def test_no_setting_shows_a_secret(secret):
    """In whatever option a URL stands, and in a REPL as well as in a document."""
    for name in ("registry", "routing.source"):
        setting = Setting(name, secret, "code")
        assert "hid" not in repr(setting) + json.dumps(setting.as_dict())
        assert setting.value == secret
    assert "hid" not in repr(Setting("cert", ("a.pem", "b.pem", "hidden"), "code"))


def test_what_is_no_secret_is_shown():
    """Names of services may have signs of URLs."""
    plain = "static:///SHOP@@Orders=10.0.0.1:80?weight=2"
    assert Setting("registry", plain, "code").as_dict()["value"] == plain


def test_settings_are_plain_and_keep_secrets():
    """For `json.dumps`; who may see the options need not see the password of the registry."""
    options = {"registry": "http://me:hidden@10.0.0.1/{service}?token=hidden&a=1"}
    with Transport(**options, names={"a": "A"}, balancer=lambda: None) as transport:
        told = {one.name: one.as_dict()["value"] for one in transport.settings()}
    assert told["registry"] == "http://REDACTED@10.0.0.1/{service}?token=REDACTED&a=1"
    assert told["names"] == {"a": "A"}
    assert told["retry.statuses"] == [500, 502, 503, 504]
    assert "hidden" not in json.dumps(told)
