"""Calls orders twenty times a second through rpcguard, and counts."""

from __future__ import annotations

import os
import time

import httpx
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import start_http_server

import rpcguard

PAUSE = 0.05
"""Seconds between two calls."""


def main() -> None:
    """Call until interrupted, or `CALLS` times, and print the counts once a second."""
    meters = MeterProvider(metric_readers=[PrometheusMetricReader()])
    start_http_server(int(os.environ.get("METRICS", "0")))
    transport = rpcguard.Transport(meter_provider=meters)
    left = int(os.environ.get("CALLS", "-1"))
    calls = failed = retried = 0
    with httpx.Client(transport=transport, base_url="http://orders", timeout=2.0) as client:
        transport.wait_ready("orders", timeout=60.0)
        while calls != left:
            calls += 1
            try:
                response = client.get("/v1/orders/7")
                failed += response.is_error
                retried += len(response.extensions["rpcguard"].attempts) > 1
            except httpx.HTTPError as error:
                failed += 1
                print(f"{type(error).__name__}: {error}")
            if calls % 20 == 0:
                print(f"calls {calls}, failed {failed}, retried {retried}")
            time.sleep(PAUSE)


if __name__ == "__main__":
    main()
