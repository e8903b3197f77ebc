"""The file registry against real files."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import anyio
import pytest

from rpcguard._core.nodes.node import Node
from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard.errors import InvalidRegistryURL, RegistryError
from rpcguard.registries.file import FileRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from anyio.streams.memory import MemoryObjectReceiveStream

    from rpcguard.registries._shared.documents import Services

    Lists: TypeAlias = MemoryObjectReceiveStream[Snapshot]


class Counted(FileRegistry):
    """Count the looks at the file."""

    looks = 0

    def _signature(self) -> tuple[int, ...]:
        self.looks += 1
        return super()._signature()


class StoppedClock(FileRegistry):
    """See files as on a file system whose clock does not tick: only young and old differ."""

    def _signature(self) -> tuple[int, ...]:
        return super()._signature()[-1:]


def document(*ports: int) -> str:
    return json.dumps({"services": {"orders": [{"host": "a", "port": port} for port in ports]}})


def replace(path: Path, text: str | bytes) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_bytes(text.encode() if isinstance(text, str) else text)
    fresh.rename(path)


def write_in_place(path: Path, text: str, *, age: float = 0.0) -> None:
    path.write_text(text)
    before = path.stat().st_mtime - age
    os.utime(path, (before, before))


def move(path: Path, target: Path) -> None:
    path.rename(target)


def ports(snapshot: Snapshot) -> list[int]:
    return [node.port for node in snapshot.nodes]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "services.json"
    path.write_text(document(1))
    return path


@asynccontextmanager
async def following(
    registry: FileRegistry, service: str = "orders", *, faults: list[str] | None = None
) -> AsyncIterator[Lists]:
    """Collect what the watch yields, which is begun anew after each fault.

    Whatever is awaited inside has 20 s.
    """
    send, receive = anyio.create_memory_object_stream[Snapshot](100)

    async def follow() -> None:
        while True:
            try:
                async for snapshot in registry.watch(service):
                    send.send_nowait(snapshot)
            except RegistryError as error:
                if faults is not None:
                    faults.append(str(error))

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks, send, receive:
            tasks.start_soon(follow)
            yield receive
            tasks.cancel_scope.cancel()


async def until(done: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not done():  # noqa: ASYNC110 - a thread or a file has no event to wait for
            await anyio.sleep(0.002)


async def more_looks(registry: Counted) -> None:
    enough = registry.looks + 10
    await until(lambda: registry.looks >= enough)


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


async def test_a_service_is_read_by_url(path: Path) -> None:
    """Proves the URL form, any case of the name, and that a service not listed is unknown."""
    registry = FileRegistry.from_url(f"file://{path}?interval=0.5")
    assert (await registry.fetch("ORDERS")).nodes == (Node("a", 1),)
    assert await registry.fetch("other") == Snapshot((), known=False)
    assert repr(registry) == f"FileRegistry({str(path)!r})"


@pytest.mark.parametrize("listed", ["shop.bücher.example", "shop.xn--bcher-kva.example."])
async def test_a_service_is_found_however_it_is_spelt(path: Path, listed: str) -> None:
    """Proves that final dots and encoded letters make no other service."""
    replace(path, json.dumps({"services": {listed: [{"host": "a", "port": 1}]}}))
    registry = FileRegistry(path)
    for host in ("shop.bücher.example", "shop.xn--bcher-kva.example"):
        assert (await registry.fetch(host)).nodes == (Node("a", 1),)
    assert list(await registry.services()) == [listed]


async def test_a_path_with_blanks_is_percent_encoded(tmp_path: Path) -> None:
    """Proves that the path of the URL is decoded."""
    path = tmp_path / "all our?services@home.json"
    path.write_text(document(1))
    quoted = f"file://{tmp_path}/all%20our%3Fservices%40home.json"
    assert ports(await FileRegistry.from_url(quoted).fetch("orders")) == [1]


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("file://etc/services.json", "after three slashes"),
        ("file://", "after three slashes"),
        ("file:///", "names no file"),
        ("file:///etc/", "names no file"),
        ("file:///etc/a%00b", "names no file"),
        ("file:///etc/a.json?interval=0", "'interval' must be a number above 0"),
        ("file:///etc/a.json?watch=no", "unknown option 'watch'"),
    ],
)
def test_a_wrong_url_is_refused(url: str, complaint: str) -> None:
    """Proves that each mistake is named and an example is shown."""
    with pytest.raises(InvalidRegistryURL, match=complaint) as caught:
        FileRegistry.from_url(url)
    assert "file:///etc/services.json" in str(caught.value)


def test_an_interval_of_zero_is_refused(path: Path) -> None:
    """Proves that a watch cannot be made to spin."""
    with pytest.raises(ValueError, match="interval must be above 0, not 0"):
        FileRegistry(path, interval=0)


BROKEN: list[tuple[str | bytes, str]] = [
    ("", "it is empty"),
    (document(1, 2)[:-8], "delimiter|Expecting|Unterminated"),
    (b'{"services": {"orders": [{"host": "\xff", "port": 1}]}}', "utf-8"),
    ("[" * 100_000, "nested too deeply"),
    ("[]", '"services" is wanted'),
    ("{}", '"services" is wanted'),
    ('{"services": []}', '"services" is wanted'),
    ('{"services": {"orders": {"host": "a"}}}', "a list of nodes is wanted, not dict"),
    ('{"services": {"orders": [{"host": "a", "port": 0}]}}', "none of 1 nodes"),
    (document(1) + " " * 1000, "more than 300 bytes"),
]


@pytest.mark.parametrize(("text", "complaint"), BROKEN)
async def test_fetch_names_the_file_and_its_fault(
    path: Path, text: str | bytes, complaint: str
) -> None:
    """Proves that no broken content gives a list."""
    replace(path, text)
    registry = FileRegistry(path, max_bytes=max(300, 0 if len(text) < 2000 else len(text)))
    with pytest.raises(RegistryError, match=complaint) as caught:
        await registry.fetch("orders")
    assert str(path) in str(caught.value)


async def test_fetch_of_no_file_a_directory_or_a_pipe_is_an_error(tmp_path: Path) -> None:
    """Proves that nothing blocks on a pipe and each case is named."""
    os.mkfifo(tmp_path / "pipe")
    for name, complaint in (("gone", "No such file"), (".", "not a reg"), ("pipe", "not a reg")):
        with pytest.raises(RegistryError, match=complaint), anyio.fail_after(20):
            await FileRegistry(tmp_path / name).fetch("orders")


async def test_the_watch_follows_replaces_and_writes_in_place(path: Path) -> None:
    """Proves that the first list comes at once and each change, by rename or in place, after it."""
    async with following(FileRegistry(path, interval=0.01)) as lists:
        assert ports(await lists.receive()) == [1]
        replace(path, document(2))
        assert ports(await lists.receive()) == [2]
        write_in_place(path, document(3, 4))
        while ports(await lists.receive()) != [3, 4]:
            pass
        os.unlink(path)
        write_in_place(path, document(5))
        while ports(await lists.receive()) != [5]:
            pass


async def test_a_symbolic_link_that_moves_is_followed(tmp_path: Path) -> None:
    """Proves that a mounted ConfigMap, whose directory link is swapped, is followed."""
    for name, port in (("one", 1), ("two", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "services.json").write_text(document(port))
    current = tmp_path / "current"
    current.symlink_to("one")
    async with following(FileRegistry(current / "services.json", interval=0.01)) as lists:
        assert ports(await lists.receive()) == [1]
        fresh = tmp_path / "fresh"
        fresh.symlink_to("two")
        fresh.rename(current)
        assert ports(await lists.receive()) == [2]


async def test_a_write_within_one_tick_of_the_clock_is_seen(path: Path) -> None:
    """Proves that a file changed with the same times, size and inode is read once it settled."""
    async with following(StoppedClock(path, interval=0.01)) as lists:
        assert ports(await lists.receive()) == [1]
        write_in_place(path, document(2), age=10)
        assert ports(await lists.receive()) == [2]


async def test_nothing_is_yielded_when_the_list_stays(path: Path) -> None:
    """Proves that a touched file, or another service's change, does not wake the reader."""
    both = json.loads(document(1))
    both["services"]["billing"] = [{"host": "b", "port": 9}]
    registry = Counted(path, interval=0.001)
    async with following(registry) as lists:
        assert ports(await lists.receive()) == [1]
        for text in (document(1), json.dumps(both)):
            replace(path, text)
            await more_looks(registry)
            with pytest.raises(anyio.WouldBlock):
                lists.receive_nowait()
        replace(path, document(2))
        assert ports(await lists.receive()) == [2]


