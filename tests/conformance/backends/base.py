"""What the scenarios need of a registry, and what each kind of registry can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from rpcguard._core.nodes.node import Node
from tests.support.servers.base import Server, free_ports

if TYPE_CHECKING:
    from pathlib import Path

CAPABILITIES: Final = {
    "change": "the list can change while it is followed",
    "update": "a node's data can change without it being a new generation",
    "weight": "nodes have weights",
    "zone": "nodes have zones",
    "version": "nodes have versions",
    "metadata": "nodes have metadata",
    "status": "the registry knows of sick nodes: `set_status(service, id, 'down' | 'up')`",
    "drain": "the operator can take a node out of use and back: `drain`, `undrain`",
    "crash": "the registry notices the end of a node by itself: `crash`",
    "generation": "a node that registers anew can be told from one that stayed",
    "unknown": "an unknown service can be told from an empty one",
    "empty": "a service can be there, or have been there, and have no node: `empty`",
    "hide": "the operator can take a node off the list and back: `hide`, `show`",
    "outage": "the server can be stopped and started: `stop_server`, `start_server`",
    "wipe": "the server can come back with nothing in its store: `wipe_server`",
    "auth": "wrong credentials are refused",
    "cluster": "the URL can name several members",
    "bulk": "a thousand nodes can be registered in a few seconds",
}


class Backend:
    """Play the operator and the providers of one registry for the scenarios.

    Made once per session, with its server running (`server` is the class to start; None for a
    registry without a process). Methods are plain functions: the scenarios run them in a worker
    thread. A method whose capability is missing is never called. Every scenario uses a service
    name of its own, of lower-case letters and digits, that begins with a letter.
    """

    name: ClassVar[str]
    server_class: ClassVar[type[Server] | None] = None
    push: ClassVar[bool] = False
    capabilities: ClassVar[frozenset[str]]
    settle: ClassVar[float] = 30.0
    """Seconds within which a change must be seen: it is pushed or polled for, whatever the load."""
    poll_interval: ClassVar[float] = 0.2
    """Seconds between two polls of the caller under test."""
    first_snapshot_timeout: ClassVar[float] = 20.0
    crash_settle: ClassVar[float] = 60.0
    """Seconds within which the end of a node must be seen."""
    bulk_nodes: ClassVar[int] = 1000

    def __init__(self, directory: Path, server: Server | None) -> None:
        self.directory = directory
        self._server = server
        self._port = free_ports(1)[0]
        self._given = 0

    @property
    def server(self) -> Server:
        """Give the server; a backend narrows the type where it needs to."""
        assert self._server is not None
        return self._server

    def address(self) -> tuple[str, int]:
        """Give an address for one more node: own loopback address each, one port for all."""
        self._given += 1
        return f"127.0.{self._given // 250 + 1}.{self._given % 250 + 1}", self._port

    def node(self, host: str, port: int, number: int) -> Node:
        """Describe a node with the fields that this kind of registry has."""
        has = self.capabilities
        return Node(
            host,
            port,
            id=self.node_id(host, port),
            weight=2.0 if "weight" in has else 1.0,
            zone="abc"[number % 3] if "zone" in has else None,
            version="1.0" if "version" in has else None,
            metadata={"team": "blue"} if "metadata" in has else {},
        )

    def node_id(self, host: str, port: int) -> str:
        """Give the id under which the adapter will show a node."""
        return f"{host}:{port}"

    def url(self, *, dead_member: bool = False, wrong_credentials: bool = False) -> str:
        """Give the registry URL, with a member first that nobody listens at, if asked."""
        raise NotImplementedError

    def secrets(self) -> tuple[str, ...]:
        """Give what must never be shown: the passwords and tokens of `url`, wrong ones too."""
        return ()

    def register(self, service: str, node: Node) -> None:
        """Register a node with its id, weight, zone, version and metadata, as far as it can be.

        Again with the same id and other data, it is an update.
        """
        raise NotImplementedError

    def register_all(self, service: str, nodes: list[Node]) -> None:
        """Register many nodes."""
        for node in nodes:
            self.register(service, node)

    def deregister(self, service: str, node_id: str) -> None:
        """Take a node off the list in good order, as a leaving node does."""
        raise NotImplementedError

    def crash(self, service: str, node_id: str) -> None:
        """Let the registration end as after a crash: lease lost, health check failing.

        The caller has ended the node itself already.
        """
        raise NotImplementedError

    def set_status(self, service: str, node_id: str, status: str) -> None:
        """Make the registry say that a node is `down`, or `up` again."""
        raise NotImplementedError

    def drain(self, service: str, node_id: str) -> None:
        """Take a node out of use by the operator's own action."""
        raise NotImplementedError

    def undrain(self, service: str, node_id: str) -> None:
        """Take `drain` back."""
        raise NotImplementedError

    def empty(self, service: str) -> None:
        """Make a service known that has no node; where that cannot be, its only node has left."""
        node = self.node(*self.address(), 0)
        self.register(service, node)
        self.deregister(service, node.id)

    def hide(self, service: str, node_id: str) -> None:
        """Take a node off the list by the operator's own action."""
        raise NotImplementedError

    def show(self, service: str, node_id: str) -> None:
        """Take `hide` back."""
        raise NotImplementedError

    def stop_server(self) -> None:
        """Stop the registry in good order."""
        self.server.stop()

    def start_server(self) -> None:
        """Start the registry again, with what it had."""
        self.server.start()

    def wipe_server(self) -> None:
        """Empty the store of the stopped registry."""
        self.server.wipe()

    def close(self) -> None:
        """Give back what the backend holds; the server is stopped by others."""
