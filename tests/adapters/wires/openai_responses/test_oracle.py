"""What goes out on the Responses API, against what the `openai` SDK sends and what its types take."""

from __future__ import annotations

import json
import warnings
from functools import cache
from typing import Any

import openai
import pytest
from openai.types.responses import response_create_params
from openai.types.responses.response_create_params import ResponseCreateParamsBase
from pydantic import TypeAdapter
from support.anthropic_types import STRICT, exhaust
from support.mocked import Sent
from support.sdk_versions import read_from

from modelwire.adapters.providers.openai import ChatOpenAI
from modelwire.adapters.wires.openai_responses.codec import ResponsesCodec
from modelwire.adapters.wires.wire import ChatCall, Endpoint
from modelwire.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

BASE_URL = "https://api.openai.com/v1"
HI, WIRE_HI = HumanMessage("hi"), {"role": "user", "content": "hi"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "d", "parameters": SCHEMA},
}
WIRE_TOOL = {
    "type": "function",
    "name": "weather",
    "description": "d",
    "parameters": SCHEMA,
    "strict": False,
}
CALL = {"name": "weather", "args": {"city": "Zürich"}, "id": "call_1", "type": "tool_call"}
WIRE_CALL = {
    "type": "function_call",
    "call_id": "call_1",
    "name": "weather",
    "arguments": '{"city":"Zürich"}',
}
REASONING = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "enc"}
SEARCH = {
    "type": "web_search_call",
    "id": "ws_1",
    "status": "completed",
    "action": {"type": "search", "query": "q"},
}
OWN = {"model_provider": "openai", "id": "resp_1", "object": "response"}
FORMAT = {"name": "city", "schema": SCHEMA, "strict": True}


def user(*parts: Any) -> list[Any]:
    return [{"role": "user", "content": list(parts)}]


