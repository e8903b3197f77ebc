"""The reader of protobuf messages, beside the official runtime."""

from __future__ import annotations

import pytest
from google.protobuf import any_pb2, duration_pb2, struct_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st

from rpcguard._wire.protobuf import (
    BOOL,
    BYTES,
    DOUBLE,
    INT32,
    INT64,
    TEXT,
    UINT32,
    UINT64,
    Message,
    choice,
    many,
    one,
)
from rpcguard._wire.protobuf_types import ANY, DURATION, STRUCT

OURS = Message()
OURS.define(
    {
        1: one("text", TEXT),
        2: many("texts", TEXT),
        3: one("unsigned", UINT32),
        4: one("wide", UINT64),
        5: one("signed", INT32),
        6: one("long", INT64),
        7: one("flag", BOOL),
        8: one("share", DOUBLE),
        9: one("raw", BYTES),
        10: many("numbers", UINT32),
        11: one("inner", OURS),
        12: many("inners", OURS),
        **choice({13: one("left", UINT32), 14: one("right", OURS), 15: one("middle", TEXT)}),
        20: one("meta", STRUCT),
    }
)

_TYPES = FieldDescriptorProto


def _official():
    """Describe the same message to the official runtime."""
    file = FileDescriptorProto(name="rpcguard_test.proto", package="rpcguard.test", syntax="proto3")
    file.dependency.append("google/protobuf/struct.proto")
    message = DescriptorProto(name="Thing")
    message.oneof_decl.add(name="side")
    kinds = {
        UINT32: _TYPES.TYPE_UINT32,
        UINT64: _TYPES.TYPE_UINT64,
        INT32: _TYPES.TYPE_INT32,
        INT64: _TYPES.TYPE_INT64,
        BOOL: _TYPES.TYPE_BOOL,
        DOUBLE: _TYPES.TYPE_DOUBLE,
        TEXT: _TYPES.TYPE_STRING,
        BYTES: _TYPES.TYPE_BYTES,
    }
    for number, field in OURS.fields.items():
        label = _TYPES.LABEL_REPEATED if field.many else _TYPES.LABEL_OPTIONAL
        told = message.field.add(name=field.name, number=number, label=label)
        if isinstance(field.kind, Message):
            told.type = _TYPES.TYPE_MESSAGE
            own = field.kind is OURS
            told.type_name = ".rpcguard.test.Thing" if own else ".google.protobuf.Struct"
        else:
            told.type = kinds[field.kind]
        if field.choice:
            told.oneof_index = 0
    file.message_type.append(message)
    pool = DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("rpcguard.test.Thing"))


Official = _official()


def told(message):
    """Give what the official runtime found, as our reader tells it: a negative zero is a zero."""
    found = {}
    for field, value in message.ListFields():
        if value == 0.0 and field.containing_oneof is None:
            continue
        if field.name == "meta":
            found["meta"] = unpacked(value)
        elif field.message_type is None:
            found[field.name] = list(value) if field.is_repeated else value
        elif field.is_repeated:
            found[field.name] = [told(each) for each in value]
        else:
            found[field.name] = told(value)
    return found


def unpacked(value):
    """Give a Struct, a Value or a list as plain values."""
    kind = value.DESCRIPTOR.name
    if kind == "Struct":
        return {name: unpacked(each) for name, each in value.fields.items()}
    if kind == "ListValue":
        return [unpacked(each) for each in value.values]
    name = value.WhichOneof("kind")
    if name in (None, "null_value"):
        return None
    found = getattr(value, name)
    return unpacked(found) if name in ("struct_value", "list_value") else found


def plain(found):
    """Make two NaNs equal, and the order of fields no matter."""
    if isinstance(found, dict):
        return sorted((name, plain(value)) for name, value in found.items())
    return list(map(plain, found)) if isinstance(found, list) else repr(found)


