"""The last good snapshots on disk, for a cold start without a registry."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from rpcguard._core.nodes.snapshot import Snapshot
from rpcguard._files import opened
from rpcguard._text import logger, plain
from rpcguard.registries._shared.documents import MAX_BYTES, json_from_bytes
from rpcguard.registries._shared.nodes import node_from_json, nodes_from_json

if TYPE_CHECKING:
    from rpcguard._core.nodes.node import Node


_BEGINNING: Final = b'{"nodes": ['
"""What a file of ours begins with."""


class SnapshotStore:
    """One JSON file per service in a directory of mode 0700, files of mode 0600.

    A directory that is there keeps its mode. A file is replaced atomically, a link in its place is
    replaced too and never followed. Only a plain file is read, one of this user or of root to which
    not everybody may write. Of more than `most` files the
    oldest go. What cannot be read or written is a warning, never an error of a call.
    """

    def __init__(self, directory: str | Path, *, most: int = 512) -> None:
        self._directory = Path(directory)
        self._most = most
        self._kept: set[str] = set()

    def load(self, service: str) -> Snapshot | None:
        """Give the last snapshot kept of a service, not authoritative; None without one."""
        path = self._path(service)
        try:
            document = json_from_bytes(_read(path))
            entries = document.get("nodes") if isinstance(document, dict) else None
            nodes = nodes_from_json(entries, where=str(path), read=_read_entry)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            logger.warning("snapshot cache %s cannot be read: %s", path, plain(str(error)))
            return None
        return Snapshot(nodes, authoritative=False)

    def save(self, service: str, nodes: tuple[Node, ...]) -> None:
        """Replace what is kept of a service."""
        path = self._path(service)
        try:
            # Metadata of a registry in code may be objects that JSON has no form for.
            document = json.dumps({"nodes": [_as_json(node) for node in nodes]})
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
            if path.name not in self._kept:
                self._make_room(path.name)
        except (OSError, TypeError, ValueError, RecursionError) as error:
            logger.warning("snapshot cache %s cannot be written: %s", path, plain(str(error)))

    def _make_room(self, kept: str) -> None:
        # Names may come from URLs that somebody else chooses, and files outlive the program.
        with os.scandir(self._directory) as found:
            files = [one for one in found if one.name.endswith(".json")]
        if len(files) > self._most:
            files.sort(key=_age_of)
            for old in files[: len(files) - self._most]:
                if old.name != kept and _is_ours(old):
                    os.unlink(old)
        self._kept = {one.name for one in files[-self._most :]} | {kept}

    def _path(self, service: str) -> Path:
        return self._directory / f"{quote(service, safe='')}.json"


def _is_ours(file: os.DirEntry[str]) -> bool:
    # The directory may be somebody's own, with other files in it.
    if not file.is_file(follow_symlinks=False):
        return False
    with open(file.path, "rb") as opened:
        return opened.read(len(_BEGINNING)) == _BEGINNING


def _age_of(file: os.DirEntry[str]) -> int:
    return file.stat(follow_symlinks=False).st_mtime_ns


def _read(path: Path) -> bytes:
    # Neither through a link, nor waiting for the other end of a pipe: the discovery loop reads.
    with opened(path, flags=os.O_NOFOLLOW) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is not a regular file")
        if found.st_uid not in (os.geteuid(), 0):
            raise ValueError("it belongs to another user")
        if found.st_mode & stat.S_IWOTH:
            raise ValueError("everybody may write to it")
        body = file.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    return body


def _read_entry(entry: object) -> object:
    # Sockets are listed by programs alone: no document of a registry leads to a file of ours.
    path = entry.get("uds") if isinstance(entry, dict) else None
    return entry if path is None else replace(node_from_json(entry), uds=path)


def _as_json(node: Node) -> dict[str, object]:
    values = {name: getattr(node, name) for name in type(node).__slots__}
    return {**values, "metadata": dict(node.metadata)}
