"""What the simulation has found, each kept as the few parts that it took."""

from __future__ import annotations

from rpcguard import Node
from tests.simulation.scenario import Begin, Listing, Mood, Part, Scenario


def _case(names: str, *parts: Part) -> Scenario:
    nodes = [Node(f"10.0.0.{ord(name) - 96}", 80, id=name, generation=1) for name in names]
    return Scenario(1, "RoundRobin", tuple(nodes), parts)


CASES = {
    "a leaving node that the cap had kept in use was found dead, and not known to be down": _case(
        "acde",
        Begin(0.365, method="POST", fates=("goaway after",)),
        Begin(1.577, fates=("502", "refused stream")),
        Mood(1.635, "a", "cut off"),
        Begin(2.196, fates=("reset", "leaving soon")),
        Begin(2.3, fates=("sermant leaving", "nack"), timeout=0.1),
    ),
    "a node that asks to be left alone until a date was judged by another clock": _case(
        "ab", Begin(0.1, fates=("pause until",))
    ),
    "a call in panic ended the trial of another, and a second trial began": _case(
        "ab",
        Begin(1.0, fates=("bad certificate", "stale, but run")),
        Begin(30.0, fates=("unreachable",)),
        Begin(30.1, fates=("slow", "stale"), timeout=0.1),
        Begin(34.0, fates=("bad certificate",)),
    ),
    "a probe ejected a node that had just left the list, and so the next of its name": _case(
        "abc",
        Mood(1.0, "a", "dead"),
        Mood(1.0, "b", "dead"),
        Listing(2.0, ()),
        *(Begin(30.0 + at) for at in range(6)),
    ),
    "an answer was drained into the time of the next attempt": _case(
        "abcd",
        *(
            Begin(
                float(at),
                fates=("pool full", "502", "ok"),
                options={"attempts": 4, "deadline": 0.05},
            )
            for at in range(1, 200, 9)
        ),
    ),
}
