"""The parser behind `with_structured_output`: it returns the requested value, never None, or raises an error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from pydantic.fields import Field

from modelwire.errors import ModelRefusalError, OutputParserException
from modelwire.messages import AIMessage, AIMessageChunk, BaseMessage, message_chunk_to_message
from modelwire.messages.partial_json import without_open_number
from modelwire.output_parsers.json import JsonOutputParser, json_text, shortened
from modelwire.output_parsers.openai_tools import JsonOutputKeyToolsParser, cut_short
from modelwire.output_parsers.pydantic import validate
from modelwire.output_parsers.transform import BaseCumulativeTransformOutputParser
from modelwire.output_parsers.validation import validation_error
from modelwire.outputs import ChatGeneration, Generation

_LIMIT_HINT = (
    " The answer was cut short by the token limit: give the model a higher one (`max_tokens`)."
)


class StructuredOutputParser(BaseCumulativeTransformOutputParser[Any]):
    """Returns the requested value of an answer: the arguments of the tool `key_name`, or the JSON in the text.

    With `pydantic_object` the value becomes an object of that class. `check` raises a `ValueError` for a complete value
    that does not fit; the growing values of a stream are not checked. `title` names the requested form in errors,
    `answer_columns` are its keys, None if unknown. An answer without such a value raises `OutputParserException`, with
    the answer as `raw_message`. A refusal raises `ModelRefusalError`; with `on_refusal="message"` its `AIMessage` is
    returned instead.

    A stream yields dicts that grow from `{}`, or objects once their required fields have arrived. A number is yielded
    once its last digit has arrived.
    """

    title: str = "the answer"
    key_name: str | None = None
    text_too: bool = False  # If True, the text of an answer without tool calls is parsed.
    pydantic_object: Any = None
    check: Callable[[Any], None] | None = Field(default=None, repr=False, exclude=True)
    on_refusal: Literal["raise", "message"] = "raise"
    answer_columns: Sequence[str] | None = Field(default=None, repr=False, exclude=True)

    @property
    def OutputType(self) -> Any:
        return self.pydantic_object or dict[str, Any]

    def parse(self, text: str) -> Any:
        """Return the value in a text."""
        return self.parse_result([Generation(text=text)])

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Return the value in the first candidate; with `partial`, its part so far, or None if it has not begun.

        Raises: `OutputParserException`, which is also a `ValidationError` if pydantic rejected the value; and
        `ModelRefusalError`.
        """
        try:
            return self._part(result) if partial else self._complete(result)
        except ModelRefusalError as exc:
            if self.on_refusal == "raise":
                raise
            return _whole(exc.raw_message)

    def _complete(self, result: list[Generation]) -> Any:
        message = getattr(result[0], "message", None)
        by_tool = self._is_by_tool(message)
        try:
            value = self._read_value(result, by_tool=by_tool)
            if by_tool and cut_short(result[0]):
                # Some APIs send parsed arguments, which hides that some of them are missing.
                raise OutputParserException(
                    f"The arguments of the tool `{self.key_name}` are not complete."
                )
            if value is None:
                if by_tool:
                    problem = self._nothing(message, result[0].text)
                else:
                    problem = f"`null` is not {self.title}."
                raise OutputParserException(problem, llm_output=result[0].text)
            return self._fitted(value)
        except OutputParserException as exc:
            exc.raw_message = _whole(message)
            if not by_tool and not result[0].text.strip():
                exc.args = ("The answer is empty.",)
            if cut_short(result[0]) and "cut short" not in str(exc):
                exc.args = (f"{exc}{_LIMIT_HINT}",)
            raise

    def _is_by_tool(self, message: BaseMessage | None) -> bool:
        if self.key_name is None or not self.text_too:
            return self.key_name is not None
        kinds = ("tool_calls", "invalid_tool_calls", "tool_call_chunks")
        return any(getattr(message, kind, None) for kind in kinds)

    def _read_value(self, result: list[Generation], *, by_tool: bool, partial: bool = False) -> Any:
        reader: Any = _SteadyJsonParser()
        if by_tool:
            reader = JsonOutputKeyToolsParser(key_name=self.key_name or "", first_tool_only=True)
            result = [_without_open_numbers(result[0])] if partial else result
        return reader.parse_result(result, partial=partial)

    def _part(self, result: list[Generation]) -> Any:
        by_tool = self._is_by_tool(getattr(result[0], "message", None))
        value = self._read_value(result, by_tool=by_tool, partial=True)
        if value is None or self.pydantic_object is None:
            return value
        try:
            return validate(self.pydantic_object, value, partial=True)
        except ValueError:  # The value so far does not suffice.
            return None

    def _fitted(self, value: Any) -> Any:
        try:
            if self.check is not None:
                self.check(value)
            if self.pydantic_object is None:
                return value
            return validate(self.pydantic_object, value)
        except ValueError as exc:  # pydantic's `ValidationError`, of v1 and of v2
            value_text = json_text(value)
            text = (
                f"Failed to parse {self.title} from completion {shortened(value_text)}. Got: {exc}"
            )
            raise validation_error(text, exc, llm_output=value_text) from exc

    def _nothing(self, message: BaseMessage | None, text: str) -> str:
        """Return the text of the error for an answer that has no value."""
        calls = message.tool_calls if isinstance(message, AIMessage) else []
        others = ", ".join(f"`{call['name']}`" for call in calls)
        if others:
            came = f"it called {others}"
        elif text:
            came = f"its answer: {shortened(text)}"
        else:
            came = "its answer is empty"
        return f"The model did not call the tool `{self.key_name}`, which has the form of the answer; {came}"

    @property
    def _type(self) -> str:
        return "structured"


class _SteadyJsonParser(JsonOutputParser):
    """Parses JSON without a number at its end that is not complete yet."""

    def _so_far(self, text: str) -> str:
        return without_open_number(text)


def _without_open_numbers(answer: Any) -> Any:
    """Return an answer without numbers that are not complete yet in the arguments of its calls."""
    chunks = getattr(getattr(answer, "message", None), "tool_call_chunks", None) or []
    steady = [{**chunk, "args": without_open_number(chunk["args"] or "")} for chunk in chunks]
    if steady == chunks:
        return answer
    return ChatGeneration(message=AIMessageChunk(content="", tool_call_chunks=steady))


def _whole(message: BaseMessage | None) -> BaseMessage | None:
    if message is None:
        return None
    return message_chunk_to_message(message)
