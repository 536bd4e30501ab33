"""`init_embeddings`: returns the embeddings model with a name such as "openai:text-embedding-3-large"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelwire.adapters.providers.registry import row_of
from modelwire.adapters.providers.services import SERVICES, service_of
from modelwire.adapters.wires.wire import loaded
from modelwire.aliases import Kwargs
from modelwire.errors import InvalidArgument, InvalidType, UnknownModel, did_you_mean

if TYPE_CHECKING:
    from modelwire.adapters.embeddings.model import HTTPEmbeddings

__all__ = ["EMBEDDINGS", "init_embeddings"]

_OPENAI = "modelwire.adapters.embeddings.openai:OpenAIEmbeddings"
# The class of each provider that has one of its own. A service with `embeds` in its row uses the class of OpenAI.
EMBEDDINGS = {
    "openai": _OPENAI,
    "azure_openai": "modelwire.adapters.embeddings.openai:AzureOpenAIEmbeddings",
    "google_genai": "modelwire.adapters.embeddings.google:GoogleGenerativeAIEmbeddings",
    "google_vertexai": "modelwire.adapters.embeddings.google:VertexAIEmbeddings",
    "bedrock": "modelwire.adapters.embeddings.bedrock:BedrockEmbeddings",
    "cohere": "modelwire.adapters.embeddings.others:CohereEmbeddings",
    "voyageai": "modelwire.adapters.embeddings.others:VoyageAIEmbeddings",
    "mistralai": "modelwire.adapters.embeddings.others:MistralAIEmbeddings",
    "local": "modelwire.adapters.embeddings.others:LocalEmbeddings",
    "ollama": "modelwire.adapters.embeddings.others:OllamaEmbeddings",
}
# The provider, by the beginning of a model's name.
MODELS = {
    "text-embedding-3": "openai",
    "text-embedding-ada": "openai",
    "gemini-embedding": "google_genai",
    "text-embedding-005": "google_vertexai",
    "text-multilingual-embedding": "google_vertexai",
    "amazon.titan-embed": "bedrock",
    "amazon.nova-2-multimodal-embeddings": "bedrock",
    "cohere.embed": "bedrock",
    "embed-": "cohere",
    "voyage-": "voyageai",
    "mistral-embed": "mistralai",
}
# Other names of providers.
_OTHER_NAMES = {
    "google": "google_genai",
    "gemini": "google_genai",
    "vertexai": "google_vertexai",
    "voyage": "voyageai",
    "mistral": "mistralai",
}


def init_embeddings(model: str, *, provider: str | None = None, **kwargs: Any) -> HTTPEmbeddings:
    """Return the embeddings model `model`: "provider:model", or a model's name of a known provider.

        init_embeddings("openai:text-embedding-3-large", dimensions=256).embed_query("hello")

    `kwargs` are the arguments of its class.

    Raises: `UnknownModel` for an unknown provider, `InvalidArgument` for one without embeddings, `InvalidType` if
        `model` is not a text, `MissingKey` without a key.
    """
    if not isinstance(model, str):
        raise InvalidType(
            f'`model` must be a text such as "openai:text-embedding-3-large", not a `{type(model).__name__}`.'
        )
    prefix, colon, rest = model.partition(":")
    if provider is None:
        provider = next((name for start, name in MODELS.items() if model.startswith(start)), None)
        if provider is None and colon:
            provider = prefix
            model = rest
    if provider is None:
        raise UnknownModel(
            f'The provider of `{model}` is not known: write "provider:model", such as "openai:text-embedding-3-large".'
        )
    spelled = provider.lower().replace("-", "_")
    spelled = _OTHER_NAMES.get(spelled, spelled)
    if spelled in EMBEDDINGS:
        made: HTTPEmbeddings = loaded(EMBEDDINGS[spelled])(model=model, **kwargs)
        return made
    return _of_service(spelled, model, kwargs)


def _of_service(name: str, model: str, kwargs: Kwargs) -> HTTPEmbeddings:
    service = service_of(name)
    if service is not None and service.embeds:
        made: HTTPEmbeddings = loaded(_OPENAI)(model=model, provider=service.name, **kwargs)
        return made
    known = list(EMBEDDINGS)
    for row in SERVICES.values():
        if row.embeds and row.name not in known:
            known.append(row.name)
    if row_of(name) is None:
        raise UnknownModel(f"No provider is called `{name}`. {did_you_mean(name, known)}")
    see = "" if service is None else f" See {service.docs}."
    names = ", ".join(known)
    raise InvalidArgument(
        f"`{name}` has no embeddings, as far as we know. Providers with embeddings: {names}.{see}"
    )
