"""`HTTPChatModel`: the one place where a Runnable, a codec and the transport meet.

A model is its parameters. A call becomes a `ChatCall`, the codec encodes it as the provider's request, and a flow
(`transport.call`) sends it. Providers differ in data and in their codec, never in control flow.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from math import inf
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar, cast

from modelwire.adapters.credentials import refused_credential
from modelwire.adapters.model import langchain_hooks
from modelwire.adapters.model.arguments import (
    RETRY_SETTINGS,
    check_retry_settings,
    checked_headers,
    parameter_of,
    seconds_of,
)
from modelwire.adapters.model.call_parts import (
    aconnection_of,
    connection_of,
    limiter_of_model,
    new_exchange,
)
from modelwire.adapters.model.lazy_rooms import (
    background,
    cache_keys,
    context_check,
    loops,
    model_tools,
    outgoing,
    sdk_clients,
    stored_prompts,
    stream_resume,
    structured_output,
    warmup,
)
from modelwire.adapters.model.refusals import ON_REFUSAL
from modelwire.adapters.model.results import (
    chunk_from_message,
    combined_output,
)
from modelwire.adapters.model.secret import lost_credential
from modelwire.adapters.model.settings import WireSettings
from modelwire.adapters.model.wire_requests import NO_PARAMETERS, RequestBuilder
from modelwire.adapters.parameter_aliases import set_parameter
from modelwire.adapters.wires.wire import ChatCall, Codec
from modelwire.aliases import JSON, Kwargs, Values
from modelwire.errors import InvalidArgument
from modelwire.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    convert_to_messages,
    merge_chunks,
    message_chunk_to_message,
)
from modelwire.messages.ai import restart_marker
from modelwire.messages.finish_reasons import PENDING_STATUSES
from modelwire.runnables.closing import aclose
from modelwire.runnables.config import in_batch, run_in_executor, settled
from modelwire.transport.call import call_flow, collected_flow, stream_flow
from modelwire.transport.drivers import adrive, adrive_stream, drive, drive_stream
from modelwire.transport.retry import RetryPolicy
from modelwire.transport.steps import Hooks
from modelwire.transport.wire import LostHeaders, WireRequest, hide_headers

if TYPE_CHECKING:
    from modelwire.adapters.model.arguments import Arguments, Stop
    from modelwire.adapters.model.base import LanguageModelInput, ToolLike
    from modelwire.adapters.model.call_parts import ModelExchange
    from modelwire.adapters.model.refusals import RefusalPolicy
    from modelwire.adapters.model.secret import Secret
    from modelwire.adapters.wires.wire import TokenCounting
    from modelwire.runnables import Runnable, RunnableBinding, RunnableConfig
    from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter
    from modelwire.transport.ratelimit.limits import Limits

__all__ = ["HTTPChatModel"]

_settings_of = itemgetter(*RETRY_SETTINGS)


class HTTPChatModel(WireSettings):
    """A chat model behind an HTTP API. Subclasses add their provider's parameters as fields, and a codec.

    A parameter that is None is not sent; unknown keywords of a call are parameters too.

    If `max_retries` is set, one `invoke` or `stream` sends at most 1 + `max_retries` requests, for whatever reason they
    fail; otherwise at most ten. The rows of a `batch` and of a job wait for limits and outages as long as it takes, and
    those requests are not counted; a `max_wait` that is set applies to them too.

    A stream that breaks after its first chunk raises `StreamInterrupted`. With `stream_restart="marker"` (in a call:
    `restart="marker"`) it starts again, with a chunk that has "stream_restart" in its `response_metadata`: a program
    removes what it has shown so far, and a sum of the chunks leaves it out. The provider's rate limit is learned and
    obeyed (`limits()` shows it); all models of this process with the same key share it.
    """

    SIGNS_ANSWERS: ClassVar[bool] = False

    def _codec(self, call: ChatCall) -> Codec:
        """Return the codec for `call`; the default is that of the model's wire."""
        return self._wire().codec(getattr(self, "provider", self.WIRE))

    def build_request(self, messages: Any, *, stream: bool = False, **kwargs: Any) -> WireRequest:
        """Return the request of a call with these arguments, without sending it."""
        for name in [name for name in kwargs if self.ALIASES.get(name, name) in RETRY_SETTINGS]:
            del kwargs[name]  # A retry setting is never sent.
        return self._build_request(
            self._messages(messages), kwargs.pop("stop", None), kwargs, stream=stream
        )[1]

    def _build_request(
        self,
        messages: Sequence[BaseMessage],
        stop: list[str] | str | None,
        kwargs: Arguments,
        *,
        stream: bool,
        **credential: Any,
    ) -> tuple[Codec, WireRequest]:
        return RequestBuilder(self, messages, stop, kwargs).build(stream=stream, **credential)

    def _messages(self, input: Any) -> list[BaseMessage]:
        """Return the input of a call as messages, with their content blocks checked.

        Raises `InvalidArgument` if there are no messages, or for a block that no provider takes.
        """
        messages = convert_to_messages(input)
        if not messages:
            raise InvalidArgument(
                f"`{self.get_name()}` was given an empty list of messages; give it at least one."
            )
        for message in messages:
            if message.content.__class__ is list:
                messages = outgoing.validate_outgoing(messages)
                wire = self._wire()
                if getattr(self, "provider", wire.owner) == wire.owner:
                    outgoing.warn_of_attachments(
                        messages, title=wire.title, **wire.attachments._asdict()
                    )
                break
        return messages

    def _call(
        self,
        messages: Sequence[BaseMessage],
        stop: list[str] | str | None,
        kwargs: Arguments,
        *,
        stream: bool,
        **credential: Any,
    ) -> ChatCall:
        extra_body = self.extra_body or {}
        extra_headers = self.extra_headers or {}
        model = self.model
        if kwargs:
            extra_body = {**extra_body, **(kwargs.get("extra_body") or {})}
            named = kwargs.get("extra_headers")
            if named.__class__ is LostHeaders:  # A binding with headers was pickled.
                raise lost_credential()
            extra_headers = {**extra_headers, **(named or {})}
            model = kwargs.get("model_name") or kwargs.get("model") or model
        if extra_headers:
            checked_headers(extra_headers)
        return ChatCall(
            messages=messages,
            model=model,
            endpoint=self._endpoint(extra_headers, **credential),
            params=self.call_parameters(stop, kwargs),
            stream=stream,
            extra_body=extra_body,
            extra_headers=extra_headers,
        )

    def call_parameters(
        self, stop: list[str] | str | None, kwargs: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the parameters of a call by their common names: the model's, and the call's own, which win."""
        params = self._params()
        if stop is not None:
            params["stop"] = stop
        if kwargs:
            provider = getattr(self, "provider", None)
            for name, value in kwargs.items():
                if name not in NO_PARAMETERS and self.ALIASES.get(name, name) not in RETRY_SETTINGS:
                    set_parameter(params, parameter_of(type(self), name, provider), value)
        form = params.get("response_format")
        if form is not None and not isinstance(form, Mapping):
            # The SDKs take a pydantic class here too.
            params["response_format"] = model_tools.response_format(self, form, strict=None)
        return params

    def _combine_llm_outputs(self, llm_outputs: list[JSON | None], /) -> JSON:
        return combined_output(llm_outputs)

    def _exchange(
        self,
        messages: Sequence[BaseMessage],
        stop: list[str] | str | None,
        config: RunnableConfig,
        kwargs: Arguments,
        *,
        stream: bool,
        is_async: bool = False,
        key: Secret | None = None,
        ask: bool = True,
        counting: TokenCounting | None = None,
    ) -> ModelExchange:
        retry_settings, retry = self._retry_settings(kwargs)
        builder = RequestBuilder(self, messages, stop, kwargs, ask and counting is None)
        codec, request = builder.build(stream=stream, key=key, ask=ask)
        limiter = None
        if counting is not None:  # Token counting has limits of its own, so no limiter is used.
            counting.request(request)
        elif self.rate_limit is not None:
            limiter = limiter_of_model(self, request)
        hooks = _hooks(retry_settings["on_refusal"], retry_settings["stream_restart"])
        exchange = new_exchange(
            self, codec, request, config, retry_settings, retry, limiter, hooks, is_async=is_async
        )
        exchange.refused_credential = partial(refused_credential, self)
        if key is not None or (not is_async and self._asks_for_key()):
            exchange.renew = builder.renewal(exchange.deadline, is_async=is_async)
        if counting is not None:
            return exchange
        is_checked = self.check_context and (
            len(exchange.content) > SMALL_BYTES
            or self.check_context == "exact"
            or self.__dict__["profile"] is not None
        )
        if is_checked or request.storable is not None:
            exchange.before = _preparation(
                self, exchange, messages, config, kwargs, request, is_async=is_async
            )
        return exchange

    _whole_result = langchain_hooks.whole_result
    _whole_aresult = langchain_hooks.whole_aresult
    _generate = langchain_hooks.generate
    _agenerate = langchain_hooks.agenerate
    _stream = langchain_hooks.stream
    _astream = langchain_hooks.astream

    def limits(self) -> Limits:
        """Return the known limits of the provider for this credential and model, whether learned or advertised.

        >>> ChatOpenAI(model="gpt-4o-mini", api_key="k").limits()
        Limits(none known)
        """
        return limiter_of_model(self, self.build_request("hi")).limits(time.monotonic())

    def current_limiter(self) -> AdaptiveRateLimiter | None:
        """Return the limiter of this model's calls; None if `rate_limit` switches it off. A pool reads it."""
        if self.rate_limit is None:
            return None
        return limiter_of_model(self, self.build_request("hi"))

    def _retry_settings(self, kwargs: Arguments) -> tuple[Kwargs, RetryPolicy]:
        """Return the retry settings of a call, and the policy made of them.

        Retry settings among `kwargs` win over the model's, and are removed from `kwargs`.
        """
        retry_settings = dict(zip(RETRY_SETTINGS, _settings_of(self.__dict__), strict=True))
        retries_are_set = "max_retries" in self.model_fields_set
        overridden: list[str] = []
        if kwargs:
            overridden = [name for name in kwargs if self.ALIASES.get(name, name) in RETRY_SETTINGS]
        for name in overridden:
            field = self.ALIASES.get(name, name)
            value = kwargs.pop(name)
            retry_settings[field] = seconds_of(value) if field == "timeout" else value
            retries_are_set = retries_are_set or field == "max_retries"
        if overridden:
            check_retry_settings(retry_settings)
        max_retries = retry_settings["max_retries"]
        max_wait_s = retry_settings["max_wait"]
        max_requests: float = 1 + max_retries if retries_are_set else _MAX_REQUESTS
        # A row of a batch waits for as long as it takes, unless `max_wait` is set.
        if in_batch.get() and self.rate_limit is not None:
            max_requests = inf
            if max_wait_s == type(self).model_fields["max_wait"].default:
                max_wait_s = inf
        return retry_settings, _policy(
            max_retries, max_wait_s, retry_settings["max_retry_after"], max_requests
        )

    def _cache_key(
        self, messages: list[BaseMessage], stop: Stop, kwargs: Arguments
    ) -> tuple[str, str] | None:
        kwargs = {**kwargs, "prompt_cache": False}  # It changes the price of an answer only.
        self._retry_settings(kwargs)
        client = self._own_client()
        named: Values = (
            getattr(client, "default_headers", None) or getattr(client, "headers", None) or {}
        )
        more = [(name, value) for name, value in named.items() if isinstance(value, str)]
        return cache_keys.request_key(
            self._build_request(messages, stop, kwargs, stream=False, ask=False)[1], more
        )

    def bind(self, **kwargs: Any) -> RunnableBinding[LanguageModelInput, AIMessage]:
        """Return this model with `kwargs` added to every call; a call's own value wins, under any of its names."""
        hide_headers(kwargs)
        return super().bind(
            **{self.ALIASES.get(name, name): value for name, value in kwargs.items()}
        )

    def bind_tools(
        self,
        tools: Sequence[ToolLike],
        *,
        tool_choice: Any = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return this model with `tools` that it may call.

        A tool is a function, a pydantic class, a TypedDict, a tool object, or a dict in the provider's form.
        `tool_choice` is "auto", "none", "any" (or "required", or True: some tool must be called), the name of a tool,
        or a dict in the form of the wire. Raises `InvalidArgument` for a tool or choice that the provider cannot take.
        """
        return model_tools.bind_tools(
            self,
            tools,
            tool_choice=tool_choice,
            strict=strict,
            parallel_tool_calls=parallel_tool_calls,
            **kwargs,
        )

    def _structured(
        self,
        schema: Any,
        *,
        include_raw: bool,
        method: str | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[Any, Any]:
        return structured_output.structured_by_wire(
            self, schema, method=method, include_raw=include_raw, strict=strict, **kwargs
        )

    def warmup(self, n: int = 1) -> int:
        """Open `n` connections (0 to 1000) for sync calls, so that the first calls need not; return how many are open.

        If `n` is above 1, `n` more are opened on the background loop, which `batch` and jobs use. No call is made and
        no key is sent: each connection gets a `HEAD` request. The result is 0 if calls go through a proxy, another
        engine or a client of your own. Raises the connection error if no connection can be opened.
        """
        exchange = self._warmup_exchange()
        opened = warmup.warm(lambda: connection_of(self, exchange), n)
        if n > 1 and self._loop_native():
            from asyncio import run_coroutine_threadsafe

            home = loops.background_loop()
            if not home.is_here():  # Called on that loop, this would wait for itself.
                run_coroutine_threadsafe(self.awarmup(n), home.loop).result()
        return opened

    async def awarmup(self, n: int = 1) -> int:
        """Open `n` connections for the calls of this event loop; see `warmup`."""
        exchange = self._warmup_exchange()
        return await warmup.awarm(lambda: aconnection_of(self, exchange), n)

    def _warmup_exchange(self) -> ModelExchange:
        """Return an exchange that is never sent, from which the connection to open is chosen."""
        messages = self._messages("hi")
        return self._exchange(messages, None, settled(None), {}, stream=False, ask=False)

    def _loop_native(self) -> bool:
        if self.client is not None:
            return self.async_client is not None
        return self.http_client is None or self.http_async_client is not None

    def _answer(
        self,
        messages: list[BaseMessage],
        stop: Stop,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AIMessage:
        stream = self.streaming
        if "stream" in kwargs:
            stream = bool(kwargs["stream"]) and not self._streaming_is_off(kwargs)
        exchange = self._exchange(messages, stop, config, kwargs, stream=stream)
        line = connection_of(self, exchange)
        if stream:
            answer = _message_of(drive(collected_flow(exchange), line))
        else:
            answer = drive(call_flow(exchange), line)
        if exchange.policy.polls and answer.response_metadata.get("status") in PENDING_STATUSES:
            answer = background.final_answer(self, exchange, answer)
        return cast("RefusalPolicy", exchange.hooks.refusals).checked(answer, exchange)

    async def _aanswer(
        self,
        messages: list[BaseMessage],
        stop: Stop,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AIMessage:
        # The user passed a sync client of an SDK and no async one, so the call runs in a thread.
        if self.client is not None and not self._loop_native():
            return await run_in_executor(None, self._answer, messages, stop, config, **kwargs)
        key = None
        if self._asks_for_key():
            key = await self._credentials().key(kwargs, config.get("deadline"))
        stream = self.streaming
        if "stream" in kwargs:
            stream = bool(kwargs["stream"]) and not self._streaming_is_off(kwargs)
        exchange = self._exchange(
            messages, stop, config, kwargs, stream=stream, is_async=True, key=key
        )
        line = aconnection_of(self, exchange)
        if stream:
            answer = _message_of(await adrive(collected_flow(exchange), line))
        else:
            answer = await adrive(call_flow(exchange), line)
        if exchange.policy.polls and answer.response_metadata.get("status") in PENDING_STATUSES:
            answer = await background.afinal_answer(self, exchange, answer)
        return cast("RefusalPolicy", exchange.hooks.refusals).checked(answer, exchange)

    def _chunks(
        self,
        messages: list[BaseMessage],
        stop: Stop,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        if self._streaming_is_off(kwargs):
            return super()._chunks(messages, stop, config, **kwargs)
        exchange = self._exchange(messages, stop, config, kwargs, stream=True)
        if exchange.policy.stream_resume:
            stream = stream_resume.ResumableStream(self, exchange, messages, stop, config, kwargs)
            return stream_resume.resumed(stream)
        return drive_stream(stream_flow(exchange), connection_of(self, exchange))

    def _achunks(
        self,
        messages: list[BaseMessage],
        stop: Stop,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        if self._streaming_is_off(kwargs):
            return super()._achunks(messages, stop, config, **kwargs)
        if self.client is not None and not self._loop_native():
            return sdk_clients.by_thread(self._chunks(messages, stop, config, **kwargs))
        if self._asks_for_key():
            return _achunks_with_key(self, messages, stop, config, kwargs)
        exchange = self._exchange(messages, stop, config, kwargs, stream=True, is_async=True)
        if exchange.policy.stream_resume:
            stream = stream_resume.ResumableStream(
                self, exchange, messages, stop, config, kwargs, is_async=True
            )
            return stream_resume.aresumed(stream)
        return adrive_stream(stream_flow(exchange), aconnection_of(self, exchange))

    def _continued_from(
        self, part: AIMessageChunk, input: Any, config: RunnableConfig, **kwargs: Any
    ) -> Iterator[AIMessageChunk]:
        """Yield the rest of an answer whose beginning `part` another model has streamed; `with_fallbacks` calls it."""
        return stream_resume.continued_elsewhere(self, part, input, config, kwargs)

    def _acontinued_from(
        self, part: AIMessageChunk, input: Any, config: RunnableConfig, **kwargs: Any
    ) -> AsyncIterator[AIMessageChunk]:
        return stream_resume.acontinued_elsewhere(self, part, input, config, kwargs)


async def _achunks_with_key(
    model: HTTPChatModel,
    messages: list[BaseMessage],
    stop: Stop,
    config: RunnableConfig,
    kwargs: Arguments,
) -> AsyncIterator[AIMessageChunk]:
    """Yield the chunks of a stream. Its API key is the result of a function that the user passed."""
    key = await model._credentials().key(kwargs, config.get("deadline"))
    exchange = model._exchange(messages, stop, config, kwargs, stream=True, is_async=True, key=key)
    if exchange.policy.stream_resume:
        stream = stream_resume.ResumableStream(
            model, exchange, messages, stop, config, kwargs, is_async=True
        )
        chunks = stream_resume.aresumed(stream)
    else:
        chunks = adrive_stream(stream_flow(exchange), aconnection_of(model, exchange))
    try:
        async for chunk in chunks:
            yield chunk
    finally:
        await aclose(chunks)


_MAX_REQUESTS = RetryPolicy().max_requests
# A request of at most this many bytes fits the context of every model, so its tokens are not estimated.
SMALL_BYTES = 16_384


def _preparation(
    model: HTTPChatModel,
    exchange: ModelExchange,
    messages: Sequence[BaseMessage],
    config: RunnableConfig,
    kwargs: Values,
    request: WireRequest,
    *,
    is_async: bool,
) -> Callable[[], Any] | None:
    """Return the function to call before the request is sent, or None if nothing is to do.

    It checks that the request fits the model's context, or stores the head of the prompt at the provider.
    """
    before = None
    if model.check_context:
        size_bytes = len(exchange.content)
        before = context_check.context_check(
            model, messages, config, kwargs, request, size_bytes, is_async=is_async
        )
    if before is None and request.storable is not None:
        before = stored_prompts.before_call(model, exchange, request, is_async=is_async)
    return before


@lru_cache(maxsize=256)
def _policy(
    max_retries: int, max_wait_s: float, max_retry_after_s: float, max_requests: float
) -> RetryPolicy:
    return RetryPolicy(max_retries, max_wait_s, max_retry_after_s, max_requests=max_requests)


@lru_cache(maxsize=4)
def _hooks(on_refusal: str, stream_restart: str | None) -> Hooks[AIMessage, AIMessageChunk]:
    marker = None if stream_restart is None else restart_marker
    return Hooks(merge_chunks, chunk_from_message, _note, marker, ON_REFUSAL[on_refusal])


def _note(answer: AIMessage | AIMessageChunk, name: str, value: int) -> None:
    answer.response_metadata = {**answer.response_metadata, name: value}


def _message_of(chunk: AIMessageChunk) -> AIMessage:
    return cast("AIMessage", message_chunk_to_message(chunk))
