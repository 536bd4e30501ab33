"""Recorded answers of Anthropic's, streamed as whole, and histories; `tests/corpus` has how they are read."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest
from support.recordings import chunks_of, decoded, records, reply_of

from modelwire.adapters.wires.anthropic.codec import MessagesCodec
from modelwire.adapters.wires.wire import ChatCall, Endpoint
from modelwire.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    merge_chunks,
)
from modelwire.messages.block_translators.v1 import V1Stream, as_v1
from modelwire.transport.wire import Reply

CODEC = MessagesCodec()
ENDPOINT = "anthropic_messages"


def without_index(content: Any) -> Any:
    return (
        content
        if isinstance(content, str)
        else [{k: v for k, v in b.items() if k != "index"} for b in content]
    )


def accumulated(body: bytes) -> dict[str, Any]:
    """Let the SDK put a recorded stream together, as the JSON of an unstreamed answer."""
    import anthropic
    import httpx2

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    with (
        warnings.catch_warnings(action="ignore"),  # its serialiser about blocks it does not know
        httpx2.Client(transport=httpx2.MockTransport(answer)) as http_client,
        anthropic.Anthropic(api_key="none", max_retries=0, http_client=http_client) as client,
        client.messages.stream(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "x"}]
        ) as stream,
    ):
        return json.loads(stream.get_final_message().to_json())


def test_the_sum_of_every_recorded_stream_is_the_unstreamed_message() -> None:
    wrong, compared = {}, 0
    for record in records(ENDPOINT):
        if not record["stream"] or record["status"] != 200:
            continue
        body = reply_of(record).body
        whole_json = accumulated(body)
        if any(
            block["type"] == "compaction" or block["type"] == "fallback"
            for block in whole_json["content"]
        ):
            continue  # the SDK's stable accumulator does not know them
        compared += 1
        whole = CODEC.decode(Reply(200, {}, json.dumps(whole_json).encode()))
        total = merge_chunks(list(chunks_of(CODEC, body)))
        if (without_index(total.content), total.tool_calls) != (
            without_index(whole.content),
            whole.tool_calls,
        ):
            wrong[record["id"]] = (without_index(total.content), whole.content)
    assert not wrong, f"{len(wrong)}: {str(wrong)[:3000]}"
    assert compared > 40


# ---------------------------------------------------------------- the histories they were asked with


def history_of(body: dict[str, Any]) -> list[BaseMessage]:
    """Say a recorded request in our messages."""
    messages: list[BaseMessage] = []
    if system := body.get("system"):
        messages.append(SystemMessage(content=system))
    for turn in body["messages"]:
        content = turn["content"]
        if turn["role"] == "assistant":
            uses = (
                []
                if isinstance(content, str)
                else [block for block in content if block["type"] == "tool_use"]
            )
            calls = [
                {"name": use["name"], "args": use["input"], "id": use["id"], "type": "tool_call"}
                for use in uses
            ]
            messages.append(AIMessage(content=content, tool_calls=calls))
        elif turn["role"] == "system":
            messages.append(SystemMessage(content=content))
        elif isinstance(content, str):
            messages.append(HumanMessage(content=content))
        else:
            for block in content:
                if block["type"] == "tool_result":
                    status = "error" if block.get("is_error") else "success"
                    said = block.get("content") or ""
                    messages.append(
                        ToolMessage(content=said, tool_call_id=block["tool_use_id"], status=status)
                    )
                else:
                    messages.append(HumanMessage(content=[block]))
    return messages


def turns_of(body: dict[str, Any]) -> list[Any]:
    """Return the recorded turns in the one form of several that mean the same."""
    turns: list[Any] = []
    for turn in body["messages"]:
        content = turn["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        blocks = [plain(block) for block in blocks]
        if turns and turns[-1][0] == turn["role"]:
            turns[-1][1].extend(blocks)
        else:
            turns.append((turn["role"], blocks))
    return turns


def plain(block: dict[str, Any]) -> dict[str, Any]:
    block = {
        key: value
        for key, value in block.items()
        if value is not None and (key, value) != ("is_error", False)
    }
    if block["type"] == "tool_result":
        block.pop("cache_control", None)  # a `ToolMessage` has no place for it
        if isinstance(block.get("content"), str):
            block["content"] = [{"type": "text", "text": block["content"]}]
        if not any(part.get("text", "x") for part in block.get("content", [])):
            block.pop("content", None)
    if "citations" in block and isinstance(block["citations"], list):
        block["citations"] = [
            {k: v for k, v in c.items() if k != "file_id"} for c in block["citations"]
        ]
    return block


def call_of(body: dict[str, Any], codec: Any = CODEC) -> dict[str, Any]:
    params = {
        name: value
        for name, value in body.items()
        if name not in ("model", "messages", "system", "stream")
    }
    call = ChatCall(
        messages=history_of(body),
        model=body["model"],
        endpoint=Endpoint("https://api.anthropic.com"),
        params=params,
        stream=bool(body.get("stream")),
    )
    return dict(codec.encode(call).body)


def has_unique_call_ids(body: dict[str, Any]) -> bool:
    blocks = [block for _, blocks in turns_of(body) for block in blocks]
    ids = [block["id"] for block in blocks if block["type"] == "tool_use"]
    return len(ids) == len(set(ids))


def test_every_recorded_request_is_encoded_as_it_was_sent() -> None:
    wrong, repeated = {}, 0
    for record in records(ENDPOINT):
        body = record["request_body"]
        ours = call_of(body)
        rest = {name: value for name, value in ours.items() if name not in ("messages", "stream")}
        sent = {name: value for name, value in body.items() if name not in ("messages", "stream")}
        if "output_format" in sent:  # its name in 2025
            sent["output_config"] = {"format": sent.pop("output_format")}
        if rest != {name: value for name, value in sent.items() if value != []}:
            wrong[record["id"]] = {
                n: (rest.get(n), sent.get(n)) for n in rest | sent if rest.get(n) != sent.get(n)
            }
        elif not has_unique_call_ids(body):
            repeated += 1  # each call gets an id of its own (`test_history.py`)
        elif turns_of(ours) != turns_of(body):
            wrong[record["id"]] = [
                pair
                for pair in zip(turns_of(ours), turns_of(body), strict=False)
                if pair[0] != pair[1]
            ]
    assert not wrong, f"{len(wrong)} of {len(list(records(ENDPOINT)))}: {str(wrong)[:3000]}"
    assert repeated <= 1


ONLY_HERE = {
    "container_upload",
    "document",
    "tool_addition",
    "tool_removal",
    "image",
    "tool_reference",
    "search_result",
}


def types_in(value: Any) -> set[str]:
    if isinstance(value, list):
        return {kind for item in value for kind in types_in(item)}
    if isinstance(value, dict):
        nested = {kind for item in value.values() for kind in types_in(item)}
        return nested | ({value["type"]} if isinstance(value.get("type"), str) else set())
    return set()


def test_every_recorded_history_can_be_said_on_the_other_wire() -> None:
    other = pytest.importorskip("modelwire.adapters.wires.openai_chat.codec")
    codec = other.ChatCompletionsCodec()
    said = 0
    for record in records(ENDPOINT):
        body = record["request_body"]
        if ONLY_HERE & types_in(body["messages"]):
            continue
        call = ChatCall(
            messages=history_of(body), model="m", endpoint=Endpoint("https://api.openai.com/v1")
        )
        assert codec.encode(call).body["messages"]
        said += 1
    assert said > 150


def said_again(answer: AIMessage) -> list[dict[str, Any]]:
    call = ChatCall(
        [HumanMessage("a"), answer, HumanMessage("b")], "m", Endpoint("https://api.anthropic.com")
    )
    content = CODEC.encode(call).body["messages"][1]["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def as_came(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the blocks of a whole recorded answer: neighbouring plain texts at its head joined, blank ones gone."""
    blocks: list[dict[str, Any]] = []
    for block in map(plain, json.loads(record["response_body_text"])["content"]):
        if block["type"] == "text" and all(
            b["type"] == "text" and "citations" not in b for b in [*blocks, block]
        ):
            blocks = [{"type": "text", "text": "".join(b["text"] for b in [*blocks, block])}]
        elif block["type"] != "text" or block["text"].strip():
            blocks.append(block)
    return blocks


def test_every_recorded_answer_returns_in_the_next_turn_as_it_came() -> None:
    """Also in standard blocks, from a stream or whole."""
    wrong, compared = {}, 0
    for record in records(ENDPOINT, failed=False):
        if record["stream"]:
            chunks, version = list(chunks_of(CODEC, reply_of(record).body)), V1Stream()
            answer: AIMessage = merge_chunks(chunks)
            standard: AIMessage = merge_chunks([version.convert(chunk) for chunk in chunks])
        else:
            answer = decoded(CODEC, record)
            standard = as_v1(answer)
        if not any(
            getattr(b, "get", str(b).strip().startswith)("type") for b in answer.content_blocks
        ):
            continue  # an answer that says nothing
        once = [plain(block) for block in said_again(answer)]
        again = [plain(block) for block in said_again(standard)]
        came = once if record["stream"] else as_came(record)
        if not once == again == came:
            wrong[record["id"]] = [
                pair
                for pair in zip(came, once, again, strict=False)
                if len(set(map(str, pair))) > 1
            ]
        compared += 1
    assert compared > 200
    assert not wrong, f"{len(wrong)} of {compared}: {str(wrong)[:3000]}"
