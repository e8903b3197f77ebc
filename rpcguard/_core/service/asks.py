"""What one call asks for by lanes and routes, and what was decided of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rpcguard._core.nodes.live import LiveNode
    from rpcguard._core.policies.routing import Route
    from rpcguard._core.routing.facts import Facts
    from rpcguard._core.routing.shares import Share
    from rpcguard._core.routing.table import Entry, Table


class Ask:
    """What one call asks for: its mark, and the routes that match it by the rules of a table.

    Made for each call without a lock; `aim` is filled in under that of the service. `anywhere` is
    for a service all of whose nodes are those of the lane. `key` is the hash of the call's key,
    None where it has none, and `home` the node it belongs to, once that was looked for. `places`
    has that of the call in each sticky share for which it has a value.
    """

    __slots__ = ("_facts", "aim", "anywhere", "home", "key", "mark", "matched", "places", "table")

    def __init__(self, table: Table, facts: Facts, *, anywhere: bool = False) -> None:
        self.anywhere: bool = anywhere
        self.aim: Aim | None = None
        self.key: int | None = None
        self.home: LiveNode | None = None
        self.mark: str | None = facts.mark
        self.table: Table
        self.matched: tuple[Entry, ...]
        self.places: Mapping[Entry, float]
        self._facts = facts
        self.renew(table)

    def renew(self, table: Table) -> None:
        """Match the call by the rules of a table."""
        self.table = table
        self.matched = () if self.anywhere else table.matching(self._facts)
        self.places = table.places(self.matched, self._facts) if table.sticky else _NO_PLACES

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
        """Give a fact of the call, such as its key; None where it lacks it."""
        return self._facts.get(key)


_NO_PLACES: Final[Mapping[Entry, float]] = {}


class Aim:
    """Where calls are to go, for all their attempts: what the routes and their turns came to.

    Calls that come to the same share one, so that what follows from it is looked up by it.
    """

    __slots__ = ("_passed", "_share", "declined", "entry", "lane")

    def __init__(
        self,
        entry: Entry | None,
        lane: str | None,
        *,
        declined: tuple[str, ...] = (),
        share: Share | None = None,
        passed: tuple[Share, ...] = (),
    ) -> None:
        self.entry: Entry | None = entry
        """The route that took them."""
        self.lane: str | None = lane
        """The mark that they have from now on."""
        self.declined: tuple[str, ...] = declined
        """The shares that did not take them."""
        self._share = share
        self._passed = passed

    def count(self, *, served: bool) -> None:
        """Note whether the nodes of the route that took a call served it."""
        for share in self._passed:
            share.passed += 1
        if self._share is not None:
            self._share.count(served=served)


PLAIN: Final = Aim(None, None)
"""The aim of an unmarked call that no route has taken."""
