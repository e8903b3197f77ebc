"""Messages of Protocol Buffers, read and written by tables; what no table names is skipped."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

MOST_PARTS: Final = 2_000_000
"""How many fields a message may have, those of its parts included: of empty ones alone, 32 MiB
would become gigabytes."""

UNKNOWN: Final = "unknown fields"
"""The key of a `strict` message for the numbers of fields that its table does not name."""

_DEEPEST: Final = 48
"""How deep messages may be nested. Those of xDS need a dozen; Python's own stack is not to end."""

_VARINT, _FIXED64, _LENGTH, _GROUP, _GROUP_END, _FIXED32 = range(6)
"""Wire types, https://protobuf.dev/programming-guides/encoding/#structure."""

_LONGEST_VARINT: Final = 10  # bytes, of 64 bits by sevens

_NEGATIVE: Final = 1 << 64  # what a negative number is counted down from


class Scalar(NamedTuple):
    """A type of one value: how it is on the wire, and what is made of it there and back."""

    wire: int
    read: Callable[[Any], Any]
    write: Callable[[Any], Any]


def _signed(bits: int) -> Callable[[int], int]:
    half, whole = 1 << (bits - 1), 1 << bits
    return lambda value: ((value & (whole - 1)) ^ half) - half


def _double(raw: bytes) -> float:
    number: float = struct.unpack("<d", raw)[0]
    return number


UINT32: Final = Scalar(_VARINT, lambda value: value & 0xFFFF_FFFF, int)
UINT64: Final = Scalar(_VARINT, int, int)
INT32: Final = Scalar(_VARINT, _signed(32), int)  # bits, as its name says
INT64: Final = Scalar(_VARINT, _signed(64), int)  # bits, as its name says
ENUM: Final = INT32
BOOL: Final = Scalar(_VARINT, bool, int)
DOUBLE: Final = Scalar(_FIXED64, _double, lambda value: struct.pack("<d", value))
TEXT: Final = Scalar(_LENGTH, bytes.decode, str.encode)
BYTES: Final = Scalar(_LENGTH, bytes, bytes)


