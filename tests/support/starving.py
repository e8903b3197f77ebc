"""Find nodes that a run of the demo could have called and did not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rpcguard._commands.demo.recording import Recording

STEP = 0.1
HURT = {"kill": "list", "freeze": "list", "sick": "well"}
"""What the script does to a node, and what ends it; meanwhile it is not well, whatever is known."""


def starved(recording: Recording, *, span: float) -> list[tuple[str, float, int, float]]:
    """Give node, time, picks and equal share wherever a well, available one had less than half.

    Looked at is every stretch of `span` seconds in which its state was "available" all the time.
    The equal share is that among the nodes that were. A stretch with less than half of the calls
    that were to be sent is the machine's, which then lets nodes wait as it likes.
    """
    states = {node: list(_spans(recording, node)) for node in recording.nodes}
    calls = sorted(
        (call.at, call.node) for call in recording.of("rpcguard") if call.node is not None
    )
    found = []
    for step in range(int((recording.seconds - span) / STEP)):
        begin = step * STEP
        well = [
            node
            for node, spans in states.items()
            if any(since <= begin and begin + span <= until for since, until in spans)
        ]
        sent = [node for at, node in calls if begin <= at < begin + span]
        if len(sent) < recording.rate * span / 2:
            continue
        went = [node for node in sent if node in well]
        for node in well:
            equal = len(went) / len(well)
            if went.count(node) < equal / 2:
                found.append((node, begin, went.count(node), equal))
    return found


def _spans(recording: Recording, node: str) -> Iterator[tuple[float, float]]:
    """Give the stretches in which a node was available and well."""
    seen = [one for one in recording.sightings if one.node == node]
    told = [event for event in recording.events if event.node == node]
    marks = [(one.at, "state", one.state == "available") for one in seen]
    marks += [(event.at, "health", False) for event in told if event.kind in HURT]
    marks += [(event.at, "health", True) for event in told if event.kind in HURT.values()]
    up, well = False, True
    since: float | None = None
    for at, what, good in [*sorted(marks), (recording.seconds, "state", False)]:
        if what == "state":
            up = good
        else:
            well = good
        if since is None and up and well:
            since = at
        elif since is not None and not (up and well):
            yield since, at
            since = None
