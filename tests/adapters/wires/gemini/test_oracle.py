"""Google's own SDK sends the same bodies for the same conversations."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from modelwire.adapters import ChatGoogleGenerativeAI
from modelwire.errors import ParameterWarning
from modelwire.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

genai = pytest.importorskip("google.genai")
types = genai.types

ANSWER = {"candidates": [{"content": {"parts": [{"text": "ok"}]}, "finishReason": "STOP"}]}
PNG = b"\x89PNG\r\n"


def sent_by_sdk(
    contents: Any, *, vertex: bool = False, model: str = "gemini-2.5-flash", **config: Any
) -> Any:
    """Return path, query and body of the SDK's request."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=ANSWER)

    options = types.HttpOptions(
        api_version="v1beta1" if vertex else "v1beta",
        httpx_client=httpx.Client(transport=httpx.MockTransport(answer)),
    )
    client = genai.Client(api_key="k", vertexai=vertex, http_options=options)
    client.models.generate_content(
        model=model,
        contents=contents,
        config=types.GenerateContentConfig(**config) if config else None,
    )
    (request,) = seen
    assert request.headers["x-goog-api-key"] == "k"
    return request.url.path, json.loads(request.content)


def sent_by_us(
    messages: Any, *, vertex: bool = False, model: str = "gemini-2.5-flash", **settings: Any
) -> Any:
    ours = ChatGoogleGenerativeAI(model=model, api_key="k", vertexai=vertex, **settings)
    request = ours.build_request(messages)
    assert request.headers["x-goog-api-key"] == "k"
    return "/" + request.url.split("/", 3)[3], json.loads(json.dumps(dict(request.body)))


def text(role: str, words: str) -> Any:
    return types.Content(role=role, parts=[types.Part(text=words)])


def call(
    name: str, args: dict[str, Any], id: str | None = None, signature: bytes | None = None
) -> Any:
    function = types.FunctionCall(name=name, args=args, id=id)
    return types.Part(function_call=function, thought_signature=signature)


def result(name: str, response: dict[str, Any], id: str | None = None) -> Any:
    return types.Part(function_response=types.FunctionResponse(name=name, response=response, id=id))


def plain(body: Any) -> Any:
    """Write in one way what the API takes in two, and leave out what says nothing.

    The SDK has some keys in snake_case, an empty `generationConfig`, and a role of the system instruction.
    """
    body = in_camel_case(body)
    body.get("systemInstruction", {}).pop("role", None)
    return {key: value for key, value in body.items() if value != {}}


def in_camel_case(value: Any) -> Any:
    if isinstance(value, list):
        return [in_camel_case(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        re.sub(r"_([a-z])", lambda m: m[1].upper(), key): in_camel_case(item)
        for key, item in value.items()
    }


CALL = {"name": "f", "args": {"a": 1}, "id": "c1", "type": "tool_call"}
SECOND = {"name": "g", "args": {}, "id": "c2", "type": "tool_call"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
TOOL = {"type": "function", "function": {"name": "f", "description": "An f.", "parameters": SCHEMA}}
DECLARED = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(name="f", description="An f.", parameters_json_schema=SCHEMA)
    ]
)


class Person(BaseModel):
    name: str


def mode(name: str, *names: str) -> Any:
    allowed = {"allowed_function_names": list(names)} if names else {}
    return types.ToolConfig(
        function_calling_config=types.FunctionCallingConfig(mode=name, **allowed)
    )


