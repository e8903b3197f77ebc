"""Rules of Dubbo and Polaris read as routes: what they come to, and what refuses them all."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from rpcguard import Node, RegistryError, Route, Routing
from rpcguard.registries._rules.dubbo_conditions import ConditionRule, routes_of_conditions
from rpcguard.registries._rules.dubbo_rules import DubboService
from rpcguard.registries._rules.dubbo_tags import routes_of_tags
from rpcguard.registries._rules.polaris import routes_of_polaris
from rpcguard.registries._rules.yaml import mapping_from_yaml
from tests.support.foreign_rules import POLARIS_INBOUND, TAG_RULE
from tests.support.stage import Stage

INTERFACE = "org.apache.dubbo.demo.DemoService"


def tags(text: str) -> list[Route]:
    return routes_of_tags(text, name="t")


def conditions(*lines: str, head: str = "", caller: str | None = None) -> list[Route]:
    text = "\n".join([head, "conditions:", *(f"  - {line!r}" for line in lines)])
    rule = ConditionRule(name="c", text=text, interface=INTERFACE, caller=caller)
    return routes_of_conditions([rule])


def shown(route: Route) -> tuple[dict[str, Any], dict[str, Any], float, str | None]:
    when = {key: value for key, value in route.when.items() if key != "mark" or value}
    return when, dict(route.to), route.share, route.otherwise


# Tags


def test_a_tag_leads_its_calls_to_its_nodes_and_keeps_others_off():
    """As the console writes it, by a parameter of the nodes."""
    marked, kept = tags(TAG_RULE)
    assert shown(marked) == ({"mark": "gray"}, {"metadata.env": "gray"}, 1.0, "base")
    assert (kept.share, kept.to) == (0.0, marked.to)


@pytest.mark.parametrize(
    ("said", "to"),
    [
        ("addresses: [10.0.0.1, 10.0.0.2]", {"host": ("10.0.0.1", "10.0.0.2")}),
        ("addresses: ['10.0.0.1:80']", {"address": ("10.0.0.1:80",)}),
        ("addresses: ['[2001:db8::1]:80']", {"address": ("[2001:db8::1]:80",)}),
        ("addresses: ['2001:db8::1']", {"host": ("2001:db8::1",)}),
        ("addresses: ['*:80', '*:81']", {"port": ("80", "81")}),
        ("match: [{key: a, value: {wildcard: '*'}}]", {"metadata.a": "*"}),
        ("match: [{key: a, value: {wildcard: b}}]", {"metadata.a": "b"}),
        ("match: [{key: a, value: {noempty: noempty}}]", {"metadata.a": "*"}),
        (
            "match: [{key: a, value: {empty: empty}}, {key: b, value: {exact: '1'}}]",
            {"metadata.a": None, "metadata.b": "1"},
        ),
    ],
)
def test_the_nodes_of_a_tag(said, to):
    """Hosts, addresses, ports, and each kind of match that routes have too."""
    assert dict(tags(f"tags: [{{name: x, {said}}}]")[0].to) == to


def test_force_fails_calls_and_a_disabled_rule_does_nothing():
    """Both are flags of the whole rule, written as such or as a word."""
    assert tags(f"{TAG_RULE}force: 'true'\n".replace("force: false\n", ""))[0].otherwise == "fail"
    assert tags("enabled: false\ntags: [{name: x, addresses: ['10.0.0.*']}]") == []
    assert tags("") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tags: [{name: 'a|b', addresses: [10.0.0.1]}]", "tag 'a|b': name"),
        ("tags: [{name: x}]", "tag 'x': match"),
        ("tags: [{name: x, colour: red}]", "tag 'x': key"),
        ("tags: [{name: x, addresses: ['10.0.0.*']}]", "addresses .*not '10.0.0.*'"),
        ("tags: [{name: x, addresses: ['10.0.0.0/8']}]", "addresses"),
        ("tags: [{name: x, addresses: ['*:a']}]", "addresses"),
        ("tags: [{name: x, addresses: [10.0.0.1, '10.0.0.1:80']}]", "addresses"),
        ("tags: [{name: x, match: [{key: a, value: {regex: 'a+'}}]}]", "match 'a': regex"),
        ("tags: [{name: x, match: [{key: a, value: {prefix: b}}]}]", "match 'a': prefix"),
        ("tags: [{name: x, match: [{key: a, value: {exact: ''}}]}]", "match 'a': exact"),
        ("tags: [{name: x, match: [{key: a, value: {exact: a, empty: b}}]}]", "one kind"),
        ("tags: [{name: x, match: [{key: a, value: {}}]}]", "one kind"),
        ("tags: [{name: x, match: [{key: a}]}]", "match 'a' must be a mapping"),
        (
            "tags: [{name: x, match: [{key: a, value: {exact: b}}, {key: a, value: {exact: c}}]}]",
            "match key",
        ),
        ("tags: {name: x}", "tags must be a list"),
        ("force: perhaps", "force must be true or false"),
        ("colour: red", "key must be one of"),
        ("tags: &all [1]\nmore: *all", "alias"),
        ("force: true\nforce: false", "twice"),
        ("- a list", "a mapping is wanted"),
        ("1: a number", "a mapping is wanted"),
        ("tags: [", "no YAML"),
        ("tags: " + "[" * 2000, "no YAML"),
        ("tags: !!int ''", "no YAML"),
        ("tags: !!bool maybe", "no YAML"),
        ("tags: !!timestamp soon", "no YAML"),
        ("a" * 1_048_577, "more than 1048576"),
    ],
)
def test_a_tag_rule_that_cannot_be_routes_is_refused_as_a_whole(text, said):
    """The error names the rule, the field and the value."""
    with pytest.raises(ValueError, match=rf"(?s)^t: .*{said}|^t: {said}"):
        tags(text)


def test_yaml_is_an_extra(monkeypatch):
    """Without PyYAML there is no answer, and it says how to get one."""
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    with pytest.raises(RegistryError, match=r"rpcguard\[rules\]"):
        mapping_from_yaml("a: 1", name="t")


# Conditions


@pytest.mark.parametrize(
    ("line", "when", "to"),
    [
        (
            "method=sayHello => region=hangzhou",
            {"path": (f"/{INTERFACE}/sayHello",)},
            {"metadata.region": ("hangzhou",)},
        ),
        (
            "method = a,b & attachments[foo] = 1 => host = 10.0.0.1, 10.0.0.2",
            {"path": (f"/{INTERFACE}/a", f"/{INTERFACE}/b"), "header.foo": ("1",)},
            {"host": ("10.0.0.1", "10.0.0.2")},
        ),
        ("=> address=*:20880", {}, {"port": ("20880",)}),
        ("true => provider.region=*", {}, {"metadata.region": "*"}),
        (
            "attachments[dubbo.tag]=gray => env=gray",
            {"mark": ("gray",)},
            {"metadata.env": ("gray",)},
        ),
        (
            "attachments[foo]=* => a=b & c=d",
            {"header.foo": "*"},
            {"metadata.a": ("b",), "metadata.c": ("d",)},
        ),
        (f"interface={INTERFACE} => a=b", {}, {"metadata.a": ("b",)}),
        ("a=b", {}, {"metadata.a": ("b",)}),
    ],
)
def test_a_line_is_a_route(line, when, to):
    """What a call must have on the left, what a node must have on the right."""
    (route,) = conditions(line)
    assert shown(route) == (when, to, 1.0, "base")
    assert "mark" in route.when


def test_lines_about_other_callers_are_left_out():
    """Who calls is said in the registry's URL; what is not about it is no rule for it."""
    lines = ("application=shop => a=b", "application!=shop => a=c", "interface!=x => a=d")
    assert [dict(one.to) for one in conditions(lines[0], caller="shop")] == [{"metadata.a": ("b",)}]
    assert conditions(lines[1], caller="shop") == []
    assert conditions(lines[0], caller="web") == []
    assert conditions(f"interface!={INTERFACE} => a=d") == []


