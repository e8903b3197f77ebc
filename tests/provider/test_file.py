"""The file that all workers of a node share: when it counts, when it is looked at, what is told."""

from __future__ import annotations

import errno
import inspect
import logging
import os
import subprocess
import sys
import time

import pytest

from rpcguard._clock import lasting
from rpcguard.provider import OfflineSwitch
from rpcguard.provider import file as offline_file
from rpcguard.provider.file import LIFETIME, OfflineFile, container_began, offline_path
from rpcguard.testing import ManualClock

NOW = 1_800_000_000.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def path(tmp_path) -> str:
    return str(tmp_path / "leaving")


@pytest.fixture
def file(path, clock) -> OfflineFile:
    return OfflineFile(path, clock=clock, wall=lambda: NOW + clock(), began=lambda: None)


def touch(path: str, at: float = NOW) -> None:
    with open(path, "a"):
        os.utime(path, (at, at))


def test_it_is_looked_at_every_tenth_of_a_second(file, path, clock):
    """Between two looks nothing is asked of the file system, however many responses there are."""
    assert not file.says_offline()
    touch(path)
    clock.advance(0.09)
    assert not file.says_offline()
    clock.advance(0.02)
    assert file.says_offline()
    os.unlink(path)
    assert file.says_offline()
    clock.advance(0.11)
    assert not file.says_offline()


def test_its_own_writing_is_seen_at_once(path):
    """Who writes and who removes it need not wait for the next look."""
    file = OfflineFile(path, clock=lambda: 1.0, began=lambda: None)
    assert not file.says_offline()
    file.write()
    assert file.says_offline()
    file.remove()
    assert not file.says_offline()
    file.remove()


@pytest.mark.parametrize(
    ("age", "counts"), [(0, True), (599, True), (601, False), (-5, True), (-601, False)]
)
def test_it_counts_for_ten_minutes(file, path, age, counts):
    """By its mtime; one far in the future would keep the node off for as long."""
    touch(path, NOW - age)
    assert file.says_offline() is counts


def test_a_node_is_back_when_the_time_is_over(file, path, clock, caplog):
    """The end is told by a warning, since nobody may have meant it."""
    touch(path)
    assert file.says_offline()
    clock.advance(LIFETIME)
    assert not file.says_offline()
    assert caplog.messages == [f"{path}, 600 s old, does not count: it counts for 600 s"]


def test_a_second_touch_renews_it(file, path, clock):
    """A hook that runs again has the full time again."""
    touch(path)
    clock.advance(LIFETIME)
    assert not file.says_offline()
    touch(path, NOW + clock())
    clock.advance(1)
    assert file.says_offline()


def test_what_would_not_count_is_not_written(path):
    """A hook must not say that the node leaves by a file that no worker takes for one."""
    with pytest.raises(OSError, match="it is no plain file"):
        OfflineFile(os.devnull).write()


def test_writing_renews_what_is_there(path):
    """The mtime is set even where nothing is changed."""
    touch(path, NOW - 1000)
    OfflineFile(path).write()
    assert int(os.stat(path).st_mtime) != NOW - 1000


def test_comings_and_goings_are_told_once(file, path, clock, caplog):
    """One line when the node leaves, one when it is back, none in between."""
    caplog.set_level(logging.INFO, logger="rpcguard")
    for _ in range(3):
        clock.advance(1)
        touch(path, NOW + clock())
        assert file.says_offline()
    os.unlink(path)
    for _ in range(3):
        clock.advance(1)
        assert not file.says_offline()
    first, second = caplog.messages
    assert first.startswith(f"{path}, 0 s old, says that this node leaves, for 600 s more")
    assert second == f"{path} is gone: this node serves as before"


def test_what_is_found_at_start_is_told(path, monkeypatch, caplog):
    """A folder that survived a restart may hold it: a warning with its age, and how to end it."""
    at = time.time()
    touch(path, at - 42)
    monkeypatch.setattr(offline_file, "container_began", lambda _: at - 43)
    switch = OfflineSwitch(file=path, wall=lambda: at)
    assert switch.offline
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert f"{path}, 42 s old" in record.getMessage()
    assert "for 558 s more" in record.getMessage()
    assert "rpcguard online" in record.getMessage()


