"""Embeddings models, which return a vector for each text. They use the transport of the chat models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import lazy

if TYPE_CHECKING:
    from modelwire.adapters.embeddings.bedrock import BedrockEmbeddings as BedrockEmbeddings
    from modelwire.adapters.embeddings.fake import (
        DeterministicFakeEmbedding as DeterministicFakeEmbedding,
    )
    from modelwire.adapters.embeddings.fake import FakeEmbeddings as FakeEmbeddings
    from modelwire.adapters.embeddings.google import (
        GoogleGenerativeAIEmbeddings as GoogleGenerativeAIEmbeddings,
    )
    from modelwire.adapters.embeddings.google import VertexAIEmbeddings as VertexAIEmbeddings
    from modelwire.adapters.embeddings.openai import AzureOpenAIEmbeddings as AzureOpenAIEmbeddings
    from modelwire.adapters.embeddings.openai import OpenAIEmbeddings as OpenAIEmbeddings
    from modelwire.adapters.embeddings.others import CohereEmbeddings as CohereEmbeddings
    from modelwire.adapters.embeddings.others import LocalEmbeddings as LocalEmbeddings
    from modelwire.adapters.embeddings.others import MistralAIEmbeddings as MistralAIEmbeddings
    from modelwire.adapters.embeddings.others import OllamaEmbeddings as OllamaEmbeddings
    from modelwire.adapters.embeddings.others import VoyageAIEmbeddings as VoyageAIEmbeddings
    from modelwire.adapters.embeddings.registry import init_embeddings as init_embeddings

__getattr__, __dir__, __all__ = lazy.exports(
    __name__,
    {
        "modelwire.adapters.embeddings.openai": ["AzureOpenAIEmbeddings", "OpenAIEmbeddings"],
        "modelwire.adapters.embeddings.google": [
            "GoogleGenerativeAIEmbeddings",
            "VertexAIEmbeddings",
        ],
        "modelwire.adapters.embeddings.bedrock": ["BedrockEmbeddings"],
        "modelwire.adapters.embeddings.others": [
            "CohereEmbeddings",
            "LocalEmbeddings",
            "MistralAIEmbeddings",
            "OllamaEmbeddings",
            "VoyageAIEmbeddings",
        ],
        "modelwire.adapters.embeddings.fake": ["DeterministicFakeEmbedding", "FakeEmbeddings"],
        "modelwire.adapters.embeddings.registry": ["init_embeddings"],
    },
)