def test_a_blacklist_keeps_calls_off_its_nodes():
    """A node that is named after `!=` gets no call while others are there."""
    (route,) = conditions("=> host != 10.0.0.1")
    assert shown(route) == ({}, {"host": ("10.0.0.1",)}, 0.0, None)


def test_nothing_on_the_right_blocks():
    """It needs leave to fail, as `force` does."""
    (route,) = conditions("method=a =>")
    assert (route.to, route.otherwise) == ({"id": ""}, "fail")
    assert conditions("=> a=b", head="force: true")[0].otherwise == "fail"
    assert conditions("=> a=b", head="enabled: false") == []


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["host=10.0.0.9 => a=b"], "no call tells this"),
        (["arguments[0]=a => a=b"], "no call tells this"),
        (["application=shop => a=b"], "caller=NAME"),
        (["method!=a => a=b"], "c 1: method"),
        (["=> region=$region"], "not '\\$region'"),
        (["=> port=1~9"], "not '1~9'"),
        (["=> a=b*"], "not 'b\\*'"),
        (["=> a!=b & c!=d"], "alone, and for all calls"),
        (["method=a => host!=10.0.0.1"], "alone, and for all calls"),
        (["=> a!=b & c=d"], "alone, and for all calls"),
        (["=> a"], "a value for each key"),
        (["=> a=b & a=c"], "named once"),
        (["=> ,a"], "not understood"),
        (["=> a=b=c"], "not understood"),
        (["=> a=b", "=> c=d"], "both would have to hold"),
        (["method=a => a=b", "attachments[x]=1 => c=d"], "both would have to hold"),
    ],
)
def test_a_condition_rule_that_cannot_be_routes_is_refused_as_a_whole(lines, said):
    """Dubbo filters by all conditions where the first route wins: those that meet are refused."""
    with pytest.raises(ValueError, match=said):
        conditions(*lines)


