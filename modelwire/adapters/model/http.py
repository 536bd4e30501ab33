"""`HTTPChatModel`: the one place where a Runnable, a codec and the transport meet.

A model here is its parameters; a call of it becomes a `ChatCall`, the codec says that in the provider's words, and a
flow carries it out (`transport.call`). What differs between providers is data and a codec, never control flow.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from math import inf
from operator import attrgetter
from random import Random
from typing import TYPE_CHECKING, Any, cast

from modelwire.adapters.credentials import ask_for_key, credential_of, refused_credential
from modelwire.adapters.model.arguments import (
    RETRY_SETTINGS,
    check_retry_settings,
    json_bytes,
    seconds_of,
    timeouts_of,
)
from modelwire.adapters.model.continuation import Continuation
from modelwire.adapters.model.refusals import ON_REFUSAL
from modelwire.adapters.model.results import (
    chunk_from_message,
    combined_output,
    generation_chunk,
    result_of,
)
from modelwire.adapters.model.wire_requests import WireRequests
from modelwire.adapters.wires.wire import Codec
from modelwire.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    merge_chunks,
    message_chunk_to_message,
)
from modelwire.messages.ai import RESTART
from modelwire.runnables.closing import aclose
from modelwire.runnables.config import in_batch, run_in_executor, settled
from modelwire.runnables.deadline import covered
from modelwire.transport.call import call_flow, collected_flow, stream_flow
from modelwire.transport.connections.keepalive import Keepalive
from modelwire.transport.connections.select import async_connection, sync_connection
from modelwire.transport.drivers import adrive, adrive_stream, drive, drive_stream
from modelwire.transport.retry import RetryPolicy
from modelwire.transport.steps import Exchange, Timeouts
from modelwire.transport.wire import WireRequest, hide_headers

if TYPE_CHECKING:
    from modelwire.adapters.model.base import LanguageModelInput, ToolLike
    from modelwire.adapters.model.refusals import RefusalPolicy
    from modelwire.adapters.model.secret import Secret
    from modelwire.adapters.wires.wire import TokenCounting
    from modelwire.outputs import ChatGenerationChunk, ChatResult
    from modelwire.runnables import Runnable, RunnableBinding, RunnableConfig
    from modelwire.transport.connections.pooled import AsyncPooledConnection, SyncPooledConnection
    from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter
    from modelwire.transport.ratelimit.limits import Limits

__all__ = ["HTTPChatModel", "background_answers"]

_settings_of = attrgetter(*RETRY_SETTINGS)
_rng = Random()  # noqa: S311 - spreads retries, keeps no secret


class HTTPChatModel(WireRequests):
    """A chat model behind an HTTP API. Subclasses add their provider's parameters as fields, and a codec.

    A parameter that is None is not sent; unknown keywords of a call are parameters too.

    `max_retries`, where it is set, bounds the requests of one `invoke` or `stream` to 1 + `max_retries`, whatever they
    come to; unset, ten are the most. The rows of a `batch` and of a job wait for limits and outages as long as it
    takes, and none of that is counted; a `max_wait` that is set holds for them too.

    A stream that breaks after its first chunk raises `StreamInterrupted`; with `stream_restart="marker"` (in a call:
    `restart="marker"`) it begins again, by a chunk with "stream_restart" in its `response_metadata`: whoever has shown
    what came before takes it back, and a sum of the chunks leaves it out. The provider's rate limit is found out and
    kept (`limits()` shows it), shared by all models of this process with the same key.
    """

    def _combine_llm_outputs(self, llm_outputs: list[dict[str, Any] | None], /) -> dict[str, Any]:
        return combined_output(llm_outputs)

    def _exchange(
        self,
        messages: Sequence[BaseMessage],
        stop: list[str] | str | None,
        config: RunnableConfig,
        kwargs: dict[str, Any],
        *,
        stream: bool,
        is_async: bool = False,
        key: Secret | None = None,
        ask: bool = True,
        counting: TokenCounting | None = None,
    ) -> Exchange[AIMessage, AIMessageChunk]:
        retry_settings, policy = self._retry_settings(kwargs)
        codec, request = self._build_request(
            messages, stop, kwargs, stream=stream, key=key, ask=ask
        )
        if counting is not None:  # only the input is counted: the limits of answers are not touched
            counting.request(request)
        content, deadline = json_bytes(request.body), config.get("deadline")
        client = self.http_async_client if is_async else self.http_client
        if self.client is not None or self.async_client is not None:
            client = self._own_client(is_async=is_async)
        before = None
        checked = self.check_context if counting is None else False
        if checked and (
            len(content) > _SMALL_BYTES
            or checked == "exact"
            or self.__dict__["profile"] is not None
        ):
            from modelwire.adapters.model.context_check import context_check

            before = context_check(
                self, messages, config, kwargs, request, len(content), is_async=is_async
            )
        continuation, continuations = None, retry_settings["max_continuations"]
        next_body = getattr(codec, "continued", None)
        if next_body is not None and continuations:
            continuation = Continuation(request, next_body, continuations, codec.provider)
        exchange = Exchange(
            url=request.url,
            headers=request.headers,
            content=content,
            wire=codec,
            policy=policy,
            timeouts=_timeouts(
                retry_settings["timeout"],
                retry_settings["stream_idle_timeout"],
                _NO_TIMEOUTS if client is None else timeouts_of(client),
                tcp_keepalive=self.tcp_keepalive,
            ),
            clock=time.monotonic,
            rng=_rng,
            merge=merge_chunks,
            as_chunk=chunk_from_message,
            model=request.model,
            deadline=deadline,
            timeout_s=getattr(deadline, "limit_s", None),
            limiter=None
            if self.rate_limit is None or counting is not None
            else self._limiter(request),
            patient=in_batch.get(),
            max_output=_reserved(codec, request.body),
            max_response_bytes=self.max_response_bytes,
            renew=None
            if is_async and key is None
            else self._renewal(messages, stop, kwargs, deadline, is_async=is_async),
            note=_note,
            marker=None if retry_settings["stream_restart"] is None else _restart_marker,
            observers=config.get("observers", ()),
            before=before,
            continuation=continuation,
            refusals=ON_REFUSAL[retry_settings["on_refusal"]],
            refused_credential=self._refused_credential,
            polls=continuations > 0,
        )
        exchange.stream_resume = retry_settings["stream_resume"]
        return exchange

    def _refused_credential(self, headers: Mapping[str, str]) -> str:
        return refused_credential(self, headers)

    def _renewal(
        self,
        messages: Sequence[BaseMessage],
        stop: list[str] | str | None,
        kwargs: dict[str, Any],
        deadline: float | None,
        *,
        is_async: bool,
    ) -> Callable[[], Any] | None:
        """Return what asks for the key again and gives the headers with it; None where no function gives the key."""
        if not self._asks_for_key() or self._through_sdk():
            return None

        def headers(key: Secret | None = None) -> Mapping[str, str]:
            if key is None:
                self._expire_token()
            return self._build_request(messages, stop, kwargs, stream=False, key=key)[1].headers

        async def aheaders() -> Mapping[str, str]:
            self._expire_token()
            return headers(await self._akey(kwargs, deadline))

        return aheaders if is_async else headers

    def _expire_token(self) -> None:
        """Have a function that keeps the token it gave ask for another one."""
        for name in self.SECRETS:
            if (expire := getattr(getattr(self, name), "expire", None)) is not None:
                expire()

    async def _akey(self, kwargs: Mapping[str, Any], deadline: float | None) -> Secret | None:
        """Ask for the key of an async call; None where no function gives it."""
        if not self._asks_for_key() or self._through_sdk():
            return None
        named = {**(self.extra_headers or {}), **(kwargs.get("extra_headers") or {})}
        field = credential_of(self, named)
        return (
            None
            if field is None
            else await covered(ask_for_key(getattr(self, field)), deadline, self)
        )

    def _policy(self, retry_settings: Mapping[str, Any], *, retries_are_set: bool) -> RetryPolicy:
        """Return how often and how long a call is tried: a row of a batch waits, unless its settings say otherwise."""
        max_retries, max_wait_s = retry_settings["max_retries"], retry_settings["max_wait"]
        max_requests: float = 1 + max_retries if retries_are_set else _MAX_REQUESTS
        if in_batch.get() and self.rate_limit is not None:
            max_requests = inf
            if max_wait_s == type(self).model_fields["max_wait"].default:
                max_wait_s = inf
        return _policy(max_retries, max_wait_s, retry_settings["max_retry_after"], max_requests)

    def _limiter(self, request: WireRequest) -> AdaptiveRateLimiter:
        from modelwire.transport.ratelimit.registry import limiter_of

        client, who = self.client or self.async_client, []
        if client is not None:
            who = [getattr(client, name, None) for name in _NAMED_BY_CLIENT]
        elif self.SIGNED_BY:
            who = [getattr(self, name) for name in self.SIGNED_BY]
        return limiter_of(
            request.url,
            request.headers,
            request.model or self.model,
            now=time.monotonic(),
            rng=_rng,
            who=who,
            requests_per_minute=self.rpm,
            tokens_per_minute=self.tpm,
        )

    def limits(self) -> Limits:
        """Return what is known now of the provider's limits for this credential and model, learned or advertised.

        >>> ChatOpenAI(model="gpt-4o-mini", api_key="k").limits()
        Limits(none known)
        """
        return self._limiter(self.build_request("hi")).limits(time.monotonic())

    def _retry_settings(self, kwargs: dict[str, Any]) -> tuple[dict[str, Any], RetryPolicy]:
        """Take the retry settings out of the keywords of a call; they win over the model's for this call."""
        retry_settings = dict(zip(RETRY_SETTINGS, _settings_of(self), strict=True))
        retries_are_set = "max_retries" in self.model_fields_set
        overridden = (
            [name for name in kwargs if self.ALIASES.get(name, name) in RETRY_SETTINGS]
            if kwargs
            else ()
        )
        for name in overridden:
            field, value = self.ALIASES.get(name, name), kwargs.pop(name)
            retry_settings[field] = seconds_of(value) if field == "timeout" else value
            retries_are_set = retries_are_set or field == "max_retries"
        if overridden:
            check_retry_settings(retry_settings)
        return retry_settings, self._policy(retry_settings, retries_are_set=retries_are_set)

    def _cache_key(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> tuple[str, str] | None:
        from modelwire.adapters.model.cache_keys import request_key

        kwargs = dict(kwargs)
        self._retry_settings(kwargs)
        client = self._own_client()
        named: Mapping[str, Any] = (
            getattr(client, "default_headers", None) or getattr(client, "headers", None) or {}
        )
        more = [(name, value) for name, value in named.items() if isinstance(value, str)]
        return request_key(
            self._build_request(messages, stop, kwargs, stream=False, ask=False)[1], more
        )

    def bind(self, **kwargs: Any) -> RunnableBinding[LanguageModelInput, AIMessage]:
        """Return this model with `kwargs` given to every call; what a call says of them itself wins, by any name."""
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
        """Let the model call `tools`: functions, pydantic classes, TypedDicts, tools, or dicts in a provider's shape.

        `tool_choice` is "auto", "none", "any" (or "required", or True: some tool must be called), the name of a tool,
        or a dict as the wire has it. Raises `InvalidArgument` for what the provider cannot take.
        """
        from modelwire.adapters.model.tools import bind_tools

        return bind_tools(
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
        from modelwire.adapters.model.structured_output import structured_by_wire

        return structured_by_wire(
            self, schema, method=method, include_raw=include_raw, strict=strict, **kwargs
        )

    def warmup(self, n: int = 1) -> int:
        """Open `n` connections (0 to 1000) for sync calls, so that the first ones need not; return how many are open.

        For more than one, `n` others are opened on the background loop, over which `batch` and jobs go. No call is made
        and no key sent: each connection gets a `HEAD`. 0 where calls go through a proxy, another engine or a client of
        your own. Raises the wire's error when none can be opened.
        """
        from modelwire.transport.connections.warmup import warm

        exchange = self._exchange(
            self._messages("hi"), None, settled(None), {}, stream=False, ask=False
        )
        opened = warm(lambda: self._sync_connection(exchange), n)
        if n > 1 and self._loop_native():
            from asyncio import run_coroutine_threadsafe

            from modelwire.runnables.background import background_loop

            home = background_loop()
            if not home.is_here():  # it would wait for itself
                run_coroutine_threadsafe(self.awarmup(n), home.loop).result()
        return opened

    async def awarmup(self, n: int = 1) -> int:
        """Open `n` connections for the calls of this event loop; see `warmup`."""
        from modelwire.transport.connections.warmup import awarm

        exchange = self._exchange(
            self._messages("hi"), None, settled(None), {}, stream=False, ask=False
        )
        return await awarm(lambda: self._async_connection(exchange), n)

    def _loop_native(self) -> bool:
        if self.client is not None:
            return self.async_client is not None
        return self.http_client is None or self.http_async_client is not None

    def _answer(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AIMessage:
        stream = self._streams_whole(kwargs) if "stream" in kwargs else self.streaming
        exchange = self._exchange(messages, stop, config, kwargs, stream=stream)
        line = self._sync_connection(exchange)
        if stream:
            answer = _message_of(drive(collected_flow(exchange), line))
        else:
            answer = drive(call_flow(exchange), line)
        if exchange.polls and answer.response_metadata.get("status") in PENDING:
            answer = background_answers().final_answer(self, exchange, answer)
        return cast("RefusalPolicy", exchange.refusals).checked(answer, exchange)

    async def _aanswer(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AIMessage:
        if (
            self.client is not None and not self._loop_native()
        ):  # an SDK's sync client has the key: in a thread then
            return await run_in_executor(None, self._answer, messages, stop, config, **kwargs)
        key = await self._akey(kwargs, config.get("deadline")) if self._asks_for_key() else None
        stream = self._streams_whole(kwargs) if "stream" in kwargs else self.streaming
        exchange = self._exchange(
            messages, stop, config, kwargs, stream=stream, is_async=True, key=key
        )
        line = self._async_connection(exchange)
        if stream:
            answer = _message_of(await adrive(collected_flow(exchange), line))
        else:
            answer = await adrive(call_flow(exchange), line)
        if exchange.polls and answer.response_metadata.get("status") in PENDING:
            answer = await background_answers().afinal_answer(self, exchange, answer)
        return cast("RefusalPolicy", exchange.refusals).checked(answer, exchange)

    def _streams_whole(self, kwargs: Mapping[str, Any]) -> bool:
        """Return whether the call wants its whole answer read from a stream, and the model may stream it."""
        return bool(kwargs["stream"]) and not self._streaming_is_off(kwargs)

    def _chunks(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        if self._streaming_is_off(kwargs):
            return super()._chunks(messages, stop, config, **kwargs)
        exchange = self._exchange(messages, stop, config, kwargs, stream=True)
        if exchange.stream_resume:
            more = resuming_streams().resumed(self, exchange, messages, stop, config, kwargs)
            return cast("Iterator[AIMessageChunk]", more)
        return drive_stream(stream_flow(exchange), self._sync_connection(exchange))

    def _achunks(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        if self._streaming_is_off(kwargs):
            return super()._achunks(messages, stop, config, **kwargs)
        if self.client is not None and not self._loop_native():
            from modelwire.adapters.model.sdk_clients import by_thread

            return by_thread(self._chunks(messages, stop, config, **kwargs))
        if self._asks_for_key():
            return self._achunks_with_key(messages, stop, config, kwargs)
        exchange = self._exchange(messages, stop, config, kwargs, stream=True, is_async=True)
        if exchange.stream_resume:
            more = resuming_streams().aresumed(self, exchange, messages, stop, config, kwargs)
            return cast("AsyncIterator[AIMessageChunk]", more)
        return adrive_stream(stream_flow(exchange), self._async_connection(exchange))

    async def _achunks_with_key(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        config: RunnableConfig,
        kwargs: dict[str, Any],
    ) -> AsyncIterator[AIMessageChunk]:
        key = await self._akey(kwargs, config.get("deadline"))
        exchange = self._exchange(
            messages, stop, config, kwargs, stream=True, is_async=True, key=key
        )
        if exchange.stream_resume:
            chunks = resuming_streams().aresumed(self, exchange, messages, stop, config, kwargs)
        else:
            chunks = adrive_stream(stream_flow(exchange), self._async_connection(exchange))
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            await aclose(chunks)

    def _continued_from(
        self, part: AIMessageChunk, input: Any, config: RunnableConfig, **kwargs: Any
    ) -> Iterator[AIMessageChunk]:
        """Continue the part of a stream that another model has begun; `with_fallbacks` calls it."""
        more = resuming_streams().continued_elsewhere(self, part, input, config, kwargs)
        return cast("Iterator[AIMessageChunk]", more)

    def _acontinued_from(
        self, part: AIMessageChunk, input: Any, config: RunnableConfig, **kwargs: Any
    ) -> AsyncIterator[AIMessageChunk]:
        more = resuming_streams().acontinued_elsewhere(self, part, input, config, kwargs)
        return cast("AsyncIterator[AIMessageChunk]", more)

    def _sync_connection(
        self, exchange: Exchange[AIMessage, AIMessageChunk]
    ) -> SyncPooledConnection:
        if self.client is not None or self.async_client is not None:
            return self._sdk().sync_connection(exchange)
        return sync_connection(exchange, self.http_client, proxy=self.proxy)

    def _async_connection(
        self, exchange: Exchange[AIMessage, AIMessageChunk]
    ) -> AsyncPooledConnection:
        if self.client is not None or self.async_client is not None:
            return self._sdk().async_connection(exchange)
        return async_connection(
            exchange, self.http_async_client, proxy=self.proxy, engine=self.engine
        )

    def _whole_result(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        config: RunnableConfig,
        run_manager: object,
        **kwargs: Any,
    ) -> ChatResult:
        return result_of(self._answer(messages, stop, config, **kwargs))

    async def _whole_aresult(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        config: RunnableConfig,
        run_manager: object,
        **kwargs: Any,
    ) -> ChatResult:
        return result_of(await self._aanswer(messages, stop, config, **kwargs))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        return result_of(self._answer(messages, stop, settled(None), **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        return result_of(await self._aanswer(messages, stop, settled(None), **kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in self._chunks(messages, stop, settled(None), **kwargs):
            yield generation_chunk(chunk)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        chunks = self._achunks(messages, stop, settled(None), **kwargs)
        try:
            async for chunk in chunks:
                yield generation_chunk(chunk)
        finally:
            await aclose(chunks)


def background_answers() -> Any:
    """Return the module that polls answers, which few programs load."""
    from modelwire.adapters.model import background

    return background


def resuming_streams() -> Any:
    """Return the module that continues cut streams, which few programs load."""
    from modelwire.adapters.model import stream_resume

    return stream_resume


def _reserved(codec: Codec, body: Mapping[str, Any]) -> int | None:
    """Return how many tokens of output the provider counts before there are any; a codec of one's own may not know."""
    for name in getattr(codec, "reserves", ()):
        tokens = body.get(name)
        if type(tokens) is int:  # a bool is none
            return tokens
    return None


_NO_TIMEOUTS = (None, None)
PENDING = ("queued", "in_progress")  # the statuses of an answer that the provider still makes
# Where a client of an SDK says who calls: openai 3.54, also for Azure, and anthropic 2.12, also for Bedrock and Vertex.
_NAMED_BY_CLIENT = (
    "api_key",
    "auth_token",
    "aws_access_key",
    "aws_profile",
    "access_token",
    "credentials",
    "_api_key_provider",
    "_azure_ad_token",
    "_azure_ad_token_provider",
)
_MAX_REQUESTS = RetryPolicy().max_requests
_SMALL_BYTES = 16_384  # no model takes less: a normal call is not looked at any closer


@lru_cache(maxsize=256)
def _policy(
    max_retries: int, max_wait_s: float, max_retry_after_s: float, max_requests: float
) -> RetryPolicy:
    return RetryPolicy(max_retries, max_wait_s, max_retry_after_s, max_requests=max_requests)


@lru_cache(maxsize=256)
def _timeouts(
    silence_s: float | None,
    idle_s: float | None,
    of_client: tuple[float | None, float | None],
    *,
    tcp_keepalive: bool | tuple[int, int, int],
) -> Timeouts:
    usual = Timeouts()
    connect_s, read_s = (None, silence_s) if silence_s else of_client
    first_byte_s = read_s or usual.first_byte_s
    connect_s = connect_s or min(usual.connect_s, first_byte_s)
    keepalive = usual.keepalive if tcp_keepalive else None
    if isinstance(tcp_keepalive, tuple):
        keepalive = Keepalive(*tcp_keepalive)
    return Timeouts(connect_s, first_byte_s, idle_s or read_s or usual.idle_s, keepalive)


def _note(answer: AIMessage | AIMessageChunk, name: str, value: int) -> None:
    answer.response_metadata = {**answer.response_metadata, name: value}


def _restart_marker() -> AIMessageChunk:
    return AIMessageChunk.from_wire("", response_metadata={RESTART: True})


def _message_of(chunk: AIMessageChunk) -> AIMessage:
    return cast("AIMessage", message_chunk_to_message(chunk))
