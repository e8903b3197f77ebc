"""Which of the two libraries is served, httpx or httpx2, said in one place."""

from __future__ import annotations

import functools
from importlib import import_module
from typing import TYPE_CHECKING, Any

from rpcguard._connections.books import StackClosed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from rpcguard import errors

CORE_ERRORS = (
    *("TimeoutException", "ConnectTimeout", "ReadTimeout", "WriteTimeout", "PoolTimeout"),
    *("NetworkError", "ConnectError", "ReadError", "WriteError", "ProxyError"),
    *("UnsupportedProtocol", "ProtocolError", "LocalProtocolError", "RemoteProtocolError"),
)
"""The errors of httpcore that are told as those of httpx which have the same name."""


class Library:
    """One of httpx and httpx2: its modules, its errors, and the classes that derive from its own.

    Everything that must be of the caller's library comes from here, and is handed to instance
    attributes, so that a call looks up no more than it did without it. Thread-safe: what is made on
    first use may be made twice, and is then the same to whoever uses it.

    `http` is the library, `core` the name of the httpcore below it, which is loaded on first use:
    it takes long. The four errors are rpcguard's own, which derive from the library's.
    """

    def __init__(
        self,
        http: ModuleType,
        *,
        core: str,
        no_available_node: type[errors.NoAvailableNode],
        overloaded: type[errors.Overloaded],
        deadline_exceeded: type[errors.DeadlineExceeded],
        transport_closed: type[errors.TransportClosed],
    ) -> None:
        self.http: ModuleType = http
        self.no_available_node: type[errors.NoAvailableNode] = no_available_node
        self.overloaded: type[errors.Overloaded] = overloaded
        self.deadline_exceeded: type[errors.DeadlineExceeded] = deadline_exceeded
        self.transport_closed: type[errors.TransportClosed] = transport_closed
        self._core_name = core
        self._derived: dict[tuple[type, str], Any] = {}

    @functools.cached_property
    def core(self) -> ModuleType:
        """The httpcore below it, of which only errors and the interface of a stream are used."""
        return import_module(self._core_name)

    @functools.cached_property
    def errors(self) -> Mapping[type, Callable[[str], Exception]]:
        """What an error of the core is to a caller."""
        told = {getattr(self.core, name): getattr(self.http, name) for name in CORE_ERRORS}
        return {**told, StackClosed: self.http.ConnectError}

    def derive(self, ours: type, theirs: str) -> Any:
        """Give the class that is ours and also the library's of that name."""
        return self._derive(ours, theirs, self.http)

    def derive_stream(self, ours: type, theirs: str) -> Any:
        """Give the class that is ours and also a stream of the core, made with that `core`."""
        return self._derive(ours, theirs, self.core)

    def _derive(self, ours: type, theirs: str, module: ModuleType) -> Any:
        found = self._derived.get((ours, theirs))
        if found is None:
            made = type(ours.__name__, (ours, getattr(module, theirs)), {})
            found = self._derived.setdefault((ours, theirs), made)
        return found
