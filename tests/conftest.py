"""Settle, before any test is imported, which library `import httpx` gives."""

from __future__ import annotations

from tests.library import LIBRARY, http


def pytest_report_header() -> str:
    return f"library: {LIBRARY} ({http.__name__} {http.__version__})"
