"""`TokenCounts`: counts the tokens of a text or of messages for a model, and names the source of each count.

Only the provider's own endpoint is exact. Without one, these are tried in turn: the user's tokenizer, tiktoken if its
vocabulary is on this machine already, an estimate by characters.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from modelwire.adapters.credentials import has_sdk_client
from modelwire.adapters.model.arguments import RETRY_SETTINGS
from modelwire.adapters.model.call_parts import aconnection_of, connection_of
from modelwire.aliases import HeaderFields, Kwargs, Values
from modelwire.errors import ChatError, InvalidArgument, MalformedResponse
from modelwire.runnables.config import settled
from modelwire.transport.call import call_flow
from modelwire.transport.drivers import adrive, drive
from modelwire.transport.wire import shown_url

if TYPE_CHECKING:
    from modelwire.adapters.model.http import HTTPChatModel
    from modelwire.adapters.wires.wire import Codec, TokenCounting
    from modelwire.messages import BaseMessage
    from modelwire.runnables.config import RunnableConfig
    from modelwire.transport.steps import Exchange
    from modelwire.transport.wire import Reply

# English prose: https://platform.openai.com/tokenizer, read 2026-11. More for other scripts and for code.
_CHARS_PER_TOKEN = 4
# The address and the SHA-256 of each vocabulary's file (tiktoken 0.14). tiktoken downloads a file with another hash.
_VOCABULARIES = {
    "cl100k_base": (
        "https://openaipublic.blob.core.windows.net/encodings/cl100k_base.tiktoken",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    ),
    "o200k_base": (
        "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    ),
}
_NO_SUCH_ENDPOINT = (404, 405, 501)
_ON_EVERY_WIRE = frozenset({"model", "tools", "tool_choice", "extra_headers", *RETRY_SETTINGS})


class TokenCount(int):
    """A number of tokens. `exact` is True if the provider counted them; `source` names the endpoint or tokenizer."""

    exact: bool
    source: str

    def __new__(cls, tokens: int, *, exact: bool = False, source: str = "estimate") -> TokenCount:
        made = super().__new__(cls, tokens)
        made.exact = exact
        made.source = source
        return made

    def __repr__(self) -> str:
        return f"TokenCount({int(self)}, exact={self.exact}, source={self.source!r})"

    def __str__(self) -> str:
        return int.__repr__(self)

    def __reduce__(self) -> Any:
        return _remade, (int(self), self.exact, self.source)


def _remade(tokens: int, exact: bool, source: str) -> TokenCount:  # noqa: FBT001 - pickle's
    return TokenCount(tokens, exact=exact, source=source)


class TokenCounts:
    """The counting methods of a chat model. Override `get_token_ids`, or pass a function, to use a tokenizer."""

    if TYPE_CHECKING:
        custom_get_token_ids: Any

        def _messages(self, input: Any) -> list[BaseMessage]: ...

    def count_tokens(
        self,
        messages: Any,
        tools: Sequence[Any] | None = None,
        *,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> TokenCount:
        """Count the input tokens of a call with these messages, tools and `kwargs`.

        OpenAI, Anthropic, Gemini and Bedrock count them, by a request that costs nothing; for any other provider they
        are counted on this machine.

            count = model.count_tokens("How long is this?", tools=[weather])
            count, count.exact, count.source  # 58, True, "https://api.anthropic.com/v1/messages/count_tokens"

        Raises: The errors of a call. An address without the endpoint raises none: then this machine counts.
        """
        messages = self._messages(messages)
        exchange = _exchange(self, messages, tools, config, kwargs)
        if exchange is not None:
            model = cast("HTTPChatModel", self)
            try:
                return drive(call_flow(exchange), connection_of(model, cast("Any", exchange)))
            except ChatError as error:
                if error.status not in _NO_SUCH_ENDPOINT:
                    raise
        return self._count_here(messages, tools)

    async def acount_tokens(
        self,
        messages: Any,
        tools: Sequence[Any] | None = None,
        *,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> TokenCount:
        """Count the input tokens of a call; see `count_tokens`."""
        messages = self._messages(messages)
        key = None
        model = cast("HTTPChatModel", self)
        if _counting_of(self) is not None and model._asks_for_key():
            key = await model._credentials().key(kwargs, None)
        exchange = _exchange(self, messages, tools, config, kwargs, is_async=True, key=key)
        if exchange is not None:
            try:
                return await adrive(
                    call_flow(exchange), aconnection_of(model, cast("Any", exchange))
                )
            except ChatError as error:
                if error.status not in _NO_SUCH_ENDPOINT:
                    raise
        return self._count_here(messages, tools)

    count_tokens.takes_call_kwargs = True  # type: ignore[attr-defined]  # a binding passes its keywords: its tools count
    acount_tokens.takes_call_kwargs = True  # type: ignore[attr-defined]

    def get_token_ids(self, text: str) -> list[int]:
        """Return the token ids of `text`, by the function `custom_get_token_ids`.

        Raises: `InvalidArgument` for a model without a tokenizer of its own.
        """
        if self.custom_get_token_ids is None:
            raise InvalidArgument(
                f"`{type(self).__name__}` has no tokenizer. Pass `custom_get_token_ids=`, a function from a text to "
                "the list of its token ids; `get_num_tokens` estimates without one."
            )
        ids: list[int] = self.custom_get_token_ids(text)
        return ids

    def get_num_tokens(self, text: str) -> int:
        """Count the tokens of `text` on this machine; without a tokenizer, estimate them."""
        measure = self._measure()
        if measure is None:
            return -(-len(text) // _CHARS_PER_TOKEN)
        return measure[0](text)

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Any = None) -> int:
        """Count the tokens of messages on this machine, as `count_tokens` does if the provider does not count."""
        return self._count_here(messages, tools)

    def _count_here(self, messages: Sequence[BaseMessage], tools: Any = None) -> TokenCount:
        from modelwire.messages import counting, get_buffer_string

        measure = self._measure()
        if measure is None:
            return TokenCount(counting.count_tokens_approximately(messages, tools=tools))
        if not self._has_tokenizer():
            return TokenCount(
                counting.count_tokens_by(measure[0], messages, tools), source=measure[1]
            )
        # LangChain counts messages in this way.
        tokens = sum(measure[0](get_buffer_string([message])) for message in messages)
        return TokenCount(
            tokens + (counting.count_tokens_by(measure[0], [], tools) if tools else 0),
            source=measure[1],
        )

    def _measure(self) -> tuple[Callable[[str], int], str] | None:
        """Return a function that counts the tokens of a text, and its name; None without a tokenizer."""
        if self._has_tokenizer():
            return lambda text: len(self.get_token_ids(text)), "get_token_ids"
        encoding = _encoding_on_disk(str(getattr(self, "model", "")).rpartition("/")[2])
        if encoding is None:
            return None
        return lambda text: len(encoding.encode_ordinary(text)), f"tiktoken {encoding.name}"

    def _has_tokenizer(self) -> bool:
        return (
            self.custom_get_token_ids is not None
            or type(self).get_token_ids is not TokenCounts.get_token_ids
        )


class _CountCodec:
    """Reads the answer of a counting endpoint; errors are those of the wire."""

    def __init__(self, codec: Codec, url: str, counting: TokenCounting) -> None:
        self._codec = codec
        self._source = shown_url(url)
        self._counting = counting
        self.provider = codec.provider
        self.error = codec.error

    def decode(self, reply: Reply) -> TokenCount:
        """Return the token count in the reply. Raises: `MalformedResponse` if it has none."""
        from pydantic_core import from_json

        try:
            tokens = from_json(reply.body)[self._counting.field]
        except (ValueError, TypeError, LookupError):
            tokens = None
        if type(tokens) is not int:
            raise MalformedResponse(
                f"{self._source} answered without a number in `{self._counting.field}`.",
                provider=self.provider,
                status=reply.status,
            )
        return TokenCount(tokens, exact=self._counting.exact, source=self._source)

    def stream_decoder(self, headers: HeaderFields) -> Any:
        raise NotImplementedError


def _counting_of(model: Any) -> TokenCounting | None:
    """Return the provider's counting endpoint for a model; None if it has none, or an SDK's client makes the calls."""
    if not hasattr(model, "_exchange") or has_sdk_client(vars(model)):
        return None
    counting: TokenCounting | None = model._wire().counting
    if counting is not None and model.provider in counting.providers:
        return counting
    return None


def _exchange(
    model: Any,
    messages: list[BaseMessage],
    tools: Sequence[Any] | None,
    config: RunnableConfig | None,
    kwargs: Values,
    **how: Any,
) -> Exchange[TokenCount, Any] | None:
    """Return the exchange that asks the provider for the count; None if the provider does not count."""
    if (counting := _counting_of(model)) is None:
        return None
    if counting.model_options:  # The endpoint is of another wire, which may lack these parameters.
        unset: Kwargs = {
            **dict.fromkeys(model.PARAMETERS),
            "model_kwargs": {},
            "extra_body": None,
        }
        model = model.model_copy(update={**unset, **counting.model_options})
        kwargs = {name: value for name, value in kwargs.items() if name in _ON_EVERY_WIRE}
    if tools:
        kwargs = {**model.bind_tools(tools).kwargs, **kwargs}
    kwargs = dict(kwargs)
    stop = kwargs.pop("stop", None)
    exchange = model._exchange(
        messages, stop, settled(config), kwargs, stream=False, counting=counting, **how
    )
    exchange.wire = _CountCodec(exchange.wire, exchange.url, counting)
    exchange.hooks = exchange.hooks._replace(note=None)
    exchange.continuation = None  # A count is never suspended.
    return cast("Exchange[TokenCount, Any]", exchange)


@lru_cache(maxsize=32)
def _encoding_on_disk(model: str) -> Any:
    """Return tiktoken's encoding of a model; None if tiktoken or the vocabulary is not on this machine.

    tiktoken would download a vocabulary that is missing or has changed, so its file is checked first.
    """
    try:
        tiktoken: Any = import_module("tiktoken")
        name = tiktoken.encoding_name_for_model(model)
    except (ImportError, KeyError):
        return None
    url, fingerprint = _VOCABULARIES.get(name, ("", ""))
    from hashlib import sha1, sha256

    # tiktoken names the file after its address.
    place = _cache_folder() / sha1(url.encode(), usedforsecurity=False).hexdigest()
    try:
        is_there = sha256(place.read_bytes()).hexdigest() == fingerprint
    except OSError:
        return None
    if is_there:
        return tiktoken.get_encoding(name)
    return None


def _cache_folder() -> Path:
    from tempfile import gettempdir

    named = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR"))
    if named is None:
        return Path(gettempdir(), "data-gym-cache")
    return Path(named or os.devnull)
