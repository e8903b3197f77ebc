"""One marked request through three services and back: a full-chain lane.

Starts real uvicorn servers on free ports, lists them in a file, calls, and ends them:

    pip install rpcguard uvicorn
    python examples/full_chain_lane.py

cart calls orders, orders calls stock. The lane `canary-2` has nodes of all three services, the lane
`fix-7` only one of the service in the middle.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import httpx

import rpcguard

NEXT = {"cart": "orders", "orders": "stock", "stock": ""}
LANES = {"": tuple(NEXT), "canary-2": tuple(NEXT), "fix-7": ("orders",)}

PROVIDER = """
import os
import httpx, rpcguard
from rpcguard.provider import ContextASGI

name, calls = os.environ["NAME"], os.environ["CALLS"]
transport = rpcguard.AsyncTransport(os.environ["REGISTRY"], routing=rpcguard.Routing())
client = httpx.AsyncClient(transport=transport)

async def serve(scope, receive, send):
    answer = name
    if calls:
        answer += " > " + (await client.get(f"http://{calls}/")).text
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": answer.encode()})

app = ContextASGI(serve)  # hands the mark of a request on to the calls that it makes
"""


def main() -> None:
    """Play it."""
    with tempfile.TemporaryDirectory() as place, ExitStack() as ending:
        registry = Path(place, "services.json")
        Path(place, "shop.py").write_text(PROVIDER)
        listed: dict[str, list[dict[str, object]]] = {service: [] for service in NEXT}
        for lane, services in LANES.items():
            for service in services:
                port = start(service, lane, registry, ending)
                metadata = {"lane": lane} if lane else {}
                listed[service].append({"host": "127.0.0.1", "port": port, "metadata": metadata})
        registry.write_text(json.dumps({"services": listed}))
        call(registry)


def start(service: str, lane: str, registry: Path, ending: ExitStack) -> int:
    """Start one provider and wait until it listens; give its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    name = f"{service} of {lane}" if lane else service
    told = {"NAME": name, "CALLS": NEXT[service], "REGISTRY": registry.as_uri()}
    command = f"-m uvicorn shop:app --port {port} --lifespan off --log-level warning".split()
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=registry.parent,
        env=os.environ | told,
    )
    ending.enter_context(process)
    ending.callback(process.terminate)
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return port
    raise SystemExit(f"{name} did not start")


def call(registry: Path) -> None:
    """Send an ordinary call, and one for each lane."""
    transport = rpcguard.Transport(registry.as_uri(), routing=rpcguard.Routing())
    with httpx.Client(transport=transport, timeout=10.0) as client:
        for lane in LANES:
            options = {"rpcguard": {"lane": lane or None}}
            answer = client.get("http://cart/", extensions=options).text
            print(f"{lane or 'no mark':<9}{answer}")


if __name__ == "__main__":
    main()
