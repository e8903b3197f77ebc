"""`verify` and `cert` as in httpx, in all their forms."""

from __future__ import annotations

import ssl

import pytest

from tests.support.calls import FLAVOURS, Caller, each, registry
from tests.support.library import http

pytestmark = each(FLAVOURS)

HTTPS = {"base_url": "https://orders"}


@pytest.fixture
def strict_node(make_node, authority):
    """A node that takes nobody without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("orders").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return make_node(tls=context)


async def test_a_client_certificate_in_the_context(strict_node, make_caller, authority, trusting):
    """The certificate of a context given as `verify` is shown to the node."""
    authority.issue_cert("caller@example.org").configure_cert(trusting)
    caller = make_caller(strict_node, verify=trusting, client=HTTPS)
    assert (await caller.call()).text == "ok"


async def test_a_client_certificate_in_a_file(
    flavour, strict_node, authority, tmp_path, monkeypatch
):
    """`cert` takes the name of a file, and `SSL_CERT_FILE` counts, as in httpx."""
    mine, trusted = tmp_path / "mine.pem", tmp_path / "ca.pem"
    authority.issue_cert("caller@example.org").private_key_and_cert_chain_pem.write_to_path(mine)
    authority.cert_pem.write_to_path(trusted)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    with pytest.warns(DeprecationWarning, match="cert"):
        transport = flavour.transport(registry(strict_node), cert=str(mine))
    caller = Caller(flavour, transport, **HTTPS)
    try:
        assert (await caller.call()).text == "ok"
    finally:
        await caller.close()


async def test_a_client_certificate_beside_a_file_of_authorities(
    flavour, strict_node, authority, tmp_path
):
    """`cert` counts where `verify` is a path, too; httpx by itself would not look at it."""
    mine, trusted = tmp_path / "mine.pem", tmp_path / "ca.pem"
    authority.issue_cert("caller@example.org").private_key_and_cert_chain_pem.write_to_path(mine)
    authority.cert_pem.write_to_path(trusted)
    with pytest.warns(DeprecationWarning, match="cert"):
        transport = flavour.transport(
            registry(strict_node), verify=str(trusted), cert=(str(mine), str(mine))
        )
    caller = Caller(flavour, transport, **HTTPS)
    try:
        assert (await caller.call()).text == "ok"
    finally:
        await caller.close()


@pytest.mark.parametrize("directory", [False, True])
def test_a_wrong_cert_is_told_at_once(flavour, authority, tmp_path, directory):
    """A certificate that does not exist is an error when the transport is made."""
    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(trusted)
    with (
        pytest.warns(DeprecationWarning, match="cert"),
        pytest.raises(OSError, match="No such file"),
    ):
        flavour.transport(
            "static://10.0.0.1:80",
            verify=str(tmp_path if directory else trusted),
            cert=("/nowhere.pem", "/nowhere.key"),
        )


async def test_no_certificate_where_one_is_wanted(strict_node, make_caller, trusting):
    """A node that refuses us does so by an httpx error."""
    caller = make_caller(strict_node, verify=trusting, client=HTTPS)
    with pytest.raises(http.TransportError):
        await caller.call()
    assert strict_node.seen == []


async def test_verify_false(make_node, make_caller, certified):
    """`verify=False` takes any certificate, as in httpx."""
    node = make_node(tls=certified("whoever"))
    caller = make_caller(node, verify=False, client=HTTPS)
    assert (await caller.call()).text == "ok"


def test_a_wrong_verify_is_told_at_once(flavour):
    """A file that does not exist is an error when the transport is made, not at the first call."""
    with (
        pytest.warns(DeprecationWarning, match="verify"),
        pytest.raises(OSError, match="No such file"),
    ):
        flavour.transport("static://10.0.0.1:80", verify="/nowhere.pem")


def test_a_wrong_option_is_told_at_once(flavour):
    """So are options that contradict each other or do not exist."""
    with pytest.raises(ValueError, match="unknown_service must be error or direct, not 'maybe'"):
        flavour.transport("static://10.0.0.1:80", unknown_service="maybe")
    with pytest.raises(ValueError, match="drain_timeout must be seconds, 0 or more, not -1"):
        flavour.transport("static://10.0.0.1:80", drain_timeout=-1)
    with pytest.raises(TypeError, match="retries"):
        flavour.transport("static://10.0.0.1:80", retries=3)
