"""Servers that are built here, from a few lines of source beside this file."""

from __future__ import annotations

import random
import shutil
import socket
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from tests.support.servers.base import Server, cache, run


class BuiltServer(Server):
    """Build `product` from the folder `source` by `build`; anew where the source has changed."""

    source: ClassVar[str]
    build: ClassVar[tuple[str, ...]]
    product: ClassVar[str]

    @classmethod
    def home(cls) -> Path:
        """Give the folder of this build in the cache."""
        tree = Path(__file__).parent / cls.source
        content = sha256()
        for path in sorted(tree.rglob("*")):
            if path.is_file():
                content.update(path.relative_to(tree).as_posix().encode() + path.read_bytes())
        return cache(f"{cls.source}-{content.hexdigest()[:12]}")

    @classmethod
    def file(cls) -> Path:
        """Give the built file."""
        return cls.home() / Path(cls.product).name

    @classmethod
    def get(cls) -> None:
        if cls.file().is_file():
            return
        work = cache(f".{cls.source}.part")
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(Path(__file__).parent / cls.source, work)
        run(["nice", "-n", "15", *cls.build], cwd=work)
        cls.unpack(work / cls.product, work / "home")
        shutil.rmtree(cls.home(), ignore_errors=True)
        (work / "home").rename(cls.home())
        shutil.rmtree(work)

    @classmethod
    def unpack(cls, product: Path, home: Path) -> None:
        """Bring what was built to its folder."""
        home.mkdir()
        product.rename(home / product.name)

    @classmethod
    def available(cls) -> bool:
        return cls.file().is_file()


class SpringServer(BuiltServer):
    """Build a Spring Boot application; it starts three times as fast with its classes archived."""

    build = ("mvn", "--quiet", "--batch-mode", "package")
    heap: ClassVar[str]

    @classmethod
    def archive(cls) -> Path:
        """Give the file of archived classes."""
        return cls.file().with_suffix(".jsa")

    @classmethod
    def get(cls) -> None:
        super().get()
        if cls.archive().is_file():
            return
        with TemporaryDirectory(ignore_cleanup_errors=True) as directory:
            server = cls(Path(directory))
            server.start()
            server.stop()  # that writes it
            (Path(directory) / cls.archive().name).rename(cls.archive())

    @classmethod
    def available(cls) -> bool:
        return super().available() and cls.archive().is_file()

    @classmethod
    def unpack(cls, product: Path, home: Path) -> None:
        extract = ["java", "-Djarmode=tools", "-jar", product, "extract", "--destination", home]
        run(extract, cwd=product.parent)

    def java(self, *arguments: str | Path) -> list[str | Path]:
        """Give the command that runs the application."""
        shared = f"-XX:SharedArchiveFile={self.archive()}"
        if not self.archive().is_file():
            shared = f"-XX:ArchiveClassesAtExit={self.directory / self.archive().name}"
        small = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", f"-Xmx{self.heap}")
        return ["java", *small, shared, *arguments]


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
