"""The URL parser and the JSON parser that every registry stands on."""

from __future__ import annotations

import contextlib
import json
import logging
from importlib.metadata import EntryPoint, PackageNotFoundError
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpcguard._core.nodes.node import Node
from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard.errors import InvalidRegistryURL
from rpcguard.registries._shared.documents import json_from_bytes, services_from_json, snapshot_of
from rpcguard.registries._shared.faults import FaultLog
from rpcguard.registries._shared.nodes import nodes_from_json
from rpcguard.registries._shared.urls import parse_url
from rpcguard.registries.base import (
    GROUP,
    Registry,
    WatchableRegistry,
    entry_of,
    registry_from_url,
)
from rpcguard.registries.file import FileRegistry
from rpcguard.registries.http import HttpRegistry
from rpcguard.registries.static import StaticRegistry

EXAMPLE = "right://10.0.0.1:80"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from([*Node.__slots__, "unknown"])
near_nodes = st.fixed_dictionaries(
    {
        "host": st.sampled_from(["a", "A", "::1", "[::1]", "a:b", ""]) | json_values,
        "port": st.integers(),
    },
    optional={name: json_values for name in Node.__slots__ if name not in ("host", "port")},
)


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


# --- nodes from JSON


@given(json_values | st.lists(json_values | near_nodes | st.dictionaries(fields, json_values)))
def test_any_json_gives_nodes_or_a_value_error(entries: object) -> None:
    """Proves that no document crashes the parser with another error, and that nodes are usable."""
    try:
        nodes = nodes_from_json(entries, where="test")
    except ValueError:
        return
    assert len({node.id for node in nodes}) == len(nodes)
    for node in nodes:
        hash(node)
        assert 0 < node.port < 65536
        assert 0 <= node.weight < float("inf")
        f"{node.id}{node.zone}{node.version}{node.generation}".encode()


