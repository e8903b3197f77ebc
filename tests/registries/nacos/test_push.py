"""The push of Nacos: what is said on its stream, and what is left where there is none."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl

import pytest
import trustme

from rpcguard.errors import InvalidRegistryURL, RegistryError
from rpcguard.registries.base import PushingRegistry
from rpcguard.registries.nacos import NacosRegistry
from rpcguard.registries.nacos.push import _PAYLOAD, NacosPush, PushedGroup
from tests.support.grpc_peer import grpc_peer


@pytest.fixture
def anyio_backend():
    return "asyncio"


def packed(kind, **body):
    text = json.dumps(body).encode()
    return _PAYLOAD.encode({"metadata": {"type": kind}, "body": {"value": text}})


def unpacked(message):
    payload = _PAYLOAD.decode(message)
    body = json.loads(payload["body"]["value"])
    return payload["metadata"]["type"], payload["metadata"].get("headers", {}), body


def service(*ports, name="DEFAULT_GROUP@@orders"):
    hosts = [{"ip": "10.0.0.1", "port": port, "healthy": True} for port in ports]
    return {"name": name, "hosts": hosts, "cacheMillis": 10000}


class NacosTalk:
    """A server, from its side of one connection; `heard` is every message of the caller."""

    def __init__(self, talk):
        self.talk = talk
        self.heard = []
        self.next = 1

    async def answer(self, kind, stream=None, **body):
        """Answer the next question."""
        stream = self.next
        self.next += 2
        self.heard.append(unpacked(await self.talk.message(stream)))
        await self.talk.begin(stream)
        await self.talk.send(packed(kind, **body), stream)
        self.talk.finish(stream=stream)

    async def set_up(self):
        """Take the caller in, and give the number of its stream."""
        await self.answer("ServerCheckResponse", resultCode=200, connectionId="1")
        stream = self.next
        self.next += 2
        self.heard.append(unpacked(await self.talk.message(stream)))
        await self.talk.begin(stream)
        await self.talk.send(packed("SetupAckRequest"), stream)
        return stream

    async def subscribed(self, *ports, **more):
        """Answer a subscription."""
        answer = {"resultCode": 200, "serviceInfo": service(*ports, **more)}
        await self.answer("SubscribeServiceResponse", **answer)


@contextlib.asynccontextmanager
async def registry_of(port, options="", user=""):
    registry = NacosRegistry.from_url(f"nacos://{user}127.0.0.1:{port - 1000}{options}")
    registry._pushes = True  # as after an answer of v3
    try:
        yield registry
    finally:
        await registry.aclose()


@contextlib.asynccontextmanager
async def pushes(registry, name="orders"):
    """Give a function that waits for the next list."""
    async with contextlib.aclosing(registry.pushed(name)) as lists:

        async def following():
            return sorted(node.port for node in (await anext(lists)).nodes)

        yield following


async def test_lists_are_pushed():
    """Checked, set up, subscribed: the answer is a list, and so is each push, acknowledged."""
    heard = []
    go = asyncio.Event()

    async def script(talk):
        nacos = NacosTalk(talk)
        heard.append(nacos)
        stream = await nacos.set_up()
        await nacos.subscribed(1)
        await go.wait()
        notice = packed("NotifySubscriberRequest", requestId="7", serviceInfo=service(1, 2))
        await talk.send(notice, stream)
        nacos.heard.append(unpacked(await talk.message(stream)))
        await talk.send(packed("ClientDetectionRequest", requestId="8"), stream)
        nacos.heard.append(unpacked(await talk.message(stream)))
        await talk.send(packed("NotifySubscriberRequest", serviceInfo=service(3)), stream)
        await asyncio.Event().wait()

    async with (
        grpc_peer(script) as (port, _),
        registry_of(port, "?namespace=prod&group=TRADE&cluster=blue") as registry,
        pushes(registry) as following,
    ):
        assert isinstance(registry, PushingRegistry)
        assert await following() == [1]
        go.set()
        assert await following() == [1, 2]
        assert await following() == [3]
    kinds = [kind for kind, _, _ in heard[0].heard]
    assert kinds == [
        "ServerCheckRequest",
        "ConnectionSetupRequest",
        "SubscribeServiceRequest",
        "NotifySubscriberResponse",
        "ClientDetectionResponse",
    ]
    assert heard[0].heard[1][2]["tenant"] == "prod"
    asked = heard[0].heard[2][2]
    assert (asked["groupName"], asked["clusters"], asked["subscribe"]) == ("TRADE", "blue", True)
    assert heard[0].heard[3][2] == {"requestId": "7", "resultCode": 200}


async def test_services_share_one_connection():
    """The second one is subscribed on the stream that is there."""

    async def script(talk):
        nacos = NacosTalk(talk)
        await nacos.set_up()
        await nacos.subscribed(1)
        await nacos.subscribed(2, name="DEFAULT_GROUP@@stock")
        await asyncio.Event().wait()

    async with (
        grpc_peer(script) as (port, talks),
        registry_of(port) as registry,
        pushes(registry) as orders,
    ):
        assert await orders() == [1]
        async with pushes(registry, "stock") as stock:
            assert await stock() == [2]
        assert len(talks) == 1


@pytest.mark.parametrize("way", ["finish", "close", "reset request"])
async def test_a_stream_that_ends(way):
    """Who listens is told, and the next one who listens gets a stream of his own."""
    go = asyncio.Event()

    async def script(talk):
        nacos = NacosTalk(talk)
        stream = await nacos.set_up()
        await nacos.subscribed(1)
        await go.wait()
        if way == "finish":
            talk.finish(stream=stream)
        elif way == "close":
            talk.writer.close()
        else:
            await talk.send(packed("ConnectResetRequest", requestId="1"), stream)
        await asyncio.Event().wait()

    async with grpc_peer(script) as (port, talks), registry_of(port) as registry:
        for number in (1, 2):
            go.clear()
            async with pushes(registry) as following:
                assert await following() == [1]
                go.set()
                with pytest.raises(RegistryError):
                    await following()
            assert len(talks) == number


async def test_who_waits_hears_that_the_registry_was_closed():
    """Also who does not wait at that moment."""

    async def script(talk):
        nacos = NacosTalk(talk)
        await nacos.set_up()
        await nacos.subscribed(1)
        await asyncio.Event().wait()

    async with (
        grpc_peer(script) as (port, _),
        registry_of(port) as registry,
        pushes(registry) as following,
        pushes(registry, "stock") as other,
    ):
        assert await following() == [1]
        waiting = asyncio.create_task(other())
        await asyncio.sleep(0)
        await registry.aclose()
        for late in (waiting, following()):
            with pytest.raises(RegistryError, match="was stopped"):
                await late


@pytest.mark.parametrize("push_first", [True, False])
async def test_a_push_beside_the_answer_to_a_subscription(push_first):
    """It counts, whichever of the two comes first: one stream is read sooner than the other."""

    async def script(talk):
        nacos = NacosTalk(talk)
        stream = await nacos.set_up()
        answer = nacos.next
        nacos.next += 2
        await talk.message(answer)
        await talk.begin(answer)
        notice = packed("NotifySubscriberRequest", serviceInfo=service(1, 2))
        if push_first:
            await talk.send(notice, stream)
        told = packed("SubscribeServiceResponse", resultCode=200, serviceInfo=service(1))
        await talk.send(told, answer)
        talk.finish(stream=answer)
        if not push_first:
            await talk.send(notice, stream)
        await nacos.answer("SubscribeServiceResponse", resultCode=200, serviceInfo=service(9))
        await asyncio.Event().wait()

    async with (
        grpc_peer(script) as (port, _),
        registry_of(port) as registry,
        pushes(registry) as following,
        pushes(registry, "stock") as other,
    ):
        last = await following()
        await other()  # by then all that is about the first one has come
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                last = await following()
        assert last == [1, 2]


async def test_a_service_that_is_refused_costs_no_other_its_push():
    """It is told to who wants that one, and the stream goes on."""
    go = asyncio.Event()

    async def script(talk):
        nacos = NacosTalk(talk)
        stream = await nacos.set_up()
        await nacos.subscribed(1)
        await nacos.answer("ErrorResponse", resultCode=500, errorCode=403, message="denied")
        await go.wait()
        await talk.send(packed("NotifySubscriberRequest", serviceInfo=service(2)), stream)
        await asyncio.Event().wait()

    async with (
        grpc_peer(script) as (port, talks),
        registry_of(port) as registry,
        pushes(registry) as following,
    ):
        assert await following() == [1]
        async with pushes(registry, "secret") as other:
            with pytest.raises(RegistryError, match="code 403: denied"):
                await other()
        go.set()
        assert await following() == [2]
        assert len(talks) == 1


async def test_a_token_that_is_refused():
    """An old one ends the stream, for the next has a new one; a new one is not what is wrong."""
    tokens = []

    async def token(refused):
        tokens.append(refused)
        return f"token {len(tokens)}"

    async def script(talk):
        nacos = NacosTalk(talk)
        await nacos.set_up()
        await nacos.answer("ErrorResponse", resultCode=500, errorCode=403, message="no")
        await nacos.answer("ErrorResponse", resultCode=500, errorCode=301, message="who?")
        await asyncio.Event().wait()

    async with grpc_peer(script) as (port, talks):
        push = NacosPush([("127.0.0.1", port)], PushedGroup("", "G", ""), token)
        with push.listening("orders") as orders, pytest.raises(RegistryError, match="code 403"):
            await push.next(orders, 0)
        with push.listening("orders") as orders, push.listening("stock") as stock:
            with pytest.raises(RegistryError, match="code 403"):
                await push.next(orders, 0)
            with pytest.raises(RegistryError, match="code 301"):
                await push.next(stock, 0)
        assert tokens == [None, "token 1"]
        assert len(talks) == 2


async def test_a_server_that_wants_to_be_left_is_left():
    """The next connection goes to another one: for a rebalance its own would come back to it."""
    go = asyncio.Event()

    async def script(talk):
        nacos = NacosTalk(talk)
        stream = await nacos.set_up()
        await nacos.subscribed(1)
        await go.wait()
        await talk.send(packed("ConnectResetRequest", requestId="1"), stream)
        await asyncio.Event().wait()

    async def good(talk):
        nacos = NacosTalk(talk)
        await nacos.set_up()
        await nacos.subscribed(2)
        await asyncio.Event().wait()

    async with grpc_peer(script) as (first, _), grpc_peer(good) as (second, talks):
        places = f"127.0.0.1:{first - 1000},127.0.0.1:{second - 1000}"
        registry = NacosRegistry.from_url(f"nacos://{places}")
        registry._pushes = True
        async with pushes(registry) as following:
            assert await following() == [1]
            go.set()
            with pytest.raises(RegistryError, match="to be left"):
                await following()
        async with pushes(registry) as following:
            assert await following() == [2]
        await registry.aclose()
        assert len(talks) == 1


async def test_a_question_before_the_setup_is_acknowledged():
    """Servers before 2.4 acknowledge nothing, and what they ask meanwhile is answered."""
    heard = asyncio.get_running_loop().create_future()

    async def script(talk):
        nacos = NacosTalk(talk)
        await nacos.answer("ServerCheckResponse", resultCode=200)
        stream = nacos.next
        nacos.next += 2
        await talk.message(stream)
        await talk.begin(stream)
        await talk.send(packed("ClientDetectionRequest", requestId="9"), stream)
        heard.set_result(unpacked(await talk.message(stream)))
        await nacos.subscribed(1)
        await asyncio.Event().wait()

    async with (
        grpc_peer(script) as (port, _),
        registry_of(port) as registry,
        pushes(registry) as following,
    ):
        assert await following() == [1]
        kind, _, body = await heard
        assert (kind, body["requestId"]) == ("ClientDetectionResponse", "9")


async def test_a_closed_port():
    """It is told at once; polls are none of its business."""
    async with registry_of(2001) as registry, pushes(registry) as following:
        with pytest.raises(RegistryError, match=r"127\.0\.0\.1:2001"):
            await following()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (packed("ErrorResponse", resultCode=500, errorCode=403, message="user"), "code 403: user"),
        (b"\xff", "cannot be read"),
        (_PAYLOAD.encode({"body": {"value": b"[]"}}), "is no object"),
        (_PAYLOAD.encode({"body": {"value": b"{"}}), "cannot be read"),
    ],
)
async def test_answers_of_no_use(answer, reason):
    """Each is told for what it is."""

    async def script(talk):
        await talk.message()
        await talk.begin()
        await talk.send(answer)
        talk.finish()
        await asyncio.Event().wait()

    async with (
        grpc_peer(script) as (port, _),
        registry_of(port) as registry,
        pushes(registry) as following,
    ):
        with pytest.raises(RegistryError, match=reason):
            await following()


@contextlib.asynccontextmanager
async def registry_by_tls(port, ca, folder):
    """A registry of `nacos+https://` that trusts one authority."""
    ca.cert_pem.write_to_path(folder / "ca.pem")
    url = f"nacos+https://127.0.0.1:{port - 1000}?ca={folder}/ca.pem"
    registry = NacosRegistry.from_url(url)
    registry._pushes = True  # as after an answer of v3
    try:
        yield registry
    finally:
        await registry.aclose()


def server_side(ca):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["h2"])
    ca.issue_cert("127.0.0.1").configure_cert(context)
    return context


async def test_the_push_has_tls_where_the_url_has_it(tmp_path):
    """By the files that the polls have."""

    async def script(talk):
        nacos = NacosTalk(talk)
        await nacos.set_up()
        await nacos.subscribed(1)
        await asyncio.Event().wait()

    ca = trustme.CA()
    async with (
        grpc_peer(script, tls=server_side(ca)) as (port, _),
        registry_by_tls(port, ca, tmp_path) as registry,
        pushes(registry) as following,
    ):
        assert await following() == [1]


@pytest.mark.parametrize("way", ["plain text", "another authority"])
async def test_nothing_is_said_to_a_port_without_the_right_tls(tmp_path, way):
    """Polls go on; the token is for nobody else."""
    ca = trustme.CA()
    said = []

    async def script(talk):
        await talk.closed.wait()
        said.extend(talk.headers)

    tls = None if way == "plain text" else server_side(trustme.CA())
    async with (
        grpc_peer(script, tls=tls) as (port, _),
        registry_by_tls(port, ca, tmp_path) as registry,
        pushes(registry) as following,
    ):
        with pytest.raises(RegistryError, match=f"127.0.0.1:{port}"):
            await following()
    assert not said


async def test_no_push_where_none_is_wanted():
    """Nothing comes, and nothing fails: there are polls."""
    registry = NacosRegistry.from_url("nacos://127.0.0.1:1?push=off")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), pushes(registry) as following:
            await following()
    with pytest.raises(InvalidRegistryURL, match="push"):
        NacosRegistry.from_url("nacos://127.0.0.1:1?push=maybe")


async def test_each_event_loop_has_a_connection_of_its_own():
    """Whoever asks on another one takes no push from those who listen here."""
    go = asyncio.Event()

    async def script(talk):
        nacos = NacosTalk(talk)
        stream = await nacos.set_up()
        await nacos.subscribed(1)
        await go.wait()
        await talk.send(packed("NotifySubscriberRequest", serviceInfo=service(2)), stream)
        await asyncio.Event().wait()

    async with grpc_peer(script) as (port, talks):
        registry = NacosRegistry.from_url(f"nacos://127.0.0.1:{port - 1000}")
        registry._pushes = True

        async def ask():
            async with pushes(registry) as following:
                return await following()

        async with pushes(registry) as following:
            assert await following() == [1]
            assert await asyncio.to_thread(asyncio.run, ask()) == [1]
            go.set()
            assert await following() == [2]
        assert len(talks) == 2
