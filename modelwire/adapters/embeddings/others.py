"""The embeddings of Cohere, Voyage, Mistral and Ollama, and of a local model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic.fields import Field

from modelwire._extensions import extension
from modelwire.adapters.embeddings.codec import EmbeddingCodec, VectorsAndTokens
from modelwire.adapters.embeddings.model import HTTPEmbeddings
from modelwire.adapters.embeddings.openai import OpenAICalls, OpenAICodec, OpenAIEmbeddings
from modelwire.adapters.embeddings.texts import PackLimits
from modelwire.adapters.wires.json import error_as
from modelwire.adapters.wires.openai_chat.codec import request_for
from modelwire.errors import ContextTooLong, ServerError

if TYPE_CHECKING:
    from modelwire.adapters.wires.wire import ChatCall
    from modelwire.errors import ChatError
    from modelwire.transport.wire import Reply, WireRequest


class CohereCodec(EmbeddingCodec):
    """The codec of `POST https://api.cohere.com/v2/embed`: https://docs.cohere.com/reference/embed, read 2026-11."""

    WORDS: ClassVar = {"dimensions": "output_dimension"}

    def encode(self, call: ChatCall) -> WireRequest:
        """Return the request of a call. The base URL may be that of the chat API, which has another path."""
        body = {
            "model": self.model,
            "texts": list(self.pack.texts),
            "embedding_types": ["float"],
            "truncate": "NONE",  # By default Cohere cuts a text that is too long.
            **self.options(),
            **call.params,
        }
        request = request_for(call, "/v2/embed", body, cut_at="/compatibility")
        request.url = request.url.replace("/v2/v2/embed", "/v2/embed")
        return request

    def read(self, body: Any) -> VectorsAndTokens:
        """Return the vectors of an answer, and the number of billed tokens."""
        billed = (body.get("meta") or {}).get("billed_units") or {}
        tokens = billed.get("input_tokens")
        if tokens is not None:
            tokens = int(tokens)
        return body["embeddings"]["float"], tokens


class _CohereCalls(OpenAICalls):
    """The chat model class that calls Cohere's own embeddings API, with the key and the settings of its chat models."""

    provider: str = Field(default="cohere", repr=False, exclude=True)
    ALIASES: ClassVar = {**OpenAICalls.ALIASES, "cohere_api_key": "api_key"}

    def _codec_class(self, call: ChatCall) -> type[EmbeddingCodec]:
        return CohereCodec


class CohereEmbeddings(HTTPEmbeddings):
    """Embeddings of Cohere. The key comes from `api_key`, `COHERE_API_KEY` or `CO_API_KEY`.

    CohereEmbeddings(model="embed-v4.0").embed_documents(["a", "b"])
    """

    CALLS = _CohereCalls
    LIMITS = PackLimits(96, 128_000, 512)
    INPUT_TYPES: ClassVar = {
        "document": "search_document",
        "query": "search_query",
    }
    ALIASES: ClassVar = {
        **HTTPEmbeddings.ALIASES,
        "output_dimension": "dimensions",
    }

    def own_limits(self) -> PackLimits:
        """Return the limits of the model. Version 4 accepts longer texts."""
        if "v4" in self.model:
            return self.LIMITS._replace(tokens_of_text=128_000)
        return self.LIMITS


class _VoyageCodec(OpenAICodec):
    """The codec of Voyage's API."""

    def encode(self, call: ChatCall) -> WireRequest:
        """Return the request of a call. `truncation` is off, because Voyage would cut a long text."""
        request = super().encode(call)
        request.body = {"truncation": False, **request.body}
        return request


class _VoyageCalls(OpenAICalls):
    """The chat model class that calls Voyage's embeddings."""

    def _codec_class(self, call: ChatCall) -> type[EmbeddingCodec]:
        return _VoyageCodec

    provider: str = Field(default="voyageai", repr=False, exclude=True)

    # https://docs.voyageai.com/reference/embeddings-api, read 2026-11.
    KEY_VARIABLES: ClassVar = ("VOYAGE_API_KEY",)
    URL_VARIABLES: ClassVar[Any] = ()
    DEFAULT_URL: ClassVar = "https://api.voyageai.com/v1"
    ENVIRONMENT: ClassVar[Any] = {}
    ALIASES: ClassVar = {**OpenAICalls.ALIASES, "voyage_api_key": "api_key"}
    SENDABLE: ClassVar = OpenAICalls.SENDABLE | {"output_dtype"}


