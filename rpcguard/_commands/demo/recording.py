"""What happened in a run: every call, every event, every state a node was seen in."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, Literal

Client = Literal["httpx", "httpx-retries", "rpcguard"]

LETTERS: Final[dict[Client, str]] = {"httpx": "h", "httpx-retries": "t", "rpcguard": "r"}
"""How the ids of a client's calls begin, in the providers' logs too."""
TITLES: Final[dict[Client, str]] = {
    "httpx": "plain httpx, round robin",
    "httpx-retries": "httpx-retries, round robin",
    "rpcguard": "rpcguard",
}
"""What a client is called where it is shown."""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call of one client; times in seconds, `at` since the load began.

    `node` answered it, or is where it failed if that is known. `error` is None for a good call.
    `saveable` says of a failed call that another attempt would have been safe.
    """

    client: Client
    method: str
    at: float
    duration: float
    node: str | None
    attempts: int = 1  # one that plain httpx makes is all that it makes
    error: str | None = None
    saveable: bool = False


@dataclass(frozen=True, slots=True)
class DemoEvent:
    """One thing worth telling; `kind` is an action of the script, or `state` or `failed`."""

    at: float
    node: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """The state that rpcguard had for a node from `at` on; `state` None: not on its list."""

    at: float
    node: str
    state: str | None
    reason: str | None


@dataclass(slots=True)
class Recording:
    """All that is noted of a run.

    `cold` is for how many seconds a restarted provider is slow; `story` says what is played, where
    that is no release in batches; `clients` are those that call, rpcguard last; `executed_twice`
    counts POSTs by client, from the providers' own logs.
    """

    nodes: tuple[str, ...]
    rate: float
    cold: float
    story: str = ""
    clients: tuple[Client, ...] = ("httpx", "rpcguard")
    calls: list[CallRecord] = field(default_factory=list)
    events: list[DemoEvent] = field(default_factory=list)
    sightings: list[Sighting] = field(default_factory=list)
    executed_twice: Counter[Client] = field(default_factory=Counter)
    seconds: float = 0.0

    def of(self, client: Client) -> list[CallRecord]:
        """Give the calls of one client, in the order in which they ended."""
        return [call for call in self.calls if call.client == client]