# name: our messages, our params; the SDK's input, the SDK's params
OUT: dict[str, tuple[list[Any], dict[str, Any], list[Any], dict[str, Any]]] = {
    "text": ([HI], {}, [WIRE_HI], {}),
    "system and developer": (
        [
            SystemMessage("s"),
            SystemMessage("d", additional_kwargs={"__openai_role__": "developer"}),
            HI,
        ],
        {},
        [{"role": "system", "content": "s"}, {"role": "developer", "content": "d"}, WIRE_HI],
        {},
    ),
    "image by url": (
        [
            HumanMessage(
                [{"type": "text", "text": "?"}, {"type": "image", "url": "https://x/y.png"}]
            )
        ],
        {},
        user(
            {"type": "input_text", "text": "?"},
            {"type": "input_image", "image_url": "https://x/y.png", "detail": "auto"},
        ),
        {},
    ),
    "files": (
        [
            HumanMessage(
                [
                    {"type": "file", "base64": "AAAA", "mime_type": "application/pdf"},
                    {"type": "file", "file_id": "file-1"},
                    {"type": "file", "url": "https://x/y.pdf"},
                    {"type": "input_file", "file_url": "https://x/z.pdf"},
                ]
            )
        ],
        {},
        user(
            {
                "type": "input_file",
                "filename": "file.pdf",
                "file_data": "data:application/pdf;base64,AAAA",
            },
            {"type": "input_file", "file_id": "file-1"},
            {"type": "input_file", "file_url": "https://x/y.pdf"},
            {"type": "input_file", "file_url": "https://x/z.pdf"},
        ),
        {},
    ),
    "a call and its result": (
        [HI, AIMessage("so", tool_calls=[CALL]), ToolMessage("sunny", tool_call_id="call_1")],
        {},
        [
            WIRE_HI,
            {"type": "message", "role": "assistant", "content": "so"},
            WIRE_CALL,
            {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
        ],
        {},
    ),
    "a result with an image": (
        [
            AIMessage("", tool_calls=[CALL]),
            ToolMessage(
                [{"type": "text", "text": "x"}, {"type": "image", "url": "https://x"}],
                tool_call_id="call_1",
            ),
        ],
        {},
        [
            WIRE_CALL,
            {
                "type": "function_call_output",
                "call_id": "call_1",
                "output": [
                    {"type": "input_text", "text": "x"},
                    {"type": "input_image", "image_url": "https://x", "detail": "auto"},
                ],
            },
        ],
        {},
    ),
    "a custom tool's call, by the tools": (
        [
            AIMessage("", tool_calls=[{**CALL, "name": "run", "args": {"__arg1": "1+1"}}]),
            ToolMessage("2", tool_call_id="call_1"),
        ],
        {"tools": [{"type": "custom", "name": "run"}]},
        [
            {"type": "custom_tool_call", "call_id": "call_1", "name": "run", "input": "1+1"},
            {"type": "custom_tool_call_output", "call_id": "call_1", "output": "2"},
        ],
        {"tools": [{"type": "custom", "name": "run"}]},
    ),
    "an answer of this API": (
        [
            HI,
            AIMessage(
                [
                    REASONING,
                    {
                        "type": "text",
                        "text": "I look.",
                        "id": "msg_1",
                        "phase": "commentary",
                        "annotations": [],
                    },
                    SEARCH,
                    {**WIRE_CALL, "id": "fc_1", "status": "completed"},
                    {"type": "text", "text": "a", "id": "msg_2", "annotations": [], "index": 3},
                    {"type": "refusal", "refusal": "no", "id": "msg_2"},
                ],
                tool_calls=[CALL],
                response_metadata=OWN,
            ),
        ],
        {},
        [
            WIRE_HI,
            REASONING,
            {
                "type": "message",
                "role": "assistant",
                "id": "msg_1",
                "status": "completed",
                "phase": "commentary",
                "content": [{"type": "output_text", "text": "I look.", "annotations": []}],
            },
            SEARCH,
            {**WIRE_CALL, "id": "fc_1", "status": "completed"},
            {
                "type": "message",
                "role": "assistant",
                "id": "msg_2",
                "status": "completed",
                "content": [
                    {"type": "output_text", "text": "a", "annotations": []},
                    {"type": "refusal", "refusal": "no"},
                ],
            },
        ],
        {},
    ),
    "an answer of Anthropic's": (
        [
            AIMessage(
                [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "text", "text": "so"},
                    {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {}},
                    {"type": "web_search_tool_result", "tool_use_id": "srv", "content": []},
                    {"type": "text", "text": " it is"},
                    {
                        "type": "tool_use",
                        "id": "call_1",
                        "name": "weather",
                        "input": {"city": "Zürich"},
                    },
                ],
                tool_calls=[CALL],
                response_metadata={"model_provider": "anthropic"},
            ),
            HumanMessage(
                [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": "sunny"},
                    {"type": "text", "text": "so?"},
                ]
            ),
        ],
        {},
        [
            {"type": "message", "role": "assistant", "content": "so it is"},
            WIRE_CALL,
            {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
            {"role": "user", "content": [{"type": "input_text", "text": "so?"}]},
        ],
        {},
    ),
    "an answer of Chat Completions'": (
        [
            AIMessage(
                "so",
                additional_kwargs={"reasoning_content": "hm"},
                response_metadata={"model_provider": "openai"},
            )
        ],
        {},
        [{"type": "message", "role": "assistant", "content": "so"}],
        {},
    ),
    "an answer of another service of this wire": (
        [
            AIMessage(
                [
                    REASONING,
                    {"type": "text", "text": "so", "id": "msg_1"},
                    {**WIRE_CALL, "id": "fc_1", "status": "completed"},
                ],
                tool_calls=[CALL],
                response_metadata={"model_provider": "xai"},
            )
        ],
        {},
        [{"type": "message", "role": "assistant", "content": "so"}, WIRE_CALL],
        {},
    ),
    "an approval": (
        [
            HumanMessage(
                [
                    {
                        "type": "mcp_approval_response",
                        "approval_request_id": "mcpr_1",
                        "approve": True,
                    }
                ]
            )
        ],
        {},
        [{"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}],
        {},
    ),
    "a screenshot": (
        [
            ToolMessage(
                [{"type": "image", "base64": "AAAA", "mime_type": "image/png"}],
                tool_call_id="c1",
                additional_kwargs={"type": "computer_call_output"},
            )
        ],
        {},
        [
            {
                "type": "computer_call_output",
                "call_id": "c1",
                "output": {
                    "type": "computer_screenshot",
                    "image_url": "data:image/png;base64,AAAA",
                },
            }
        ],
        {},
    ),
    "tools of every kind": (
        [HI],
        {
            "tools": [
                TOOL,
                {k: v for k, v in WIRE_TOOL.items() if k != "strict"}
                | {"name": "g", "strict": True},
                {"type": "web_search"},
            ],
            "tool_choice": "weather",
            "parallel_tool_calls": False,
        },
        [WIRE_HI],
        {
            "tools": [
                WIRE_TOOL,
                {**WIRE_TOOL, "name": "g", "strict": True},
                {"type": "web_search"},
            ],
            "tool_choice": {"type": "function", "name": "weather"},
            "parallel_tool_calls": False,
        },
    ),
    "a custom tool with a grammar": (
        [HI],
        {
            "tools": [
                {
                    "type": "custom",
                    "custom": {
                        "name": "run",
                        "format": {
                            "type": "grammar",
                            "grammar": {"syntax": "regex", "definition": "a+"},
                        },
                    },
                }
            ],
            "tool_choice": {"type": "custom", "custom": {"name": "run"}},
        },
        [WIRE_HI],
        {
            "tools": [
                {
                    "type": "custom",
                    "name": "run",
                    "format": {"type": "grammar", "syntax": "regex", "definition": "a+"},
                }
            ],
            "tool_choice": {"type": "custom", "name": "run"},
        },
    ),
    "any tool of Anthropic's shape": (
        [HI],
        {
            "tools": [{"name": "weather", "description": "d", "input_schema": SCHEMA}],
            "tool_choice": "any",
        },
        [WIRE_HI],
        {"tools": [WIRE_TOOL], "tool_choice": "required"},
    ),
    "a choice among tools": (
        [HI],
        {
            "tools": [TOOL],
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [{"type": "function", "function": {"name": "weather"}}],
                },
            },
        },
        [WIRE_HI],
        {
            "tools": [WIRE_TOOL],
            "tool_choice": {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "weather"}],
            },
        },
    ),
    "a form of the answer": (
        [HI],
        {"response_format": {"type": "json_schema", "json_schema": FORMAT}, "verbosity": "low"},
        [WIRE_HI],
        {"text": {"verbosity": "low", "format": {"type": "json_schema", **FORMAT}}},
    ),
    "JSON": (
        [HI],
        {"response_format": {"type": "json_object"}},
        [WIRE_HI],
        {"text": {"format": {"type": "json_object"}}},
    ),
    "effort and summary": (
        [HI],
        {"reasoning_effort": "low", "reasoning": {"summary": "auto"}, "max_tokens": 9},
        [WIRE_HI],
        {"reasoning": {"effort": "low", "summary": "auto"}, "max_output_tokens": 9},
    ),
    "reasoning that nobody keeps": (
        [HI],
        {"store": False, "include": ["web_search_call.results"]},
        [WIRE_HI],
        {"store": False, "include": ["web_search_call.results", "reasoning.encrypted_content"]},
    ),
    "log probabilities": (
        [HI],
        {"logprobs": True, "top_logprobs": 2, "n": 1},
        [WIRE_HI],
        {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
    ),
    "the rest": (
        [HI],
        rest := {
            "background": True,
            "conversation": "conv_1",
            "instructions": "i",
            "max_tool_calls": 2,
            "metadata": {"a": "b"},
            "prompt": {"id": "pmpt_1"},
            "prompt_cache_key": "k",
            "safety_identifier": "s",
            "service_tier": "auto",
            "temperature": 0.5,
            "top_p": 0.5,
            "truncation": "auto",
            "user": "u",
        },
        [WIRE_HI],
        rest,
    ),
}


