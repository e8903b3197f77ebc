"""The last good snapshots on disk, for a cold start without a registry."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from rpcguard.nodes import Snapshot
from rpcguard.registries.base import nodes_from_json

if TYPE_CHECKING:
    from rpcguard.nodes import Node

logger: logging.Logger = logging.getLogger("rpcguard")


class SnapshotStore:
    """Keep one JSON file per service in a directory of mode 0700, files of mode 0600.

    A file is replaced atomically. A file that cannot be read or written is a warning, never an
    error of a call.
    """

    def __init__(self, directory: str | Path) -> None:
        self._directory = Path(directory)

    def load(self, service: str) -> Snapshot | None:
        """Give the last snapshot kept of a service, not authoritative; None without one."""
        path = self._path(service)
        try:
            document = json.loads(path.read_bytes())
            nodes = nodes_from_json(document["nodes"], where=str(path))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("snapshot cache %s cannot be read: %s", path, error)
            return None
        return Snapshot(nodes, authoritative=False)

    def save(self, service: str, nodes: tuple[Node, ...]) -> None:
        """Replace what is kept of a service."""
        path = self._path(service)
        document = json.dumps({"nodes": [_as_json(node) for node in nodes]})
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            # mkstemp makes the file with mode 0600.
            descriptor, temporary = tempfile.mkstemp(dir=self._directory, prefix=".rpcguard-")
            try:
                with os.fdopen(descriptor, "w") as file:
                    file.write(document)
                os.replace(temporary, path)
            except OSError:
                os.unlink(temporary)
                raise
        except OSError as error:
            logger.warning("snapshot cache %s cannot be written: %s", path, error)

    def _path(self, service: str) -> Path:
        return self._directory / f"{quote(service, safe='')}.json"


def _as_json(node: Node) -> dict[str, object]:
    values = {name: getattr(node, name) for name in type(node).__slots__}
    return {**values, "metadata": dict(node.metadata)}