@pytest.mark.parametrize(
    "line",
    [
        "&" * 200_000 + " => a=b",
        "=> a=b" + "&=!," * 50_000,
        "=> a=b" + "& " * 100_000,
        "=> a" + " " * 200_000 + "=b",
    ],
    ids=["separators", "kinds", "apart", "spaces"],
)
def test_a_line_of_any_length_is_read_in_one_go(line):
    """What is all separators was looked through from each of them, for minutes."""
    assert [dict(route.to) for route in conditions(line)] == [{"metadata.a": ("b",)}]


def test_more_conditions_than_there_may_be_are_not_compared():
    """A megabyte of lines are half a billion pairs."""
    with pytest.raises(ValueError, match="at most 1000"):
        conditions(*(f"method=m{number} => a=b" for number in range(5_000)))


def test_conditions_that_may_meet_are_found_whatever_they_are_about():
    """One has the value of an earlier one among its own, or says nothing of what that is about."""
    apart = [f"attachments[x]={number} => a=b" for number in range(3)]
    for last in ("attachments[x]=7,1 => a=c", "attachments[y]=1 => a=c", "=> a=c"):
        with pytest.raises(ValueError, match="may be about the same call"):
            conditions(*apart, last)
    both = "attachments[x]={} & attachments[y]={} => a=b"
    assert len(conditions(*(both.format(x, y) for x in "12" for y in "34"))) == 4
    with pytest.raises(ValueError, match=r"1' and '.* 5' may be"):
        conditions(*(both.format(x, y) for x in "12" for y in "34"), both.format(1, 3))


def test_conditions_that_never_meet_go_together():
    """Two methods, each with its nodes."""
    assert len(conditions("method=a => a=b", "method=b => a=c")) == 2


WEIGHTED = """
configVersion: v3.1
conditions:
  - from: {match: "attachments[x]=1"}
    to: [{match: "env=gray", weight: 1}, {match: "env=base", weight: 3}, {match: "env=c"}]
"""


