"""HTTP as registries need it: capped, timed, never redirected, over several base URLs."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
import httpx

from rpcguard._version import __version__
from rpcguard.errors import RegistryError
from rpcguard.registries._shared.bodies import Lines, as_registry_error, read_body
from rpcguard.registries._shared.connections import RegistryPools
from rpcguard.registries._shared.documents import MAX_BYTES, json_from_bytes

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Mapping, Sequence

    from rpcguard.registries._shared.tls import TLSSource

_CONNECT_TIMEOUT: Final = 2.0
"""Seconds: a machine that is gone must leave time for the next address of a registry."""

_Make = Callable[[str], httpx.Request]


@dataclass(frozen=True, slots=True)
class HttpReply:
    """One complete answer of a registry; `url` has no credentials and no query."""

    url: str
    status: int
    headers: httpx.Headers = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def etag(self) -> bytes | None:
        """Give its `ETag` as it came, and as it goes back: RFC 9110 §8.8.3 allows any byte."""
        return {name.lower(): value for name, value in self.headers.raw}.get(b"etag")

    def json(self) -> object:
        """Read the body as JSON; raise `RegistryError` if it is none."""
        try:
            return json_from_bytes(self.body)
        except ValueError as error:
            raise self.error(f"the answer is no JSON: {error}") from error

    def error(self, reason: str | None = None) -> RegistryError:
        """Make the error for an answer that is of no use; without a reason its status is it."""
        return RegistryError(f"{self.url}: {reason or _status_reason(self.status)}")


ReplyT = TypeVar("ReplyT", HttpReply, "Lines | HttpReply")


class RegistryClient:
    """A client of the first of several base URLs that answers.

    A base that worked is kept until it fails: on a transport error, a timeout, an answer over
    `max_bytes` (after decompression) or a status of 500 or more the next one is asked. `timeout`
    bounds one exchange in seconds, from connecting to the last byte of the body. Redirects are not
    followed. Nothing is taken from the environment: no proxy and no netrc, since a registry is
    part of the infrastructure; only the trusted certificates are, see `TLSFiles`, whose files are
    read again once they are renewed. Works on asyncio and trio and after a fork: connections belong
    to the event loop that made them, and `aclose` closes those of the running one. Neither `repr`
    nor errors show credentials or the query.
    """

    def __init__(
        self,
        bases: Sequence[str],
        *,
        username: str | None = None,
        password: str | None = None,
        headers: Mapping[str, str | bytes] | None = None,
        tls: TLSSource | ssl.SSLContext | None = None,
        timeout: float = 10.0,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        if not timeout > 0:
            raise ValueError(f"timeout must be above 0, not {timeout!r}")
        self._bases = tuple(bases)
        self._preferred = 0
        self._headers = httpx.Headers(
            {
                "Accept": "application/json",
                "Accept-Encoding": "gzip",
                "User-Agent": f"rpcguard/{__version__}",
            }
        )
        if username is not None or password is not None:
            pair = f"{username or ''}:{password or ''}".encode()
            self._headers["Authorization"] = f"Basic {b64encode(pair).decode()}"
        self._headers.update(_encoded(headers))
        secure = any(base.startswith("https:") for base in bases)
        self._pools = RegistryPools(tls, shown=", ".join(bases), secure=secure)
        self._timeout = timeout
        self._max_bytes = max_bytes

    async def request(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str | bytes] | None = None,
        json: object = None,
        form: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> HttpReply:
        """Ask the bases in turn; raise `RegistryError` if none of them answers.

        `target` is path and query, percent-encoded; the body is `json` or the fields of `form`. An
        answer of any status is returned; one of 500 or more only when no base has a better one.
        `timeout` replaces the client's own.
        """
        limit = timeout or self._timeout
        make = partial(self._request, method, headers=headers, json=json, form=form, read=limit)
        return await self._ask_in_turn(lambda url: self._exchange(make, url, limit), target)

    async def stream(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str | bytes] | None = None,
        json: object = None,
        idle: float,
    ) -> Lines | HttpReply:
        """Open an answer that goes on, at the first base that begins one within the timeout.

        The lines must be closed. `idle` is how long in seconds they may be silent, `max_bytes`
        holds for one line. An answer of any other status than 200 is given whole, as by `request`.
        """
        plain = {"Accept-Encoding": "identity", **(headers or {})}
        make = partial(self._request, method, headers=plain, json=json, read=idle)
        return await self._ask_in_turn(lambda url: self._begin(make, url), target)

    async def _ask_in_turn(self, ask: Callable[[str], Awaitable[ReplyT]], target: str) -> ReplyT:
        errors: list[RegistryError] = []
        poor: ReplyT | None = None
        first = self._preferred
        for turn in range(len(self._bases)):
            index = (first + turn) % len(self._bases)
            try:
                reply = await ask(f"{self._bases[index]}{target}")
            except RegistryError as error:
                errors.append(error)
                continue
            if reply.status < 500:
                self._preferred = index
                return reply
            poor = reply
        if poor is not None:
            return poor
        if len(errors) == 1:
            raise errors[0]
        raise RegistryError("; ".join(map(str, errors)))

    async def aclose(self) -> None:
        """Close the connections of the running event loop; a later request opens new ones."""
        await self._pools.aclose()

    def __repr__(self) -> str:
        return f"RegistryClient({', '.join(self._bases)})"

    async def _exchange(self, make: _Make, url: str, timeout: float) -> HttpReply:
        shown = url.partition("?")[0]
        with as_registry_error(shown, f"no complete answer within {timeout:g} s"):
            request = make(url)
            async with self._pools.using() as pool:
                with anyio.fail_after(timeout):
                    response = await pool.send(request)
                    return await self._whole(response, shown)

    async def _begin(self, make: _Make, url: str) -> Lines | HttpReply:
        shown = url.partition("?")[0]
        with as_registry_error(shown, f"no answer within {self._timeout:g} s"):
            request = make(url)
            pool = await self._pools.enter()
            begun = False
            try:
                with anyio.fail_after(self._timeout):
                    response = await pool.send(request)
                    if response.status_code != 200:
                        return await self._whole(response, shown)
                begun = True
            finally:
                if not begun:
                    await pool.leave()
            return Lines(response, limit=self._max_bytes, shown=shown, on_close=pool.leave)

    def _request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str | bytes] | None,
        json: object,
        form: Mapping[str, str] | None = None,
        read: float,
    ) -> httpx.Request:
        limits = httpx.Timeout(read, connect=min(read, _CONNECT_TIMEOUT)).as_dict()
        merged = httpx.Headers(self._headers)
        merged.update(_encoded(headers))
        return httpx.Request(
            method, url, headers=merged, data=form, json=json, extensions={"timeout": limits}
        )

    async def _whole(self, response: httpx.Response, shown: str) -> HttpReply:
        try:
            body = await read_body(response, self._max_bytes, shown)
        finally:
            await response.aclose()
        return HttpReply(shown, response.status_code, response.headers, body)


def _encoded(headers: Mapping[str, str | bytes] | None) -> dict[bytes, bytes]:
    # httpx takes ASCII alone of a text, but a token or an ETag may have any letter.
    return {
        name.encode(): value if isinstance(value, bytes) else value.encode()
        for name, value in (headers or {}).items()
    }


def _status_reason(status: int) -> str:
    if 300 <= status < 400 and status != 304:
        return f"status {status}: redirects are not followed, give the final URL"
    if status in (401, 403):
        return f"status {status}: the credentials are missing, wrong or not enough"
    return f"status {status} is no usable answer"
