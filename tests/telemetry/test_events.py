"""What happens is told: to `on_event`, and to the log with fields."""

from __future__ import annotations

import logging
import threading

import pytest

import rpcguard
from rpcguard import Event, Node
from rpcguard._core.service.effects import carry_out
from rpcguard._telemetry.hooks import hooks
from rpcguard.testing import ScriptedRegistry
from tests.support.calls import eventually
from tests.support.library import Transport, http
from tests.support.programs import check_quiet, run_python

NODES = [Node("10.0.0.1", 1, id="a"), Node("10.0.0.2", 1, id="b")]


def made(answer=lambda _: http.Response(200), **options):
    """Give a client, its transport, and the registry that it has."""
    registry = ScriptedRegistry()
    registry.set("orders", NODES)
    transport = Transport(registry, node_transport=lambda _: http.MockTransport(answer), **options)
    return http.Client(transport=transport, base_url="http://orders"), transport, registry


def test_a_retry_is_an_event_and_one_line(caplog):
    """INFO, with the fields for machines; a call that is answered at once says nothing."""
    caplog.set_level(logging.INFO, "rpcguard")
    told: list[Event] = []
    answers = iter([503, 200, 200])
    client, *_ = made(lambda _: http.Response(next(answers)), on_event=told.append)
    with client:
        client.get("/")
        client.get("/")
    (retry,) = [event for event in told if event.kind == "retry"]
    assert (retry.service, retry.code) == ("orders", "503")
    (line,) = [record for record in caplog.records if " retry: " in record.getMessage()]
    other = {"a": "b", "b": "a"}[retry.node]
    assert line.getMessage() == f"service orders: node {retry.node} retry: 503, now on {other}"
    assert (line.levelname, line.service, line.node) == ("INFO", "orders", retry.node)


def test_a_denial_is_an_event_and_no_line_above_debug(caplog):
    """An overloaded service would fill the log; its reason is a word of few."""
    caplog.set_level(logging.INFO, "rpcguard")
    told: list[Event] = []
    client, *_ = made(lambda _: http.Response(503), on_event=told.append)
    with client:
        client.post("/")
    assert [(event.kind, event.code) for event in told if event.kind != "changed"] == [
        ("denied", "not_idempotent")
    ]
    assert "denied" not in caplog.text


def test_what_happens_to_the_list_is_told():
    """The list, marks and their end, with who and why."""
    told: list[Event] = []
    client, transport, _ = made(on_event=told.append)
    with client:
        client.get("/")
        eventually(lambda: told, "the list is not told")  # by the thread that looked it up
        transport.mark_offline("orders", "a")
        transport.mark_online("orders", "a")
    assert [(event.kind, event.node) for event in told] == [
        ("changed", None),
        ("offline", "a"),
        ("restored", "a"),
    ]


def test_a_listener_that_raises_costs_nothing(caplog, monkeypatch):
    """Neither the call nor the next event; the log says what it raised."""
    monkeypatch.setattr(hooks, "_warn_again", 0.0)  # it is said once a minute
    told: list[str] = []

    def listener(event: Event) -> None:
        told.append(event.kind)
        raise RuntimeError("a defect of the listener")

    answers = iter([503, 200])
    client, transport, _ = made(lambda _: http.Response(next(answers)), on_event=listener)
    with client:
        transport.wait_ready("orders", timeout=20)
        eventually(lambda: told, "the list is not told")  # by the thread that looked it up
        assert client.get("/").status_code == 200
    assert told == ["changed", "retry"]
    assert "telemetry failed, and the call went on" in caplog.text


def test_no_lock_is_held_while_it_is_told():
    """Another thread can ask the transport for anything while the listener waits for it."""
    seen: list[object] = []

    def listener(event: Event) -> None:
        if event.kind == "retry":
            other = threading.Thread(target=lambda: seen.append(transport.nodes("orders")))
            other.start()
            other.join(timeout=30.0)
            seen.append(other.is_alive())

    answers = iter([503, 200])
    client, transport, _ = made(lambda _: http.Response(next(answers)), on_event=listener)
    with client:
        client.get("/")
    assert len(seen) == 2
    assert seen[1] is False


