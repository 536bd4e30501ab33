"""`GoogleGenerativeAIEmbeddings` and `VertexAIEmbeddings`: the embeddings of the Gemini API and of Vertex AI.

Wire formats: https://ai.google.dev/api/embeddings and
https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api, read 2026-11. The
source of `embedContent` on Vertex AI is google-genai 3.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from modelwire.adapters.embeddings.calls import EmbeddingCalls
from modelwire.adapters.embeddings.codec import EmbeddingCodec, VectorsAndTokens
from modelwire.adapters.embeddings.model import HTTPEmbeddings
from modelwire.adapters.embeddings.texts import PackLimits
from modelwire.adapters.providers.google import VERTEX, ChatGoogleGenerativeAI, ChatVertexAI
from modelwire.adapters.wires.gemini.codec import method_url
from modelwire.adapters.wires.json import count_or_none, dict_or_empty
from modelwire.adapters.wires.openai_chat.codec import request_for
from modelwire.aliases import JSON

if TYPE_CHECKING:
    from modelwire.adapters.wires.wire import ChatCall
    from modelwire.transport.wire import WireRequest


class _MethodCodec(EmbeddingCodec):
    """The codec of a method of Google's API. A subclass sets the method and encodes the body."""

    METHOD: ClassVar[str]
    WORDS: ClassVar = {"dimensions": "outputDimensionality", "input_type": "taskType"}

    def body(self, call: ChatCall) -> JSON:
        """Return the body of a request for the texts of `self.pack`."""
        raise NotImplementedError

    def encode(self, call: ChatCall) -> WireRequest:
        """Return the request of a call."""
        request = request_for(call, "", self.body(call))
        is_vertex = self.provider == VERTEX
        request.url = method_url(call.endpoint.base_url, self.model, self.METHOD, vertex=is_vertex)
        return request


class GeminiCodec(_MethodCodec):
    """The codec of the Gemini API's `batchEmbedContents`."""

    METHOD = "batchEmbedContents"

    def body(self, call: ChatCall) -> JSON:
        """Return the body of a request, in which each text has the model and the options."""
        same = {**self.options(), **call.params}
        model = f"models/{self.model.removeprefix('models/')}"
        requests = [{"model": model, "content": _content(text), **same} for text in self.pack.texts]
        return {"requests": requests}

    def read(self, body: Any) -> VectorsAndTokens:
        """Return the vectors of an answer, which are in the order of the texts, and its token count."""
        return [item.get("values") for item in body["embeddings"]], _tokens(body)


class VertexGeminiCodec(_MethodCodec):
    """The codec of Gemini's embeddings on Vertex AI, `embedContent`, which accepts one text in a request."""

    METHOD = "embedContent"

    def body(self, call: ChatCall) -> JSON:
        """Return the body of a request for one text. `autoTruncate` is off, because Vertex AI would cut a long text."""
        config = {"autoTruncate": False, **self.options(), **call.params}
        return {"content": _content(self.pack.texts[0]), "embedContentConfig": config}

    def read(self, body: Any) -> VectorsAndTokens:
        """Return the vector of an answer, in a list, and its token count."""
        return [body["embedding"].get("values")], _tokens(body)


class VertexCodec(_MethodCodec):
    """The codec of all other text embeddings on Vertex AI, `predict`."""

    METHOD = "predict"

    def body(self, call: ChatCall) -> JSON:
        """Return the body of a request. `autoTruncate` is off, because Vertex AI would cut a long text."""
        options = self.options()
        names = {"taskType": "task_type", "title": "title"}
        same = {word: options.pop(name) for name, word in names.items() if name in options}
        instances = [{"content": text, **same} for text in self.pack.texts]
        parameters = {"autoTruncate": False, **options, **call.params}
        return {"instances": instances, "parameters": parameters}

    def read(self, body: Any) -> VectorsAndTokens:
        """Return the vectors of an answer, which are in the order of the texts, and the sum of their tokens."""
        found = [prediction["embeddings"] for prediction in body["predictions"]]
        statistics = [dict_or_empty(embedding.get("statistics")) for embedding in found]
        counts = [count_or_none(it.get("token_count")) for it in statistics]
        tokens = None
        if None not in counts:
            tokens = sum(count or 0 for count in counts)
        return [embedding.get("values") for embedding in found], tokens


