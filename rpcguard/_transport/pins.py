"""Keys, as a transport meets them: what says which calls belong together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from rpcguard._core.balancing.rendezvous import hash_of
from rpcguard._core.routing.facts import Facts
from rpcguard._core.routing.table import Table
from rpcguard._core.service.asks import Ask

if TYPE_CHECKING:
    import httpx

    from rpcguard._core.policies.affinity import Affinity


_NO_RULES: Final = Table("", (), ())
"""For calls that have a key and nothing that rules look at."""


def pin(policy: Affinity, request: httpx.Request, options: object, ask: Ask | None) -> Ask:
    """Put the key of a call into what it asks for; `options` were checked."""
    given = options.get("key") if isinstance(options, Mapping) else None
    if ask is None:
        facts = Facts(request, mark=None, baggage=_none_of, options={})
        ask = Ask(_NO_RULES, facts, anywhere=True)
    key = ask.value(policy.by) if given is None else given
    ask.key = hash_of(key) if key else None
    return ask


def _none_of(_: str) -> None:
    return None