def test_all_fields_of_a_node_are_read() -> None:
    """Proves that each JSON field ends in the field of the same name and unknown ones in none."""
    entry = {
        "host": "A.Example",
        "port": 8080,
        "id": 7,
        "scheme": "https",
        "weight": 0,
        "status": "draining",
        "zone": "z1",
        "version": 2,
        "metadata": {"lane": 3},
        "started_at": 1700000000.5,
        "generation": 12,
        "priority": 1,
        "colour": "red",
    }
    (node,) = nodes_from_json([entry], where="test")
    assert node == Node(
        "a.example",
        8080,
        id="7",
        scheme="https",
        weight=0,
        status="draining",
        zone="z1",
        version="2",
        metadata={"lane": "3"},
        started_at=1700000000.5,
        generation=12,
        priority=1,
    )


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ('{"host": "a", "port": 0}', "port"),
        ('{"host": "a", "port": 65536}', "port"),
        ('{"host": "a", "port": "80"}', "port"),
        ('{"host": "a", "port": true}', "port"),
        ('{"host": "a"}', "port is missing"),
        ('{"port": 1}', "host is missing"),
        ('{"host": "", "port": 1}', "host"),
        ('{"host": "a:b", "port": 1}', "host"),
        ('{"host": "a/b", "port": 1}', "host"),
        ('{"host": ["a"], "port": 1}', "host"),
        ('{"host": "\\ud800", "port": 1}', "host"),
        ("[]", "a node must be an object"),
        ("null", "a node must be an object"),
    ],
)
def test_a_bad_node_is_left_out_with_one_warning(
    entry: str, complaint: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Proves that a bad node costs itself only, and one warning that says what is wrong."""
    good = {"host": "good", "port": 1}
    nodes = nodes_from_json([json.loads(entry), good], where="the file")
    assert [node.host for node in nodes] == ["good"]
    (warning,) = warnings_in(caplog)
    assert warning.startswith("the file: 1 bad nodes left out, first: ")
    assert complaint in warning


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("metadata", "[]"),
        ("weight", "-1"),
        ("weight", "NaN"),
        ("weight", "Infinity"),
        ("weight", "1" + "0" * 400),
        ("weight", '"heavy"'),
        ("started_at", "NaN"),
        ("started_at", '"yesterday"'),
        ("status", '"UP?"'),
        ("status", "[]"),
        ("zone", "{}"),
        ("zone", '"a\\nb"'),
        ("version", "[1]"),
        ("scheme", '"ftp"'),
        ("generation", "[]"),
        ("generation", "NaN"),
        ("priority", "-1"),
        ("priority", "1.5"),
        ("id", "{}"),
        ("id", '"' + "y" * 2000 + '"'),
    ],
)
def test_an_odd_field_costs_the_field_and_never_the_node(
    field: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What is not needed to call a node is ignored in another shape, with one warning."""
    entry = json.loads(f'{{"host": "a", "port": 1, "{field}": {value}}}')
    assert nodes_from_json([entry], where="the file") == [Node("a", 1)]
    (warning,) = warnings_in(caplog)
    assert warning.startswith(f"the file: 1 odd fields ignored, first: {field} must be ")
    assert len(warning) < 400


def test_half_a_surrogate_pair_costs_its_entry_alone() -> None:
    """What no log, header or file can hold is left out of the metadata."""
    entry = json.loads(
        r'{"host": "a", "port": 1, "metadata": {"k": "\udc00", "lane": 3, "no": null}}'
    )
    assert nodes_from_json([entry], where="test") == [Node("a", 1, metadata={"lane": "3"})]


def test_numbers_as_text_are_numbers() -> None:
    """An operator's weight of 0 drains a node, in quotes too; words count in any case."""
    entry = {"host": "a", "port": 1, "weight": "0", "priority": "2", "status": "DOWN"}
    (node,) = nodes_from_json([entry], where="test")
    assert (node.weight, node.priority, node.status) == (0, 2, "down")


def test_duplicates_and_bad_nodes_share_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Proves that the first of two nodes with one id counts and the warning comes once."""
    entries = [
        {"host": "A", "port": 1, "weight": 5},
        {"host": "a", "port": 1},
        {"host": "a", "port": 0},
        {"host": "b", "port": 1, "id": "a:1"},
    ]
    nodes = nodes_from_json(entries, where="test")
    assert nodes == [Node("a", 1, weight=5)]
    (warning,) = warnings_in(caplog)
    assert "3 bad nodes" in warning


def test_a_list_without_one_good_node_is_an_error_and_not_an_empty_list() -> None:
    """Proves that a broken list cannot pass for a service without nodes."""
    with pytest.raises(ValueError, match="none of 2 nodes"):
        nodes_from_json([{"host": "a", "port": 0}, 3], where="test")
    assert nodes_from_json([], where="test") == []


def test_a_long_value_does_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Proves that a warning is short, however long the bad value is."""
    nodes_from_json([{"host": "x" * 10_000, "port": 1}, {"host": "a", "port": 1}], where="test")
    assert len(warnings_in(caplog)[0]) < 300


def test_ipv6_hosts_are_read_with_and_without_brackets() -> None:
    """Proves that both spellings give the same node."""
    for host in ("[FD00::1]", "fd00::1"):
        (node,) = nodes_from_json([{"host": host, "port": 80}], where="test")
        assert (node.host, node.address) == ("fd00::1", "[fd00::1]:80")


def test_a_fault_is_warned_of_once_until_it_changes_or_is_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Proves that polling a broken source does not repeat the warning, and news are told."""
    faults = FaultLog()
    for fault in ("one", "one", "two", None, "two", "two"):
        faults.report("here", fault)
    faults.report("there", "two")
    assert warnings_in(caplog) == ["here: one", "here: two", "here: two", "there: two"]


@pytest.mark.parametrize(
    "document",
    [[], 3, None, {}, {"services": []}, {"services": {"orders": {}}}, {"services": {"orders": 1}}],
)
def test_a_document_of_another_shape_is_a_value_error(document: object) -> None:
    """Proves that wrong types are told apart from an unknown service."""
    with pytest.raises(ValueError, match="is wanted"):
        snapshot_of(services_from_json(document), "orders", where="test")


def test_services_are_found_in_any_case() -> None:
    """Proves that a lowered URL host finds the name as it is written; others are unknown."""
    document = {"services": {"Orders": [{"host": "a", "port": 1}], "broken": 3}}
    services = services_from_json(document)
    assert snapshot_of(services, "ORDERS", where="test").nodes == (Node("a", 1),)
    assert snapshot_of(services, "other", where="test") == Snapshot((), known=False)


@pytest.mark.parametrize("body", [b"[" * 200_000, b"\xff", b"", b'{"a": 1', b"1" * 5000])
def test_bytes_that_are_no_json_are_a_value_error(body: bytes) -> None:
    """Proves that deep nesting, bad UTF-8 and huge numbers are no other kind of error."""
    with pytest.raises(ValueError, match=r"."):
        json_from_bytes(body)


# --- URLs


@given(
    st.text()
    | st.builds("{}://{}".format, st.sampled_from(["static", "http", "x"]), st.text())
    | st.from_regex(r"[a-z]+://[a-z:@\[\],0-9.]*(/[a-z@=;,]*)?(\?[a-z=&,@]*)?", fullmatch=True)
)
def test_any_text_gives_a_url_or_the_right_error(url: str) -> None:
    """Proves that no text makes the URL parser or a built-in registry raise another error."""
    for make in (
        lambda: parse_url(url, example=EXAMPLE, default_port=1, options=("weight",)),
        lambda: StaticRegistry.from_url(url),
        lambda: FileRegistry.from_url(url),
        lambda: HttpRegistry.from_url(url),
        lambda: registry_from_url(url),
    ):
        with contextlib.suppress(InvalidRegistryURL):
            make()


def test_every_part_of_a_url_is_read() -> None:
    """Proves the split, the decoding of user and password, and the lowering of hosts."""
    url = parse_url(
        "Right://us%2Fer:p%40:w@H1:1,[FD00::2]:2,h3/a%20b?weight=1%2C2&zone=",
        example=EXAMPLE,
        default_port=9,
        options=("weight", "zone"),
    )
    assert url.scheme == "right"
    assert url.hosts == (("h1", 1), ("fd00::2", 2), ("h3", 9))
    assert (url.username, url.password) == ("us/er", "p@:w")
    assert url.path == "/a%20b"
    assert url.query == {"weight": "1,2", "zone": ""}
    assert url.raw_query == "weight=1%2C2&zone="
    for secret in ("us/er", "p@:w", "1,2"):
        assert secret not in repr(url)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("right://h:0", "not 1 to 65535"),
        ("right://h:65536", "not 1 to 65535"),
        ("right://h:123456", "is not host:port"),
        ("right://h", "has no port"),
        ("right://h:x", "is not host:port"),
        ("right://:80", "is not host:port"),
        ("right://[::1:80", "is not host:port"),
        ("right://[h]:80", "no IPv6"),
        ("right://[fe80::1%25eth0]:80", "no IPv6"),
        ("right://::1:80", "is not host:port"),
        ("right://h:80?colour=red", "unknown option 'colour', allowed are: weight"),
        ("right://h:80?weight=1&weight=2", "given twice"),
        ("right://h:80#part", "cannot be read"),
        ("right://h :80", "cannot be read"),
        ("right://h:80/\n", "cannot be read"),
        ("h:80", "cannot be read"),
        ("", "cannot be read"),
    ],
)
def test_a_wrong_url_says_which_part_and_shows_a_right_one(url: str, complaint: str) -> None:
    """Proves that the error names the part and ends with the example."""
    with pytest.raises(InvalidRegistryURL) as caught:
        parse_url(url, example=EXAMPLE, options=("weight",))
    assert complaint in str(caught.value)
    assert str(caught.value).endswith(f"a right one looks like {EXAMPLE}")


@pytest.mark.parametrize(
    "url",
    [
        "right://joe:sec/ret@h:80",
        "right://joe:1/secret@h:80",
        "right://joe:sec?ret@h:80",
        "right://joe:sec#ret@h:80",
        "right://joe:secret@h:x",
        "right://joe:secret@h:80?bad=1",
        "right://joe:sec ret@h:80",
        "right://joe:se@cret/@h:80",
        "right://joe:secret\u2100@[::1:80",
    ],
)
def test_an_error_never_repeats_user_or_password(url: str) -> None:
    """Proves that a password stays out of the message, its repr and the chain of causes."""
    with pytest.raises(InvalidRegistryURL) as caught:
        parse_url(url, example=EXAMPLE)
    error: BaseException | None = caught.value
    while error is not None:
        for part in ("joe", "sec", "cret", "ret@"):
            assert part not in str(error)
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize(("text", "number"), [("2.5", 2.5), ("1e1", 10.0)])
def test_a_number_option_is_read(text: str, number: float) -> None:
    """Proves that a good number is taken and a missing one is the default."""
    url = parse_url(f"right://h:1?weight={text}", example=EXAMPLE, options=("weight",))
    assert url.number("weight", 1.0) == number
    assert url.number("interval", 3.0) == 3.0


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "x"])
def test_a_number_option_out_of_range_is_an_error(text: str) -> None:
    """Proves that zero, negative, NaN, infinite and no numbers are refused."""
    url = parse_url(f"right://h:1?weight={text}", example=EXAMPLE, options=("weight",))
    with pytest.raises(InvalidRegistryURL, match="'weight' must be a number above 0"):
        url.number("weight", 1.0)


# --- finding a registry


@pytest.mark.parametrize(
    ("url", "kind", "watchable"),
    [
        ("static://a:1", StaticRegistry, False),
        ("file:///etc/services.json", FileRegistry, True),
        ("http://a/x", HttpRegistry, False),
        ("HTTPS://a/x", HttpRegistry, False),
    ],
)
def test_the_built_in_schemes_are_found(url: str, kind: type, watchable: bool) -> None:
    """Proves that entry points lead to the right class and that it keeps the protocol."""
    registry = registry_from_url(url)
    assert isinstance(registry, kind)
    assert isinstance(registry, Registry)
    assert isinstance(registry, WatchableRegistry) is watchable


def test_a_built_in_scheme_asks_no_other_package(monkeypatch) -> None:
    """Proves that a first transport waits for no other package, nor has its scheme taken by one."""
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: pytest.fail("all are asked"))
    assert isinstance(registry_from_url("static://a:1"), StaticRegistry)


def test_a_scheme_of_another_package_is_found(monkeypatch) -> None:
    """Proves that others are asked for what is not built in, installed or not."""
    theirs = EntryPoint("other", f"{__name__}:parse_url", GROUP)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [theirs])
    assert entry_of("other://a:1") is theirs

    def uninstalled(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.distribution", uninstalled)
    assert entry_of("other://a:1") is theirs


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("nothing", "has no scheme; a right one looks like static://"),
        ("file:/etc/x.json", "lacks slashes; did you mean file:///etc/x.json"),
        ("file:x.json", f"lacks slashes; did you mean {Path('x.json').absolute().as_uri()}"),
        ("consul:joe:s3cret@h", "lacks slashes; a right one begins with consul://$"),
        ("joe:s3cret@h", "has no scheme; a right one looks like static://10.0.0.1:8080$"),
        ("gopher://a:1", "'gopher'; known are: .*file.*static.*; a right one looks like static://"),
        ("eureka://a:1", "'eureka'; .*; did you mean eureka[+]http://[?]$"),
        ("Zookeper://a:1", "'Zookeper'; .*; did you mean zookeeper://[?]$"),
    ],
)
def test_an_unknown_scheme_names_the_known_ones(url: str, complaint: str) -> None:
    """Proves that the error helps to find the right scheme."""
    with pytest.raises(InvalidRegistryURL, match=complaint):
        registry_from_url(url)
