"""`BaseChatModel`: a Runnable from messages to a message. It knows no provider and no wire.

To write a model of your own, subclass it and implement `_generate` and `_llm_type`, and `_agenerate`, `_stream` and
`_astream` if the model can do more. The models that call a provider are subclasses of `HTTPChatModel` in `http.py`.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    Literal,
    TypeAlias,
    TypedDict,
    TypeVar,
    overload,
)
from uuid import UUID, uuid4

from pydantic.fields import Field

from modelwire.adapters import _reduced
from modelwire.adapters.model import global_cache
from modelwire.adapters.model.lazy_rooms import (
    cache,
    cache_keys,
    generation,
    prompt_values,
    structured_output,
)
from modelwire.adapters.model.results import (
    acollected,
    chunk_from_message,
    only_message,
    result_of_chunks,
    result_of_stream,
    signed,
    signed_chunk,
)
from modelwire.adapters.model.run import (
    AsyncModelRun,
    ModelRun,
    astart_model_run,
    is_observed,
    start_model_run,
)
from modelwire.adapters.model.token_counts import TokenCounts
from modelwire.errors import InvalidArgument
from modelwire.messages import AIMessage, AIMessageChunk, BaseMessage, convert_to_messages
from modelwire.runnables.closing import aclose, close
from modelwire.runnables.config import RunnableConfig, run_in_executor, settled
from modelwire.runnables.deadline import covered
from modelwire.runnables.reading_context import abound, bound
from modelwire.runnables.serializable import RunnableSerializable
from modelwire.transport.wire import hide_headers

if TYPE_CHECKING:
    from modelwire.adapters.model.arguments import Arguments, Stop
    from modelwire.adapters.model.cache import CachedModel
    from modelwire.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from modelwire.messages.any_message import MessageLikeRepresentation
    from modelwire.outputs import ChatGenerationChunk, ChatResult, LLMResult
    from modelwire.prompt_values import PromptValue
    from modelwire.runnables import Runnable
    from modelwire.tools.base import BaseTool

__all__ = ["BaseChatModel", "LanguageModelInput", "RawAnswer", "ToolLike"]

# The input of a model: a prompt value (anything with `to_messages`), a text, or a sequence of message-like values.
if TYPE_CHECKING:
    LanguageModelInput: TypeAlias = (
        str | PromptValue | BaseMessage | Sequence[MessageLikeRepresentation]
    )
    # A tool for `bind_tools`: a tool object, a function, a class, or a dict in a provider's form.
    ToolLike: TypeAlias = BaseTool | Callable[..., Any] | type | Mapping[str, Any]
else:
    LanguageModelInput: TypeAlias = Any
    ToolLike: TypeAlias = Any
_Form = TypeVar("_Form")
_Data: TypeAlias = dict[str, Any]  # In `BaseChatModel`, `dict` is a method.


class RawAnswer(TypedDict, Generic[_Form]):
    """The result of `with_structured_output(..., include_raw=True)`."""

    raw: AIMessage
    parsed: _Form | None  # None if the answer does not fit the schema
    parsing_error: BaseException | None


def _output_version() -> str | None:
    return os.environ.get("LC_OUTPUT_VERSION")  # LangChain's variable


class BaseChatModel(TokenCounts, RunnableSerializable[LanguageModelInput, AIMessage]):
    """A chat model: `invoke`, `stream`, `batch` and their async twins take messages and return an `AIMessage`.

    The input is a text, a prompt value, or a list of messages (or of any values that `convert_to_messages` accepts).
    `callbacks`, `tags` and `metadata` apply to every run of this model, and are not inherited by runs inside it.
    `cache` is an object of `modelwire.caches`, True for the global one, False for none, None for the global one if
    there is one. `rate_limiter` is acquired before each call that a cache does not answer. With `output_version="v1"`
    the content of answers is a list of standard blocks.
    """

    callbacks: Any = Field(default=None, exclude=True, repr=False)
    """Handlers, or a callback manager, for every run of this model."""
    tags: list[str] | None = Field(default=None, exclude=True, repr=False)
    """Tags for every run of this model."""
    metadata: _Data | None = Field(default=None, exclude=True, repr=False)
    """Metadata for every run of this model."""
    verbose: bool = Field(default=False, exclude=True, repr=False)
    """Print the input and output of every call."""
    SIGNS_ANSWERS: ClassVar[bool] = True
    """Whether an answer that no handler receives gets an id, if it has none."""
    disable_streaming: bool | Literal["tool_calling"] = Field(
        default=False, exclude=True, repr=False
    )
    """True: `stream` yields the whole answer as one chunk. "tool_calling": only if the call has tools."""
    cache: Any = Field(default=None, exclude=True, repr=False)
    """A cache of `modelwire.caches`; True for the global one, False for none, None for the global one if there is
    one."""
    rate_limiter: Any = Field(default=None, exclude=True, repr=False)
    """A limiter of `modelwire.rate_limiters`, acquired before each call that no cache answers."""
    output_version: str | None = Field(default_factory=_output_version, exclude=True, repr=False)
    """"v1": the content of answers is a list of standard blocks. "v0": it is in the provider's own form."""
    custom_get_token_ids: Any = Field(default=None, exclude=True, repr=False)
    """Function from a text to its list of token ids, for `get_token_ids`."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _reduced(self, protocol)

    @property
    @abstractmethod
    def _llm_type(self) -> str:
        """The name of this kind of model, in cache keys and for tracers."""

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        """The parameters that distinguish this model from others of its kind; without secrets, as handlers see them."""
        return {}

    @abstractmethod
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        """Return the answer to `messages`."""

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        """Return the answer to `messages`; the default calls `_generate` in a thread."""
        manager = run_manager.get_sync() if run_manager else None
        return await run_in_executor(None, self._generate, messages, stop, manager, **kwargs)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        """Yield the answer to `messages` chunk by chunk."""
        raise NotImplementedError

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        """Yield the answer to `messages` chunk by chunk; the default reads `_stream` in a thread."""
        chunks = self._stream(
            messages, stop, run_manager.get_sync() if run_manager else None, **kwargs
        )
        while (chunk := await run_in_executor(None, next, chunks, None)) is not None:
            yield chunk

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        """Return the model's metadata for handlers, under the names that tracers know."""
        name = type(self).__name__
        shown = name.removeprefix("Chat") if name.startswith("Chat") else name.removesuffix("Chat")
        provider = getattr(self, "provider", None) or shown.lower()
        named = {
            "ls_model_type": "chat",
            "ls_provider": provider,
            "ls_stop": stop or getattr(self, "stop", None),
        }
        for title, field in (
            ("model_name", "model"),
            ("temperature", "temperature"),
            ("max_tokens", "max_tokens"),
        ):
            value = kwargs.get(field)
            named[f"ls_{title}"] = getattr(self, field, None) if value is None else value
        return {key: value for key, value in named.items() if value is not None}

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> _Data:
        """Return the parameters of a call, without the messages."""
        return {**self.asdict(), "stop": stop, **kwargs}

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        """Return the part of a cache key that stands for the model and its parameters, without the messages."""
        return cache_keys.llm_string(self, self._get_invocation_params(stop, **kwargs))

    def _combine_llm_outputs(self, llm_outputs: list[_Data | None], /) -> _Data:
        """Return one `llm_output` for all answers of a `generate`, such as the sum of their token usage."""
        return {}

    def asdict(self) -> _Data:
        """Return the identifying parameters of this model, and its kind under `_type`."""
        return {**self._identifying_params, "_type": self._llm_type}

    if not TYPE_CHECKING:  # Type checkers see pydantic's method `dict`.

        def dict(self, **kwargs: Any) -> _Data:
            return self.asdict()

    def bind_tools(
        self, tools: Sequence[ToolLike], *, tool_choice: Any = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return this model with tools that it may call: functions, pydantic classes, tools, or a provider's dicts."""
        raise NotImplementedError(
            f"`{type(self).__name__}` does not support tools: override `bind_tools`."
        )

    @overload
    def with_structured_output(
        self,
        schema: Mapping[str, Any],
        *,
        include_raw: Literal[False] = False,
        retries: int = 0,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, _Data]: ...
    @overload
    def with_structured_output(
        self,
        schema: type[_Form],
        *,
        include_raw: Literal[False] = False,
        retries: int = 0,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, _Form]: ...
    @overload
    def with_structured_output(
        self,
        schema: type[_Form],
        *,
        include_raw: Literal[True],
        retries: int = 0,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, RawAnswer[_Form]]: ...
    @overload
    def with_structured_output(
        self,
        schema: Mapping[str, Any],
        *,
        include_raw: Literal[True],
        retries: int = 0,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, RawAnswer[_Data]]: ...
    @overload
    def with_structured_output(
        self, schema: Any = None, *, include_raw: bool = False, retries: int = 0, **kwargs: Any
    ) -> Runnable[LanguageModelInput, Any]: ...
    def with_structured_output(
        self, schema: Any = None, *, include_raw: bool = False, retries: int = 0, **kwargs: Any
    ) -> Runnable[LanguageModelInput, Any]:
        """Return a runnable whose answers have the form of `schema`.

        The answers are objects for a pydantic class, and dicts for a TypedDict or a JSON schema. Other types work, too
        (`list[City]`, `City | Bird`, `Literal["a", "b"]`, `int`, an enum): the provider gets the schema of an object
        with one field, and the answer is the value of that field.
        With `include_raw` the answer is a dict of `raw` (the message), `parsed` and `parsing_error`. An answer that
        does not fit is sent back to the model with its errors, up to `retries` times; each retry is a separate call. A
        stream yields the value as far as it is known: dicts that grow, and objects from the moment that their required
        fields are complete.

        Raises:
            OutputParserException: The answer does not fit, or has no value; `raw_message` is the model's message. If
                pydantic refused the value, the error is a `ValidationError` of pydantic too.
            ModelRefusalError: The model refused.
            InvalidArgument: Nothing was sent: the schema is not valid, or the provider cannot take it.
        """
        return structured_output.structured_answer(
            self, schema, include_raw=include_raw, retries=retries, **kwargs
        )

    with_structured_output.takes_call_kwargs = True  # type: ignore[attr-defined]  # a binding passes its keywords

    def _structured(
        self, schema: Any, *, include_raw: bool, method: str | None = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, Any]:
        return structured_output.structured_by_tools(
            self, schema, include_raw=include_raw, **kwargs
        )

    @property
    def InputType(self) -> Any:
        """The type of this model's input."""
        from modelwire.messages.any_message import AnyMessage

        values = prompt_values.StringPromptValue | prompt_values.ChatPromptValue
        return str | values | list[AnyMessage]

    @property
    def OutputType(self) -> Any:
        """The type of this model's output."""
        return AIMessage

    def invoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """Return the model's answer to `input`; `stop` and `kwargs` are parameters of this call."""
        if kwargs:
            hide_headers(kwargs)
        config = settled(config)
        messages = self._messages(input)
        if not is_observed(self, config):
            return self._entry()._answer(messages, stop, config, **kwargs)
        with start_model_run(self, messages, config, {"stop": stop, **kwargs}) as run:
            result = self._entry()._result(messages, stop, run.config, run=run, **kwargs)
            run.end(run.signed(result))
        return only_message(result)

    async def ainvoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """Return the model's answer to `input`; `stop` and `kwargs` are parameters of this call."""
        if kwargs:
            hide_headers(kwargs)
        config = settled(config)
        messages = self._messages(input)
        if not is_observed(self, config):
            return await self._entry()._aanswer(messages, stop, config, **kwargs)
        async with await astart_model_run(self, messages, config, {"stop": stop, **kwargs}) as run:
            result = await self._entry()._aresult(messages, stop, run.config, run=run, **kwargs)
            await run.end(run.signed(result))
        return only_message(result)

    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """Yield the answer to `input` chunk by chunk; the sum of the chunks is the answer of `invoke`."""
        if kwargs:
            hide_headers(kwargs)
        config = settled(config)
        messages = self._messages(input)
        if not is_observed(self, config):
            return self._entry()._chunks(messages, stop, config, **kwargs)
        return bound(self._observed_stream(messages, stop, config, **kwargs))

    def _observed_stream(
        self,
        messages: list[BaseMessage],
        stop: Stop,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        run = start_model_run(self, messages, config, {"stop": stop, **kwargs})
        chunks = self._entry()._chunks(messages, stop, run.config, **kwargs)
        try:
            with run:
                for chunk in chunks:
                    run.token(chunk)
                    yield chunk
                run.end(result_of_chunks(run.received))
        finally:
            close(chunks)

    def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Yield the answer to `input` chunk by chunk; the sum of the chunks is the answer of `ainvoke`."""
        if kwargs:
            hide_headers(kwargs)
        config = settled(config)
        messages = self._messages(input)
        if not is_observed(self, config):
            return self._entry()._achunks(messages, stop, config, **kwargs)
        return abound(self._observed_astream(messages, stop, config, **kwargs))

    async def _observed_astream(
        self,
        messages: list[BaseMessage],
        stop: Stop,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        run = await astart_model_run(self, messages, config, {"stop": stop, **kwargs})
        chunks = self._entry()._achunks(messages, stop, run.config, **kwargs)
        try:
            async with run:
                async for chunk in chunks:
                    await run.token(chunk)
                    yield chunk
                await run.end(result_of_chunks(run.received))
        finally:
            await aclose(chunks)

    def generate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Any = None,
        *,
        tags: list[str] | None = None,
        metadata: _Data | None = None,
        run_name: str | None = None,
        run_id: UUID | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Return the answers to several lists of messages, called one after the other, with the provider's metadata."""
        config = {
            "callbacks": callbacks,
            "tags": tags,
            "metadata": metadata,
            "run_name": run_name,
            "run_id": run_id,
        }
        hide_headers(kwargs)
        return generation.generate(self, messages, stop, config, kwargs)

    async def agenerate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Any = None,
        *,
        tags: list[str] | None = None,
        metadata: _Data | None = None,
        run_name: str | None = None,
        run_id: UUID | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Return the answers to several lists of messages, called concurrently, with the provider's metadata."""
        config = {
            "callbacks": callbacks,
            "tags": tags,
            "metadata": metadata,
            "run_name": run_name,
            "run_id": run_id,
        }
        hide_headers(kwargs)
        return await generation.agenerate(self, messages, stop, config, kwargs)

    def generate_prompt(
        self,
        prompts: list[PromptValue],
        stop: list[str] | None = None,
        callbacks: Any = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Return the answers to several prompt values; see `generate`."""
        return self.generate(
            [prompt.to_messages() for prompt in prompts], stop, callbacks, **kwargs
        )

    async def agenerate_prompt(
        self,
        prompts: list[PromptValue],
        stop: list[str] | None = None,
        callbacks: Any = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Return the answers to several prompt values; see `agenerate`."""
        return await self.agenerate(
            [prompt.to_messages() for prompt in prompts], stop, callbacks, **kwargs
        )

    def _entry(self) -> BaseChatModel | CachedModel:
        """Return the object that makes a call: this model, or a `CachedModel` around it.

        It is a `CachedModel` if there is a cache, a rate limiter or an `output_version`.
        """
        if (
            global_cache.llm_cache is None
            and self.cache is None
            and self.rate_limiter is None
            and not self.output_version
        ):
            return self
        return cache.CachedModel(self)

    def _cache_key(
        self, messages: list[BaseMessage], stop: Stop, kwargs: Arguments
    ) -> tuple[str, str] | None:
        """Return the cache key of a call, without message ids and secrets; None if the call cannot be cached."""
        return cache_keys.message_key(self, messages, stop, kwargs)

    def _result(
        self,
        messages: list[BaseMessage],
        stop: Stop,
        config: RunnableConfig,
        *,
        run: ModelRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        """Return the answer, read from a stream if the call asks for that or a handler receives tokens."""
        if self._reads_stream(run, kwargs, "_stream"):
            chunks = self._chunks(messages, stop, config, **kwargs)
            if run is None:
                return result_of_stream(list(chunks))
            return run.collect(chunks)
        return self._whole_result(
            messages, stop, config, None if run is None else run.manager, **kwargs
        )

    async def _aresult(
        self,
        messages: list[BaseMessage],
        stop: Stop,
        config: RunnableConfig,
        *,
        run: AsyncModelRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        """Return the answer, read from a stream if the call asks for that or a handler receives tokens."""
        if self._reads_stream(run, kwargs, "_stream", "_astream"):
            chunks = self._achunks(messages, stop, config, **kwargs)
            collected = acollected(chunks) if run is None else run.collect(chunks)
            return await covered(collected, config.get("deadline"), self)
        return await self._whole_aresult(
            messages, stop, config, None if run is None else run.manager, **kwargs
        )

    def _whole_result(
        self,
        messages: list[BaseMessage],
        stop: Stop,
        config: RunnableConfig,
        run_manager: CallbackManagerForLLMRun | None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._generate(messages, stop=stop, run_manager=run_manager, **kwargs)

    async def _whole_aresult(
        self,
        messages: list[BaseMessage],
        stop: Stop,
        config: RunnableConfig,
        run_manager: AsyncCallbackManagerForLLMRun | None,
        **kwargs: Any,
    ) -> ChatResult:
        work = self._agenerate(messages, stop=stop, run_manager=run_manager, **kwargs)
        return await covered(work, config.get("deadline"), self)

    def _answer(
        self,
        messages: list[BaseMessage],
        stop: Stop,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AIMessage:
        return only_message(
            signed(self._result(messages, stop, config, **kwargs), f"lc_run--{uuid4()}")
        )

    async def _aanswer(
        self,
        messages: list[BaseMessage],
        stop: Stop,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AIMessage:
        return only_message(
            signed(await self._aresult(messages, stop, config, **kwargs), f"lc_run--{uuid4()}")
        )

    def _chunks(
        self,
        messages: list[BaseMessage],
        stop: Stop,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        answer_id = f"lc_run--{uuid4()}"
        if self._streaming_is_off(kwargs) or not self._overrides("_stream"):
            yield chunk_from_message(self._answer(messages, stop, config, **kwargs))
            return
        chunks = self._stream(messages, stop=stop, **kwargs)
        message: AIMessageChunk | None = None
        try:
            for chunk in chunks:
                message = signed_chunk(chunk, answer_id)
                yield message
            if self._last_of_stream(message).chunk_position != "last":
                yield AIMessageChunk.from_wire("", id=answer_id, chunk_position="last")
        finally:
            close(chunks)

    async def _achunks(
        self,
        messages: list[BaseMessage],
        stop: Stop,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        answer_id = f"lc_run--{uuid4()}"
        if self._streaming_is_off(kwargs) or not (
            self._overrides("_astream") or self._overrides("_stream")
        ):
            yield chunk_from_message(await self._aanswer(messages, stop, config, **kwargs))
            return
        chunks = self._astream(messages, stop=stop, **kwargs)
        message: AIMessageChunk | None = None
        try:
            async for chunk in chunks:
                message = signed_chunk(chunk, answer_id)
                yield message
            if self._last_of_stream(message).chunk_position != "last":
                yield AIMessageChunk.from_wire("", id=answer_id, chunk_position="last")
        finally:
            await aclose(chunks)

    def _last_of_stream(self, message: AIMessageChunk | None) -> AIMessageChunk:
        if message is None:
            raise InvalidArgument(
                f"The stream of `{self.get_name()}` ended without a chunk. "
                "Its `_stream` or `_astream` must yield at least one, which may have no text."
            )
        return message

    def _streaming_is_off(self, kwargs: Mapping[str, Any]) -> bool:
        """Return whether a stream of this call yields the whole answer as one chunk."""
        off = self.disable_streaming
        if off == "tool_calling":
            return bool(kwargs.get("tools"))
        return bool(off)

    def _reads_stream(
        self, run: ModelRun | AsyncModelRun | None, kwargs: Mapping[str, Any], *hooks: str
    ) -> bool:
        """Return whether a whole answer is read from a stream.

        A call asks for that with `stream=True`. Without the keyword, it is if a handler of the run receives tokens and
        the stream is complete: it has the only candidate, and its usage.
        """
        streams = kwargs.get("stream", run is not None and run.wants_tokens)
        if not streams or self._streaming_is_off(kwargs) or not any(map(self._overrides, hooks)):
            return False
        one = kwargs.get("n", getattr(self, "n", None)) in (None, 1)
        return "stream" in kwargs or (one and bool(getattr(self, "stream_usage", True)))

    def _overrides(self, hook: str) -> bool:
        return getattr(type(self), hook) is not getattr(BaseChatModel, hook)

    def _messages(self, input: LanguageModelInput) -> list[BaseMessage]:
        """Return the input of a call as messages."""
        return convert_to_messages(input)
