"""Types of the JSON of Chat Completions, as far as modelwire writes and reads it.

A compatible service may omit any key, so all types are `total=False`. A comment names the services that have a key if
OpenAI does not have it. Source: https://platform.openai.com/docs/api-reference/chat, read 2026-11.
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
    """An item of the request's `messages`."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[JSON] | None  # parts: text, image_url, input_audio, file, refusal
    name: str
    tool_calls: list[ToolCall]  # in messages of the assistant
    tool_call_id: str  # in messages with a tool's result
    refusal: str
    audio: dict[str, str]  # the id of the audio of an earlier answer


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
    # temperature, top_p, stop, seed, n, logprobs ... are sent unchanged.


class CalledFunction(TypedDict, total=False):
    name: str
    arguments: str  # JSON text; a stream has pieces of it


class ToolCall(TypedDict, total=False):
    index: int  # in a stream: which call a piece belongs to
    id: str
    type: Literal["function", "custom"]
    function: CalledFunction
    custom: dict[str, str]  # name, input


class Message(TypedDict, total=False):
    """A choice's `message`, or the `delta` of a stream."""

    role: str
    content: str | list[JSON] | None  # a list of parts: Mistral, if the model thinks
    refusal: str | None
    annotations: list[JSON]
    audio: JSON
    tool_calls: list[ToolCall]
    reasoning_content: str  # DeepSeek, vLLM, xAI
    reasoning: str  # Groq, OpenRouter, Ollama
    reasoning_details: list[JSON]  # OpenRouter, which requires it unchanged in later requests


class Choice(TypedDict, total=False):
    index: int
    message: Message  # in an unstreamed answer
    delta: Message  # in a stream
    finish_reason: str | None  # stop, length, tool_calls, content_filter
    logprobs: JSON | None


class Usage(TypedDict, total=False):
    prompt_tokens: int  # includes tokens read from the cache
    completion_tokens: int  # includes reasoning
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
    error: JSON  # an error with status 200: OpenRouter
