"""What a transport shows of its services, to programs and to notebooks."""

from __future__ import annotations

from tests.support.library import Transport


def test_lists_are_tables_in_a_notebook():
    """Nodes and services: a head, and a row for each."""
    with Transport("static://10.0.0.1:80,10.0.0.2:80") as transport:
        transport.wait_ready("orders", timeout=20)
        assert transport.nodes("orders")._repr_html_().count("<tr>") == 3
        assert transport.services()._repr_html_().count("<tr>") == 2
