"""Label sets that are there, at 0, before the first event: what first comes as 1 has no rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DENIALS: Final = (
    "budget",
    "deadline",
    "no_other_node",
    "not_idempotent",
    "not_replayable",
    "retried_above",
    "retried_below",
    "throttled",
)
"""Why a retry is not made."""
EJECTIONS: Final = ("connect", "handshake", "consecutive", "failure_rate", "trial")
"""Why a node is ejected."""
OUTCOMES: Final = (
    "ConnectError",
    "ConnectTimeout",
    "ReadError",
    "ReadTimeout",
    "RemoteProtocolError",
    "500",
    "502",
    "503",
    "504",
)
"""How most attempts end that are retried; names of other errors come with their first."""
SIGNALS: Final = ("X-RpcGuard-Offline", "GOAWAY")
"""What carries most words of nodes that they leave; those of others come with their first."""
FAILURES: Final = ("RegistryError", "TimeoutError")
"""What a registry that gives no list mostly raises, or is."""


def label_sets(service: str) -> Iterator[tuple[str, Mapping[str, str | bool]]]:
    """Give the label sets of a service that any transport may count, each with its counter."""
    name = {"server.address": service}
    yield "panics", name
    yield "refreshes", name
    for reason in DENIALS:
        yield "denied", {**name, "rpcguard.denial.reason": reason}
    for reason in OUTCOMES:
        yield "retries", {**name, "rpcguard.retry.reason": reason}
    for error in FAILURES:
        yield "refreshes", {**name, "error.type": error}
    for enforced in (True, False):
        for reason in EJECTIONS:
            reasons = {"rpcguard.ejection.reason": reason, "rpcguard.ejection.enforced": enforced}
            yield "ejections", {**name, **reasons}
        for signal in SIGNALS:
            signals = {"rpcguard.offline.signal": signal, "rpcguard.offline.enforced": enforced}
            yield "signals", {**name, **signals}
