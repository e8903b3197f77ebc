"""The life of a node: the table as it is drawn, and each of its rows on a real list."""

from __future__ import annotations

import pytest

from rpcguard import EjectionPolicy
from rpcguard._core.outcomes.verdict import Notice
from rpcguard._core.service import standing
from rpcguard._core.service.standing import HEALTH, PROBED, TOLD, WORD
from tests.support.stage import GOOD, NO_TLS, REFUSED, SICK, Stage, ids, leaving

OUT = ("ejected", "half_open", "unreachable", "dead")


def drawn() -> dict[str, dict[tuple[str, str], str]]:
    """Read the tables of the module's docstring."""
    tables: dict[str, dict[tuple[str, str], str]] = {"health": {}, "word": {}}
    columns: list[str] = []
    table = tables["health"]
    for line in (standing.__doc__ or "").splitlines():
        cells = line.split()
        if not line.startswith("    ") or not cells:
            continue
        if cells[0] in tables:
            table, columns = tables[cells[0]], cells[1:]
            continue
        assert len(cells) == len(columns) + 1, line
        for happening, then in zip(columns, cells[1:], strict=True):
            if then != "-":
                table[cells[0], happening] = then
    return tables


def test_the_tables_are_drawn_as_they_are():
    """What a reader sees in the docstring is what the code goes by."""
    assert drawn() == {"health": HEALTH, "word": WORD}


def test_every_state_can_be_reached_and_left():
    """No health and no word is a dead end, and none stands there for nothing."""
    for table, home in ((HEALTH, "well"), (WORD, "staying")):
        states = {state for state, _ in table}
        assert set(table.values()) == states
        for state in states - {home}:
            ways = {then for (before, _), then in table.items() if before == state}
            assert ways, state
    assert set(OUT) | {"well"} == {health for health, _ in HEALTH}
    assert all((before, then) in {*_steps(HEALTH), *_steps(WORD)} for before, then in TOLD)


def _steps(table) -> set[tuple[str, str]]:
    return {(before, then) for (before, _), then in table.items()}


def test_whatever_a_probe_ends_is_probed():
    """Each state that a probe can end is one in which nodes are probed."""
    ended = {
        before
        for table in (HEALTH, WORD)
        for before, happening in table
        if happening in ("probe_up", "restarted") and before in PROBED
    }
    assert {"unreachable", "dead", "overdue", "down"} <= ended
    assert not PROBED & {"well", "ejected", "half_open", "staying", "pausing"}


class Life:
    """One node of four, brought into a state and made to live through something."""

    def __init__(self) -> None:
        self.stage = Stage(*ids(4), ejection=EjectionPolicy(jitter=0))
        self.live = self.stage.service._roster.nodes["n0"]

    def wait(self, seconds: float) -> None:
        self.stage.clock.advance(seconds)
        self.stage.states()

    def trial(self, verdict) -> None:
        lease = self.stage.pick()
        assert lease.on_trial
        assert lease.live is self.live
        self.stage.end(lease, verdict)

    def panic(self) -> None:
        """Let a call succeed on the node that went there since nothing was eligible."""
        now, picker = self.stage.clock(), self.stage.service._picker
        self.stage.end(picker.lease(self.live, now, (), (), proof=True), GOOD)

    def probe(self, *, alive: bool) -> None:
        self.stage.service.probed(self.live, alive=alive)


def _hold_back(life: Life) -> None:
    for name in ("n1", "n2"):
        life.stage.on(name, SICK, 5)
    life.stage.on("n0", REFUSED)
    assert life.live.held_back


def _paused(life: Life) -> None:
    life.stage.on("n0", leaving(3, "retry-after", named=False))


REACH = {
    "well": lambda life: None,
    "ejected": lambda life: life.stage.on("n0", SICK, 5),
    "half_open": lambda life: (life.stage.on("n0", SICK, 5), life.wait(5)),
    "unreachable": lambda life: life.stage.on("n0", REFUSED),
    "dead": lambda life: (life.stage.on("n0", REFUSED), life.probe(alive=False)),
    "staying": lambda life: None,
    "leaving": lambda life: life.stage.on("n0", leaving(30)),
    "overdue": lambda life: (life.stage.on("n0", leaving(30)), life.wait(30)),
    "down": lambda life: (life.stage.on("n0", leaving(30)), life.probe(alive=False)),
    "pausing": _paused,
}

HAPPEN = {
    "tripped": lambda life: life.stage.on("n0", NO_TLS),
    "cut_off": lambda life: life.stage.on("n0", REFUSED),
    "found_dead": lambda life: (_hold_back(life), life.probe(alive=False)),
    "ended": lambda life: life.wait(400),
    "signalled": lambda life: life.stage.service.mark_offline("n0", 10),
    "paused": _paused,
    "lapsed": lambda life: life.wait(31),
    "probe_down": lambda life: life.probe(alive=False),
    "probe_up": lambda life: life.probe(alive=True),
    "restarted": lambda life: life.probe(alive=True),
    "proved": Life.panic,
    "excused": lambda life: life.stage.service.mark_online("n0"),
    "unsaid": lambda life: life.stage.service.mark_online("n0"),
}


def _row(health: str, happening: str) -> bool:
    # A node that failed is known to have restarted only where it was leaving as well.
    return happening != "restarted" or health == "down"


@pytest.mark.parametrize(
    ("state", "happening", "then"),
    [(*key, then) for table in (HEALTH, WORD) for key, then in table.items() if _row(*key)],
)
def test_a_node_goes_the_way_of_the_table(state, happening, then):
    """Brought into each state, and through each thing that moves it, a node stands as drawn."""
    life = Life()
    REACH[state](life)
    assert state in (life.live.health, life.live.word)
    if state == "half_open" and happening in ("tripped", "cut_off"):
        life.trial(NO_TLS if happening == "tripped" else REFUSED)
    elif happening == "proved" and state == "half_open":
        life.trial(GOOD)
    else:
        HAPPEN[happening](life)
    assert then in (life.live.health, life.live.word)
    probed = life.live.health in PROBED or life.live.word in PROBED
    assert life.live.probing or not probed


@pytest.mark.parametrize("state", OUT)
def test_a_restart_forgives_what_the_process_before_it_did(state):
    """A leaving node that was seen down and is up again is another process, well until it fails."""
    life = Life()
    REACH[state](life)
    life.stage.service.mark_offline("n0", 30)
    life.probe(alive=False)
    assert (life.live.health, life.live.word) == ("dead", "down")
    life.probe(alive=True)
    assert (life.live.health, life.live.word) == ("well", "staying")
    assert life.stage.states()["n0"] == "warming"


def test_a_notice_of_the_user_is_one_of_the_node():
    """The user's mark moves a node as its own word does, and no policy cuts it."""
    life = Life()
    life.stage.service._reactions.mark(life.live, Notice("caller", "told", 500), 1000.0)
    assert life.live.word == "leaving"
    life.wait(499)
    assert life.stage.states()["n0"] == "offline"
