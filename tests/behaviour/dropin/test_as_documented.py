"""What httpx documents of its clients, page by page: the same through rpcguard, to the byte."""

from __future__ import annotations

import gzip
import pickle
import zlib

import pytest

from tests.support.calls import FLAVOURS, each
from tests.support.judge import Talk, answering, judge, told
from tests.support.library import http
from tests.support.scripts import CHUNKED

pytestmark = each(FLAVOURS)


def answer(body: bytes = b"", *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def moved(status: int, location: str) -> bytes:
    return answer(b"moved", f"Location: {location}", "Set-Cookie: hop=1", status=f"{status} Moved")


LINES = b"one\ntwo\r\nthree \xe2\x82\xac\n" * 100
EVENTS = b"data: 1\n\nid: 2\nevent: told\ndata: a\ndata: b\n\n: nothing\n\n"
PATHS = {
    "/json": answer(b'{"a": [1]}', "Content-Type: application/json"),
    "/latin": answer(b"caf\xe9", "Content-Type: text/plain; charset=iso-8859-1"),
    "/plain": answer(b"caf\xe9", "Content-Type: text/plain"),
    "/lines": answer(LINES, "Content-Type: text/plain; charset=utf-8"),
    "/gzip": answer(gzip.compress(LINES, mtime=0), "Content-Encoding: gzip"),
    "/deflate": answer(zlib.compress(LINES), "Content-Encoding: deflate"),
    "/both": answer(
        gzip.compress(zlib.compress(LINES), mtime=0), "Content-Encoding: deflate, gzip"
    ),
    "/chunked": CHUNKED + b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n",
    "/endless": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end",
    "/events": answer(EVENTS, "Content-Type: text/event-stream"),
    "/old": b"HTTP/1.0 200 Fine\r\nConnection: close\r\n\r\nold",
    "/reason": answer(b"", status="299 My Own Words"),
    "/no-reason": answer(b"", status="200 "),
    "/hints": b"HTTP/1.1 103 Early Hints\r\nLink: </s>; rel=preload\r\n\r\n" + answer(b"late"),
    "/cookies": answer(b"", "Set-Cookie: a=1; Path=/", "Set-Cookie: b=2; Path=/deep; HttpOnly"),
    "/links": answer(b"", 'Link: </next>; rel="next", </last>; rel="last"'),
    "/401": answer(b"who?", 'WWW-Authenticate: Basic realm="r"', status="401 Unauthorized"),
    "/404": answer(b"not here", status="404 Not Found"),
    "/301": moved(301, "/json"),
    "/302": moved(302, "json?x=1#there"),
    "/303": moved(303, "/json"),
    "/307": moved(307, "/json"),
    "/308": moved(308, "//localhost/json"),
    "/loop": moved(302, "/loop"),
    "/two": moved(302, "/302"),
}


async def methods(talk: Talk):
    names = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "QUERY", "MINE")
    return [told(await talk.request(name, "/reason")) for name in names]


async def answers(talk: Talk):
    return [told(await talk.get(path)) for path in PATHS if not path.startswith("/3")]


async def parameters(talk: Talk):
    given = ({"a": [1, "two"], "b": None}, [("x", "ä &="), ("x", "/")], "raw=1&raw=2", {})
    urls = ["/p?kept=1", "/pa th/ü", "/a%2Fb", "/;p=1?q#fragment", "//double", "?only=query"]
    sent = [told(await talk.get("/p?kept=1", params=params)) for params in given]
    return sent + [told(await talk.get(url)) for url in urls]


async def bodies(talk: Talk):
    boundary = {"Content-Type": "multipart/form-data; boundary=limit"}
    picture = ("x.png", b"png", "image/png")
    given = [
        {"json": {"a": "ü"}},
        {"data": {"a": ["1", "2"], "b": "ü"}},
        {"content": b"\x00bytes"},
        {"content": "text ü"},
        {"content": talk.body(b"in", b"", b" parts")},
        {"content": talk.body(b"of ", b"known"), "headers": {"Content-Length": "8"}},
        {"files": {"f": b"data"}, "headers": boundary},
        {"files": [("i", picture), ("i", (None, "text"))], "data": {"k": "v"}, "headers": boundary},
        {},
    ]
    return [told(await talk.post("/json", **options)) for options in given]


