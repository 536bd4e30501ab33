"""`WireChatModel`: the one place where a Runnable, a codec and the transport meet.

A model here is its parameters; a call of it becomes a `ChatCall`, the codec says that in the provider's words, and a
flow carries it out (`transport.flow`). What differs between providers is data and a codec, never control flow.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from math import inf
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from pydantic.fields import Field
from pydantic.functional_serializers import field_serializer
from pydantic_core import ValidationError

from modelwire import __version__
from modelwire.adapters.arguments import (
    PATIENCE,
    check_client,
    check_limits,
    check_patience,
    checked_headers,
    checked_key,
    complaint,
    fill,
    from_environment,
    json_bytes,
    name_service,
    names_a_key,
    parameter_of,
    seconds_of,
    service_for,
    warn_of_what_stays,
)  # fmt: skip
from modelwire.adapters.chat_model import BaseChatModel, chunk_from_message
from modelwire.adapters.codec import ChatCall, Codec, Endpoint
from modelwire.adapters.model_run import result_of
from modelwire.adapters.secret import Secret, reveal
from modelwire.errors import CallerError, InvalidArgument, MissingKey, ParameterWarning, did_you_mean
from modelwire.messages import AIMessage, AIMessageChunk, BaseMessage, merge_chunks, message_chunk_to_message
from modelwire.messages.ai import RESTART
from modelwire.runnables.closing import aclose
from modelwire.runnables.config import in_batch, run_in_executor, settled
from modelwire.transport.address import address_of, shown_url
from modelwire.transport.body import MAX_RESPONSE_BYTES
from modelwire.transport.drivers import adrive, adrive_stream, drive, drive_stream
from modelwire.transport.flow import Exchange, Timeouts, call_flow, gathered_flow, stream_flow
from modelwire.transport.lines import AsyncLine, SyncLine, async_line, sync_line
from modelwire.transport.retry import RetryPolicy
from modelwire.transport.wire import WireRequest, hide_headers

if TYPE_CHECKING:
    from modelwire.adapters.chat_model import LanguageModelInput
    from modelwire.adapters.compatible import Service
    from modelwire.outputs import ChatGenerationChunk, ChatResult
    from modelwire.runnables import Runnable, RunnableBinding, RunnableConfig
    from modelwire.transport.governor.gate import Governor
    from modelwire.transport.governor.limits import Limits

__all__ = ["WireChatModel"]

_rng = Random()  # noqa: S311 - spreads retries, keeps no secret
_CLIENTS = ("http_client", "http_async_client")


class WireChatModel(BaseChatModel):
    """A chat model behind an HTTP API. Subclasses add their provider's parameters as fields, and a codec.

    A parameter that is None is not sent. `timeout` limits the silence of one attempt in seconds (first byte, and
    between two bytes); for the whole call give `config={"timeout": ...}`. `max_retries` counts bad luck only: being
    told to come back later is bounded by `max_wait` seconds, and raises at once where the provider says more than
    `max_retry_after`; `max_retries=0` switches every retry off. A stream may be silent for `stream_idle_timeout` (120
    s, or `timeout` where that is set). One that breaks after its first chunk raises `StreamInterrupted`; with
    `stream_restart="marker"` (in a call: `restart="marker"`) it begins again, by a chunk with "stream_restart" in its
    `response_metadata`: whoever has shown what came before takes it back, and a sum of the chunks leaves it out.
    `max_response_bytes` bounds an answer, unpacked. The provider's
    rate limit is found out and kept (`limits()` shows it), shared by all models of this process with the same key;
    `rpm` and `tpm` state requests and tokens a minute that are known, `rate_limit=None` switches all of it off.
    `model_kwargs` and unknown keywords of a call are parameters too; `extra_body` is merged into the body last.
    `http_client` and `http_async_client` (httpx2 or httpx) are used instead of the shared ones; `engine="aiohttp"` has
    the shared async one be aiohttp's, for very many calls at a time. `client` and `async_client` are clients of the
    provider's SDK (`AzureOpenAI(...)`, `AnthropicBedrock(...)`): calls go through them, to their address, as them.
    """

    model: str
    api_key: Any = Field(default=None, repr=False, exclude=True)  # a string, pydantic's `SecretStr`, or a function
    base_url: str | None = Field(default=None, repr=False)  # may hold a user and a password

    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    stop: list[str] | str | None = None
    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    extra_body: dict[str, Any] | None = None
    strict_params: bool = False  # raise where a parameter would be changed or left out for the model, not warn
    extra_headers: dict[str, str] | None = Field(default=None, repr=False, exclude=True)
    default_headers: dict[str, str] | None = Field(default=None, repr=False, exclude=True)

    streaming: bool = False  # answer `invoke` over a stream
    timeout: float | None = None
    max_retries: int = 4
    max_wait: float = 60.0
    max_retry_after: float = 120.0
    stream_idle_timeout: float | None = None
    stream_restart: Literal["marker"] | None = None
    max_response_bytes: int = MAX_RESPONSE_BYTES
    rate_limit: Literal["auto"] | None = "auto"
    rpm: float | None = None
    tpm: float | None = None
    proxy: str | None = Field(default=None, repr=False, exclude=True)
    engine: Literal["httpx2", "aiohttp"] = "httpx2"  # for async calls; aiohttp needs the extra of that name
    http_client: Any = Field(default=None, repr=False, exclude=True)
    http_async_client: Any = Field(default=None, repr=False, exclude=True)
    client: Any = Field(default=None, repr=False, exclude=True)
    async_client: Any = Field(default=None, repr=False, exclude=True)

    # Other names for fields, as LangChain and the SDKs have them.
    ALIASES: ClassVar[Mapping[str, str]] = {
        "model_name": "model",
        "request_timeout": "timeout",
        "restart": "stream_restart",
        "stop_sequences": "stop",
        "max_tokens_to_sample": "max_tokens",
        "max_completion_tokens": "max_tokens",
    }
    # Fields that are parameters of the call under their own name.
    PARAMETERS: ClassVar[tuple[str, ...]] = ("temperature", "max_tokens", "top_p", "stop")
    # Known parameters that have no field: here, those that are understood on every wire (`adapters.parameters`).
    SENDABLE: ClassVar[frozenset[str]] = frozenset((
        "effort", "frequency_penalty", "logit_bias", "logprobs", "n", "output_config", "output_format",
        "parallel_tool_calls", "presence_penalty", "reasoning", "reasoning_effort", "response_format", "seed",
        "service_tier", "store", "thinking", "tool_choice", "tools", "top_k", "top_logprobs", "user", "verbosity",
    ))  # fmt: skip
    # Where the provider documents its settings: environment variables, most telling first, and the address.
    KEY_VARIABLES: ClassVar[tuple[str, ...]] = ()
    URL_VARIABLES: ClassVar[tuple[str, ...]] = ()
    DEFAULT_URL: ClassVar[str] = ""
    ENVIRONMENT: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # more fields, each with its variables
    SECRETS: ClassVar[tuple[str, ...]] = ("api_key",)  # fields that never leave the process
    ADDRESSES: ClassVar[tuple[str, ...]] = ("base_url",)  # fields that leave it without user, password and query
    TOOL_SHAPE: ClassVar[str] = "openai"  # whose shape tools have on the wire: "openai" or "anthropic"

    # ------------------------------------------------------------ what a provider adds

    def _codec(self, call: ChatCall) -> Codec:
        """Return who says `call`: most models have one way to say all of them."""
        raise NotImplementedError

    def _auth_headers(self, key: str) -> dict[str, str]:
        """Say who we are."""
        raise NotImplementedError

    def _identity_headers(self) -> dict[str, str]:
        """Say for whom we call, or who we are where no key says it."""
        return {}

    # ------------------------------------------------------------ making one

    if not TYPE_CHECKING:  # type checkers see one keyword a field

        def __init__(self, **given: Any) -> None:
            refused: Exception | None = None
            try:
                values = self._read_arguments(given)
                if not fill(self, values):
                    super().__init__(**values)
            except ValidationError as exc:
                refused = complaint(type(self), exc)
            except CallerError as exc:
                refused = exc
            if refused is not None:  # raised here: pydantic's error and the frames below show what was given, keys too
                given = values = {}
                raise refused.with_traceback(None)

    @classmethod
    def _read_arguments(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Resolve other names, keep unknown arguments as `model_kwargs`, look into the environment for the rest."""
        values: dict[str, Any] = {}
        for name, value in given.items():
            field = cls.ALIASES.get(name, name)
            if field == name or values.get(field) is None:  # its own name wins over an alias
                values[field] = value
        unknown = {name: values.pop(name) for name in list(values) if name not in cls.model_fields}
        if unknown:
            values["model_kwargs"] = {**(values.get("model_kwargs") or {}), **cls._accepted(unknown)}
        through_sdk = values.get("client") is not None or values.get("async_client") is not None
        if through_sdk:
            from modelwire.adapters.sdk_clients import take_sdk_clients

            take_sdk_clients(cls, values)
        for field, variables in ({} if through_sdk else cls._environment_fields(values)).items():
            if values.get(field) is None and (value := from_environment(variables)) is not None:
                values[field] = value
        if not through_sdk:
            name_service(cls, values)
        if not isinstance(values.get("timeout"), (int, float, str, type(None))):
            values["timeout"] = seconds_of(values["timeout"])
        for field in cls.SECRETS:
            if isinstance(values.get(field), str):
                values[field] = Secret(values[field])
        return values

    @classmethod
    def _environment_fields(cls, values: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]]:
        if (service := service_for(cls, values)) is not None:  # a service never gets what another's variables hold
            return {"api_key": service.keys, "base_url": service.url_variables}
        return {"api_key": cls.KEY_VARIABLES, "base_url": cls.URL_VARIABLES, **cls.ENVIRONMENT}

    @classmethod
    def _accepted(cls, unknown: dict[str, Any]) -> dict[str, Any]:
        """Take unknown arguments for parameters of the provider's, unless they look like a slip."""
        from difflib import get_close_matches

        strange = [name for name in unknown if name not in cls.SENDABLE]
        for name in strange:
            if get_close_matches(name, list(cls.model_fields), n=1, cutoff=0.85):
                raise InvalidArgument(
                    f"`{cls.__name__}` has no parameter `{name}`. {did_you_mean(name, list(cls.model_fields))} "
                    f"To send `{name}` as it is, write `model_kwargs={{'{name}': ...}}`."
                )
        if strange:
            warnings.warn(
                f"{', '.join(f'`{name}`' for name in strange)}: no parameter `{cls.__name__}` knows; sent to the "
                "provider as it is. Write it in `model_kwargs` to say that this is meant.",
                stacklevel=4,
            )
        return unknown

    def model_post_init(self, context: Any, /) -> None:
        """Check what can be checked before any request."""
        check_patience({name: getattr(self, name) for name in PATIENCE})
        if not self.model.isprintable():
            raise InvalidArgument("`model` has a line break or another character that no name has.")
        if self.base_url is not None:
            address_of(self.base_url)
        for name, is_async in (("http_client", False), ("http_async_client", True)):
            check_client(name, getattr(self, name), is_async=is_async)
        check_limits(self)
        self._endpoint()

    def __getstate__(self) -> dict[Any, Any]:
        """Leave out secrets and sockets: a copy elsewhere takes its key from the environment there."""
        state = super().__getstate__()
        kept = state["__dict__"]
        fields = kept | dict.fromkeys((*self.SECRETS, *_CLIENTS, "proxy"))
        for name in self.ADDRESSES:
            fields[name] = fields[name] and shown_url(fields[name])
        for name in ("client", "async_client"):  # to be missed where it is gone: no other address may stand in for it
            fields[name] = fields[name] and type(fields[name]).__name__
        fields |= dict.fromkeys(name for name in ("default_headers", "extra_headers") if fields[name])
        left = [name for name in ("default_headers", "extra_headers", *self.ADDRESSES) if fields[name] != kept[name]]
        if left:
            warn_of_what_stays(type(self), left)
        return {**state, "__dict__": fields}

    @field_serializer("base_url", "azure_endpoint", check_fields=False, when_used="unless-none")
    def _shown_address(self, url: str) -> str:
        return shown_url(url)

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        variables = self._environment_fields(self.__dict__)
        for field in self.SECRETS:
            if getattr(self, field) is None and (secret := from_environment(variables.get(field, ()))) is not None:
                setattr(self, field, Secret(secret))

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Show what was set, and no secret."""
        fields = type(self).model_fields
        for name, value in super().__repr_args__():
            if name not in fields or value != fields[name].get_default(call_default_factory=True):
                yield name, value

    @property
    def model_name(self) -> str:
        """The model, under the name older scripts use."""
        return self.model

    # ------------------------------------------------------------ what will be sent

    def build_request(self, messages: Any, *, stream: bool = False, **kwargs: Any) -> WireRequest:
        """Return what a call with these arguments would send, without sending it."""
        return self._said(self._messages(messages), kwargs.pop("stop", None), kwargs, stream=stream)[1]

    def _messages(self, input: Any) -> list[BaseMessage]:
        """Read the input of a call; raise before any request when there is nothing to answer."""
        messages = super()._messages(input)
        if not messages:
            raise InvalidArgument(f"`{self.get_name()}` was given an empty list of messages; give it at least one.")
        return messages

    def _through_sdk(self) -> bool:
        return self.client is not None or self.async_client is not None

    def _endpoint(self) -> Endpoint:
        if self._through_sdk():
            from modelwire.adapters.sdk_clients import endpoint_of_sdk

            return endpoint_of_sdk(self, checked_headers(self.default_headers))
        service = service_for(type(self), self.__dict__)
        key = reveal(self.api_key)
        headers = {}
        if key:
            checked_key(key, type(self).__name__)
            headers = self._auth_headers(key) if service is None else service.auth_headers(key)
        headers |= checked_headers(self._identity_headers())
        needed = self.base_url is None if service is None else service.needs_key(self.base_url)
        if needed and not names_a_key(headers) and not names_a_key(self.default_headers):
            raise self._missing_key(service)
        headers |= checked_headers(self.default_headers)
        url = self.base_url or (self.DEFAULT_URL if service is None else service.address(self._wire()))
        return Endpoint(url.rstrip("/"), headers)

    def _missing_key(self, service: Service | None) -> MissingKey:
        variables = " or ".join(f"`{name}`" for name in (self.KEY_VARIABLES if service is None else service.keys))
        owner = f"`{type(self).__name__}` needs an API key" + (f" for `{service.name}`" if service else "")
        see = f" See {service.docs}." if service else ""
        return MissingKey(f"{owner}: set {variables} in the environment, or pass `api_key=`.{see}")

    def _wire(self) -> str:
        """Return the wire this model speaks, as the rows of services name it."""
        return self.TOOL_SHAPE

    def _params(self) -> dict[str, Any]:
        """The parameters set on the model, by their common names."""
        params = {name: value for name in self.PARAMETERS if (value := getattr(self, name)) is not None}
        return params | self.model_kwargs if self.model_kwargs else params

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {"model": self.model, **self._params()}

    def _call(
        self, messages: Sequence[BaseMessage], stop: list[str] | str | None, kwargs: dict[str, Any], *, stream: bool
    ) -> ChatCall:
        params = self._params()
        if stop is not None:
            params["stop"] = stop
        extra_body, extra_headers = self.extra_body or {}, self.extra_headers or {}
        model = self.model
        if kwargs:
            extra_body = {**extra_body, **(kwargs.pop("extra_body", None) or {})}
            extra_headers = {**extra_headers, **(kwargs.pop("extra_headers", None) or {})}
            model = kwargs.pop("model", model)
            for name, value in kwargs.items():
                name = parameter_of(type(self), name)
                if value is not None:
                    params[name] = value
                else:
                    params.pop(name, None)
        checked_headers(extra_headers)
        return ChatCall(
            messages=messages,
            model=model,
            endpoint=self._endpoint(),
            params=params,
            stream=stream,
            extra_body=extra_body,
            extra_headers=extra_headers,
        )

    def _said(
        self, messages: Sequence[BaseMessage], stop: list[str] | str | None, kwargs: dict[str, Any], *, stream: bool
    ) -> tuple[Codec, WireRequest]:
        """Return the call in the provider's words, and the codec that said it and will read the answer."""
        try:
            call = self._call(messages, stop, kwargs, stream=stream)
        except CallerError as exc:
            raise exc.with_traceback(None)  # noqa: B904 - the same error, without frames that hold keys
        codec = self._codec(call)
        if call.params:
            model, wire = str(call.model), getattr(codec, "wire", "")  # a codec of one's own may have none
            if not _touched(codec.provider, wire, model).isdisjoint(call.params):
                call.params = self._fitted(call.params, codec.provider, model, wire)
        request = codec.encode(call)
        if self._through_sdk():
            from modelwire.adapters.sdk_clients import direct_to_sdk

            direct_to_sdk(self, request)
        return codec, request

    def _fitted(self, params: Mapping[str, Any], provider: str, model: str, wire: str) -> Mapping[str, Any]:
        """Return the parameters as the model takes them; say which had to be changed, or refuse to."""
        from modelwire.adapters.parameters import fit_parameters

        params, notes = fit_parameters(params, provider=provider, model=model, wire=wire)
        if notes and self.strict_params:
            raise InvalidArgument(" ".join(note.message for note in notes))
        for note in notes:  # once for each text: the place is always this one
            warnings.warn(note.message, ParameterWarning, stacklevel=1)
        return params

    def _exchange(
        self, messages: Sequence[BaseMessage], stop: list[str] | str | None, config: RunnableConfig,
        kwargs: dict[str, Any], *, stream: bool,
    ) -> Exchange[AIMessage, AIMessageChunk]:  # fmt: skip
        patience = self._patience(kwargs)
        codec, request = self._said(messages, stop, kwargs, stream=stream)
        deadline = config.get("deadline")
        return Exchange(
            url=request.url,
            headers=request.headers if self._through_sdk() else _with_ours(request.headers),
            content=json_bytes(request.body),
            wire=codec,
            policy=_policy(
                patience["max_retries"], self._max_wait_s(patience["max_wait"]), patience["max_retry_after"]
            ),
            timeouts=_timeouts(patience["timeout"], patience["stream_idle_timeout"]),
            clock=time.monotonic,
            rng=_rng,
            merge=merge_chunks,
            as_chunk=chunk_from_message,
            model=request.body.get("model"),
            deadline=deadline,
            timeout_s=getattr(deadline, "limit_s", None),
            governor=None if self.rate_limit is None else self._governor(request),
            patient=in_batch.get(),
            max_output=next((n for name in _OUTPUT_LIMITS if isinstance(n := request.body.get(name), int)), None),
            max_response_bytes=self.max_response_bytes,
            renew=self._renewal(messages, stop, kwargs),
            note=_note,
            marker=None if patience["stream_restart"] is None else _restart_marker,
        )

    def _renewal(
        self, messages: Sequence[BaseMessage], stop: list[str] | str | None, kwargs: dict[str, Any]
    ) -> Callable[[], Mapping[str, str]] | None:
        """Return what asks for the key again and says the headers anew, where functions give the key."""
        if self._through_sdk() or not any(callable(getattr(self, name)) for name in self.SECRETS):
            return None
        return lambda: _with_ours(self._said(messages, stop, kwargs, stream=False)[1].headers)

    def _max_wait_s(self, max_wait_s: float) -> float:
        """Return how long a call may be put off: a row of a batch as long as it takes, unless told otherwise."""
        if in_batch.get() and self.rate_limit is not None and max_wait_s == type(self).model_fields["max_wait"].default:
            return inf
        return max_wait_s

    def _governor(self, request: WireRequest) -> Governor:
        from modelwire.transport.governor.registry import governor_of

        return governor_of(
            request.url, request.headers, request.body.get("model") or self.model, now=time.monotonic(), rng=_rng,
            who=getattr(self.client or self.async_client, "api_key", None),
            requests_per_minute=self.rpm, tokens_per_minute=self.tpm,
        )  # fmt: skip

    def limits(self) -> Limits:
        """Return what is known now of the provider's limits for this credential and model, learned or advertised.

            >>> ChatOpenAI(model="gpt-4o-mini", api_key="k").limits()
            Limits(none known)
        """
        return self._governor(self.build_request("hi")).limits(time.monotonic())

    def _patience(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Take the settings of patience out of the keywords of a call; they win over the model's for this call."""
        patience = {name: getattr(self, name) for name in PATIENCE}
        if patience["timeout"] is None and self._through_sdk():
            patience["timeout"] = seconds_of(getattr(self.client or self.async_client, "timeout", None))
        for name in [name for name in kwargs if self.ALIASES.get(name, name) in PATIENCE]:
            field, value = self.ALIASES.get(name, name), kwargs.pop(name)
            patience[field] = seconds_of(value) if field == "timeout" else value
            check_patience(patience)
        return patience

    def _cache_key(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> tuple[str, str] | None:
        from modelwire.adapters.guarded_call import request_key

        kwargs = dict(kwargs)
        self._patience(kwargs)
        return request_key(self._said(messages, stop, kwargs, stream=False)[1])

    # ------------------------------------------------------------ tools and forms

    def bind(self, **kwargs: Any) -> RunnableBinding[LanguageModelInput, AIMessage]:
        """Return this model with `kwargs` given to every call."""
        hide_headers(kwargs)
        return super().bind(**kwargs)

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: Any = None, strict: bool | None = None,
        parallel_tool_calls: bool | None = None, **kwargs: Any,
    ) -> Runnable[Any, AIMessage]:  # fmt: skip
        """Let the model call `tools`: functions, pydantic classes, TypedDicts, tools, or dicts in a provider's shape.

        `tool_choice` is "auto", "none", "any" (or "required", or True: some tool must be called), the name of a tool,
        or a dict as the wire has it. Raises `InvalidArgument` for what the provider cannot take.
        """
        from modelwire.adapters.tool_binding import bind_tools

        return bind_tools(
            self, tools, tool_choice=tool_choice, strict=strict, parallel_tool_calls=parallel_tool_calls, **kwargs
        )

    def _structured(
        self, schema: Any, *, include_raw: bool, method: str | None = None, strict: bool | None = None, **kwargs: Any
    ) -> Runnable[Any, Any]:
        from modelwire.adapters.structured_output import structured_by_wire

        return structured_by_wire(self, schema, method=method, include_raw=include_raw, strict=strict, **kwargs)

    # ------------------------------------------------------------ before the first call

    def warmup(self, n: int = 1) -> int:
        """Open `n` connections (0 to 1000) for sync calls, so that the first ones need not; return how many are open.

        No call is made and no key sent: each connection gets a `HEAD`. 0 where calls go through a proxy, another
        engine or a client of your own. Raises the wire's error when none can be opened.
        """
        from modelwire.transport.warmup import warm

        exchange = self._exchange(self._messages("hi"), None, settled(None), {}, stream=False)
        return warm(lambda: self._sync_line(exchange), n)

    async def awarmup(self, n: int = 1) -> int:
        """Open `n` connections for the calls of this event loop; see `warmup`."""
        from modelwire.transport.warmup import awarm

        exchange = self._exchange(self._messages("hi"), None, settled(None), {}, stream=False)
        return await awarm(lambda: self._async_line(exchange), n)

    # ------------------------------------------------------------ how a call is answered

    def _loop_native(self) -> bool:
        if self.client is not None:
            return self.async_client is not None
        return self.http_client is None or self.http_async_client is not None

    def _answer(
        self, messages: list[BaseMessage], stop: list[str] | None, config: RunnableConfig, **kwargs: Any
    ) -> AIMessage:
        exchange = self._exchange(messages, stop, config, kwargs, stream=self.streaming)
        on_retry = config.get("on_retry")
        line = self._sync_line(exchange)
        if self.streaming:
            return _message_of(drive(gathered_flow(exchange), line, on_retry))
        return drive(call_flow(exchange), line, on_retry)

    async def _aanswer(
        self, messages: list[BaseMessage], stop: list[str] | None, config: RunnableConfig, **kwargs: Any
    ) -> AIMessage:
        if not self._loop_native() and self.client is not None:  # an SDK's sync client has the key: in a thread then
            return await run_in_executor(None, self._answer, messages, stop, config, **kwargs)
        exchange = self._exchange(messages, stop, config, kwargs, stream=self.streaming)
        on_retry = config.get("on_retry")
        line = self._async_line(exchange)
        if self.streaming:
            return _message_of(await adrive(gathered_flow(exchange), line, on_retry))
        return await adrive(call_flow(exchange), line, on_retry)

    def _chunks(
        self, messages: list[BaseMessage], stop: list[str] | None, config: RunnableConfig, **kwargs: Any
    ) -> Iterator[AIMessageChunk]:
        if self._streaming_is_off(kwargs):
            return super()._chunks(messages, stop, config, **kwargs)
        exchange = self._exchange(messages, stop, config, kwargs, stream=True)
        return drive_stream(stream_flow(exchange), self._sync_line(exchange), config.get("on_retry"))

    def _achunks(
        self, messages: list[BaseMessage], stop: list[str] | None, config: RunnableConfig, **kwargs: Any
    ) -> AsyncIterator[AIMessageChunk]:
        if self._streaming_is_off(kwargs):
            return super()._achunks(messages, stop, config, **kwargs)
        if not self._loop_native() and self.client is not None:
            from modelwire.adapters.sdk_clients import by_thread

            return by_thread(self._chunks(messages, stop, config, **kwargs))
        exchange = self._exchange(messages, stop, config, kwargs, stream=True)
        return adrive_stream(stream_flow(exchange), self._async_line(exchange), config.get("on_retry"))

    def _sync_line(self, exchange: Exchange[AIMessage, AIMessageChunk]) -> SyncLine:
        if self._through_sdk():
            from modelwire.adapters.sdk_clients import sync_sdk_line

            return sync_sdk_line(self, exchange)
        return sync_line(exchange, self.http_client, proxy=self.proxy)

    def _async_line(self, exchange: Exchange[AIMessage, AIMessageChunk]) -> AsyncLine:
        if self._through_sdk():
            from modelwire.adapters.sdk_clients import async_sdk_line

            return async_sdk_line(self, exchange)
        return async_line(exchange, self.http_async_client, proxy=self.proxy, engine=self.engine)

    def _whole_result(
        self, messages: list[BaseMessage], stop: list[str] | None, config: RunnableConfig, run_manager: object,
        **kwargs: Any,
    ) -> ChatResult:  # fmt: skip
        return result_of(self._answer(messages, stop, config, **kwargs))

    async def _whole_aresult(
        self, messages: list[BaseMessage], stop: list[str] | None, config: RunnableConfig, run_manager: object,
        **kwargs: Any,
    ) -> ChatResult:  # fmt: skip
        return result_of(await self._aanswer(messages, stop, config, **kwargs))

    # ------------------------------------------------------------ the hooks, for subclasses that call `super()`

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return result_of(self._answer(messages, stop, settled(None), **kwargs))

    async def _agenerate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return result_of(await self._aanswer(messages, stop, settled(None), **kwargs))

    def _stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        from modelwire.outputs import ChatGenerationChunk

        for chunk in self._chunks(messages, stop, settled(None), **kwargs):
            yield ChatGenerationChunk(message=chunk)

    async def _astream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        from modelwire.outputs import ChatGenerationChunk

        chunks = self._achunks(messages, stop, settled(None), **kwargs)
        try:
            async for chunk in chunks:
                yield ChatGenerationChunk(message=chunk)
        finally:
            await aclose(chunks)


def _with_ours(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Add the headers every call has; the user's own of the same name win."""
    named = {name.lower() for name in headers}
    return {**{name: value for name, value in _OUR_HEADERS.items() if name.lower() not in named}, **headers}


_OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")  # in tokens, by wire
_OUR_HEADERS = {"User-Agent": f"modelwire/{__version__}", "Accept-Encoding": "gzip, deflate"}


@lru_cache(maxsize=256)
def _touched(provider: str, wire: str, model: str) -> frozenset[str]:
    """Return the parameters that may have to be fitted to the model; asked at every call that has any."""
    from modelwire.adapters.model_families import touched_parameters

    return touched_parameters(provider, wire, model)


@cache
def _policy(max_retries: int, max_wait_s: float, max_retry_after_s: float) -> RetryPolicy:
    return RetryPolicy(max_retries=max_retries, max_wait_s=max_wait_s, max_retry_after_s=max_retry_after_s)


@cache
def _timeouts(silence_s: float | None, idle_s: float | None) -> Timeouts:
    usual = Timeouts()
    first_byte_s = silence_s or usual.first_byte_s
    return Timeouts(min(usual.connect_s, first_byte_s), first_byte_s, idle_s or silence_s or usual.idle_s)


def _note(answer: AIMessage | AIMessageChunk, name: str, value: int) -> None:
    answer.response_metadata = {**answer.response_metadata, name: value}


def _restart_marker() -> AIMessageChunk:
    return AIMessageChunk.from_wire("", response_metadata={RESTART: True})


def _message_of(chunk: AIMessageChunk) -> AIMessage:
    return cast("AIMessage", message_chunk_to_message(chunk))