class ShortOfFiles(FileRegistry):
    """Fail to open the file the first three times."""

    failures = 3

    def _read(self) -> Services:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super()._read()


async def test_a_file_that_cannot_be_opened_is_tried_again(path: Path) -> None:
    """Proves that the watch does not wait for a change when the fault is not in the file."""
    faults: list[str] = []
    async with following(ShortOfFiles(path, interval=0.001), faults=faults) as lists:
        assert ports(await lists.receive()) == [1]
    assert faults == [f"{path}: Too many open files"]


@pytest.mark.parametrize(("text", "complaint"), BROKEN[:-1])
async def test_a_broken_file_is_told_once_and_at_once(
    path: Path, text: str | bytes, complaint: str
) -> None:
    """A fault ends the watch, the next watch waits for its end, and then the list comes again."""
    registry, faults = Counted(path, interval=0.001), list[str]()
    async with following(registry, faults=faults) as lists:
        assert ports(await lists.receive()) == [1]
        replace(path, text)
        await until(lambda: bool(faults))
        await more_looks(registry)
        with pytest.raises(anyio.WouldBlock):
            lists.receive_nowait()
        replace(path, document(1))
        assert ports(await lists.receive()) == [1]
    (fault,) = faults
    assert fault.startswith(f"{path}: ")
    assert re.search(complaint, fault)