async def merged_options(talk: Talk):
    talk.open(
        headers={"X-Client": "c", "User-Agent": "mine/1"},
        params={"client": "1"},
        cookies={"jar": "c"},
        auth=("tom", "1"),
        base_url=f"{talk.base}/api/v1",
    )
    request = {"headers": {"X-Request": "r"}, "params": {"request": "2"}, "auth": ("alice", "2")}
    first = [told(await talk.get(url, **request)) for url in ("", "x", "/x", "../x", "/x/?q=1")]
    return [*first, told(await talk.get(f"{talk.base}/absolute"))]


async def built_requests(talk: Talk):
    talk.open(headers={"X-Key": "secret"})
    built = talk.client.build_request("GET", "/")
    del built.headers["X-Key"]
    bare = http.Request("POST", f"{talk.base}/bare", content=b"bare")
    own_host = talk.client.build_request("GET", "/", headers={"Host": "another.example"})
    return [told(await talk.send(one)) for one in (built, bare, bare, own_host)]


async def redirects(talk: Talk):
    talk.open(max_redirects=5)
    paths = [path for path in PATHS if path.startswith("/3")]
    seen = [told(await talk.get(path)) for path in paths]
    for method in ("GET", "POST", "HEAD"):
        for path in [*paths[:4], "/two"]:
            options = {"content": b"body"} if method == "POST" else {}
            response = await talk.request(method, path, follow_redirects=True, **options)
            seen.append(told(response))
    following = (await talk.get("/302")).next_request
    seen.append(told(await talk.send(following)))
    return [*seen, await talk.failure(talk.get("/loop", follow_redirects=True))]


async def cookies(talk: Talk):
    first = [told(await talk.get(path)) for path in ("/cookies", "/", "/deep/er")]
    kept = sorted((c.name, c.value, c.domain, c.path) for c in talk.client.cookies.jar)
    talk.client.cookies.set("a", "9", domain="elsewhere.example")
    jar = http.Cookies({"own": "1"})
    talk.open(cookies=jar)
    return [*first, kept, told(await talk.get("/")), told(await talk.get("/cookies"))]


async def encodings(talk: Talk):
    for default in ("utf-8", "iso-8859-1", lambda body: "cp1252" if b"\xe9" in body else "utf-8"):
        talk.open(default_encoding=default)
        yield [told(await talk.get(path)) for path in ("/plain", "/latin", "/json", "/lines")]


async def streams(talk: Talk):
    for path in ("/lines", "/gzip", "/deflate", "/both", "/chunked", "/endless", "/old"):
        for how, options in (
            ("iter_bytes", {"chunk_size": 7}),
            ("iter_raw", {"chunk_size": 1000}),
            ("iter_text", {"chunk_size": 11}),
            ("iter_lines", {}),
        ):
            async with talk.stream(path) as response:
                before = (response.is_closed, response.is_stream_consumed)
                parts = await talk.parts(response, how, **options)
            yield before, parts, response.num_bytes_downloaded, response.is_closed


async def streams_that_are_misused(talk: Talk):
    async with talk.stream("/lines") as response:
        with pytest.raises(http.ResponseNotRead):
            _ = response.content
        body = await talk.read(response)
        assert body == response.content == await talk.read(response)
        again = await talk.parts(response, "iter_bytes", chunk_size=1000)
    async with talk.stream("/lines") as raw:
        await talk.parts(raw, "iter_raw")
        consumed = await talk.failure(talk.read(raw))
    async with talk.stream("/chunked") as left:
        pass
    closed = await talk.failure(talk.read(left))
    return again, consumed, closed, told(await talk.get("/json"))


