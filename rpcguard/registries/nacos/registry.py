"""The registry `nacos://`: Nacos' HTTP API of any age, polled, and its push."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import anyio

from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard.errors import RegistryError
from rpcguard.registries._rules.dubbo import GROUP
from rpcguard.registries._rules.dubbo_rules import DubboService
from rpcguard.registries._shared.documents import MAX_BYTES, json_from_bytes
from rpcguard.registries._shared.endpoint import URLForm
from rpcguard.registries._shared.faults import FaultLog
from rpcguard.registries._shared.fields import part
from rpcguard.registries._shared.loops import PerLoop
from rpcguard.registries.nacos.lists import NacosList, list_of
from rpcguard.registries.nacos.push import NacosPush, PushedGroup

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator

    from rpcguard._core.policies.routing import Route
    from rpcguard.registries._shared.client import HttpReply
    from rpcguard.registries._shared.urls import RegistryURL

_FORM: Final = URLForm(
    example="nacos://user:password@10.0.0.1:8848,10.0.0.2:8848/nacos?namespace=prod",
    ports={"nacos": 8848, "nacos+https": 8848},  # where Nacos listens by default
    options=("caller", "cluster", "group", "interval", "namespace", "push"),
    path="any",
    credentials="login",
)

# Statuses of an API that this server does not have: never had, put away, turned off.
_ABSENT: Final = (404, 405, 410, 501)
_NO_SERVICE: Final = (20004, 21008)  # Nacos' codes: no such resource, no such service


_PUSH_PORT: Final = 1000  # beyond the port of HTTP, in every Nacos

_BESIDE_PUSH: Final = 30.0
"""Seconds between polls while lists are pushed: one finds what a push has lost, and costs the
server 2 ms."""


@dataclass(frozen=True, slots=True)
class _API:
    """What differs between the generations of the API."""

    list: str
    login: str
    clusters: str
    any_cluster: str
    config: str
    group: str
    namespace: str


# A list of no names: Nacos before 3.2 takes a missing clusterName for DEFAULT and shows no other.
_V3: Final = _API(
    *("/v3/client/ns/instance/list", "/v3/auth/user/login", "clusterName", ","),
    *("/v3/client/cs/config", "groupName", "namespaceId"),
)
_V1: Final = _API(
    *("/v1/ns/instance/list", "/v1/auth/login", "clusters", ""),
    *("/v1/cs/configs", "group", "tenant"),
)


class NacosRegistry:
    """A registry that polls Nacos by the v3 client API or by v1, and takes what it pushes.

    URL form: `nacos://user:password@h1:8848,h2:8848/nacos`, or `nacos+https://`;
    `docs/registries/nacos` has the options and where each field of a node comes from. Several
    addresses are one cluster: the next is asked when one fails.

    Live: lists are pushed by gRPC on the port above by a thousand, where that is open, speaks TLS
    if the URL does, and the package h2 is there; else polls alone count. v1 advises an interval, v3
    does not. With a user, the object logs in before its first question and again when its token is
    refused. Nacos answers alike for an unknown service and an empty one: `known` is False until
    this object has seen a node of it. Where Nacos calls every node healthy to protect a service,
    and says so, its list is not authoritative. Works on asyncio and trio, the push on asyncio;
    `aclose` it in the event loop that used it.
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
        self._base = parsed.path.rstrip("/") or "/nacos"
        self._query = {"groupName": parsed.query.get("group", "DEFAULT_GROUP")}
        if parsed.query.get("namespace"):
            self._query["namespaceId"] = parsed.query["namespace"]
        self._clusters = parsed.query.get("cluster", "")
        self._interval = parsed.number("interval", 0.0) or None
        self._caller = parsed.query.get("caller")
        self._login_form = _login_form(parsed)
        self._shown = endpoint.at(self._base)
        self._client = endpoint.client(timeout=timeout, max_bytes=max_bytes)
        self._push: PerLoop[NacosPush] | None = None
        if parsed.choice("push", ("on", "off"), "on") == "on":
            places = [(host, port + _PUSH_PORT) for host, port in parsed.hosts]
            namespace = parsed.query.get("namespace", "")
            group = PushedGroup(namespace, self._query["groupName"], self._clusters)
            tls = endpoint.tls if endpoint.secure else None
            self._push = PerLoop(partial(NacosPush, places, group, self._push_token, tls=tls))
        self._api = _V3
        self._pushes = False
        self._token: str | None = None
        self._logging_in = PerLoop(anyio.Lock)
        self._seen: set[str] = set()
        self._faults = FaultLog()

    @classmethod
    def from_url(cls, url: str) -> NacosRegistry:
        """Read a `nacos://` URL; raise `InvalidRegistryURL` naming the part that is wrong."""
        return cls(url)

    async def fetch(self, service: str) -> Snapshot:
        """Ask for the list now; raise `RegistryError` where there is no usable answer."""
        answer = await self._ask_either(service)
        where = f"{answer.url}, service {service!r}"
        try:
            found = _read(answer)
            return self._snapshot(service, found, where)
        except ValueError as error:
            raise answer.error(str(error)) from error

    def _snapshot(self, service: str, found: NacosList, where: str) -> Snapshot:
        nodes = found.nodes(where, self._faults)
        if nodes:
            self._seen.add(service)
        return Snapshot(
            nodes,
            authoritative=found.complete and not found.lies,
            known=service in self._seen,
            max_age=self._interval or self._seldom or found.interval,
        )

    @property
    def _seldom(self) -> float | None:
        """Give the seconds between polls while there is a push."""
        return _BESIDE_PUSH if self._push is not None and self._push.here().live else None

    async def pushed(self, service: str) -> AsyncGenerator[Snapshot, None]:
        """Yield each list that is pushed; raise `RegistryError` where there is no push."""
        if self._push is None:
            await anyio.sleep_forever()
        if self._push is None or not self._pushes:
            return  # what only speaks like Nacos is not known to bear it: Polaris 1.18 ended
        where, number = f"push of {self._shown}, service {service!r}", 0
        push = self._push.here()
        with push.listening(service) as subscribed:
            while True:
                found = list_of(await push.next(subscribed, number))
                number = subscribed.number
                try:
                    snapshot = self._snapshot(service, found, where)
                except ValueError as error:
                    raise RegistryError(f"{where}: {error}") from error
                yield snapshot

    async def _push_token(self, refused: str | None) -> str | None:
        if self._login_form is None:
            return None
        if self._token is None or self._token == refused:
            return await self._new_token(refused)
        return self._token

    async def routes(self, service: str) -> list[Route]:
        """Read Dubbo's rules of a service now, those of its tags and its conditions.

        Raises `RegistryError` where there is no answer, and `ValueError` for a rule that cannot be
        a route.
        """
        asked = _as_dubbo(service, self._caller)
        texts = {}
        for name in asked.names:
            text = await self._config(name)
            if text is not None:
                texts[name] = text
        return asked.routes(texts)

    async def _config(self, name: str) -> str | None:
        for api in (self._api, _V1 if self._api is _V3 else _V3):
            answer = await self._ask(self._config_target(api, name))
            if not _is_absent(answer):
                return _content(api, answer)
        return None

    def _config_target(self, api: _API, name: str) -> str:
        stored = name.replace("$", "___").replace("/", "-")  # as Dubbo writes what Nacos refuses
        query = {"dataId": stored, api.group: GROUP}
        if "namespaceId" in self._query:
            query[api.namespace] = self._query["namespaceId"]
        return f"{self._base}{api.config}?{urlencode(query)}"

    async def aclose(self) -> None:
        """Close the connections."""
        push = self._push.part() if self._push is not None else None
        if push is not None:
            push.stop()
        await self._client.aclose()

    def __repr__(self) -> str:
        return f"NacosRegistry({self._shown!r})"

    async def _ask_either(self, service: str) -> HttpReply:
        first = self._api
        for api in (first, _V1 if first is _V3 else _V3):
            answer = await self._ask(self._list_target(api, service))
            if not _is_absent(answer):
                self._api, self._pushes = api, api is _V3
                return answer
        raise answer.error("neither the v3 nor the v1 API is there: is this Nacos, and its path?")

    def _list_target(self, api: _API, service: str) -> str:
        query = {**self._query, "serviceName": service}
        if clusters := self._clusters or api.any_cluster:
            query[api.clusters] = clusters
        return f"{self._base}{api.list}?{urlencode(query)}"

    async def _ask(self, target: str) -> HttpReply:
        if self._login_form is None:
            answer = await self._client.request("GET", target)
        else:
            token = self._token or await self._new_token(None)
            answer = await self._ask_with(token, target)
            if answer.status in (401, 403):
                answer = await self._ask_with(await self._new_token(token), target)
        return answer

    async def _ask_with(self, token: str, target: str) -> HttpReply:
        headers = {"Authorization": f"Bearer {token}"}
        return await self._client.request("GET", target, headers=headers)

    async def _new_token(self, refused: str | None) -> str:
        async with self._logging_in.here():
            if self._token is None or self._token == refused:
                self._token = None
                self._token = await self._login()
            return self._token

    async def _login(self) -> str:
        for api in (_V3, _V1):
            answer = await self._client.request(
                "POST", f"{self._base}{api.login}", form=self._login_form
            )
            if answer.status == 200:
                document = answer.json()
                token = document.get("accessToken") if isinstance(document, Mapping) else None
                if isinstance(token, str) and token:
                    return token
            if answer.status not in _ABSENT:
                raise answer.error(
                    f"login refused with status {answer.status}: the credentials are wrong,"
                    " or the server is still starting"
                )
        raise answer.error("there is no login: is this Nacos, and its path?")


