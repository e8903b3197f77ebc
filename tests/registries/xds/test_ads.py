"""The stream of aggregated discovery: what is said on it, and every way in which it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import ssl

import pytest
import trustme

from rpcguard.errors import RegistryError
from rpcguard.registries.xds import client as client_of_ads
from rpcguard.registries.xds.ads import AdsRegistry
from rpcguard.registries.xds.messages import CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE
from tests.support.grpc_peer import grpc_peer
from tests.support.xds_messages import chain, endpoints, places


@pytest.fixture
def anyio_backend():
    """The discovery loop is one of asyncio."""
    return "asyncio"


@contextlib.asynccontextmanager
async def registry_at(port, options="timeout=5", scheme="xds", **more):
    registry = AdsRegistry(f"{scheme}://127.0.0.1:{port}?{options}", rng=random.Random(1), **more)
    try:
        yield registry
    finally:
        await registry.aclose()


@contextlib.asynccontextmanager
async def watching(registry, service="orders"):
    """Give a function that waits for the next list, as the addresses in it."""
    async with contextlib.aclosing(registry.watch(service)) as snapshots:

        async def following():
            snapshot = await anext(snapshots)
            return [node.address for node in snapshot.nodes]

        yield following


async def tell(talk, ports=(1,), version="1", service="orders"):
    """Answer the three requests of a service, and take in what acknowledges the answers."""
    answers, owed = chain(service, ports), {LISTENER_TYPE, CLUSTER_TYPE, ENDPOINT_TYPE}
    while owed:
        request = await talk.request()
        if request["type_url"] in owed and "response_nonce" not in request:
            owed.discard(request["type_url"])
            await talk.answer(request["type_url"], version, answers[request["type_url"]])


async def serve(talk):
    """Answer, and keep the stream open."""
    await talk.begin()
    await tell(talk)
    await asyncio.Event().wait()


async def test_first_list():
    """The chain is followed, each answer acknowledged, and the node named once."""
    requests = []

    async def script(talk):
        await talk.begin()
        answers = chain("orders", [1, 2])
        while True:
            request = await talk.request()
            requests.append(request)
            if "response_nonce" not in request:
                await talk.answer(request["type_url"], "7", answers[request["type_url"]])

    async with grpc_peer(script) as (port, talks), registry_at(port, "node=me") as registry:
        snapshot = await registry.fetch("orders")
        assert [node.address for node in snapshot.nodes] == ["10.0.0.1:1", "10.0.0.1:2"]
        assert talks[0].headers[1]["content-type"] == "application/grpc"
        assert talks[0].headers[1]["te"] == "trailers"
    assert requests[0]["node"]["id"] == "me"
    assert not [request for request in requests[1:] if "node" in request]
    acks = [request for request in requests if "response_nonce" in request]
    assert {(ack["version_info"], ack["response_nonce"]) for ack in acks} == {("7", "n7")}


def moving(go: asyncio.Event):
    """Make a server whose one node has moved once `go` is set."""

    async def script(talk):
        await talk.begin()
        await tell(talk)
        await go.wait()
        await talk.answer(ENDPOINT_TYPE, "2", endpoints("orders", places(("10.0.0.2", 2))))
        await asyncio.Event().wait()

    return script


async def test_changes_are_pushed():
    """A second assignment on the same stream is a second list."""
    go = asyncio.Event()
    async with (
        grpc_peer(moving(go)) as (port, talks),
        registry_at(port) as registry,
        watching(registry) as following,
    ):
        assert await following() == ["10.0.0.1:1"]
        go.set()
        assert await following() == ["10.0.0.2:2"]
        assert len(talks) == 1


async def test_each_event_loop_has_a_stream_of_its_own():
    """A program that asks for a list by itself takes none from those who follow it elsewhere."""
    go = asyncio.Event()
    async with (
        grpc_peer(moving(go)) as (port, talks),
        registry_at(port) as registry,
        watching(registry) as following,
    ):

        async def ask():
            return await registry.fetch("orders")

        assert await following() == ["10.0.0.1:1"]
        snapshot = await asyncio.to_thread(asyncio.run, ask())
        assert [node.address for node in snapshot.nodes] == ["10.0.0.1:1"]
        go.set()
        assert await following() == ["10.0.0.2:2"]
        assert len(talks) == 2


async def test_services_share_one_stream():
    """A second service is asked for on the stream that is there, with the names of both."""

    async def script(talk):
        await talk.begin()
        while True:
            request = await talk.request()
            if "response_nonce" not in request or len(request["resource_names"]) == 2:
                kind = request["type_url"]
                some = [chain(name, [1])[kind] for name in request["resource_names"]]
                await talk.answer(kind, str(len(some)), *some)
                await talk.request()

    async with (
        grpc_peer(script) as (port, talks),
        registry_at(port) as registry,
        watching(registry) as following,
    ):
        assert await following() == ["10.0.0.1:1"]
        async with watching(registry, "stock") as other:
            assert await other() == ["10.0.0.1:1"]
        assert len(talks) == 1


def ends_by_goaway(talk):
    talk.go_away()
    talk.finish()


def ends_by_goaway_of_all(talk):
    talk.go_away(last=0)


def ends_by_reset(talk):
    talk.reset(2)


def ends_well(talk):
    talk.finish()


def ends_badly(talk):
    talk.finish(14, "going")


def ends_by_close(talk):
    talk.writer.close()


def ends_by_half_a_frame(talk):
    talk.writer.write(b"\0\0\x20\0")
    talk.writer.close()


def ends_by_junk(talk):
    talk.writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)


ENDS = [
    *(ends_by_goaway, ends_by_goaway_of_all, ends_by_reset, ends_well, ends_badly),
    *(ends_by_close, ends_by_half_a_frame, ends_by_junk),
]


@pytest.mark.parametrize("end", ENDS)
async def test_a_stream_that_answered_is_begun_anew(end):
    """However it ends, nobody hears of it; everything is asked for again, and changes arrive."""
    go = asyncio.Event()

    async def first(talk):
        await talk.begin()
        await tell(talk)
        await go.wait()
        end(talk)
        await asyncio.Event().wait()

    async def second(talk):
        await talk.begin()
        await tell(talk, [2], version="1")
        await asyncio.Event().wait()

    async with (
        grpc_peer(first, second) as (port, talks),
        registry_at(port) as registry,
        watching(registry) as following,
    ):
        assert await following() == ["10.0.0.1:1"]
        go.set()
        assert await following() == ["10.0.0.1:2"]
        assert len(talks) == 2


@pytest.mark.parametrize("end", ENDS[1:])
async def test_a_stream_that_never_answered_is_trouble(end):
    """Who waits is told what ended it."""

    async def script(talk):
        await talk.message()
        if end in (ends_by_reset, ends_well, ends_badly, ends_by_junk):
            await talk.begin()
        end(talk)
        await asyncio.Event().wait()

    async with grpc_peer(script) as (port, _), registry_at(port) as registry:
        with pytest.raises(RegistryError, match=f"127.0.0.1:{port}"):
            await registry.fetch("orders")


async def test_the_reason_is_told():
    """The message of gRPC is decoded and shown, and wrong credentials are called so."""

    async def script(talk):
        await talk.message()
        await talk.begin()
        talk.finish(16, "no%20token")

    async with grpc_peer(script) as (port, _), registry_at(port) as registry:
        with pytest.raises(RegistryError, match=r"gRPC status 16: no token; are the credentials"):
            await registry.fetch("orders")


async def test_a_service_that_does_not_come_is_unknown():
    """Nothing within the time is an answer, where nothing was ever there."""

    async def script(talk):
        await asyncio.Event().wait()

    async with grpc_peer(script) as (port, _), registry_at(port, "timeout=0.1") as registry:
        assert not (await registry.fetch("orders")).known


async def test_silence_where_there_was_a_list_is_trouble():
    """A new stream on which nothing is said is given up; the next one is heard."""

    async def first(talk):
        await talk.begin()
        await tell(talk)
        talk.finish()

    async def mute(talk):
        await talk.begin()
        await asyncio.Event().wait()

    async with (
        grpc_peer(first, mute) as (port, _),
        registry_at(port, "timeout=0.2") as registry,
        watching(registry) as following,
    ):
        assert await following() == ["10.0.0.1:1"]
        with pytest.raises(RegistryError, match=r"no answer in 0\.2 s"):
            await following()


async def test_what_cannot_be_used_is_refused_with_its_reason():
    """The version that is held is named, the nonce is that of the refused answer."""
    refused = asyncio.get_running_loop().create_future()

    async def script(talk):
        await talk.begin()
        await tell(talk)
        while (await talk.request())["type_url"] != ENDPOINT_TYPE:
            pass
        await talk.answer(ENDPOINT_TYPE, "2", endpoints("orders", places(("", 1))))
        refused.set_result(await talk.request())
        await talk.answer(ENDPOINT_TYPE, "3", endpoints("orders", places(("10.0.0.3", 3))))
        await asyncio.Event().wait()

    async with (
        grpc_peer(script) as (port, _),
        registry_at(port) as registry,
        watching(registry) as following,
    ):
        assert await following() == ["10.0.0.1:1"]
        nack = await refused
        assert (nack["version_info"], nack["response_nonce"]) == ("1", "n2")
        assert nack["error_detail"]["code"] == 3
        assert "none of 1 nodes can be used" in nack["error_detail"]["message"]
        assert await following() == ["10.0.0.3:3"]


@pytest.mark.parametrize(
    ("message", "flag", "reason"),
    [
        (b"\xff", 0, "an answer cannot be read"),
        (b"", 1, "a message is packed"),
    ],
)
async def test_a_message_that_is_none(message, flag, reason):
    """It ends the stream, and is told."""

    async def script(talk):
        await talk.message()
        await talk.begin()
        await talk.send(message, flag=flag)
        await asyncio.Event().wait()

    async with grpc_peer(script) as (port, _), registry_at(port) as registry:
        with pytest.raises(RegistryError, match=reason):
            await registry.fetch("orders")


async def test_a_message_that_is_too_long():
    """Its length alone is enough: nothing of it is waited for."""

    async def script(talk):
        await talk.message()
        await talk.begin()
        talk.books.send_data(1, b"\0\xff\xff\xff\xff")
        talk.flush()
        await asyncio.Event().wait()

    async with grpc_peer(script) as (port, _), registry_at(port) as registry:
        with pytest.raises(RegistryError, match="a message has 4294967295 bytes"):
            await registry.fetch("orders")


async def test_long_messages_both_ways():
    """More than the windows of flow control: a thousand names out, six megabytes in."""
    names = asyncio.get_running_loop().create_future()

    async def script(talk):
        await talk.begin()
        found = await talk.request()
        while len(found["resource_names"]) < 40:
            found = await talk.request()
        names.set_result(found["resource_names"])
        listed = [endpoints(name, places(("10.0.0.1", 1))) for name in found["resource_names"]]
        huge = endpoints("other", places(("10.0.0.1", 1), locality={"zone": "z" * 6_000_000}))
        await talk.answer(ENDPOINT_TYPE, "1", huge, *listed)
        await asyncio.Event().wait()

    options = f"from=endpoints&resource={'x' * 4000}-%7Bservice%7D"
    async with (
        grpc_peer(script) as (port, _),
        registry_at(port, options) as registry,
        asyncio.TaskGroup() as group,
    ):
        tasks = [group.create_task(registry.fetch(f"s{number}")) for number in range(40)]
        for task in tasks:
            assert len((await task).nodes) == 1
        assert len(names.result()) == 40


async def test_the_next_address_is_tried():
    """One that refuses, and one that says no, are passed over."""

    async def refusing(talk):
        await talk.message()
        await talk.begin()
        talk.finish(14)

    async with grpc_peer(refusing) as (bad, _), grpc_peer(serve) as (good, _):
        url = f"xds://127.0.0.1:1,127.0.0.1:{bad},127.0.0.1:{good}"
        registry = AdsRegistry(url)
        snapshot = await registry.fetch("orders")
        assert [node.address for node in snapshot.nodes] == ["10.0.0.1:1"]
        await registry.aclose()


async def test_nothing_is_left_open():
    """With the last watcher the stream ends, and the next one gets one of its own."""
    async with grpc_peer(serve) as (port, talks), registry_at(port) as registry:
        for number in (1, 2):
            async with watching(registry) as following:
                assert await following() == ["10.0.0.1:1"]
            await talks[-1].closed.wait()
            assert len(talks) == number


def authority_for(*names):
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return authority, context


async def test_tls_and_a_token_that_is_read_anew(tmp_path):
    """The CA is checked, HTTP/2 agreed on, and each connection has the token of now."""
    authority, context = authority_for("127.0.0.1")
    context.set_alpn_protocols(["h2"])
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    token = tmp_path / "token"
    token.write_text("first\n")
    go = asyncio.Event()

    async def first(talk):
        await talk.begin()
        await tell(talk)
        await go.wait()
        talk.finish()

    async def second(talk):
        await talk.begin()
        await tell(talk, [2])
        await asyncio.Event().wait()

    options = f"ca={tmp_path}/ca.pem&token_file={token}"
    async with (
        grpc_peer(first, second, tls=context) as (port, talks),
        registry_at(port, options, "xds+tls") as registry,
        watching(registry) as following,
    ):
        assert await following() == ["10.0.0.1:1"]
        token.write_text("second\n")
        go.set()
        assert await following() == ["10.0.0.1:2"]
        told = [talk.headers[1]["authorization"] for talk in talks]
        assert told == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize(
    ("names", "protocols", "ca", "reason"),
    [
        (["other.test"], ["h2"], True, "CERTIFICATE_VERIFY_FAILED"),
        (["127.0.0.1"], ["h2"], False, "CERTIFICATE_VERIFY_FAILED"),
        (["127.0.0.1"], ["http/1.1"], True, "does not agree on HTTP/2"),
    ],
)
async def test_tls_that_is_not_right(tmp_path, names, protocols, ca, reason):
    """Another name, another authority, another protocol: no token is shown to it."""
    authority, context = authority_for(*names)
    context.set_alpn_protocols(protocols)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    options = f"ca={tmp_path}/ca.pem" if ca else ""
    async with (
        grpc_peer(serve, tls=context) as (port, _),
        registry_at(port, options, "xds+tls") as registry,
    ):
        with pytest.raises(RegistryError, match=reason):
            await registry.fetch("orders")


@pytest.mark.parametrize("token_file", ["/none", os.devnull])
async def test_no_token_file(tmp_path, token_file):
    """It is named, and what was wrong with it; a device or a pipe is none, it may never end."""
    authority, context = authority_for("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    options = f"ca={tmp_path}/ca.pem&token_file={token_file}"
    async with (
        grpc_peer(serve, tls=context) as (port, _),
        registry_at(port, options, "xds+tls") as registry,
    ):
        with pytest.raises(RegistryError, match="the token file"):
            await registry.fetch("orders")


async def test_who_waits_hears_that_the_registry_was_closed():
    """Before the first list and after it, and also who does not wait at that moment."""
    async with (
        grpc_peer(serve) as (port, _),
        registry_at(port) as registry,
        watching(registry) as following,
        watching(registry, "stock") as other,
    ):
        assert await following() == ["10.0.0.1:1"]
        waiting = asyncio.create_task(other())
        await asyncio.sleep(0)
        await registry.aclose()
        with pytest.raises(RegistryError, match="was closed"):
            await waiting
        with pytest.raises(RegistryError, match="was closed"):
            await following()


async def test_a_stream_that_is_stopped_late(monkeypatch):
    """It ends on its own, without a word about the one that has begun meanwhile."""
    asked, leave = asyncio.Event(), asyncio.Event()
    real = client_of_ads.connected

    @contextlib.asynccontextmanager
    async def slow_to_end(*address, **more):
        async with real(*address, **more) as channel:
            try:
                yield channel
            finally:
                await leave.wait()

    async def script(talk):
        await talk.request()
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(client_of_ads, "connected", slow_to_end)
    async with grpc_peer(script) as (port, talks), registry_at(port, "timeout=0.3") as registry:
        first = asyncio.create_task(registry.fetch("orders"))
        await asked.wait()
        asked.clear()
        first.cancel()
        second = asyncio.create_task(registry.fetch("orders"))
        await asked.wait()
        assert len(talks) == 2
        leave.set()
        assert not (await second).known
