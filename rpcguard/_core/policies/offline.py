"""How a node's own word that it leaves is taken."""

from __future__ import annotations

from dataclasses import dataclass

from rpcguard._checks import require_bools, require_positive, require_shares


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflinePolicy:
    """How a node's own word that it leaves is taken; all times in seconds.

    None of this bounds what the user marks by `mark_offline`, nor does a signal shorten it.
    """

    ttl: float = 30.0
    """Seconds of a mark that asks for no time of its own: longer than most restarts, and a good
    probe ends it sooner."""
    max_ttl: float = 120.0
    """Seconds that a signal may ask for at most: a node that is wrong, or lies, is back soon."""
    max_retry_after: float = 60.0
    """Seconds for which a `Retry-After` is followed at most: many send an hour and mean a pause."""
    max_share: float = 0.5
    """Marks cover at most this share of a service, 0 to 1, one node at least, and never the last
    usable one: no word of nodes may take more than half of a service away. At the cap the oldest
    mark whose node answers again gives way to a new one."""
    enforce: bool = True
    """False counts the signals and marks nothing; to see who sends them before they count."""

    def __post_init__(self) -> None:
        require_positive(self, "ttl", "max_ttl", "max_retry_after")
        require_shares(self, "max_share")
        require_bools(self, "enforce")
