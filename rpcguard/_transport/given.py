"""What a transport was given, by its user or by the environment: its registry, its hedges."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rpcguard._checks import is_registry, require_unseen
from rpcguard._core.policies.membership import OVERPROVISION
from rpcguard.errors import InvalidRegistryURL
from rpcguard.registries._shared.methods import misshapen, own

if TYPE_CHECKING:
    from rpcguard._core.policies.overrides import PoliciesByService
    from rpcguard.registries.base import Registry

ENVIRONMENT = "RPCGUARD_REGISTRY"


def given_registry(registry: str | Registry | None) -> str | Registry:
    """Give the registry that is meant; raise `InvalidRegistryURL` where none is."""
    given = os.environ.get(ENVIRONMENT) if registry is None else registry
    if given is None or (isinstance(given, str) and not given):  # one may be empty, as a dict is
        raise InvalidRegistryURL(
            f"no registry: pass a URL such as static://10.0.0.1:8080, or set {ENVIRONMENT}"
        )
    require_unseen("registry", given, "a URL or an object with `fetch`", is_registry(given))
    fault = misshapen(given)
    if fault is not None:
        raise ValueError(f"registry: {fault}")
    return given


def overprovision_of(registry: str | Registry) -> float:
    """Give how much more than its part a level of priority bears, by the registry's protocol."""
    if isinstance(registry, str):
        return OVERPROVISION if registry.lower().startswith("xds") else 0.0
    factor = own(registry, "overprovision")
    return factor if isinstance(factor, float) else 0.0


def refuse_hedges(policies: PoliciesByService) -> None:
    """Raise `ValueError` where calls are to be hedged that are made in threads."""
    if policies.hedge:
        raise ValueError(
            "hedge is for AsyncTransport: what a thread waits for cannot be called off, so the"
            " slower attempt would go on, and hold a thread of its own"
        )
