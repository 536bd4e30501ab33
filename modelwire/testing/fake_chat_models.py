"""Chat models with prepared answers, for tests of code that uses a model."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pydantic.fields import Field

from modelwire.adapters.model.base import BaseChatModel
from modelwire.adapters.wires.wire import HOME_WIRE, Wire, wire_named
from modelwire.aliases import Fields
from modelwire.errors import InvalidArgument
from modelwire.language_models.simple_chat_model import SimpleChatModel
from modelwire.messages import AIMessage, AIMessageChunk, BaseMessage, tool_call_chunk
from modelwire.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

if TYPE_CHECKING:
    from modelwire.runnables import Runnable


def _result(message: BaseMessage) -> ChatResult:
    """Return a result with a copy of the message, so that changes to an answer do not change the prepared one."""
    return ChatResult(generations=[ChatGeneration(message=message.model_copy())])


async def _sleep(seconds: float | None) -> None:
    if seconds is not None:
        import asyncio

        await asyncio.sleep(seconds)


class _Fake(BaseChatModel):
    """Base of the fake models. Tools and schemas can be bound, but they do not change the prepared answer."""

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        """Return the answer of `_generate`, which is called without a thread because it does not wait."""
        manager = None
        if run_manager:
            manager = run_manager.get_sync()
        return self._generate(messages, stop, manager, **kwargs)

    def _wire(self) -> Wire:
        """Return the wire whose format bound tools and schemas have."""
        return wire_named(HOME_WIRE)

    def bind_tools(
        self,
        tools: Sequence[Any],
        *,
        tool_choice: Any = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[Any, AIMessage]:
        """Bind `tools` after the same checks as for a provider. Tool calls come from the prepared messages.

        `.kwargs["tools"]` of the result contains the tools as they would be sent.
        """
        from modelwire.adapters.model.tools import bind_tools

        # `bind_tools` needs a model with `_wire`, as this one has.
        model: Any = self
        return bind_tools(
            model,
            tools,
            tool_choice=tool_choice,
            strict=strict,
            parallel_tool_calls=parallel_tool_calls,
            **kwargs,
        )

    def _structured(
        self, schema: Any, *, include_raw: bool, method: str | None = None, **kwargs: Any
    ) -> Runnable:
        """Return a runnable that parses the tool calls of prepared messages, or the JSON in prepared texts; `method`
        selects one of them.
        """
        from modelwire.adapters.model.structured_output import structured_by_either

        return structured_by_either(self, schema, include_raw=include_raw, method=method, **kwargs)


class _Listed(_Fake):
    """Returns the answers of a list in turn, and starts again after the last."""

    # Seconds to wait before an answer, or before each chunk of one.
    sleep: float | None = None
    # The index of the next answer in the list.
    i: int = Field(default=0, exclude=True)

    def _next(self, responses: Sequence[Any]) -> Any:
        if not responses:
            raise InvalidArgument(f"`{type(self).__name__}` has no `responses` to answer with.")
        response = responses[self.i]
        self.i = (self.i + 1) % len(responses)
        return response

    def _answer_next(self) -> ChatResult:
        raise NotImplementedError

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        if self.sleep is not None:
            time.sleep(self.sleep)
        return self._answer_next()

    async def _agenerate(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> ChatResult:
        await _sleep(self.sleep)
        return self._answer_next()


class FakeMessagesListChatModel(_Listed):
    """Returns the messages of `responses` in turn, and starts again after the last."""

    responses: list[BaseMessage]

    @property
    def _llm_type(self) -> str:
        return "fake-messages-list-chat-model"

    def _answer_next(self) -> ChatResult:
        return _result(self._next(self.responses))


class FakeListChatModelError(Exception):
    """`FakeListChatModel` raises this at the chunk that `error_on_chunk_number` selects."""


class FakeListChatModel(_Listed):
    """Returns the texts of `responses` in turn, and starts again after the last; streams them character by character.

    `error_on_chunk_number` makes a stream fail before that character, counted from 0. A batch is
    answered in order.
    """

    responses: list[str]
    error_on_chunk_number: int | None = None

    @property
    def _llm_type(self) -> str:
        return "fake-list-chat-model"

    @property
    def _identifying_params(self) -> Fields:
        return {"responses": self.responses}

    def _answer_next(self) -> ChatResult:
        return _result(AIMessage(self._next(self.responses)))

    def _chunk(self, text: str, number: int) -> ChatGenerationChunk:
        if number == self.error_on_chunk_number:
            raise FakeListChatModelError
        position: Any = "last" if number == len(text) - 1 else None
        return ChatGenerationChunk(
            message=AIMessageChunk(content=text[number], chunk_position=position)
        )

    def _stream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        text = self._next(self.responses)
        for number in range(len(text)):
            if self.sleep is not None:
                time.sleep(self.sleep)
            yield self._chunk(text, number)

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        text = self._next(self.responses)
        for number in range(len(text)):
            await _sleep(self.sleep)
            yield self._chunk(text, number)

    def batch(
        self,
        inputs: Iterable[Any],
        config: Any = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        """Answer one input after the other, so that the first gets the first answer."""
        return super().batch(
            inputs, _one_by_one(config), return_exceptions=return_exceptions, **kwargs
        )

    async def abatch(
        self,
        inputs: Iterable[Any],
        config: Any = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        return await super().abatch(
            inputs, _one_by_one(config), return_exceptions=return_exceptions, **kwargs
        )


def _one_by_one(config: Any) -> Any:
    if isinstance(config, Sequence):
        return [{**one, "max_concurrency": 1} for one in config]
    return {**(config or {}), "max_concurrency": 1}


class FakeChatModel(_Fake, SimpleChatModel):
    """Answers every input with `fake response`."""

    @property
    def _llm_type(self) -> str:
        return "fake-chat-model"

    @property
    def _identifying_params(self) -> Fields:
        return {"key": "fake"}

    def _call(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> str:
        return "fake response"


class ParrotFakeChatModel(_Fake):
    """Answers with the last message of its input."""

    @property
    def _llm_type(self) -> str:
        return "parrot-fake-chat-model"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return _result(messages[-1])


class GenericFakeChatModel(_Fake):
    """Returns the items of the iterator `messages`, texts or messages, and streams them word by
    word, with spaces between.

    `itertools.cycle` makes the iterator endless. The chunks add up to the message, with its tool calls
    and its usage.
    """

    messages: Any  # An iterator of `AIMessage` and str, which validation would consume.

    @property
    def _llm_type(self) -> str:
        return "generic-fake-chat-model"

    def _next(self) -> AIMessage:
        message = next(self.messages, None)
        if message is None:
            raise InvalidArgument(
                "`messages` of `GenericFakeChatModel` has ended: it needs an answer for each call."
            )
        answer: AIMessage = message
        if isinstance(message, str):
            answer = AIMessage(message)
        return answer

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return _result(self._next())

    def _stream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in _words(self._next()):
            yield ChatGenerationChunk(message=chunk)

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in _words(self._next()):
            yield ChatGenerationChunk(message=chunk)


def _words(message: AIMessage) -> list[AIMessageChunk]:
    """Split a message into chunks with its content, its tool calls and its `additional_kwargs`.

    The last chunk has the usage and the metadata.
    """
    content = message.content
    if isinstance(content, str):
        pieces: list[Any] = [piece for piece in re.split(r"(\s)", content) if piece]
    else:  # Each block gets an index of its own, so that it is not merged with another one.
        pieces = [
            [{"index": i, **block} if isinstance(block, dict) else block]
            for i, block in enumerate(content)
        ]
    chunks = [AIMessageChunk(content=piece) for piece in pieces]
    calls = [*message.tool_calls, *message.invalid_tool_calls]
    if message.additional_kwargs.get("tool_calls"):
        calls = []  # `additional_kwargs` has the same calls in OpenAI's format.
    for number, call in enumerate(calls):
        args = call["args"]  # An invalid tool call has a text here.
        if isinstance(args, dict):
            args = json.dumps(args)
        part = tool_call_chunk(name=call["name"], args=args, id=call["id"], index=number)
        chunks.append(AIMessageChunk(content="", tool_call_chunks=[part]))
    for key, value in message.additional_kwargs.items():
        chunks += [
            AIMessageChunk(content="", additional_kwargs={key: part}) for part in _parts(key, value)
        ]
    if not chunks or chunks[-1].additional_kwargs:
        chunks.append(AIMessageChunk(content=""))
    last = chunks[-1]
    last.chunk_position = "last"
    last.usage_metadata = message.usage_metadata
    last.response_metadata = dict(message.response_metadata)
    for chunk in chunks:
        chunk.id, chunk.name = message.id, message.name
    return chunks


def _parts(key: str, value: Any) -> list[Any]:
    """Split OpenAI's older `function_call` at the commas of its arguments."""
    if key != "function_call" or not isinstance(value, dict):
        return [value]
    parts: list[Any] = []
    for name, part in value.items():
        if isinstance(part, str) and name == "arguments":
            texts = re.split("(,)", part)
        else:
            texts = [part]
        parts += [{name: text} for text in texts]
    return parts
