"""The parser that returns the text of an answer. It takes a fraction of a microsecond for each token of a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from modelwire.messages import BaseMessage
from modelwire.messages.conversion import own_message
from modelwire.output_parsers.base import not_an_answer
from modelwire.output_parsers.transform import Answers, AsyncAnswers, BaseTransformOutputParser
from modelwire.runnables.closing import aclose, close

if TYPE_CHECKING:
    from modelwire.outputs import Generation

__all__ = ["StrOutputParser"]


class StrOutputParser(BaseTransformOutputParser[str]):
    """Returns the text of an answer.

    Example:
        (prompt | model | StrOutputParser()).invoke({"question": "Who are you?"})  # a `str`
    """

    def parse(self, text: str) -> str:
        return text

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> str:
        return self.parse(result[0].text)

    def _read(self, input: Any) -> str:
        if self._is_plain():
            return text_of(input, self)
        return super()._read(input)

    async def _aread(self, input: Any) -> str:
        if self._is_plain():
            return text_of(input, self)
        return await super()._aread(input)

    def _transform(self, input: Answers) -> Iterator[str]:
        if self._is_plain():
            return self._texts(input)
        return super()._transform(input)

    def _atransform(self, input: AsyncAnswers) -> AsyncIterator[str]:
        if self._is_plain():
            return self._atexts(input)
        return super()._atransform(input)

    def _texts(self, input: Answers) -> Iterator[str]:
        try:
            for chunk in input:
                content: Any = getattr(chunk, "content", chunk)
                yield content if content.__class__ is str else text_of(chunk, self)
        finally:
            close(input)

    async def _atexts(self, input: AsyncAnswers) -> AsyncIterator[str]:
        try:
            async for chunk in input:
                content: Any = getattr(chunk, "content", chunk)
                yield content if content.__class__ is str else text_of(chunk, self)
        finally:
            await aclose(input)

    def _is_plain(self) -> bool:
        """Return whether no subclass overrides how the text is read."""
        kind = type(self)
        return kind is StrOutputParser or (
            kind.parse is StrOutputParser.parse
            and kind.parse_result is StrOutputParser.parse_result
        )

    def get_format_instructions(self) -> str:
        return "Return the answer as plain text."

    @property
    def _type(self) -> str:
        return "default"


def text_of(answer: Any, parser: object) -> str:
    """Return the text of a message or text. Raises: `InvalidType` for anything else."""
    if isinstance(answer, BaseMessage):
        content = answer.content
        if type(content) is str:
            return content
        return str(answer.text)
    if isinstance(answer, str):
        return answer
    if (message := own_message(answer)) is not None:
        return text_of(message, parser)
    raise not_an_answer(answer, parser)