def _as_dubbo(service: str, caller: str | None) -> DubboService:
    """Take a service's name apart as Dubbo writes it: `providers:INTERFACE:VERSION:GROUP`."""
    kind, *parts = service.split(":")
    if kind != "providers" or not parts:
        return DubboService(application=service, caller=caller)
    interface, version, group = [*parts, "", ""][:3]
    return DubboService(
        application=None,
        interface=interface,
        version=version,
        group=group,
        caller=caller,
    )


def _content(api: _API, answer: HttpReply) -> str | None:
    if _code(answer) in _NO_SERVICE:
        return None
    if answer.status != 200:
        raise answer.error()
    if api is _V1:
        return answer.body.decode()
    document = answer.json()
    found = part(document, "data").get("content") if isinstance(document, Mapping) else None
    if not isinstance(found, str):
        raise answer.error("a configuration has no content")
    return found


def _login_form(parsed: RegistryURL) -> dict[str, str] | None:
    if parsed.username is None and parsed.password is None:
        return None
    return {"username": parsed.username or "", "password": parsed.password or ""}


def _is_absent(answer: HttpReply) -> bool:
    return answer.status in _ABSENT and _code(answer) not in _NO_SERVICE


def _code(answer: HttpReply) -> object:
    try:
        document = json_from_bytes(answer.body)
    except ValueError:
        return None
    return document.get("code") if isinstance(document, Mapping) else None


def _read(answer: HttpReply) -> NacosList:
    if _code(answer) in _NO_SERVICE:
        return NacosList([])
    if answer.status != 200:
        raise answer.error()
    document = answer.json()
    if not isinstance(document, Mapping):
        raise ValueError("an object is wanted")
    if "code" in document:
        if document["code"] != 0 or "data" not in document:
            raise ValueError(f"code {str(document['code'])[:20]} is no usable answer")
        return NacosList(document["data"])
    if "cacheMillis" not in document:
        raise ValueError("neither v3's list nor v1's service is there")
    return list_of(document)
