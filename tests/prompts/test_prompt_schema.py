from __future__ import annotations

import pytest

from modelwire.prompts import ChatPromptTemplate, MessagesPlaceholder, PromptTemplate


def test_the_schema_names_what_must_be_given() -> None:
    prompt = PromptTemplate.from_template("{a} {b} {c}", partial_variables={"c": "1"})
    assert prompt.get_input_schema().model_json_schema() == {
        "title": "PromptInput",
        "type": "object",
        "properties": {
            "a": {"title": "A", "type": "string"},
            "b": {"title": "B", "type": "string"},
        },
        "required": ["a", "b"],
    }


@pytest.mark.parametrize("name", ["_private", "schema", "model_json_schema", "user-name"])
def test_any_name_of_a_variable_is_a_field(name: str) -> None:
    schema = ChatPromptTemplate([("system", f"{{{name}}}")]).get_input_schema().model_json_schema()
    assert list(schema["properties"]) == schema["required"] == [name]


def test_a_placeholder_takes_messages_and_may_be_left_out() -> None:
    inner = ChatPromptTemplate([MessagesPlaceholder("history")])
    prompt = ChatPromptTemplate([inner, ("placeholder", "{more}"), ("human", "{q}")])
    schema = prompt.get_input_schema().model_json_schema()
    assert sorted(schema["required"]) == ["history", "q"]
    assert schema["properties"]["history"]["type"] == "array"
    assert schema["properties"]["more"]["type"] == "array"
    assert schema["properties"]["more"]["default"] is None
    with_types = PromptTemplate("{n}", input_types={"n": int})
    assert with_types.get_input_schema().model_json_schema()["properties"]["n"]["type"] == "integer"
