"""The program of one provider: a real uvicorn server that is told by its input how to misbehave.

`/work?id=X` is the service; each execution is written to the log before anything else happens, so
that a killed process has told of all that it began. A line of standard input changes what is done:
`well`, `sick STATUS`, `slow SECONDS`, `die` (at the next request, in the middle of the answer),
`leave` (announce it). It registers with Consul by itself, renews that every second, and ends with
its input.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import signal
import threading
import time
from typing import Any

import uvicorn

from rpcguard.provider import OfflineASGI

READY = b"ready\n"
SERVICE = "orders"
NONCE = "X-Nonce"
_WORK_TIME = 0.002
_COLD_TIME, _COLD_WIDTH = 0.06, 2
_PADDING = "." * 200
_TTL, _HEARTBEAT = "4s", 1.0


class Work:
    """Serve the work, well or badly."""

    def __init__(self, *, name: str, log: int, cold: float) -> None:
        self.name, self.log = name, log
        self.mood: list[str] = ["well"]
        self.warm_at: float = time.monotonic() + cold
        self.gate = asyncio.Semaphore(_COLD_WIDTH)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        sent, more = b"", True
        while more:
            part = await receive()
            sent, more = sent + part.get("body", b""), part.get("more_body", False)
        nonce = dict(scope["headers"]).get(NONCE.lower().encode(), b"")
        call = scope["query_string"].decode().partition("id=")[2]
        if call:  # what a probe asks for is no call
            os.write(self.log, f"{scope['method']} {call}\n".encode())
        mood, *how = self.mood
        status = int(how[0]) if mood == "sick" else 200
        if mood != "sick":
            await self._work(float(how[0]) if mood == "slow" else _WORK_TIME)
        told = {"call": call, "nonce": nonce.decode(), "body": sent.decode(), "node": self.name}
        body = json.dumps({**told, "padding": _PADDING, "end": nonce.decode()}).encode()
        headers = [(b"content-type", b"application/json"), (NONCE.encode(), nonce)]
        if "/stream" not in scope["path"]:
            headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        half = len(body) // 2
        await send({"type": "http.response.body", "body": body[:half], "more_body": True})
        if mood == "die":
            await asyncio.sleep(0.02)  # so that the half is on its way
            os.kill(os.getpid(), signal.SIGKILL)
        await send({"type": "http.response.body", "body": body[half:]})

    async def _work(self, seconds: float) -> None:
        if time.monotonic() >= self.warm_at:
            await asyncio.sleep(seconds)
            return
        async with self.gate:
            await asyncio.sleep(_COLD_TIME)


class Registration:
    """Keep one node registered with a Consul agent that comes and goes."""

    def __init__(self, agent: str, token: str, *, name: str, host: str, port: int) -> None:
        self._agent, self._headers = agent, {"X-Consul-Token": token}
        self._name = name
        self._entry = {
            "ID": name,
            "Name": SERVICE,
            "Address": host,
            "Port": port,
            "Meta": {"started_at": str(time.time())},
            "Check": {"CheckID": f"alive:{name}", "TTL": _TTL, "Status": "passing"},
        }
        self.leaving = threading.Event()

    def keep(self) -> None:
        """Register, and renew that until the node leaves; ready is told when it is listed."""
        told = listed = False
        while not self.leaving.is_set():
            path = f"check/pass/alive:{self._name}" if listed else "service/register"
            listed = self._put(path, None if listed else self._entry)
            if listed and not told:
                os.write(1, READY)
                told = True
            # A wiped registry refuses a renewal: it is asked to list the node anew, at once.
            self.leaving.wait(_HEARTBEAT if listed or path == "service/register" else 0.0)

    def leave(self) -> None:
        """Take the node off the list, if the registry can be reached."""
        self.leaving.set()
        self._put(f"service/deregister/{self._name}", None)

    def _put(self, path: str, entry: object) -> bool:
        connection = http.client.HTTPConnection(self._agent, timeout=1.0)
        try:
            body = None if entry is None else json.dumps(entry)
            connection.request("PUT", f"/v1/agent/{path}", body, self._headers)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False  # it is stopped, partitioned or starting: the next renewal tries again
        finally:
            connection.close()


class Server(uvicorn.Server):
    """Register when it listens, and go off the list first when it stops."""

    registration: Registration

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        threading.Thread(target=self.registration.keep, daemon=True).start()

    async def shutdown(self, sockets: Any = None) -> None:
        threading.Thread(target=self.registration.leave).start()
        await super().shutdown(sockets)


def _obey(work: Work, app: OfflineASGI, registration: Registration) -> None:
    # Not sys.stdin: a thread that waits in it would break the exit of the interpreter.
    rest = b""
    while data := os.read(0, 4096):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line == b"leave":
                app.go_offline()
                registration.leave()
            else:
                work.mood = line.decode().split()
    os._exit(0)


def main() -> None:
    """Run a provider until it is told to stop or its input ends."""
    parser = argparse.ArgumentParser()
    for name in ("name", "host", "log", "agent", "token"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--cold", type=float, required=True)
    given = parser.parse_args()
    log = os.open(given.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    work = Work(name=given.name, log=log, cold=given.cold)
    app = OfflineASGI(work, file=False)
    server = Server(
        uvicorn.Config(
            app,
            host=given.host,
            port=given.port,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=5,
        )
    )
    server.registration = Registration(
        given.agent, given.token, name=given.name, host=given.host, port=given.port
    )
    threading.Thread(target=_obey, args=(work, app, server.registration), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle
    server.run()


if __name__ == "__main__":
    main()
