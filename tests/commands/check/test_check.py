"""`rpcguard check` goes the way of a call, names what is wrong and the way out."""

from __future__ import annotations

import contextlib
import json
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest

from rpcguard import cli
from rpcguard._commands.check.run import _ahead
from tests.support.calls import OK, Node, Peer, unhurriedly, unused_port
from tests.support.fixtures import authority, certified, make_node

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["authority", "certified", "make_node"]

Check = "Callable[..., tuple[int, list[str]]]"


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[str]]]:
    """Run the command on these nodes of `orders`."""

    def run(*nodes: Node | str, more: tuple[str, ...] = ()) -> tuple[int, list[str]]:
        listed = ",".join(n if isinstance(n, str) else f"{n.host}:{n.port}" for n in nodes)
        status = cli.main(["check", f"static:///orders={listed}", "orders", *more])
        return status, capsys.readouterr().out.splitlines()

    return run


def answering(status: str, *headers: str) -> Callable[[Peer], None]:
    """Answer everything with this status and these headers."""
    head = "\r\n".join([f"HTTP/1.1 {status}", "Content-Length: 0", *headers])
    return lambda peer: peer.serve(f"{head}\r\n\r\n".encode())


def only_by_address(peer: Peer) -> None:
    """Refuse any `Host` but the address, as Django does with names that it was not told."""
    while (seen := peer.request()) is not None:
        known = seen.headers["host"].startswith("127.0.0.1")
        peer.send(OK if known else b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def with_a_switch(peer: Peer) -> None:
    """Answer as an app does that `OfflineASGI` wraps and that is leaving."""
    while (seen := peer.request()) is not None:
        if "/-/rpcguard/offline" in seen.line:
            said = b"Content-Type: application/json\r\nX-RpcGuard-Offline: 1\r\n"
            peer.send(b"HTTP/1.1 401 No\r\n" + said + b"Content-Length: 0\r\n\r\n")
        else:
            peer.send(OK)


def test_a_service_that_is_well(check, make_node):
    """Each step has its line, and the status is 0."""
    node = make_node()
    status, lines = check(node, more=("--path", "/health"))
    where = f"127.0.0.1:{node.port}"
    assert status == 0
    assert lines[0].startswith("ok   registry  ")
    assert lines[1].startswith("ok   list      orders  1 node in ")
    assert f"ok   connect   {where}  connected, HTTP/1.1" in lines
    assert f"ok   answer    {where}  GET /health: 200" in lines
    assert lines[-1] == "nothing failed"
    assert {seen.line for seen in node.seen} == {
        "GET /health HTTP/1.1",
        "GET /-/rpcguard/offline HTTP/1.1",
    }


def test_what_refuses_and_what_has_no_name(check, make_node):
    """One dead node does not hide the others, and each error names the way out."""
    well, dead = make_node(), f"127.0.0.1:{unused_port()}"
    status, lines = check(well, dead, "nosuch.invalid:80")
    assert status == 1
    assert f"FAIL connect   {dead}  refused: nothing listens there; is its port right?" in lines
    assert any("nosuch.invalid:80  its name cannot be resolved here" in line for line in lines)
    assert any(line.startswith("ok   answer") for line in lines)
    assert lines[-1].startswith("2 of ")


def test_a_host_check_is_told_from_a_bad_request(check, make_node):
    """The same path is asked for by the node's address: only then it is the name that matters."""
    status, lines = check(make_node(only_by_address))
    told = next(line for line in lines if line.startswith("FAIL host"))
    assert status == 1
    assert "GET /: 400, but 200 where Host is 127.0.0.1" in told
    assert "ALLOWED_HOSTS" in told
    status, lines = check(make_node(answering("400 Bad Request")))
    assert status == 0
    assert any(line.startswith("warn answer") and "400" in line for line in lines)


def test_a_node_that_fails(check, make_node):
    """A 500 of the path is a failure of the check; a 404 may be a wrong path."""
    assert check(make_node(answering("500 Oh")))[0] == 1
    status, lines = check(make_node(answering("404 Nowhere")))
    assert status == 0
    assert any("is --path right?" in line for line in lines)


@pytest.mark.parametrize(("skew", "way"), [(90, "ahead of"), (-90, "behind")])
def test_clocks_that_differ(check, make_node, skew, way):
    """A `Date` that is a minute and a half off is told, with the direction."""
    date = f"Date: {formatdate(time.time() + skew, usegmt=True)}"
    status, lines = check(make_node(answering("200 OK", date)))
    assert status == 0
    assert any(line.startswith("warn clock") and way in line for line in lines)


@pytest.mark.parametrize("date", ["soon", None])
def test_clocks_that_agree_or_say_nothing(check, make_node, date):
    """Neither the right time nor a `Date` that cannot be read is news."""
    date = f"Date: {date or formatdate(usegmt=True)}"
    _, lines = check(make_node(answering("200 OK", date)))
    assert not any(line.startswith("warn") for line in lines)


@pytest.mark.parametrize(("told", "ahead"), [(99, -1), (100, 0), (130, 0), (160, 0), (170, 10)])
def test_an_answer_that_takes_long_makes_no_clock_wrong(told, ahead):
    """Its `Date` is of any moment between the question and the answer."""
    assert _ahead(formatdate(told, usegmt=True), 100.0, 160.0) == ahead


def test_the_offline_switch(check, make_node):
    """A node that leaves is told; where no switch answers, that is a note with the way to one."""
    _, lines = check(make_node(with_a_switch))
    assert any(line.startswith("warn offline") and "leaves" in line for line in lines)
    _, lines = check(make_node())
    assert any(line.startswith("note offline") and "OfflineASGI" in line for line in lines)


def test_a_certificate_that_nobody_trusts(check, make_node, certified):
    """TLS is told apart from TCP: the CA is missing, or the port is no https at all."""
    status, lines = check(make_node(tls=certified("orders")), more=("--https",))
    assert status == 1
    assert any(line.startswith("FAIL tls") and "SSL_CERT_FILE" in line for line in lines)
    plain = make_node(lambda peer: (peer.recv(), peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")))
    _, lines = check(plain, more=("--https",))
    assert any(line.startswith("FAIL tls") and "is this port https?" in line for line in lines)


def test_a_port_that_waits_for_another_protocol(check, make_node):
    """Who sends nothing to a ClientHello is told apart from who takes no connection."""

    def scenario(seconds: float) -> bool:
        more = ("--https", "--timeout", f"{seconds}")
        status, lines = check(make_node(Peer.until_gone), more=more)
        assert status == 1
        return any(line.startswith("FAIL tls") and "TCP stood" in line for line in lines)

    unhurriedly(scenario, 0.3)  # else there is no time to connect


def test_a_certificate_that_is_trusted(
    check, make_node, certified, authority, tmp_path, monkeypatch
):
    """The name that is proven is the service's, as in a call."""
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert check(make_node(tls=certified("orders")), more=("--https",))[0] == 0
    status, lines = check(make_node(tls=certified("billing")), more=("--https",))
    assert status == 1
    assert any("FAIL tls" in line and "service's name" in line for line in lines)


def test_a_node_that_hangs_or_speaks_something_else(check, make_node):
    """No answer in time, a reset and another protocol are three things."""

    def scenario(seconds: float) -> bool:
        status, lines = check(make_node(Peer.until_gone), more=("--timeout", f"{seconds}"))
        assert status == 1
        return any(line.startswith("FAIL answer") and "in time" in line for line in lines)

    unhurriedly(scenario, 0.2)  # else there is no time to connect
    _, lines = check(make_node(lambda peer: (peer.request(), peer.reset())))
    assert any(line.startswith("FAIL answer") and "reset" in line for line in lines)
    _, lines = check(make_node(lambda peer: peer.answer(b"220 mail.example ESMTP\r\n")))
    assert any(line.startswith("FAIL answer") and "no HTTP" in line for line in lines)


def test_a_registry_that_does_not_answer(capsys):
    """What follows it is not tried, and not called well."""
    url = f"consul://127.0.0.1:{unused_port()}"
    assert cli.main(["check", url, "orders"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("FAIL registry  orders")
    assert "refused" in lines[0]


def test_lists_without_a_node_that_takes_calls(capsys, tmp_path):
    """Unknown, empty and all draining are told apart."""
    file = tmp_path / "services.json"
    leaving = [{"host": "127.0.0.1", "port": unused_port(), "status": "draining"}]
    file.write_text(json.dumps({"services": {"orders": [], "billing": leaving}}))
    told = {}
    for service in ("orders", "ordres", "billing"):
        assert cli.main(["check", file.as_uri(), service]) == 1
        told[service] = capsys.readouterr().out
    assert "lists no node" in told["orders"]
    assert "does not know it; is the name right?" in told["ordres"]
    assert "none of 1 nodes takes calls" in told["billing"]


def test_json_and_wrong_usage(check, make_node, capsys):
    """The findings as data; a path without a slash is wrong usage."""
    status, lines = check(make_node(), more=("--json",))
    found = json.loads("\n".join(lines))
    assert status == 0
    assert [one["step"] for one in found] == ["registry", "list", "connect", "answer", "offline"]
    assert cli.main(["check", "static:///orders=h:1", "orders", "--path", "health"]) == 2
    assert "--path needs a path such as /health" in capsys.readouterr().err


def test_nodes_outside_of_the_allowed_networks_are_counted():
    """A list that a filter has emptied says so."""
    from rpcguard._commands.check.findings import of_list

    told = of_list("orders", "consul", [], refused=3)
    assert (told.grade, "allowed_networks" in told.text) == ("fail", True)


def without_end(peer: Peer) -> None:
    """Answer with a stream that goes on as long as somebody reads it."""
    while peer.request() is not None:
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 99)


def drop_by_drop(peer: Peer) -> None:
    """Send a head that has no end, each byte in time for the timeout of one read."""
    peer.request()
    with contextlib.suppress(OSError):
        peer.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            peer.sock.sendall(b"A: b\r\n")  # which ends it once nobody reads any more
            time.sleep(0.05)


def test_answers_that_have_no_end(check, make_node):
    """A stream of events is an answer; a head that drips is none, and is not waited for."""
    stream = make_node(without_end)
    status, lines = check(stream, more=("--path", "/events"))
    assert status == 0, lines
    assert f"ok   answer    127.0.0.1:{stream.port}  GET /events: 200" in lines

    def scenario(seconds: float) -> bool:
        status, lines = check(make_node(drop_by_drop), more=("--timeout", f"{seconds}"))
        assert status == 1
        return "its answer comes too slowly" in lines[2]

    unhurriedly(scenario, 0.3)  # else there is no time to connect, or between two drops


@pytest.mark.parametrize("path", ["/a\nb", "/\x1b[2J"])
def test_a_path_that_no_url_can_have(check, make_node, capsys, path):
    """One line, and wrong usage."""
    status = cli.main(["check", "static:///orders=127.0.0.1:1", "orders", "--path", path])
    assert status == 2
    said = capsys.readouterr().err
    assert said.startswith("rpcguard: Invalid")
    assert said.rstrip("\n").isprintable()
