"""The rules of Dubbo in ZooKeeper, below the node of its configuration centre."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from kazoo.exceptions import NoNodeError  # type: ignore[import-untyped]

from rpcguard._core.routing.documents import MOST_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kazoo.client import KazooClient  # type: ignore[import-untyped]

RULES: Final = "/dubbo/config/dubbo"
"""Where Dubbo's configuration centre keeps rules, unless its namespace has another name."""


def rule_texts(
    client: KazooClient, root: str, names: Iterable[str], timeout: float
) -> dict[str, str]:
    """Read the rules of some names, each found in any case, the exact one first.

    Raises kazoo's exceptions, and `ValueError` for a rule that is too long or no text.
    """
    there: list[str] = []
    with suppress(NoNodeError):
        listing: Any = client.get_children_async(root)
        there = listing.get(timeout=timeout)
    in_any_case = {name.lower(): name for name in sorted(there, reverse=True)}
    found = {}
    for name in names:
        stored = name if name in there else in_any_case.get(name.lower())
        if stored is None:
            continue
        with suppress(NoNodeError):  # taken away meanwhile
            answer: Any = client.get_async(f"{root}/{stored}")
            data, _ = answer.get(timeout=timeout)
            if len(data) > MOST_BYTES:
                raise ValueError(f"{stored}: it has more than {MOST_BYTES} bytes")
            found[name] = data.decode()
    return found
