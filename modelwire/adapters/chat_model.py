"""`BaseChatModel`: a Runnable from messages to a message. It knows no provider and no wire.

Who writes a model of their own overrides `_generate` (and `_agenerate`, `_stream`, `_astream` where there is more to
gain) and `_llm_type`; the models that call a provider are built on `adapters.base`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from uuid import uuid4

from pydantic.fields import Field
from pydantic_core import to_json

from modelwire.adapters.model_run import ModelRun, astart_model_run, heard, start_model_run
from modelwire.errors import InvalidArgument
from modelwire.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    convert_to_messages,
    merge_chunks,
    tool_call_chunk,
)
from modelwire.runnables.closing import aclose, close
from modelwire.runnables.config import RunnableConfig, run_in_executor, settled
from modelwire.runnables.deadline import covered
from modelwire.runnables.serializable import RunnableSerializable

if TYPE_CHECKING:
    from modelwire.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from modelwire.outputs import ChatGenerationChunk, ChatResult

__all__ = ["BaseChatModel", "LanguageModelInput", "chunk_from_message"]

# A prompt value (anything with `to_messages`), a text, or a sequence of messages and what stands for one.
LanguageModelInput: TypeAlias = Any


class BaseChatModel(RunnableSerializable[LanguageModelInput, AIMessage]):
    """A chat model: `invoke`, `stream`, `batch` and their async twins take messages and give an `AIMessage`.

    The input is a text, a prompt value, or a list of messages (or of what `convert_to_messages` takes for one).
    `callbacks`, `tags` and `metadata` are those of every call of this model, and not inherited by anything below it.
    """

    callbacks: Any = Field(default=None, exclude=True, repr=False)
    tags: list[str] | None = Field(default=None, exclude=True, repr=False)
    metadata: dict[str, Any] | None = Field(default=None, exclude=True, repr=False)
    verbose: bool = Field(default=False, exclude=True, repr=False)
    disable_streaming: bool = Field(default=False, exclude=True, repr=False)  # `stream` gives the whole answer at once

    # ------------------------------------------------------------ the hooks

    @property
    @abstractmethod
    def _llm_type(self) -> str:
        """A word for this kind of model."""

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        """What sets this model apart from another of its kind; shown to handlers, so never a secret."""
        return {}

    @abstractmethod
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        """Answer `messages`."""

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        """Answer `messages`; unless overridden, by `_generate` in a thread."""
        manager = run_manager.get_sync() if run_manager else None
        return await run_in_executor(None, self._generate, messages, stop, manager, **kwargs)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        """Answer `messages` chunk by chunk."""
        raise NotImplementedError

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        """Answer `messages` chunk by chunk; unless overridden, by `_stream` in a thread."""
        chunks = self._stream(messages, stop, run_manager.get_sync() if run_manager else None, **kwargs)
        while (chunk := await run_in_executor(None, next, chunks, None)) is not None:
            yield chunk

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        """What handlers hear of the model as run metadata, under the names tracers know."""
        named = {
            "ls_model_type": "chat",
            "ls_provider": self._llm_type,
            "ls_model_name": kwargs.get("model") or getattr(self, "model", None),
            "ls_temperature": kwargs.get("temperature") or getattr(self, "temperature", None),
            "ls_max_tokens": kwargs.get("max_tokens") or getattr(self, "max_tokens", None),
            "ls_stop": stop or getattr(self, "stop", None),
        }
        return {key: value for key, value in named.items() if value is not None}

    # ------------------------------------------------------------ the calls

    @property
    def InputType(self) -> Any:
        """What this model takes."""
        return LanguageModelInput

    @property
    def OutputType(self) -> Any:
        """What this model gives."""
        return AIMessage

    def invoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, *, stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:  # fmt: skip
        """Answer `input`."""
        config, messages = settled(config), self._messages(input)
        if not heard(self, config):
            return self._answer(messages, stop, config, **kwargs)
        with start_model_run(self, messages, config, {"stop": stop, **kwargs}) as run:
            result = self._result(messages, stop, config, run_manager=run.manager, **kwargs)
            _sign(result, f"lc_run--{run.manager.run_id}")
            run.end(result)
        return _only(result)

    async def ainvoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, *, stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:  # fmt: skip
        """Answer `input`."""
        config, messages = settled(config), self._messages(input)
        if not heard(self, config):
            return await self._aanswer(messages, stop, config, **kwargs)
        async with await astart_model_run(self, messages, config, {"stop": stop, **kwargs}) as run:
            result = await self._aresult(messages, stop, config, run_manager=run.manager, **kwargs)
            _sign(result, f"lc_run--{run.manager.run_id}")
            await run.end(result)
        return _only(result)

    def stream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, *, stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:  # fmt: skip
        """Answer `input` chunk by chunk; the chunks add up to the answer of `invoke`."""
        config, messages = settled(config), self._messages(input)
        chunks = self._chunks(messages, stop, config, **kwargs)
        if not heard(self, config):
            return chunks
        return _told(start_model_run(self, messages, config, {"stop": stop, **kwargs}), chunks)

    def astream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, *, stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:  # fmt: skip
        """Answer `input` chunk by chunk; the chunks add up to the answer of `ainvoke`."""
        config, messages = settled(config), self._messages(input)
        if not heard(self, config):
            return self._achunks(messages, stop, config, **kwargs)
        return self._heard_astream(messages, stop, config, **kwargs)

    async def _heard_astream(
        self, messages: list[BaseMessage], stop: list[str] | None, config: RunnableConfig, **kwargs: Any
    ) -> AsyncIterator[AIMessageChunk]:
        run = await astart_model_run(self, messages, config, {"stop": stop, **kwargs})
        chunks = self._achunks(messages, stop, config, **kwargs)
        try:
            async with run:
                async for chunk in chunks:
                    await run.token(chunk)
                    yield chunk
                await run.end(_whole(run.received))
        finally:
            await aclose(chunks)

    # ------------------------------------------------------------ how a call is answered; `adapters.base` overrides

    def _result(
        self, messages: list[BaseMessage], stop: list[str] | None, config: RunnableConfig, **kwargs: Any
    ) -> ChatResult:
        return self._generate(messages, stop=stop, **kwargs)

    async def _aresult(
        self, messages: list[BaseMessage], stop: list[str] | None, config: RunnableConfig, **kwargs: Any
    ) -> ChatResult:
        return await covered(self._agenerate(messages, stop=stop, **kwargs), config.get("deadline"), self)

    def _answer(
        self, messages: list[BaseMessage], stop: list[str] | None, config: RunnableConfig, **kwargs: Any
    ) -> AIMessage:
        return _only(_sign(self._result(messages, stop, config, **kwargs), f"lc_run--{uuid4()}"))

    async def _aanswer(
        self, messages: list[BaseMessage], stop: list[str] | None, config: RunnableConfig, **kwargs: Any
    ) -> AIMessage:
        return _only(_sign(await self._aresult(messages, stop, config, **kwargs), f"lc_run--{uuid4()}"))

    def _chunks(
        self, messages: list[BaseMessage], stop: list[str] | None, config: RunnableConfig, **kwargs: Any
    ) -> Iterator[AIMessageChunk]:
        answer_id = f"lc_run--{uuid4()}"
        if self.disable_streaming or not self._overrides("_stream"):
            yield chunk_from_message(self._answer(messages, stop, config, **kwargs))
            return
        chunks = self._stream(messages, stop=stop, **kwargs)
        try:
            for chunk in chunks:
                yield _signed_chunk(chunk, answer_id)
        finally:
            close(chunks)

    async def _achunks(
        self, messages: list[BaseMessage], stop: list[str] | None, config: RunnableConfig, **kwargs: Any
    ) -> AsyncIterator[AIMessageChunk]:
        answer_id = f"lc_run--{uuid4()}"
        if self.disable_streaming or not (self._overrides("_astream") or self._overrides("_stream")):
            yield chunk_from_message(await self._aanswer(messages, stop, config, **kwargs))
            return
        chunks = self._astream(messages, stop=stop, **kwargs)
        try:
            async for chunk in chunks:
                yield _signed_chunk(chunk, answer_id)
        finally:
            await aclose(chunks)

    def _overrides(self, hook: str) -> bool:
        return getattr(type(self), hook) is not getattr(BaseChatModel, hook)

    def _messages(self, input: LanguageModelInput) -> list[BaseMessage]:
        """Read the input of a call; raise before any request when there is nothing to answer."""
        to_messages = getattr(input, "to_messages", None)
        messages = to_messages() if to_messages is not None else convert_to_messages(_listed(input))
        if not messages:
            raise InvalidArgument(f"`{self.get_name()}` was given an empty list of messages; give it at least one.")
        return messages


def _listed(input: Any) -> Any:
    """One message, or one thing that stands for one, is a list of one."""
    if isinstance(input, (str, BaseMessage, Mapping)):
        return [input]
    return input


def _told(run: ModelRun, chunks: Iterator[AIMessageChunk]) -> Iterator[AIMessageChunk]:
    try:
        with run:
            for chunk in chunks:
                run.token(chunk)
                yield chunk
            run.end(_whole(run.received))
    finally:
        close(chunks)


def _whole(chunks: list[AIMessageChunk]) -> ChatResult:
    from modelwire.outputs import ChatGenerationChunk, ChatResult

    return ChatResult(generations=[ChatGenerationChunk(message=merge_chunks(chunks))])


def _only(result: ChatResult) -> AIMessage:
    return cast("AIMessage", result.generations[0].message)


def _sign(result: ChatResult, answer_id: str) -> ChatResult:
    """Name the answer where the model has not; later answers of the same result get a number."""
    for number, generation in enumerate(result.generations):
        if generation.message.id is None:
            generation.message.id = answer_id if number == 0 else f"{answer_id}-{number}"
    return result


def _signed_chunk(chunk: ChatGenerationChunk, answer_id: str) -> AIMessageChunk:
    message = cast("AIMessageChunk", chunk.message)
    if message.id is None:
        message.id = answer_id
    return message


def chunk_from_message(message: AIMessage) -> AIMessageChunk:
    """Make the whole answer the only chunk of a stream."""
    calls = [
        tool_call_chunk(name=call["name"], args=_args_text(call["args"]), id=call["id"], index=i)
        for i, call in enumerate([*message.tool_calls, *message.invalid_tool_calls])
    ]
    return AIMessageChunk.from_wire(
        message.content,
        id=message.id,
        tool_call_chunks=calls,
        usage_metadata=message.usage_metadata,
        response_metadata=message.response_metadata,
        additional_kwargs=message.additional_kwargs,
        chunk_position="last",
    )


def _args_text(args: Any) -> str:
    """The arguments of a call as the model wrote them; those of an invalid one are text already."""
    return args if isinstance(args, str) else to_json(args or {}).decode()
