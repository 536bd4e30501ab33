"""The JSON of generateContent, as far as we write and read it. For type checkers and readers; never imported to run.

Source: https://ai.google.dev/api/generate-content, read 2026-11. Any key may be missing: absent is the default.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict


class Blob(TypedDict, total=False):
    mimeType: str
    data: str  # base64


class FileData(TypedDict, total=False):
    mimeType: str
    fileUri: str  # of the Files API, `gs://` (Vertex), YouTube, https


class FunctionCall(TypedDict, total=False):
    name: str
    args: dict[str, Any]
    id: str  # most models give none
    partialArgs: list[dict[str, Any]]  # Vertex, where arguments are streamed on request
    willContinue: bool


class FunctionResponse(TypedDict, total=False):
    name: str
    response: dict[str, Any]
    id: str
    parts: list[dict[str, Any]]  # Gemini 3: images of a result


class Part(TypedDict, total=False):
    """One of `text` to `toolResponse`, with its optional companions."""

    text: str
    inlineData: Blob
    fileData: FileData
    functionCall: FunctionCall
    functionResponse: FunctionResponse
    executableCode: dict[str, Any]
    codeExecutionResult: dict[str, Any]
    toolCall: dict[str, Any]
    toolResponse: dict[str, Any]
    thought: bool  # of a text: a summary of thoughts, not the answer
    thoughtSignature: str  # goes back on this very part
    videoMetadata: dict[str, Any]
    mediaResolution: dict[str, Any]
    mediaProcessing: str
    documentMetadata: dict[str, Any]
    spreadsheetMetadata: dict[str, Any]
    speechMetadata: dict[str, Any]
    audioTranscription: dict[str, Any]
    partMetadata: dict[str, Any]


class Content(TypedDict, total=False):
    role: Literal["user", "model"]
    parts: list[Part]


class RequestBody(TypedDict, total=False):
    contents: list[Content]  # required
    systemInstruction: Content
    tools: list[dict[str, Any]]
    toolConfig: dict[str, Any]
    safetySettings: list[dict[str, str]]
    generationConfig: dict[str, Any]
    cachedContent: str
    labels: dict[str, str]  # Vertex
    serviceTier: str
    store: bool  # whether the call is logged
    continuationToken: str


class Candidate(TypedDict, total=False):
    content: Content
    finishReason: str
    finishMessage: str
    index: int  # not from Vertex, where there is one
    safetyRatings: list[dict[str, Any]]
    citationMetadata: dict[str, Any]
    groundingMetadata: dict[str, Any]
    urlContextMetadata: dict[str, Any]
    avgLogprobs: float
    logprobsResult: dict[str, Any]


class Usage(TypedDict, total=False):
    promptTokenCount: int  # with the cached ones
    cachedContentTokenCount: int
    candidatesTokenCount: int  # without the thoughts
    thoughtsTokenCount: int
    toolUsePromptTokenCount: int  # in neither
    totalTokenCount: int
    promptTokensDetails: list[dict[str, Any]]  # by modality
    candidatesTokensDetails: list[dict[str, Any]]


class Response(TypedDict, total=False):
    """A whole answer, and each event of a stream."""

    candidates: list[Candidate]
    promptFeedback: dict[str, Any]
    usageMetadata: Usage
    modelVersion: str
    responseId: str
    createTime: str  # Vertex
