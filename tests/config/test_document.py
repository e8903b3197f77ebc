"""A configuration file as a document: the same checks and the same words as for code."""

from __future__ import annotations

import pytest

import rpcguard
from rpcguard import OverloadPolicy, Overrides, RetryPolicy, Route, Throttle
from rpcguard._config.document import ConfigDocument, read
from rpcguard._core.policies.bundle import OPTIONS, Policies
from rpcguard._core.policies.incidents import Incident
from tests.support.library import http


def understood(document: object) -> ConfigDocument:
    """Read a document as that of the file `f.toml`, written at the time 0."""
    return read(document, "f.toml", written_at=0.0, limits=http.Limits)


def test_an_empty_document_says_nothing():
    """All is as by default."""
    assert understood({}) == ConfigDocument()


def test_tables_are_policies():
    """What a table does not say has the policy's own default; a list is as good as a set."""
    found = understood(
        {
            "drain_timeout": 3,
            "retry": {"attempts": 3, "statuses": [503]},
            "overload": {"max_in_flight": 5, "throttle": {"ratio": 3}, "adaptive": True},
            "slow_start": False,
            "balancer": "RoundRobin",
            "limits": {"max_connections": 7},
        }
    )
    assert found.options == {
        "drain_timeout": 3,
        "retry": RetryPolicy(attempts=3, statuses=frozenset([503])),
        "overload": OverloadPolicy(max_in_flight=5, throttle=Throttle(ratio=3), adaptive=True),
        "slow_start": False,
        "balancer": rpcguard.RoundRobin,
        "limits": http.Limits(max_connections=7, keepalive_expiry=4.0),
    }
    assert {"retry.attempts", "overload.throttle.ratio"} < found.said


def test_each_policy_can_stand_in_a_file():
    """Every option of the table: as `false`, and as an empty table where it needs nothing."""
    for name in OPTIONS:
        assert Policies(**{name: understood({name: False}).options[name]}) == Policies(
            **{name: False}
        )
        assert understood({name: {}}).options[name] == OPTIONS[name].kind()


def test_services_and_incidents():
    """What one service has otherwise, by its name as URLs have it; switches in a table."""
    found = understood(
        {
            "services": {"Orders": {"retry": False, "deadline": {"total": 2}}},
            "incident": {"retry": False, "for": 60},
        }
    )
    deadline = rpcguard.DeadlinePolicy(total=2)
    assert found.services == {"orders": Overrides(retry=False, deadline=deadline)}
    assert found.incidents == (Incident(retry=False, until=60.0),)


def test_routes_may_stand_in_the_file():
    """As in a document of rules, with its checks."""
    rule = {"name": "canary", "share": 0.05, "to": {"version": "2"}}
    found = understood({"routing": {"rules": [rule]}})
    assert found.options["routing"].rules == (Route("canary", share=0.05, to={"version": "2"}),)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], r"it must be a table of options, not \[\]"),
        ({"retry": {"attempts": 0}}, "retry: attempts must be a whole number, 1 or more, not 0"),
        ({"retry": {"attemps": 3}}, "retry has no option 'attemps'; did you mean attempts"),
        ({"retry": 3}, "retry must be a table of fields, or false to switch it off; .*, not 3"),
        ({"retrry": {}}, r"it has no option 'retrry'; did you mean retry\?"),
        ({"retries": 3}, "it has no option 'retries': it is called retry here"),
        ({"on_event": "x"}, "on_event is an object of the program, and cannot stand in a file"),
        ({"drain_timeout": "1"}, "drain_timeout must be seconds, 0 or more, not '1'"),
        ({"http1": False}, "http1 must be true, or http2 with it"),
        ({"balancer": "Fastest"}, "balancer must be one of LeastLoaded, .*, not 'Fastest'"),
        ({"balancer": ["Random"]}, "balancer must be one of LeastLoaded"),
        ({"registry": 3}, "registry must be a URL such as consul://.*, not 3"),
        ({"limits": 10}, r"limits must be a table such as \{ max_connections = 50 \}, not 10"),
        ({"limits": {"most": 1}}, ".*most"),
        ({"services": {"orders": 3}}, "services must be a table of tables"),
        ({"services": {"orders": {"names": {}}}}, "services.orders has no option 'names'"),
        ({"services": {"orders": {"retry": {"attempts": 0}}}}, "services.orders.retry: attempts"),
        ({"services": {"orders": {"balancer": 3}}}, "services.orders.balancer must be one of"),
        ({"incident": {"retry": 0}}, "incident: retry must be false, to switch it off, not 0"),
        ({"overload": {"throttle": {"ratio": 0}}}, "overload: throttle: ratio must be 1 or more"),
        ({"routing": {"rules": [{"name": ""}]}}, "routing: route "),
    ],
)
def test_what_is_wrong_is_named(document, said):
    """The file, the key, the value and a right form, in one sentence."""
    with pytest.raises(ValueError, match=f"^config f.toml: {said}"):
        understood(document)


def test_a_service_stands_there_once():
    """Names of hosts know no case: of two tables one would be lost, and nobody could say which."""
    tables = {"Orders": {"retry": False}, "orders.": {"retry": {"attempts": 3}}}
    with pytest.raises(ValueError, match=r"services must be there once, and 'orders' is"):
        understood({"services": tables})
    with pytest.raises(ValueError, match="services must be by names of services, not ''"):
        understood({"services": {"": {}}})


def test_what_a_service_says_is_said_by_its_host_name():
    """As settings look for it."""
    assert "services.orders.retry" in understood({"services": {"Orders": {"retry": False}}}).said


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"max_conections": 10}, "limits has no option 'max_conections'; did you mean max_con"),
        ({"max_connections": "ten"}, "limits must be of the class Limits, of numbers, such as"),
        ({"max_connections": True}, "limits must be of the class Limits, of numbers, such as"),
        ({"keepalive_expiry": -1}, "limits must be of the class Limits, of numbers, such as"),
    ],
)
def test_limits_are_checked(table, said):
    """Libraries of clients take anything, and fail at the first call."""
    with pytest.raises(ValueError, match=said):
        understood({"limits": table})


@pytest.mark.parametrize("depth", [3, 100_000])
def test_a_fault_is_told_however_deep_it_lies(depth):
    """What cannot be gone through is refused as any other fault is."""
    deep: object = 1
    for _ in range(depth):
        deep = {"a": deep}
    with pytest.raises(ValueError, match=r"^config f\.toml: "):
        understood({"names": deep})


@pytest.mark.parametrize(
    "end", [{"for": 1e12}, {"for": 1e300}, {"until": "9999-12-31T23:59:59-12:00"}]
)
def test_a_switch_ends_at_a_date(end):
    """What is after the last date could not be told in the log."""
    with pytest.raises(ValueError, match="incident: its end must be a moment before the year 1"):
        understood({"incident": {"retry": False, **end}})
