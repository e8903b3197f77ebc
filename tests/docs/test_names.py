"""What the pages name is there: attributes, options, fields and their defaults, URLs, members."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from dataclasses import fields
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

import rpcguard
import rpcguard.provider
import rpcguard.testing
from rpcguard._transport.base import TransportBase
from tests.docs.blocks import ROOT, all_blocks, pages

if TYPE_CHECKING:
    from collections.abc import Iterator

SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
NAME = re.compile(r"rpcguard(?:\.[A-Za-z_]\w*)+")
URL = re.compile(r"""(?<![\w+])([a-z][a-z0-9+]*)://[^\s"'`<>|)]+""")
NOT_NAMES = re.compile(r"rpcguard\.(registries|local)$")
POLICIES = [
    rpcguard.RetryPolicy,
    rpcguard.EjectionPolicy,
    rpcguard.OfflinePolicy,
    rpcguard.SlowStart,
    rpcguard.MembershipPolicy,
]


def prose() -> Iterator[tuple[str, str]]:
    for page in pages():
        text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        yield str(page.relative_to(ROOT)), text


def spans() -> Iterator[tuple[str, str]]:
    for page, text in prose():
        for span in SPAN.findall(text):
            yield page, span


def source(module: str) -> str:
    return "".join(path.read_text() for path in (ROOT / "rpcguard").rglob(module))


def resolve(name: str) -> object:
    """Give what a dotted name means; raise `AttributeError` where it means nothing."""
    found: object = rpcguard
    path = "rpcguard"
    for part in name.split(".")[1:]:
        path = f"{path}.{part}"
        if inspect.ismodule(found) and not hasattr(found, part) and find_spec(path):
            found = importlib.import_module(path)
        else:
            found = getattr(found, part)
    return found


def code() -> Iterator[tuple[str, ast.AST]]:
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST
    for block in all_blocks("python"):
        tree = compile(block.text, block.where, "exec", flags=flags)
        yield from ((block.where, node) for node in ast.walk(tree))
    for page, span in spans():
        try:
            tree = ast.parse(span, mode="eval")
        except SyntaxError:
            continue
        yield from ((f"{page}: {span}", node) for node in ast.walk(tree))


def test_dotted_names_exist():
    """Every `rpcguard.a.b` in prose is a name of the package, or that of a metric or span."""
    lost = [
        (page, name)
        for page, span in spans()
        for name in NAME.findall(span)
        if not NOT_NAMES.search(name) and not exists(name)
    ]
    assert lost == []


def exists(name: str) -> bool:
    if re.search(rf'"{re.escape(name)}["\.]', source("_telemetry/*.py")):
        return True  # a metric, an attribute or an event, or the beginning of one
    try:
        resolve(name)
    except AttributeError:
        return False
    return True


def test_imports_and_attributes_in_code_exist():
    """Also in blocks that are not run, what is imported from rpcguard is there."""
    lost = []
    for where, node in code():
        names = []
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rpcguard"):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute) and NAME.fullmatch(ast.unparse(node)):
            names = [ast.unparse(node)]
        lost += [(where, name) for name in names if not exists(name)]
    assert lost == []


def called(node: ast.AST) -> object | None:
    if not isinstance(node, ast.Call):
        return None
    name = ast.unparse(node.func)
    target = resolve(name) if NAME.fullmatch(name) else getattr(rpcguard, name, None)
    return None if isinstance(target, type) and issubclass(target, Exception) else target


def test_keywords_exist():
    """Each keyword that a page gives to something of rpcguard is one that it takes."""
    lost = []
    for where, node in code():
        target = called(node)
        if target is None:
            continue
        taken = inspect.signature(target).parameters
        if any(one.kind is one.VAR_KEYWORD for one in taken.values()):
            taken = inspect.signature(TransportBase.__init__).parameters
        given = [keyword.arg for keyword in node.keywords if keyword.arg]
        lost += [(where, name) for name in given if name not in taken]
    assert lost == []


FORM = re.compile(r"://$|\.\.\.|\b[A-Z]{3,}\b|\{[a-z]+\}$")
"""A URL that stands for many."""

OF_THE_SURROUNDINGS = {"kubernetes:///", "xds:///"}
"""They are read from the pod that a program runs in, and from a file that its environment names."""