class VoyageAIEmbeddings(OpenAIEmbeddings):
    """Embeddings of Voyage AI. The key comes from `api_key` or `VOYAGE_API_KEY`.

    VoyageAIEmbeddings(model="voyage-4", dimensions=512).embed_query("hello")
    """

    CALLS = _VoyageCalls
    DEFAULT_MODEL = None
    # The smallest limits of any of its models: https://docs.voyageai.com/reference/embeddings-api, read 2026-11.
    LIMITS = PackLimits(1_000, 120_000, 32_000)
    INPUT_TYPES: ClassVar = {"document": "document", "query": "query"}
    ALIASES: ClassVar = {
        **OpenAIEmbeddings.ALIASES,
        "batch_size": "chunk_size",
    }


class _MistralCalls(OpenAICalls):
    """The chat model class that calls Mistral's embeddings."""

    provider: str = Field(default="mistralai", repr=False, exclude=True)
    ALIASES: ClassVar = {
        **OpenAICalls.ALIASES,
        "mistral_api_key": "api_key",
        "endpoint": "base_url",
    }


class MistralAIEmbeddings(OpenAIEmbeddings):
    """Embeddings of Mistral. The key comes from `api_key` or `MISTRAL_API_KEY`."""

    CALLS = _MistralCalls
    DEFAULT_MODEL = "mistral-embed"
    LIMITS = PackLimits(512, 16_000, 8_000)  # The limits of langchain-mistralai 1.1.


class _LocalCodec(OpenAICodec):
    """The codec of llama.cpp's server."""

    def error(self, reply: Reply) -> ChatError:
        """Return the error of a response. A too long text has status 500 (xllamacpp 2026.10)."""
        error = super().error(reply)
        if isinstance(error, ServerError) and "too large to process" in error.message:
            return error_as(ContextTooLong, error)
        return error


class _LocalCalls(OpenAICalls):
    """The chat model class that calls llama.cpp's server on this machine."""

    def _codec_class(self, call: ChatCall) -> type[EmbeddingCodec]:
        return _LocalCodec

    provider: str = Field(default="local", repr=False, exclude=True)


class LocalEmbeddings(OpenAIEmbeddings):
    """Embeddings of a model on this machine. The first instance starts llama.cpp's server (`modelwire[local]`).

    `model` is a name that `modelwire.local` knows, or the path of a GGUF file. The vector of a text is the mean of its
    tokens' vectors, unless the file sets another method. A text has at most `n_ctx / n_parallel` tokens.

        LocalEmbeddings(model="models/nomic-embed-text-v1.5.Q8_0.gguf").embed_query("hello")
    """

    CALLS = _LocalCalls
    # The server sets no limit. Small requests let several of its slots work at a time.
    LIMITS = PackLimits(32, 128_000, 2_048)

    def __init__(
        self, *, model: str = "smollm2", base_url: str | None = None, **settings: Any
    ) -> None:
        if base_url is None:
            of_server = {n: settings.pop(n) for n in ("n_ctx", "n_parallel") if n in settings}
            server = extension("local").ensure_server(model, embeddings=True, **of_server)
            base_url = server.base_url_for("openai")
            # Half of the context is a safe limit, because token counts are estimates here.
            settings.setdefault("embedding_ctx_length", server.context_tokens // 2)
        super().__init__(model=model, **{"base_url": base_url, "api_key": "local", **settings})


class _OllamaCalls(OpenAICalls):
    """The chat model class that calls the embeddings of an Ollama server."""

    provider: str = Field(default="ollama", repr=False, exclude=True)


class OllamaEmbeddings(OpenAIEmbeddings):
    """Embeddings of an Ollama server, over its compatible API. `base_url` is its address, with or without `/v1`."""

    CALLS = _OllamaCalls
    DEFAULT_MODEL = None
    LIMITS = PackLimits(256, 128_000, 8_192)

    def __init__(self, *, base_url: str | None = None, **settings: Any) -> None:
        if base_url is not None:
            settings["base_url"] = f"{base_url.rstrip('/').removesuffix('/v1')}/v1"
        super().__init__(**settings)
