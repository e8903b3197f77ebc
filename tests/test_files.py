"""Small files that others renew, and what may stand in their place."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from rpcguard._discovery.store import SnapshotStore
from rpcguard._files import secret_in

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def descriptors(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Give the file descriptors that are opened from now on."""
    found: list[int] = []
    real = os.open

    def noted(path: str, *rest: int) -> int:
        found.append(real(path, *rest))
        return found[-1]

    monkeypatch.setattr(os, "open", noted)
    return found


@pytest.mark.parametrize("kind", ["token", "list on disk"])
def test_a_folder_in_place_of_a_file_holds_no_descriptor(
    kind: str, tmp_path: Path, descriptors: list[int]
) -> None:
    """Proves that what is asked for every few seconds does not use up the process.

    A mount of a file that is not there makes a folder of its name.
    """
    (tmp_path / "orders.json").mkdir()
    if kind == "token":
        with pytest.raises(ValueError, match="it cannot be read: Is a directory"):
            secret_in(str(tmp_path / "orders.json"))
    else:
        assert SnapshotStore(tmp_path).load("orders") is None
    assert descriptors
    for one in descriptors:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(one)
