"""`rpcguard nodes URL` lists the services."""

from __future__ import annotations

import json

import pytest

from rpcguard import cli
from tests.support.calls import OK, Peer, unused_port
from tests.support.fixtures import make_node

__all__ = ["make_node"]


def told(capsys, *arguments: str) -> tuple[int, str, str]:
    """Run it; give its status and what it printed."""
    status = cli.main(["nodes", *arguments])
    out, err = capsys.readouterr()
    return status, out, err


def test_names_in_order(capsys, monkeypatch):
    """A line each, or JSON; without a URL, or with an empty one, it is that of the environment."""
    url = "static:///orders=10.0.0.1:80;Billing=10.0.0.2:80"
    assert told(capsys, url) == (0, "billing\norders\n", "")
    assert told(capsys, url, "--json") == (0, '["billing", "orders"]\n', "")
    monkeypatch.setenv("RPCGUARD_REGISTRY", url)
    assert told(capsys, "") == told(capsys) == (0, "billing\norders\n", "")


def test_a_document(capsys, tmp_path):
    """The names of a file are as it writes them, and what is wrong with it is told."""
    file = tmp_path / "services.json"
    file.write_text(json.dumps({"services": {"Orders": [], "a\x1b[2J": []}}))
    assert told(capsys, file.as_uri()) == (0, "Orders\na\\x1b[2J\n", "")
    file.write_text("{")
    status, _, said = told(capsys, file.as_uri())
    assert (status, str(file) in said) == (1, True)


def test_a_document_of_a_web_server(capsys, make_node):
    """One document for all is listed; a URL of one service cannot be."""
    body = json.dumps({"services": {"orders": []}}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    node = make_node(lambda peer: peer.serve(head + body))
    url = f"http://127.0.0.1:{node.port}/services.json"
    assert told(capsys, url) == (0, "orders\n", "")
    status, _, said = told(capsys, f"http://127.0.0.1:{node.port}/{{service}}")
    assert (status, "one service at a time" in said) == (1, True)


def test_a_status_page(capsys, make_node):
    """What a program has called so far; another page is told to be none."""
    body = json.dumps({"services": [{"name": "orders"}]}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    page = make_node(lambda peer: peer.serve(head + body))
    assert told(capsys, f"status+http://127.0.0.1:{page.port}/-/") == (0, "orders\n", "")
    other = make_node(lambda peer: peer.serve(OK))
    status, _, said = told(capsys, f"status+http://127.0.0.1:{other.port}/")
    assert (status, "is no status page" in said) == (1, True)


@pytest.mark.parametrize(
    ("url", "status", "said"),
    [
        ("static://10.0.0.1:80", 1, "of every service"),
        ("hosts://", 1, "hosts:// cannot list its services; give the name of one"),
        ("nope://x", 2, "no registry for the scheme"),
        (f"consul://127.0.0.1:{unused_port()}", 1, "refused"),
    ],
)
def test_where_there_are_none(capsys, url, status, said):
    """One line says why, and the status tells a wrong URL from a registry that fails."""
    got, out, err = told(capsys, url)
    assert (got, out) == (status, "")
    assert said in err


def test_a_registry_that_does_not_answer(capsys, make_node, monkeypatch):
    """It is given up in time."""
    monkeypatch.setattr("rpcguard._commands.nodes.names.READY_TIMEOUT", 0.2)
    silent = make_node(Peer.until_gone)
    status, _, said = told(capsys, f"consul://127.0.0.1:{silent.port}")
    assert (status, "has not answered in 0.2 s" in said) == (1, True)


@pytest.mark.parametrize("option", [("--watch",), ("--call", "/"), ("--ready-for", "1")])
def test_what_is_of_one_service(capsys, option):
    """Options of one service need its name."""
    status, _, said = told(capsys, "static:///a=h:1", *option)
    assert (status, "name a service" in said) == (2, True)


@pytest.mark.parametrize(
    ("command", "status"), [("nodes", 0), ("routes", 0), ("plan-release", 2), ("check", 1)]
)
def test_a_host_that_a_list_without_names_does_not_serve(capsys, command, status):
    """Each command tells the rule in one sentence, with the form that does serve it."""
    rule = "serves only hosts without a dot"
    assert cli.main([command, "static://127.0.0.1:1,127.0.0.1:2", "x.y"]) == status
    out, err = capsys.readouterr()
    told = err.splitlines()[0]
    assert told.startswith("note: over plain http")
    assert told.endswith("write static:///x.y=127.0.0.1:1,127.0.0.1:2")
    assert (rule in told, rule in out) == (True, command == "check")
    assert cli.main(["get", "http://x.y/", "--registry", "static://127.0.0.1:1"]) == 1
    assert rule in capsys.readouterr().err
    cli.main([command, "static:///x.y=127.0.0.1:1,127.0.0.1:2", "x.y"])
    assert rule not in str(capsys.readouterr())
