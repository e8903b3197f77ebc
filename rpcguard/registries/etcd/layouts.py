"""What the value of a key says of a node, in each of the layouts that frameworks use in etcd."""

from __future__ import annotations

import re
from typing import Final

from rpcguard.registries._shared.documents import json_from_bytes
from rpcguard.registries._shared.fields import Fields, mapping, number, part

_ENDPOINT: Final = re.compile(
    r"(?:(https?)://)?(\[[^\]/]+\]|[^\[\]:/?#]+):([0-9]{1,5})/?(?:\?(.*))?", re.IGNORECASE
)
_KRATOS_WEIGHT: Final = 100.0  # what kratos gives a node of normal weight
_LONGEST_SHOWN: Final = 100  # characters of a value that is shown in a fault


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
    described = _described(part(document, "Metadata"))
    return {**described, **_endpoint(str(document.get("Addr")))}


def _kratos(value: bytes) -> Fields:
    document = mapping(json_from_bytes(value))
    endpoints = document.get("endpoints")
    for text in endpoints if isinstance(endpoints, list) else []:
        if str(text).lower().startswith(("http://", "https://")):
            described = _described(part(document, "metadata"), full_weight=_KRATOS_WEIGHT)
            version = document.get("version") or described["version"]
            return {**described, **_endpoint(text), "version": version}
    raise ValueError("it has no http endpoint")


def _described(metadata: Fields, *, full_weight: float = 1.0) -> dict[str, object]:
    fields = {name: metadata.get(name) for name in ("zone", "version", "started_at")}
    weight = number(metadata.get("weight"))
    share = None if weight is None else weight / full_weight
    return {**fields, "weight": share, "metadata": metadata}


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
