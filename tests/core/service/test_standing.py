"""The life of a node: the table as it is drawn, and played from end to end on a real list."""

from __future__ import annotations

import ast
import inspect
from typing import get_args

import pytest

from rpcguard import EjectionPolicy
from rpcguard._core.nodes.live import Health, Word
from rpcguard._core.outcomes.verdict import Notice
from rpcguard._core.service import reactions, standing
from rpcguard._core.service.standing import HEALTH, PROBED, WORD, Effect, Happening
from tests.support.stage import GOOD, NO_TLS, REFUSED, SICK, Stage, ids, leaving

HEALTHS, WORDS = get_args(Health), get_args(Word)
HAPPENINGS, EFFECTS = get_args(Happening), get_args(Effect)
OUT = ("ejected", "half_open", "unreachable", "dead")
MARKED = ("leaving", "overdue", "down", "pausing")


def drawn() -> dict[str, dict[tuple[str, str], tuple[str, tuple[str, ...]]]]:
    """Read the tables of the module's docstring."""
    tables: dict[str, dict[tuple[str, str], tuple[str, tuple[str, ...]]]] = {}
    rows = [line.split() for line in standing.__doc__.splitlines() if line.startswith("    ")]
    for state, happening, then, *effects in rows:
        if happening == "happening":
            table = tables[state] = {}
            continue
        for one in {"out": OUT, "marked": MARKED}.get(state, (state,)):
            assert (one, happening) not in table, "a row is drawn twice"
            table[one, happening] = then, tuple(effects)
    return tables


def test_the_tables_are_drawn_as_they_are():
    """What a reader sees in the docstring is what the code goes by, effects included."""
    assert drawn() == {"health": HEALTH, "word": WORD}


def test_every_state_can_be_reached_and_left():
    """No health and no word is a dead end, and none stands there for nothing."""
    for table, states in ((HEALTH, HEALTHS), (WORD, WORDS)):
        assert {before for before, _ in table} == {then for then, _ in table.values()}
        assert {before for before, _ in table} == set(states)


def test_everything_that_can_happen_is_in_the_table():
    """What the reactions can say of a node is drawn, and so is each effect."""
    tree = ast.parse(inspect.getsource(reactions))
    words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert words & set(HAPPENINGS) == set(HAPPENINGS)
    assert {happening for _, happening in (*HEALTH, *WORD)} == set(HAPPENINGS)
    done = [effects for _, effects in (*HEALTH.values(), *WORD.values())]
    assert {effect for effects in done for effect in effects} == set(EFFECTS)


FOUND = ("listens", "answers", "reopened", "restarted")
"""What a probe finds of a node that was out."""


def test_whatever_a_probe_ends_is_probed():
    """Probes begin where a node comes to a state that they can end, unless they go on."""
    for table in (HEALTH, WORD):
        ended = {state for state, happening in table if happening in FOUND}
        # A restart ends the first three as it ends a mark; one that left unseen is none of them.
        assert ended - PROBED <= {"well", "ejected", "half_open"}
        for (before, happening), (then, effects) in table.items():
            goes_on = before in PROBED or happening in ("probe_down", "found_dead")
            assert ("probe" in effects) == (then in PROBED and not goes_on)


class Life:
    """One node of four, brought into a state and made to live through something.

    `rows` are those of the tables that it went by.
    """

    def __init__(self) -> None:
        self.stage = Stage(*ids(4), ejection=EjectionPolicy(jitter=0))
        self.live = self.stage.service._roster.nodes["n0"]
        self.rows: set[tuple[str, str]] = set()
        self._turn, self.standing.turn = self.standing.turn, self._noted

    @property
    def standing(self) -> standing.Standing:
        return self.stage.service._standing

    @property
    def stands(self) -> set[str]:
        return {self.live.health, self.live.word}

    def _noted(self, live, happening, now, reason, **options) -> None:
        if live is self.live:
            self.rows |= {(state, happening) for state in self.stands}
        self._turn(live, happening, now, reason, **options)

    def wait(self, seconds: float) -> None:
        self.stage.clock.advance(seconds)
        self.stage.states()

    def attempt(self, verdict) -> None:
        """Let a call come to this on the node: its trial if it is to have one, else in panic."""
        if self.live.in_pool:
            self.stage.on("n0", verdict)
        elif self.live.health == "half_open" and self.live.word == "staying":
            lease = self.stage.pick()
            assert lease.on_trial
            assert lease.live is self.live
            self.stage.end(lease, verdict)
        else:
            now, picker = self.stage.clock(), self.stage.service._picker
            lease = picker.lease(self.live, now, (), (), "")
            lease.proof = True
            self.stage.end(lease, verdict)

    def probe(self, *, alive: bool, answered: bool = False) -> None:
        assert self.live.probing
        self.stage.service.probed(self.live, alive=alive, answered=answered)


