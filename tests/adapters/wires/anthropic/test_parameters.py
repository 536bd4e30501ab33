"""What is set beside the messages, in Anthropic's words."""

from __future__ import annotations

from typing import Any

import pytest

from modelwire.adapters.wires.anthropic.parameters import (
    DEFAULT_MAX_TOKENS,
    encode_parameters,
    encode_tool,
    encode_tool_choice,
    max_tokens_of,
    takes_system_turns,
)
from modelwire.errors import InvalidArgument, InvalidType

TOOL = {"name": "f", "input_schema": {"type": "object", "properties": {}}}


def body(**params: Any) -> dict[str, Any]:
    return encode_parameters(params, max_tokens=100)


@pytest.mark.parametrize(
    ("model", "limit"),
    [
        ("claude-3-haiku-20240307", 4_096),
        ("claude-3-5-sonnet-latest", 8_192),
        ("claude-3-7-sonnet-latest", 64_000),
        ("claude-opus-4-20250514", 32_000),
        ("claude-opus-4-1", 32_000),
        ("claude-opus-4-5-20251101", 64_000),
        ("claude-opus-4-8", 128_000),
        ("claude-sonnet-4-5", 64_000),
        ("claude-haiku-4-5", 64_000),
        ("claude-opus-5-5", 128_000),
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", 64_000),
        ("us.anthropic.claude-opus-4-1-20250805-v1:0", 32_000),
        ("smollm2", DEFAULT_MAX_TOKENS),
    ],
)
def test_the_default_limit_is_what_the_model_can_say(model: str, limit: int) -> None:
    assert max_tokens_of(model) == limit


def test_only_models_known_for_it_take_system_turns() -> None:
    assert takes_system_turns("claude-opus-4-8")
    assert not takes_system_turns("claude-opus-4-7")
    assert not takes_system_turns("smollm2")


def test_the_limit_has_several_names() -> None:
    assert body() == {"max_tokens": 100}
    assert body(max_tokens=0) == {"max_tokens": 0}
    assert body(max_completion_tokens=5) == body(max_tokens_to_sample=5) == {"max_tokens": 5}
    assert body(max_tokens=4, max_completion_tokens=5) == {"max_tokens": 4}


def test_the_default_limit_leaves_room_beside_the_thinking() -> None:
    thinking = {"type": "enabled", "budget_tokens": 2000}
    assert body(thinking=thinking)["max_tokens"] == 2100
    assert body(thinking=thinking, max_tokens=3000)["max_tokens"] == 3000
    assert body(thinking={"type": "enabled", "budget_tokens": 50})["max_tokens"] == 100


def test_unknown_parameters_pass() -> None:
    assert body(inference_geo="eu", context_management={"edits": []})["context_management"] == {
        "edits": []
    }


def test_stops_and_tools_that_are_empty_are_not_sent() -> None:
    assert body(stop=[], tools=[]) == {"max_tokens": 100}
    assert body(stop=("a", "b"))["stop_sequences"] == ["a", "b"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("auto", {"type": "auto"}),
        ("any", {"type": "any"}),
        ("required", {"type": "any"}),
        (True, {"type": "any"}),
        ("none", {"type": "none"}),
        ("f", {"type": "tool", "name": "f"}),
        ({"type": "function", "function": {"name": "f"}}, {"type": "tool", "name": "f"}),
        ({"type": "function", "name": "f"}, {"type": "tool", "name": "f"}),
        ({"type": "tool", "name": "f"}, {"type": "tool", "name": "f"}),
        (None, None),
    ],
)
def test_every_way_to_choose_a_tool(given: Any, said: Any) -> None:
    assert encode_tool_choice(given) == said


def test_one_call_at_a_time() -> None:
    assert body(tools=[TOOL], parallel_tool_calls=False)["tool_choice"] == {
        "type": "auto",
        "disable_parallel_tool_use": True,
    }
    assert "tool_choice" not in body(tools=[TOOL], parallel_tool_calls=True)
    assert "tool_choice" not in body(parallel_tool_calls=False)
    assert body(tools=[TOOL], tool_choice="none", parallel_tool_calls=False)["tool_choice"] == {
        "type": "none"
    }
    choice = {"type": "auto"}
    body(tools=[TOOL], tool_choice=choice, parallel_tool_calls=False)
    assert choice == {"type": "auto"}


@pytest.mark.parametrize(
    ("tool", "said"),
    [
        (TOOL, TOOL),
        ({"type": "custom", **TOOL}, {"type": "custom", **TOOL}),
        (
            {"type": "web_search_20250305", "name": "web_search"},
            {"type": "web_search_20250305", "name": "web_search"},
        ),
        (
            {"type": "mcp_toolset", "mcp_server_name": "x"},
            {"type": "mcp_toolset", "mcp_server_name": "x"},
        ),
        ({"type": "function", "function": {"name": "f"}}, TOOL),
        ({"type": "function", "name": "f", "parameters": TOOL["input_schema"]}, TOOL),
        ({"name": "f", "parameters": TOOL["input_schema"]}, TOOL),
        (
            {
                "type": "function",
                "function": {"name": "f", "strict": True},
                "cache_control": {"type": "ephemeral"},
            },
            {**TOOL, "strict": True, "cache_control": {"type": "ephemeral"}},
        ),
    ],
)
def test_every_shape_of_a_tool(tool: Any, said: Any) -> None:
    assert encode_tool(tool) == said


def test_a_schema_joins_the_other_output_settings() -> None:
    form = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}
    assert body(response_format=form, output_config={"effort": "low"})["output_config"] == {
        "effort": "low",
        "format": {"type": "json_schema", "schema": {"type": "object"}},
    }
    assert body(response_format={"type": "text"}) == {"max_tokens": 100}


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"tools": "f"}, InvalidType),
        ({"tools": [print]}, InvalidType),
        ({"tools": [{"description": "nameless"}]}, InvalidArgument),
        ({"tools": [{"type": "function", "function": {}}]}, InvalidArgument),
        ({"tool_choice": 5}, InvalidType),
        ({"tool_choice": {"type": "function"}}, InvalidArgument),
        ({"stop": 5}, InvalidType),
        ({"response_format": {"type": "json_object"}}, InvalidArgument),
        ({"response_format": "json"}, InvalidType),
        ({"output_config": "low"}, InvalidType),
    ],
)
def test_what_nobody_can_say_is_refused(params: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        body(**params)


@pytest.mark.parametrize(
    ("model", "limit"),
    [
        ("claude-opus-4@20250514", 32_000),
        ("claude-opus-4-20250514", 32_000),
        ("claude-opus-4", 32_000),
        ("us.anthropic.claude-opus-4-20250514-v1:0", 32_000),
        ("anthropic/claude-opus-4", 32_000),
        ("claude-opus-4-1@20250805", 32_000),
        ("anthropic/claude-opus-4.1", 32_000),
        ("claude-opus-4-5@20251101", 64_000),
        ("claude-opus-4-6", 128_000),
        ("claude-sonnet-4@20250514", 64_000),
        ("anthropic/claude-3.5-sonnet", 8192),
        ("another", 4096),
    ],
)
def test_the_limit_of_a_model_is_found_under_every_clouds_name(model: str, limit: int) -> None:
    assert max_tokens_of(model) == limit
