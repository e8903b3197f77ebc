"""Registries that answer too much, too deep, for too long, or small and then large."""

from __future__ import annotations

import gzip
import itertools
import json
import time
import tracemalloc
import zlib
from base64 import b64encode

import pytest

from rpcguard import Node
from rpcguard.errors import RegistryError
from rpcguard.registries._shared.documents import MAX_BYTES, json_from_bytes
from rpcguard.registries._shared.nodes import MOST_NODES, nodes_from_json
from rpcguard.registries.dns import DnsRegistry
from rpcguard.registries.etcd.registry import EtcdRegistry
from rpcguard.registries.http import HttpRegistry
from rpcguard.registries.xds.assignments import objects_of, placed, weight_of
from tests.support.stage import Stage

LIMIT = 1024 * 1024


def bomb(size: int, *, layers: int = 1) -> bytes:
    """Pack so many zeros, again and again."""
    packer = zlib.compressobj(1, wbits=zlib.MAX_WBITS | 16)
    zeros = bytes(4 * 1024 * 1024)
    data = b"".join(packer.compress(zeros) for _ in range(size // len(zeros))) + packer.flush()
    for _ in range(layers - 1):
        data = gzip.compress(data)
    return data


async def fetched(server, **options) -> tuple[RegistryError, int]:
    """Give the error of a fetch, and the most memory that Python held for it."""
    registry = HttpRegistry(f"http://{server.address}/{{service}}", **options)
    tracemalloc.start()
    try:
        with pytest.raises(RegistryError) as caught:
            await registry.fetch("orders")
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        await registry.aclose()
    return caught.value, most


async def test_what_is_packed_is_unpacked_up_to_the_limit(new_server):
    """An answer of a megabyte that would be 256 of them costs no more than the limit."""
    server = new_server()
    server.say(bomb(256 * 1024**2), Content_Encoding="gzip")
    error, most = await fetched(server, max_bytes=LIMIT)
    assert "more than" in str(error)
    assert most < 8 * LIMIT


@pytest.mark.parametrize(
    "encoding", ["deflate", "br", "zstd", "gzip, gzip", "compress", "gzip;q=1"]
)
async def test_a_packing_that_was_not_asked_for_is_refused(encoding, new_server):
    """Whatever else a body is packed with is not unpacked at all."""
    server = new_server()
    server.say(bomb(8 * 1024**2, layers=2), Content_Encoding=encoding)
    error, most = await fetched(server)
    assert "was not asked for" in str(error)
    assert most < LIMIT


async def test_two_hundred_megabytes_are_not_read(new_server):
    """A plain answer over the limit is left as soon as it is over it."""
    server = new_server()
    sent = itertools.count()

    def parts():
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 209715200\r\n\r\n"
        for _ in range(3200):
            next(sent)
            yield bytes(65536)

    server.script = lambda _: parts()
    error, most = await fetched(server, max_bytes=LIMIT)
    assert "more than" in str(error)
    assert most < 8 * LIMIT
    assert next(sent) < 1600


async def test_an_answer_without_end_is_left(new_server):
    """A body that comes drop by drop for ever ends with the timeout, not with the body."""
    server = new_server()

    def drops():
        yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        while True:
            time.sleep(0.02)
            yield b"1\r\n \r\n"

    server.script = lambda _: drops()
    error, _ = await fetched(server, timeout=0.3)  # the drops never end
    assert "no complete answer within" in str(error)


async def test_headers_without_end_are_left(new_server):
    """A head that does not end is refused, and costs next to nothing."""
    server = new_server()

    def head():
        yield b"HTTP/1.1 200 OK\r\n"
        while True:
            yield b"X-More: " + b"a" * 1000 + b"\r\n"

    server.script = lambda _: head()
    error, most = await fetched(server)
    assert "RemoteProtocolError" in str(error)
    assert most < 8 * LIMIT


async def test_a_watch_without_end_begins_anew(new_server, monkeypatch):
    """Keys that a watch adds for ever are not collected for ever: the list is read again."""
    monkeypatch.setattr("rpcguard.registries.etcd.registry.MAX_BYTES", 50_000)
    server = new_server()
    lists = itertools.count(1)

    def script(seen):
        if seen.target == "/v3/kv/range":
            next(lists)
            return server.answer(json.dumps({"header": {"revision": "1"}, "kvs": []}))
        return events()

    def events():
        yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for number in itertools.count(2):
            key = b64encode(b"orders/%d" % number).decode()
            put = {"key": key, "value": "MTAuMC4wLjE6ODA=", "create_revision": "1"}
            told = {"header": {"revision": str(number)}, "events": [{"kv": put}]}
            line = json.dumps({"result": told}).encode() + b"\n"
            yield b"%x\r\n%s\r\n" % (len(line), line)

    server.script = script
    registry = EtcdRegistry(f"etcd://{server.address}")
    longest = 0
    watch = registry.watch("orders")
    async for snapshot in watch:
        longest = max(longest, len(snapshot.nodes))
        if next(lists) > 4:
            break
    await watch.aclose()
    await registry.aclose()
    assert longest < 50_000 // 100


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_depth_is_an_error_and_no_crash(opening):
    """Brackets without end are a broken document, not the end of the stack."""
    with pytest.raises(ValueError, match="nested too deeply"):
        json_from_bytes(opening * (1024 * 1024 // len(opening)))


@pytest.mark.parametrize("part", [b"{},", b"[],", b'"",'])
def test_small_parts_without_end_are_refused(part):
    """Text of 32 MiB does not become objects of a gigabyte."""
    with pytest.raises(ValueError, match="more than 2000000 parts"):
        json_from_bytes(b"[" + part * (MAX_BYTES // 3 - 2) + b"0]")
    assert json_from_bytes(b'{"a":"' + b"," * 1000 + b'"}') == {"a": "," * 1000}


def test_a_number_without_end_is_an_error():
    """Digits without end, which take Python the square of their number, are refused."""
    with pytest.raises(ValueError, match="digit"):
        json_from_bytes(b"[" + b"9" * 100_000 + b"]")


def test_bad_nodes_without_end_keep_one_message():
    """A list of nothing but bad entries costs no more than the list itself."""
    entries: list[object] = [{"host": "x" * 300, "port": 0}] * 10_000
    tracemalloc.start()
    with pytest.raises(ValueError, match="none of 10000 nodes"):
        nodes_from_json(entries, where="test")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < LIMIT / 10


def test_a_list_without_end_is_refused():
    """More entries than any service has nodes are a broken list, which keeps the last one."""
    entries: list[object] = [{"host": "a", "port": 1}] * (MOST_NODES + 1)
    with pytest.raises(ValueError, match="too long"):
        nodes_from_json(entries, where="test")


@pytest.mark.real_time("the time of eight times as many is measured by that of one")
def test_localities_without_end_take_linear_time():
    """Many localities of one priority are counted once, not once for each of them."""

    def cost(count: int) -> float:
        localities = [{"lb_endpoints": [{}], "load_balancing_weight": 1}] * count
        begun = time.thread_time()
        found = placed(localities, lambda some: objects_of(some, "lb_endpoints"), weight_of)
        assert sum(1 for _ in found) == count
        return time.thread_time() - begun

    cost(100)
    assert min(cost(40_000) for _ in range(3)) < 20 * min(cost(8000) for _ in range(3))


def test_priorities_without_end_cost_no_pick():
    """Levels of priority that come and go leave nothing behind that picks would look at."""
    stage = Stage()
    for number in range(200):
        stage.list(Node("10.0.0.1", 80, id=f"n{number}", priority=number))
        stage.clock.advance(61)
        stage.call()
    pools = stage.service._roster.pools
    assert pools.empty == 0
    assert len(pools.prepare_whole().stages[0].levels) == len(pools) == 1


async def test_an_answer_that_the_parser_of_dns_stumbles_over_is_no_list(monkeypatch):
    """Whatever dnspython raises for an answer, the registry has no list, and says so."""
    registry = DnsRegistry([("10.0.0.53", 53)])

    async def stumble(*_, **__):
        raise AttributeError("odd answer")

    monkeypatch.setattr(registry._open(), "resolve", stumble)
    with pytest.raises(RegistryError, match="odd answer"):
        await registry.fetch("orders")


@pytest.mark.real_time("the time of a pick is measured by that of a walk over the list")
def test_the_longest_list_slows_no_pick():
    """Of as many nodes as a list may have, all down, a pick costs but a few looks at each."""
    listed = [Node("10.0.0.1", 80, id=f"n{n}", status="down") for n in range(MOST_NODES)]
    stage = Stage(*listed)
    times, controls = [], []
    for _ in range(9):
        begun = time.thread_time()
        lease = stage.pick()
        times.append(time.thread_time() - begun)
        stage.end(lease)
        begun = time.thread_time()
        assert len({node.id for node in listed if node.status == "down"}) == MOST_NODES
        controls.append(time.thread_time() - begun)
    assert min(times) < 20 * min(controls)


def test_the_limit_is_what_the_documentation_says():
    """32 MiB for an answer, 25,000 for the entries of a list."""
    assert MAX_BYTES == 32 * 1024 * 1024
    assert MOST_NODES == 25_000
