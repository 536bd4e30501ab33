"""The settings of a model behind an HTTP API: its fields, their aliases, the environment, secrets, the address.

`HTTPChatModel` (http.py) adds the calls. The only I/O here is reading the environment.
"""

# This module does without `from __future__ import annotations`: the types of its many fields are evaluated
# once, as code, where pydantic would compile and evaluate each from its text.
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

from pydantic.config import ConfigDict
from pydantic.fields import Field
from pydantic_core import ValidationError, core_schema

from modelwire.adapters.credentials import (
    Credentials,
    credential_of,
    credential_of_environment,
    has_sdk_client,
    is_said_elsewhere,
    is_set_in_code,
    one_credential,
)
from modelwire.adapters.environment import check_address, from_environment
from modelwire.adapters.model.arguments import (
    RETRY_SETTINGS,
    check_client,
    check_limits,
    check_retry_settings,
    checked_headers,
    checked_key,
    complaint,
    fill,
    name_service,
    names_a_key,
    seconds_of,
    service_for,
    warn_of_what_stays,
)
from modelwire.adapters.model.base import BaseChatModel
from modelwire.adapters.model.documentation import KEYWORDS_ONLY, SettingsDoc, SettingsSignature
from modelwire.adapters.model.lazy_rooms import profiles, sdk_clients
from modelwire.adapters.model.secret import LostSecret, Secret, reveal
from modelwire.adapters.parameter_aliases import set_parameter
from modelwire.adapters.wires.wire import HOME_WIRE, Endpoint, wire_named
from modelwire.aliases import JSON, Fields, HeaderFields, Kwargs, Values
from modelwire.errors import (
    CallerError,
    InvalidArgument,
    InvalidType,
    MissingKey,
    did_you_mean,
    warn_caller,
)
from modelwire.transport.connections.address import address_of, origin_of, shown_url
from modelwire.transport.connections.body import MAX_RESPONSE_BYTES
from modelwire.transport.wire import Headers, masked_fields

if TYPE_CHECKING:
    from modelwire.adapters.model.arguments import Arguments
    from modelwire.adapters.model.sdk_clients import SdkClients
    from modelwire.adapters.providers.services import Service
    from modelwire.adapters.wires.wire import Wire
    from modelwire.profiles import ModelProfile
else:
    ModelProfile = dict[str, Any] | None

_CLIENTS = ("http_client", "http_async_client")


class _ReadProfile:
    """The descriptor `model.profile`: builds the profile when it is read, from known facts and the user's values."""

    def __get__(self, model: "WireSettings | None", owner: "type[WireSettings]") -> ModelProfile:
        if model is None:
            raise AttributeError("profile")  # The fields of a pydantic class raise it, too.
        return profiles.profile_of(model)

    def __set__(self, model: "WireSettings", profile: ModelProfile) -> None:
        model.__dict__["profile"] = profile


class _ShownAddress:
    """In the metadata of a field: its address is dumped without user, password and query.

    It is pydantic's `PlainSerializer`, whose module takes as long to load as ten of ours.
    """

    @staticmethod
    def __get_pydantic_core_schema__(source: Any, handler: Any) -> Any:
        serialization = core_schema.plain_serializer_function_ser_schema(
            shown_url, return_schema=core_schema.str_schema(), when_used="unless-none"
        )
        return {**handler(source), "serialization": serialization}


