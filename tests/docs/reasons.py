"""Why a block of a page is not run: it is still compiled or parsed, and its names are checked."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.docs.blocks import Block

OWN_NODES = {
    "docs/guides/canary.md",
    "docs/tutorial.md",
    "docs/guides/release.md",
    "docs/guides/sdks.md",
    "docs/guides/streams.md",
}
"""Pages that start the nodes on the ports that they use."""

NEEDS = {
    "docs/guides/release.md": ("gunicorn", "fastapi_cli"),
    "docs/guides/recipes.md": ("fastapi", "django", "flask", "celery"),
    "docs/guides/streams.md": ("httpx_ws", "wsproto"),
    "docs/guides/migrate.md": ("tenacity", "httpx_retries"),
    "docs/guides/sdks.md": ("fastapi", "openai"),
    "docs/guides/uvloop.md": ("uvloop",),
}
"""What a page needs beyond the group `test`."""

GIVEN = {
    ("README.md", "client.post("): (
        'client = httpx.Client(base_url="http://orders",'
        ' transport=rpcguard.Transport("static://127.0.0.1:8001"))'
    ),
    ("README.md", "OfflineASGI(app)"): "from tests.docs.conftest import orders as app",
}
"""What stands before a block that shows a part of a program, by page and a part of the block."""

REASONS = {
    ("docs/guides/testing.md", "import respx"): "tests/testing runs it, where respx is there",
    ("README.md", "pip install rpcguard"): "installs a release; tests/packaging installs the build",
    ("docs/index.md", "pip install rpcguard"): "installs a release, as in the README",
    (
        "README.md",
        ".[demo]",
    ): "installs the package; .ci/run does that, tests/commands/demo the demo",
    ("README.md", ".[all]"): "installs the package and runs the tests; .ci/run does that",
    ("docs/tutorial.md", "pip install rpcguard uvicorn"): "installs what the tests run",
    (
        "docs/guides/release.md",
        "rpcguard demo --plain",
    ): "tests/commands/demo runs it from end to end",
    ("docs/guides/canary.md", "demo --lanes"): "tests/commands/demo runs it from end to end",
    ("docs/guides/plan.md", "demo --plan"): "takes a minute; tests/commands/demo runs it",
    ("docs/write-a-registry.md", "[project.entry-points"): "is of another package",
    ("docs/registries/*.md", ""): "needs a registry server; tests/conformance uses a real one",
    ("docs/observability.md", ""): "needs collectors; the tests of telemetry run its commands",
    ("docs/trust.md", ""): "runs for half an hour; tests/chaos runs forty seconds of it",
    ("README.zh.md", ""): "has the blocks of README.md, which are run; test_chinese compares them",
    ("docs/zh/*.md", ""): "has the blocks of the English page; test_chinese compares them",
    ("docs/performance.md", ""): "shows what benchmarks/run.py does, for minutes",
}
"""By page (a pattern) and a part of the block."""


def reason_not_to_run(block: Block) -> str | None:
    return _of(REASONS, block)


def given(block: Block) -> str:
    return _of(GIVEN, block) or ""


def _of(table: dict[tuple[str, str], str], block: Block) -> str | None:
    for (page, fragment), entry in table.items():
        if fnmatch(block.page, page) and fragment in block.text:
            return entry
    return None