async def test_a_file_that_goes_and_comes_back_is_followed(path: Path) -> None:
    """Proves that an absent file is one fault, and that the very same file counts again."""
    aside = path.with_suffix(".aside")
    registry, faults = Counted(path, interval=0.001), list[str]()
    async with following(registry, faults=faults) as lists:
        assert ports(await lists.receive()) == [1]
        for round_ in (1, 2):
            move(path, aside)
            await until(lambda: bool(faults))
            await more_looks(registry)
            assert faults == [f"{path}: No such file or directory"], round_
            faults.clear()
            move(aside, path)
            assert ports(await lists.receive()) == [1]


async def test_one_look_serves_every_service(path: Path) -> None:
    """Two hundred services of one file cost what one does, each hears of its own changes."""
    registry = Counted(path, interval=0.001)
    names = [f"service{number}" for number in range(200)]
    reads = 0

    def read(self: FileRegistry) -> Services:
        nonlocal reads
        reads += 1
        return FileRegistry._read(self)

    registry._read = read.__get__(registry)  # type: ignore[method-assign]
    async with AsyncExitStack() as stack:
        several = [await stack.enter_async_context(following(registry, name)) for name in names]
        for lists in several:
            assert not (await lists.receive()).known
        before, looks = reads, registry.looks
        services = {name: [{"host": "a", "port": 1}] for name in names}
        replace(path, json.dumps({"services": services}))
        for lists in several:
            assert ports(await lists.receive()) == [1]
        assert reads == before + 1
        assert looks < 20 * 200


async def test_another_watch_looks_when_the_one_that_did_has_ended(path: Path) -> None:
    """The service that looked for all is forgotten, and the rest stays live."""
    registry = Counted(path, interval=0.001)
    async with following(registry, "billing") as billing:
        async with following(registry) as first:
            assert ports(await first.receive()) == [1]
            await billing.receive()
            async with following(registry) as second:
                assert ports(await second.receive()) == [1]
        await more_looks(registry)
        replace(path, json.dumps({"services": {"billing": [{"host": "b", "port": 2}]}}))
        assert ports(await billing.receive()) == [2]


async def test_a_watch_can_start_before_the_file_is_there(tmp_path: Path) -> None:
    """Proves that the watch waits for the file instead of failing."""
    path = tmp_path / "later.json"
    registry = Counted(path, interval=0.001)
    async with following(registry) as lists:
        await more_looks(registry)
        replace(path, document(7))
        assert ports(await lists.receive()) == [7]


async def test_each_service_is_told_of_a_fault(path: Path) -> None:
    """Proves that watches share a look, and that a vanished service is unknown."""
    registry = Counted(path, interval=0.001)
    told: tuple[list[str], list[str]] = [], []
    async with (
        following(registry, faults=told[0]) as orders,
        following(registry, "billing", faults=told[1]) as billing,
    ):
        assert ports(await orders.receive()) == [1]
        assert not (await billing.receive()).known
        replace(path, "{")
        await until(lambda: all(told))
        await more_looks(registry)
        replace(path, json.dumps({"services": {"Billing": [{"host": "b", "port": 2}]}}))
        assert not (await orders.receive()).known
        assert ports(await billing.receive()) == [2]
    assert [len(faults) for faults in told] == [1, 1]


async def test_a_reader_during_many_half_writes_sees_whole_lists_only(path: Path) -> None:
    """Proves that a writer that truncates and writes in pieces never gets a part accepted."""
    seen: list[list[int]] = []
    long = [*range(1, 200)]
    async with following(FileRegistry(path, interval=0.0005)) as lists:
        for _ in range(10):
            with path.open("w") as file:
                text = document(*long)
                for start in range(0, len(text), 500):
                    file.write(text[start : start + 500])
                    file.flush()
                    await anyio.sleep(0.0005)
        replace(path, document(9))
        while not seen or seen[-1] != [9]:
            seen.append(ports(await lists.receive()))
    assert {tuple(some) for some in seen} <= {(1,), tuple(long), (9,)}
