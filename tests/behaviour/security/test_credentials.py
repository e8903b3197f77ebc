"""Credentials of a registry: in no log line, error, repr, span, metric or page."""

from __future__ import annotations

import json
import logging
import traceback

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import rpcguard
from rpcguard._status.app import asgi_status
from rpcguard.errors import InvalidRegistryURL, RegistryError
from rpcguard.registries.base import registry_from_url
from tests.support.calls import soon
from tests.support.library import http

SECRET = "S3CR3T"
TOKEN = f"user:{SECRET}%2F{SECRET}@"

GOOD = (
    "http://{}h1:80,h2:81/path/{{service}}",
    "https://{}h1/all",
    "consul://:S3CR3T@h1,h2:8500?dc=dc1",
    "etcd://{}h1:2379/prefix?layout=kratos",
    "zookeeper://{}h1:2181/services",
    "nacos://{}h1:8848/nacos",
    "eureka+http://{}h1:8761/eureka",
    "polaris://:S3CR3T@h1:8090/default",
    "xds+http://{}h1:18000",
)
BAD = (
    "http://{}h1:99999/",
    "http://{}/",
    "http://{}h1/{{other}}",
    "consul://{}h1",
    "consul://:S3CR3T@h1?colour=red",
    "consul://:S3CR3T@h1/path",
    "consul://:S3CR3T/S3CR3T@h1",
    "consul://:S3CR3T?S3CR3T@h1",
    "consul://:S3CR3T#S3CR3T@h1",
    "consul:user:S3CR3T@h1://h2",
    "user:S3CR3T@h1://x",
    "user:S3CR3T@h1",
    "etcd://{}h1/?layout=S3",
    "etcd://:S3CR3T@h1",
    "zookeeper://{}h1/?layout=none",
    "zookeeper://{}",
    "nacos://{}h1:0",
    "eureka+http://{}h1:80?address=none",
    "polaris://{}h1",
    "polaris://:S3CR3T@h1/a/b",
    "static://{}h1:80",
    "file://{}/etc/services.json",
    "kubernetes://{}shop",
    "kubernetes://shop?server=http://user:S3CR3T@h1",
    "dns://{}10.0.0.1",
    "xds+http://{}h1/path",
    "nobody://{}h1",
    "consul://user:S3CR3T",
    "zookeeper://user:S3CR3T,10.0.0.1",
    "etcd://root:S3CR3T/10.0.0.1",
    "etcd://{}h1?l/root:S3CR3T",
    "etcd://{}h1?S3CR3T=1",
    "consul://:S3CR3T @h1",
    "consul://:S3CR3T\n@h1",
)


@pytest.mark.parametrize("url", GOOD)
def test_the_repr_of_a_registry_shows_no_secret(url):
    """Neither `repr` nor `str` of a registry has its user, password or token."""
    registry = registry_from_url(url.format(TOKEN))
    assert SECRET not in f"{registry!r} {registry}"
    assert "user" not in repr(registry)


@pytest.mark.parametrize("url", BAD)
def test_the_error_for_a_wrong_url_shows_no_secret(url):
    """A URL that is refused is not repeated with its password, whichever part is wrong."""
    with pytest.raises(InvalidRegistryURL) as caught:
        rpcguard.Transport(url.format(TOKEN))
    told = "".join(traceback.format_exception(caught.value))
    shown = [line for line in told.splitlines() if not line.lstrip().startswith("rpcguard.Tran")]
    assert SECRET not in "\n".join(shown)


PLACES = {
    "http": ("http://{}{}/path/{{service}}", (401, "{}")),
    "consul": ("consul://:S3CR3T@{1}", (403, "ACL not found")),
    "etcd": ("etcd://{}{}/", (401, '{"message": "authentication failed"}')),
    "nacos": ("nacos://{}{}/nacos", (403, '{"message": "unknown user!"}')),
    "eureka": ("eureka+http://{}{}/eureka", (401, "")),
    "polaris": ("polaris://:S3CR3T@{1}/default", (401, '{"code": 401002, "info": "token"}')),
    "xds": ("xds+http://{}{}", (401, "")),
}


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("answer", ["refused", "broken", "cut"])
async def test_a_registry_that_refuses_leaks_nothing(name, answer, new_server, caplog):
    """With every logger at its loudest, refused credentials are in no line, error, span or page."""
    url, (status, body) = PLACES[name]
    server = new_server()
    answers = {
        "refused": server.answer(body, status),
        "broken": server.answer("{" * 50, 200),
        "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{",
    }
    server.script = lambda _: answers[answer] if answer != "cut" else [answers[answer]]
    caplog.set_level(1)
    logging.getLogger("rpcguard").setLevel(1)
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracing = TracerProvider(shutdown_on_exit=False)
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    metering = MeterProvider([reader], shutdown_on_exit=False)
    transport = rpcguard.AsyncTransport(
        url.format(TOKEN, server.address), tracer_provider=tracing, meter_provider=metering
    )
    try:
        async with http.AsyncClient(transport=transport) as client:
            transport.nodes("orders")
            await soon(lambda: transport.services()[0].trouble, "no trouble", patience=20)
            brief = {"rpcguard": {"deadline": 0.01}}
            with pytest.raises(http.ConnectError) as caught:
                await client.get("http://orders/", extensions=brief)
            page = await _page(transport)
            with pytest.raises(RegistryError) as late:
                await transport.wait_ready("orders", timeout=0.01)
        data = reader.get_metrics_data()
    finally:
        tracing.shutdown()
        metering.shutdown()
        logging.getLogger("rpcguard").setLevel(logging.NOTSET)
    assert server.seen
    told = [
        *(record.getMessage() for record in caplog.records),
        caplog.text,
        "".join(traceback.format_exception(caught.value)),
        "".join(traceback.format_exception(late.value)),
        *(span.to_json() for span in spans.get_finished_spans()),
        data.to_json() if data is not None else "",
        page,
        repr(transport),
    ]
    assert not [line for line in told if SECRET in line or "Basic " in line]
    assert caplog.records


async def _page(transport) -> str:
    body = b""

    async def send(message) -> None:
        nonlocal body
        body += message.get("body", b"")

    for path in ("/", "/nodes.json"):
        scope = {"type": "http", "method": "GET", "path": path, "root_path": ""}
        await asgi_status(transport)(scope, None, send)
    assert b"orders" in body
    return body.decode()


def test_the_policies_and_views_have_none_either():
    """What a transport is made of can be printed, and its views made JSON, without a secret."""
    transport = rpcguard.Transport(f"consul://:{SECRET}@127.0.0.1:1")
    transport.nodes("orders")
    shown = json.dumps([view.as_dict() for view in transport.services()])
    everything = f"{shown} {transport!r} {transport._policies!r} {transport.explain('orders')!r}"
    transport.close()
    assert SECRET not in everything
