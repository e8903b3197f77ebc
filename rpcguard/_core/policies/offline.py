"""How a node's own word that it leaves is taken."""

from __future__ import annotations

from dataclasses import dataclass

from rpcguard._checks import require_bools, require_positive, require_shares


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflinePolicy:
    """Set how a node's own word that it leaves is taken; all times in seconds.

    A mark lives `ttl`, or what the signal asks for, at most `max_ttl`; a `Retry-After` is followed
    for at most `max_retry_after`. Marks cover at most `max_share` of a service, and never its last
    usable node. `enforce=False` counts the signals and marks nothing. None of this bounds what the
    user marks by `mark_offline`, nor does a signal shorten it.
    """

    ttl: float = 30.0
    max_ttl: float = 120.0
    max_retry_after: float = 60.0
    max_share: float = 0.5
    enforce: bool = True

    def __post_init__(self) -> None:
        require_positive(self, "ttl", "max_ttl", "max_retry_after")
        require_shares(self, "max_share")
        require_bools(self, "enforce")
