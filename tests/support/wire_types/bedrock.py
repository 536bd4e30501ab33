"""Types of the JSON of Converse, as far as modelwire writes and reads it.

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
    type: str  # "server_tool_use": the service runs the tool.


class ToolResult(TypedDict, total=False):
    toolUseId: str
    content: list[JSON]  # text, json (an object), image, document, video, searchResult
    status: Literal["success", "error"]
    type: str  # only if the service ran the tool


class ReasoningContent(TypedDict, total=False):
    reasoningText: dict[str, str]  # text; signature, which the next request must have unchanged
    redactedContent: str


class Block(TypedDict, total=False):
    """A block of content, which has exactly one of these keys."""

    text: str  # never empty in a request
    image: JSON  # format, source (bytes or s3Location), as in the next three
    document: JSON  # also a name, in which few characters are allowed
    video: JSON
    audio: JSON
    toolUse: ToolUse
    toolResult: ToolResult
    reasoningContent: ReasoningContent
    citationsContent: JSON  # content (the parts of the answer's text), citations
    searchResult: JSON
    guardContent: JSON
    cachePoint: dict[str, str]  # the end of a cached prefix


class Turn(TypedDict, total=False):
    role: Literal["user", "assistant"]  # The roles alternate, beginning with the user.
    content: list[Block]


class RequestBody(TypedDict, total=False):
    """The body of a request. The URL has the model, and whether the answer is streamed."""

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
    inputTokens: int  # without tokens read from or written to the cache
    outputTokens: int  # includes reasoning
    totalTokens: int  # input and output
    cacheReadInputTokens: int
    cacheWriteInputTokens: int
    cacheDetails: list[JSON]  # tokens written to the cache, by ttl


class Response(TypedDict, total=False):
    """An unstreamed answer. It does not name its model, and its id is in the header `x-amzn-requestid`."""

    output: dict[str, Turn]  # message
    stopReason: str
    usage: Usage
    metrics: dict[str, int]  # latencyMs
    trace: JSON  # guardrail, if the request enabled its trace
    additionalModelResponseFields: Any
    performanceConfig: dict[str, str]
    serviceTier: dict[str, str]


class Delta(TypedDict, total=False):
    """A piece of a block in a stream, which has exactly one of these keys."""

    text: str
    toolUse: dict[str, str]  # input: a piece of JSON text
    reasoningContent: dict[str, str]  # text, signature or redactedContent
    citation: JSON
    toolResult: list[JSON]
    image: JSON


class Event(TypedDict, total=False):
    """The payload of a frame. Its `:event-type` decides which keys it has, besides the padding `p`."""

    role: str  # messageStart
    contentBlockIndex: int  # contentBlockStart, contentBlockDelta, contentBlockStop
    start: JSON  # tools and images; any other block begins with a delta
    delta: Delta
    stopReason: str  # messageStop; the usage follows it
    additionalModelResponseFields: Any
    usage: Usage  # metadata
    metrics: dict[str, int]
    trace: JSON
    performanceConfig: dict[str, str]
    serviceTier: dict[str, str]
