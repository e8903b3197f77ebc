"""What one call asks for by lanes and routes, and what was decided of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.policies.routing import Route
    from rpcguard._core.routing.facts import Facts
    from rpcguard._core.routing.table import Entry, Table


class Ask:
    """What one call asks for: its mark, and the routes that match it by the rules of a table.

    Made for each call without a lock; `aim` is filled in under that of the service. `anywhere` is
    for a service all of whose nodes are those of the lane. `key` is the hash of the call's key,
    None where it has none, and `home` the node it belongs to, once that was looked for.
    """

    __slots__ = ("_facts", "aim", "anywhere", "home", "key", "mark", "matched", "table")

    def __init__(self, table: Table, facts: Facts, *, anywhere: bool = False) -> None:
        self.anywhere: bool = anywhere
        self.aim: Aim | None = None
        self.key: int | None = None
        self.home: LiveNode | None = None
        self.table: Table = table
        self.mark: str | None = facts.mark
        self.matched: list[Entry] = [] if anywhere else table.matching(facts)
        self._facts = facts

    def renew(self, table: Table) -> None:
        """Match the same call by other rules."""
        self.table = table
        self.matched = [] if self.anywhere else table.matching(self._facts)

    @property
    def route(self) -> Route | None:
        """Give the route that took the call; None before that is decided, and without one."""
        aim = self.aim
        return None if aim is None or aim.entry is None else aim.entry.route

    @property
    def wanted(self) -> str:
        """Say in words which nodes the call was meant for; empty for an ordinary one."""
        aim = self.aim
        if aim is None or (aim.entry is None and aim.lane is None):
            return ""
        route = "" if aim.entry is None else f" of route {aim.entry.route.name!r}"
        lane = "" if aim.lane is None else f" of lane {aim.lane!r}"
        return f"{route}{lane}"

    def value(self, key: str) -> str | None:
        """Give what decides on a sticky share, or is the key; None where the call lacks it."""
        return self._facts.get(key)


class Aim(NamedTuple):
    """Where one call is to go, for all its attempts: what the routes and their turns came to."""

    entry: Entry | None
    """The route that took it."""

    lane: str | None
    """The mark that it has from now on."""

    declined: tuple[str, ...] = ()
    """The shares that did not take it."""


PLAIN: Final = Aim(None, None)
"""The aim of an unmarked call that no route has taken."""