class WireSettings(BaseChatModel):
    """The settings of an `HTTPChatModel`; its docstring lists them."""

    # pydantic would use the descriptor `_ReadProfile` as a default value.
    model_config = ConfigDict(ignored_types=(_ReadProfile,))

    model: str
    """Name of the model, as the provider writes it."""
    api_key: Any = Field(default=None, repr=False, exclude=True)
    """API key: a string, a pydantic `SecretStr`, or a function (sync or async) that returns it and is called for each
    call. Unset: read from the environment."""
    base_url: str | None = Field(default=None, repr=False)
    """Address of the API with its version, such as `https://host/v1`. Unset: read from the environment, else the
    provider's."""

    temperature: float | None = None
    """Sampling temperature, 0 to 2 (Anthropic: 0 to 1). Unset: not sent."""
    max_tokens: int | None = None
    """Maximum number of tokens of the answer. Unset: not sent, except to Anthropic, which requires it and gets the
    model's maximum."""
    top_p: float | None = None
    """Nucleus sampling: the share of probability to choose from, 0 to 1."""
    stop: list[str] | str | None = None
    """Text, or list of texts, at which the answer ends."""
    model_kwargs: Kwargs = Field(default_factory=dict)
    """More parameters of the call, sent as they are."""
    extra_body: JSON | None = None
    """Fields merged into the JSON body last."""
    strict_params: bool = False
    """Raise an error, instead of a warning, if a parameter would be changed or left out for the model."""
    prompt_cache: bool | Literal["5m", "1h"] = False
    """Ask the provider to cache the beginning of the prompt, for 5 minutes (True) or an hour since its last use. Marks
    and parameters are placed for you; see the page on prompt caching. `cache` is something else: a cache of answers."""
    extra_headers: dict[str, str] | None = Field(default=None, repr=False, exclude=True)
    """HTTP headers of each chat call."""
    default_headers: dict[str, str] | None = Field(default=None, repr=False, exclude=True)
    """HTTP headers of every request."""

    streaming: bool = False
    """Whether `invoke` reads its answer from a stream; the keyword `stream` of a call wins."""
    timeout: float | None = None
    """Seconds of silence allowed in one attempt: until the first byte, and between two bytes (600 if unset). To limit a
    whole call, use `config={"timeout": s}`."""
    max_retries: int = 4
    """Maximum number of retries of one call after broken connections and 5xx responses. 0 switches off every retry."""
    max_wait: float = 60.0
    """Seconds from the first refusal (rate limit, overload) after which a call is not tried again."""
    max_retry_after: float = 120.0
    """Longest Retry-After in seconds that a call waits for; a longer one raises at once."""
    stream_idle_timeout: float | None = None
    """Seconds that a stream may be silent (120 if unset, or `timeout` if that is set)."""
    stream_restart: Literal["marker"] | None = None
    """"marker": a stream that breaks starts again, and a chunk marks the restart. None: it raises
    `StreamInterrupted`."""
    stream_resume: Literal[False, "lossless", "anchored"] = False
    """How to continue a stream that breaks after its first chunk. False: it raises `StreamInterrupted`. "lossless": the
    rest is read from the provider (Responses API with `background`). "anchored": another request continues the text."""
    max_continuations: int = 10
    """Maximum number of further requests for an answer that the provider suspends (Anthropic's `pause_turn`, Gemini's
    `CONTINUATION`); then `IncompleteAnswer` is raised. 0 returns the first part."""
    on_refusal: Literal["raise", "message"] = "raise"
    """"raise": an answer that the model refused, or that a content filter stopped, raises `Refused`, with the text so
    far in `.partial`. "message": the message is returned, with the reason as its text."""
    max_response_bytes: int = MAX_RESPONSE_BYTES
    """Maximum number of bytes of one answer after decompression. If it is unset, a stream may have 256 MiB, because
    each of its events repeats other fields."""
    tcp_keepalive: bool | tuple[int, int, int] = True
    """Probe silent connections to find out that a peer is gone: seconds before the first probe, seconds between two,
    number of probes. True: (60, 15, 3). False: none. A client of your own is not changed."""
    rate_limit: Literal["auto", None] = "auto"
    """"auto": learn the provider's rate limit and keep to it. None: no limiter."""
    rpm: float | None = None
    """The provider's limit in requests a minute, if you know it."""
    tpm: float | None = None
    """The provider's limit in tokens a minute, if you know it."""
    proxy: str | None = Field(default=None, repr=False, exclude=True)
    """Address of a proxy. Unset: read from the environment."""
    engine: Literal["httpx2", "aiohttp"] = "httpx2"
    """HTTP engine of async calls. "aiohttp" is for thousands of concurrent calls and needs the extra of that name."""
    default_query: dict[str, str] | None = Field(default=None, repr=False, exclude=True)
    """Query parameters added to the URL of every request."""
    profile: Annotated[ModelProfile, Field(default=None, repr=False, exclude=True)] = cast(
        "Any", _ReadProfile()
    )
    """Abilities and limits of the model, a `modelwire.profiles.ModelProfile`. Values that you set win over the known
    ones."""
    check_context: Literal["estimate", "exact", False] = Field(
        default="estimate", repr=False, exclude=True
    )
    """"estimate": a call whose text cannot fit the model's window raises `ContextTooLong` before it is sent. "exact":
    the provider counts each call first, where it can. False: neither."""
    http_client: Any = Field(default=None, repr=False, exclude=True)
    """Your own `httpx2.Client` (or httpx) for sync calls."""
    http_async_client: Any = Field(default=None, repr=False, exclude=True)
    """Your own `httpx2.AsyncClient` (or httpx) for async calls."""
    client: Any = Field(default=None, repr=False, exclude=True)
    """A client of the provider's SDK for sync calls, such as `AzureOpenAI(...)`: calls go through it."""
    async_client: Any = Field(default=None, repr=False, exclude=True)
    """A client of the provider's SDK for async calls, such as `AsyncAzureOpenAI(...)`: calls go through it."""

    # Other names for fields, as LangChain and the SDKs have them.
    ALIASES: ClassVar[Mapping[str, str]] = {
        "model_name": "model",
        "request_timeout": "timeout",
        "restart": "stream_restart",
        "stream_chunk_timeout": "stream_idle_timeout",
        "stop_sequences": "stop",
        "max_tokens_to_sample": "max_tokens",
        "max_completion_tokens": "max_tokens",
    }
    # Fields that are sent as parameters of a call under their own name.
    PARAMETERS: ClassVar[tuple[str, ...]] = ("temperature", "max_tokens", "top_p", "stop")
    # Known parameters without a field. These are understood on every wire (`providers/parameters.py`).
    SENDABLE: ClassVar[frozenset[str]] = frozenset(
        (
            "effort",
            "frequency_penalty",
            "logit_bias",
            "logprobs",
            "n",
            "output_config",
            "output_format",
            "parallel_tool_calls",
            "presence_penalty",
            "reasoning",
            "reasoning_effort",
            "response_format",
            "seed",
            "service_tier",
            "store",
            "thinking",
            "tool_choice",
            "tools",
            "top_k",
            "top_logprobs",
            "user",
            "verbosity",
        )
    )
    # Arguments of LangChain's classes that have no effect here, with what to do instead, which a warning says. There is
    # no warning for "".
    WITHOUT_EFFECT: ClassVar[Mapping[str, str]] = {
        "include_response_headers": "the request id is in `response_metadata`, rate limits are in `limits()`",
        "http_socket_options": "give a client of your own, `http_client=` and `http_async_client=`",
        "tiktoken_model_name": "",  # No tokenizer is loaded here.
        "stream_usage": "",  # Streams always ask for it, except those of `ChatOpenAI`, which has a field of this name.
    }
    # The environment variables for the key and the address, the preferred one first, and the default address.
    KEY_VARIABLES: ClassVar[tuple[str, ...]] = ()
    URL_VARIABLES: ClassVar[tuple[str, ...]] = ()
    DEFAULT_URL: ClassVar[str] = ""
    # A model without a name uses this one, with a warning, because scripts written for LangChain may name none.
    DEFAULT_MODEL: ClassVar[str | None] = None
    # Further fields that are read from the environment, each with its variables.
    ENVIRONMENT: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    # The fields with a credential, in the order in which they are looked up in the environment. They are never pickled.
    SECRETS: ClassVar[tuple[str, ...]] = ("api_key",)
    # The fields that identify the account of calls that are signed, and so have no credential in a header.
    SIGNED_BY: ClassVar[tuple[str, ...]] = ()
    # Whether strict mode accepts a schema with defaults.
    STRICT_DEFAULTS: ClassVar[bool] = True
    # The fields with an address, which is pickled without user, password and query.
    ADDRESSES: ClassVar[tuple[str, ...]] = ("base_url",)
    # The name of the wire in `adapters.wires.wire.WIRES`.
    WIRE: ClassVar[str] = HOME_WIRE

    def _auth_headers(self, key: str) -> dict[str, str]:
        """Return the headers that authenticate with an API key."""
        raise NotImplementedError

    def _identity_headers(self) -> dict[str, str]:
        """Return the headers that name the organization and project of a call."""
        return {}

    if not TYPE_CHECKING:  # Type checkers see one keyword for each field.

        def __init_subclass__(cls, **kwargs: Any) -> None:
            super().__init_subclass__(**kwargs)
            cls.__doc__ = SettingsDoc.of(cls)
            # pydantic replaces this signature by its own when it builds the schema.
            cls.__signature__ = SettingsSignature()

        def __init__(self, *positional: Any, **kwargs: Any) -> None:
            if positional:
                raise InvalidType(
                    f"`{type(self).__name__}` takes its settings by keyword: write "
                    f"`{type(self).__name__}(model={str(positional[0])!r})`."
                )
            refused: Exception | None = None
            try:
                values = self._read_arguments(kwargs)
                if not fill(self, values):
                    super().__init__(**values)
            except ValidationError as exc:
                refused = complaint(type(self), exc)
            except CallerError as exc:
                refused = exc
            if refused is not None:
                # It is raised here, because pydantic's error and the frames below it show the arguments, even keys.
                kwargs = values = {}
                raise refused.with_traceback(None)

        __init__.__signature__ = KEYWORDS_ONLY

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        for name in cls.ADDRESSES:
            metadata = cls.__pydantic_fields__[name].metadata
            if _ShownAddress not in metadata:
                metadata.append(_ShownAddress)

    @classmethod
    def _read_arguments(cls, kwargs: "Arguments") -> Kwargs:
        """Return the values of the fields for the keywords of `__init__`.

        Aliases are resolved, unknown arguments go to `model_kwargs`, and unset fields are read from the environment.
        """
        values: Kwargs = {}
        for name, value in kwargs.items():
            field = cls.ALIASES.get(name, name)
            if field == name or values.get(field) is None:  # The field's own name wins.
                values[field] = value
        if values.get("model") is None and cls.DEFAULT_MODEL:
            _take_default_model(cls, values)
        unknown = {name: values.pop(name) for name in list(values) if name not in cls.model_fields}
        if unknown:
            values["model_kwargs"] = {
                **(values.get("model_kwargs") or {}),
                **cls._accepted(unknown, values),
            }
        _move_lost_secrets(cls, values)
        if has_sdk_client(values):
            sdk_clients.take_sdk_clients(cls, values)
        else:
            one_credential(cls, values)
            cls._ask_environment(values)
            name_service(cls, values)
        if not isinstance(values.get("timeout"), (int, float, str, type(None))):
            values["timeout"] = seconds_of(values["timeout"])
        for field in cls.SECRETS:
            if isinstance(values.get(field), str):
                values[field] = Secret(values[field])
        return values

    @classmethod
    def _ask_environment(cls, values: "Arguments") -> None:
        """Set unset fields from the environment; a credential only if none is set."""
        variables = cls._environment_fields(values)
        values |= credential_of_environment(cls, values, variables)
        for field, names in variables.items():
            if field in cls.SECRETS or values.get(field) is not None:
                continue
            if (value := from_environment(names)) is not None:
                if field in cls.ADDRESSES:
                    check_address(value, names)
                values[field] = value

    @classmethod
    def _environment_fields(cls, values: Values) -> Mapping[str, tuple[str, ...]]:
        service = service_for(cls, values)
        if service is not None:  # A service never gets a key from the variables of another one.
            return {"api_key": service.keys, "base_url": service.url_variables}
        default = cls.model_fields["provider"].default if "provider" in cls.model_fields else None
        if values.get("provider", default) != default:  # A provider that has no row here.
            return {}
        return {"api_key": cls.KEY_VARIABLES, "base_url": cls.URL_VARIABLES, **cls.ENVIRONMENT}

    @classmethod
    def _accepted(cls, unknown: Kwargs, values: Values) -> Kwargs:
        """Return unknown arguments as parameters of the provider. Raises `InvalidArgument` for a probable typo."""
        from difflib import get_close_matches

        for name in [name for name in unknown if name in cls.WITHOUT_EFFECT]:
            if unknown.pop(name) and (instead := cls.WITHOUT_EFFECT[name]):
                warn_caller(f"`{name}` has no effect here: {instead}.")
        strange = [name for name in unknown if name not in cls.SENDABLE]
        if strange:  # Words of other wires are accepted here; a call that leaves one out warns.
            from modelwire.adapters.wires.wire_parameters import foreign_words

            service = service_for(cls, values)
            known = set(foreign_words(cls.WIRE, service))
            if service is not None:
                known.update(service.lacks_over(cls.WIRE), service.own.split())
            strange = [name for name in strange if name not in known]
        for name in strange:
            if get_close_matches(name, list(cls.model_fields), n=1, cutoff=0.85):
                raise InvalidArgument(
                    f"`{cls.__name__}` has no parameter `{name}`. {did_you_mean(name, list(cls.model_fields))} "
                    f"To send `{name}` as it is, write `model_kwargs={{'{name}': ...}}`."
                )
        if strange:
            warn_caller(
                f"{', '.join(f'`{name}`' for name in strange)}: not a known parameter of `{cls.__name__}`; sent to the "
                "provider unchanged. Write it in `model_kwargs` if you mean it."
            )
        return unknown

    def model_post_init(self, context: Any, /) -> None:
        """Check the fields, so that wrong ones raise before any request."""
        check_retry_settings({name: getattr(self, name) for name in RETRY_SETTINGS})
        if not self.model.isprintable():
            raise InvalidArgument("`model` has a line break or another character that no name has.")
        if self.base_url is not None:
            address_of(self.base_url)
        for name, is_async in (("http_client", False), ("http_async_client", True)):
            check_client(name, getattr(self, name), is_async=is_async)
        check_limits(self)
        for name in ("default_headers", "extra_headers"):
            if isinstance(headers := getattr(self, name), dict):
                self.__dict__[name] = Headers(headers)  # Its `repr` hides the values.
        self._endpoint(ask=False)

    def __getstate__(self) -> dict[Any, Any]:
        """Return the state to pickle, without secrets and sockets.

        The copy reads its key from the environment of its process, if this model has read its own from the environment
        or calls the provider's own address. If the code has set a credential for another address, the copy has none.
        """
        state = super().__getstate__()
        kept = state["__dict__"]
        fields = kept | dict.fromkeys((*self.SECRETS, *_CLIENTS, "proxy"))
        for name in self.ADDRESSES:
            fields[name] = fields[name] and shown_url(fields[name])
        # The name of the class is kept, so that unpickling fails instead of calling another address.
        for name in ("client", "async_client"):
            fields[name] = fields[name] and type(fields[name]).__name__
        fields |= dict.fromkeys(
            name for name in ("default_headers", "extra_headers") if fields[name]
        )
        left = [
            name
            for name in ("default_headers", "extra_headers", *self.ADDRESSES)
            if fields[name] != kept[name]
        ]
        if self.proxy is not None:
            left.append("proxy")
        if left:
            warn_of_what_stays(type(self), left)
        return {**state, "__dict__": fields, "credential_source": self._credential_source()}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        source = state.get("credential_source")
        is_own = self._is_own_address(self.__dict__)
        if source == "code" and not is_own:
            setattr(self, self.SECRETS[0], LostSecret())
        elif source is not None or is_own:
            variables = self._environment_fields(self.__dict__)
            for field, secret in credential_of_environment(
                type(self), self.__dict__, variables
            ).items():
                setattr(self, field, secret)

    def _credential_source(self) -> Literal["code", "environment"] | None:
        """Return the source of the credential: "code", "environment", or None if there is none."""
        if getattr(self, "provider", None) == "local":  # A local server needs no key.
            return None
        if is_set_in_code(self):
            return "code"
        if any(getattr(self, name) is not None for name in self.SECRETS):
            return "environment"
        return None

    @classmethod
    def _is_own_address(cls, values: Values) -> bool:
        """Return whether calls go to the provider's own host, or to the host that the environment sets for it."""
        if (url := values.get("base_url")) is None:
            return True
        return origin_of(url) in map(origin_of, cls._own_addresses(values))

    @classmethod
    def _own_addresses(cls, values: Values) -> list[str]:
        """Return the addresses to which the environment's key may be sent."""
        own = from_environment(cls._environment_fields(values).get("base_url", ()))
        addresses = [] if own is None else [own]
        service = service_for(cls, values)
        if service is None:
            return [*addresses, cls.DEFAULT_URL]
        with suppress(
            InvalidArgument
        ):  # The environment may lack a part of the address, such as an account.
            addresses.append(service.address(cls.WIRE))
        return addresses

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Yield the fields that differ from their defaults, with secrets masked."""
        fields = type(self).model_fields
        for name, value in super().__repr_args__():
            if name not in fields or value != fields[name].get_default(call_default_factory=True):
                yield name, masked_fields(value)

    @property
    def model_name(self) -> str:
        """The same as `model`, for older scripts."""
        return self.model

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Return a field by its other names: `openai_api_key`, `request_timeout`."""
            field = type(self).ALIASES.get(name)
            if field is None:
                return super().__getattr__(name)
            return getattr(self, field)

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The fields of credentials that are set, each with the environment variable from which it is loaded again."""
        variables = self._environment_fields(self.__dict__)
        return {
            name: variables[name][0]
            for name in self.SECRETS
            if getattr(self, name) and variables.get(name)
        }

    def to_json(self) -> JSON:
        """Serialise the model as LangChain does, without keys: addresses lose user, password and secret parameters."""
        form = super().to_json()
        written = form.get("kwargs", {})
        for name in self.ADDRESSES:
            if written.get(name):
                written[name] = shown_url(written[name])
        for name in ("extra_body", "model_kwargs", "mcp_servers"):
            if written.get(name):
                written[name] = masked_fields(written[name])
        return form

    def _sdk(self) -> "SdkClients":
        return sdk_clients.SdkClients(self)

    def _own_client(self, *, is_async: bool = False) -> Any:
        """Return the user's own client that makes the calls, of an SDK or of httpx; None if our connections do."""
        if self.client is None and self.async_client is None:
            if is_async:
                return self.http_async_client
            return self.http_client
        if is_async:
            return self.async_client or self.client
        return self.client or self.async_client

    def _endpoint(
        self,
        headers: HeaderFields | None = None,
        *,
        key: Secret | None = None,
        ask: bool = True,
    ) -> Endpoint:
        """Return the address and the authentication headers of a call.

        `headers` are the headers of this call; `key` is one that the user's function has returned already. Without
        `ask`, that function is not called and no key is sent. Raises `MissingKey`.
        """
        if self.client is not None or self.async_client is not None:
            return self._sdk().endpoint(checked_headers(self.default_headers))
        service = service_for(type(self), self.__dict__)
        field = credential_of(self, headers)
        secret = key or (None if field is None else getattr(self, field))
        is_known = ask or not callable(secret)
        text = reveal(secret) if is_known else None
        sent: dict[str, str] = {}
        if text and field is not None:
            checked_key(text, type(self).__name__)
            if field != "api_key":
                sent = {"Authorization": f"Bearer {text}"}
            else:
                sent = self._auth_headers(text) if service is None else service.auth_headers(text)
        if is_known and not sent and _needs_key(self, service, headers):
            raise _missing_key(self, service)
        for more in (self._identity_headers(), self.default_headers):
            if more:
                sent |= checked_headers(more)
        url = self.base_url or (
            self.DEFAULT_URL if service is None else service.address(self._wire().name)
        )
        base, mark, query = url.partition("?")
        return Endpoint(f"{base.rstrip('/')}{mark}{query}", sent)

    def _asks_for_key(self) -> bool:
        """Return whether a function gives the key: it is called for each call, and again if the key is refused."""
        for name in self.SECRETS:  # noqa: SIM110 - every call runs this, and a loop is faster
            if callable(getattr(self, name)):
                return True
        return False

    def _credentials(self) -> Credentials:
        """Return the object that gets the key for a call."""
        return Credentials(self)

    def _wire(self) -> "Wire":
        """Return the wire of this model's calls, unless a call chooses another one."""
        return wire_named(self.WIRE)

    def _params(self) -> Kwargs:
        """Return the parameters that are set on the model, by their common names."""
        params: Kwargs = {}
        fields = self.__dict__
        # Every call runs this loop; a comprehension would be a call of its own.
        for name in self.PARAMETERS:
            if (value := fields[name]) is not None:
                params[name] = value
        for name, value in self.model_kwargs.items():
            set_parameter(params, name, value)
            if value is None:  # A None in `model_kwargs` is sent as null.
                params[name] = None
        return params

    @property
    def _identifying_params(self) -> Fields:
        return {"model": self.model, **self._params()}


