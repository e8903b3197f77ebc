"""Draw the pictures of the pages from the real policies: `python docs/pictures.py`."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.fleets.guards import (
    GUARDED,
    NO_GUARD,
    THROTTLE,
    Fleet,
    all_sick,
    seconds_of,
)
from benchmarks.fleets.troubles import brown_out
from benchmarks.lib.charts import WIDTH, Chart, picture
from rpcguard import (
    EjectionPolicy,
    LeastLoaded,
    Node,
    RetryPolicy,
    RoundRobin,
    SlowStart,
    Snapshot,
)
from rpcguard._commands.demo.svg import line, rect, text
from rpcguard._core.outcomes.verdict import Notice, Safety, Verdict
from rpcguard._core.policies.bundle import Policies
from rpcguard._core.service.budget import RetryBudget
from rpcguard._core.service.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpcguard import Balancer
    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.service.effects import Event
    from rpcguard._planning.fleet import FleetCall

PLACE = Path(__file__).parent / "pictures"
COLORS = ("var(--n1)", "var(--n0)", "var(--bad)")
STATES = {
    "available": "var(--up)",
    "warming": "var(--warm)",
    "offline": "var(--away)",
    "ejected": "var(--bad)",
    "draining": "var(--draining)",
    "gone": "var(--down)",
}

GOOD = Verdict("200", failed=False, safety=Safety.NEVER, blame="none", good=True)
BAD = Verdict("500", failed=True, safety=Safety.MAYBE, blame="failure")
REFUSED = Verdict("ConnectError", failed=True, safety=Safety.UNCONNECTED, blame="connect")
LEAVING = replace(GOOD, notice=Notice("signal", "X-RpcGuard-Offline"))


def ramps() -> str:
    """Draw the share of its weight that a new node carries, by its age."""
    chart = Chart(
        title="What a new node carries",
        x="seconds since it was first seen",
        y="share of its weight",
        right=120,
        top=100,
    )
    chart.grid(range(0, 121, 20), range(0, 101, 25), unit=" %")
    shown = (
        ("curve=1", SlowStart(curve=1.0), -8.0),
        ("curve=2 (default)", SlowStart(), 6.0),
        ("curve=4", SlowStart(curve=4.0), 20.0),
    )
    for (name, policy, shift), color in zip(shown, COLORS, strict=False):
        ages = [age / 2 for age in range(241)]
        chart.draw(name, [(age, 100 * policy.ramp(age, 0)) for age in ages], color, shift=shift)
    return chart.svg()


def ejections() -> str:
    """Draw how long a node that keeps failing stays out, by the number of the ejection."""
    chart = Chart(
        title="How long an ejection lasts",
        x="ejection in a row without proven health in between",
        y="seconds, with the spread of the jitter",
        right=9,
        top=320,
    )
    chart.grid(range(1, 9), range(0, 321, 80))
    policy = EjectionPolicy()
    for level in range(8):
        low, high = (policy.length(level, _fixed(share)) for share in (0.0, 1.0))
        ends = sorted({low, high})
        across, upper = chart.at(level + 1, high)
        lower = chart.at(level + 1, low)[1]
        usual = chart.at(0, policy.length(level, _fixed(0.5)))[1]
        chart.parts += [
            rect(across - 13, upper, 26, max(lower - upper, 1.5), fill="var(--n1)"),
            line(across - 13, usual, across + 13, usual, look="event"),
            text(across, upper - 6, " to ".join(f"{end:g}" for end in ends), look="small middle"),
        ]
    return chart.svg()


def budget() -> str:
    """Draw how many retries are paid for, by the share of calls that want one."""
    chart = Chart(
        title="How many failed calls are sent again",
        x="calls that fail and could be sent again, % of all",
        y="retries made, % of the calls that want one",
        right=100,
        top=100,
    )
    chart.grid(range(0, 101, 20), range(0, 101, 25), unit=" %")
    for (rate, shift), color in zip(((20, -2.0), (50, 0.0), (500, 0.0)), COLORS, strict=False):
        shares = range(2, 101, 2)
        points = [(float(share), 100 * _paid(rate, share / 100)) for share in shares]
        chart.draw(f"{rate} calls a second", points, color, shift=shift)
    return chart.svg()


def _paid(rate: int, share: float) -> float:
    budget = RetryBudget(RetryPolicy(), 0.0)
    wanted = paid = 0
    owed = 0.0
    for number in range(rate * 40):
        now = number / rate
        budget.deposit(now)
        owed += share
        if owed >= 1.0:
            owed -= 1.0
            granted = budget.allows(now)
            if granted:
                budget.withdraw(now)
            if now >= 20.0:
                wanted += 1
                paid += granted
    return paid / wanted


def _fixed(share: float) -> random.Random:
    class Fixed(random.Random):
        def random(self) -> float:
            return share

    return Fixed()


class Stage:
    """A service with a clock of its own, called ten times a second, of which one node is watched.

    `behave` gives what a call to the watched node comes to at a time; None: it is not listed yet.
    """

    def __init__(
        self, behave: Callable[[float], Verdict | None], balancer: Callable[..., Balancer]
    ) -> None:
        self.now = 0.0
        self.seen: list[tuple[float, str]] = []
        self.told: list[tuple[float, str]] = []
        self._behave = behave
        self._probes: list[tuple[float, float, LiveNode]] = []
        self._nodes = [Node(f"10.0.0.{number}", 80) for number in range(1, 7)]
        self.service = Service(
            "orders",
            policies=Policies(balancer=lambda: balancer(rng=random.Random(7))),
            effects=self,
            clock=lambda: self.now,
            wall=lambda: self.now,
            rng=random.Random(7),
        )
        self._list_nodes()

    def emit(self, event: Event) -> None:
        """Write down what happened to the watched node."""
        if event.node == self._nodes[-1].id and event.kind in ("ejected", "offline", "restored"):
            self.told.append((self.now, f"{event.kind}: {event.reason}"))

    def retire(self, live: LiveNode) -> None:
        """Take a node that has left; there is nothing to close."""

    def probe(self, service: Service, live: LiveNode) -> None:
        """Probe a node a second from now, and ever more seldom."""
        self._probes.append((self.now + 1.0, 1.0, live))

    def play(self, end: float) -> None:
        """Let time pass, with a call every 0.1 s."""
        while self.now < end:
            self._list_nodes()
            self._call()
            self._probe()
            self._look()
            self.now = round(self.now + 0.1, 3)

    def _list_nodes(self) -> None:
        listed = self._nodes if self._behave(self.now) else self._nodes[:-1]
        self.service.reconcile(Snapshot(listed))

    def _call(self) -> None:
        lease = self.service.pick(repeatable=True)
        assert lease is not None
        watched = lease.live.node is self._nodes[-1]
        lease.started = self.now - 0.02
        self.service.settle(lease, (watched and self._behave(self.now)) or GOOD)
        self.service.release(lease)

    def _probe(self) -> None:
        due = [probe for probe in self._probes if probe[0] <= self.now]
        self._probes = [probe for probe in self._probes if probe[0] > self.now]
        for _, pause, live in due:
            alive = self._behave(self.now) is not REFUSED
            if self.service.probed(live, alive=alive):
                pause = min(pause * 2, 60.0)
                self._probes.append((self.now + pause, pause, live))

    def _look(self) -> None:
        views = [view for view in self.service.nodes() if view.node is self._nodes[-1]]
        state = views[0].state if views else "gone"
        if not self.seen or self.seen[-1][1] != state:
            self.seen.append((self.now, state))


def _starting(now: float) -> Verdict | None:
    return None if now < 10 else GOOD


def _released(now: float) -> Verdict:
    return LEAVING if 10 <= now < 15 else REFUSED if 15 <= now < 20 else GOOD


def _crashed(now: float) -> Verdict:
    return REFUSED if 10 <= now < 40 else GOOD


def _sick(now: float) -> Verdict:
    return BAD if 10 <= now < 40 else GOOD


STORIES = (
    ("New: the registry lists it after 10 s", _starting, LeastLoaded),
    ("Released: says after 10 s that it leaves, is down from 15 to 20 s", _released, LeastLoaded),
    ("Crashed: cannot be connected to from 10 to 40 s", _crashed, LeastLoaded),
    ("Sick: answers 500 from 10 to 40 s; balancer RoundRobin", _sick, RoundRobin),
)


def states() -> str:
    """Draw the states of a node in four stories, with the reasons that the service gives."""
    left, seconds, down = 24.0, 180, 54.0
    scale = (WIDTH - 2 * left) / seconds
    parts = [text(left, 24, "The states of one node of six", look="title")]
    for title, behave, balancer in STORIES:
        stage = Stage(behave, balancer)
        stage.play(seconds)
        parts.append(text(left, down, title))
        changes = [*stage.seen, (float(seconds), "")]
        for (since, state), (until, _) in pairwise(changes):
            place, wide = left + since * scale, (until - since) * scale
            parts.append(rect(place, down + 8, wide, 24, fill=STATES[state], tip=state))
            if wide > 60:
                parts.append(text(place + wide / 2, down + 24, state, look="on middle"))
        for step, (when, words) in enumerate(stage.told):
            place, low = left + when * scale, down + 47 + 14 * step
            parts += [
                line(place, down + 8, place, low - 9, look="event"),
                text(place + 4, low, f"{when:.0f} s {words}", look="small soft"),
            ]
        down += 60 + 14 * len(stage.told)
    for second in range(0, seconds + 1, 20):
        place = left + second * scale
        parts.append(text(place, down - 6, f"{second} s", look="small soft middle"))
    return picture(down + 8, parts)


FLEET = Fleet(callers=20, providers=6)  # a third of the table's: the pictures are drawn in seconds


def brownout() -> str:
    """Draw the calls that are answered in time in a brown-out, by the guard of their callers."""
    chart = Chart(
        title="A brown-out from 15 to 30 s: 2.5 times slower, one error in five",
        x="seconds",
        y="answered in time, % of what is asked",
        right=40,
        top=100,
    )
    chart.grid(range(0, 41, 5), range(0, 101, 20), unit=" %")
    chart.draw("bearable", [(0, 100), (15, 100), (15, 80), (30, 80), (30, 100)], "var(--soft)")
    guards = (("no guard", NO_GUARD), ("throttle", THROTTLE), ("both", GUARDED))
    for at, ((name, policies), color) in enumerate(zip(guards, COLORS[::-1], strict=True)):
        points = seconds_of(brown_out, policies, _answered, range(40), FLEET)
        chart.draw(name, points, color, shift=14.0 * at)
    return chart.svg()


def _answered(calls: list[FleetCall]) -> float:
    good = [one for one in calls if one.verdict and one.verdict.outcome in ("200", "500")]
    return 100 * len(good) / len(calls)


def throttled() -> str:
    """Draw how much is sent while all nodes answer 500, with the throttle and without."""
    chart = Chart(
        title="All nodes answer 500 from 15 to 75 s",
        x="seconds",
        y="attempts per call",
        right=90,
        top=2,
    )
    chart.grid(range(0, 91, 15), (0, 0.5, 1, 1.5, 2))
    for (name, policies), color in zip(
        (("no guard", NO_GUARD), ("throttle", THROTTLE)), COLORS[::-1], strict=False
    ):
        points = seconds_of(all_sick, policies, _sent, range(90), FLEET)
        chart.draw(name, points, color, shift=-8.0 if policies is NO_GUARD else 8.0)
    return chart.svg()


def _sent(calls: list[FleetCall]) -> float:
    return sum(len(one.nodes) for one in calls) / len(calls)


PICTURES = {
    "ramps.svg": ramps,
    "ejections.svg": ejections,
    "budget.svg": budget,
    "states.svg": states,
    "brownout.svg": brownout,
    "throttled.svg": throttled,
}


def main() -> None:
    """Write all pictures."""
    PLACE.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        (PLACE / name).write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
