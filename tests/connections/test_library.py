"""One object says which library is served; a class would say it to all who share it."""

from __future__ import annotations

import ast
import socket
from types import ModuleType

import httpcore
import httpcore2
import pytest

from rpcguard._connections.sync_stream import SyncStream
from rpcguard._httpx import HTTPX
from rpcguard.httpx2 import HTTPX2
from tests.support.rooms import modules, parsed


@pytest.mark.parametrize(
    ("library", "core"),
    [pytest.param(HTTPX, httpcore, id="httpx"), pytest.param(HTTPX2, httpcore2, id="httpx2")],
)
def test_a_stream_raises_the_errors_of_the_core_that_it_is_made_with(library, core):
    """The class that it derives from says nothing of it."""
    kind = library.derive_stream(SyncStream, "NetworkStream", library.core)
    assert issubclass(kind, core.NetworkStream)
    near, far = socket.socketpair()
    with far:
        stream = kind(near, library.core)
        stream.close()
        with pytest.raises(core.ReadError):
            stream.receive()
    said = [value for one in kind.__mro__ for value in vars(one).values()]
    assert not [value for value in said if isinstance(value, ModuleType)]


def test_no_class_variable_names_a_library():
    """Nor is a class made at run time with members that could."""
    found = []
    for place, path in modules():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef):
                found += [(place, name) for name in _variables(node) if _names_library(name)]
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "type":
                found += [(place, ast.unparse(node)) for members in node.args[2:] if _has(members)]
    assert found == []


def _variables(kind: ast.ClassDef) -> list[str]:
    found = []
    for one in kind.body:
        if isinstance(one, ast.Assign) or (isinstance(one, ast.AnnAssign) and _is_shared(one)):
            found.append(ast.unparse(one))
        elif isinstance(one, ast.AnnAssign) and one.value is not None:
            # The default of a field is shared as well; a text in it is a word, and no library.
            names = (node.id for node in ast.walk(one.value) if isinstance(node, ast.Name))
            found.append(" ".join(names))
    return found


def _is_shared(one: ast.AnnAssign) -> bool:
    # What has an annotation and is no ClassVar is a field, of which each instance has its own.
    return "ClassVar" in ast.unparse(one.annotation)


def _names_library(line: str) -> bool:
    return any(word in line for word in ("ModuleType", "Library", "httpx", "httpcore", "HTTPX"))


def _has(members: ast.expr) -> bool:
    return not isinstance(members, ast.Dict) or bool(members.keys)


@pytest.mark.parametrize(
    "line",
    [
        "core: ClassVar[ModuleType]",
        "_library = HTTPX",
        "_library: Library = HTTPX",
        "error = httpx.ConnectError",
        "error: type[Exception] = httpx.ConnectError",
    ],
)
def test_a_class_variable_that_does_is_seen(line):
    """However it is written."""
    (kind,) = ast.parse(f"class A:\n    {line}").body
    assert isinstance(kind, ast.ClassDef)
    assert [_names_library(one) for one in _variables(kind)] == [True]
