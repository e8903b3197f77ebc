"""What every real server has in common: a cache, ports, a process, Debian packages of any suite."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

START_TIMEOUT = 180.0  # seconds: a JVM on a busy machine takes one
STOP_TIMEOUT = 30.0  # seconds, before it is killed

# The tie that ends a server with its parent is one to the thread that started it.
_spawner = ThreadPoolExecutor(max_workers=1)


def cache(*parts: str) -> Path:
    """Give a path in the cache of servers, which is outside the tree."""
    home = os.environ.get("RPCGUARD_SERVERS") or "~/.cache/rpcguard-servers"
    return Path(home).expanduser().joinpath(*parts)


def free_ports(count: int) -> list[int]:
    """Give ports that nobody listens on, on any loopback address.

    They are none of those that the system hands out, so that a stopped server finds its port free
    when it comes back.
    """
    found: set[int] = set()
    while len(found) < count:
        port = random.randrange(12_000, 32_000)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("", port))
            found.add(port)
    return list(found)


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether somebody accepts connections there."""
    try:
        socket.create_connection((host, port), timeout=1.0).close()
    except OSError:
        return False
    return True


def debian_package(name: str, packages: Sequence[str], *, suite: str | None = None) -> Path:
    """Unpack Debian packages, of another suite if given, into the cache; give the folder.

    Nothing of the system changes: apt works in a folder of its own, with the mirror of the
    system's sources.
    """
    root = cache(name)
    if root.is_dir():
        return root
    work = cache(f".{name}.part")
    shutil.rmtree(work, ignore_errors=True)
    (work / "apt/lists/partial").mkdir(parents=True)
    (work / "apt/cache/archives/partial").mkdir(parents=True)
    apt: list[str | Path] = ["apt-get", "-q", "-o", "APT::Sandbox::User="]
    if suite is not None:
        sources = work / "apt/sources.list"
        keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
        sources.write_text(f"deb [signed-by={keys}] {_debian_mirror()} {suite} main\n")
        apt += ["-o", f"Dir::Etc::SourceList={sources}", "-o", "Dir::Etc::SourceParts=-"]
        apt += ["-o", f"Dir::State::Lists={work}/apt/lists", "-o", f"Dir::Cache={work}/apt/cache"]
        apt += ["-o", "Dir::State::Status=/dev/null", "-o", "Acquire::Languages=none"]
        apt += ["-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false"]
        run([*apt, "update"], cwd=work)
    run([*apt, "download", *packages], cwd=work)
    for package in sorted(work.glob("*.deb")):
        run(["dpkg", "-x", package, work / "root"], cwd=work)
    (work / "root").rename(root)
    shutil.rmtree(work)
    return root


def go_program(module: str, package: str, binary: Path) -> None:
    """Build a program of a Go module, such as `example.com/a@v1`, unless it is there."""
    if binary.is_file():
        return
    download = ["go", "mod", "download", "-json", module]
    told = subprocess.run(download, check=True, capture_output=True, text=True)
    # In a copy of the module itself: its go.sum vouches for everything that it is built from.
    work = cache(f".{binary.name}.part")
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(json.loads(told.stdout)["Dir"], work)
    run(["chmod", "-R", "u+w", work], cwd=work.parent)
    target = work / f"{binary.name}.built"
    build = ["go", "build", "-p", "1", "-trimpath", "-ldflags=-s -w", "-o", target]
    run(["nice", "-n", "15", *build, package], cwd=work)
    binary.parent.mkdir(parents=True, exist_ok=True)
    target.rename(binary)
    shutil.rmtree(work)


def run(command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str] | None = None) -> None:
    """Run a command to its end; raise `CalledProcessError` when it fails."""
    subprocess.run(command, cwd=cwd, env=env, check=True, stdin=subprocess.DEVNULL)


def _debian_mirror() -> str:
    for file in (Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")):
        text = file.read_text() if file.is_file() else ""
        match = re.search(r"^(?:URIs:|deb\b.*?)\s*(\S+/debian)/?\s", text, re.MULTILINE)
        if match:
            return match[1]
    raise RuntimeError("the sources of apt name no Debian mirror")


class Server:
    """Run one real registry on free loopback ports.

    `directory` holds its data and log. A restart keeps ports and data; `wipe` empties the store of
    a stopped server. A server of several processes overrides `start`, `stop` and `kill`.
    """

    name: ClassVar[str]

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.data.mkdir(parents=True, exist_ok=True)
        self._processes: list[subprocess.Popen[bytes]] = []

    @classmethod
    def get(cls) -> None:
        """Obtain the server into the cache; quick when it is there."""
        raise NotImplementedError

    @classmethod
    def available(cls) -> bool:
        """Tell whether the server is in the cache."""
        raise NotImplementedError

    def command(self) -> Sequence[str | Path]:
        """Give the command that runs the server in the foreground."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Tell whether the server does its work now; may raise `OSError` or httpx's errors."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self.launch(self.command())
        self.wait(self.answers)

    def stop(self) -> None:
        """Stop the server in good order and wait for its end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server at once, as a crash would."""
        self._end(signal.SIGKILL)

    def wipe(self) -> None:
        """Empty the store of the stopped server."""
        shutil.rmtree(self.data)
        self.data.mkdir()

    def launch(
        self, command: Sequence[str | Path], env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start one process that ends with this one, its output going to `server.log`."""
        tied = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with (self.directory / "server.log").open("ab") as log:
            process = _spawner.submit(
                subprocess.Popen[bytes],
                [*tied, *command],
                cwd=self.directory,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ).result()
        self._processes.append(process)
        return process

    def wait(self, condition: Callable[[], bool], timeout: float = START_TIMEOUT) -> None:
        """Wait until a condition holds; raise with the end of the log when it does not."""
        end = time.monotonic() + timeout
        reason = ""
        while time.monotonic() < end:
            try:
                if condition():
                    return
            except Exception as error:  # a server that is starting fails in every way there is
                reason = f": {error!r}"
            if any(process.poll() is not None for process in self._processes):
                reason = ": its process has ended"
                break
            time.sleep(0.05)
        log = (self.directory / "server.log").read_bytes()[-3000:].decode(errors="replace")
        self.kill()
        raise RuntimeError(f"{self.name} did not come up{reason}\n{log}")

    def _end(self, how: signal.Signals) -> None:
        processes, self._processes = self._processes, []
        for process in processes:
            process.send_signal(how)
        for process in processes:
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            # Workers that it leaves behind would hold their memory until the machine is restarted.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