def _content(text: str) -> JSON:
    return {"parts": [{"text": text}]}


def _tokens(body: Any) -> int | None:
    return count_or_none(dict_or_empty(body.get("usageMetadata")).get("promptTokenCount"))


class _GoogleCalls(EmbeddingCalls):
    """Chooses the codec by the API (Gemini API or Vertex AI) and by the model."""

    if TYPE_CHECKING:
        vertexai: bool | None

    def _codec_class(self, call: ChatCall) -> type[EmbeddingCodec]:
        if not self.vertexai:
            return GeminiCodec
        if _is_gemini(str(call.model)):
            return VertexGeminiCodec
        return VertexCodec


def _is_gemini(model: str) -> bool:
    # google-genai 3.6 (`t_is_vertex_embed_content_model`) calls `embedContent` for these, and `predict` for all others.
    return "gemini" in model.rpartition("/")[2]


class GeminiCalls(_GoogleCalls, ChatGoogleGenerativeAI):
    """The chat model class that calls the embeddings of the Gemini API or of Vertex AI."""


class VertexCalls(_GoogleCalls, ChatVertexAI):
    """The chat model class that calls the embeddings of Vertex AI."""


class GoogleGenerativeAIEmbeddings(HTTPEmbeddings):
    """Embeddings of the Gemini API. The key comes from `api_key`, `GOOGLE_API_KEY` or `GEMINI_API_KEY`.

    With `vertexai=True`, or with a project, calls go to Vertex AI, as those of `ChatGoogleGenerativeAI` do.

    `task_type` is one of Gemini's task types. It defaults to `RETRIEVAL_DOCUMENT` for documents, and to
    `RETRIEVAL_QUERY` for a query.

        GoogleGenerativeAIEmbeddings(model="gemini-embedding-001").embed_query("hello")
    """

    CALLS: ClassVar[Any] = GeminiCalls
    DEFAULT_MODEL: ClassVar[str | None] = "gemini-embedding-001"
    # https://ai.google.dev/gemini-api/docs/embeddings and langchain-google-genai 4 (`_MAX_TOKENS_PER_BATCH`).
    LIMITS = PackLimits(100, 20_000, 2_048)
    INPUT_TYPES: ClassVar = {
        "document": "RETRIEVAL_DOCUMENT",
        "query": "RETRIEVAL_QUERY",
    }
    ALIASES: ClassVar = {
        **HTTPEmbeddings.ALIASES,
        "task_type": "input_type",
        "output_dimensionality": "dimensions",
        "batch_size": "chunk_size",
    }

    # On Vertex AI, Gemini's models accept one text in a request, all others 250:
    # https://cloud.google.com/vertex-ai/generative-ai/docs/embeddings/get-text-embeddings, read 2026-11.
    VERTEX_LIMITS = PackLimits(250, 20_000, 2_048)

    def own_limits(self) -> PackLimits:
        """Return the limits of the model on the API that is called."""
        if not self.calls.vertexai:
            return self.LIMITS
        if _is_gemini(self.model):
            return self.VERTEX_LIMITS._replace(texts=1)
        return self.VERTEX_LIMITS


class VertexAIEmbeddings(GoogleGenerativeAIEmbeddings):
    """Embeddings of Vertex AI, with the settings of `ChatVertexAI`: project, location, credentials.

    VertexAIEmbeddings(model="text-embedding-005", project="my-project").embed_query("hello")
    """

    CALLS = VertexCalls
    DEFAULT_MODEL = None
    ALIASES: ClassVar = {
        **GoogleGenerativeAIEmbeddings.ALIASES,
        "embeddings_task_type": "input_type",
    }
