"""`HTTPEmbeddings`: an embeddings model with an HTTP API, which is called like the provider's chat models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from modelwire.adapters.embeddings.codec import Rows
from modelwire.adapters.embeddings.texts import PackLimits
from modelwire.adapters.embeddings.work import EmbeddingWork
from modelwire.adapters.model import global_cache
from modelwire.adapters.model.cache import checked_cache
from modelwire.adapters.model.token_counts import _encoding_on_disk
from modelwire.aliases import Kwargs, Values
from modelwire.embeddings import Embeddings
from modelwire.errors import InvalidArgument, warn_caller
from modelwire.transport.wire import shown_url

if TYPE_CHECKING:
    from modelwire.adapters.embeddings.codec import Pack
    from modelwire.caches import BaseCache

__all__ = ["HTTPEmbeddings"]


class HTTPEmbeddings(Embeddings):
    """An embeddings model with an HTTP API. A subclass sets the provider's class of calls, limits and names.

    Texts are sent in as few requests as the provider allows, several requests at a time, and equal texts only once.
    Vectors are returned in the order of the texts. Keys, addresses, retries, rate limits, proxies and clients are those
    of the provider's chat model.

    Args:
        model: The provider's name of the model.
        dimensions: The length of the vectors, for a model that can shorten them.
        chunk_size: The most texts in one request. Unset: the provider's limit.
        check_embedding_ctx_length: Split a text that is too long, and return the average of the vectors of its pieces.
        embedding_ctx_length: The most tokens of one text. Unset: the provider's limit.
        input_type: The provider's name for the use of the vectors. Unset: its name for a document or a query.
        cache: A cache of `modelwire.caches`, which stores a vector for each text; True for the global cache.
        max_concurrency: The most requests at a time.
        **settings: Settings of the provider's chat model, such as `api_key`, `base_url`, `max_retries`, `timeout`.
    """

    CALLS: ClassVar[Any] = None
    """The class of the chat model that makes the calls, with `EmbeddingCalls` before it."""
    LIMITS: ClassVar[PackLimits] = PackLimits(2048, 300_000, 8_191)
    DEFAULT_MODEL: ClassVar[str | None] = None
    INPUT_TYPES: ClassVar[Mapping[str, str]] = {}
    """The provider's values of `input_type` for the uses "document" and "query"."""
    ALIASES: ClassVar[Mapping[str, str]] = {"model_name": "model"}
    # LangChain's arguments that have no effect, each with the advice that a warning gives.
    WITHOUT_EFFECT: ClassVar[Mapping[str, str]] = {
        "show_progress_bar": "",
        "tiktoken_enabled": "",
        "tiktoken_model_name": "",
        "allowed_special": "",
        "disallowed_special": "",
        "retry_min_seconds": "the waits between retries adapt to the provider",
        "retry_max_seconds": "set `max_wait`",
        "skip_empty": "remove empty texts yourself",
    }

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "CALLS" in cls.__dict__:
            # Errors and warnings of the calls then name the class that the user's code names.
            cls.CALLS.__name__ = cls.__name__

    def __init__(
        self,
        *,
        model: str | None = None,
        dimensions: int | None = None,
        chunk_size: int | None = None,
        check_embedding_ctx_length: bool = True,
        embedding_ctx_length: int | None = None,
        input_type: str | None = None,
        cache: Any = None,
        max_concurrency: int | None = None,
        **settings: Any,
    ) -> None:
        settings = _with_effect(type(self), settings)
        own = {
            name: settings.pop(alias) for alias, name in self.ALIASES.items() if alias in settings
        }
        named = {"dimensions": dimensions, "chunk_size": chunk_size, "input_type": input_type}
        own |= {name: value for name, value in named.items() if value is not None}
        model = model or own.get("model") or self.DEFAULT_MODEL
        # The calls have no cache, because the cache of this class stores single texts.
        self.calls = self.CALLS(
            **{"model": model, "check_context": False, "cache": False, **settings}
        )
        self.model: str = self.calls.model
        self.dimensions = _positive("dimensions", own.get("dimensions"))
        self.chunk_size = _positive("chunk_size", own.get("chunk_size"))
        self.check_embedding_ctx_length = check_embedding_ctx_length
        self.embedding_ctx_length = (
            _positive("embedding_ctx_length", embedding_ctx_length)
            or self.own_limits().tokens_of_text
        )
        self.input_type = own.get("input_type")
        self.max_concurrency = max_concurrency
        self.cache = cache
        self._check_settings()

    def _check_settings(self) -> None:
        """Raise `InvalidArgument` for settings that the model is known to reject, such as `dimensions`."""

    def own_limits(self) -> PackLimits:
        """Return the limits of one request to this model, without `chunk_size`."""
        return self.LIMITS

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Return a setting of the chat model class that makes the calls, such as `api_key` or `base_url`."""
            if name.startswith("__") or "calls" not in self.__dict__:
                raise AttributeError(name)
            return getattr(self.calls, name)

    def __repr__(self) -> str:
        shown = f"model={self.model!r}"
        if self.dimensions is not None:
            shown += f", dimensions={self.dimensions}"
        return f"{type(self).__name__}({shown})"

    def limits(self) -> PackLimits:
        """Return the limits of one request: those of the provider, with `chunk_size` as the most texts."""
        limits = self.own_limits()
        if self.chunk_size is None:
            return limits
        return limits._replace(texts=min(limits.texts, self.chunk_size))

    def options(self, purpose: str) -> dict[str, Any]:
        """Return the options of a request by their common names; `purpose` is "document" or "query"."""
        options: Kwargs = {}
        if self.dimensions is not None:
            options["dimensions"] = self.dimensions
        input_type = self.input_type or self.INPUT_TYPES.get(purpose)
        if input_type is not None:
            options["input_type"] = input_type
        return options

    def find_encoding(self) -> Any:
        """Return tiktoken's encoding of the model; None if it is not on this machine."""
        return _encoding_on_disk(self.model.rpartition("/")[2])

    def build_request(self, texts: list[str], *, purpose: str = "document") -> Any:
        """Return the first request for these texts, without sending it."""
        return self.calls.build_request(self.packs(texts, purpose=purpose)[0])

    def packs(self, texts: list[str], *, purpose: str = "document") -> list[Pack]:
        """Return the texts and options of each request for these texts, as `calls` takes them."""
        return EmbeddingWork(self, texts, purpose).pack()

    def embed_documents(self, texts: list[str], chunk_size: int | None = None) -> list[list[float]]:
        """Return a vector for each text.

        Raises: `InvalidType`, `InvalidArgument`, `ContextTooLong` before any request, with the index of the bad text.
            The errors of a call, whose `partial` has the vectors that were received.
        """
        return self._sized(chunk_size)._embed(texts, "document")

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a query, such as a question. Raises the errors of `embed_documents`."""
        return self._embed([text], "query")[0]

    async def aembed_documents(
        self, texts: list[str], chunk_size: int | None = None
    ) -> list[list[float]]:
        """Return a vector for each text; see `embed_documents`."""
        return await self._sized(chunk_size)._aembed(texts, "document")

    async def aembed_query(self, text: str) -> list[float]:
        """Return the vector of a query; see `embed_query`."""
        return (await self._aembed([text], "query"))[0]

    def _sized(self, chunk_size: int | None) -> HTTPEmbeddings:
        if chunk_size is None:
            return self
        sized = object.__new__(type(self))
        sized.__dict__ = {**self.__dict__, "chunk_size": _positive("chunk_size", chunk_size)}
        return sized

    def _embed(self, texts: list[str], purpose: str) -> Rows:
        work = EmbeddingWork(self, texts, purpose)
        cache = self._cache()
        if cache is not None:
            key = self.cache_key(work.options)
            work.use_cached([cache.lookup(text, key) for text in work.unique])
        try:
            work.take(self._answers(work.pack()))
        finally:
            if cache is not None:
                for text, stored in work.new_entries():
                    cache.update(text, key, stored)
        return work.vectors()

    async def _aembed(self, texts: list[str], purpose: str) -> Rows:
        work = EmbeddingWork(self, texts, purpose)
        cache = self._cache()
        if cache is not None:
            key = self.cache_key(work.options)
            work.use_cached([await cache.alookup(text, key) for text in work.unique])
        try:
            work.take(await self._aanswers(work.pack()))
        finally:
            if cache is not None:
                for text, stored in work.new_entries():
                    await cache.aupdate(text, key, stored)
        return work.vectors()

    def _answers(self, packs: list[Pack]) -> list[Any]:
        """Return the answers of the requests, with the exception in place of a failed one."""
        if len(packs) != 1:
            config = {"max_concurrency": self.max_concurrency}
            answers: list[Any] = self.calls.batch(packs, config, return_exceptions=True)
            return answers
        try:
            return [self.calls.invoke(packs[0])]
        except Exception as error:  # noqa: BLE001 - raised again, with the indexes of its texts
            return [error]

    async def _aanswers(self, packs: list[Pack]) -> list[Any]:
        if len(packs) != 1:
            config = {"max_concurrency": self.max_concurrency}
            answers: list[Any] = await self.calls.abatch(packs, config, return_exceptions=True)
            return answers
        try:
            return [await self.calls.ainvoke(packs[0])]
        except Exception as error:  # noqa: BLE001 - raised again, with the indexes of its texts
            return [error]

    def _cache(self) -> BaseCache | None:
        """Return the cache of vectors, or None. Raises `InvalidArgument`, `InvalidType` for an invalid `cache`."""
        if self.cache is None or self.cache is False:
            return None
        if self.cache is True:
            if global_cache.llm_cache is None:
                raise InvalidArgument(
                    "`cache=True` means the global cache, but there is none: call `set_llm_cache`."
                )
            return global_cache.llm_cache
        return checked_cache(self.cache)

    def cache_key(self, options: Mapping[str, Any]) -> str:
        """Return the part of a cache key that all texts share: provider, address, model and options."""
        calls = self.calls
        address = shown_url(calls._endpoint(ask=False).base_url)
        about = [calls.provider, address, self.model, calls.model_kwargs, options]
        return "embeddings " + json.dumps(about, sort_keys=True, default=str)


def _with_effect(cls: type[HTTPEmbeddings], settings: Values) -> Kwargs:
    """Return the settings without those that have no effect, and warn of each that has an alternative."""
    effective = {}
    for name, value in settings.items():
        if name not in cls.WITHOUT_EFFECT:
            effective[name] = value
            continue
        instead = cls.WITHOUT_EFFECT[name]
        if value and instead:
            warn_caller(f"`{name}` has no effect here: {instead}.")
    return effective


def _positive(name: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidArgument(f"`{name}` must be a whole number above 0, not `{value!r}`.")
    return value
