"""Structured output of a real language model. The local server keeps to a schema on its OpenAI wire alone."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

import pytest
from pydantic import BaseModel, Field

from modelwire.adapters import ChatAnthropic, ChatOpenAI

pytestmark = pytest.mark.local

QUESTION = "Tell me about Paris."
SETTINGS: dict[str, Any] = {
    "model": "smollm2",
    "api_key": "none",
    "temperature": 0,
    "max_tokens": 64,
}


class City(BaseModel):
    """A city."""

    name: str = Field(max_length=20)
    country: Literal["France", "Germany"]


class CityDict(TypedDict):
    """A city."""

    name: str
    country: Literal["France", "Germany"]


def test_the_openai_wire_keeps_to_the_schema(colour: Any, local_server: str) -> None:
    model = ChatOpenAI(base_url=f"{local_server}/v1", **SETTINGS)
    answer = colour.invoke(model.with_structured_output(City), QUESTION)
    assert (type(answer), answer.country) == (City, "France")
    parts = colour.stream(model.with_structured_output(CityDict), QUESTION)
    assert parts[0] == {}
    assert parts[-1]["country"] == "France"
    assert len(parts) > 3
    assert colour.stream(model.with_structured_output(City), QUESTION)[0].country == "France"


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
def test_the_anthropic_wire_takes_what_is_asked(
    colour: Any, local_server: str, method: str
) -> None:
    model = ChatAnthropic(base_url=local_server, **SETTINGS)
    answer = colour.invoke(
        model.with_structured_output(City, method=method, include_raw=True), QUESTION
    )
    assert answer["raw"].usage_metadata["output_tokens"] > 0
    assert answer["parsed"] is None or type(answer["parsed"]) is City
