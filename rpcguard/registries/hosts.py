"""The registry `hosts://`: every host of a URL is a service of its own addresses."""

from __future__ import annotations

import socket
from typing import Final

import anyio

from rpcguard._core.nodes.node import Node
from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard.errors import InvalidRegistryURL, RegistryError

_RESOLVE_AGAIN: Final = 30.0
"""Seconds: the interval of most resolvers' caches; getaddrinfo does not tell a TTL."""
_NO_SUCH_NAME: Final = frozenset(
    {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
)


class HostsRegistry:
    """A registry for use without one: what a name resolves to are the nodes of its service.

    URL form: `hosts://`, without anything after it. A service is a host with its port, `orders:80`,
    as the URL of a call has them. Names are resolved as by every other program of this machine
    (`getaddrinfo`, `/etc/hosts` included), again every 30 s; a name that nobody has is unknown, and
    a resolver that does not answer raises `RegistryError`. Nothing is held open.
    """

    by_port: Final = True
    """Tells a transport that services are asked for by host and port."""

    @classmethod
    def from_url(cls, url: str) -> HostsRegistry:
        """Read `hosts://`; raise `InvalidRegistryURL` where something comes after it."""
        if url.lower() != "hosts://":
            raise InvalidRegistryURL(
                "registry URL: nothing comes after hosts://, since the hosts are those of the calls"
            )
        return cls()

    async def fetch(self, service: str) -> Snapshot:
        """Resolve the host now; raise `RegistryError` where there is no answer."""
        host, _, port = service.rpartition(":")
        try:
            found = await anyio.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            if error.errno in _NO_SUCH_NAME:
                return Snapshot((), known=False, max_age=_RESOLVE_AGAIN)
            raise RegistryError(f"{host}: {error.strerror}") from error
        except (OSError, UnicodeError) as error:
            raise RegistryError(f"{host}: {error}") from error
        addresses = dict.fromkeys(address[4][0].partition("%")[0] for address in found)
        return Snapshot([Node(one, int(port)) for one in addresses], max_age=_RESOLVE_AGAIN)

    def __repr__(self) -> str:
        return "HostsRegistry()"
