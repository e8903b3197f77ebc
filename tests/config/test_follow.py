"""The switches of a running transport follow its configuration file."""

from __future__ import annotations

import functools
import os
import time
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from rpcguard import Event, Node
from rpcguard._config.follow import IncidentSwitches
from rpcguard._config.settings import ConfigFile, Settings
from rpcguard._core.policies.incidents import ALL_ON, Incident, switches_of
from rpcguard._discovery import rule_sources
from rpcguard.testing import ManualClock, ScriptedRegistry
from tests.support.interleavings import interleavings
from tests.support.library import Transport, http
from tests.support.stage import Stage

WRITTEN = 1_000_000.0


class Desk:
    """A file, the switches of it, and a service that goes by them; the time is the test's."""

    def __init__(self, path, text: str) -> None:
        self.path, self.told = path, []
        self.now = ManualClock(WRITTEN)
        self.write(text)
        self.file = ConfigFile(str(path), http.Limits)
        settings = Settings({}, {}, self.file, self.file.read())
        self.switches = IncidentSwitches(settings, self.told.append, self.now)
        self.service = Stage("a", "b").service

    def write(self, text: str) -> None:
        self.path.write_text(text)
        os.utime(self.path, (WRITTEN, WRITTEN))

    def look(self) -> list[tuple[str, str]]:
        """Look at the file as the background does; give what is told of it."""
        del self.told[:]
        fault, found = None, None
        try:
            found = self.file.document.read_now()
        except (OSError, ValueError) as error:
            fault = f"config: {error}"
        self.switches.take(found, fault)
        self.switches._turn(self.service)
        return [(event.code, event.reason) for event in self.told]


@pytest.fixture(autouse=True)
def looks_often(monkeypatch):
    """Let the background look at the file again and again, so that nobody waits for it."""
    monkeypatch.setattr(rule_sources, "_LOOK_EVERY", 0.01)


@pytest.fixture
def desk(tmp_path):
    """A file that switches nothing."""
    return Desk(tmp_path / "rpcguard.toml", "")


def test_a_switch_is_told_when_it_begins_and_when_it_is_over(desk):
    """Once each: who reads the log sees from when to when, and why."""
    desk.write('[incident]\nretry = false\nwhy = "a storm"\n')
    assert desk.look() == [("switched", "retry off, until 1970-01-12T14:46:40+00:00 (a storm)")]
    assert not desk.service.switches.retry
    desk.now.advance(3599.0)
    assert desk.look() == []
    desk.now.advance(1.0)
    assert desk.look() == [("ended", "over: retry off")]
    assert desk.service.switches == ALL_ON


def test_a_switch_ends_with_the_file(desk):
    """Taken out by hand is over too."""
    desk.write("[incident]\nretry = false\n")
    desk.look()
    desk.write("# all is well again\n")
    assert desk.look() == [("ended", "over: retry off")]
    assert desk.service.switches.retry


def test_a_bad_file_is_refused_whole(desk):
    """Of a right switch beside a wrong one nothing counts; the last good file stays, told once."""
    desk.write("[incident]\nretry = false\n")
    desk.look()
    desk.write('[[incident]]\nroutes = false\n[[incident]]\nejection = "off"\n')
    ((code, reason),) = desk.look()
    assert code == "rejected"
    assert "ejection must be the text" in reason
    assert "not 'off'; the last good one stays" in reason
    assert (desk.service.switches.retry, desk.service.switches.routes) == (False, True)
    assert desk.look() == []


def test_a_file_that_is_gone_leaves_the_last_one(desk):
    """As one that cannot be read; when it is back as it was, nothing is told anew."""
    desk.write("[incident]\nretry = false\n")
    desk.look()
    desk.path.unlink()
    ((code, _),) = desk.look()
    assert code == "rejected"
    assert not desk.service.switches.retry
    desk.write("[incident]\nretry = false\n")
    assert desk.look() == []


def test_what_is_no_switch_waits_for_the_next_start(desk):
    """Policies are those that the transport was made of, and whoever changes them is told so."""
    desk.write("[retry]\nattempts = 5\n[services.orders]\nretry = false\n")
    reason = "retry, services changed, which counts from the next start"
    assert desk.look() == [("waiting", reason)]
    assert desk.look() == []


def test_what_is_as_it_was_at_the_start_waits_for_nothing(desk):
    """It is in force: a change that was taken back needs no restart."""
    desk.write("[retry]\nattempts = 5\n[services.orders]\nretry = false\n")
    desk.look()
    desk.write("# as before\n")
    assert desk.look() == []


def test_a_switch_of_an_old_file_is_told(desk):
    """A file that was copied with its time turns nothing: whoever turned it is to know."""
    desk.now.advance(3601.0)
    desk.write("[incident]\nretry = false\n")
    assert desk.look() == [("ended", "over before it began, by the time of the file: retry off")]
    assert desk.service.switches == ALL_ON


def test_a_listener_that_raises_costs_no_switch(desk, capsys):
    """Neither the switches nor that the file is followed; not even by `sys.exit`."""
    for fault in (RuntimeError("a defect"), SystemExit(3)):

        def tell(event: Event, fault: BaseException = fault) -> None:
            raise fault

        desk.write("[incident]\nretry = false\n")
        switches = IncidentSwitches(Settings({}, {}, desk.file), tell, desk.now)
        switches._services.add(desk.service)
        switches.take(ConfigFile(str(desk.path), http.Limits).document.read_now())
        assert not desk.service.switches.retry
        desk.service.switch(ALL_ON)
    assert "a defect" in capsys.readouterr().err


