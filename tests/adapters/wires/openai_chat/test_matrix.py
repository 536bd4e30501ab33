"""What `ChatOpenAI` sends to Chat Completions, a case a parameter: the SDK's own request, of the SDK's own types."""

from __future__ import annotations

import json
import typing
import warnings
from functools import cache
from typing import Any

import openai
import pytest
from openai.types.chat import completion_create_params as params
from pydantic import TypeAdapter, ValidationError
from support.anthropic_types import STRICT, exhaust
from support.mocked import Case, Sent
from support.sdk_versions import read_from

from modelwire.adapters import ChatOpenAI
from modelwire.messages import AIMessage, FunctionMessage, HumanMessage, SystemMessage, ToolMessage
from modelwire.tools import tool

MODEL = "gpt-5.2"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
HI = [{"role": "user", "content": "hi"}]
PNG, PDF = "iVBORw0KGgo=", "JVBERi0xLjQ="
LARK = 'start: "a"'


@tool
def weather(city: str) -> str:
    """The weather."""
    return city


WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "The weather.", "parameters": SCHEMA},
}
NAMED = {"type": "function", "function": {"name": "weather"}}
SHELL = {
    "type": "custom",
    "custom": {"name": "sh", "description": "A shell.", "format": {"type": "text"}},
}
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": LARK}
ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED]}}
LEGACY = {"name": "weather", "description": "The weather.", "parameters": SCHEMA}
PREDICTION = {"type": "content", "content": "def f(): ..."}
SEARCH = {
    "search_context_size": "low",
    "user_location": {"type": "approximate", "approximate": {"country": "CH"}},
}
CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city":"Bern"}'},
}
CUSTOM_CALL = {"id": "c2", "type": "custom", "custom": {"name": "sh", "input": 'echo "ä\n'}}