def test_weights_are_shares():
    """A destination without a weight has 100, as one of 0 has."""
    found = routes_of_conditions([ConditionRule(name="c", text=WEIGHTED.replace("3}", "0}"))])
    assert [shown(one)[0] for one in found] == [{"header.x": ("1",)}] * 3
    assert [one.share for one in found] == [1 / 201, 100 / 201, 100 / 201]
    assert [one.name for one in found] == ["c 1.1", "c 1.2", "c 1.3"]
    assert {one.empty for one in found} == {"divided"}, "drawn among those that have nodes"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("weight: 1", "weight: many", "weight must be a whole number"),
        ("weight: 1", "colour: red", "c 1: to: key"),
        ("from: {match", "from: {colour", "c 1: from: key"),
        ("v3.1", "v3.2", "configVersion"),
        ("  - from", "  - disable: true\n    from", "c 1: key"),
    ],
)
def test_weights_that_are_none(old, new, said):
    """Unknown keys and versions are refused as well."""
    with pytest.raises(ValueError, match=said):
        routes_of_conditions([ConditionRule(name="c", text=WEIGHTED.replace(old, new))])


def staged(rules: list[Route], *envs: str) -> Stage:
    """Give a stage with a node of each `env`, named after it."""
    nodes = [Node("10.0.0.1", 80, id=one, metadata={"env": one}) for one in envs]
    return Stage(*nodes, routing=Routing(rules=rules))


def sent(rules: list[Route], *envs: str, mark: str | None = None, **headers: str) -> Counter[str]:
    """Count a hundred calls by the `env` of their nodes."""
    stage = staged(rules, *envs)
    return Counter(stage.end(stage.pick(ask=stage.ask(mark=mark, **headers))) for _ in range(100))


def test_calls_of_a_tag_have_its_nodes_to_themselves():
    """While others are listed, as there."""
    rules = tags(TAG_RULE)
    assert sent(rules, "gray", "base", mark="gray") == {"gray": 100}
    assert sent(rules, "gray", "base") == {"base": 100}
    assert sent(rules, "base", mark="gray") == {"base": 100}
    assert sent(rules, "gray") == {"gray": 100}


@pytest.mark.parametrize("head", ["force: false", "force: true"])
def test_a_blacklist_of_all_nodes_fails_nothing(head):
    """With `force` as without it: they are the least bad of what is there."""
    rules = conditions("=> env != a", head=head)
    assert sent(rules, "a", "b") == {"b": 100}
    assert sent(rules, "a") == {"a": 100}


@pytest.mark.parametrize("force", ["false", "true"])
def test_weights_send_calls_where_dubbo_sends_them(force):
    """It draws among the destinations that have nodes; a call of no condition may use any node."""
    text = f"force: {force}{WEIGHTED}".replace('env=c"}', 'env=c", weight: 4}')
    rules = routes_of_conditions([ConditionRule(name="c", text=text)])
    counts = sent(rules, "gray", "base", "c", "d", x="1")
    assert set(counts) == {"gray", "base", "c"}
    assert counts["c"] == pytest.approx(50, abs=1)
    counts = sent(rules, "gray", "base", "d", x="1")
    assert counts == {"gray": 25, "base": 75}
    assert sent(rules, "gray", "d", x="1") == {"gray": 100}
    assert set(sent(rules, "gray", "base", "c", "d")) == {"gray", "base", "c", "d"}
    if force == "false":
        assert sent(rules, "d", x="1") == {"d": 100}
    else:
        stage = staged(rules, "d")
        assert stage.service.pick(repeatable=True, ask=stage.ask(x="1")) is None


def test_a_weighted_condition_may_be_of_another_caller_or_block():
    """As a line may."""
    other = WEIGHTED.replace("attachments[x]=1", "application=web")
    assert routes_of_conditions([ConditionRule(name="c", text=other, caller="shop")]) == []
    (route,) = routes_of_conditions(
        [ConditionRule(name="c", text="configVersion: v3.1\nconditions: [{from: {}, to: []}]")]
    )
    assert (route.to, route.otherwise) == ({"id": ""}, "fail")


# Names


