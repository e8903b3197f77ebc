"""Text that more than one room writes."""

from __future__ import annotations

import math

import pytest

from rpcguard._text import host_and_port, host_in, host_name, percent, plain, quantile, seconds


def test_what_cannot_be_printed_is_escaped():
    """A line break in what somebody else wrote makes no second line of the log."""
    assert plain("orders\nWARNING forged \x1b[31m") == "orders\\nWARNING forged \\x1b[31m"
    assert plain("größe") == "größe"


def test_an_ipv6_address_stands_in_brackets():
    """Address and port can be told apart again."""
    assert host_and_port("10.0.0.7", 80) == "10.0.0.7:80"
    assert host_and_port("fd00::7", 80) == "[fd00::7]:80"


@pytest.mark.parametrize("host", ["orders", "10.0.0.7", "fd00::7", "::1"])
def test_the_host_of_a_name(host):
    """With a port or without one, it is found again."""
    assert host_in(host) == host_in(host_and_port(host, 80)) == host


@pytest.mark.parametrize(
    ("name", "spelling"),
    [
        ("Shop.Bücher.Example.", "shop.bücher.example"),
        ("shop.XN--bcher-kva.example", "shop.bücher.example"),
        ("xn--strae-oqa", "straße"),
        ("strasse", "strasse"),
        ("xn--orders-", "xn--orders-"),
        ("xn--99999999", "xn--99999999"),
        (f"xn--{'a' * 60}", f"xn--{'a' * 60}"),
        ("xn--bcher-kva:8080", "bücher:8080"),
        ("orders.:8080", "orders:8080"),
        ("orders..", "orders"),
        ("..", "."),
        ("xn--größe", "xn--größe"),
        ("::1", "::1"),
        ("", ""),
    ],
)
def test_a_name_has_one_spelling(name, spelling):
    """However its letters are encoded; what is no encoding of letters is a name of its own."""
    assert host_name(name) == spelling


def test_a_latency_is_written_in_few_letters():
    """Below ten milliseconds a tenth of one still shows."""
    assert [seconds(one) for one in (None, 0.0042, 0.042, 4.25)] == ["", "4.2ms", "42ms", "4.2s"]


def test_all_is_said_of_nothing_less():
    """One failure among a million does not read as 100%."""
    assert [percent(one) for one in (None, 0.5, 0.999999, 1)] == ["", "50.0%", "99.9%", "100%"]


def test_a_quantile_is_one_of_the_values():
    """The largest share gives the last value, no value gives NaN."""
    assert [quantile([1.0, 2.0, 3.0, 4.0], share) for share in (0, 0.5, 0.99, 1)] == [1, 3, 4, 4]
    assert math.isnan(quantile([], 0.5))


@pytest.mark.parametrize("text", ["", "a b"])
def test_plain_text_stays(text):
    """What can be printed is not touched."""
    assert plain(text) is text
