"""The JSON of Chat Completions, as far as we write and read it. For type checkers and readers; never imported to run.

Every key may be missing in what a compatible service sends: that is why all are `total=False`. What only some services
have is marked with the service. Source: https://platform.openai.com/docs/api-reference/chat, read 2026-11.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from modelwire.aliases import JSON


class Function(TypedDict, total=False):
    name: str
    description: str
    parameters: JSON  # a JSON schema
    strict: bool


class Tool(TypedDict, total=False):
    type: str  # "function", "custom", or a service's own
    function: Function
    custom: JSON  # name, description, format


class NamedTool(TypedDict, total=False):
    type: str
    function: dict[str, str]
    custom: dict[str, str]


ToolChoice = Literal["auto", "none", "required"] | NamedTool


class Turn(TypedDict, total=False):
    """One of the request's `messages`."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[JSON] | None  # parts: text, image_url, input_audio, file, refusal
    name: str
    tool_calls: list[ToolCall]  # of the assistant
    tool_call_id: str  # of a tool's answer
    refusal: str
    audio: dict[str, str]  # the id of an earlier answer's


class RequestBody(TypedDict, total=False):
    model: str
    messages: list[Turn]
    tools: list[Tool]
    tool_choice: ToolChoice
    parallel_tool_calls: bool
    response_format: JSON  # {"type": "json_schema", "json_schema": {name, schema, strict}}
    max_completion_tokens: int  # `max_tokens` with most services
    reasoning_effort: str
    stream: bool
    stream_options: dict[str, bool]  # include_usage
    # temperature, top_p, stop, seed, n, logprobs ... go out as they are set


class CalledFunction(TypedDict, total=False):
    name: str
    arguments: str  # JSON text, in pieces in a stream


class ToolCall(TypedDict, total=False):
    index: int  # in a stream: which call a piece belongs to
    id: str
    type: Literal["function", "custom"]
    function: CalledFunction
    custom: dict[str, str]  # name, input


class Message(TypedDict, total=False):
    """A choice's `message`, or the `delta` of a stream."""

    role: str
    content: str | list[JSON] | None  # a list of parts: Mistral, where the model thinks
    refusal: str | None
    annotations: list[JSON]
    audio: JSON
    tool_calls: list[ToolCall]
    reasoning_content: str  # DeepSeek, vLLM, xAI
    reasoning: str  # Groq, OpenRouter, Ollama
    reasoning_details: list[JSON]  # OpenRouter: goes back as it came


class Choice(TypedDict, total=False):
    index: int
    message: Message  # whole
    delta: Message  # streamed
    finish_reason: str | None  # stop, length, tool_calls, content_filter
    logprobs: JSON | None


class Usage(TypedDict, total=False):
    prompt_tokens: int  # those from the cache are in it
    completion_tokens: int  # reasoning is in it
    total_tokens: int
    prompt_tokens_details: dict[str, int]  # cached_tokens, audio_tokens
    completion_tokens_details: dict[str, int]  # reasoning_tokens, audio_tokens


class Completion(TypedDict, total=False):
    """An answer, or a chunk of one; `data: [DONE]` ends a stream."""

    id: str
    object: Literal["chat.completion", "chat.completion.chunk"]
    created: int
    model: str
    choices: list[Choice]  # empty in the last chunk, which has `usage`
    usage: Usage | None
    service_tier: str
    system_fingerprint: str
    error: JSON  # an error under a 200: OpenRouter