def test_the_names_under_which_rules_are_stored():
    """An application has two, an interface one of its own, the caller's application one more."""
    assert DubboService(application="orders").names == (
        "orders.tag-router",
        "orders.condition-router",
    )
    about = {"application": "orders", "interface": "a.B", "version": "1.0", "caller": "shop"}
    assert DubboService(**about).names == (
        "orders.tag-router",
        "a.B:1.0:.condition-router",
        "orders.condition-router",
        "shop.condition-router",
    )
    assert DubboService(application=None, interface="a.B").names == ("a.B::.condition-router",)


def test_all_rules_of_a_service_go_together():
    """Tags first; a condition of the caller's application that may meet another is refused."""
    asked = DubboService(application="orders", caller="shop")
    texts = {"orders.tag-router": TAG_RULE, "shop.condition-router": "conditions: ['=> a=b']"}
    assert [one.name for one in asked.routes(texts)] == [
        "orders.tag-router gray",
        "orders.tag-router gray, kept",
        "shop.condition-router 1",
    ]
    with pytest.raises(ValueError, match="both would have to hold"):
        asked.routes({**texts, "orders.condition-router": "conditions: ['=> c=d']"})


# Polaris


def polaris(*inbounds: Any, caller: str | None = None) -> list[Route]:
    rules = {"inbounds": list(inbounds)}
    return routes_of_polaris(rules, service="orders", namespace="default", caller=caller)


def inbound(sources: list[Any], *ends: dict[str, Any]) -> dict[str, Any]:
    return {"sources": sources, "destinations": [{"service": "orders", **end} for end in ends]}


def exact(value: object, **more: object) -> dict[str, object]:
    return {"type": "EXACT", "value": value, "value_type": "TEXT", **more}


def test_a_rule_as_the_server_gives_it():
    """A header of the call, a label of the nodes; calls with a mark go by lanes."""
    (route,) = polaris(POLARIS_INBOUND)
    assert route.name == "orders-gray.one.g 1.1"
    assert dict(route.when) == {"header.x-user": "alice", "mark": None}
    assert shown(route)[1:] == ({"metadata.env": "gray"}, 1.0, "base")


def test_facts_labels_and_weights():
    """Each place of a call, several values, the version, all nodes, and shares by weight."""
    when = {
        "$query.q": {"type": "IN", "value": "1,2", "value_type": "TEXT"},
        "$cookie.c": exact("3"),
        "$method": exact("GET"),
        "$path": exact("/a"),
        "own": exact("4"),
        "$header.any": exact("*"),
    }
    ends = [
        {"metadata": {"version": exact("2"), "any": exact("*")}, "weight": 1},
        {"weight": 3},
        {"weight": 0, "metadata": {"env": exact("none")}},
        {"weight": 9, "isolate": True},
    ]
    first, second = polaris(inbound([{"service": "*", "metadata": when}], *ends))
    assert shown(first) == (
        {
            "query.q": ("1", "2"),
            "cookie.c": "3",
            "method": "GET",
            "path": "/a",
            "option.own": "4",
        },
        {"version": "2"},
        0.25,
        "base",
    )
    assert shown(second)[1:] == ({"id": "*"}, 0.75, "base")


def test_the_first_rule_for_a_call_wins_and_callers_are_told_apart():
    """The same condition twice is one rule; another caller's is none, unless nobody says who."""
    to = {"metadata": {"env": exact("a")}}
    twice = inbound([{"service": "*"}, {"service": "*"}], to), inbound([], to)
    assert len(polaris(*twice)) == 1
    of_shop = inbound([{"service": "shop"}], to)
    assert len(polaris(of_shop, caller="shop")) == 1
    assert polaris(of_shop, caller="web") == []
    with pytest.raises(ValueError, match="caller=NAME"):
        polaris(of_shop)
    assert polaris({"destinations": [{"service": "billing"}]}) == []


