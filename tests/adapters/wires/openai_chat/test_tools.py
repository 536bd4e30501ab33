from __future__ import annotations

from typing import Any

import pytest

from modelwire.adapters.wires.openai_chat.tools import tool_params
from modelwire.errors import InvalidArgument, InvalidType

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "d", "parameters": SCHEMA},
}
CHOSEN = {"type": "function", "function": {"name": "weather"}}


@pytest.mark.parametrize(
    "tool",
    [
        WEATHER,
        {"name": "weather", "description": "d", "input_schema": SCHEMA},
        {
            "type": "custom",
            "name": "weather",
            "description": "d",
            "input_schema": SCHEMA,
            "cache_control": {},
        },
        {"name": "weather", "description": "d", "parameters": SCHEMA},
    ],
)
def test_a_tool_of_either_provider_is_the_same_function(tool: dict[str, Any]) -> None:
    assert tool_params({"tools": [tool]}) == {"tools": [WEATHER]}


def test_strict_goes_along_and_a_service_s_own_tool_passes() -> None:
    strict = {"name": "f", "input_schema": SCHEMA, "strict": True}
    own = {"type": "browser_search"}
    said = tool_params({"tools": [strict, own]})["tools"]
    assert said == [
        {"type": "function", "function": {"name": "f", "parameters": SCHEMA, "strict": True}},
        own,
    ]


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ("any", "required"),
        (True, "required"),
        ("weather", CHOSEN),
        (CHOSEN, CHOSEN),
        ({"type": "tool", "name": "weather"}, CHOSEN),
        ({"type": "any"}, "required"),
        ({"type": "auto"}, "auto"),
        (
            {"type": "allowed_tools", "allowed_tools": {}},
            {"type": "allowed_tools", "allowed_tools": {}},
        ),
    ],
)
def test_a_choice_of_either_provider_is_the_wire_s(choice: Any, said: Any) -> None:
    assert tool_params({"tools": [WEATHER], "tool_choice": choice})["tool_choice"] == said


def test_the_name_of_a_custom_tool_is_a_custom_choice() -> None:
    tools = [{"type": "custom", "custom": {"name": "shell"}}]
    assert tool_params({"tools": tools, "tool_choice": "shell"})["tool_choice"] == {
        "type": "custom",
        "custom": {"name": "shell"},
    }


def test_anthropic_s_way_to_forbid_parallel_calls_is_said() -> None:
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    said = tool_params({"tools": [WEATHER], "tool_choice": choice})
    assert (said["tool_choice"], said["parallel_tool_calls"]) == ("auto", False)


@pytest.mark.parametrize(
    ("params", "error", "words"),
    [
        ({"tools": "weather"}, InvalidType, "`tools` is a list"),
        ({"tools": WEATHER}, InvalidType, "`tools` is a list"),
        ({"tools": [len]}, InvalidType, "bind_tools"),
        ({"tools": [{"description": "d"}]}, InvalidArgument, "it has `description`"),
        ({"tools": [{"type": "function", "function": {}}]}, InvalidArgument, "a function a `name`"),
        ({"tools": [{"type": []}]}, InvalidArgument, "`type` that is a string"),
        ({"tools": [WEATHER], "tool_choice": "wether"}, InvalidArgument, "Did you mean `weather`?"),
        ({"tools": [WEATHER], "tool_choice": 3}, InvalidType, "`tool_choice`"),
    ],
)
def test_what_is_no_tool_or_choice_is_refused(
    params: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error) as caught:
        tool_params(params)
    assert words in str(caught.value)
