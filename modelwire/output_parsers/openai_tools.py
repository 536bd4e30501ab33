"""Parsers of the tool calls in an answer: as dicts, or as objects of pydantic classes.

A call whose arguments cannot be parsed, for instance because a token limit cut them short, is an error once the answer
is complete. In a stream, the part of the arguments that has arrived is parsed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from modelwire.aliases import JSON, Values
from modelwire.errors import InvalidType, OutputParserException, did_you_mean
from modelwire.messages import BaseMessage, InvalidToolCall
from modelwire.messages.finish_reasons import CUT_REASONS, finish_reason_of
from modelwire.messages.partial_json import parse_partial_json
from modelwire.messages.tool_calls import invalid_tool_call, parse_tool_args, tool_name
from modelwire.messages.tool_calls import tool_call as made_tool_call
from modelwire.output_parsers.json import check_model, json_text
from modelwire.output_parsers.pydantic import model_name, validate
from modelwire.output_parsers.refusal import check_refusal
from modelwire.output_parsers.transform import BaseCumulativeTransformOutputParser
from modelwire.output_parsers.validation import validation_error
from modelwire.outputs import ChatGeneration, Generation

__all__ = [
    "JsonOutputKeyToolsParser",
    "JsonOutputToolsParser",
    "PydanticToolsParser",
    "make_invalid_tool_call",
    "parse_tool_call",
    "parse_tool_calls",
]


_log = logging.getLogger(__name__)


def parse_tool_call(
    raw_tool_call: Values,
    *,
    partial: bool = False,
    strict: bool = False,
    return_id: bool = True,
) -> JSON | None:
    """Return a tool call in OpenAI's format with its arguments parsed.

    The result is None if it is not a call of a function, or with `partial` if its arguments have not begun. `strict`
    rejects raw line breaks in strings. Raises: `OutputParserException` for arguments that are not JSON.
    """
    function = raw_tool_call.get("function")
    if not isinstance(function, Mapping):
        return None
    name = function.get("name") or ""
    text = function.get("arguments")
    if partial and not text:
        return None
    try:
        args = _arguments(text, partial=partial, strict=strict)
    except ValueError as exc:
        if partial:
            return None
        raise OutputParserException(
            f"Function {name} arguments:\n\n{text}\n\nare not valid JSON. {exc}",
            llm_output=str(text),
        ) from exc
    if return_id:
        return dict(made_tool_call(name=name, args=args, id=raw_tool_call.get("id")))
    return {"name": name, "args": args}


def parse_tool_calls(
    raw_tool_calls: list[JSON],
    *,
    partial: bool = False,
    strict: bool = False,
    return_id: bool = True,
) -> list[JSON]:
    """Return tool calls in OpenAI's format, parsed. Raises one `OutputParserException` for all invalid ones."""
    calls = []
    failures = []
    for raw in raw_tool_calls:
        try:
            call = parse_tool_call(raw, partial=partial, strict=strict, return_id=return_id)
        except OutputParserException as exc:
            failures.append(str(exc))
            continue
        if call is not None:
            calls.append(call)
    if failures:
        raise OutputParserException("\n\n".join(failures))
    return calls


def make_invalid_tool_call(raw_tool_call: Values, error_msg: str | None) -> InvalidToolCall:
    """Return an invalid tool call made from one in OpenAI's format."""
    function = raw_tool_call.get("function") or {}
    return invalid_tool_call(
        name=function.get("name"),
        args=function.get("arguments"),
        id=raw_tool_call.get("id"),
        error=error_msg,
    )


def _arguments(text: Any, *, partial: bool, strict: bool) -> Any:
    if isinstance(text, Mapping):  # Some services send an object instead of its JSON text.
        return dict(text)
    if partial:
        return parse_partial_json(text, strict=strict)
    if strict and text:
        return from_json(text)
    return parse_tool_args(text)


