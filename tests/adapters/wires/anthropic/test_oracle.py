"""The official SDK as oracle: the same messages in, the same body out; the same bytes in, the same answer out."""

from __future__ import annotations

import json
import warnings
from typing import Any

import anthropic
import httpx2
import pytest
from support.anthropic_types import check_type
from support.anthropic_wire import THINKING, USE, USE_2, blocks_of, events_of, streamed, text, whole
from support.mocked import Sent

from modelwire.adapters.wires.anthropic.codec import MessagesCodec
from modelwire.adapters.wires.wire import ChatCall, Endpoint
from modelwire.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage, merge_chunks
from modelwire.transport.wire import Reply

CODEC = MessagesCodec()
PNG = "iVBORw0KGgo="
CACHE = {"cache_control": {"type": "ephemeral"}}
LIMIT = {"max_tokens": 64}
CALL = {"name": "weather", "args": {"city": "Zürich"}, "id": "toolu_1", "type": "tool_call"}
CALL_2 = {"name": "time", "args": {}, "id": "toolu_2", "type": "tool_call"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"name": "weather", "description": "The weather.", "input_schema": SCHEMA}


def H(content: Any) -> HumanMessage:
    return HumanMessage(content=content)


def A(content: Any, *calls: Any) -> AIMessage:
    return AIMessage(content=content, tool_calls=list(calls))


def S(content: Any) -> SystemMessage:
    return SystemMessage(content=content)


def T(content: Any, id: str = "toolu_1", **more: Any) -> ToolMessage:
    return ToolMessage(content=content, tool_call_id=id, **more)


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def result(content: Any, id: str = "toolu_1", **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id, "content": content, **more}


def image(source: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "image", "source": source, **more}


PNG_SOURCE = {"type": "base64", "media_type": "image/png", "data": PNG}