# What both are given: messages and settings of ours; contents and config of the SDK's.
CASES: dict[str, tuple[Any, dict[str, Any], Any, dict[str, Any]]] = {
    "text": ("hi", {}, [text("user", "hi")], {}),
    "system and history": (
        [SystemMessage("s"), HumanMessage("a"), AIMessage("b"), HumanMessage("c")],
        {},
        [text("user", "a"), text("model", "b"), text("user", "c")],
        {"system_instruction": types.Content(parts=[types.Part(text="s")])},
    ),
    "sampling": (
        "hi",
        {
            "temperature": 0.5,
            "top_p": 0.25,
            "top_k": 4,
            "max_tokens": 9,
            "stop": ["x"],
            "seed": 1,
            "n": 2,
            "presence_penalty": 0.5,
            "frequency_penalty": -0.5,
            "response_modalities": ["TEXT"],
        },
        [text("user", "hi")],
        {
            "temperature": 0.5,
            "top_p": 0.25,
            "top_k": 4,
            "max_output_tokens": 9,
            "stop_sequences": ["x"],
            "seed": 1,
            "candidate_count": 2,
            "presence_penalty": 0.5,
            "frequency_penalty": -0.5,
            "response_modalities": ["TEXT"],
        },
    ),
    "thinking": (
        "hi",
        {"reasoning": {"budget_tokens": 1000}},
        [text("user", "hi")],
        {"thinking_config": types.ThinkingConfig(include_thoughts=True, thinking_budget=1000)},
    ),
    "tools": (
        "hi",
        {"model_kwargs": {"tools": [TOOL], "tool_choice": "f"}},
        [text("user", "hi")],
        {"tools": [DECLARED], "tool_config": mode("ANY", "f")},
    ),
    "tools of Google's": (
        "hi",
        {
            "model_kwargs": {
                "tools": [{"googleSearch": {}}, {"urlContext": {}}, {"codeExecution": {}}]
            }
        },
        [text("user", "hi")],
        {
            "tools": [
                types.Tool(google_search=types.GoogleSearch()),
                types.Tool(url_context=types.UrlContext()),
                types.Tool(code_execution=types.ToolCodeExecution()),
            ]
        },
    ),
    "parallel calls and their results": (
        [
            HumanMessage("hi"),
            AIMessage(
                [
                    {"type": "text", "text": "so"},
                    {**CALL, "extras": {"signature": b64encode(b"sig").decode()}},
                    SECOND,
                ],
                tool_calls=[CALL, SECOND],
            ),
            ToolMessage("one", tool_call_id="c1"),
            ToolMessage("two", tool_call_id="c2", status="error"),
        ],
        {},
        [
            text("user", "hi"),
            types.Content(
                role="model",
                parts=[
                    types.Part(text="so"),
                    call("f", {"a": 1}, "c1", b"sig"),
                    call("g", {}, "c2"),
                ],
            ),
            types.Content(
                role="user",
                parts=[result("f", {"output": "one"}, "c1"), result("g", {"error": "two"}, "c2")],
            ),
        ],
        {},
    ),
    "media": (
        [
            HumanMessage(
                [
                    {"type": "text", "text": "see"},
                    {"type": "image", "base64": b64encode(PNG).decode(), "mime_type": "image/png"},
                    {"type": "file", "url": "gs://b/x.pdf", "mime_type": "application/pdf"},
                ]
            )
        ],
        {},
        [
            types.Content(
                role="user",
                parts=[
                    types.Part(text="see"),
                    types.Part.from_bytes(data=PNG, mime_type="image/png"),
                    types.Part.from_uri(file_uri="gs://b/x.pdf", mime_type="application/pdf"),
                ],
            )
        ],
        {},
    ),
    "fields beside the data of a part": (
        [
            HumanMessage(
                [
                    {"type": "text", "text": "say", "speech_metadata": {"speaker": "Ann"}},
                    {
                        "type": "video",
                        "url": "gs://b/v.mp4",
                        "mime_type": "video/mp4",
                        "media_processing": "STATIC",
                    },
                    {
                        "type": "audio",
                        "url": "gs://b/a.wav",
                        "mime_type": "audio/wav",
                        "audio_transcription": {"text": "so"},
                    },
                ]
            )
        ],
        {},
        [
            types.Content(
                role="user",
                parts=[
                    types.Part(text="say", speech_metadata=types.SpeechMetadata(speaker="Ann")),
                    types.Part(
                        file_data=types.FileData(file_uri="gs://b/v.mp4", mime_type="video/mp4"),
                        media_processing="STATIC",
                    ),
                    types.Part(
                        file_data=types.FileData(file_uri="gs://b/a.wav", mime_type="audio/wav"),
                        audio_transcription=types.Transcription(text="so"),
                    ),
                ],
            )
        ],
        {},
    ),
    "transcription": (
        "hi",
        {"audio_transcription_config": {"languageCodes": ["de"], "mode": "SMART"}},
        [text("user", "hi")],
        {
            "audio_transcription_config": types.AudioTranscriptionConfig(
                language_codes=["de"], mode="SMART"
            )
        },
    ),
    "structured": (
        "hi",
        {
            "response_mime_type": "application/json",
            "model_kwargs": {"response_json_schema": SCHEMA},
        },
        [text("user", "hi")],
        {"response_mime_type": "application/json", "response_json_schema": SCHEMA},
    ),
    "safety and cache": (
        "hi",
        {
            "safety_settings": {"HARM_CATEGORY_HARASSMENT": "BLOCK_NONE"},
            "cached_content": "cachedContents/1",
        },
        [text("user", "hi")],
        {
            "safety_settings": [
                types.SafetySetting(category="HARM_CATEGORY_HARASSMENT", threshold="BLOCK_NONE")
            ],
            "cached_content": "cachedContents/1",
        },
    ),
}


@pytest.mark.parametrize("vertex", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_the_sdk_sends_the_same(name: str, vertex: bool) -> None:
    messages, settings, contents, config = CASES[name]
    if (
        vertex and "cached_content" in config
    ):  # the SDK puts the project before the name, which express mode has not
        settings, config = {**settings, "cached_content": None}, {**config, "cached_content": None}
    path, body = sent_by_sdk(contents, vertex=vertex, **config)
    ours = sent_by_us(messages, vertex=vertex, **settings)
    assert ours[0] == path
    assert plain(ours[1]) == plain(body)


def test_only_vertex_writes_media_to_storage() -> None:
    settings = {"generation_output_config": {"outputUriPrefix": "gs://b/x/"}}
    config = types.GenerationOutputConfig(output_uri_prefix="gs://b/x/")
    _, theirs = sent_by_sdk([text("user", "hi")], vertex=True, generation_output_config=config)
    _, ours = sent_by_us("hi", vertex=True, **settings)
    assert plain(ours) == plain(theirs)
    with pytest.warns(ParameterWarning, match="generation_output_config"):
        _, ours = sent_by_us("hi", **settings)
    assert "outputConfig" not in ours
