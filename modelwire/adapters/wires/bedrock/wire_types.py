"""The JSON of Converse, as far as we write and read it. For type checkers and readers; never imported to run.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html and .../ConverseStream, read
2026-11. Any key may be missing; bytes are base64.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from modelwire.aliases import JSON


class ToolUse(TypedDict, total=False):
    toolUseId: str
    name: str
    input: JSON
    type: str  # "server_tool_use": the service runs it itself


class ToolResult(TypedDict, total=False):
    toolUseId: str
    content: list[JSON]  # text, json (an object), image, document, video, searchResult
    status: Literal["success", "error"]
    type: str  # of a tool that the service ran


class ReasoningContent(TypedDict, total=False):
    reasoningText: dict[str, str]  # text; signature, which goes back unchanged
    redactedContent: str


class Block(TypedDict, total=False):
    """Exactly one of these."""

    text: str  # never empty in a request
    image: JSON  # format, source: bytes or s3Location; the same of the next three
    document: JSON  # also its name, which has few characters to choose from
    video: JSON
    audio: JSON
    toolUse: ToolUse
    toolResult: ToolResult
    reasoningContent: ReasoningContent
    citationsContent: JSON  # content: parts of text, which are the answer's; citations
    searchResult: JSON
    guardContent: JSON
    cachePoint: dict[str, str]  # the end of what is to be cached


class Turn(TypedDict, total=False):
    role: Literal["user", "assistant"]  # in turns, the user first
    content: list[Block]


class RequestBody(TypedDict, total=False):
    """The model is in the address, and so is whether it is a stream."""

    messages: list[Turn]
    system: list[JSON]  # text, cachePoint, guardContent
    inferenceConfig: JSON  # maxTokens, temperature, topP, stopSequences
    toolConfig: JSON  # tools: toolSpec, systemTool, cachePoint; toolChoice: auto, any, tool
    outputConfig: JSON  # textFormat: a JSON schema, as a text
    guardrailConfig: JSON
    additionalModelRequestFields: JSON  # the model's own parameters
    additionalModelResponseFieldPaths: list[str]
    performanceConfig: dict[str, str]
    serviceTier: dict[str, str]
    promptVariables: dict[str, dict[str, str]]
    requestMetadata: dict[str, str]


class Usage(TypedDict, total=False):
    inputTokens: int  # without what the cache read and wrote
    outputTokens: int  # with the reasoning
    totalTokens: int  # with both
    cacheReadInputTokens: int
    cacheWriteInputTokens: int
    cacheDetails: list[JSON]  # what it wrote, by ttl


class Response(TypedDict, total=False):
    """It names neither itself nor its model: the id is the header `x-amzn-requestid`."""

    output: dict[str, Turn]  # message
    stopReason: str
    usage: Usage
    metrics: dict[str, int]  # latencyMs
    trace: JSON  # guardrail, where it was asked for
    additionalModelResponseFields: Any
    performanceConfig: dict[str, str]
    serviceTier: dict[str, str]


class Delta(TypedDict, total=False):
    """Exactly one of these."""

    text: str
    toolUse: dict[str, str]  # input: a piece of JSON text
    reasoningContent: dict[str, str]  # text, signature or redactedContent
    citation: JSON
    toolResult: list[JSON]
    image: JSON


class Event(TypedDict, total=False):
    """The payload of a frame; which keys it has depends on its `:event-type`. Beside them `p`, which is padding."""

    role: str  # messageStart
    contentBlockIndex: int  # contentBlockStart, contentBlockDelta, contentBlockStop
    start: JSON  # only of tools and images: other blocks begin with a delta
    delta: Delta
    stopReason: str  # messageStop; usage comes after it
    additionalModelResponseFields: Any
    usage: Usage  # metadata
    metrics: dict[str, int]
    trace: JSON
    performanceConfig: dict[str, str]
    serviceTier: dict[str, str]
