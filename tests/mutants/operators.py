"""What may be changed in a function: one operator, one place."""

from __future__ import annotations

import ast
import copy
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "rpcguard" / "_core"

_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: the file, the line, what it was and what it is."""

    path: Path
    line: int
    was: str
    by: str
    source: bytes

    @property
    def module(self) -> str:
        """Its name, as it is imported."""
        place = self.path.relative_to(ROOT).with_suffix("")
        return ".".join(place.parts).removesuffix(".__init__")

    def __str__(self) -> str:
        place = self.path.relative_to(ROOT)
        return f"{place}:{self.line}  {self.was}  ->  {self.by}"


def _compare(node: ast.AST) -> ast.AST | None:
    if not isinstance(node, ast.Compare) or type(node.ops[0]) not in _COMPARED:
        return None
    node.ops[0] = _COMPARED[type(node.ops[0])]()
    return node


def _compute(node: ast.AST) -> ast.AST | None:
    if not isinstance(node, ast.BinOp) or type(node.op) not in _COMPUTED:
        return None
    node.op = _COMPUTED[type(node.op)]()
    return node


def _choose(node: ast.AST) -> ast.AST | None:
    if not isinstance(node, ast.BoolOp):
        return None
    node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    return node


def _deny(node: ast.AST) -> ast.AST | None:
    if not isinstance(node, ast.UnaryOp) or not isinstance(node.op, ast.Not):
        return None
    return node.operand


def _number(node: ast.AST) -> ast.AST | None:
    if not isinstance(node, ast.Constant) or type(node.value) not in (int, float):
        return None
    return ast.copy_location(ast.Constant(node.value + 1), node)


def _flag(node: ast.AST) -> ast.AST | None:
    if not isinstance(node, ast.Constant) or type(node.value) is not bool:
        return None
    return ast.copy_location(ast.Constant(not node.value), node)


def _skip(node: ast.AST) -> ast.AST | None:
    # A call for its effect, or a change of a field, that is not made.
    effect = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    changed = isinstance(node, ast.AugAssign) or (
        isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute)
    )
    return ast.copy_location(ast.Pass(), node) if effect or changed else None


OPERATORS: tuple[Callable[[ast.AST], ast.AST | None], ...] = (
    _compare,
    _compute,
    _choose,
    _deny,
    _number,
    _flag,
    _skip,
)


def _is_special(node: ast.AST) -> bool:
    # How an object is shown, compared or checked when made is looked at by other tests.
    special = isinstance(node, ast.FunctionDef) and node.name.startswith("__")
    return special and node.name != "__init__"


class _Change(ast.NodeTransformer):
    """Apply an operator to the node with a number, counted in the order of the walk."""

    def __init__(self, number: int, operator: Callable[[ast.AST], ast.AST | None]) -> None:
        self.number, self.operator, self.seen = number, operator, -1
        self.told: tuple[int, str, str] | None = None

    def visit(self, node: ast.AST) -> ast.AST:
        if _is_special(node):
            return node
        self.seen += 1
        if self.seen == self.number:
            was = ast.unparse(node)
            changed = self.operator(copy.deepcopy(node))
            if changed is not None:
                self.told = getattr(node, "lineno", 0), was, ast.unparse(changed)
                return changed
        return super().generic_visit(node)


def every() -> Iterator[tuple[Path, int, Callable[[ast.AST], ast.AST | None]]]:
    """Give each place of each operator in the core."""
    for path in sorted(CORE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        inside = {id(node) for one in functions for part in one.body for node in ast.walk(part)}
        numbered = _Numbered()
        numbered.visit(tree)
        for number, node in enumerate(numbered.nodes):
            if id(node) not in inside:
                continue
            for operator in OPERATORS:
                if operator(copy.deepcopy(node)) is not None:
                    yield path, number, operator


class _Numbered(ast.NodeVisitor):
    """The nodes in the order in which `_Change` meets them."""

    def __init__(self) -> None:
        self.nodes: list[ast.AST] = []

    def visit(self, node: ast.AST) -> None:
        if _is_special(node):
            return
        self.nodes.append(node)
        self.generic_visit(node)


def draw(seed: int, count: int) -> list[Mutant]:
    """Draw so many changes; a seed always gives the same ones of the same source."""
    chosen = random.Random(seed).sample(list(every()), count)
    mutants = []
    for path, number, operator in chosen:
        change = _Change(number, operator)
        tree = ast.fix_missing_locations(change.visit(ast.parse(path.read_text())))
        assert change.told is not None
        mutants.append(Mutant(path, *change.told, source=ast.unparse(tree).encode()))
    return mutants
