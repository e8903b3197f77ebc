"""Each field of a live node has one owner, so that whoever wonders about it knows where to look."""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from rpcguard import Affinity, Subset
from rpcguard._core.nodes.live import LiveNode
from rpcguard._core.nodes.load import Contender, NodeLoad
from tests.simulation.run import first_failure
from tests.support.rooms import PACKAGE, modules, parsed
from tests.support.stage import Stage, ids

FIELDS = {*LiveNode.__slots__, *NodeLoad.__slots__, *Contender.__slots__}
NODES = {"LiveNode", "NodeLoad", "Contender"}
OTHERS = {
    "_connections/http2/places.py": {"place"},
    "_connections/stack.py": {"slot"},
    "_core/nodes/live.py": {"lease"},
    "_core/service/picker.py": {"lease"},
    "_core/service/pools.py": {"pool", "pool.cell", "cell"},
    "_core/service/reactions.py": {"mark"},
    "_wire/h2_arrivals.py": {"stream"},
    "testing/registry.py": {"watcher"},
}
"""What has a field of the same name, and is no node."""
SET_BY_NAME = {
    "_core/service/reconcile.py": {"part"},
    "testing/faults.py": {"KeptChildren"},
    "testing/mocks.py": {"owner"},
}
"""What else than `self` is written to with `setattr`."""
SETTERS = {"setattr", "delattr", "__setattr__", "__delattr__", "__set__", "__delete__"}


def owners() -> dict[str, set[str]]:
    """Read the block of owners in the docstring of `LiveNode`."""
    block = (LiveNode.__doc__ or "").partition("Owners:")[2].partition("\n\n")[0]
    rows = re.findall(r"(\S+\.py): ([\w,\s]+?)(?=\s+\S+\.py:|\Z)", block)
    found = defaultdict(set)
    for place, fields in rows:
        for field in re.findall(r"\w+", fields):
            found[field].add(f"_core/{place}")
    return dict(found)


def written(place: str, tree: ast.Module) -> set[str]:
    """Give the fields of live nodes that a file writes, in whatever kind of statement."""
    own = _of_a_node_itself(tree)
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store | ast.Del)
        and node.attr in FIELDS
        and (node in own if ast.unparse(node.value) == "self" else not _is_other(place, node.value))
    }


def _is_other(place: str, value: ast.expr) -> bool:
    return ast.unparse(value) in OTHERS.get(place, ())


def _of_a_node_itself(tree: ast.Module) -> set[ast.AST]:
    """Give what lies in the methods of a node, but for where it is made."""
    return {
        inside
        for kind in tree.body
        if isinstance(kind, ast.ClassDef) and kind.name in NODES
        for method in kind.body
        if isinstance(method, ast.FunctionDef) and method.name != "__init__"
        for inside in ast.walk(method)
    }


def writers() -> dict[str, set[str]]:
    """Give the files that write each field."""
    found = defaultdict(set)
    for place, path in modules():
        for field in written(place, parsed(path)):
            found[field].add(place)
    return dict(found)


def test_each_field_has_one_owner():
    """The docstring names one for every field, and none that is no field."""
    assert set(owners()) == FIELDS
    assert [field for field, places in owners().items() if len(places) > 1] == []


def test_only_its_owner_writes_a_field():
    """No other file does, by any statement; and an owner that writes nothing would be none."""
    assert writers() == owners()


def test_nobody_writes_a_node_by_the_name_of_a_field():
    """`setattr` on what may be a node would go past the check above; nor has a node subclasses."""
    odd = [
        (place, ast.unparse(node))
        for place, path in modules()
        for node in ast.walk(parsed(path))
        if (isinstance(node, ast.Call) and _sets_by_name(place, node))
        or (isinstance(node, ast.ClassDef) and NODES & set(map(ast.unparse, node.bases)))
    ]
    classes = ["class LiveNode(NodeLoad):", "class NodeLoad(Contender):"]
    assert [what.partition("\n")[0] for _, what in odd] == classes


def _sets_by_name(place: str, call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
    first = ast.unparse(call.args[0]) if call.args else ""
    return name in SETTERS and first not in {"self", *SET_BY_NAME.get(place, ())}


@pytest.mark.parametrize(
    "statement",
    [
        "one.state = 1",
        "one.state += 1",
        "one.state: int = 1",
        "del one.state",
        "a, (b, one.state) = 1, (2, 3)",
        "[*one.state] = ()",
        "for one.state in (): pass",
        "with x as one.state: pass",
        "[0 for one.state in ()]",
        "lease.live.state = 1",
        "class LiveNode:\n def come(self): self.state = 1",
    ],
)
def test_each_way_to_write_a_field_is_seen(statement):
    """Whatever the variable is called."""
    assert written("_core/service/views.py", ast.parse(statement)) == {"state"}


@pytest.mark.parametrize("call", ["setattr(one, name, 1)", "object.__setattr__(one, 'state', 1)"])
def test_each_way_to_write_by_name_is_seen(call):
    """Of a node, or of what cannot be told from one."""
    assert _sets_by_name("_core/service/views.py", ast.parse(call).body[0].value)


@pytest.mark.timeout(300)
def test_while_it_runs_only_its_owner_writes_a_field(monkeypatch):
    """Whoever it is that writes, by whatever name: seen from the node, in made-up worlds."""
    seen = defaultdict(set)

    def note(live: NodeLoad, name: str, value: object) -> None:
        code = sys._getframe(1).f_code
        if code.co_name != "__init__":
            seen[name].add(Path(code.co_filename).relative_to(PACKAGE).as_posix())
        object.__setattr__(live, name, value)

    monkeypatch.setattr(NodeLoad, "__setattr__", note)
    assert first_failure(range(60)) is None
    stage = Stage(*ids(3), affinity=Affinity())
    stage.end(stage.pick(ask=stage.keyed("alice")))
    Stage(*ids(3), subset=Subset(size=1))
    assert dict(seen) == owners()
