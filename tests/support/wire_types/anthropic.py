"""Types of the JSON of the Messages API, as far as modelwire writes and reads it.

Source: https://docs.anthropic.com/en/api/messages and .../messages-streaming, read 2026-11. Any key may be missing.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from modelwire.aliases import JSON


class Block(TypedDict, total=False):
    """A block of content. Its `type` decides which keys it has."""

    type: str  # text, thinking, redacted_thinking, tool_use, tool_result, image, document, server_tool_use ...
    text: str
    citations: list[JSON] | None
    thinking: str
    signature: str  # thinking; later requests must repeat it unchanged
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
    # "system" is allowed for models of 2026.
    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class Tool(TypedDict, total=False):
    name: str
    description: str
    input_schema: JSON
    strict: bool
    type: str  # the type of one of Anthropic's own tools, with a date


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
    input_tokens: int  # without tokens read from or written to the cache
    output_tokens: int  # includes thinking
    cache_read_input_tokens: int
    cache_creation_input_tokens: int
    cache_creation: dict[str, int]  # tokens written to the cache by lifetime
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
    stop_reason: str | None  # message_delta
    stop_sequence: str | None


class Event(TypedDict, total=False):
    """An event of a stream; `message_stop` ends it."""

    type: str  # message_start, content_block_start, _delta, _stop, message_delta, message_stop, ping, error
    message: Message
    index: int  # the number of the block
    content_block: Block
    delta: Delta
    usage: Usage  # message_delta: running totals
    error: dict[str, str]
