from __future__ import annotations

from typing import Any

import pytest

from modelwire.errors import InvalidArgument, InvalidType
from modelwire.messages import HumanMessage
from modelwire.prompts import StructuredPrompt
from modelwire.runnables import RunnableLambda

SCHEMA = {"title": "joke", "type": "object", "properties": {"setup": {"type": "string"}}}


class Model:
    """Stands for a chat model: shows what it was asked for."""

    def with_structured_output(self, schema: Any, **options: Any) -> Any:
        return RunnableLambda(lambda prompt: (schema, options, prompt.to_string()))


def test_a_structured_prompt_asks_the_model_for_data(colour: Any) -> None:
    options = {"method": "json_schema"}
    prompt = StructuredPrompt(
        [("human", "about {topic}")], SCHEMA, structured_output_kwargs=options, strict=True
    )
    assert prompt.input_variables == ["topic"]
    assert options == {"method": "json_schema"}
    expected = (SCHEMA, {"method": "json_schema", "strict": True}, "Human: about rain")
    assert colour.invoke(prompt | Model(), {"topic": "rain"}) == expected
    assert (
        colour.invoke(prompt.pipe(Model(), lambda said: said[2]), {"topic": "rain"})
        == "Human: about rain"
    )
    assert StructuredPrompt.from_messages_and_schema([], SCHEMA).schema_ == SCHEMA


def test_it_takes_every_template_format() -> None:
    prompt = StructuredPrompt(
        [("human", "hi {{person.name}}")], schema=SCHEMA, template_format="mustache"
    )
    assert prompt.invoke({"person": {"name": "Ada"}}).to_messages() == [HumanMessage("hi Ada")]


def test_without_a_schema_or_a_model_it_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="non-empty structured output schema"):
        StructuredPrompt([("human", "x")])
    with pytest.raises(InvalidType, match="piped to a language model"):
        StructuredPrompt([("human", "x")], SCHEMA) | (lambda x: x)
