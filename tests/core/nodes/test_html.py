"""Views in a notebook: a table that nobody else writes into."""

from __future__ import annotations

from rpcguard import Node, ServiceView, Snapshot
from rpcguard._core.nodes.view import NodeViews, ServiceViews
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


def test_a_list_of_nodes_is_one_table():
    """A row for each, and no column in which nothing is known."""
    views = NodeViews(Stage(Node("10.0.0.1", 80, id="<b>"), Node("10.0.0.2", 80)).service.nodes())
    html = views._repr_html_()
    assert html.startswith("<table><tr><th>node</th><th>state</th>")
    assert html.count("<tr>") == 3
    assert "<td>&lt;b&gt; at 10.0.0.1:80</td><td>available</td>" in html
    assert "reason" not in html
    assert views == list(views)


def test_services_and_a_snapshot_are_tables():
    """As what is known of each; a text that would draw is shown as what it is."""
    services = ServiceViews([ServiceView("orders", "static", True, True, None, "down\x1b[2J")])
    assert "<th>trouble</th>" in services._repr_html_()
    assert "\x1b" not in services._repr_html_()
    html = Snapshot([Node("10.0.0.1", 80, zone="a"), Node("10.0.0.2", 80)])._repr_html_()
    assert html.count("<tr>") == 3
    assert "<th>zone</th>" in html
    assert "version" not in html
    assert "<td></td>" in html


def test_an_empty_list_is_shown_as_its_text():
    """A notebook then writes `[]`, not a table of nothing."""
    assert NodeViews()._repr_html_() is None
    assert ServiceViews()._repr_html_() is None
    assert Snapshot()._repr_html_() is None