def test_nothing_is_told_of_a_start_without_a_file(path, caplog):
    """The usual start is silent."""
    caplog.set_level(logging.DEBUG, logger="rpcguard")
    OfflineSwitch(file=path)
    assert caplog.messages == []


@pytest.mark.parametrize(("began", "counts"), [(NOW - 10, True), (NOW + 10, False)])
def test_a_file_from_before_the_container_does_not_count(path, began, counts, caplog):
    """It was restarted since: it is not the one that was told to leave."""
    touch(path)
    file = OfflineFile(path, wall=lambda: NOW + 20, began=lambda: began)
    file.look_at_start()
    assert file.says_offline() is counts
    [told] = caplog.messages
    assert ("it is from before this container was started" in told) is not counts


def test_a_container_is_as_old_as_its_first_process():
    """It was started before this process was, and not in the future."""
    own = time.time() - time.process_time()
    began = container_began()
    assert began is not None
    assert 0 < began < own


def test_a_worker_is_younger_than_its_container():
    """Process 1 of a new namespace is a container's; what it starts sees the same moment."""
    told = "from rpcguard.provider.file import container_began as c; print(c(), flush=True);"
    code = f"{told} import os; os.fork() and os.wait() or print(c())"
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code]
    before = time.time()
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode == 1 and "unshare" in run.stderr:
        pytest.skip(f"no rights to make a namespace: {run.stderr}")
    first, second = map(float, run.stdout.split())
    assert first >= before - 0.02  # two ticks, in which the kernel counts the starts of processes
    assert second == pytest.approx(first, abs=0.1)


def test_where_nothing_tells_when_the_container_began(monkeypatch):
    """Systems that do not say go by the ten minutes alone."""
    monkeypatch.delattr(time, "CLOCK_BOOTTIME")
    assert container_began() is None


def test_only_a_plain_file_counts(file, path, tmp_path, clock, caplog):
    """A folder that was mounted in its place, or a link, takes no node off."""
    os.mkdir(path)
    os.utime(path, (NOW, NOW))
    assert not file.says_offline()
    os.rmdir(path)
    touch(str(tmp_path / "other"))
    os.symlink(tmp_path / "other", path)
    clock.advance(1)
    assert not file.says_offline()
    assert [message.rpartition(": ")[2] for message in caplog.messages] == ["it is no plain file"]
    with pytest.raises(OSError, match="symbolic"):
        file.write()


@pytest.mark.parametrize("mode", [0o1777, 0o777])
def test_in_a_folder_of_everybody_it_must_be_of_this_user(file, path, tmp_path, monkeypatch, mode):
    """Whoever may write to /tmp is not one who may take this node off; root is."""
    tmp_path.chmod(mode)
    touch(path)
    owner = os.stat(path).st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert file.says_offline() is (mode == 0o777 or owner == 0)


def test_a_stranger_in_a_folder_of_everybody(file, path, tmp_path, monkeypatch, caplog):
    """The warning names whose it is."""
    tmp_path.chmod(0o1777)
    touch(path)
    real = os.lstat(path)
    fields = [*real]
    fields[4] = 4711
    monkeypatch.setattr(os, "lstat", lambda _: os.stat_result(fields))
    assert not file.says_offline()
    assert caplog.messages[0].endswith("belongs to user 4711")


def test_what_cannot_be_looked_at_says_nothing(tmp_path, clock, caplog):
    """The node serves on, and says once why it knows nothing."""
    (tmp_path / "plain").touch()
    file = OfflineFile(str(tmp_path / "plain" / "leaving"), clock=clock)
    for _ in range(3):
        clock.advance(1)
        assert not file.says_offline()
    [told] = caplog.messages
    assert "cannot be looked at: Not a directory; this node serves on" in told


def test_what_cannot_be_looked_at_any_more_says_what_it_said(
    file, path, clock, monkeypatch, caplog
):
    """A folder that is locked in the middle of a release calls no node back before its time."""
    touch(path)
    assert file.says_offline()
    monkeypatch.setattr(os, "lstat", unreadable)
    for at, counts in ((1, True), (598, True), (2, False), (1, False)):
        clock.advance(at)
        assert file.says_offline() is counts
    said = [one.rpartition("; ")[2] for one in caplog.messages if "Permission denied" in one]
    assert said == ["this node serves on"]
    monkeypatch.undo()
    os.unlink(path)
    clock.advance(1)
    assert not file.says_offline()