scalars = st.fixed_dictionaries(
    {},
    optional={
        "text": st.text(max_size=8),
        "texts": st.lists(st.text(max_size=8), max_size=3),
        "unsigned": st.integers(0, 2**32 - 1),
        "wide": st.integers(0, 2**64 - 1),
        "signed": st.integers(-(2**31), 2**31 - 1),
        "long": st.integers(-(2**63), 2**63 - 1),
        "flag": st.booleans(),
        "share": st.floats(),
        "raw": st.binary(max_size=8),
        "numbers": st.lists(st.integers(0, 2**32 - 1), max_size=4),
        "left": st.integers(0, 3),
    },
)
things = st.recursive(
    scalars,
    lambda inner: st.tuples(
        scalars,
        st.fixed_dictionaries({}, optional={"inner": inner, "inners": st.lists(inner, max_size=2)}),
    ).map(lambda pair: {**pair[0], **pair[1]}),
    max_leaves=6,
)
json = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(things)
def test_it_reads_what_the_official_runtime_writes(thing):
    """Numbers of every width and sign, texts, lists, parts, a choice."""
    message = Official(**thing)
    assert plain(OURS.decode(message.SerializeToString())) == plain(told(message))


@given(things)
def test_the_official_runtime_reads_what_it_writes(thing):
    """The other way round, as requests go."""
    message = Official.FromString(OURS.encode(thing))
    assert plain(told(message)) == plain(told(Official(**thing)))


@given(st.dictionaries(st.text(max_size=5), json, max_size=4))
def test_metadata_goes_both_ways(meta):
    """A Struct is plain values on our side."""
    official = struct_pb2.Struct()
    official.update(meta)
    assert STRUCT.decode(official.SerializeToString()) == meta
    assert struct_pb2.Struct.FromString(STRUCT.encode(meta)) == official


pieces = st.lists(
    st.binary(max_size=6)
    | things.map(lambda thing: Official(**thing).SerializeToString())
    | st.tuples(st.integers(0, 22), st.integers(0, 7), st.binary(max_size=6)).map(
        lambda made: bytes([(made[0] << 3 | made[1]) & 0x7F]) + made[2]
    ),
    max_size=5,
).map(b"".join)


@settings(max_examples=400)
@given(pieces)
def test_it_agrees_on_whatever_comes(data):
    """Both take it and find the same, or neither takes it."""
    try:
        official = told(Official.FromString(data))
    except DecodeError:
        with pytest.raises(ValueError, match="it is"):
            OURS.decode(data)
        return
    assert plain(OURS.decode(data)) == plain(official)


def test_parts_that_are_said_twice_are_merged():
    """As the official runtime does; what unwraps is not lost by it."""
    first = Official(inner={"text": "a", "numbers": [1]})
    first.meta.update({"a": 1.0})
    second = Official(inner={"numbers": [2]})
    second.meta.update({"b": 2.0})
    data = first.SerializeToString() + second.SerializeToString()
    assert OURS.decode(data) == {
        "inner": {"text": "a", "numbers": [1, 2]},
        "meta": {"a": 1.0, "b": 2.0},
    }


def test_common_messages():
    """Any and Duration."""
    packed = any_pb2.Any(type_url="a/b", value=b"\x01")
    assert ANY.decode(packed.SerializeToString()) == {"type_url": "a/b", "value": b"\x01"}
    lasting = duration_pb2.Duration(seconds=1, nanos=500_000_000)
    assert DURATION.decode(lasting.SerializeToString()) == 1.5


@pytest.mark.parametrize("number", [11, 12, 30])
def test_nesting_has_an_end(number):
    """Of parts that are known, of lists of them, and of groups that are skipped."""
    data = b""
    if number == 30:
        data = b"\xf3\x01" * 100 + b"\xf4\x01" * 100
    else:
        for _ in range(100):
            length = Official(raw=bytes(len(data))).SerializeToString()[1 : -len(data) or None]
            data = bytes([number << 3 | 2]) + (length if data else b"\x00") + data
    with pytest.raises(ValueError, match="nested too deeply"):
        OURS.decode(data)


@pytest.mark.parametrize(
    "data", [b"\x12\x00" * 11, b"\x52\x0b" + b"\x01" * 11, b"\xf2\x01\x00" * 11]
)
def test_parts_are_counted(data):
    """Those of a list, of a packed one, and those that are skipped."""
    with pytest.raises(ValueError, match="too many parts"):
        OURS.decode(data, most_parts=10)


def test_parts_of_several_messages_are_counted_together():
    """Three of four parts each are within twelve, and not within eleven."""
    data = OURS.encode({"text": "a"}) * 4
    assert len(list(OURS.decode_all([data] * 3, most_parts=12))) == 3
    with pytest.raises(ValueError, match="too many parts"):
        list(OURS.decode_all([data] * 3, most_parts=11))