class Message:
    """A type of message: its fields by their numbers.

    A value is a dict of the fields that are set, by name. `unwrap` and `wrap` make another value of
    that dict and back, for messages that stand for a number, a text or a mapping. One that is
    `strict` tells of fields that it does not know, by the key `UNKNOWN`: a condition that is left
    out makes a rule wider.
    """

    __slots__ = ("_by_name", "fields", "inner", "strict", "unwrap", "wrap")

    def __init__(
        self,
        fields: Mapping[int, Field] | None = None,
        *,
        unwrap: Callable[[dict[str, Any]], Any] | None = None,
        wrap: Callable[[Any], dict[str, Any]] | None = None,
        strict: bool = False,
    ) -> None:
        self.strict: bool = strict
        self.unwrap: Callable[[dict[str, Any]], Any] | None = unwrap
        self.wrap: Callable[[Any], dict[str, Any]] | None = wrap
        self.fields: dict[int, Field] = {}
        self.inner: tuple[Field, ...] = ()
        self._by_name: dict[str, tuple[int, Field]] = {}
        self.define(fields or {})

    def define(self, fields: Mapping[int, Field]) -> None:
        """Set the fields, of a type that is part of itself after it was made."""
        self.fields = dict(fields)
        self.inner = tuple(field for field in fields.values() if isinstance(field.kind, Message))
        self._by_name = {field.name: (number, field) for number, field in fields.items()}

    def decode(self, data: bytes, *, most_parts: int = MOST_PARTS) -> Any:
        """Read a message; raise `ValueError` for what is none, too deep, or of too many parts."""
        return next(self.decode_all((data,), most_parts=most_parts))

    def decode_all(
        self, several: Iterable[bytes], *, most_parts: int = MOST_PARTS
    ) -> Iterator[Any]:
        """Read messages that have so many parts at most together, as `decode` reads one."""
        for data in several:
            found: dict[str, Any] = {}
            reader = _Reader(data, most_parts)
            try:
                reader.read(self, 0, len(data), found, 0)
            except (IndexError, UnicodeDecodeError) as error:
                raise ValueError(f"it is no message: {error}") from error
            most_parts = reader.left
            yield self.finished(found)

    def finished(self, found: dict[str, Any]) -> Any:
        """Make of a dict what the message stands for, its parts first."""
        for field in self.inner:
            value = found.get(field.name)
            if value is None:
                continue
            kind = field.kind
            assert isinstance(kind, Message)
            if not field.many:
                found[field.name] = kind.finished(value)
            else:
                values = [kind.finished(each) for each in value]
                found[field.name] = dict(values) if field.keyed else values
        return found if self.unwrap is None else self.unwrap(found)

    def encode(self, value: Any) -> bytes:
        """Write a message; fields that the table does not name are an error (`KeyError`)."""
        out = bytearray()
        values = value if self.wrap is None else self.wrap(value)
        for name, one in values.items():
            number, field = self._by_name[name]
            for each in _each(field, one):
                out += _encoded(number, field.kind, each)
        return bytes(out)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message.

    `many` makes it a list, `keyed` a mapping, whose entries are messages of `key` and `value`. Of
    the fields of one `choice` the last one counts, and a zero in one of them is a value.
    """

    name: str
    kind: Scalar | Message
    many: bool = False
    keyed: bool = False
    choice: tuple[str, ...] = ()


def one(name: str, kind: Scalar | Message) -> Field:
    """Describe a field of one value."""
    return Field(name, kind)


def many(name: str, kind: Scalar | Message) -> Field:
    """Describe a field of any number of values."""
    return Field(name, kind, many=True)


def keyed(name: str, value: Scalar | Message, *, empty: Any) -> Field:
    """Describe a mapping from texts; `empty` is what an entry without a value has."""
    pair = Message({1: one("key", TEXT), 2: one("value", value)})
    pair.unwrap = lambda entry: (entry.get("key", ""), entry.get("value", empty))
    pair.wrap = lambda entry: {"key": entry[0], "value": entry[1]}
    return Field(name, pair, many=True, keyed=True)


def choice(fields: Mapping[int, Field]) -> dict[int, Field]:
    """Make fields one choice (`oneof`)."""
    names = tuple(field.name for field in fields.values())
    return {number: Field(field.name, field.kind, choice=names) for number, field in fields.items()}


class _Reader:
    """One walk over the bytes of a message, and what it may still find."""

    __slots__ = ("_data", "left")

    def __init__(self, data: bytes, most_parts: int) -> None:
        self._data = data
        self.left: int = most_parts

    def read(self, message: Message, at: int, end: int, into: dict[str, Any], depth: int) -> None:
        """Read the fields between two places."""
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        fields = message.fields
        while at < end:
            key, at = self._varint(at, end)
            field = fields.get(key >> 3)
            at, raw = self._value(key, at, end, depth)
            if field is not None and raw is not None:
                self._take(field, key & 7, at, raw, into, depth)
            elif message.strict:
                into.setdefault(UNKNOWN, []).append(key >> 3)

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        data, value, shift, last = self._data, 0, 0, min(end, at + _LONGEST_VARINT)
        while at < last:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & (_NEGATIVE - 1), at
            shift += 7
        raise ValueError("it is no message: a number does not end")

    def _value(self, key: int, at: int, end: int, depth: int) -> tuple[int, int | None]:
        """Give the place after a value, and the value of a number or the length of the rest."""
        self.left -= 1
        if self.left < 0:
            raise ValueError("it has too many parts")
        wire = key & 7
        if not 0 < key >> 3 < 1 << 29:
            raise ValueError("it is no message: a field has no number")
        if wire == _VARINT:
            value, at = self._varint(at, end)
            return at, value
        if wire == _LENGTH:
            size, at = self._varint(at, end)
        elif wire == _GROUP:
            return self._skip_group(key >> 3, at, end, depth + 1), None
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError("it is no message: a field is of no known kind")
        if size > end - at:
            raise ValueError("it is no message: it is cut short")
        return at + size, size

    def _skip_group(self, number: int, at: int, end: int, depth: int) -> int:
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        while True:
            key, at = self._varint(at, end)
            if key & 7 == _GROUP_END:
                if key >> 3 != number:
                    raise ValueError("it is no message: a group ends that has not begun")
                return at
            at, _ = self._value(key, at, end, depth)

    def _take(
        self, field: Field, wire: int, at: int, raw: int, into: dict[str, Any], depth: int
    ) -> None:
        """Take in a value: the number `raw`, or the `raw` bytes before `at`."""
        kind = field.kind
        if isinstance(kind, Message):
            if wire == _LENGTH:
                self._take_message(field, kind, at - raw, at, into, depth)
        elif wire == kind.wire:
            value = kind.read(raw if wire == _VARINT else self._data[at - raw : at])
            if field.many:
                into.setdefault(field.name, []).append(value)
            else:
                _set(field, value, into)
        elif wire == _LENGTH and field.many and kind.wire == _VARINT:
            self._take_packed(field, kind, at - raw, at, into)

    def _take_message(
        self, field: Field, kind: Message, at: int, end: int, into: dict[str, Any], depth: int
    ) -> None:
        if field.many:
            inner: dict[str, Any] = {}
            into.setdefault(field.name, []).append(inner)
        else:
            for name in field.choice:
                if name != field.name:
                    into.pop(name, None)
            inner = into.setdefault(field.name, {})  # said twice, the parts are merged
        self.read(kind, at, end, inner, depth + 1)

    def _take_packed(
        self, field: Field, kind: Scalar, at: int, end: int, into: dict[str, Any]
    ) -> None:
        values = into.setdefault(field.name, [])
        while at < end:
            value, at = self._varint(at, end)
            values.append(kind.read(value))
            self.left -= 1
            if self.left < 0:
                raise ValueError("it has too many parts")
        if not values:
            del into[field.name]


def _set(field: Field, value: Any, into: dict[str, Any]) -> None:
    for name in field.choice:
        into.pop(name, None)
    if value or field.choice:
        into[field.name] = value
    else:
        into.pop(field.name, None)  # outside of a choice a zero is as good as nothing


def _each(field: Field, value: Any) -> Any:
    if field.keyed:
        return value.items()
    return value if field.many else (value,)


def _encoded(number: int, kind: Scalar | Message, value: Any) -> bytes:
    if isinstance(kind, Message):
        data = kind.encode(value)
        return _number(number << 3 | _LENGTH) + _number(len(data)) + data
    key, written = _number(number << 3 | kind.wire), kind.write(value)
    if kind.wire == _VARINT:
        return key + _number(written)
    raw: bytes = written
    return key + (_number(len(raw)) if kind.wire == _LENGTH else b"") + raw


def _number(value: int) -> bytes:
    left = value % _NEGATIVE
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)
