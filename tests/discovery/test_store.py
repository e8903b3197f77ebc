"""The snapshots on disk: what is kept, how safely, and what a broken file does."""

from __future__ import annotations

import os
import stat

import pytest

from rpcguard import Node
from rpcguard._discovery.store import SnapshotStore

FULL = Node(
    "::1",
    8443,
    id="one/two",
    scheme="https",
    weight=2.5,
    status="draining",
    zone="z",
    version="v1",
    metadata={"k": "ä"},
    started_at=1.5,
    generation="g",
    priority=3,
)


def test_a_list_comes_back_as_it_was(tmp_path):
    """Every field of every node survives, for services of any name; the list is no last word."""
    store = SnapshotStore(tmp_path / "deep" / "down")
    for service in ("orders", "../etc/passwd", "ä b", "."):
        nodes = FULL, Node("b", 1), Node("localhost", 80, uds="/run/orders.sock")
        store.save(service, nodes)
        kept = store.load(service)
        assert kept is not None
        assert kept.nodes == nodes
        assert not kept.authoritative
    assert store.load("billing") is None
    assert all(path.parent == tmp_path / "deep" / "down" for path in tmp_path.rglob("*.json"))


def test_nobody_else_can_read_it(tmp_path):
    """The directory has mode 0700, the files 0600, whatever the umask."""
    before = os.umask(0)
    try:
        SnapshotStore(tmp_path / "cache").save("orders", (FULL,))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700
    [path] = (tmp_path / "cache").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_is_replaced_whole(tmp_path, monkeypatch, caplog):
    """A write that fails leaves the old file as it was, and nothing beside it."""
    store = SnapshotStore(tmp_path)
    store.save("orders", (FULL,))

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    store.save("orders", (Node("b", 1),))
    assert "cannot be written" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["orders.json"]
    kept = store.load("orders")
    assert kept is not None
    assert kept.nodes == (FULL,)


@pytest.mark.parametrize(
    "broken", ["", "{", "[]", "3", "{}", '{"nodes": 3}', '{"nodes": [{"host": "a"}]}', "\x00\xff"]
)
def test_a_broken_file_is_a_warning(tmp_path, caplog, broken):
    """A truncated or foreign file is told of and not used."""
    (tmp_path / "orders.json").write_text(broken)
    assert SnapshotStore(tmp_path).load("orders") is None
    assert "cannot be read" in caplog.text


def test_a_directory_that_cannot_be_made_is_a_warning(tmp_path, caplog):
    """Where nothing can be written the calls go on."""
    (tmp_path / "file").write_text("")
    SnapshotStore(tmp_path / "file" / "cache").save("orders", (FULL,))
    assert "cannot be written" in caplog.text


@pytest.mark.parametrize("value", [object(), b"bytes", {1, 2}])
def test_metadata_that_json_has_no_form_for_is_a_warning(tmp_path, caplog, value):
    """A registry in code may list any objects; that a list cannot be kept is no fault of it."""
    node = Node("10.0.0.1", 80, metadata={"a": value})
    store = SnapshotStore(tmp_path)
    store.save("orders", (FULL,))
    store.save("orders", (node,))
    assert "cannot be written" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["orders.json"]


def test_the_directory_does_not_grow_without_end(tmp_path):
    """Of more services than are kept the oldest files go; what is not ours stays."""
    (tmp_path / "theirs.json").write_text('{"mine": true}')
    os.utime(tmp_path / "theirs.json", (1, 1))
    store = SnapshotStore(tmp_path, most=5)
    for number in range(12):
        store.save(f"name{number}", (Node("10.0.0.1", 80),))
        os.utime(tmp_path / f"name{number}.json", (number + 10, number + 10))
    names = {path.name for path in tmp_path.iterdir()}
    assert len(names) <= 6
    assert {"theirs.json", "name11.json"} <= names
    assert store.load("name0") is None
    assert store.load("name11") is not None