def _hold_back(life: Life) -> None:
    for name in ("n1", "n2"):
        life.stage.on(name, SICK, 5)
    life.stage.on("n0", REFUSED)
    assert life.live.held_back


HAPPEN = {
    "trips": lambda life: life.attempt(NO_TLS),
    "refuses": lambda life: life.attempt(REFUSED),
    "refuses beyond the cap": _hold_back,
    "fails as most do": lambda life: [life.stage.on(name, SICK, 5) for name in ("n1", "n2")],
    "succeeds": lambda life: life.attempt(GOOD),
    "says that it leaves": lambda life: life.stage.service.mark_offline("n0", 30),
    "asks for a pause": lambda life: life.stage.on("n0", leaving(3, "retry-after", named=False)),
    "is found down": lambda life: life.probe(alive=False),
    "listens": lambda life: life.probe(alive=True),
    "answers": lambda life: life.probe(alive=True, answered=True),
    "waits 5 s": lambda life: life.wait(5),
    "waits 31 s": lambda life: life.wait(31),
    "waits 400 s": lambda life: life.wait(400),
    "is called online": lambda life: life.stage.service.mark_online("n0"),
}

EJECTED = "trips: ejected staying"
HALF_OPEN = f"{EJECTED}, waits 5 s: half_open staying"
CUT_OFF = "refuses: unreachable staying"
DEAD = f"{CUT_OFF}, is found down: dead staying"
LEAVING = "says that it leaves: well leaving"
OVERDUE = f"{LEAVING}, waits 31 s: well overdue"
DOWN = f"{LEAVING}, is found down: well down"
PAUSING = "asks for a pause: well pausing"

STORIES = [
    f"{HALF_OPEN}, succeeds: well staying",
    f"{HALF_OPEN}, trips: ejected staying",
    f"{HALF_OPEN}, refuses: unreachable staying, answers: well staying",
    f"{HALF_OPEN}, says that it leaves: half_open leaving, is found down: dead down",
    f"{HALF_OPEN}, is called online: well staying",
    f"{HALF_OPEN}, fails as most do: well staying",
    f"{EJECTED}, fails as most do: well staying",
    f"{EJECTED}, succeeds: well staying",
    f"{EJECTED}, is called online: well staying",
    f"{EJECTED}, says that it leaves: ejected leaving, is found down: dead down, "
    "answers: well staying",
    f"{CUT_OFF}, answers: well staying",
    f"{CUT_OFF}, succeeds: well staying",
    f"{CUT_OFF}, is called online: well staying",
    f"{CUT_OFF}, waits 400 s: half_open staying, succeeds: well staying",
    f"{DEAD}, answers: well staying",
    f"{DEAD}, succeeds: well staying",
    f"{DEAD}, is called online: well staying",
    f"{DEAD}, waits 400 s: half_open staying, trips: ejected staying",
    "refuses beyond the cap: well staying, is found down: dead staying",
    f"{OVERDUE}, answers: well staying",
    f"{OVERDUE}, is found down: well down, answers: well staying",
    f"{OVERDUE}, says that it leaves: well leaving, is called online: well staying",
    f"{OVERDUE}, is called online: well staying",
    f"{DOWN}, answers: well staying",
    f"{DOWN}, is called online: well staying",
    f"{DOWN}, trips: ejected down, answers: well staying",
    f"{DOWN}, refuses: unreachable down, answers: well staying",
    f"{DOWN}, trips: ejected down, waits 5 s: half_open down, answers: well staying",
    f"{PAUSING}, waits 5 s: well staying",
    f"{PAUSING}, says that it leaves: well leaving",
    f"{PAUSING}, is called online: well staying",
    f"{CUT_OFF}, listens: half_open staying, succeeds: well staying",
    f"{CUT_OFF}, listens: half_open staying, refuses: ejected staying",
    f"{DEAD}, listens: half_open staying, trips: ejected staying",
    f"{OVERDUE}, listens: half_open staying, succeeds: well staying",
    f"{DOWN}, listens: half_open staying, succeeds: well staying",
    f"{DOWN}, trips: ejected down, listens: half_open staying, succeeds: well staying",
    f"{DOWN}, refuses: unreachable down, listens: half_open staying",
    f"{DEAD}, says that it leaves: dead leaving, is found down: dead down, "
    "listens: half_open staying",
    f"{EJECTED}, says that it leaves: ejected leaving, waits 31 s: half_open overdue, "
    "listens: half_open staying",
    f"{EJECTED}, says that it leaves: ejected leaving, is found down: dead down, "
    "waits 400 s: half_open down, answers: well staying",
]
"""Lives of a node: what happens to it, each time with its health and word after that."""


