"""Chaos on real processes for forty seconds, and the judge that counts its losses."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from rpcguard import RetryPolicy
from tests.chaos.callers import KINDS, Load, Wanted, _calls
from tests.chaos.faults import ALL_DOWN, MOST_HURT, Composer
from tests.chaos.ledger import Failed, Ledger, Trouble, executions
from tests.chaos.network import DELAY, LOSS, SILENCE
from tests.chaos.nodes import Registry
from tests.chaos.provider import NONCE
from tests.support.require import require

ROOT = Path(__file__).parents[2]
EVERYTHING = frozenset({LOSS, DELAY, SILENCE})


@pytest.mark.timeout(180)
def test_no_call_is_lost_that_could_be_saved():
    """Under faults of every kind no saveable call is lost and no unsafe one is executed twice."""
    require(Registry)
    command = [sys.executable, "-m", "tests.chaos", "--seconds", "40", "--rate", "100"]
    done = subprocess.run(
        [*command, "--seed", "4"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    assert "that could be saved 0\n" in done.stdout
    assert "wrong answers       0\n" in done.stdout
    assert all(f"{kind} " in done.stdout for kind in KINDS)


def lost(
    *attempts: tuple[str, str], repeatable: bool = False, at: float = 10.0, took: float = 0.1
) -> Failed:
    tried = tuple((node, outcome, took) for node, outcome in attempts)
    error = attempts[-1][1] if attempts else "NoAvailableNode: nothing"
    return Failed("x1", "POST", repeatable, at, at + 1.0, error, tried)


def ledger(*troubles: Trouble) -> Ledger:
    book = Ledger(frozenset({"a", "b", "c"}))
    book.troubles.extend(troubles)
    return book


DOWN = Trouble("kill", frozenset({"a", "b"}), 5.0, 20.0)


@pytest.mark.parametrize(
    ("failed", "saveable"),
    [
        (lost(("a", "ReadTimeout"), repeatable=True), True),
        (lost(("a", "ConnectError"), ("b", "503"), repeatable=True), True),
        (lost(("a", "ConnectError")), True),
        (lost(("a", "ConnectError"), ("b", "ConnectTimeout")), True),
        (lost(("a", "ConnectTimeout"), ("b", "ConnectError"), took=1.5), False),
        (lost(("a", "ConnectTimeout"), took=1.5), True),
        (lost(), True),
        (lost(("a", "ReadTimeout")), False),
        (lost(("a", "ConnectError"), ("b", "500")), False),
        (lost(("a", "ReadTimeout"), ("b", "503"), repeatable=True), False),
        (lost(("a", "ReadError"), ("c", "ReadError"), repeatable=True), False),
    ],
)
def test_what_could_be_saved(failed, saveable):
    """A lost call counts when it was safe to repeat, an attempt was left, and a live node."""
    assert ledger(DOWN).judge(failed).saveable is saveable


def test_a_call_with_no_live_node_is_not_saveable():
    """Nothing can be saved while everything is down, nor in the second after it."""
    everything = Trouble(ALL_DOWN, frozenset({"a", "b", "c"}), 5.0, 20.0)
    for at, saveable in ((4.5, False), (10.0, False), (20.5, False), (21.5, True)):
        assert ledger(everything).judge(lost(at=at)).saveable is saveable


def test_a_trouble_that_goes_on_counts():
    """While a fault lasts its nodes are not live."""
    going = Trouble("freeze", frozenset({"a", "b", "c"}), 5.0, math.inf)
    assert not ledger(going).judge(lost(at=1e6)).saveable


def test_executions_are_counted_from_the_logs(tmp_path):
    """A call that two providers have executed is seen."""
    (tmp_path / "a").write_text("POST 1\nGET 2\n")
    (tmp_path / "b").write_text("POST 1\n")
    assert executions(tmp_path.iterdir()) == {("POST", "1"): 2, ("GET", "2"): 1}


def test_a_seed_gives_the_same_faults():
    """The same seed composes the same episodes, another one others; every kind comes."""

    def drawn(seed: int, able: frozenset[str] = EVERYTHING):
        composer = Composer(seed, nodes=8, able=able)
        return [composer.next() for _ in range(100)]

    assert drawn(1) == drawn(1) != drawn(2)
    kinds = {kind for episode in drawn(1) for kind in episode.nodes.values()}
    assert len(kinds) == 11
    assert {episode.registry for episode in drawn(1)} > {"registry wiped", "registry stopped"}
    hurt = {len(episode.nodes) for episode in drawn(1)}
    assert hurt == {*range(1, MOST_HURT + 1), 8}
    assert len({kind for one in drawn(1, frozenset()) for kind in one.nodes.values()}) == 8


def answer(nonce: str, status: int = 200, **changed: str) -> httpx.Response:
    told = {"call": "as1-1", "nonce": nonce, "body": nonce, "end": nonce} | changed
    return httpx.Response(status, json=told, headers={NONCE: changed.get("header", nonce)})


@pytest.mark.parametrize(
    ("response", "own"),
    [
        (answer("n1"), True),
        (answer("n1", 503), True),
        (answer("n2"), False),
        (answer("n2", 503), False),
        (answer("n1", call="as1-2"), False),
        (answer("n1", body="n2"), False),
        (answer("n1", end="n2"), False),
        (answer("n1", header="n2"), False),
        (httpx.Response(200, text="half of ano", headers={NONCE: "n1"}), False),
    ],
)
def test_a_foreign_answer_is_seen(response, own):
    """By its nonce in the headers and at both ends of the body, whatever its status is."""
    wanted = Wanted("as1-1", "POST", "/work", {}, repeatable=False, nonce="n1")
    assert wanted.is_answered_by(response) is own


def test_no_two_calls_have_one_nonce():
    """Of all kinds and workers each call draws its own, and the same with the same seed."""

    def drawn() -> list[str]:
        load = Load("", 1.0, 1, RetryPolicy(), lambda: False, Ledger(frozenset()))
        made = [_calls(kind, number, load) for kind in KINDS for number in range(3)]
        return [next(calls).nonce for calls in made for _ in range(100)]

    assert len(set(drawn())) == 900
    assert drawn() == drawn()


def test_a_run_by_calls_has_no_end_by_time(monkeypatch):
    """`--calls` alone goes on until they are made; `--seconds` ends it earlier."""
    from tests.chaos import command

    given = []

    class DoneError(Exception):
        pass

    def run(options, tell):
        given.append((options.seconds, options.calls, options.retry.attempts))
        raise DoneError

    monkeypatch.setattr(command, "enter_namespace", lambda: None)
    monkeypatch.setattr(command, "run", run)
    for arguments in ([], ["--calls", "1000000"], ["--calls", "9", "--minutes", "2"]):
        monkeypatch.setattr(sys, "argv", ["chaos", *arguments])
        with pytest.raises(DoneError):
            command.main()
    assert given == [(60.0, None, 2), (math.inf, 1_000_000, 2), (120.0, 9, 2)]