class JsonOutputToolsParser(BaseCumulativeTransformOutputParser[Any]):
    """Returns the tool calls of an answer: a list of `{"type": name, "args": {...}}`, with `id` if `return_id`.

    With `first_tool_only` the result is the first call, or None without a call.
    """

    strict: bool = False
    return_id: bool = False
    first_tool_only: bool = False

    def parse(self, text: str) -> Any:
        """Raise an error: a text has no tool calls, so pass a message to `invoke`. Raises: `InvalidType`."""
        raise InvalidType(f"`{type(self).__name__}` parses a message, not a text.")

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Return the tool calls of the first candidate. Raises: `OutputParserException` or `ModelRefusalError`."""
        calls = self._calls(result, partial=partial)
        return self._chosen([self._shown(call) for call in calls])

    def _calls(self, result: list[Generation], *, partial: bool) -> list[JSON]:
        """Return the calls that this parser handles."""
        answer = result[0]
        if not isinstance(answer, ChatGeneration):
            raise OutputParserException(
                "This output parser can only be used with a chat generation."
            )
        message = answer.message
        check_refusal(message, partial=partial)
        calls: list[JSON] = [dict(call) for call in getattr(message, "tool_calls", ())]
        if not calls:
            raw = message.additional_kwargs.get("tool_calls") or []
            calls = parse_tool_calls(raw, partial=partial, strict=self.strict)
        if not partial:
            self._refuse_invalid(message)
        return [call for call in calls if self._wanted(call["name"])]

    def _refuse_invalid(self, message: BaseMessage) -> None:
        for call in getattr(message, "invalid_tool_calls", ()):
            if self._wanted(call["name"]):
                problem = f"The arguments of the tool call `{call['name']}` cannot be read: {call.get('error')}"
                if cut_short(message):
                    problem += " The answer was cut short by the token limit."
                raise OutputParserException(problem, llm_output=call["args"])

    def _wanted(self, name: str | None) -> bool:
        return True

    def _chosen(self, values: list[Any]) -> Any:
        if self.first_tool_only:
            return values[0] if values else None
        return values

    def _shown(self, call: JSON) -> Any:
        shown = {"args": call["args"], "type": call["name"]}
        if self.return_id:
            return {**shown, "id": call.get("id")}
        return shown


class JsonOutputKeyToolsParser(JsonOutputToolsParser):
    """Returns the arguments of the calls of the tool `key_name`; with `return_id`, the calls as dicts."""

    key_name: str

    def __init__(self, *, key_name: str, **kwargs: Any) -> None:
        if not isinstance(key_name, str):
            raise InvalidType(
                f"`key_name` must be a `str`, the name of a tool, not a `{type(key_name).__name__}`."
            )
        super().__init__(**{"key_name": key_name, **kwargs})

    def _wanted(self, name: str | None) -> bool:
        return name in (self.key_name, tool_name(self.key_name))

    def _shown(self, call: JSON) -> Any:
        if self.return_id:
            return super()._shown(call)
        return call["args"]


class PydanticToolsParser(JsonOutputToolsParser):
    """Returns an object for each tool call, of the pydantic class in `tools` that has the name of the tool.

    A stream yields an object as soon as its arguments suffice. Arguments that do not fit raise `OutputValidationError`,
    which is both a pydantic `ValidationError` and an `OutputParserException`.
    """

    tools: list[Any]

    def __init__(self, *, tools: list[Any], **kwargs: Any) -> None:
        for tool in tools:
            check_model(tool)
        super().__init__(**{"tools": list(tools), **kwargs})

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Return objects made from the tool calls of the first candidate; with `partial`, from the parsable ones.

        Raises: `OutputParserException` for a call of an unknown tool, or arguments that do not fit.
        """
        calls = self._calls(result, partial=partial)
        names = {model_name(tool): tool for tool in self.tools}
        by_name = {**names, **{tool_name(name): tool for name, tool in names.items()}}
        objects = []
        for call in calls[:1] if self.first_tool_only else calls:
            tool = by_name.get(call["name"])
            if tool is None:
                raise OutputParserException(
                    f"Unknown tool type: '{call['name']}'. {did_you_mean(call['name'], list(names))}"
                )
            try:
                objects.append(validate(tool, call["args"], partial=partial))
            except ValueError as exc:  # pydantic's `ValidationError`, of v1 and of v2
                if partial:
                    continue
                if cut_short(result[0]):
                    _log.error(
                        "The arguments of `%s` do not fit, and the answer was cut short: it ended with the"
                        " `max_tokens` stop reason. Give the model a higher token limit.",
                        call["name"],
                    )
                text = json_text(call["args"])
                message = result[0].message  # type: ignore[attr-defined]
                raise validation_error(str(exc), exc, llm_output=text, raw_message=message) from exc
        return self._chosen(objects)


def cut_short(answer: Any) -> bool:
    """Return whether a token limit ended the answer."""
    return finish_reason_of(getattr(answer, "message", answer)) in CUT_REASONS
