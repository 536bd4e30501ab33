"""Whatever a service or a caller gives: a value, or one of our errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire.adapters.wires.openai_chat.blocks_to_wire import to_wire
from modelwire.adapters.wires.openai_chat.codec import ChatCompletionsCodec
from modelwire.adapters.wires.openai_chat.tools import tool_params
from modelwire.errors import ChatError, InvalidArgument
from modelwire.messages import AIMessage, AIMessageChunk
from modelwire.transport.wire import Reply, ServerEvent

CODEC = ChatCompletionsCodec()

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 600)
    | st.floats()
    | st.sampled_from(["", "a", "null", "{}", '{"'])
)


def odd(depth: int = 3) -> st.SearchStrategy[Any]:
    """Any JSON, of a few levels."""
    if depth == 0:
        return SCALARS
    return (
        SCALARS
        | st.lists(odd(depth - 1), max_size=2)
        | st.dictionaries(st.sampled_from("ab"), odd(depth - 1))
    )


def either(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 5).flatmap(lambda n: usual if n else odd(1))


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A dict of some of the fields, each as it should be or not at all so."""
    return st.fixed_dictionaries(
        {}, optional={name: either(usual) for name, usual in fields.items()}
    )


TEXT = st.text(max_size=4)
FUNCTION = some(
    name=TEXT, arguments=st.sampled_from(["", "{}", '{"a":', "1}", "null", "[1]"]), input=TEXT
)
KIND = st.sampled_from(["function", "custom"])
CALL = some(index=st.integers(0, 2), id=TEXT, type=KIND, function=FUNCTION, custom=FUNCTION)
CALLS = st.lists(either(CALL), max_size=3)
MESSAGE = some(
    role=TEXT,
    content=TEXT
    | st.lists(
        either(some(type=st.sampled_from(["text", "thinking", "x"]), text=TEXT, thinking=TEXT))
    ),
    tool_calls=CALLS,
    refusal=TEXT,
    reasoning=TEXT,
    reasoning_content=TEXT,
    reasoning_details=st.lists(
        either(some(type=TEXT, text=TEXT, index=st.integers(0, 1))), max_size=3
    ),
    annotations=st.lists(odd(1), max_size=2),
)
USAGE = some(
    prompt_tokens=st.integers(),
    completion_tokens=st.integers(),
    total_tokens=st.integers(),
    prompt_tokens_details=some(cached_tokens=st.integers()),
    completion_tokens_details=some(reasoning_tokens=st.integers()),
)
CHOICE = st.fixed_dictionaries(
    {"message": MESSAGE, "delta": MESSAGE},
    optional={
        "index": st.sampled_from([0, 0, 0, 1, "0", None]),
        "finish_reason": either(st.sampled_from(["stop", ""])),
        "logprobs": either(some(content=st.lists(odd(1), max_size=2))),
    },
)
ANSWER = st.fixed_dictionaries(
    {"choices": st.lists(CHOICE, min_size=1, max_size=2) | either(st.lists(odd(1), max_size=2))},
    optional={
        "id": either(TEXT),
        "model": either(TEXT),
        "created": either(st.integers()),
        "usage": either(USAGE),
    },
)


@given(either(ANSWER))
def test_any_answer_is_a_message_or_a_chat_error(answer: Any) -> None:
    try:
        message = CODEC.decode(Reply(200, {}, json.dumps(answer).encode()))
    except ChatError:
        return
    assert AIMessage.model_validate(message.model_dump()) == message


@pytest.mark.long
@given(st.lists(st.tuples(st.sampled_from(["", "", "", "x", "error"]), ANSWER), max_size=4))
def test_any_stream_is_chunks_that_add_up_or_a_chat_error(events: list[tuple[str, Any]]) -> None:
    decoder = CODEC.stream_decoder()
    chunks: list[AIMessageChunk] = []
    try:
        for name, data in events:
            chunks += decoder.feed(ServerEvent(name, json.dumps(data).encode()))
        chunks += decoder.feed(ServerEvent("", b"[DONE]"))
        chunks += decoder.close()
    except ChatError:
        return
    for chunk in chunks:
        assert AIMessageChunk.model_validate(chunk.model_dump()) == chunk
    assert chunks[-1].chunk_position == "last"


KINDS = st.sampled_from(
    ["text", "image", "image_url", "audio", "input_audio", "file", "document", "tool_use", "x"]
)
SOURCE = some(
    type=st.sampled_from(["base64", "url", "file", "text"]),
    data=TEXT,
    url=TEXT,
    media_type=TEXT,
    file_id=TEXT,
)
BLOCK = some(
    type=KINDS,
    text=TEXT,
    source=SOURCE,
    url=TEXT,
    base64=TEXT,
    mime_type=TEXT,
    file_id=TEXT,
    image_url=some(url=TEXT) | TEXT,
    input_audio=some(data=TEXT),
    file=some(file_id=TEXT),
    source_type=st.sampled_from(["base64", "url", "id", "text"]),
    data=TEXT,
    extras=some(filename=TEXT, detail=TEXT),
)


@given(
    st.lists(either(BLOCK), max_size=2), st.sampled_from(["user", "assistant", "tool", "system"])
)
def test_any_blocks_are_parts_or_an_invalid_argument(blocks: list[Any], role: str) -> None:
    try:
        parts = to_wire(blocks, role=role, position=0)
    except InvalidArgument:
        return
    assert all(
        part["type"] in {"text", "refusal", "image_url", "input_audio", "file"} for part in parts
    )


TOOL = some(type=TEXT, name=TEXT, function=some(name=TEXT), input_schema=some(type=TEXT))
CHOICE_OF_TOOL = st.sampled_from(["auto", "any", "a"]) | some(
    type=st.sampled_from(["tool", "any", "x"]), name=TEXT
)


@given(either(st.lists(either(TOOL), max_size=2)), either(CHOICE_OF_TOOL))
def test_any_tools_are_said_or_an_invalid_argument(tools: Any, choice: Any) -> None:
    try:
        tool_params({"tools": tools, "tool_choice": choice})
    except InvalidArgument:
        pass