def urls() -> list[tuple[str, str]]:
    offered = {entry.name for entry in entry_points(group="rpcguard.registries")}
    texts = [(block.where, block.text) for block in all_blocks("python", "console")]
    texts += spans()
    found = [
        (where, match[0].rstrip(".,;"), match[1])
        for where, text in texts
        for match in URL.finditer(text)
    ]
    return [
        (where, url)
        for where, url, scheme in found
        if scheme in offered - {"http", "https"} and "$" not in url
        if url not in OF_THE_SURROUNDINGS and not FORM.search(url)
    ]


@pytest.mark.parametrize(("where", "url"), urls())
def test_registry_urls_are_understood(where, url, monkeypatch):
    """A registry URL of a page is one that its registry takes; nothing is contacted."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    try:
        rpcguard.registry_from_url(url)
    except ImportError as error:
        pytest.skip(f"an extra is missing: {error}")


def test_every_scheme_is_in_the_table():
    """Each scheme that the package offers has its place in docs/registries.md."""
    page = (ROOT / "docs/registries.md").read_text()
    offered = {entry.name for entry in entry_points(group="rpcguard.registries")}
    mine = {name for name in offered if name.partition("+")[0] != "inventory"}
    named = {re.split(r"[+:]", match[1])[0] for match in re.finditer(r"`([a-z+]+)://", page)}
    assert {name.partition("+")[0] for name in mine} - named - {"http"} == set()


def test_every_registry_page_is_linked():
    """A page under docs/registries can be reached from docs/registries.md."""
    page = (ROOT / "docs/registries.md").read_text()
    lost = [path.name for path in (ROOT / "docs/registries").glob("*.md") if path.name not in page]
    assert lost == []


def test_the_reference_has_every_public_name():
    """What `__all__` of a public module lists is described on a page of the reference."""
    pages_text = "".join(path.read_text() for path in (ROOT / "docs/reference").glob("*.md"))
    described = set(re.findall(r"^::: (\S+)", pages_text, re.MULTILINE))
    public = {f"rpcguard.{name}" for name in rpcguard.__all__ if name != "__version__"}
    public |= {f"rpcguard.provider.{name}" for name in rpcguard.provider.__all__}
    public |= {f"rpcguard.testing.{name}" for name in rpcguard.testing.__all__}
    assert public - described == set()
    assert [name for name in described if not exists(name)] == []


def test_the_table_of_options_is_complete():
    """The reference lists each option of the transports, and no other."""
    page = (ROOT / "docs/reference/transports.md").read_text()
    table = page[page.index("| option") : page.index(":::")]
    rows = [line.split("|")[1] for line in table.splitlines()[2:] if line.startswith("|")]
    listed = [name for row in rows for name in SPAN.findall(row)]
    options = [
        name for name in inspect.signature(TransportBase.__init__).parameters if name != "self"
    ]
    assert sorted(listed) == sorted(options)


def defaults_of(names: list[str]) -> list[list[float]]:
    """Give the defaults of these fields in each policy that has them all as numbers."""
    found = []
    for policy in POLICIES:
        defaults = {field.name: field.default for field in fields(policy)}
        if all(isinstance(defaults.get(name), (int, float)) for name in names):
            found.append([defaults[name] for name in names])
    return found


def rows_of_fields() -> list[tuple[str, str, list[str], list[str]]]:
    """Give table rows whose first cell names fields and whose numbers are as many as these."""
    found = []
    for page, text in prose():
        for line in text.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            names = SPAN.findall(cells[0])
            if not line.startswith("|") or len(cells) < 3 or not names or not defaults_of(names):
                continue
            told = re.findall(r"\(([\d.]+)", cells[0]) or re.findall(r"[\d.]+", cells[1])
            if len(told) == len(names):
                found.append((page, line, names, told))
    return found


@pytest.mark.parametrize(("page", "line", "names", "told"), rows_of_fields())
def test_defaults_in_tables_are_true(page, line, names, told):
    """Where a table gives the default of a policy's field, it is the real one."""
    factor = 1024 if "KiB" in line else 1
    assert [float(number) * factor for number in told] in defaults_of(names), f"{page}: {names}"