@pytest.mark.parametrize("jump", [-7200.0, 7200.0])
def test_a_wall_clock_that_is_set_calls_no_node_back(path, clock, caplog, jump):
    """A file that counts goes on to, for its ten minutes; one of after the jump is judged anew."""
    offset = 0.0

    def wall() -> float:
        return NOW + clock() + offset

    file = OfflineFile(path, clock=clock, wall=wall, began=lambda: NOW - 60 + offset)
    touch(path)
    assert file.says_offline()
    offset = jump
    for at, counts in ((1, True), (598, True), (2, False)):
        clock.advance(at)
        assert file.says_offline() is counts
    touch(path, wall())
    clock.advance(1)
    assert file.says_offline()


def test_a_file_of_the_future_turns_no_node_off_later(file, path, clock):
    """Proves that what did not count for its age does not begin to, an hour after the release."""
    touch(path, NOW + 3600)
    for _ in range(8):
        assert not file.says_offline()
        clock.advance(LIFETIME)


@pytest.mark.parametrize("jump", [-60, -300])
def test_a_wall_clock_that_is_set_turns_no_node_off(path, clock, jump):
    """Proves that a container that came back stays, though its start seems to be earlier now."""
    wall = [NOW]
    file = OfflineFile(path, clock=clock, wall=lambda: wall[0], began=lambda: wall[0] - 1)
    touch(path, NOW - 30)
    assert not file.says_offline()
    wall[0] += jump
    for mode in (0o600, 0o000):
        os.chmod(path, mode)
        clock.advance(1)
        assert not file.says_offline()


def test_it_grows_old_while_the_machine_sleeps():
    """Proves that a node that was suspended in its release is not off for ten minutes after."""
    assert inspect.signature(OfflineFile).parameters["clock"].default is lasting


def unreadable(path: str) -> None:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def test_one_path_for_app_and_command(monkeypatch, tmp_path):
    """What is given, else the environment, else one that everybody has; always absolute."""
    monkeypatch.delenv("RPCGUARD_OFFLINE_FILE", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert offline_path() == "/tmp/rpcguard-offline"
    monkeypatch.setenv("RPCGUARD_OFFLINE_FILE", "/run/orders/leaving")
    assert offline_path() == "/run/orders/leaving"
    assert offline_path("/run/orders/other") == "/run/orders/other"
    monkeypatch.chdir(tmp_path)
    assert offline_path("leaving") == str(tmp_path / "leaving")
    monkeypatch.setenv("RPCGUARD_OFFLINE_FILE", "leaving")
    with pytest.raises(ValueError, match="RPCGUARD_OFFLINE_FILE must be an absolute path"):
        OfflineSwitch()


@pytest.mark.parametrize("file", ["", "a\0b"])
def test_what_is_no_path_is_refused(file):
    """An error at construction, not with each request."""
    with pytest.raises(ValueError, match="file must be a path"):
        OfflineSwitch(file=file)


def test_no_file_at_all(monkeypatch, path):
    """With False the switch is of this process alone."""
    touch(path, time.time())
    monkeypatch.setenv("RPCGUARD_OFFLINE_FILE", path)
    switch = OfflineSwitch(file=False)
    assert (switch.offline, switch.file) == (False, None)
    switch.tell_all(offline=True)
    assert switch.offline
    switch.tell_all(offline=False)
    assert not switch.offline


def test_all_switches_of_a_node_turn_together(path):
    """What one worker writes, every other one sees; its own word stays its own."""
    clock = ManualClock()
    one, other = (OfflineSwitch(file=path, clock=clock) for _ in range(2))
    one.tell_all(offline=True)
    clock.advance(1)
    assert one.offline
    assert other.offline
    other.go_offline(ttl=5)
    one.tell_all(offline=False)
    clock.advance(1)
    assert not one.offline
    assert other.notice() == "1; ttl=5"


def test_a_file_that_cannot_be_written_turns_this_process(tmp_path):
    """The error is told, and what can be done is done."""
    switch = OfflineSwitch(file=tmp_path / "missing" / "leaving")
    with pytest.raises(FileNotFoundError):
        switch.tell_all(offline=True)
    assert switch.offline
