"""The parser that turns answers in JSON into objects of a pydantic class."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Generic, TypeVar, cast

from pydantic_core import ValidationError, to_json

from modelwire.output_parsers.json import JsonOutputParser, json_text
from modelwire.output_parsers.validation import validation_error
from modelwire.outputs import Generation

__all__ = ["PydanticOutputParser"]

Model = TypeVar("Model")


class PydanticOutputParser(JsonOutputParser, Generic[Model]):
    """Parses JSON into an object of the class `pydantic_object`. A stream yields an object whenever the text suffices.

    Example:
        parser = PydanticOutputParser(pydantic_object=Joke)
        (prompt.partial(form=parser.get_format_instructions()) | model | parser).invoke(...)  # a `Joke`
    """

    def __init__(self, *, pydantic_object: type[Model], **kwargs: Any) -> None:
        super().__init__(pydantic_object=pydantic_object, **kwargs)

    @property
    def OutputType(self) -> Any:
        return self.pydantic_object

    def parse(self, text: str) -> Model:
        """Return an object read from the JSON in a text. Raises: `OutputParserException`, `OutputValidationError`."""
        return cast("Model", self.parse_result([Generation(text=text)]))

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Model | None:
        """Return an object read from the first candidate; with `partial`, None if it is not complete enough."""
        value = self._value(result[0], partial=partial)
        try:
            return cast("Model", validate(self.pydantic_object, value, partial=partial))
        except ValueError as exc:  # pydantic's `ValidationError`, of v1 and of v2
            if partial:
                return None
            name = model_name(self.pydantic_object)
            text = json_text(value)
            raise validation_error(
                f"Failed to parse {name} from completion {text}. Got: {exc}",
                exc,
                llm_output=text,
                raw_message=getattr(result[0], "message", None),
            ) from exc

    @property
    def _type(self) -> str:
        return "pydantic"


def validate(model: Any, value: Any, *, partial: bool = False) -> Any:
    """Return an object of a pydantic class, v2 or v1. Raises pydantic's `ValidationError`.

    A complete value that a strict class rejects is parsed again as JSON, in which dates and enumerations are texts.
    """
    if not hasattr(model, "model_validate"):
        return model.parse_obj(value)
    try:
        return model.model_validate(value)
    except ValidationError:
        if not partial:
            with suppress(
                ValueError
            ):  # The first error is raised, because it names the types of the value.
                return model.model_validate_json(to_json(value))
        raise


def model_name(model: Any) -> str:
    """Return the name of the tool for a pydantic class: its title, or the name of the class."""
    title = getattr(model, "model_config", {}).get("title")
    return str(title or model.__name__)
