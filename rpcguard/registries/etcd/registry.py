"""The registries `etcd://` and `etcd+https://`: keys of etcd v3, listed and then watched."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import unquote

import anyio

from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard.errors import RegistryError
from rpcguard.registries._shared.bodies import Lines, SilenceError
from rpcguard.registries._shared.client import HttpReply
from rpcguard.registries._shared.documents import MAX_BYTES, json_from_bytes
from rpcguard.registries._shared.endpoint import URLForm
from rpcguard.registries._shared.faults import FaultLog
from rpcguard.registries._shared.fields import Fields, mapping
from rpcguard.registries._shared.nodes import nodes_from_json
from rpcguard.registries.etcd.layouts import LAYOUTS, shortened

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection

    from rpcguard.registries._shared.urls import RegistryURL

_FORM: Final = URLForm(
    example="etcd://user:password@10.0.0.1:2379,10.0.0.2:2379/microservices?layout=kratos",
    ports={"etcd": 2379, "etcd+https": 2379},  # where etcd listens by default
    options=("layout", "prefix", "idle"),
    path="any",
    credentials="login",
)
# Seconds: etcd tells its progress within ten minutes, members with a leader sooner.
_IDLE: Final = 75.0
_PAUSE: Final = 0.1  # seconds before a token that was refused is asked for again
# Else a member that is cut off from the others keeps a watch open in which nothing ever comes.
_NEEDS_LEADER: Final = {"Grpc-Metadata-Hasleader": "true"}

KeyValue = Mapping[str, object]
ReplyT = TypeVar("ReplyT", HttpReply, "Lines | HttpReply")


class EtcdRegistry:
    """A registry that follows the keys of a service in etcd v3 through its JSON gateway.

    URL form: `etcd://user:password@h1:2379,h2:2379/prefix?layout=...`, or `etcd+https://`; the
    nodes of `orders` are the keys below `/prefix/orders/`. `docs/registries/etcd` has the options
    and layouts. Several addresses are members of one cluster: the next is asked when one fails.

    Live: a linearizable range, then a watch from the next revision. A compacted or cancelled
    watch, silence, and a revision that went backwards (a restored store) read the list anew; a
    member without a leader ends the watch. An unknown service is a prefix without a key: `known` is
    False until this object has seen a node below it. A token that expired is renewed. Works on
    asyncio and trio; `aclose` it in the event loop that used it.
    """

    def __init__(
        self,
        url: str,
        *,
        ssl_context: ssl.SSLContext | None = None,
        timeout: float = 10.0,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        endpoint = _FORM.read(url, ssl_context)
        parsed = endpoint.url
        layout = parsed.choice("layout", tuple(LAYOUTS), "raw")
        self._describe = LAYOUTS[layout]
        self._prefix = _prefix(parsed, layout)
        self._idle = parsed.number("idle", _IDLE)
        self._credentials = None
        if parsed.username is not None:
            self._credentials = {"name": parsed.username, "password": parsed.password or ""}
        self._token: str | None = None
        self._shown = endpoint.at(f"/{self._prefix.strip('/')}")
        self._client = endpoint.client(timeout=timeout, max_bytes=max_bytes)
        self._seen: set[str] = set()
        self._faults = FaultLog()

    @classmethod
    def from_url(cls, url: str) -> EtcdRegistry:
        """Read an `etcd://` URL; raise `InvalidRegistryURL` naming the part that is wrong."""
        return cls(url)

    async def fetch(self, service: str) -> Snapshot:
        """Read the list now; raise `RegistryError` where there is no usable answer."""
        listed, _ = await self._list(service)
        return self._snapshot(service, listed)

    async def watch(self, service: str) -> AsyncIterator[Snapshot]:
        """Yield the list at once and after each change."""
        while True:
            listed, revision = await self._list(service)
            yield self._snapshot(service, listed)
            lines = await self._follow(service, revision + 1)
            left = MAX_BYTES  # what a list may have at once, changes may not bring by and by
            try:
                async for line in lines:
                    left -= len(line)
                    changed = self._take(line, listed, revision) if left >= 0 else None
                    if changed is None:
                        break
                    if changed:
                        yield self._snapshot(service, listed)
            except SilenceError:
                continue
            except RegistryError:
                self._token = None
                raise
            finally:
                await lines.aclose()
            self._token = None
            await anyio.sleep(_PAUSE)

    async def services(self) -> Collection[str]:
        """Return the names below the prefix; raise `RegistryError` without an answer."""
        begin = self._prefix.encode()
        end = begin[:-1] + b"0" if begin else b"\0"  # which, with itself, stands for all keys
        every = {"key": _base64(begin or end), "range_end": _base64(end), "keys_only": True}
        answer = await self._authorized(
            lambda headers: self._client.request(
                "POST", "/v3/kv/range", headers=headers, json=every
            )
        )
        try:
            keys = [_decoded(kv, "key") for kv in _mappings(mapping(answer.json()), "kvs")]
        except ValueError as error:
            raise answer.error(str(error)) from error
        below = (key.decode().removeprefix(self._prefix) for key in keys)
        return {name for name, slash, _ in (key.partition("/") for key in below) if slash}

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def __repr__(self) -> str:
        return f"EtcdRegistry({self._shown!r})"

    async def _list(self, service: str) -> tuple[dict[str, KeyValue], int]:
        answer = await self._authorized(
            lambda headers: self._client.request(
                "POST", "/v3/kv/range", headers=headers, json=self._range(service)
            )
        )
        try:
            document = mapping(answer.json())
            return {_key(kv): kv for kv in _mappings(document, "kvs")}, _revision(document)
        except ValueError as error:
            raise answer.error(str(error)) from error

    async def _follow(self, service: str, revision: int) -> Lines:
        create = {**self._range(service), "start_revision": revision, "progress_notify": True}
        lines = await self._authorized(
            lambda headers: self._client.stream(
                "POST",
                "/v3/watch",
                headers={**headers, **_NEEDS_LEADER},
                json={"create_request": create},
                idle=self._idle,
            )
        )
        assert isinstance(lines, Lines)
        return lines

    def _range(self, service: str) -> dict[str, str]:
        begin = f"{self._prefix}{service}/".encode()
        return {"key": _base64(begin), "range_end": _base64(begin[:-1] + b"0")}

    def _take(self, line: bytes, listed: dict[str, KeyValue], revision: int) -> bool | None:
        """Take in a message: whether the list changed; None when it must be read anew."""
        try:
            told = _result(line)
            if told.get("canceled") and not told.get("compact_revision"):
                raise ValueError(f"the watch was cancelled: {shortened(told.get('cancel_reason'))}")
            if told.get("canceled") or _revision(told) < revision:
                return None
            return _apply(told, listed)
        except ValueError as error:
            raise RegistryError(f"{self._shown}: {error}") from error

    def _snapshot(self, service: str, listed: dict[str, KeyValue]) -> Snapshot:
        where = f"{self._shown}, service {service!r}"
        below = f"{self._prefix}{service}/"
        try:
            nodes = nodes_from_json(
                list(listed.values()),
                where=where,
                faults=self._faults,
                read=lambda kv: self._node(mapping(kv), below),
            )
        except ValueError as error:
            raise RegistryError(f"{where}: {error}") from error
        if nodes:
            self._seen.add(service)
        return Snapshot(nodes, known=service in self._seen)

    def _node(self, kv: KeyValue, below: str) -> Fields:
        described = self._describe(_decoded(kv, "value"))
        name = _decoded(kv, "key").decode().removeprefix(below)
        return {**described, "id": name, "generation": _whole(kv.get("create_revision"))}

    async def _authorized(self, send: Callable[[dict[str, str]], Awaitable[ReplyT]]) -> ReplyT:
        renewed = self._credentials is None
        while True:
            if self._credentials is not None and self._token is None:
                self._token = await self._log_in()
            token, good = self._token, False
            try:
                reply = await send({"Authorization": token} if token else {})
                good = reply.status == 200
            finally:
                if not good:
                    # A token of a store that was lost is not refused: etcd lets the request hang
                    # until the new store is as far as the old one was.
                    self._token = None
            if good:
                return reply
            assert isinstance(reply, HttpReply)
            if renewed or not _wants_credentials(reply):
                raise _refused(reply)
            renewed = True

    async def _log_in(self) -> str:
        answer = await self._client.request("POST", "/v3/auth/authenticate", json=self._credentials)
        if answer.status == 200:
            try:
                return str(mapping(answer.json()).get("token", ""))
            except ValueError as error:
                raise answer.error(str(error)) from error
        if "not enabled" in _message(answer):
            return ""  # as after the loss of its store; asked again when etcd wants a name
        raise _refused(answer)


def _prefix(parsed: RegistryURL, layout: str) -> str:
    path = unquote(parsed.path).rstrip("/")
    option = parsed.query.get("prefix")
    if option is not None and path:
        raise parsed.invalid("give the prefix as path or as option, not both")
    prefix = path if option is None else option.rstrip("/")
    if not prefix and option is None and layout == "kratos":
        prefix = "/microservices"
    return f"{prefix}/" if prefix else ""


def _result(line: bytes) -> KeyValue:
    message = mapping(json_from_bytes(line))
    if "result" not in message:
        error = message.get("error")
        text = error.get("message") if isinstance(error, Mapping) else error
        raise ValueError(f"the watch failed: {shortened(text)}")
    return mapping(message["result"])


def _apply(told: KeyValue, listed: dict[str, KeyValue]) -> bool:
    events = _mappings(told, "events")
    for event in events:
        kv = mapping(event.get("kv"))
        if event.get("type") == "DELETE":
            listed.pop(_key(kv), None)
        else:
            listed[_key(kv)] = kv
    return bool(events)


def _revision(document: KeyValue) -> int:
    revision = _whole(mapping(document.get("header")).get("revision"))
    if revision is None:
        raise ValueError("the answer has no revision: is this etcd?")
    return revision


def _key(kv: KeyValue) -> str:
    key = kv.get("key")
    if not isinstance(key, str):
        raise ValueError("a key is missing")
    return key


def _decoded(kv: KeyValue, name: str) -> bytes:
    return b64decode(str(kv.get(name, "")), validate=True)


def _base64(data: bytes) -> str:
    return b64encode(data).decode()


def _whole(text: object) -> int | None:
    plain = str(text)
    return int(plain) if plain.isascii() and plain.isdigit() and len(plain) < 20 else None


def _mappings(document: KeyValue, name: str) -> list[KeyValue]:
    values = document.get(name) or []
    if not isinstance(values, list):
        raise ValueError(f"{name} must be a list, not {type(values).__name__}")
    return [mapping(value) for value in values]


def _message(answer: HttpReply) -> str:
    try:
        document = json_from_bytes(answer.body)
    except ValueError:
        return ""  # then the status alone has to do
    said = document.get("message") if isinstance(document, Mapping) else None
    return said if isinstance(said, str) else ""


def _wants_credentials(answer: HttpReply) -> bool:
    signs = ("auth token", "auth store is old", "user name is empty", "authentication failed")
    message = _message(answer)
    return answer.status == 401 or any(sign in message for sign in signs)


def _refused(answer: HttpReply) -> RegistryError:
    message = _message(answer)
    if _wants_credentials(answer):
        said = f" ({shortened(message)})" if message else ""
        return answer.error(f"the credentials are missing, wrong or not enough{said}")
    if "permission denied" in message:
        return answer.error("permission denied: a role of the user must allow to read the prefix")
    if answer.status == 404:
        return answer.error("status 404: is this etcd, with its gRPC gateway on?")
    return answer.error(f"status {answer.status}: {shortened(message)}" if message else None)
