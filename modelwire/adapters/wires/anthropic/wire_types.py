"""The JSON of the Messages API, as far as we write and read it. For type checkers and readers; never imported to run.

Source: https://docs.anthropic.com/en/api/messages and .../messages-streaming, read 2026-11. Any key may be missing.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from modelwire.aliases import JSON


class Block(TypedDict, total=False):
    """A block of content; which keys it has depends on its `type`."""

    type: str  # text, thinking, redacted_thinking, tool_use, tool_result, image, document, server_tool_use ...
    text: str
    citations: list[JSON] | None
    thinking: str
    signature: str  # of thinking: goes back unchanged
    data: str  # redacted_thinking
    id: str  # tool_use
    name: str
    input: JSON
    tool_use_id: str  # tool_result
    content: str | list[Block]
    is_error: bool
    source: JSON  # image, document: base64, url, file
    cache_control: dict[str, str]


class Turn(TypedDict, total=False):
    role: Literal[
        "user", "assistant", "system"
    ]  # "system" in the midst of a history: models of 2026
    content: str | list[Block]


class Tool(TypedDict, total=False):
    name: str
    description: str
    input_schema: JSON
    strict: bool
    type: str  # of Anthropic's own tools, with a date


class ToolChoice(TypedDict, total=False):
    type: Literal["auto", "any", "tool", "none"]
    name: str
    disable_parallel_tool_use: bool


class OutputFormat(TypedDict):
    type: Literal["json_schema"]
    schema: JSON


class RequestBody(TypedDict, total=False):
    model: str
    messages: list[Turn]
    max_tokens: int  # required
    system: str | list[Block]
    stop_sequences: list[str]
    tools: list[Tool]
    tool_choice: ToolChoice
    thinking: JSON
    output_config: JSON  # effort, format
    stream: bool


class Usage(TypedDict, total=False):
    input_tokens: int  # without those of the cache
    output_tokens: int  # thinking is in it
    cache_read_input_tokens: int
    cache_creation_input_tokens: int
    cache_creation: dict[str, int]  # by time to live
    output_tokens_details: dict[str, int]


class Message(TypedDict, total=False):
    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[Block]
    stop_reason: str | None  # end_turn, max_tokens, stop_sequence, tool_use, pause_turn, refusal
    stop_sequence: str | None
    usage: Usage


class Delta(TypedDict, total=False):
    type: str  # text_delta, thinking_delta, signature_delta, input_json_delta, citations_delta
    text: str
    thinking: str
    signature: str
    partial_json: str
    citation: JSON
    stop_reason: str | None  # of message_delta
    stop_sequence: str | None


class Event(TypedDict, total=False):
    """An event of a stream; `message_stop` ends it."""

    type: str  # message_start, content_block_start, _delta, _stop, message_delta, message_stop, ping, error
    message: Message
    index: int  # which block
    content_block: Block
    delta: Delta
    usage: Usage  # of message_delta: running totals
    error: dict[str, str]
