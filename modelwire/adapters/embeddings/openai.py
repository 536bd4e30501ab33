"""`OpenAIEmbeddings`: the embeddings of OpenAI, of Azure, and of every compatible service.

Wire format: https://platform.openai.com/docs/api-reference/embeddings/create, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from pydantic_core import SchemaValidator, core_schema

from modelwire.adapters.embeddings.calls import EmbeddingCalls
from modelwire.adapters.embeddings.codec import EmbeddingCodec, Pack, VectorsAndTokens, by_index
from modelwire.adapters.embeddings.model import HTTPEmbeddings
from modelwire.adapters.providers.azure import AzureChatOpenAI
from modelwire.adapters.providers.openai import ChatOpenAI
from modelwire.adapters.wires.json import count_or_none, dict_or_empty
from modelwire.adapters.wires.openai_chat.codec import request_for
from modelwire.adapters.wires.wire import HOME_WIRE, wire_named
from modelwire.aliases import JSON
from modelwire.errors import InvalidArgument

if TYPE_CHECKING:
    from modelwire.adapters.wires.wire import ChatCall
    from modelwire.transport.wire import Reply, WireRequest


class _Dialect(NamedTuple):
    """The differences between a service's embeddings API and OpenAI's."""

    takes_base64: bool = False
    """True: requests ask for 32-bit floats in base64. False: its answers have lists of numbers."""
    dimensions: str = "dimensions"
    """The service's name of the field for the length of the vectors."""


# By provider. A request to any other service names no format, and its answer has lists of numbers.
# https://docs.mistral.ai/api/endpoint/embeddings, https://docs.voyageai.com/reference/embeddings-api,
# https://docs.vllm.ai/en/stable/serving/openai_compatible_server/, read 2026-11.
_DIALECTS = {
    "openai": _Dialect(takes_base64=True),
    "azure_openai": _Dialect(takes_base64=True),
    "vllm": _Dialect(takes_base64=True),
    "local": _Dialect(takes_base64=True),
    "mistralai": _Dialect(dimensions="output_dimension"),
    "voyageai": _Dialect(takes_base64=True, dimensions="output_dimension"),
}
# The length of the longest vectors of OpenAI's models. None: the model cannot shorten its vectors.
# https://platform.openai.com/docs/guides/embeddings, read 2026-11.
DIMENSIONS = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": None,
}


def _answer_in_base64() -> SchemaValidator:
    """Return a parser for answers with vectors in base64, which it decodes eight times as fast as `binascii`."""
    config = core_schema.CoreConfig(val_json_bytes="base64")
    anything = core_schema.any_schema()

    def fields(**schemas: Any) -> Any:
        known = {
            name: core_schema.typed_dict_field(of, required=False) for name, of in schemas.items()
        }
        return core_schema.typed_dict_schema(known, extra_behavior="ignore", config=config)

    item = fields(embedding=core_schema.bytes_schema(strict=True), index=anything)
    answer = fields(data=core_schema.list_schema(item), usage=anything)
    return SchemaValidator(answer, config)


_IN_BASE64 = _answer_in_base64()


class OpenAICodec(EmbeddingCodec):
    """The codec of `POST {base_url}/embeddings`."""

    def encode(self, call: ChatCall) -> WireRequest:
        """Return the request of a call. The fields of `extra_body` replace all others of the body."""
        dialect = _DIALECTS.get(self.provider, _Dialect())
        body: JSON = {"input": list(self.pack.texts), "model": call.model}
        if dialect.takes_base64:
            body["encoding_format"] = "base64"
        options = dict(self.pack.options)
        dimensions = options.pop("dimensions", None)
        if dimensions is not None:
            body[dialect.dimensions] = dimensions
        return request_for(call, "/embeddings", {**body, **options, **call.params})

    def parse(self, reply: Reply) -> Any:
        """Return the parsed JSON of an answer; vectors in base64 are bytes."""
        if _DIALECTS.get(self.provider, _Dialect()).takes_base64:
            with suppress(ValueError):
                return _IN_BASE64.validate_json(reply.body)
        return super().parse(reply)

    def read(self, body: Any) -> VectorsAndTokens:
        """Return the vectors and the token count of an answer."""
        usage = dict_or_empty(body.get("usage"))
        tokens = usage.get("prompt_tokens", usage.get("total_tokens"))
        rows = by_index(body["data"], len(self.pack.texts), "embedding")
        return rows, count_or_none(tokens)


def embeddings_codec(provider: str, model: str, options: Mapping[str, Any]) -> OpenAICodec:
    """Return the codec for the rows of a batch, each of which has one text and these options."""
    return OpenAICodec(provider, model, Pack([""], options), wire_named(HOME_WIRE).codec(provider))


class OpenAICalls(EmbeddingCalls, ChatOpenAI):
    """The chat model class that calls the embeddings of OpenAI or of a compatible service."""

    def _codec_class(self, call: ChatCall) -> type[EmbeddingCodec]:
        return OpenAICodec


class AzureCalls(EmbeddingCalls, AzureChatOpenAI):
    """The chat model class that calls the embeddings of a deployment on Azure."""

    ALIASES: ClassVar = {**AzureChatOpenAI.ALIASES, "deployment": "azure_deployment"}

    def _codec_class(self, call: ChatCall) -> type[EmbeddingCodec]:
        return OpenAICodec


class OpenAIEmbeddings(HTTPEmbeddings):
    """Embeddings of OpenAI, or of a compatible service, which `provider` names or which is at `base_url`.

    The key comes from `api_key` or `OPENAI_API_KEY`. A request has at most 2,048 texts and 300,000 tokens.

        OpenAIEmbeddings(model="text-embedding-3-large", dimensions=256).embed_documents(["a", "b"])
    """

    CALLS: ClassVar[Any] = OpenAICalls
    DEFAULT_MODEL: ClassVar[str | None] = "text-embedding-ada-002"  # As in langchain-openai 1.7.
    ALIASES: ClassVar = {
        **HTTPEmbeddings.ALIASES,
        "task_type": "input_type",
        "output_dimension": "dimensions",
    }

    def _check_settings(self) -> None:
        most = DIMENSIONS.get(self.model, self.dimensions)
        if self.dimensions is None or self.calls.provider not in ("openai", "azure_openai"):
            return
        if most is None:
            raise InvalidArgument(
                f"`{self.model}` cannot shorten its vectors: remove `dimensions`."
            )
        if self.dimensions > most:
            raise InvalidArgument(
                f"The vectors of `{self.model}` have at most {most:,} numbers, but `dimensions` is "
                f"{self.dimensions:,}."
            )


class AzureOpenAIEmbeddings(OpenAIEmbeddings):
    """Embeddings of a deployment on Azure OpenAI, with the settings of `AzureChatOpenAI`.

    AzureOpenAIEmbeddings(azure_endpoint="https://me.openai.azure.com", azure_deployment="my-embeddings")
    """

    CALLS = AzureCalls
    DEFAULT_MODEL = None
