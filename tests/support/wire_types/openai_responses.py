"""Types of the JSON of the Responses API, as far as modelwire writes and reads it.

Source: https://platform.openai.com/docs/api-reference/responses, read 2026-11. Any key may be missing.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from modelwire.aliases import JSON


class Item(TypedDict, total=False):
    """An entry of the request's `input` or of the answer's `output`. Its `type` decides which keys it has."""

    type: str  # message, reasoning, function_call, function_call_output, custom_tool_call, web_search_call ...
    id: str
    status: str
    role: str  # message
    content: list[Part]  # message, reasoning
    summary: list[Part]  # reasoning
    encrypted_content: str  # reasoning, if the provider does not store it
    call_id: str  # function_call, custom_tool_call and their outputs
    name: str  # function_call, custom_tool_call
    arguments: str  # function_call: JSON text
    input: str  # custom_tool_call
    output: str | list[Part]  # *_call_output


class Part(TypedDict, total=False):
    """A part of a message's content, or of reasoning."""

    type: str  # input_text, input_image, input_file, output_text, refusal, summary_text, reasoning_text
    text: str
    refusal: str
    annotations: list[JSON]
    logprobs: list[JSON]


class RequestBody(TypedDict, total=False):
    model: str
    input: list[Item]
    tools: list[JSON]  # flat: {"type": "function", "name", "description", "parameters", "strict"}
    tool_choice: str | JSON
    text: JSON  # format (a JSON schema for the answer), verbosity
    reasoning: JSON  # effort, summary
    include: list[str]
    max_output_tokens: int
    previous_response_id: str
    store: bool
    stream: bool


class Usage(TypedDict, total=False):
    input_tokens: int  # includes tokens read from the cache
    output_tokens: int  # includes reasoning
    total_tokens: int
    input_tokens_details: dict[str, int]
    output_tokens_details: dict[str, int]


class Response(TypedDict, total=False):
    id: str
    object: Literal["response"]
    status: str  # completed, incomplete, failed, queued, in_progress, cancelled
    incomplete_details: dict[str, str] | None  # reason
    error: JSON | None
    model: str
    output: list[Item]
    usage: Usage | None


class Event(TypedDict, total=False):
    """An event of a stream: `response.created` first, `response.completed`, `.incomplete` or `.failed` last."""

    type: str
    sequence_number: int
    response: Response  # in the first and the last event
    output_index: int  # the number of the item
    item_id: str
    item: Item  # response.output_item.added, .done
    content_index: int  # the number of the part in the item
    summary_index: int
    delta: str  # response.output_text.delta and its like
    annotation: JSON