def test_a_switch_counts_for_the_ports_of_a_service():
    """As what a service has otherwise does: `orders` is `orders:8080` too, not the reverse."""
    turned = [Incident(retry=False, service="Orders")]
    assert not switches_of(turned, "orders:8080", 0.0).retry
    turned = [Incident(retry=False, service="orders:8080")]
    assert switches_of(turned, "orders", 0.0).retry
    assert not switches_of(turned, "orders:8080", 0.0).retry


@pytest.mark.parametrize("service", ["shop.bücher.example", "shop.xn--bcher-kva.example:8080"])
def test_a_switch_counts_however_its_service_is_spelt(service):
    """A host whose first part is plain comes from httpx in ASCII, others in their own letters."""
    turned = [Incident(retry=False, service="shop.bücher.example.")]
    assert not switches_of(turned, service, 0.0).retry


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "names" + ".a" * 3_000 + " = 1"])
def test_a_file_that_nobody_can_read_ends_nothing(tmp_path, caplog, text):
    """It is told as any bad file, and the next good one counts."""
    path = tmp_path / "rpcguard.toml"
    path.write_text("")
    registry = ScriptedRegistry()
    registry.set("orders", [Node("10.0.0.1", 1), Node("10.0.0.2", 1)])
    answers = http.MockTransport(lambda _: http.Response(503))
    transport = Transport(registry, config=path, node_transport=lambda _: answers)
    with http.Client(transport=transport, base_url="http://orders") as client:
        assert calls(client) == [2]
        path.write_text(text)
        until(lambda: "the last good one stays" in caplog.text)
        path.write_text("\N{BYTE ORDER MARK}[incident]\nretry = false\n")
        until(lambda: not transport._service("orders").switches.retry)


def test_a_service_is_forgotten(desk):
    """It is turned no more; what is not followed needs no file."""
    none = IncidentSwitches(Settings({}, {}), desk.told.append)
    none.follow(desk.service)
    none.stop()
    desk.switches._services.add(desk.service)
    desk.switches.forget("orders")
    desk.write("[incident]\nretry = false\n")
    desk.switches.take(desk.file.document.read_now())
    assert desk.service.switches == ALL_ON


def calls(client, count=1):
    """Make calls that fail; give how many attempts each took."""
    return [len(client.get("/").extensions["rpcguard"].attempts) for _ in range(count)]


def until(condition) -> None:
    """Wait for what another thread does; the test's own timeout is the bound."""
    while not condition():
        time.sleep(0.02)


def test_a_running_transport_takes_it_in(tmp_path, caplog):
    """A real file, renamed over the old one while calls go on.

    It counts for the service that is called, for one that is called only then, and for a call that
    asks for more attempts itself.
    """
    path, told = tmp_path / "rpcguard.toml", list[Event]()
    path.write_text("")
    registry = ScriptedRegistry()
    for service in ("orders", "billing"):
        registry.set(service, [Node("10.0.0.1", 1), Node("10.0.0.2", 1)])
    answers = http.MockTransport(lambda _: http.Response(503))
    transport = Transport(
        registry, config=path, on_event=told.append, node_transport=lambda _: answers
    )
    with http.Client(transport=transport, base_url="http://orders") as client:
        assert calls(client) == [2]
        renewed = tmp_path / "new.toml"
        renewed.write_text("[incident]\nretry = false\n")
        renewed.rename(path)
        until(lambda: any(event.kind == "config" for event in told))
        until(lambda: not transport._service("orders").switches.retry)
        assert calls(client) == [1]
        more = client.get("/", extensions={"rpcguard": {"attempts": 3}})
        assert len(more.extensions["rpcguard"].attempts) == 1
        other = client.get("http://billing/")
        assert len(other.extensions["rpcguard"].attempts) == 1
        (event,) = [event for event in told if event.kind == "config"]
        assert (event.code, event.service, event.enforced) == ("switched", "", True)


def test_a_rejected_file_is_a_warning(caplog, tmp_path):
    """Who is on call sees that the switch was not turned; one line."""
    path = tmp_path / "rpcguard.toml"
    path.write_text("")
    registry = ScriptedRegistry()
    registry.set("orders", [Node("10.0.0.1", 1)])
    answers = http.MockTransport(lambda _: http.Response(200))
    transport = Transport(registry, config=path, node_transport=lambda _: answers)
    with http.Client(transport=transport, base_url="http://orders") as client:
        client.get("/")
        path.write_text("[incident\n")
        until(lambda: "the last good one stays" in caplog.text)
    (line,) = [one for one in caplog.records if "the last good one stays" in one.getMessage()]
    assert line.levelname == "WARNING"
    assert line.getMessage().startswith("all services: config: config ")


def test_a_file_is_not_followed_for_a_service_that_is_made_as_all_stops(desk, monkeypatch):
    """Nobody would end that any more."""
    begun = []

    def spawn(*_: object) -> Future[None]:
        begun.append(Future())
        return begun[-1]

    def scene():
        switches = IncidentSwitches(Settings({}, {}, desk.file), desk.told.append, desk.now)
        return functools.partial(switches.follow, desk.service), switches.stop

    monkeypatch.setattr("rpcguard._config.follow.background", lambda: SimpleNamespace(spawn=spawn))
    for where, raised in interleavings(scene, lambda name: name.endswith("/_config/follow.py")):
        assert not raised, where
        assert all(one.cancelled() for one in begun), where