def test_rules_that_change_places_keep_their_names():
    """So that what a service knows of them, such as the share they got, stays with them."""
    shop = {"metadata": {"$header.x-shop": exact("1")}}
    user = {"metadata": {"$header.x-user": exact("1")}}
    one = inbound([shop], {"name": "a", "metadata": {"env": exact("a")}})
    other = inbound([user, shop], {"name": "b", "metadata": {"env": exact("b")}})
    before, after = polaris(one, other), polaris(other, one)
    assert [route.name for route in before] == ["a 1.1", "b 1.1"]
    assert [route.name for route in after] == ["b 1.1", "b 2.1"]
    assert [route.to["metadata.env"] for route in before] == ["a", "b"]
    assert before[1] == after[0]


def test_calls_go_by_the_order_that_rules_have_now():
    """A rule that is moved up has the calls that both are about, and is measured on."""
    user = [{"metadata": {"$header.x-user": exact("1")}}]
    one = inbound(user, {"name": "a", "metadata": {"env": exact("a")}})
    other = inbound([{"service": "*"}], {"name": "b", "metadata": {"env": exact("b")}})
    nodes = [Node("10.0.0.1", 80, id=env, metadata={"env": env}) for env in "ab"]
    stage = Stage(*nodes, routing=Routing(rules=polaris(one, other)))
    assert stage.end(stage.pick(ask=stage.ask(**{"x-user": "1"}))) == "a"
    stage.service.go_by(polaris(other, one))
    assert stage.end(stage.pick(ask=stage.ask(**{"x-user": "1"}))) == "b"
    assert [view.measured for view in stage.service.routes()] == [1.0, 1.0]


@pytest.mark.parametrize("name", ["x" * 60 + ".y" * 60, "a\nb"])
def test_a_rule_of_any_name_is_a_route(name):
    """A rule's name has its group's and its service's in it, and refuses no other rule."""
    ends = [{"name": name, "metadata": {"env": exact(env)}, "weight": 1} for env in "ab"]
    first, second = polaris(inbound([], *ends))
    assert (first.name[-4:], second.name[-4:]) == (" 1.1", " 1.2")
    assert first.name[:1] == name[:1]
    assert polaris(inbound([], *ends)) == [first, second]
    found = routes_of_conditions([ConditionRule(name=name, text=WEIGHTED)])
    assert len({route.name for route in found}) == 3


@pytest.mark.parametrize(("namespace", "routes"), [("default", 1), ("*", 1), ("test", 0)])
def test_callers_of_another_namespace_have_rules_of_their_own(namespace, routes):
    """Those of the test environment are not for who calls in production."""
    source = {"service": "*", "namespace": namespace}
    assert len(polaris(inbound([source], {"metadata": {"env": exact("a")}}))) == routes


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (inbound([{"metadata": {"$caller_ip": exact("1")}}], {}), "key must be"),
        (inbound([{"metadata": {"a": exact("x", type="REGEX")}}], {}), "type must be"),
        (inbound([{"metadata": {"a": exact("x", value_type="VARIABLE")}}], {}), "value_type"),
        (inbound([{"metadata": {"a": exact("")}}], {}), "value must be"),
        (inbound([{"metadata": ["a"]}], {}), "an object is wanted"),
        (inbound([], {"metadata": {"a": "x"}}), "an object is wanted"),
        (inbound([], {"transfer": "elsewhere"}), "transfer"),
        (inbound([], {"priority": 0}, {"priority": 1}), "priority"),
        (inbound([], {"priority": [1]}, {}), "priority"),
        (inbound([], {"weight": "much"}), "weight"),
        (inbound([{"metadata": {"$path": exact("/v1/*")}}], {}), "path must be whole"),
        ("a rule", "an object is wanted"),
    ],
)
def test_a_rule_of_polaris_that_cannot_be_a_route_is_refused(rule, said):
    """With all others: what is left out would make another one wider."""
    with pytest.raises(ValueError, match=said):
        polaris(inbound([], {"metadata": {"env": exact("a")}}), rule)


def test_more_rules_of_polaris_than_there_may_be_are_not_compared():
    """Each is compared with those before it."""
    one = {"metadata": {"v": {"value": "1"}}}
    rules = [inbound([{"metadata": {"$query.q": {"value": str(n)}}}], one) for n in range(5_000)]
    with pytest.raises(ValueError, match="at most 1000"):
        polaris(*rules)
