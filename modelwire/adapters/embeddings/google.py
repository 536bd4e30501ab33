"""`GoogleGenerativeAIEmbeddings`: the embeddings of the Gemini API, `batchEmbedContents`.

Wire format: https://ai.google.dev/api/embeddings, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from modelwire.adapters.embeddings.calls import EmbeddingCalls
from modelwire.adapters.embeddings.codec import EmbeddingCodec
from modelwire.adapters.embeddings.model import HTTPEmbeddings
from modelwire.adapters.embeddings.texts import PackLimits
from modelwire.adapters.providers.google import ChatGoogleGenerativeAI
from modelwire.adapters.wires.openai_chat.codec import request_for
from modelwire.adapters.wires.wire import path_segment
from modelwire.errors import InvalidArgument

if TYPE_CHECKING:
    from modelwire.adapters.wires.wire import ChatCall
    from modelwire.transport.wire import WireRequest

__all__ = ["GeminiCalls", "GeminiCodec", "GoogleGenerativeAIEmbeddings"]

# The common names of options, and Gemini's.
_WORDS = {"dimensions": "outputDimensionality", "input_type": "taskType", "title": "title"}


class GeminiCodec(EmbeddingCodec):
    """The codec of `POST {base_url}/v1beta/models/MODEL:batchEmbedContents`."""

    def encode(self, call: ChatCall) -> WireRequest:
        """Return the request of a call: each text has the model and the options again."""
        name = self.model.removeprefix("models/")
        options = {_WORDS.get(key, key): value for key, value in self.pack.options.items()}
        requests = [
            {
                "model": f"models/{name}",
                "content": {"parts": [{"text": text}]},
                **options,
                **call.params,
            }
            for text in self.pack.texts
        ]
        version = "/v1beta"
        base = call.endpoint.base_url.partition("?")[0]
        if base.endswith(("/v1", "/v1beta", "/v1alpha")):
            version = ""
        path = f"{version}/models/{path_segment(name)}:batchEmbedContents"
        return request_for(call, path, {"requests": requests})

    def read(self, body: Any) -> tuple[Sequence[Any], int | None]:
        """Return the vectors of an answer, which are in the order of the texts."""
        tokens = (body.get("usageMetadata") or {}).get("promptTokenCount")
        return [item.get("values") for item in body["embeddings"]], tokens


class GeminiCalls(EmbeddingCalls, ChatGoogleGenerativeAI):
    """Calls the embeddings of the Gemini API."""

    def _codec_class(self, call: ChatCall) -> type[EmbeddingCodec]:
        return GeminiCodec


class GoogleGenerativeAIEmbeddings(HTTPEmbeddings):
    """Embeddings of the Gemini API. The key comes from `api_key`, `GOOGLE_API_KEY` or `GEMINI_API_KEY`.

    `task_type` is one of Gemini's; unset, it is `RETRIEVAL_DOCUMENT` for documents and `RETRIEVAL_QUERY` for a query.

        GoogleGenerativeAIEmbeddings(model="gemini-embedding-001").embed_query("hello")
    """

    CALLS: ClassVar[Any] = GeminiCalls
    DEFAULT_MODEL: ClassVar[str | None] = "gemini-embedding-001"
    # https://ai.google.dev/gemini-api/docs/embeddings and langchain-google-genai 4 (`_MAX_TOKENS_PER_BATCH`).
    LIMITS: ClassVar[PackLimits] = PackLimits(100, 20_000, 2_048)
    INPUT_TYPES: ClassVar[Mapping[str, str]] = {
        "document": "RETRIEVAL_DOCUMENT",
        "query": "RETRIEVAL_QUERY",
    }
    ALIASES: ClassVar[Mapping[str, str]] = {
        **HTTPEmbeddings.ALIASES,
        "task_type": "input_type",
        "output_dimensionality": "dimensions",
        "batch_size": "chunk_size",
    }

    def _check_settings(self) -> None:
        if self.calls.vertexai:
            raise InvalidArgument(
                "`GoogleGenerativeAIEmbeddings` calls the Gemini API only, not Vertex AI: pass `vertexai=False` and an "
                "API key."
            )