def sent_by_sdk(messages: list[Any], params: dict[str, Any]) -> Any:
    sent, arguments = Sent({}, b""), {"model": "gpt-5", "input": messages, **params}
    return sent.by_sdk(openai.OpenAI, lambda client: client.responses.create, **arguments)


@cache
def sdk_type() -> TypeAdapter[Any]:
    with warnings.catch_warnings(action="ignore"):
        return TypeAdapter(response_create_params.ResponseCreateParams, config=STRICT)


@pytest.mark.parametrize("case", OUT)
def test_what_we_send_on_responses_is_what_the_sdk_sends(case: str) -> None:
    messages, params, sdk_messages, sdk_params = OUT[case]
    call = ChatCall(messages=messages, model="gpt-5", endpoint=Endpoint(BASE_URL), params=params)
    ours = ResponsesCodec().encode(call)
    theirs = sent_by_sdk(sdk_messages, sdk_params)
    assert (ours.url, json.loads(json.dumps(ours.body))) == (
        f"https://api.openai.com{theirs.path}",
        theirs.body,
    )
    exhaust(sdk_type().validate_python(ours.body))


@read_from("openai", "3.57")
def test_every_parameter_of_the_sdk_can_be_sent() -> None:
    known = {*ChatOpenAI.PARAMETERS, *ChatOpenAI.SENDABLE, "model", "input", "stream"}
    assert not ResponseCreateParamsBase.__annotations__.keys() - known
