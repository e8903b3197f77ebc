"""The snapshot cache on a disk that others can reach."""

from __future__ import annotations

import os
import stat
import threading

import pytest

from rpcguard import Node
from rpcguard._discovery.store import SnapshotStore
from rpcguard.registries._shared.documents import MAX_BYTES

NODES = (Node("10.0.0.1", 80),)


def test_directory_and_files_are_the_users_alone(tmp_path):
    """A directory that is made has mode 0700, every file 0600, whatever the umask."""
    before = os.umask(0)
    try:
        SnapshotStore(tmp_path / "cache").save("orders", NODES)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "cache" / "orders.json").stat().st_mode) == 0o600


def test_a_directory_that_is_there_keeps_its_mode(tmp_path):
    """Whoever made the directory has decided who may look into it."""
    (tmp_path / "cache").mkdir(mode=0o750)
    (tmp_path / "cache").chmod(0o750)
    SnapshotStore(tmp_path / "cache").save("orders", NODES)
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o750
    assert stat.S_IMODE((tmp_path / "cache" / "orders.json").stat().st_mode) == 0o600


def test_a_link_is_replaced_and_never_written_through(tmp_path):
    """A link that somebody put in place of a file leaves its target alone."""
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "cache").mkdir()
    link = tmp_path / "cache" / "orders.json"
    link.symlink_to(target)
    SnapshotStore(tmp_path / "cache").save("orders", NODES)
    assert target.read_text() == "precious"
    assert not link.is_symlink()
    kept = SnapshotStore(tmp_path / "cache").load("orders")
    assert kept is not None
    assert kept.nodes == NODES


def test_a_link_is_not_read(tmp_path, caplog):
    """A link to a list elsewhere brings no nodes in."""
    (tmp_path / "elsewhere").write_text('{"nodes": [{"host": "169.254.169.254", "port": 80}]}')
    (tmp_path / "orders.json").symlink_to(tmp_path / "elsewhere")
    assert SnapshotStore(tmp_path).load("orders") is None
    assert "cannot be read" in caplog.text


def test_a_pipe_does_not_hold_up_the_discovery(tmp_path, caplog):
    """A pipe in place of the file, which nobody writes to, is passed over at once."""
    os.mkfifo(tmp_path / "orders.json")
    found: list[object] = []
    reader = threading.Thread(
        target=lambda: found.append(SnapshotStore(tmp_path).load("orders")), daemon=True
    )
    reader.start()
    reader.join(20)
    assert found == [None]
    assert "not a regular file" in caplog.text


def test_a_file_that_everybody_may_write_to_is_not_read(tmp_path, caplog):
    """What anybody could have put there decides nothing."""
    SnapshotStore(tmp_path).save("orders", NODES)
    (tmp_path / "orders.json").chmod(0o666)
    assert SnapshotStore(tmp_path).load("orders") is None
    assert "everybody may write" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_not_read(tmp_path, caplog):
    """A file that another user has put into a shared directory brings no nodes in."""
    SnapshotStore(tmp_path).save("orders", NODES)
    os.chown(tmp_path / "orders.json", 65534, -1)
    assert SnapshotStore(tmp_path).load("orders") is None
    assert "another user" in caplog.text


def test_an_endless_file_is_not_read_to_its_end(tmp_path, caplog):
    """A file over the limit of a list is passed over; this one has holes, and no size on disk."""
    with (tmp_path / "orders.json").open("wb") as file:
        file.truncate(100 * MAX_BYTES)
    assert SnapshotStore(tmp_path).load("orders") is None
    assert "bytes" in caplog.text


def test_a_deep_file_is_a_warning(tmp_path, caplog):
    """Brackets without end, which stopped the following of a list for good, are a broken file."""
    (tmp_path / "orders.json").write_text('{"nodes": ' + "[" * 100_000)
    assert SnapshotStore(tmp_path).load("orders") is None
    assert "nested too deeply" in caplog.text


@pytest.mark.parametrize("name", ["../../etc/cron.d/x", "a/b", "..", "a\x00b", "a" * 300, "\n"])
def test_the_name_of_a_service_stays_in_the_directory(tmp_path, name, caplog):
    """No name of a service, wherever it is from, leads out of the directory."""
    directory = tmp_path / "cache"
    SnapshotStore(directory).save(name, NODES)
    SnapshotStore(directory).load(name)
    assert {path.parent for path in tmp_path.rglob("*") if path.is_file()} <= {directory}
    assert all(record.getMessage().isprintable() for record in caplog.records)
