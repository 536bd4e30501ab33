"""Answers that come in parts, against a server of raw bytes: one message, one stream, one sum of tokens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from support.raw_server import RawServer

from modelwire.adapters import ChatAnthropic, ChatGoogleGenerativeAI
from modelwire.errors import IncompleteAnswer, InvalidArgument, ServerError, StreamInterrupted
from modelwire.messages import AIMessage, merge_chunks, message_chunk_to_message

JSON = dict[str, Any]
SEARCH = {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "x"}}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1}}


def reply(data: bytes, status: int = 200, kind: str = "application/json") -> list[Any]:
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(data)}\r\n\r\n"
    return [head.encode() + data]


def events(*data: JSON) -> list[Any]:
    lines = (f"event: {it.get('type', '')}\ndata: {json.dumps(it)}\n\n" for it in data)
    return reply("".join(lines).encode(), kind="text/event-stream")


def part_of_anthropic(number: int, *blocks: JSON, reason: str = "pause_turn") -> JSON:
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-4-5",
        "content": list(blocks),
        "stop_reason": reason,
        "usage": {"input_tokens": 10 * number, "output_tokens": number},
    }


def streamed_anthropic(part: JSON) -> list[Any]:
    start = {**part, "content": [], "stop_reason": None}
    made: list[JSON] = [{"type": "message_start", "message": start}]
    for index, block in enumerate(part["content"]):
        if block["type"] == "text":
            empty = {"type": "text", "text": ""}
            delta: JSON = {"type": "text_delta", "text": block["text"]}
        else:
            empty = {**block, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        made += [
            {"type": "content_block_start", "index": index, "content_block": empty},
            {"type": "content_block_delta", "index": index, "delta": delta},
            {"type": "content_block_stop", "index": index},
        ]
    ending = {"stop_reason": part["stop_reason"]}
    made.append({"type": "message_delta", "delta": ending, "usage": part["usage"]})
    return events(*made, {"type": "message_stop"})


def text(words: str) -> JSON:
    return {"type": "text", "text": words}


def part_of_gemini(number: int, *parts: JSON, reason: str = "CONTINUATION") -> JSON:
    candidate: JSON = {"content": {"parts": list(parts)}, "finishReason": reason}
    if reason == "CONTINUATION":
        candidate["continuationToken"] = f"token-{number}"
    counts = {"promptTokenCount": 10 * number, "candidatesTokenCount": number}
    return {"candidates": [candidate], "responseId": f"r{number}", "usageMetadata": counts}


def claude(server: RawServer, **settings: Any) -> ChatAnthropic:
    url = server.url.removesuffix("/v1")
    settings = {"max_retries": 0, **settings}
    return ChatAnthropic(model="claude-opus-4-5", api_key="k", base_url=url, **settings)


def gemini(server: RawServer, **settings: Any) -> ChatGoogleGenerativeAI:
    url = server.url.removesuffix("/v1")
    settings = {"max_retries": 0, **settings}
    return ChatGoogleGenerativeAI(model="gemini-2.5-flash", api_key="k", base_url=url, **settings)


def bodies(server: RawServer) -> list[JSON]:
    return [json.loads(request.partition(b"\r\n\r\n")[2]) for request in server.requests]


def served(script: Sequence[Sequence[Any]]) -> RawServer:
    return RawServer(script)


PARTS: dict[str, list[list[JSON]]] = {
    "text, text": [[text("One")], [text(" two")]],
    "text, blocks": [[text("One")], [SEARCH, text(" two"), CALL]],
    "text, text and blocks": [[text("One")], [text(" two"), CALL]],
    "blocks, text": [[text("One"), SEARCH], [text(" two")]],
    "blocks, blocks": [[SEARCH], [text("One two"), CALL]],
    "nothing, blocks": [[], [text("One two"), CALL]],
    "three": [[text("One")], [SEARCH, text(" ")], [text("two"), CALL]],
}


def anthropic_parts(name: str) -> list[JSON]:
    groups = PARTS[name] if PARTS[name][0] else [[SEARCH], *PARTS[name][1:]]
    made = [part_of_anthropic(at, *blocks) for at, blocks in enumerate(groups, 1)]
    made[-1]["stop_reason"] = "end_turn"
    return made


@pytest.mark.parametrize("way", ["invoke", "streaming", "stream", "stream answered whole"])
@pytest.mark.parametrize("name", PARTS)
def test_the_parts_of_a_paused_turn_are_one_answer(name: str, way: str, colour: Any) -> None:
    parts = anthropic_parts(name)
    sends_events = way in ("streaming", "stream")
    script = [
        streamed_anthropic(it) if sends_events else reply(json.dumps(it).encode()) for it in parts
    ]
    server = served(script)
    model = claude(server, streaming=way == "streaming")
    if way.startswith("stream "):
        way = "stream"
    if way == "stream":
        chunks = colour.stream(model, "hi")
        assert [chunk.chunk_position for chunk in chunks].count("last") == 1
        assert chunks[-1].chunk_position == "last"
        message = message_chunk_to_message(merge_chunks(chunks))
    else:
        message = colour.invoke(model, "hi")
    assert isinstance(message, AIMessage)
    assert message.text == "One two"
    blocks = [block for part in parts for block in part["content"]]
    wanted = [block["id"] for block in blocks if block["type"] == "tool_use"]
    assert [call["id"] for call in message.tool_calls] == wanted
    assert all(call["args"] == {"a": 1} for call in message.tool_calls)
    kinds = [it["type"] for it in message.content_blocks if it["type"] == "server_tool_call"]
    assert len(kinds) == len([block for block in blocks if block["type"] == "server_tool_use"])
    assert message.id == "msg_1"
    assert message.response_metadata["stop_reason"] == "end_turn"
    assert message.response_metadata["continued"] == len(parts) - 1
    total = sum(range(len(parts) + 1))
    assert message.usage_metadata is not None
    assert message.usage_metadata["input_tokens"] == 10 * total
    assert message.usage_metadata["output_tokens"] == total


def test_a_paused_turn_goes_back_as_the_turn_of_the_assistant(colour: Any) -> None:
    parts = anthropic_parts("blocks, text")
    parts[0]["container"] = {"id": "container_1"}
    server = served([reply(json.dumps(it).encode()) for it in parts])
    colour.invoke(claude(server), "hi")
    first, second = bodies(server)
    turn = {"role": "assistant", "content": [text("One"), SEARCH]}
    assert second == {
        **first,
        "messages": [*first["messages"], turn],
        "container": "container_1",
    }


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_gemini_continues_with_the_token_of_the_latest_part(way: str, colour: Any) -> None:
    parts = [
        part_of_gemini(1, {"text": '{"a": '}),
        part_of_gemini(2, {"text": "1"}),
        part_of_gemini(3, {"text": "}"}, {"functionCall": {"name": "f"}}, reason="STOP"),
    ]
    script = [events(it) if way == "stream" else reply(json.dumps(it).encode()) for it in parts]
    server = served(script)
    if way == "stream":
        answer = message_chunk_to_message(merge_chunks(colour.stream(gemini(server), "hi")))
    else:
        answer = colour.invoke(gemini(server), "hi")
    assert answer.text == '{"a": 1}'
    assert [call["name"] for call in answer.tool_calls] == ["f"]
    assert answer.usage_metadata["output_tokens"] == 6
    assert answer.response_metadata["finish_reason"] == "STOP"
    assert answer.response_metadata["continued"] == 2
    assert "continuation_token" not in answer.response_metadata
    tokens = [body.pop("continuationToken", None) for body in bodies(server)]
    assert tokens == [None, "token-1", "token-2"]


@pytest.mark.parametrize("way", ["invoke", "streaming", "stream"])
def test_an_answer_that_is_still_suspended_at_the_limit_is_an_error(way: str, colour: Any) -> None:
    part = part_of_anthropic(1, text("One"))
    one = reply(json.dumps(part).encode()) if way == "invoke" else streamed_anthropic(part)
    server = served([one] * 3)
    model = claude(server, max_continuations=2, streaming=way == "streaming")
    with pytest.raises(IncompleteAnswer, match="max_continuations") as caught:
        (colour.stream if way == "stream" else colour.invoke)(model, "hi")
    assert caught.value.partial.text == "OneOneOne"
    assert len(server.requests) == 3


@pytest.mark.parametrize("options", [{"max_continuations": 0}, {"automatic_continuation": False}])
@pytest.mark.parametrize("place", ["model", "call"])
def test_the_part_is_returned_where_nothing_may_continue_it(
    options: JSON, place: str, colour: Any
) -> None:
    server = served([reply(json.dumps(part_of_gemini(1, {"text": "One"})).encode())])
    model = gemini(server, **(options if place == "model" else {}))
    answer = colour.invoke(model, "hi", **(options if place == "call" else {}))
    assert (answer.text, answer.response_metadata["continuation_token"]) == ("One", "token-1")
    assert "automaticContinuation" not in str(server.requests)
    assert "automatic_continuation" not in str(server.requests)


def test_a_part_without_a_token_is_no_answer(colour: Any) -> None:
    part = part_of_gemini(1, {"text": "One"})
    del part["candidates"][0]["continuationToken"]
    with pytest.raises(IncompleteAnswer) as caught:
        colour.invoke(gemini(served([reply(json.dumps(part).encode())])), "hi")
    assert caught.value.partial.text == "One"


def test_the_error_of_a_later_part_has_what_came_before(colour: Any) -> None:
    part = part_of_anthropic(1, text("One"))
    server = served([reply(json.dumps(part).encode()), reply(b"{}", status=500)])
    with pytest.raises(ServerError) as caught:
        colour.invoke(claude(server), "hi")
    assert caught.value.partial.text == "One"


def test_a_later_part_that_fails_before_its_first_chunk_is_sent_again(colour: Any) -> None:
    first, second = anthropic_parts("text, text")
    script = [streamed_anthropic(first), reply(b"{}", status=500), streamed_anthropic(second)]
    chunks = colour.stream(claude(served(script), max_retries=1), "hi")
    assert merge_chunks(chunks).text == "One two"


def test_a_stream_whose_later_part_fails_has_both_in_the_error(colour: Any) -> None:
    first, second = anthropic_parts("text, text")
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
    [data] = streamed_anthropic(second)
    cut = reply(
        data.partition(b"\r\n\r\n")[2].partition(b"event: message_delta")[0]
        + (b"event: error\ndata: " + json.dumps(error).encode() + b"\n\n"),
        kind="text/event-stream",
    )
    server = served([streamed_anthropic(first), cut])
    with pytest.raises(StreamInterrupted) as caught:
        colour.stream(claude(server), "hi")
    assert caught.value.partial.text == "One two"


def test_a_restart_of_a_later_part_keeps_the_parts_before_it(colour: Any) -> None:
    first, second = anthropic_parts("text, text and blocks")
    cut = [streamed_anthropic(second)[0][:-250], None]
    server = served([streamed_anthropic(first), cut, streamed_anthropic(second)])
    chunks = colour.stream(claude(server, max_retries=2, stream_restart="marker"), "hi")
    assert any("stream_restart" in chunk.response_metadata for chunk in chunks)
    answer = message_chunk_to_message(merge_chunks(chunks))
    assert (answer.text, len(answer.tool_calls)) == ("One two", 1)
    assert answer.usage_metadata["output_tokens"] == 3


def test_the_number_of_continuations_is_checked() -> None:
    with pytest.raises(InvalidArgument, match="max_continuations"):
        ChatAnthropic(model="claude-opus-4-5", api_key="k", max_continuations=-1)
