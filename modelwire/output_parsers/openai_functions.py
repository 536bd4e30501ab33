"""Parsers of `function_call`, OpenAI's format before tools; old scripts and services still use it."""

from __future__ import annotations

from typing import Any

from modelwire.aliases import JSON
from modelwire.errors import InvalidArgument, OutputParserException
from modelwire.messages.partial_json import parse_partial_json
from modelwire.output_parsers.json import check_model
from modelwire.output_parsers.markdown_json import parse_complete_json
from modelwire.output_parsers.pydantic import validate
from modelwire.output_parsers.refusal import check_refusal
from modelwire.output_parsers.transform import BaseCumulativeTransformOutputParser
from modelwire.outputs import ChatGeneration, Generation

__all__ = [
    "JsonKeyOutputFunctionsParser",
    "JsonOutputFunctionsParser",
    "PydanticAttrOutputFunctionsParser",
    "PydanticOutputFunctionsParser",
]


def _call(result: list[Generation], *, partial: bool) -> JSON | None:
    answer = result[0]
    if not isinstance(answer, ChatGeneration):
        raise OutputParserException("This output parser can only be used with a chat generation.")
    check_refusal(answer.message, partial=partial)
    call = answer.message.additional_kwargs.get("function_call")
    if call is None and not partial:
        raise OutputParserException(
            "Could not parse function call: the answer has no `function_call`."
        )
    return call


def _complete(text: str, *, strict: bool) -> Any:
    if not strict:
        return parse_complete_json(text)
    import json

    return json.loads(text)


class JsonOutputFunctionsParser(BaseCumulativeTransformOutputParser[Any]):
    """Returns the arguments of the function call; with `args_only=False`, a dict of `name` and `arguments`.

    `strict` rejects raw line breaks in strings.
    """

    strict: bool = False
    args_only: bool = True

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Return the call of the first candidate, parsed.

        Raises: `OutputParserException` if there is none, or if it is not JSON.
        """
        call = _call(result, partial=partial)
        if call is None:
            return None
        text = call.get("arguments") or ""
        try:
            arguments = parse_partial_json(text) if partial else _complete(text, strict=self.strict)
        except (ValueError, TypeError) as exc:
            if partial:
                return None
            raise OutputParserException(
                f"Could not parse function call data: {exc}", llm_output=text
            ) from exc
        if self.args_only:
            return arguments
        return {**call, "arguments": arguments}

    def parse(self, text: str) -> Any:
        """Raise `InvalidArgument`: a function call is not part of a text."""
        raise InvalidArgument("This parser reads the `function_call` of a message, not a text.")


class JsonKeyOutputFunctionsParser(JsonOutputFunctionsParser):
    """Reads the arguments of the function call and returns the value under `key_name`."""

    key_name: str

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Return the value; with `partial`, None until it has arrived. Raises: `OutputParserException`."""
        arguments = super().parse_result(result, partial=partial)
        if partial:
            return (arguments or {}).get(self.key_name)
        if self.key_name not in arguments:
            raise OutputParserException(f"The function call has no argument `{self.key_name}`.")
        return arguments[self.key_name]


class PydanticOutputFunctionsParser(JsonOutputFunctionsParser):
    """Returns the arguments of the function call as an object of `pydantic_schema`.

    `pydantic_schema` is a pydantic class, or a dict of classes by function name.
    """

    pydantic_schema: Any
    args_only: bool = True

    def model_post_init(self, context: Any, /) -> None:
        """Check the classes before any answer is read."""
        known = self.pydantic_schema
        for one in known.values() if isinstance(known, dict) else [known]:
            check_model(one)

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Return the object. Raises: `OutputParserException`, or pydantic's error for arguments that do not fit."""
        call = _call(result, partial=partial)
        arguments = JsonOutputFunctionsParser(strict=self.strict).parse_result(
            result, partial=partial
        )
        if call is None or (partial and arguments is None):
            return None
        schema = self.pydantic_schema
        if isinstance(schema, dict):
            if call.get("name") not in schema:
                raise OutputParserException(
                    f"The answer calls `{call.get('name')}`, for which `pydantic_schema` has no class."
                )
            schema = schema[call["name"]]
        try:
            return validate(schema, arguments)
        except ValueError:
            if not partial:
                raise
            return None  # The object is not complete yet.


class PydanticAttrOutputFunctionsParser(PydanticOutputFunctionsParser):
    """Reads the arguments of the function call as an object, and returns its attribute `attr_name`."""

    attr_name: str

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Return the attribute. Raises the errors of `PydanticOutputFunctionsParser`."""
        made = super().parse_result(result, partial=partial)
        if made is None:
            return None
        return getattr(made, self.attr_name)
