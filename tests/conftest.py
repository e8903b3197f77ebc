"""Settle, before any test is imported, which library `import httpx` gives, and what Ctrl-C does."""

from __future__ import annotations

import gc
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.library import LIBRARY, http
from tests.support.scope import chosen, is_passed_over, last_by_the_clock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("rpcguard")
    group.addoption("--full", action="store_true", help="run all tests, in half an hour")
    group.addoption("--rest", action="store_true", help="run what the usual run leaves out")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long(reason): left out of the usual run; --full runs it")
    config.addinivalue_line("markers", "real_time(reason): as long, and run after all others")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return is_passed_over(collection_path, config) or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept = chosen(config, items)
    left = {id(item) for item in kept}
    config.hook.pytest_deselected(items=[item for item in items if id(item) not in left])
    items[:] = last_by_the_clock(kept)


def settle_heap() -> None:
    # What is there by now stays: what was imported and collected, and what a folder's tests have
    # cached, such as the syntax trees of all files. A test that looks for garbage need not walk
    # through all of it, which takes half a second each time.
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    done = yield
    if nextitem is not None and nextitem.path.parent != item.path.parent:
        settle_heap()
    return done


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop() -> Iterator[None]:
    settle_heap()
    try:
        return (yield)
    finally:
        gc.unfreeze()


def pytest_report_header() -> str:
    return f"library: {LIBRARY} ({http.__name__} {http.__version__})"


# A shell that starts the tests in the background has them ignore Ctrl-C, and so would all the
# programs that they start, to be ended by it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