def _move_lost_secrets(cls: type[WireSettings], values: "Arguments") -> None:
    """Mark the credential of an unpickled configurable model as lost, unless it calls the provider's own address."""
    for name in [name for name, value in values.items() if value.__class__ is LostSecret]:
        lost = values.pop(name)
        if not cls._is_own_address(values):
            values[cls.SECRETS[0]] = lost


def _take_default_model(cls: type[WireSettings], values: "Arguments") -> None:
    """Set LangChain's default model, with a warning, unless the arguments name a provider other than the class's."""
    if "provider" not in values or values["provider"] == cls.model_fields["provider"].default:
        values["model"] = cls.DEFAULT_MODEL
        warn_caller(
            f"`{cls.__name__}` was given no `model`; it is `{cls.DEFAULT_MODEL}`, LangChain's default. Name the "
            f'model you mean: `{cls.__name__}(model="gpt-4o-mini")`.'
        )


def _needs_key(
    model: WireSettings, service: "Service | None", headers: HeaderFields | None
) -> bool:
    """Return whether a call needs a key: its address does, and no header, URL or HTTP client authenticates it."""
    needed = model.base_url is None if service is None else service.needs_key(model.base_url)
    is_in_headers = any(map(names_a_key, (headers, model.default_headers)))
    return needed and not is_in_headers and not is_said_elsewhere(model.__dict__)


def _missing_key(model: WireSettings, service: "Service | None") -> MissingKey:
    names = model.KEY_VARIABLES
    owner = f"`{type(model).__name__}` needs an API key"
    see = ""
    if service is not None:
        names = service.keys
        owner += f" for `{service.name}`"
        see = f" See {service.docs}."
    variables = " or ".join(f"`{name}`" for name in names)
    return MissingKey(f"{owner}: set {variables} in the environment, or pass `api_key=`.{see}")
