"""A canary release of a version that fails: its rule, its script, and what its share really was."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from rpcguard._commands.demo.script import Script, Step
from rpcguard._commands.demo.summary import counted
from rpcguard._core.policies.routing import Guard, Route, Routing

if TYPE_CHECKING:
    from rpcguard._commands.demo.recording import CallRecord
    from rpcguard._core.nodes.view import RouteView

LANE: Final = "canary-2"
STORY: Final = (
    "The last provider is version 2, with a fifth of the calls; it fails every third one for a "
    "while, and the guard of its route switches it off."
)
_ROUTE: Final = "orders-canary"
_SHARE: Final = 0.2
"""What round robin over five nodes gives one of them too, so that both clients compare."""

_FAILS_AT: Final = 0.2
"""When the fault begins, as a part of the run: after enough calm to compare with."""
_WELL_AT: Final = 0.55
"""When it ends, as a part of the run."""
_HOLD: Final = 0.4
"""The guard's hold, as a part of the run: it outlives the fault even where it tripped at once, and
ends while there is still time to see the share come back."""

_EDGE: Final = 0.25
"""Seconds around a change whose calls are counted for neither side: they may have been picked
before it or after it."""

_CALM, _FAILING, _HELD, _BACK = "all is well", "version 2 fails", "its guard holds", "well again"
_PHASES: Final = (_CALM, _FAILING, _HELD, _BACK)


def canary_routing(seconds: float) -> Routing:
    """Make the rules of a run of so many seconds: one canary, with a guard that is quick."""
    guard = Guard(min_calls=10, min_failures=4, hold=_HOLD * seconds)
    route = Route(
        _ROUTE, service="orders", share=_SHARE, to={"version": "2"}, mark=LANE, guard=guard
    )
    return Routing(rules=[route])


def canary_script(*, canary: int, seconds: float) -> Script:
    """Write the script: the provider of that number fails for a third of the run."""
    steps = (
        Step(_FAILS_AT * seconds, "falter", (canary,)),
        Step((_WELL_AT - _FAILS_AT) * seconds, "well", (canary,)),
    )
    return Script(steps, (1 - _WELL_AT) * seconds, 1.0)


class CanaryBook:
    """What the calls of a canary release came to, phase by phase.

    `node` is the provider of the new version. Times are seconds since the load began.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._held: float | None = None
        self._changes: list[tuple[float, str]] = [(0.0, _CALM)]
        self._calls: list[tuple[float, bool, bool]] = []
        self._testers: Counter[str] = Counter()

    def ended(self, call: CallRecord, first: str | None) -> None:
        """Count a call of rpcguard, whose first attempt was at the node `first`."""
        self._calls.append((call.at, first == self._node, call.error is not None))

    def tested(self, node: str | None) -> None:
        """Count a marked call, and the node that answered it; None for one that failed."""
        self._testers.update(calls=1, there=int(node == self._node), failed=int(node is None))

    def falters(self, now: float) -> None:
        """Note that the new version begins to fail."""
        self._changes.append((now, _FAILING))

    def see(self, route: RouteView, now: float) -> str | None:
        """Take in what the route looks like now; say what is new of it."""
        held = route.guard
        if held is not None and (self._held is None or held > self._held):
            told = f"its guard withdraws the share for {held:.1f} s"
            self._changes += [(now, _HELD), (now + held, _BACK)]
        elif held is None and self._held is not None:
            told = "has its share again"
        else:
            told = None
        self._held = held
        return told

    @property
    def kept_the_promise(self) -> bool:
        """Tell whether the guard withdrew the share wholly, gave it back, and testers went on."""
        calls, there, _ = self._figures()
        testers = self._testers
        switched = calls[_HELD] and not there[_HELD] and there[_BACK]
        return bool(switched and testers["there"] and not testers["failed"])

    def table(self) -> str:
        """Write what the new version got of the ordinary calls, and of the testers'."""
        calls, there, failed = self._figures()
        lines = [f"{'':<16}{'calls':>8}{'to version 2':>15}{'failed':>9}"]
        for phase in _PHASES:
            part = f"{there[phase] / calls[phase]:.1%}" if calls[phase] else "-"
            lines.append(f"{phase:<16}{calls[phase]:>8,}{part:>15}{failed[phase]:>9,}")
        testers = self._testers
        told = f"of {counted(testers['calls'], 'marked call')} {testers['failed']} failed"
        return "\n".join([*lines, f"{told}, version 2 answered {testers['there']}"])

    def _figures(self) -> tuple[Counter[str], Counter[str], Counter[str]]:
        calls, there, failed = Counter[str](), Counter[str](), Counter[str]()
        for at, to_it, lost in self._calls:
            phase = self._phase(at)
            calls[phase] += 1
            there[phase] += to_it
            failed[phase] += lost
        return calls, there, failed

    def _phase(self, at: float) -> str:
        if any(abs(at - change) < _EDGE for change, _ in self._changes[1:]):
            return ""
        return next(name for change, name in reversed(self._changes) if change <= at)
