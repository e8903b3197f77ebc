"""Settle, before any test is imported, which library `import httpx` gives, and what Ctrl-C does."""

from __future__ import annotations

import signal

from tests.support.library import LIBRARY, http


def pytest_report_header() -> str:
    return f"library: {LIBRARY} ({http.__name__} {http.__version__})"


# A shell that starts the tests in the background has them ignore Ctrl-C, and so would all the
# programs that they start, to be ended by it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
