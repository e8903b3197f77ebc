"""The header fields of requests, one after the other: what is kept of the one before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rpcguard._wire.request import HeaderBlock, HeaderBlocks
from rpcguard._wire.violations import LocalViolation

COMMON = [(b"Host", b"orders"), (b"Accept", b"*/*"), (b"Connection", b"keep-alive")]

fields = st.lists(
    st.sampled_from(
        [
            *COMMON,
            (b"Connection", b"close"),
            (b"Content-Length", b"3"),
            (b"Content-Length", b"4"),
            (b"Transfer-Encoding", b"chunked"),
            (b"Upgrade", b"echo"),
            (b"Connection", b"upgrade"),
            (b"traceparent", b"00-1"),
            (b"traceparent", b"00-2"),
            (b"X-Bad", b"line\nfeed"),
            (b"bad name", b"1"),
        ]
    ),
    max_size=6,
)


@given(st.lists(st.tuples(st.booleans(), fields), max_size=8))
def test_what_was_written_before_changes_nothing(requests):
    """Each request is written, or refused with the same words, as if it were the first."""
    blocks = HeaderBlocks()
    for common, more in requests:
        some = [*COMMON, *more] if common else more
        try:
            alone: object = HeaderBlock.of(some)
        except LocalViolation as error:
            alone = str(error)
        try:
            told: object = blocks.of(some)
        except LocalViolation as error:
            told = str(error)
        assert told == alone


def test_what_requests_begin_with_is_written_once(monkeypatch):
    """Only what is new of a request is looked at: the id of its trace, say."""
    blocks, whole, write = HeaderBlocks(), [], HeaderBlock.of
    monkeypatch.setattr(HeaderBlock, "of", lambda some: whole.append(some) or write(some))
    for number in range(10):
        told = blocks.of([*COMMON, (b"traceparent", b"00-%d" % number)])
        assert told.data.endswith(b"\r\ntraceparent: 00-%d\r\n\r\n" % number)
    assert whole == [[*COMMON, (b"traceparent", b"00-0")], COMMON]


def test_equal_fields_are_the_same_block():
    """What has not changed is not even compared field by field."""
    blocks = HeaderBlocks()
    assert blocks.of([*COMMON]) is blocks.of([*COMMON])