def asked(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


def same(**parameters: Any) -> Case:
    """A parameter that goes out as it is set, on the model."""
    return parameters, "hi", {}, parameters


def per_call(**parameters: Any) -> Case:
    return {}, "hi", parameters, parameters


CASES: dict[str, Case] = {
    "sampling": same(
        temperature=0.5, top_p=0.9, seed=7, frequency_penalty=0.1, presence_penalty=-0.1
    ),
    "a limit": ({"max_tokens": 5}, "hi", {}, {"max_completion_tokens": 5}),
    "stop": per_call(stop=["a", "b"]),
    "two choices with their probabilities": same(n=2, logprobs=True, top_logprobs=3),
    "a bias": same(logit_bias={50256: -100}),
    "reasoning": same(reasoning_effort="high", verbosity="low"),
    "spoken": same(modalities=["text", "audio"], audio={"voice": "alloy", "format": "wav"}),
    "an expected answer": per_call(prediction=PREDICTION),
    "an expected answer in parts": per_call(
        prediction={
            "type": "content",
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        }
    ),
    "a search": same(web_search_options=SEARCH),
    "kept, and for whom": same(store=True, user="u", service_tier="flex", safety_identifier="s"),
    "metadata": per_call(metadata={"a": "b"}),
    "caching": same(prompt_cache_key="k", prompt_cache_retention="24h"),
    "JSON": per_call(response_format={"type": "json_object"}),
    "a function": (
        {},
        ("hi", [weather], {"tool_choice": "weather", "parallel_tool_calls": False}),
        {},
        {"tools": [WEATHER], "tool_choice": NAMED, "parallel_tool_calls": False},
    ),
    "a function, strict, as the Responses API has it": (
        {},
        "hi",
        {
            "tools": [{"type": "function", **LEGACY, "strict": True}],
            "tool_choice": {"type": "function", **LEGACY},
        },
        {
            "tools": [{"type": "function", "function": {**LEGACY, "strict": True}}],
            "tool_choice": NAMED,
        },
    ),
    "a free-text tool": (
        {},
        ("hi", [SHELL], {"tool_choice": "sh"}),
        {},
        {"tools": [SHELL], "tool_choice": {"type": "custom", "custom": {"name": "sh"}}},
    ),
    "a free-text tool with a grammar, as the Responses API has it": (
        {},
        "hi",
        {
            "tools": [{"type": "custom", "name": "sh", "format": GRAMMAR}],
            "tool_choice": {"type": "custom", "name": "sh"},
        },
        {
            "tools": [
                {
                    "type": "custom",
                    "custom": {
                        "name": "sh",
                        "format": {
                            "type": "grammar",
                            "grammar": {"syntax": "lark", "definition": LARK},
                        },
                    },
                }
            ],
            "tool_choice": {"type": "custom", "custom": {"name": "sh"}},
        },
    ),
    "some of the tools": (
        {},
        "hi",
        {"tools": [WEATHER, SHELL], "tool_choice": ALLOWED},
        {"tools": [WEATHER, SHELL], "tool_choice": ALLOWED},
    ),
    "legacy functions": per_call(functions=[LEGACY], function_call={"name": "weather"}),
    "a turn with both kinds of tool": (
        {},
        [
            SystemMessage("s", additional_kwargs={"__openai_role__": "developer"}),
            HumanMessage("hi", name="ann"),
            {"role": "assistant", "content": None, "tool_calls": [CALL, CUSTOM_CALL]},
            ToolMessage("sunny", tool_call_id="c1"),
            ToolMessage([{"type": "text", "text": "ä"}], tool_call_id="c2"),
        ],
        {},
        {
            "messages": [
                {"role": "developer", "content": "s"},
                {"role": "user", "name": "ann", "content": "hi"},
                {"role": "assistant", "content": None, "tool_calls": [CALL, CUSTOM_CALL]},
                {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
                {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "ä"}]},
            ]
        },
    ),
    "a spoken turn, a refused one, a legacy one": (
        {},
        [
            AIMessage(
                "",
                additional_kwargs={"audio": {"id": "audio_1", "data": "AAAA", "transcript": "a"}},
            ),
            AIMessage(
                "", additional_kwargs={"audio": {"data": "AAAA", "transcript": "b"}}
            ),  # nobody keeps it
            AIMessage("", additional_kwargs={"refusal": "no"}),
            AIMessage("", additional_kwargs={"function_call": {"name": "f", "arguments": "{}"}}),
            FunctionMessage("1", name="f"),
        ],
        {},
        {
            "messages": [
                {"role": "assistant", "content": None, "audio": {"id": "audio_1"}},
                {"role": "assistant", "content": "b"},
                {"role": "assistant", "content": None, "refusal": "no"},
                {
                    "role": "assistant",
                    "content": None,
                    "function_call": {"name": "f", "arguments": "{}"},
                },
                {"role": "function", "name": "f", "content": "1"},
            ]
        },
    ),
    "pictures, sounds and files": (
        {},
        [
            HumanMessage(
                [
                    "see",
                    {
                        "type": "image",
                        "base64": PNG,
                        "mime_type": "image/png",
                        "extras": {"detail": "low"},
                    },
                    {"type": "audio", "base64": "AAAA", "mime_type": "audio/mpeg"},
                    {
                        "type": "file",
                        "base64": PDF,
                        "mime_type": "application/pdf",
                        "filename": "a.pdf",
                    },
                    {"type": "file", "file_id": "file-1"},
                ]
            )
        ],
        {},
        asked(
            {"type": "text", "text": "see"},
            {
                "type": "image_url",
                "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"},
            },
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
            {
                "type": "file",
                "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
            },
            {"type": "file", "file": {"file_id": "file-1"}},
        ),
    ),
    "a stream": (
        {},
        "hi",
        {"stream": True},
        {"stream": True, "stream_options": {"include_usage": True}},
    ),
    "a stream without noise": (
        {"stream_options": {"include_obfuscation": False}},
        "hi",
        {"stream": True},
        {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}},
    ),
    "no stream, though streams have options": (
        {"stream_options": {"include_obfuscation": False}},
        "hi",
        {},
        {},
    ),
    "what has no name here": (
        {"extra_body": {"x": 1}},
        "hi",
        {"extra_body": {"y": 2}},
        {"extra_body": {"x": 1, "y": 2}},
    ),
}
NOT_OF_THE_TYPES = ("what has no name here",)


