"""Views in a notebook: a table that nobody else writes into."""

from __future__ import annotations

from rpcguard import Node, ServiceView
from tests.support.stage import Stage


def test_a_node_is_a_table():
    """One row for each value that is known."""
    html = Stage(Node("10.0.0.1", 80, id="a")).view("a")._repr_html_()
    assert "<tr><th>node</th><td>a at 10.0.0.1:80</td></tr>" in html
    assert "<tr><th>state</th><td>available</td></tr>" in html
    assert "reason" not in html


def test_what_others_chose_is_escaped():
    """Ids come from registries, names from URLs."""
    html = Stage(Node("10.0.0.1", 80, id="<b>")).view("<b>")._repr_html_()
    assert "&lt;b&gt; at 10.0.0.1:80" in html
    service = ServiceView("<i>", "static", True, True, None, None)
    assert "<tr><th>name</th><td>&lt;i&gt;</td></tr>" in service._repr_html_()