async def hooks(talk: Talk):
    log: list[object] = []

    def sign(request) -> None:
        request.headers["X-Signed"] = "yes"
        log.append((request.method, str(request.url)))

    def check(response) -> None:
        log.append((response.status_code, response.is_closed))
        response.raise_for_status()

    hooks = {"request": [talk.hook(sign)], "response": [talk.hook(check)]}
    talk.open(event_hooks=hooks)
    seen = [told(await talk.get("/json")), await talk.failure(talk.get("/404"))]
    seen.append(await talk.failure(talk.get("/302", follow_redirects=True)))
    talk.client.event_hooks = {"response": []}
    return [*seen, log, told(await talk.get("/404"))]


async def statuses(talk: Talk):
    for path in ("/json", "/404", "/302", "/reason"):
        response = await talk.get(path)
        try:
            response.raise_for_status()
        except http.HTTPStatusError as error:
            yield path, str(error), error.request.method, error.response.status_code
        else:
            yield path, response.is_success


async def travelling(talk: Talk):
    response = await talk.post("/json", content=b"1")
    twin = pickle.loads(pickle.dumps(response))
    asked = pickle.loads(pickle.dumps(response.request))
    return twin.json(), twin.headers.raw, str(asked.url), asked.content, repr(response)


async def requests_that_are_sent_twice(talk: Talk):
    request = talk.client.build_request("POST", "/307", content=talk.body(b"once"))
    first = told(await talk.send(request))
    again = await talk.failure(talk.send(request))
    redirected = talk.client.build_request("POST", "/307", content=talk.body(b"once"))
    failed = await talk.failure(talk.send(redirected, follow_redirects=True))
    kept = talk.client.build_request("POST", "/307", content=talk.body(b"kept"))
    await talk.read(kept)
    return [first, again, failed, told(await talk.send(kept, follow_redirects=True))]


async def details(talk: Talk):
    seen = []
    async with talk.stream("/reason") as response:
        stream = response.extensions["network_stream"]
        seen.append(stream.get_extra_info("server_addr")[1])
        seen.append(stream.get_extra_info("client_addr")[0])
        seen.append((stream.get_extra_info("ssl_object"), stream.get_extra_info("nothing")))
        seen.append((response.extensions["reason_phrase"], response.extensions["http_version"]))
    for timeout in ({"connect": 5.0}, {}, {"pool": None, "read": 5}):
        response = await talk.get("/json", extensions={"timeout": timeout})
        seen.append((told(response), response.request.extensions))
    return [*seen, told(await talk.get("/json", extensions={"target": b"/raw%20target?x"}))]


async def traces(talk: Talk):
    names: list[str] = []

    def trace(event, info) -> None:
        names.append(event)

    async def atrace(event, info) -> None:
        names.append(event)

    extensions = {"trace": trace if talk.flavour.sync else atrace}
    for path in ("/json", "/json", "/endless", "/json"):
        await talk.get(path, extensions=extensions)
    await talk.post("/json", content=b"1", extensions=extensions)
    return names


async def server_sent_events(talk: Talk):
    if not hasattr(talk.client, "sse"):
        pytest.skip("httpx2 has it")
    if talk.flavour.sync:
        with talk.client.sse("/events", params={"q": "1"}) as source:
            return list(source), source.response.request.headers.raw
    async with talk.client.sse("/events", params={"q": "1"}) as source:
        return [event async for event in source], source.response.request.headers.raw


async def gathered(scenario, talk: Talk):
    """Run a scenario that returns, or one that yields as it goes."""
    told = scenario(talk)
    return [part async for part in told] if hasattr(told, "__aiter__") else await told


SCENARIOS = (
    *(methods, answers, parameters, bodies, merged_options, built_requests, redirects, cookies),
    *(encodings, streams, streams_that_are_misused, hooks, statuses, travelling, details, traces),
    *(requests_that_are_sent_twice, server_sent_events),
)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_the_same_as_httpx(scenario, flavour, make_node, plain_context):
    """Answers, streams, cookies, hooks and requests are those of plain httpx, on both ends."""
    node = make_node(answering(PATHS))
    said = await judge(lambda talk: gathered(scenario, talk), flavour, node, plain_context)
    assert said
