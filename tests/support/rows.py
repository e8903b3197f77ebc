"""Rows and looks to show."""

from __future__ import annotations

from rpcguard._commands.nodes.rows import Row
from rpcguard._commands.nodes.sources import Look
from rpcguard._core.nodes.node import Node
from rpcguard._core.nodes.view import NodeView


def row(name: str = "a", state: str = "available", reason: str | None = None, **more) -> Row:
    """Make the row of a node, of any name at all; what is not given is that of a quiet one."""
    about = {key: more.pop(key) for key in ("zone", "version", "port") if key in more}
    node = Node("10.0.0.1", about.pop("port", 80), **about)
    known = {
        "until": None,
        "weight": 1.0,
        "effective_weight": 1.0,
        "in_flight": 0,
        "load": 0.001,
        "successes": 0,
        "failures": 0,
    }
    view = NodeView(node, state, reason, **(known | more)).as_dict()
    return Row.of(view | {"node": view["node"] | {"id": name}})


def look(*rows: Row, trouble: str | None = None) -> Look:
    """Make a look at rows."""
    return Look("orders", "StaticRegistry(10.0.0.1)", trouble, [], list(rows))
