"""Turning the switch by a POST: who may, and what the answer says."""

from __future__ import annotations

import hmac
import json
import os
import stat
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rpcguard.provider.switch import OfflineSwitch

_RELAYED = ("x-forwarded-for", "forwarded", "x-real-ip", "via", "origin")
"""Each of these says that a request came through a proxy or out of a web page."""


class ControlRequest(NamedTuple):
    """A request for the switch, as both interfaces give it."""

    method: str
    path: str
    headers: Mapping[str, str]
    """By lower-case name."""
    http_version: str
    """Such as `"1.1"`."""
    unix_socket: str | None
    """Path of the socket that it was accepted on, where that is a unix socket."""


class ControlReply(NamedTuple):
    """The whole response to such a request."""

    status: HTTPStatus
    headers: list[tuple[str, str]]
    body: bytes


class Control:
    """The paths that turn a switch over HTTP, and who may use them.

    Neither the peer's address nor `Host` proves anything: a proxy on the same machine has the
    first, and passes on or makes up the second. So a token is asked for; without one, only what
    came over a unix socket that no other user can reach is obeyed.
    """

    def __init__(self, switch: OfflineSwitch, *, token: str | None, prefix: str) -> None:
        prefix = prefix.rstrip("/")
        if not prefix.startswith("/"):
            raise ValueError(f"prefix must be a path like /-/rpcguard, not {prefix!r}")
        if token is not None and not token.strip():
            raise ValueError("token must not be empty; None switches over HTTP off")
        self._switch = switch
        self._token = None if token is None else token.strip().encode()
        self._paths = {f"{prefix}/offline": True, f"{prefix}/online": False}

    def is_meant(self, path: str) -> bool:
        """Tell whether a path is one of the switch, and not the app's."""
        return path in self._paths

    def answer(self, request: ControlRequest) -> ControlReply:
        """Turn the switch if the request may, and say what came of it."""
        refusal = self._refuse(request)
        if refusal is not None:
            return refusal
        if request.method != "POST":
            return _reply(HTTPStatus.METHOD_NOT_ALLOWED, {"error": "use POST"}, ("Allow", "POST"))
        try:
            self._switch.tell_all(offline=self._paths[request.path])
        except OSError as error:
            said = f"only this process has followed: {self._switch.file}: {error.strerror}"
            content = {"offline": self._switch.offline, "error": said}
            return _reply(HTTPStatus.INTERNAL_SERVER_ERROR, content)
        return _reply(HTTPStatus.OK, {"offline": self._switch.offline})

    def _refuse(self, request: ControlRequest) -> ControlReply | None:
        if self._token is None:
            if _is_private(request):
                return None
            error = "over HTTP only with a token; use `rpcguard offline`, or the file"
            return _reply(HTTPStatus.FORBIDDEN, {"error": error})
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        # latin-1 is how both interfaces decode a header: these are the bytes that were sent.
        sent = given.strip().encode("latin-1", "replace")
        if scheme.lower() == "bearer" and hmac.compare_digest(sent, self._token):
            return None
        challenge = ("WWW-Authenticate", "Bearer")
        return _reply(HTTPStatus.UNAUTHORIZED, {"error": "wrong or no token"}, challenge)


def _is_private(request: ControlRequest) -> bool:
    # A proxy may run as the same user. nginx speaks HTTP/1.0 to what is behind it unless it is
    # told otherwise, and others say who they are by a header.
    if request.http_version == "1.0" or any(name in request.headers for name in _RELAYED):
        return False
    return request.unix_socket is not None and _is_out_of_reach(request.unix_socket)


def _is_out_of_reach(path: str) -> bool:
    """Tell whether no user but the owner, and root, can connect to a unix socket.

    To connect takes the right to write to the socket and to search every folder above it.
    """
    folder = os.path.dirname(os.path.abspath(path))
    try:
        if not os.stat(path).st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return True
        while True:
            if not os.stat(folder).st_mode & (stat.S_IXGRP | stat.S_IXOTH):
                return True
            if folder == os.path.dirname(folder):
                return False
            folder = os.path.dirname(folder)
    except OSError:
        return False


def _reply(
    status: HTTPStatus, content: dict[str, object], *headers: tuple[str, str]
) -> ControlReply:
    body = json.dumps(content).encode()
    fixed = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    return ControlReply(status, [*fixed, *headers], body)
