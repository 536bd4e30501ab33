"""The error that is both: an `OutputParserException`, and pydantic's `ValidationError`."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError, field_validator
from pydantic.v1 import BaseModel as OldModel
from pydantic.v1 import ValidationError as OldValidationError
from pydantic_core import PydanticCustomError

from modelwire.errors import OutputParserException
from modelwire.messages import AIMessage, tool_call
from modelwire.output_parsers import PydanticOutputParser, PydanticToolsParser
from modelwire.output_parsers.validation import OutputValidationError, validation_error


class Wine(BaseModel):
    year: int
    grape: str = ""
    place: str = ""

    @field_validator("grape")
    @classmethod
    def _known(cls, value: str) -> str:
        raise ValueError("no {grape}")

    @field_validator("place")
    @classmethod
    def _a_place(cls, value: str) -> str:
        raise PydanticCustomError("no_place", "{place} is no place", {"place": value})


class OldWine(OldModel):
    year: int


WRONG = {"year": "x", "grape": "Riesling", "place": "Mars"}


def refused() -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Wine.model_validate(WRONG)
    return caught.value


@pytest.mark.parametrize(
    "kind", [OutputParserException, ValidationError, OutputValidationError, ValueError]
)
def test_either_class_catches_it(kind: Any) -> None:
    theirs = refused()
    with pytest.raises(kind, match=r"^It does not fit$"):
        raise validation_error("It does not fit", theirs, llm_output="{}") from theirs


def test_it_says_all_that_pydantics_own_does() -> None:
    theirs = refused()
    ours: Any = validation_error("no", theirs, llm_output="text", raw_message=AIMessage("text"))
    assert [line["msg"] for line in ours.errors()] == [line["msg"] for line in theirs.errors()]
    assert [(e["type"], e["loc"], e["input"]) for e in ours.errors()] == [
        (e["type"], e["loc"], e["input"]) for e in theirs.errors()
    ]
    assert (ours.title, ours.error_count()) == (theirs.title, 3)
    assert (ours.llm_output, ours.raw_message, ours.observation) == (
        "text",
        AIMessage("text"),
        None,
    )


def test_it_survives_a_pickle() -> None:
    copy = pickle.loads(pickle.dumps(validation_error("no", refused(), llm_output="text")))
    assert type(copy) is OutputValidationError
    assert (str(copy), copy.llm_output, copy.error_count()) == ("no", "text", 3)


def test_the_old_pydantic_has_one_too() -> None:
    parser = PydanticOutputParser(pydantic_object=OldWine)
    with pytest.raises(OldValidationError, match="Failed to parse OldWine") as caught:
        parser.parse('{"year": "x"}')
    assert isinstance(caught.value, OutputParserException)
    assert caught.value.errors()[0]["loc"] == ("year",)


def test_the_parsers_raise_it_with_the_message() -> None:
    text = AIMessage('{"year": "x"}')
    with pytest.raises(OutputValidationError) as caught:
        PydanticOutputParser(pydantic_object=Wine).invoke(text)
    assert caught.value.raw_message is text
    call = AIMessage("", tool_calls=[tool_call(name="Wine", args=WRONG, id="1")])
    with pytest.raises(OutputValidationError) as caught:
        PydanticToolsParser(tools=[Wine]).invoke(call)
    assert caught.value.raw_message is call
