"""Why a service has no node to pick, in a sentence for whoever called it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rpcguard._core.service.service import Service

_SHOWN = 10  # nodes in an error, with their reasons: more are not read


def why_no_node(service: Service, registry: str, no_list: str) -> str:
    """Say why a service has no node to pick; `no_list` is the reason where there is no list."""
    views = service.nodes()
    if not service.ready:
        return f"{no_list} in time; is the registry up?"
    if not service.known:
        return f"{registry} does not know this service; is its name right?"
    if not views and service.left_out:
        refused = f", {service.refused} by allowed_networks" if service.refused else ""
        return f"of {registry} nothing is left: {service.left_out}{refused}"
    if not views and service.refused:
        return f"all {service.refused} nodes of {registry} are outside of allowed_networks"
    if not views:
        return f"{registry} lists no node of it; is one registered?"
    shown = [f"{view.node.id} {view.state}: {view.reason}" for view in views[:_SHOWN]]
    more = f"; and {len(views) - _SHOWN} more" if len(views) > _SHOWN else ""
    return f"of {registry}: {'; '.join(shown)}{more}"
