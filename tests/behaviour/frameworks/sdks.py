"""Two SDKs that take an `http_client`, and nodes that speak their protocols."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anthropic
import openai

from tests.support.calls import settle
from tests.support.library import LIBRARY, http

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import ModuleType

    from tests.support.calls import Caller

WORDS = ("one ", "two ", "three")


def answer(value: object, status: int = 200, *headers: str) -> bytes:
    """Give a whole answer in JSON."""
    body = json.dumps(value).encode()
    lines = [f"HTTP/1.1 {status} Whatever", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(event: str) -> bytes:
    return b"%x\r\n%s\r\n" % (len(event), event.encode())


END = b"0\r\n\r\n"


@dataclass(frozen=True)
class Sdk:
    """One SDK: how it is made, asked and answered."""

    module: ModuleType
    client: str
    whole: bytes
    events: tuple[str, ...]
    """One per word of the answer, in server-sent events, and what ends the stream."""
    path: str
    broken: type[Exception]
    """What a stream that breaks off raises."""

    def make(self, caller: Caller, **options) -> Any:
        kind = getattr(self.module, ("" if caller.flavour.sync else "Async") + self.client)
        options = {"api_key": "key", "max_retries": 0, "http_client": caller.client} | options
        return kind(base_url=f"http://orders{self.path}", **options)

    async def ask(self, client: Any, **options) -> Any:
        """Ask for a completion, as a whole or as a stream."""
        messages = [{"role": "user", "content": "count"}]
        if self.client == "OpenAI":
            call = client.chat.completions.create
        else:
            call, options = client.messages.create, options | {"max_tokens": 9}
        return await settle(call(model="m", messages=messages, **options))

    def text(self, told: Any) -> str:
        """Find the text of a completion, or of one event of a stream."""
        if self.client == "OpenAI":
            (choice,) = told.choices
            return getattr(choice, "message", getattr(choice, "delta", None)).content or ""
        if hasattr(told, "content"):
            return told.content[0].text
        return told.delta.text if told.type == "content_block_delta" else ""


def _openai_chunk(text: str) -> str:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    told = {"id": "1", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}
    return f"data: {json.dumps(told)}\n\n"


def _anthropic_event(kind: str, **fields) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n"


_CHOICE = {
    "index": 0,
    "message": {"role": "assistant", "content": "one two three"},
    "finish_reason": "stop",
}
OPENAI = Sdk(
    module=openai,
    broken=openai.APIConnectionError,
    client="OpenAI",
    path="/v1",
    whole=answer({"id": "1", "object": "chat.completion", "model": "m", "choices": [_CHOICE]}),
    events=(*map(_openai_chunk, WORDS), "data: [DONE]\n\n"),
)
ANTHROPIC = Sdk(
    module=anthropic,
    broken=http.RemoteProtocolError,
    client="Anthropic",
    path="",
    whole=answer(
        {
            "id": "1",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [{"type": "text", "text": "one two three"}],
            "usage": {"input_tokens": 1, "output_tokens": 3},
        }
    ),
    events=(
        *(
            _anthropic_event(
                "content_block_delta", index=0, delta={"type": "text_delta", "text": word}
            )
            for word in WORDS
        ),
        _anthropic_event("message_stop"),
    ),
)
# Anthropic's takes clients of httpx2 only.
SDKS = [OPENAI] if LIBRARY == "httpx" else [OPENAI, ANTHROPIC]


async def parts(stream: Any) -> AsyncIterator[Any]:
    """Iterate over a stream of either kind."""
    if hasattr(stream, "__aiter__"):
        async for part in stream:
            yield part
    else:
        for part in stream:
            yield part
