"""Types of the JSON of generateContent, as far as modelwire writes and reads it.

Source: https://ai.google.dev/api/generate-content, read 2026-11. Any key may be missing and then has its default.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from modelwire.aliases import JSON


class Blob(TypedDict, total=False):
    mimeType: str
    data: str  # base64


class FileData(TypedDict, total=False):
    mimeType: str
    fileUri: str  # a file of the Files API, `gs://` (Vertex), YouTube, https


class FunctionCall(TypedDict, total=False):
    name: str
    args: JSON
    id: str  # most models send none
    partialArgs: list[JSON]  # Vertex, which streams arguments on request
    willContinue: bool


class FunctionResponse(TypedDict, total=False):
    name: str
    response: JSON
    id: str
    parts: list[JSON]  # Gemini 3: images in a result


class Part(TypedDict, total=False):
    """A part of a content: one of the fields from `text` to `toolResponse`, and optional other fields."""

    text: str
    inlineData: Blob
    fileData: FileData
    functionCall: FunctionCall
    functionResponse: FunctionResponse
    executableCode: JSON
    codeExecutionResult: JSON
    toolCall: JSON
    toolResponse: JSON
    thought: bool  # True: `text` is a summary of thoughts, not the answer.
    thoughtSignature: str  # The next request must have it on the same part.
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
    store: bool  # True: the provider logs the call.
    continuationToken: str


class Candidate(TypedDict, total=False):
    content: Content
    finishReason: str
    finishMessage: str
    index: int  # Vertex omits it if there is only one candidate.
    safetyRatings: list[JSON]
    citationMetadata: JSON
    groundingMetadata: JSON
    urlContextMetadata: JSON
    avgLogprobs: float
    logprobsResult: JSON


class Usage(TypedDict, total=False):
    promptTokenCount: int  # includes cached tokens
    cachedContentTokenCount: int
    candidatesTokenCount: int  # excludes thoughts
    thoughtsTokenCount: int
    toolUsePromptTokenCount: int  # in neither of these counts
    totalTokenCount: int
    promptTokensDetails: list[JSON]  # by modality
    candidatesTokensDetails: list[JSON]


class Response(TypedDict, total=False):
    """An unstreamed answer, or an event of a stream."""

    candidates: list[Candidate]
    promptFeedback: JSON
    usageMetadata: Usage
    modelVersion: str
    responseId: str
    createTime: str  # Vertex
