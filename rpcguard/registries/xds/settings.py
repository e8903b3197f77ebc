"""Where a control plane is and who asks it: from a URL, from gRPC's bootstrap file, or both."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from rpcguard._version import __version__
from rpcguard.errors import InvalidRegistryURL
from rpcguard.registries._shared.documents import json_from_bytes
from rpcguard.registries._shared.endpoint import URLForm
from rpcguard.registries._shared.fields import listed, part
from rpcguard.registries._shared.tls import TLSFiles
from rpcguard.registries._shared.urls import RegistryURL, parse_url

if TYPE_CHECKING:
    import ssl

    from rpcguard.registries.xds.chain import Start

PLACE: Final = "{service}"
_OPTIONS: Final = (
    *("node", "cluster", "zone", "region", "resource", "from", "timeout", "token_file", "name"),
    "limits",
)
_FORM: Final = URLForm(
    example="xds+tls://istiod.istio-system:15012?ca=/etc/istio/root.pem&token_file=/run/token",
    ports={"xds": 15010, "xds+tls": 15012},  # istiod's
    options=_OPTIONS,
    credentials="token",
)
_ISTIO: Final = re.compile(r"sidecar~([^~]+)~[^~]+\.([^~.]+)~[^~]+")
_LONGEST_BOOTSTRAP: Final = 1 << 20
"""Bytes of a bootstrap file: a hundred times what they have."""

_PATIENCE: Final = 15.0
"""Seconds for a resource that is not sent, counted from the connection on, as gRPC does (A57)."""


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """One address of a control plane, and how it is reached; `repr` shows no secret."""

    host: str
    port: int
    path: str | None = None
    """A Unix socket, in place of host and port."""
    tls: TLSFiles | ssl.SSLContext | None = field(default=None, repr=False)
    """What TLS needs; None is plain text."""
    name: str | None = None
    """The name that the certificate must be for; None is the host."""
    token: str | None = field(default=None, repr=False)
    """What is sent as `authorization: Bearer`."""
    token_file: str | None = None
    """A file of it instead, which is read for each connection: such tokens live for an hour."""


@dataclass(frozen=True, slots=True)
class AdsSettings:
    """What an `xds://` URL and the bootstrap file say."""

    planes: tuple[ControlPlane, ...]
    """The addresses, in the order in which they are tried."""
    node: Mapping[str, Any]
    """How this caller is named to the control plane."""
    resource: str
    """The name of the first resource of a service, with its place in it."""
    start: Start
    """The kind of that resource."""
    patience: float
    """Seconds for a resource that is not sent."""
    limited: bool
    """Whether routes bring their timeouts and numbers of retries."""
    shown: str
    """The URL without what is secret."""


def settings_of(url: str, ssl_context: ssl.SSLContext | None = None) -> AdsSettings:
    """Read a URL; raise `InvalidRegistryURL` naming what is wrong with it or with the file.

    One without an address, `xds:///`, takes them from the file that `GRPC_XDS_BOOTSTRAP` names, or
    from the text of `GRPC_XDS_BOOTSTRAP_CONFIG`.
    """
    bare = parse_url(url, example=_FORM.example, default_port=1, options=None)
    if bare.hosts:
        return _from_url(url, ssl_context)
    parsed = parse_url(url, example=_FORM.example, options=_OPTIONS)
    if parsed.scheme != "xds":
        raise parsed.invalid(
            "without an address the scheme is xds: the bootstrap file has the rest"
        )
    if parsed.path.strip("/"):
        raise parsed.invalid(f"there is no path, but {parsed.path!r} is given")
    try:
        return _from_bootstrap(parsed, _bootstrap())
    except (ValueError, OSError) as error:
        raise InvalidRegistryURL(f"xds:///: the bootstrap file: {error}") from error


def _from_url(url: str, ssl_context: ssl.SSLContext | None) -> AdsSettings:
    endpoint = _FORM.read(url, ssl_context)
    parsed = endpoint.url
    token_file = parsed.query.get("token_file")
    if token_file and not endpoint.secure:
        raise parsed.invalid("token_file needs a URL with TLS: xds+tls://")
    if token_file and endpoint.token:
        raise parsed.invalid("a token is given, and token_file as well")
    planes = [
        ControlPlane(
            host,
            port,
            tls=endpoint.tls if endpoint.secure else None,
            name=parsed.query.get("name"),
            token=endpoint.token,
            token_file=token_file,
        )
        for host, port in parsed.hosts
    ]
    return _settings(parsed, planes, {}, PLACE, endpoint.shown)


def _settings(
    parsed: RegistryURL,
    planes: Sequence[ControlPlane],
    node: Mapping[str, object],
    template: str,
    shown: str,
) -> AdsSettings:
    query = parsed.query
    resource = query.get("resource", template)
    if PLACE not in resource:
        raise parsed.invalid(f"option 'resource' must have {PLACE} in it")
    start = parsed.choice("from", ("listener", "cluster", "endpoints"), "listener")
    return AdsSettings(
        tuple(planes),
        _node(query, node),
        resource,
        cast("Start", start),
        parsed.number("timeout", _PATIENCE),
        parsed.choice("limits", ("on", "off"), "off") == "on",
        shown,
    )


def _node(query: Mapping[str, str], given: Mapping[str, object]) -> dict[str, Any]:
    """Give the `Node` of the first request; options of the URL come before the bootstrap file."""
    node_id = query.get("node") or str(given.get("id") or socket.gethostname())
    place = {**part(given, "locality")}
    place.update((key, query[key]) for key in ("zone", "region") if key in query)
    locality = {key: str(place[key]) for key in ("region", "zone", "sub_zone") if place.get(key)}
    return {
        "id": node_id,
        "cluster": query.get("cluster") or str(given.get("cluster") or "rpcguard"),
        "metadata": {**_of_istio(node_id), **part(given, "metadata")},
        "locality": locality,
        "user_agent_name": "rpcguard",
        "user_agent_version": __version__,
    }


def _of_istio(node_id: str) -> dict[str, object]:
    """Give the metadata that Istio wants of a client that is no proxy, where an id is of its kind.

    Without `GENERATOR` it sends what is made for Envoy: every cluster of the mesh.
    """
    match = _ISTIO.fullmatch(node_id)
    if match is None:
        return {}
    return {
        "GENERATOR": "grpc",
        "NAMESPACE": match[2],
        "CLUSTER_ID": "Kubernetes",
        "INSTANCE_IPS": match[1],
    }


# The bootstrap file, as gRPC's proposals A27, A47 and A97 have it


def _bootstrap() -> Mapping[str, object]:
    named = os.environ.get("GRPC_XDS_BOOTSTRAP")
    if named:
        with Path(named).open("rb") as file:
            body = file.read(_LONGEST_BOOTSTRAP + 1)
    else:
        body = os.environ.get("GRPC_XDS_BOOTSTRAP_CONFIG", "").encode()
    if not body:
        raise ValueError("neither GRPC_XDS_BOOTSTRAP nor GRPC_XDS_BOOTSTRAP_CONFIG has one")
    if len(body) > _LONGEST_BOOTSTRAP:
        raise ValueError(f"it has more than {_LONGEST_BOOTSTRAP} bytes")
    document = json_from_bytes(body)
    if not isinstance(document, Mapping):
        raise ValueError("it is no object")
    return document


def _from_bootstrap(parsed: RegistryURL, document: Mapping[str, object]) -> AdsSettings:
    planes = [plane for one in listed(document, "xds_servers") for plane in _planes(one)]
    if not planes:
        raise ValueError("no server in it can be used: insecure and tls are understood")
    template = str(document.get("client_default_listener_resource_name_template") or "%s")
    return _settings(
        parsed, planes, part(document, "node"), template.replace("%s", PLACE), "xds:///"
    )


def _planes(server: object) -> Iterator[ControlPlane]:
    if not isinstance(server, Mapping):
        raise ValueError("a server is no object")
    for each in listed(server, "channel_creds"):
        creds = each if isinstance(each, Mapping) else {}
        if creds.get("type") not in ("insecure", "tls"):
            continue
        tls = _tls(part(creds, "config")) if creds["type"] == "tls" else None
        token_file = None if tls is None else _token_file(server)
        yield _plane(str(server.get("server_uri") or ""), tls, token_file)
        return


def _tls(config: Mapping[str, object]) -> TLSFiles:
    names = ("ca_certificate_file", "certificate_file", "private_key_file")
    return TLSFiles(*(str(config[name]) if config.get(name) else None for name in names))


def _token_file(server: Mapping[str, object]) -> str | None:
    for each in listed(server, "call_creds"):
        creds = each if isinstance(each, Mapping) else {}
        if creds.get("type") == "jwt_token_file":
            return str(part(creds, "config").get("jwt_token_file") or "") or None
    return None


def _plane(uri: str, tls: TLSFiles | None, token_file: str | None) -> ControlPlane:
    if uri.startswith("unix:"):
        path = uri.removeprefix("unix:")
        path = path.removeprefix("//") if path.startswith("///") else path
        return ControlPlane("localhost", 0, path=path, tls=tls, token_file=token_file)
    address = re.sub(r"\A(?:dns|ipv4|ipv6|passthrough):(?:///?)?", "", uri)
    parsed = parse_url(f"xds://{address}", example=_FORM.example, default_port=443)
    if len(parsed.hosts) != 1 or parsed.path:
        raise ValueError(f"server_uri {uri!r} is no address")
    host, port = parsed.hosts[0]
    return ControlPlane(host, port, tls=tls, token_file=token_file)
