"""Which header lists go out over HTTP/2, and which are believed."""

from __future__ import annotations

import pytest
from hpack import NeverIndexedHeaderTuple

from rpcguard._wire.h2_faults import OwnFault, PeerFault
from rpcguard._wire.h2_headers import request_fields, response_head


def test_what_is_of_one_connection_stays_here():
    """RFC 9113 §8.2.2; Host becomes the authority, names are in lower case."""
    fields = request_fields(
        [
            (b"Host", b"orders"),
            (b"Accept", b" */* "),
            (b"Connection", b"keep-alive, X-Hop"),
            (b"Keep-Alive", b"timeout=5"),
            (b"X-Hop", b"1"),
            (b"Upgrade", b"h2c"),
            (b"Transfer-Encoding", b"chunked"),
            (b"TE", b"gzip"),
        ]
    )
    assert fields.authority == b"orders"
    assert fields.pairs == [(b"accept", b"*/*")]
    assert fields.length is None
    assert fields.streamed


def test_trailers_may_be_asked_for():
    """The one value of TE that HTTP/2 knows."""
    assert request_fields([(b"TE", b"trailers")]).pairs == [(b"te", b"trailers")]


def test_secrets_enter_no_table():
    """RFC 7541 §7.1.3: a proxy that joins connections must not let them be guessed."""
    pairs = request_fields(
        [(b"Authorization", b"Bearer x"), (b"Cookie", b"sid=7"), (b"Cookie", b"long=" + b"x" * 40)]
    ).pairs
    assert [isinstance(pair, NeverIndexedHeaderTuple) for pair in pairs] == [True, True, False]


@pytest.mark.parametrize(
    "pair",
    [
        (b"x one", b"1"),
        (b"", b"1"),
        (b"x-one", b"1\r\nx-two: 2"),
        (b"x-one", b"\0"),
        (b"Content-Length", b"-1"),
        (b"Content-Length", b"9" * 30),
    ],
)
def test_what_may_not_be_sent_is_refused_before_anything_is_encoded(pair):
    """Else both ends would have different compression tables from then on."""
    with pytest.raises(OwnFault):
        request_fields([(b"Host", b"orders"), pair])


def test_two_lengths_must_agree():
    """In both directions."""
    with pytest.raises(OwnFault):
        request_fields([(b"Content-Length", b"1"), (b"Content-Length", b"2")])
    with pytest.raises(PeerFault):
        response_head([(b":status", b"200"), (b"content-length", b"1"), (b"content-length", b"2")])


@pytest.mark.parametrize("status", [b"", b"99", b"2000", b"abc", b"-10"])
def test_a_status_has_three_digits(status):
    """Whatever else it says is no answer."""
    with pytest.raises(PeerFault):
        response_head([(b":status", status)])


@pytest.mark.parametrize("first", [(b":status", b"200"), (b":status", b""), (b"x-one", b"1")])
def test_a_status_comes_once_and_first(first):
    """RFC 9113 §8.3: else two readers of one answer take it for two different ones."""
    with pytest.raises(PeerFault):
        response_head([first, (b":status", b"500")])
