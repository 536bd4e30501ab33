"""The parser for answers in JSON."""

from __future__ import annotations

from typing import Any

from modelwire.aliases import JSON
from modelwire.errors import InvalidType, OutputParserException
from modelwire.output_parsers.markdown_json import parse_complete_json, parse_json_markdown
from modelwire.output_parsers.refusal import check_refusal
from modelwire.output_parsers.transform import BaseCumulativeTransformOutputParser
from modelwire.outputs import Generation
from modelwire.runnables.json_patch import json_patch

__all__ = ["JsonOutputParser", "SimpleJsonOutputParser"]


class JsonOutputParser(BaseCumulativeTransformOutputParser[Any]):
    """Reads JSON, bare or in a code block. A stream yields the value as it grows; with `diff`, JSON Patches for it.

    If the JSON of a finished answer is cut short, `parse` raises an error. `get_format_instructions` describes
    `pydantic_object`, a pydantic class; the parsed value stays a dict or list all the same.

    Example:
        list((model | JsonOutputParser()).stream("Name two rivers, as JSON."))  # {}, {"rivers": []}, ...
    """

    pydantic_object: Any = None

    def __init__(self, *, pydantic_object: Any = None, **kwargs: Any) -> None:
        if pydantic_object is not None:
            check_model(pydantic_object)
        super().__init__(**{"pydantic_object": pydantic_object, **kwargs})

    def parse(self, text: str) -> Any:
        """Return the value of the JSON in a text. Raises: `OutputParserException`."""
        return self.parse_result([Generation(text=text)])

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Return the value of the JSON in the first candidate; with `partial`, None as long as there is no JSON.

        Raises: `OutputParserException` or `ModelRefusalError`.
        """
        return self._value(result[0], partial=partial)

    def _value(self, answer: Generation, *, partial: bool) -> Any:
        message = getattr(answer, "message", None)
        check_refusal(message, partial=partial)
        if message is None:
            text = answer.text
        else:
            text = _answer_text(message, answer.text, partial=partial)
        try:
            if partial:
                return parse_json_markdown(self._so_far(text))
            return parse_json_markdown(text, parser=parse_complete_json)
        except ValueError as exc:
            if partial:
                return None
            where = exc.__cause__ or exc
            raise OutputParserException(
                f"Invalid json output: {shortened(text)} ({where})",
                llm_output=text,
                raw_message=message,
            ) from None

    def _so_far(self, text: str) -> str:
        """Return the part of an incomplete text that is parsed."""
        return text

    def _diff(self, prev: Any, next: Any) -> list[JSON]:
        return json_patch(prev, next)

    def get_format_instructions(self) -> str:
        """Return a text that asks for JSON, with the schema of `pydantic_object` if there is one."""
        model = self.pydantic_object
        if model is None:
            return "Answer with a JSON object."
        import json

        if hasattr(model, "model_json_schema"):
            schema = model.model_json_schema()
        else:
            schema = model.schema()
        described = {key: value for key, value in schema.items() if key not in ("title", "type")}
        return (
            "Answer with one JSON object that is valid for the JSON schema below, and nothing else."
            " The object holds the values themselves: for the schema"
            ' {"properties": {"name": {"type": "string"}}, "required": ["name"]} the answer is {"name": "Ada"}.\n'
            f"```json\n{json.dumps(described, ensure_ascii=False)}\n```"
        )

    @property
    def _type(self) -> str:
        return "simple_json_output_parser"


SimpleJsonOutputParser = JsonOutputParser


def check_model(model: Any) -> None:
    if not (
        isinstance(model, type)
        and (hasattr(model, "model_validate") or hasattr(model, "parse_obj"))
    ):
        shown = model.__name__ if isinstance(model, type) else type(model).__name__
        raise InvalidType(
            f"A pydantic class is needed here, not `{shown}`. Subclass `pydantic.BaseModel`."
        )


def _answer_text(message: Any, text: str, *, partial: bool) -> str:
    """Return the text of an answer without the commentary that may precede it on OpenAI's Responses API."""
    blocks = message.content if isinstance(message.content, list) else ()
    phases = [block.get("phase") if isinstance(block, dict) else None for block in blocks]
    if "commentary" not in phases:
        return text
    rest = message.model_copy(
        update={
            "content": [
                block for block, phase in zip(blocks, phases, strict=True) if phase != "commentary"
            ]
        }
    )
    answer = str(rest.text)
    # If the whole answer is commentary, the error shows it.
    return answer if partial or answer else text


def json_text(value: Any) -> str:
    """Return a value as JSON text."""
    import json

    return json.dumps(value, ensure_ascii=False)


def shortened(text: str, most: int = 2000) -> str:
    """Return a text, or the beginning of a long one, for an error."""
    if len(text) <= most:
        return text
    return f"{text[:most]}... ({len(text)} characters)"
