"""Parsers that parse a stream while it arrives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from modelwire.messages import BaseMessage, BaseMessageChunk
from modelwire.messages.conversion import own_message
from modelwire.output_parsers.base import BaseOutputParser, generation_of, not_an_answer
from modelwire.runnables.addable import growing
from modelwire.runnables.closing import aclose, close
from modelwire.runnables.config import Config, settled
from modelwire.runnables.deadline import acovered_chunks, covered_chunks
from modelwire.runnables.lazy_rooms import outputs
from modelwire.runnables.run import atransformed, transformed

if TYPE_CHECKING:
    from modelwire.outputs import Generation

__all__ = ["BaseCumulativeTransformOutputParser", "BaseTransformOutputParser"]

T = TypeVar("T")
# Chunks of answers, or of texts.
Answers: TypeAlias = Iterator[str | BaseMessage]
AsyncAnswers: TypeAlias = AsyncIterator[str | BaseMessage]


class BaseTransformOutputParser(BaseOutputParser[T]):
    """A parser that parses each chunk of a stream by itself."""

    def transform(
        self,
        input: Answers,
        config: Config = None,
        **kwargs: Any,
    ) -> Iterator[T]:
        ready = settled(config)
        return transformed(
            self,
            input,
            ready,
            lambda items, *_: covered_chunks(self._transform(items), ready.get("deadline"), self),
            "parser",
        )

    def atransform(
        self,
        input: AsyncAnswers,
        config: Config = None,
        **kwargs: Any,
    ) -> AsyncIterator[T]:
        ready = settled(config)
        return atransformed(
            self,
            input,
            ready,
            lambda items, *_: acovered_chunks(self._atransform(items), ready.get("deadline"), self),
            "parser",
        )

    def _transform(self, input: Answers) -> Iterator[T]:
        try:
            for chunk in input:
                yield self.parse_result([generation_of(chunk, self)])
        finally:
            close(input)

    async def _atransform(self, input: AsyncAnswers) -> AsyncIterator[T]:
        try:
            async for chunk in input:
                yield await self.aparse_result([generation_of(chunk, self)])
        finally:
            await aclose(input)


class BaseCumulativeTransformOutputParser(BaseTransformOutputParser[T]):
    """A parser that parses the sum of all chunks so far after each chunk, and yields each value that has changed.

    With `diff` it yields the changes instead; subclasses then define `_diff`.
    """

    diff: bool = False

    def _diff(self, prev: T | None, next: T) -> T:
        """Return the difference between `prev` and `next`."""
        raise NotImplementedError(f"`{type(self).__name__}` does not support `diff`.")

    def _transform(self, input: Answers) -> Iterator[T]:
        so_far: Generation | None = None
        seen: list[T | None] = [None]
        try:
            for chunk in input:
                so_far = self._joined(so_far, chunk)
                yield from self._news(seen, self.parse_result([so_far], partial=True))
            if so_far is not None:
                yield from self._news(seen, self.parse_result([so_far]))
        finally:
            close(input)

    async def _atransform(self, input: AsyncAnswers) -> AsyncIterator[T]:
        so_far: Generation | None = None
        seen: list[T | None] = [None]
        try:
            async for chunk in input:
                so_far = self._joined(so_far, chunk)
                parsed = await self.aparse_result([so_far], partial=True)
                for value in self._news(seen, parsed):
                    yield value
            if so_far is not None:
                for value in self._news(seen, await self.aparse_result([so_far])):
                    yield value
        finally:
            await aclose(input)

    def _news(self, seen: list[T | None], parsed: T | None) -> Iterator[T]:
        """Yield the parsed value, or with `diff` its difference, if it differs from the one in `seen`; store it there.

        Readers must not add versions of a text, a number or a list, so the class of these values marks them.
        """
        prev = seen[0]
        if parsed is None or parsed == prev:
            return
        seen[0] = parsed
        yield self._diff(prev, parsed) if self.diff else cast("T", growing(parsed))

    def _joined(self, so_far: Generation | None, chunk: Any) -> Generation:
        """Return the sum of the chunks so far and this one. A whole message replaces that sum."""
        if isinstance(chunk, str):
            part: Any = outputs.GenerationChunk(text=chunk)
        elif isinstance(chunk, BaseMessageChunk):
            part = outputs.ChatGenerationChunk(message=chunk)
        elif isinstance(chunk, BaseMessage):
            return generation_of(chunk, self)
        elif (message := own_message(chunk)) is not None:
            return self._joined(so_far, message)
        else:
            raise not_an_answer(chunk, self)
        joined: Generation = part if so_far is None else so_far + part
        return joined
