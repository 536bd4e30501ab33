"""Embeddings: the interface that vector stores need, and the models of each provider, which load when first used."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from modelwire import lazy
from modelwire.runnables.config import run_in_executor

if TYPE_CHECKING:
    from modelwire.adapters.embeddings import AzureOpenAIEmbeddings as AzureOpenAIEmbeddings
    from modelwire.adapters.embeddings import BedrockEmbeddings as BedrockEmbeddings
    from modelwire.adapters.embeddings import CohereEmbeddings as CohereEmbeddings
    from modelwire.adapters.embeddings import (
        DeterministicFakeEmbedding as DeterministicFakeEmbedding,
    )
    from modelwire.adapters.embeddings import FakeEmbeddings as FakeEmbeddings
    from modelwire.adapters.embeddings import (
        GoogleGenerativeAIEmbeddings as GoogleGenerativeAIEmbeddings,
    )
    from modelwire.adapters.embeddings import LocalEmbeddings as LocalEmbeddings
    from modelwire.adapters.embeddings import MistralAIEmbeddings as MistralAIEmbeddings
    from modelwire.adapters.embeddings import OllamaEmbeddings as OllamaEmbeddings
    from modelwire.adapters.embeddings import OpenAIEmbeddings as OpenAIEmbeddings
    from modelwire.adapters.embeddings import VertexAIEmbeddings as VertexAIEmbeddings
    from modelwire.adapters.embeddings import VoyageAIEmbeddings as VoyageAIEmbeddings
    from modelwire.adapters.embeddings import init_embeddings as init_embeddings

__getattr__, __dir__, __all__ = lazy.exports(
    __name__,
    {
        "modelwire.adapters.embeddings": [
            "AzureOpenAIEmbeddings",
            "BedrockEmbeddings",
            "CohereEmbeddings",
            "DeterministicFakeEmbedding",
            "FakeEmbeddings",
            "GoogleGenerativeAIEmbeddings",
            "LocalEmbeddings",
            "MistralAIEmbeddings",
            "OllamaEmbeddings",
            "OpenAIEmbeddings",
            "VertexAIEmbeddings",
            "VoyageAIEmbeddings",
            "init_embeddings",
        ]
    },
)
__all__ += ["Embeddings"]
# Import paths below this module, as LangChain has them, are those of `modelwire.compat`.
__path__: list[str] = []


class Embeddings(ABC):
    """The interface of models that turn texts into vectors; subclass it around an SDK or a model of your own."""

    @abstractmethod
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector for each text, in their order."""

    @abstractmethod
    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a question."""

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector for each text, in their order. The default runs the sync method in a thread."""
        return await run_in_executor(None, self.embed_documents, texts)

    async def aembed_query(self, text: str) -> list[float]:
        """Return the vector of a question. The default runs the sync method in a thread."""
        return await run_in_executor(None, self.embed_query, text)
