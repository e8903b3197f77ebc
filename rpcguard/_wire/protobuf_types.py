"""Messages that many protocols of Protocol Buffers have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rpcguard._wire.protobuf import (
    BOOL,
    BYTES,
    DOUBLE,
    ENUM,
    INT32,
    INT64,
    TEXT,
    UINT32,
    Message,
    Scalar,
    choice,
    keyed,
    many,
    one,
)


def _value_of(fields: dict[str, Any]) -> Any:
    name, value = next(iter(fields.items()), ("null_value", None))
    return None if name == "null_value" else value


def _fields_of(value: Any) -> dict[str, Any]:
    if value is None:
        return {"null_value": 0}
    if isinstance(value, bool):
        return {"bool_value": value}
    if isinstance(value, (int, float)):
        return {"number_value": float(value)}
    if isinstance(value, str):
        return {"string_value": value}
    return {"struct_value" if isinstance(value, Mapping) else "list_value": value}


def _wrapped(kind: Scalar, zero: Any) -> Message:
    return Message(
        {1: one("value", kind)},
        unwrap=lambda fields: fields.get("value", zero),
        wrap=lambda value: {"value": value},
    )


# google/protobuf/wrappers.proto
UINT32_VALUE: Final = _wrapped(UINT32, 0)
BOOL_VALUE: Final = _wrapped(BOOL, False)
# google/protobuf/any.proto
ANY: Final = Message({1: one("type_url", TEXT), 2: one("value", BYTES)})
# google/protobuf/duration.proto
DURATION: Final = Message(
    {1: one("seconds", INT64), 2: one("nanos", INT32)},
    unwrap=lambda fields: fields.get("seconds", 0) + fields.get("nanos", 0) / 1e9,
)

_VALUE: Final = Message(unwrap=_value_of, wrap=_fields_of)
# google/protobuf/struct.proto: Struct
STRUCT: Final = Message(
    {1: keyed("fields", _VALUE, empty=None)},
    unwrap=lambda fields: fields.get("fields", {}),
    wrap=lambda value: {"fields": value},
)
# The same: ListValue
_LIST: Final = Message(
    {1: many("values", _VALUE)},
    unwrap=lambda fields: fields.get("values", []),
    wrap=lambda value: {"values": value},
)
_VALUE.define(
    choice(
        {
            1: one("null_value", ENUM),
            2: one("number_value", DOUBLE),
            3: one("string_value", TEXT),
            4: one("bool_value", BOOL),
            5: one("struct_value", STRUCT),
            6: one("list_value", _LIST),
        }
    )
)