def play(story: str) -> Life:
    """Let a node live through a story, and look at it after each step."""
    life = Life()
    for chapter in story.split(", "):
        happens, _, stands = chapter.partition(": ")
        before, told = f"{life.live.health} {life.live.word}", len(life.stage.told)
        HAPPEN[happens](life)
        assert f"{life.live.health} {life.live.word}" == stands, chapter
        kinds = [one.kind for one in life.stage.told[told:] if one.node == "n0" and one.enforced]
        assert [kind for kind in kinds if kind != "signal"] == _news(before, stands), chapter
        _look_at_the_lists(life)
    return life


def _news(before: str, stands: str) -> list[str]:
    """Tell what is told of a node that stood so and now stands so."""
    was, said, is_, says = *before.split(), *stands.split()
    news = []
    if was in ("well", "half_open") and is_ in ("ejected", "unreachable"):
        news.append("ejected")
    if said == "staying" and says in ("leaving", "pausing"):
        news.append("offline")
    return news + ["restored"] * (stands == "well staying" != before)


def _look_at_the_lists(life: Life) -> None:
    live, roster = life.live, life.stage.service._roster
    well, staying = live.health == "well", live.word == "staying"
    assert live.in_pool == (well and staying)
    assert (roster.blacklist.get(live) is None) == well
    assert (roster.marks.get(live) is None) == staying
    assert ("n0" in roster.blacklist.waiting) == (live.health == "half_open")
    assert live.probing or not life.stands & PROBED


@pytest.mark.parametrize("story", STORIES)
def test_a_life_is_lived(story):
    """Whatever the tables say, these lives run as they are told here."""
    play(story)


def test_the_stories_use_every_row():
    """No row is there that no life goes by."""
    used = set().union(*(play(story).rows for story in STORIES))
    assert {*HEALTH, *WORD} - used == set()


TO_HEALTH = dict(zip(HEALTHS, ("", EJECTED, HALF_OPEN, CUT_OFF, DEAD), strict=True))
TO_WORD = dict(zip(WORDS, ("", LEAVING, OVERDUE, DOWN, PAUSING), strict=True))


@pytest.mark.parametrize(
    ("state", "happening"),
    [(health, one) for health in HEALTHS for one in HAPPENINGS if (health, one) not in HEALTH]
    + [(word, one) for word in WORDS for one in HAPPENINGS if (word, one) not in WORD],
)
def test_what_is_not_drawn_changes_nothing(state, happening):
    """A pair without a row leaves the node where it is, and nothing is done or told."""
    story = TO_HEALTH.get(state) or TO_WORD.get(state)
    life = play(story) if story else Life()
    live, roster = life.live, life.stage.service._roster
    before = live.health, live.word
    drawn_beside = any((other, happening) in {**HEALTH, **WORD} for other in life.stands)
    kept = roster.blacklist.get(live), roster.marks.get(live), live.probing, live.held_back
    life.standing.turn(live, happening, life.stage.clock(), "as told")
    here = 0 if state in HEALTHS else 1
    assert (live.health, live.word)[here] == before[here]
    if not drawn_beside:
        assert (live.health, live.word) == before
        assert life.standing.outbox == []
        assert live.event is None or "as told" not in live.event[0]
        assert kept == (
            roster.blacklist.get(live), roster.marks.get(live), live.probing, live.held_back
        )  # fmt: skip


@pytest.mark.parametrize("story", [one for one in STORIES if one.endswith("well staying")])
def test_who_comes_back_out_of_an_ejection_starts_over(story):
    """What tripped a node is not held against it for a second time; nor against a new process."""
    life = Life()
    life.stage.on("n0", SICK)
    assert life.live.streak == 1
    for chapter in story.split(", "):
        HAPPEN[chapter.partition(": ")[0]](life)
    if life.rows & {(out, way) for out in (*OUT, "down") for way in WAYS_BACK}:
        assert (life.live.streak, life.live.recent) == (0, None)


WAYS_BACK = ("proved", "restarted", "excused", "answers")


def test_a_process_that_was_seen_down_warms_up():
    """It is a new one, which is not to be flooded."""
    assert play(f"{DOWN}, answers: well staying").stage.states()["n0"] == "warming"


def test_a_notice_of_the_user_is_one_of_the_node():
    """The user's mark moves a node as its own word does, and no policy cuts it."""
    life = Life()
    life.stage.service._reactions.mark(life.live, Notice("caller", "told", 500), 1000.0)
    assert life.live.word == "leaving"
    life.wait(499)
    assert life.stage.states()["n0"] == "offline"
