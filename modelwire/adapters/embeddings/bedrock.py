"""`BedrockEmbeddings`: Amazon's and Cohere's embeddings on Bedrock, over InvokeModel.

Wire formats: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html and
https://docs.aws.amazon.com/nova/latest/userguide/embeddings-schema.html, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from modelwire.adapters.embeddings.calls import EmbeddingCalls
from modelwire.adapters.embeddings.codec import EmbeddingCodec, VectorsAndTokens
from modelwire.adapters.embeddings.model import HTTPEmbeddings
from modelwire.adapters.embeddings.texts import PackLimits
from modelwire.adapters.providers.bedrock import ChatBedrockConverse
from modelwire.adapters.wires.wire import path_segment
from modelwire.aliases import JSON
from modelwire.errors import InvalidArgument
from modelwire.transport.wire import WireRequest

if TYPE_CHECKING:
    from modelwire.adapters.wires.wire import ChatCall
    from modelwire.transport.wire import Reply


class _InvokeModelCodec(EmbeddingCodec):
    """The codec of `POST {base_url}/model/MODEL/invoke`. A subclass encodes the body, which depends on the model."""

    def body(self, call: ChatCall) -> JSON:
        """Return the body of a request for the texts of `self.pack`."""
        raise NotImplementedError

    def encode(self, call: ChatCall) -> WireRequest:
        """Return the request of a call. Header names are in lower case, as the signature requires."""
        base, mark, query = call.endpoint.base_url.partition("?")
        url = f"{base.rstrip('/')}/model/{path_segment(self.model)}/invoke{mark}{query}"
        headers = {"content-type": "application/json", "accept": "application/json"}
        for more in (call.endpoint.headers, call.extra_headers):
            for name, value in more.items():
                headers[name.lower()] = value
        body = {**self.body(call), **call.params, **call.extra_body}
        request = WireRequest(url, headers, body)
        request.model = self.model
        return request

    def tokens_in_headers(self, reply: Reply) -> int | None:
        """Return the token count in the headers, or None. Nova's and Cohere's bodies have no count (recorded 2026)."""
        count = reply.headers.get("x-amzn-bedrock-input-token-count", "")
        if count.isdecimal():
            return int(count)
        return None


class TitanCodec(_InvokeModelCodec):
    """The codec of Amazon's Titan models, which accept one text in a request."""

    def body(self, call: ChatCall) -> JSON:
        """Return the body of a request for one text."""
        body = {"inputText": self.pack.texts[0]}
        if "dimensions" in self.pack.options:
            body["dimensions"] = self.pack.options["dimensions"]
        return body

    def read(self, body: Any) -> VectorsAndTokens:
        """Return the vector of an answer, in a list, and its token count."""
        return [body["embedding"]], body.get("inputTextTokenCount")


class CohereOnBedrockCodec(_InvokeModelCodec):
    """The codec of Cohere's models on Bedrock."""

    WORDS: ClassVar = {"dimensions": "output_dimension"}

    def body(self, call: ChatCall) -> JSON:
        """Return the body of a request for all texts."""
        return {"texts": list(self.pack.texts), **self.options()}

    def read(self, body: Any) -> VectorsAndTokens:
        """Return the vectors of an answer, which has a list, or with `embedding_types` an object of lists."""
        vectors = body["embeddings"]
        if isinstance(vectors, Mapping):
            vectors = vectors["float"]
        return vectors, None


class NovaCodec(_InvokeModelCodec):
    """The codec of Amazon's Nova models, which accept one text in a request and return no token count."""

    def body(self, call: ChatCall) -> JSON:
        """Return the body of a request for one text. `truncationMode` is set, because long texts are cut by default."""
        options = dict(self.pack.options)
        use = options.pop("input_type", "search_document")
        text = {"truncationMode": "NONE", "value": self.pack.texts[0]}
        params = {"embeddingPurpose": _NOVA_PURPOSES.get(use, use), "text": text}
        if "dimensions" in options:
            params["embeddingDimension"] = options["dimensions"]
        return {
            "schemaVersion": "nova-multimodal-embed-v1",
            "taskType": "SINGLE_EMBEDDING",
            "singleEmbeddingParams": params,
        }

    def read(self, body: Any) -> VectorsAndTokens:
        """Return the vector of an answer, in a list, and no token count."""
        return [item.get("embedding") for item in body["embeddings"]], None


_NOVA_PURPOSES = {"search_document": "GENERIC_INDEX", "search_query": "GENERIC_RETRIEVAL"}


class BedrockCalls(EmbeddingCalls, ChatBedrockConverse):
    """The chat model class that calls the embeddings of Bedrock."""

    def _codec_class(self, call: ChatCall) -> type[EmbeddingCodec]:
        model = str(call.model)
        if _is_cohere(model):
            return CohereOnBedrockCodec
        if "amazon.nova" in model:
            return NovaCodec
        return TitanCodec


def _is_cohere(model: str) -> bool:
    return "cohere." in model


class BedrockEmbeddings(HTTPEmbeddings):
    """Embeddings of Amazon Bedrock, with the settings of `ChatBedrockConverse`: region, credentials, profile.

    BedrockEmbeddings(model_id="amazon.titan-embed-text-v2:0", region_name="us-east-1").embed_query("hello")
    """

    CALLS = BedrockCalls
    DEFAULT_MODEL = "amazon.titan-embed-text-v1"  # The default of langchain-aws 1.
    LIMITS = PackLimits(1, 8_192, 8_192)
    COHERE_LIMITS = PackLimits(96, 128_000, 512)
    INPUT_TYPES: ClassVar = {
        "document": "search_document",
        "query": "search_query",
    }
    ALIASES: ClassVar = {**HTTPEmbeddings.ALIASES, "model_id": "model"}

    def _check_settings(self) -> None:
        # https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html, read 2026-11.
        if self.dimensions is not None and "titan-embed-text-v1" in self.model:
            raise InvalidArgument(
                f"`{self.model}` cannot shorten its vectors: remove `dimensions`."
            )

    def own_limits(self) -> PackLimits:
        """Return the limits of Cohere's models, or of Amazon's."""
        if _is_cohere(self.model):
            return self.COHERE_LIMITS
        return self.LIMITS
