"""Servers that are built here, from a few lines of source beside this file."""

from __future__ import annotations

import random
import shutil
import socket
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

from tests.servers.base import Server, cache, run

JAVA = ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")
MAVEN = ("mvn", "--quiet", "--batch-mode", "package")


class BuiltServer(Server):
    """Build `product` from the folder `source` by `build`; anew where the source has changed."""

    source: ClassVar[str]
    build: ClassVar[tuple[str, ...]]
    product: ClassVar[str]

    @classmethod
    def file(cls) -> Path:
        """Give the built file in the cache."""
        tree = Path(__file__).parent / cls.source
        content = sha256()
        for path in sorted(tree.rglob("*")):
            if path.is_file():
                content.update(path.relative_to(tree).as_posix().encode() + path.read_bytes())
        return cache(f"{cls.source}-{content.hexdigest()[:12]}", Path(cls.product).name)

    @classmethod
    def get(cls) -> None:
        file = cls.file()
        if file.is_file():
            return
        work = cache(f".{cls.source}.part")
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(Path(__file__).parent / cls.source, work)
        run(["nice", "-n", "15", *cls.build], cwd=work)
        file.parent.mkdir(parents=True, exist_ok=True)
        (work / cls.product).rename(file)
        shutil.rmtree(work)

    @classmethod
    def available(cls) -> bool:
        return cls.file().is_file()


def quiet_port(*offsets: int) -> int:
    """Give a free port, with free neighbours at these distances.

    It is none of those that the system hands out to connections, so that it is still free when a
    stopped server comes back to it.
    """
    while True:
        port = random.randrange(12_000, 30_000)
        if all(_is_free(port + offset) for offset in (0, *offsets)):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        try:
            sock.bind(("", port))
        except OSError:
            return False
    return True


servers: tuple[type[Server], ...] = ()