# name: our messages, our parameters, what a user of the SDK would write
CASES: dict[str, tuple[list[Any], dict[str, Any], dict[str, Any]]] = {
    "one text": ([H("hi")], {}, {"messages": [user("hi")]}),
    "a system prompt": (
        [S("be kind"), H("hi")],
        {},
        {"system": "be kind", "messages": [user("hi")]},
    ),
    "system blocks": (
        [S([text("be kind", **CACHE)]), S("and brief"), H("hi")],
        {},
        {"system": [text("be kind", **CACHE), text("and brief")], "messages": [user("hi")]},
    ),
    "several system strings": (
        [S("a"), S("b"), H("hi")],
        {},
        {"system": "a\n\nb", "messages": [user("hi")]},
    ),
    "many turns": (
        [H("a"), A("b"), H("c")],
        {},
        {"messages": [user("a"), assistant("b"), user("c")]},
    ),
    "neighbours of one role": (
        [H("a"), H("b"), A("c"), A("d"), H("e")],
        {},
        {"messages": [user([text("a"), text("b")]), assistant([text("c"), text("d")]), user("e")]},
    ),
    "an empty answer": ([H("a"), A(""), H("b")], {}, {"messages": [user([text("a"), text("b")])]}),
    "empty blocks": (
        [H([text(""), text(" \n"), text("b")])],
        {},
        {"messages": [user([text("b")])]},
    ),
    "a prefill": ([H("a"), A("b  \n")], {}, {"messages": [user("a"), assistant("b")]}),
    "Anthropic's image": (
        [H([image(PNG_SOURCE, **CACHE)])],
        {},
        {"messages": [user([image(PNG_SOURCE, **CACHE)])]},
    ),
    "OpenAI's image by url": (
        [H([{"type": "image_url", "image_url": "https://example.com/x"}])],
        {},
        {"messages": [user([image({"type": "url", "url": "https://example.com/x"})])]},
    ),
    "an image among the files": (
        [H([{"type": "file", "base64": PNG, "mime_type": "image/png"}])],
        {},
        {"messages": [user([image(PNG_SOURCE)])]},
    ),
    "a tool call and its result": (
        [H("a"), A("let me see", CALL), T("sunny"), H("and?")],
        {"tools": [TOOL]},
        {
            "messages": [
                user("a"),
                assistant([text("let me see"), USE]),
                user([result("sunny"), text("and?")]),
            ],
            "tools": [TOOL],
        },
    ),
    "parallel calls": (
        [H("a"), A("", CALL, CALL_2), T("sunny"), T("noon", "toolu_2")],
        {},
        {
            "messages": [
                user("a"),
                assistant([USE, USE_2]),
                user([result("sunny"), result("noon", "toolu_2")]),
            ]
        },
    ),
    "results before the user's words": (
        [H("a"), A("", CALL, CALL_2), T("sunny"), H("wait"), T("noon", "toolu_2")],
        {},
        {
            "messages": [
                user("a"),
                assistant([USE, USE_2]),
                user([result("sunny"), result("noon", "toolu_2"), text("wait")]),
            ]
        },
    ),
    "a failed tool": (
        [H("a"), A("", CALL), T("no such city", status="error")],
        {},
        {"messages": [user("a"), assistant([USE]), user([result("no such city", is_error=True)])]},
    ),
    "an image as a result": (
        [
            H("a"),
            A("", CALL),
            T([text("see"), {"type": "image", "base64": PNG, "mime_type": "image/png"}]),
        ],
        {},
        {
            "messages": [
                user("a"),
                assistant([USE]),
                user([result([text("see"), image(PNG_SOURCE)])]),
            ]
        },
    ),
    "thinking returns": (
        [
            H("a"),
            A([THINKING, {"type": "redacted_thinking", "data": "eA=="}, text("b"), USE], CALL),
            T("sunny"),
        ],
        {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        {
            "messages": [
                user("a"),
                assistant(
                    [THINKING, {"type": "redacted_thinking", "data": "eA=="}, text("b"), USE]
                ),
                user([result("sunny")]),
            ],
            "thinking": {"type": "enabled", "budget_tokens": 1024},
        },
    ),
    "LangChain's reasoning": (
        [
            H("a"),
            A(
                [
                    {"type": "reasoning", "reasoning": "hm", "extras": {"signature": "c2ln"}},
                    text("b"),
                ]
            ),
            H("c"),
        ],
        {},
        {"messages": [user("a"), assistant([THINKING, text("b")]), user("c")]},
    ),
    "any tool, one at a time": (
        [H("a")],
        {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False},
        {
            "messages": [user("a")],
            "tools": [TOOL],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        },
    ),
}


def sent_by_the_sdk(arguments: dict[str, Any]) -> dict[str, Any]:
    sent, arguments = (
        Sent({"type": "message", "content": []}, b""),
        {"model": "m", **LIMIT, **arguments},
    )
    return sent.by_sdk(anthropic.Anthropic, lambda client: client.messages.create, **arguments).body


@pytest.mark.parametrize("name", CASES)
def test_the_body_is_the_one_the_sdk_sends(name: str) -> None:
    messages, params, arguments = CASES[name]
    request = CODEC.encode(
        ChatCall(messages, "m", Endpoint("https://api.anthropic.com"), LIMIT | params)
    )
    body = json.loads(json.dumps(dict(request.body)))
    assert body == sent_by_the_sdk(arguments)
    check_type(body, beta=False)


# ---------------------------------------------------------------- answers

CITED = text(
    "b",
    citations=[
        {
            "type": "char_location",
            "cited_text": "q",
            "document_index": 0,
            "document_title": None,
            "start_char_index": 0,
            "end_char_index": 1,
            "file_id": None,
        }
    ],
)
SEARCH = {
    "type": "server_tool_use",
    "id": "srvtoolu_1",
    "name": "web_search",
    "input": {"query": "q"},
}
FOUND = {
    "type": "web_search_tool_result",
    "tool_use_id": "srvtoolu_1",
    "content": [
        {
            "type": "web_search_result",
            "title": "t",
            "url": "u",
            "encrypted_content": "e",
            "page_age": None,
        },
    ],
}
ANSWERS: dict[str, list[dict[str, Any]]] = {
    "nothing": [],
    "text": [text("Grüezi 👋")],
    "tool call": [USE],
    "text and tool calls": [text("let me see"), USE, USE_2],
    "thinking and text": [THINKING, text("b")],
    "redacted thinking": [THINKING, {"type": "redacted_thinking", "data": "eA=="}, text("b"), USE],
    "thinking left out": [{"type": "thinking", "thinking": "", "signature": "c2ln"}, text("b")],
    "citations": [text("a"), CITED, text(", c")],
    "citations first": [CITED, text("a")],
    "search": [text("I search."), SEARCH, FOUND, text("It is so."), CITED],
    "thinking between": [text("a"), THINKING, USE],
}


def read_by_the_sdk(body: bytes, *, stream: bool) -> dict[str, Any]:
    kind = "text/event-stream" if stream else "application/json"

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": kind}, content=body)

    asked: dict[str, Any] = {"model": "m", "messages": [user("x")], **LIMIT}
    with (
        httpx2.Client(transport=httpx2.MockTransport(answer)) as http_client,
        anthropic.Anthropic(api_key="none", max_retries=0, http_client=http_client) as client,
        warnings.catch_warnings(action="ignore"),
    ):
        if not stream:
            message = client.messages.create(**asked)
        else:
            with client.messages.stream(**asked) as events:
                message = events.get_final_message()
        return json.loads(message.to_json())


def without_nones(value: Any) -> Any:
    if isinstance(value, list):
        return [without_nones(item) for item in value]
    return (
        {k: without_nones(v) for k, v in value.items() if v is not None}
        if isinstance(value, dict)
        else value
    )


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", ANSWERS)
def test_the_answer_is_the_one_the_sdk_reads(name: str, stream: bool) -> None:
    content = ANSWERS[name]
    body = events_of(content) if stream else whole(content)
    theirs = read_by_the_sdk(body, stream=stream)
    ours = merge_chunks(streamed(body)) if stream else CODEC.decode(Reply(200, {}, body))
    assert without_nones(blocks_of(ours)) == without_nones(theirs["content"])
    assert ours.id == theirs["id"]
    assert ours.response_metadata["stop_reason"] == theirs["stop_reason"]
    assert ours.usage_metadata["output_tokens"] == theirs["usage"]["output_tokens"]
    assert ours.usage_metadata["input_tokens"] == theirs["usage"]["input_tokens"] + 5
    uses = [block for block in theirs["content"] if block["type"] == "tool_use"]
    assert [(call["id"], call["name"], call["args"]) for call in ours.tool_calls] == [
        (use["id"], use["name"], use["input"]) for use in uses
    ]
