"""What a transport shows of its services, to programs and to notebooks."""

from __future__ import annotations

import pytest

from rpcguard import MembershipPolicy
from tests.support.calls import eventually
from tests.support.library import Transport, http


def test_lists_are_tables_in_a_notebook():
    """Nodes and services: a head, and a row for each."""
    with Transport("static://10.0.0.1:80,10.0.0.2:80") as transport:
        transport.wait_ready("orders", timeout=20)
        assert transport.nodes("orders")._repr_html_().count("<tr>") == 3
        assert transport.services()._repr_html_().count("<tr>") == 2


class Unspeakable:
    """A registry of somebody's own that is down, and whose `repr` fails as well."""

    async def fetch(self, service: str):
        raise OSError("it is down")

    def __repr__(self) -> str:
        raise AttributeError("not made whole")


def test_a_registry_that_cannot_be_shown_hides_no_error(caplog):
    """The call says that there is no node; log, views and transport tell the class instead."""
    patience = MembershipPolicy(first_snapshot_timeout=0.2)
    with Transport(Unspeakable(), membership=patience) as transport:
        transport._service("orders")
        eventually(lambda: transport.services()[0].trouble, "the registry is not asked")
        with pytest.raises(http.ConnectError, match=r"no list from <Unspeakable> \(OSError"):
            transport.handle_request(http.Request("GET", "http://orders/"))
        assert "<Unspeakable>" in repr(transport)
        assert transport.services()[0].registry == "<Unspeakable>"
    assert "registry <Unspeakable> gives no list" in caplog.text
