"""What the value of a key says of a node, in each of the layouts that frameworks use in etcd."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from rpcguard.registries._shared.documents import json_from_bytes

_ENDPOINT: Final = re.compile(
    r"(?:(https?)://)?(\[[^\]/]+\]|[^\[\]:/?#]+):([0-9]{1,5})/?(?:\?(.*))?", re.IGNORECASE
)
_KRATOS_WEIGHT: Final = 100.0
_LONGEST_SHOWN: Final = 100

Fields = Mapping[str, object]


def mapping(value: object) -> Fields:
    """Give a JSON object as it is; raise `ValueError` for anything else."""
    if not isinstance(value, Mapping):
        raise ValueError(f"an object is wanted, not {type(value).__name__}")
    return value


def shortened(text: object) -> str:
    """Show what somebody else wrote, in quotes and cut."""
    return repr(str(text)[:_LONGEST_SHOWN])


def _raw(value: bytes) -> Fields:
    if value.lstrip().startswith(b"{"):
        return mapping(json_from_bytes(value))
    return _endpoint(value.decode().strip())


def _gozero(value: bytes) -> Fields:
    return _endpoint(value.decode().strip())


def _grpc(value: bytes) -> Fields:
    document = mapping(json_from_bytes(value))
    metadata = document.get("Metadata")
    described = _described(metadata) if isinstance(metadata, Mapping) else {}
    return {**described, **_endpoint(str(document.get("Addr")))}


def _kratos(value: bytes) -> Fields:
    document = mapping(json_from_bytes(value))
    endpoints = document.get("endpoints")
    for text in endpoints if isinstance(endpoints, list) else []:
        if str(text).lower().startswith(("http://", "https://")):
            metadata = mapping(document.get("metadata") or {})
            described = _described(metadata, full_weight=_KRATOS_WEIGHT)
            version = document.get("version") or described["version"]
            return {**described, **_endpoint(text), "version": version}
    raise ValueError("it has no http endpoint")


def _described(metadata: Mapping[str, object], *, full_weight: float = 1.0) -> dict[str, object]:
    fields = {name: metadata.get(name) for name in ("zone", "version")}
    numbers = {name: _number(metadata.get(name)) for name in ("weight", "started_at")}
    if numbers["weight"] is not None:
        numbers["weight"] /= full_weight
    return {**fields, **numbers, "metadata": metadata}


def _number(text: object) -> float | None:
    return None if text is None else float(str(text))


def _endpoint(text: str) -> dict[str, object]:
    match = _ENDPOINT.fullmatch(text)
    if match is None:
        raise ValueError(f"{shortened(text)} is not host:port")
    scheme, host, port, query = match.groups()
    secure = "issecure=true" in (query or "").lower()
    found = "https" if secure else scheme and scheme.lower()
    return {"host": host, "port": int(port), **({"scheme": found} if found else {})}


LAYOUTS: Final = {"raw": _raw, "kratos": _kratos, "gozero": _gozero, "grpc": _grpc}
"""The layouts by name: each makes the fields of a node of a value, or raises `ValueError`."""
