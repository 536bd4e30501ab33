"""`with_structured_output(schema, retries=n)`: an answer that does not fit is sent back to the model with its errors.

Each attempt is a separate call: callbacks, usage counters and jobs count all of them. A refusal is not retried.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from modelwire.errors import InvalidArgument, OutputParserException
from modelwire.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    ToolMessage,
    convert_to_messages,
)
from modelwire.messages.ai import restart_marker
from modelwire.runnables.addable import AddableDict
from modelwire.runnables.base import Runnable
from modelwire.runnables.closing import aclose, close
from modelwire.runnables.step import WholeStep

if TYPE_CHECKING:
    from modelwire.adapters.model.arguments import Arguments
    from modelwire.runnables.config import RunnableConfig
    from modelwire.runnables.run import AsyncRun, Run


class StructuredRetry(WholeStep[Any, Any]):
    """Calls `once`, a model and its parser, up to `retries` more times while the answer does not fit the schema.

    The last error is raised, or returned under "parsing_error" with `include_raw`. In a stream, the parts of an answer
    that did not fit are followed by the next answer from its beginning; a raw message then begins with a chunk that
    has "stream_restart" in its `response_metadata`, so that a sum of the chunks is the last answer.
    """

    def __init__(self, once: Runnable[Any, Any], *, retries: int, include_raw: bool) -> None:
        if type(retries) is not int or retries < 0:
            raise InvalidArgument(
                f"`retries` is how often to ask again: a whole number, 0 or more, not {retries!r}."
            )
        self.once = once
        self.retries = retries
        self.include_raw = include_raw
        self.name = None

    def __repr__(self) -> str:
        return f"StructuredRetry({self.once!r}, retries={self.retries})"

    @property
    def InputType(self) -> Any:
        return self.once.InputType

    @property
    def OutputType(self) -> Any:
        return self.once.OutputType

    @property
    def answer_columns(self) -> Any:
        """The keys that the answers have as dicts, None if they are unknown."""
        return getattr(getattr(self.once, "last", None), "answer_columns", None)

    def _runnables_inside(self) -> Iterable[Runnable[Any, Any]]:
        return (self.once,)

    def _value(self, input: Any, config: RunnableConfig, run: Run | None, kwargs: Arguments) -> Any:
        attempts = _Attempts(self, input)
        while True:
            try:
                found = self.once.invoke(attempts.messages, config, **kwargs)
            except OutputParserException as exc:
                if not attempts.wants_another(exc):
                    raise
                continue
            if not attempts.unfit(found):
                return found

    async def _avalue(
        self, input: Any, config: RunnableConfig, run: AsyncRun | None, kwargs: Arguments
    ) -> Any:
        attempts = _Attempts(self, input)
        while True:
            try:
                found = await self.once.ainvoke(attempts.messages, config, **kwargs)
            except OutputParserException as exc:
                if not attempts.wants_another(exc):
                    raise
                continue
            if not attempts.unfit(found):
                return found

    def _opened(
        self, input: Any, config: RunnableConfig, run: Run | None, kwargs: Arguments
    ) -> Iterator[Any]:
        return self._streamed(_Attempts(self, input), config, kwargs)

    async def _aopened(
        self, input: Any, config: RunnableConfig, run: AsyncRun | None, kwargs: Arguments
    ) -> AsyncIterator[Any]:
        return self._astreamed(_Attempts(self, input), config, kwargs)

    def _streamed(
        self, attempts: _Attempts, config: RunnableConfig, kwargs: Arguments
    ) -> Iterator[Any]:
        while True:
            pieces = self.once.stream(attempts.messages, config, **kwargs)
            again = False
            try:
                for piece in pieces:
                    again = attempts.unfit(piece)  # Only the last piece may have a parsing error.
                    yield _restart() if again else piece
            except OutputParserException as exc:
                if not attempts.wants_another(exc):
                    raise
                again = True
            finally:
                close(pieces)
            if not again:
                return

    async def _astreamed(
        self, attempts: _Attempts, config: RunnableConfig, kwargs: Arguments
    ) -> AsyncIterator[Any]:
        while True:
            pieces = self.once.astream(attempts.messages, config, **kwargs)
            again = False
            try:
                async for piece in pieces:
                    again = attempts.unfit(piece)
                    yield _restart() if again else piece
            except OutputParserException as exc:
                if not attempts.wants_another(exc):
                    raise
                again = True
            finally:
                await aclose(pieces)
            if not again:
                return


class _Attempts:
    """The messages of the next call, and the number of retries that are left."""

    def __init__(self, owner: StructuredRetry, input: Any) -> None:
        self.messages: list[BaseMessage] = convert_to_messages(input)
        self._left = owner.retries
        self._include_raw = owner.include_raw

    def unfit(self, found: Any) -> bool:
        """Return whether to call the model again because of the parsing error of a result with `include_raw`."""
        has_error = self._include_raw and isinstance(found, Mapping)
        return has_error and self.wants_another(found.get("parsing_error"))

    def wants_another(self, error: Any) -> bool:
        """Return whether to call the model again because of `error`; if so, add the feedback to `messages`."""
        answer = getattr(error, "raw_message", None)
        if not isinstance(error, OutputParserException) or not isinstance(answer, AIMessage):
            return False
        if not self._left:
            return False
        self._left -= 1
        self.messages = [*self.messages, *_feedback(answer, error)]
        return True


def _feedback(answer: AIMessage, error: OutputParserException) -> list[BaseMessage]:
    """Return the answer followed by its errors: one tool message for each call, which providers require, or a text."""
    text = (
        f"This answer does not fit the form that was asked for:\n{_reasons(error)}\n"
        "Answer again, with the whole value in that form."
    )
    calls = [*answer.tool_calls, *answer.invalid_tool_calls]
    if calls:
        return [
            answer,
            *(ToolMessage(text, tool_call_id=call["id"] or "", status="error") for call in calls),
        ]
    if answer.text.strip():
        return [answer, HumanMessage(text)]
    return [HumanMessage(text)]


def _reasons(error: OutputParserException) -> str:
    """Return the reasons of a validation error; for a pydantic value one line per field, without the value."""
    from modelwire.output_parsers.validation import OutputValidationError

    if not isinstance(error, OutputValidationError):
        cause = error.__cause__
        return str(cause if type(cause) is ValueError else error)
    lines = (
        (".".join(map(str, line["loc"])), line["msg"]) for line in error.errors(include_url=False)
    )
    return "\n".join(f"- {f'`{where}`: ' if where else ''}{reason}" for where, reason in lines)


def _restart() -> AddableDict:
    return AddableDict(raw=restart_marker())