def sent() -> Sent:
    choice = {"message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}
    return Sent(
        {"id": "c", "choices": [choice]}, b'data: {"id":"c","choices":[]}\n\ndata: [DONE]\n\n'
    )


def sent_by_us(case: Case) -> dict[str, Any]:
    taken = sent().by_us(ChatOpenAI, case, model=MODEL)
    assert taken.path == "/v1/chat/completions"
    return taken.body


def sent_by_the_sdk(case: Case) -> dict[str, Any]:
    arguments = {"messages": HI, "model": MODEL, **case[3]}
    return (
        sent()
        .by_sdk(openai.OpenAI, lambda client: client.chat.completions.create, **arguments)
        .body
    )


@pytest.mark.parametrize("name", CASES)
def test_the_request_is_the_one_the_sdk_sends(name: str) -> None:
    assert sent_by_us(CASES[name]) == sent_by_the_sdk(CASES[name])


# ---------------------------------------------------------------- the SDK's types


@cache
def sdk_type() -> TypeAdapter[Any]:
    with warnings.catch_warnings(action="ignore"):  # a few say themselves that they take more
        return TypeAdapter(params.CompletionCreateParams, config=STRICT)


@pytest.mark.parametrize("name", [name for name in CASES if name not in NOT_OF_THE_TYPES])
def test_the_body_is_of_the_sdks_types(name: str) -> None:
    exhaust(sdk_type().validate_python(sent_by_us(CASES[name])))


def test_a_wrong_body_is_none_of_the_sdks_types() -> None:
    """The test above can fail."""
    good = {"model": "m", "messages": HI}
    exhaust(sdk_type().validate_python(good))
    for wrong in (
        {"messages": [{"role": "user"}]},
        {"unknown": 1},
        {"tools": [{"type": "function"}]},
        asked({"a": 1}),
    ):
        with pytest.raises((ValidationError, AssertionError)):
            exhaust(sdk_type().validate_python(good | wrong))


VALUES: dict[str, Any] = {
    "logit_bias": {"1": 1},
    "stop": ["a"],
    "tools": [WEATHER],
    "functions": [LEGACY],
    "tool_choice": "auto",
    "n": 1,
    "response_format": {"type": "json_object"},
}
NUMBERS = (
    "frequency_penalty",
    "presence_penalty",
    "temperature",
    "top_p",
    "max_tokens",
    "seed",
    "top_logprobs",
)


@read_from("openai", "3.57")
@pytest.mark.parametrize(
    "name",
    sorted(
        set(typing.get_type_hints(params.CompletionCreateParamsNonStreaming))
        - {"messages", "model", "stream"}
    ),
)
def test_every_parameter_of_the_sdk_can_be_set_and_sent_without_a_word(name: str) -> None:
    value: Any = VALUES.get(name, 1 if name in (*NUMBERS, "max_completion_tokens") else "x")
    value = True if name in ("logprobs", "store", "parallel_tool_calls") else value
    value = {"x": 1} if name in ("stream_options", "metadata") else value
    settings = {"model_kwargs": {name: value}} if name == "metadata" else {name: value}
    sent = "max_completion_tokens" if name == "max_tokens" else name
    for request in (  # a warning is an error here
        ChatOpenAI(model=MODEL, api_key="none").build_request("hi", stream=True, **{name: value}),
        ChatOpenAI(model=MODEL, api_key="none", **settings).build_request("hi", stream=True),
    ):
        said = json.loads(json.dumps(request.body[sent]))
        assert said == ({"include_usage": True, **value} if name == "stream_options" else value)