@pytest.fixture
def full_disk(monkeypatch) -> None:
    """Let each line of the log fail, and nothing of that be printed."""

    class Broken(logging.Handler):
        def emit(self, record):
            raise OSError("disk full")

    handler, log = Broken(), logging.getLogger("rpcguard")
    monkeypatch.setattr(logging, "raiseExceptions", False)
    log.setLevel(logging.DEBUG)
    log.addHandler(handler)
    yield
    log.removeHandler(handler)
    log.setLevel(logging.NOTSET)


def test_a_handler_of_the_log_that_raises_costs_no_retry(full_disk):
    """The call goes on to the next node; what the handler raised is printed as logging does it."""
    answers = iter([503, 200])
    client, *_ = made(lambda _: http.Response(next(answers)))
    with client:
        assert client.get("/").status_code == 200


def test_a_judge_that_raises_costs_nothing_where_the_log_does_too(full_disk):
    """Neither of the two is the caller's: the answer of the node is handed out."""

    def judge(_: object) -> bool:
        raise LookupError("a fault of the judge")

    client, *_ = made(lambda _: http.Response(200), retry=rpcguard.RetryPolicy(judge=judge))
    with client:
        assert client.get("/").status_code == 200


def test_a_list_is_followed_though_the_log_cannot_be_written(full_disk):
    """A registry that fails is written down, and what it says afterwards is taken."""
    client, transport, registry = made()
    with client:
        assert client.get("/").status_code == 200
        registry.fail("orders")
        eventually(lambda: transport.services()[0].trouble, "the failure is not noticed")
        registry.set("orders", [*NODES, Node("10.0.0.3", 1, id="c")])
        eventually(lambda: len(transport.nodes("orders")) == 3, "the list is not followed")
        eventually(lambda: not transport.services()[0].trouble, "the trouble has no end")


def test_an_interrupt_is_given_back():
    """An effect that fails is none of the caller's; Ctrl-C is."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    assert isinstance(carry_out(interrupted), KeyboardInterrupt)
    assert carry_out(lambda: None) is None


def test_each_record_has_the_fields(caplog):
    """A format may name them, whichever room speaks."""
    logging.getLogger("rpcguard").warning("a line of any room")
    (record,) = caplog.records
    assert (record.service, record.node, record.reason) == (None, None, None)


def test_what_is_no_listener_is_named():
    """At construction, as for every option."""
    said = r"^on_event must be called with an Event, and not awaited, not "

    async def awaited(event: Event) -> None:
        """Be given to nobody who awaits it."""

    with pytest.raises(ValueError, match=said):
        made(on_event=awaited)
    with pytest.raises(ValueError, match=f"{said}3"):
        rpcguard.Transport("static://10.0.0.1:1", on_event=3)  # type: ignore[arg-type]


def test_what_a_listener_causes_is_not_told_to_it():
    """A page that is sent through the transport whose trouble it tells would never end."""
    told: list[tuple[str, str]] = []

    def page(event: Event) -> None:
        told.append((event.service, event.kind))
        assert len(told) < 100, "it goes on for ever"
        client.get("http://alerts/")

    client, _, registry = made(lambda _: http.Response(503), on_event=page)
    registry.set("alerts", NODES)
    with client:
        client.get("http://alerts/")
        eventually(lambda: ("alerts", "changed") in told, "its list is not told")
        del told[:]
        client.get("/")
    assert told
    assert {service for service, _ in told} == {"orders"}


FORK = """
import os, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from rpcguard._telemetry.hooks import hooks
inside, go = threading.Event(), threading.Event()
busy = threading.Thread(target=hooks.tell, args=[lambda: (inside.set(), go.wait())])
busy.start()
inside.wait()
child = os.fork()
if not child:
    told = []
    threads = [threading.Thread(target=hooks.tell, args=[lambda: told.append(1)]) for _ in range(9)]
    for one in threads:
        one.start()
        one.join()
    os._exit(9 - len(told))
go.set()
busy.join()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_a_fork_in_the_middle_of_a_hook_of_another_thread():
    """A thread of the child may have the number of one that the parent had, which is not there."""
    check_quiet(run_python(FORK), "")
