"""`ModelwireEmbeddings`: an embeddings model of modelwire for LangChain's vector stores."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings as TheirEmbeddings

from modelwire.embeddings import Embeddings


class ModelwireEmbeddings(TheirEmbeddings):
    """A subclass of LangChain's `Embeddings` that calls an embeddings model of modelwire."""

    def __init__(self, embeddings: Embeddings) -> None:
        self.embeddings = embeddings

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return a vector for each text."""
        return self.embeddings.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a question."""
        return self.embeddings.embed_query(text)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return a vector for each text."""
        return await self.embeddings.aembed_documents(texts)

    async def aembed_query(self, text: str) -> list[float]:
        """Return the vector of a question."""
        return await self.embeddings.aembed_query(text)
