"""A wire in 80 lines: the model in the path, a stream of lines of JSON, each attempt signed."""

from __future__ import annotations

import itertools
import json
from functools import cache
from typing import ClassVar

from modelwire.adapters.model.http import HTTPChatModel
from modelwire.adapters.wires.json import error_from_reply, read_reply
from modelwire.adapters.wires.wire import ChatCall, StructuredOutput, ToolDialect, Wire
from modelwire.errors import ChatError, IncompleteStream
from modelwire.messages import AIMessage, AIMessageChunk
from modelwire.transport.wire import Reply, ServerEvent, WireRequest


class Lines:
    def __init__(self, *, max_event_bytes: int) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> list[ServerEvent]:
        *lines, self.rest = (self.rest + data).split(b"\n")
        return [ServerEvent("", line) for line in lines if line]


class ToyDecoder:
    request_id: str | None = None
    ended = False

    def feed(self, event: ServerEvent) -> list[AIMessageChunk]:
        part = json.loads(event.data)
        self.ended = self.ended or "end" in part
        return [AIMessageChunk.from_wire(part["text"])] if "text" in part else []

    def close(self) -> list[AIMessageChunk]:
        if not self.ended:
            raise IncompleteStream("The stream of the toy ended without its end.", provider="toy")
        return [AIMessageChunk.from_wire("", chunk_position="last")]


class ToyCodec:
    wire, provider, framing = "toy", "toy", Lines

    def encode(self, call: ChatCall) -> WireRequest:
        url = f"{call.endpoint.base_url}/{call.model}:{'stream' if call.stream else 'say'}"
        body = {
            "says": [{it.type: it.text} for it in call.messages],
            **call.params,
            **call.extra_body,
        }
        headers = {
            **call.endpoint.headers,
            "content-type": "application/json",
            **call.extra_headers,
        }
        return WireRequest(url, headers, body, stream=call.stream)

    def decode(self, reply: Reply) -> AIMessage:
        answer = read_reply(reply, self.provider)
        calls = [
            {"type": "tool_call", "id": f"toy_{n}", **call}
            for n, call in enumerate(answer.get("calls", ()))
        ]
        return AIMessage.from_wire(answer.get("text", ""), tool_calls=calls)

    def error(self, reply: Reply) -> ChatError:
        return error_from_reply(reply, self.provider)

    stream_decoder = staticmethod(lambda headers=None: ToyDecoder())


WIRE = Wire(
    name="toy",
    title="the toy (https://toy.test)",
    owner="toy",
    path=":say",
    model_class=f"{__name__}:ChatToy",
    codec=cache(lambda provider: ToyCodec()),
    tools=ToolDialect(
        lambda tool, openai_tool, *, strict: {"toy_tool": openai_tool["function"]["name"]}
    ),
    structured=StructuredOutput(
        ("function_calling",), lambda *_: "function_calling", lambda schema, *, strict: schema
    ),
)


class ChatToy(HTTPChatModel):
    provider: str = "toy"
    WIRE: ClassVar[str] = "toy"
    KEY_VARIABLES: ClassVar[tuple[str, ...]] = ("TOY_KEY",)
    DEFAULT_URL: ClassVar[str] = "https://toy.test/v1"
    ATTEMPTS: ClassVar = itertools.count()
    _llm_type = "toy"

    def _exchange(self, *args, **kwargs):
        exchange = super()._exchange(*args, **kwargs)
        exchange.sign = lambda: {**exchange.headers, "x-signature": str(next(ChatToy.ATTEMPTS))}
        return exchange

    def _auth_headers(self, key: str) -> dict[str, str]:
        return {"x-toy-key": key}
