"""Which of the two libraries is served, httpx or httpx2, said in one place."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from rpcguard._connections import stand_in
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

    `http` is the library, `core` the name of the httpcore below it. The four errors are rpcguard's
    own, which derive from the library's.
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
        self._derived: dict[tuple[type, type], Any] = {}
        self._errors: dict[ModuleType, Mapping[type, Callable[[str], Exception]]] = {}

    @property
    def core(self) -> ModuleType:
        """Where connections made now take their errors and the interface of a stream from.

        The httpcore below where it is loaded, else a stand-in: see there.
        """
        return self.load_core() if self._core_name in sys.modules else stand_in

    def load_core(self) -> ModuleType:
        """Give the httpcore below it, for what only that has; the first time takes long."""
        return import_module(self._core_name)  # waits for whoever is still loading it

    def errors_of(self, core: ModuleType) -> Mapping[type, Callable[[str], Exception]]:
        """Say what an error of such a core is to a caller."""
        found = self._errors.get(core)
        if found is None:
            told = {getattr(core, name): getattr(self.http, name) for name in CORE_ERRORS}
            found = self._errors[core] = {**told, StackClosed: self.http.ConnectError}
        return found

    def derive(self, ours: type, theirs: str) -> Any:
        """Give the class that is ours and also the library's of that name."""
        return self._derive(ours, getattr(self.http, theirs))

    def derive_stream(self, ours: type, theirs: str, core: ModuleType) -> Any:
        """Give the class that is ours and also a stream of the core that it is made with."""
        return self._derive(ours, getattr(core, theirs))

    def _derive(self, ours: type, theirs: type) -> Any:
        found = self._derived.get((ours, theirs))
        if found is None:
            made = type(ours.__name__, (ours, theirs), {})
            found = self._derived.setdefault((ours, theirs), made)
        return found
