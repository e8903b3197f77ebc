"""What the URL of a registry that speaks HTTP may look like, and what follows from it."""

from __future__ import annotations

import pytest

from rpcguard.errors import InvalidRegistryURL
from rpcguard.registries._shared.endpoint import URLForm

FORM = URLForm(
    example="some://:TOKEN@h:1/name",
    ports={"some": 80, "some+https": 443},
    options=("interval",),
    path="name",
    credentials="token",
)


def test_bases_and_the_shown_form_follow_from_the_url():
    """Addresses take the port of their scheme; user, password and options show nowhere."""
    endpoint = FORM.read("some+https://:s3cret@h1,[fd00::1]:9/a%20b?interval=2&ca=/etc/ca.pem")
    assert endpoint.bases == ("https://h1:443", "https://[fd00::1]:9")
    assert endpoint.shown == "some+https://h1:443,[fd00::1]:9/a%20b"
    assert (endpoint.name, endpoint.token) == ("a b", "s3cret")
    assert "s3cret" not in repr(endpoint) + repr(endpoint.client(prefix="/x"))


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("other://h", "the scheme must be some or some+https, not 'other'"),
        ("some:///name", "no address is given"),
        ("some://h/a/b", "one name alone"),
        ("some://user:s3cret@h", "there are no users"),
        ("some://h?ca=/etc/ca.pem", "need a URL with TLS"),
        ("some+https://h?key=/etc/key.pem", "key needs cert"),
        ("some://h?wait=1", "unknown option 'wait', allowed are: ca, cert, interval, key"),
    ],
)
def test_a_wrong_url_is_told_in_full(url, part):
    """The wrong part is named, a right URL is shown, and no password is repeated."""
    with pytest.raises(InvalidRegistryURL, match=part.replace("+", r"\+")) as raised:
        FORM.read(url)
    assert "a right one looks like some://:TOKEN@h:1/name" in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_a_path_or_a_password_alone_may_be_no_part_of_a_form():
    """A registry without paths or with real users says so."""
    form = URLForm(example="x://h", ports={"x": 1}, credentials="login")
    with pytest.raises(InvalidRegistryURL, match="there is no path, but '/a' is given"):
        form.read("x://h/a")
    with pytest.raises(InvalidRegistryURL, match="the password has no user"):
        form.read("x://:s3cret@h")
