"""The JSON of generateContent, as far as we write and read it. For type checkers and readers; never imported to run.

Source: https://ai.google.dev/api/generate-content, read 2026-11. Any key may be missing: absent is the default.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from modelwire.aliases import JSON


class Blob(TypedDict, total=False):
    mimeType: str
    data: str  # base64


class FileData(TypedDict, total=False):
    mimeType: str
    fileUri: str  # of the Files API, `gs://` (Vertex), YouTube, https


class FunctionCall(TypedDict, total=False):
    name: str
    args: JSON
    id: str  # most models give none
    partialArgs: list[JSON]  # Vertex, where arguments are streamed on request
    willContinue: bool


class FunctionResponse(TypedDict, total=False):
    name: str
    response: JSON
    id: str
    parts: list[JSON]  # Gemini 3: images of a result


class Part(TypedDict, total=False):
    """One of `text` to `toolResponse`, with its optional companions."""

    text: str
    inlineData: Blob
    fileData: FileData
    functionCall: FunctionCall
    functionResponse: FunctionResponse
    executableCode: JSON
    codeExecutionResult: JSON
    toolCall: JSON
    toolResponse: JSON
    thought: bool  # of a text: a summary of thoughts, not the answer
    thoughtSignature: str  # goes back on this very part
    videoMetadata: JSON
    mediaResolution: JSON
    mediaProcessing: str
    documentMetadata: JSON
    spreadsheetMetadata: JSON
    speechMetadata: JSON
    audioTranscription: JSON
    partMetadata: JSON


class Content(TypedDict, total=False):
    role: Literal["user", "model"]
    parts: list[Part]


class RequestBody(TypedDict, total=False):
    contents: list[Content]  # required
    systemInstruction: Content
    tools: list[JSON]
    toolConfig: JSON
    safetySettings: list[dict[str, str]]
    generationConfig: JSON
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
    safetyRatings: list[JSON]
    citationMetadata: JSON
    groundingMetadata: JSON
    urlContextMetadata: JSON
    avgLogprobs: float
    logprobsResult: JSON


class Usage(TypedDict, total=False):
    promptTokenCount: int  # with the cached ones
    cachedContentTokenCount: int
    candidatesTokenCount: int  # without the thoughts
    thoughtsTokenCount: int
    toolUsePromptTokenCount: int  # in neither
    totalTokenCount: int
    promptTokensDetails: list[JSON]  # by modality
    candidatesTokensDetails: list[JSON]


class Response(TypedDict, total=False):
    """A whole answer, and each event of a stream."""

    candidates: list[Candidate]
    promptFeedback: JSON
    usageMetadata: Usage
    modelVersion: str
    responseId: str
    createTime: str  # Vertex
