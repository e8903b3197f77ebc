"""What a balancer is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection

    from rpcguard._core.nodes.live import LiveNode


class Balancer(Protocol):
    """What picks one of the eligible nodes of a service.

    Called only under the lock of its service, so it needs none of its own. The weight of a node
    stays as it is between `add` and `remove`; its ramp moves. `considered` holds the nodes that
    the last pick compared, with their loads, the picked one first. A retry excludes the nodes that
    its call has tried; it may pick several others and use one, so a balancer that counts turns had
    better count only picks without exclusions.
    """

    considered: tuple[tuple[LiveNode, float], ...]

    def __len__(self) -> int:
        """Count the eligible nodes."""
        ...

    def add(self, live: LiveNode) -> None:
        """Take in a node that has become eligible."""
        ...

    def remove(self, live: LiveNode) -> None:
        """Remove a node that is no longer eligible."""
        ...

    def pick(self, now: float, excluded: Collection[LiveNode] = ()) -> LiveNode | None:
        """Pick a node that is not excluded; None when there is none."""
        ...
