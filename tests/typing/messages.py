"""What type checkers make of messages. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import Any, assert_type

from modelwire.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    ChatMessageChunk,
    FunctionMessage,
    FunctionMessageChunk,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk,
    convert_to_messages,
    convert_to_openai_messages,
    count_tokens_approximately,
    filter_messages,
    get_buffer_string,
    merge_message_runs,
    message_chunk_to_message,
    trim_messages,
)
from modelwire.runnables import Runnable

# Content is positional in every class, the rest are keywords.
assert_type(HumanMessage("x"), HumanMessage)
assert_type(HumanMessage("x", name="n", id="1"), HumanMessage)
assert_type(HumanMessage([{"type": "text", "text": "x"}, "y"]), HumanMessage)
assert_type(HumanMessage(content_blocks=[{"type": "text", "text": "x"}]), HumanMessage)
assert_type(HumanMessage(content="x"), HumanMessage)
assert_type(SystemMessage("x"), SystemMessage)
assert_type(AIMessage("x", tool_calls=[{"name": "f", "args": {}, "id": "1"}]), AIMessage)
assert_type(ToolMessage("x", tool_call_id="1", artifact=[1]), ToolMessage)
assert_type(ChatMessage("x", role="r"), ChatMessage)
assert_type(FunctionMessage("x", name="f"), FunctionMessage)
assert_type(RemoveMessage("1"), RemoveMessage)
assert_type(RemoveMessage(id="1"), RemoveMessage)

assert_type(HumanMessageChunk("x"), HumanMessageChunk)
assert_type(SystemMessageChunk("x"), SystemMessageChunk)
assert_type(AIMessageChunk("x"), AIMessageChunk)
assert_type(ToolMessageChunk("x", tool_call_id="1"), ToolMessageChunk)
assert_type(ChatMessageChunk("x", role="r"), ChatMessageChunk)
assert_type(FunctionMessageChunk("x", name="f"), FunctionMessageChunk)
assert_type(AIMessageChunk("x") + AIMessageChunk("y"), AIMessageChunk)

photo: list[dict[str, str]] = [{"type": "image", "url": "u"}]
assert_type(HumanMessage(photo), HumanMessage)

# What a message cannot do without is asked for.
ToolMessage("x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
ChatMessage("x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
FunctionMessage("x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
HumanMessage(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

history = convert_to_messages(["hi", ("ai", "hello"), {"role": "user", "content": "x"}])
assert_type(history, list[BaseMessage])
assert_type(message_chunk_to_message(AIMessageChunk("x")), BaseMessage)
assert_type(get_buffer_string(history), str)
assert_type(count_tokens_approximately(history), int)
assert_type(convert_to_openai_messages(history), dict[str, Any] | list[dict[str, Any]])

# The tools of a history: on messages a list, without them a step of a chain.
assert_type(filter_messages(history, include_types="human"), list[BaseMessage])
assert_type(filter_messages(include_types=[HumanMessage]), Runnable[Any, list[BaseMessage]])
assert_type(merge_message_runs(history), list[BaseMessage])
assert_type(merge_message_runs(chunk_separator=" "), Runnable[Any, list[BaseMessage]])
assert_type(trim_messages(history, max_tokens=9, token_counter="approximate"), list[BaseMessage])
assert_type(trim_messages(max_tokens=9, token_counter=len), Runnable[Any, list[BaseMessage]])
