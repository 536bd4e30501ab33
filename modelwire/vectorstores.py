"""The interface of stores that search by similarity. modelwire has no store: subclass it around one of your own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import Field

from modelwire.documents import Document
from modelwire.errors import InvalidArgument
from modelwire.retrievers import BaseRetriever

__all__ = ["VectorStore", "VectorStoreRetriever"]
# Import paths below this module, as LangChain has them, are those of `modelwire.compat`.
__path__: list[str] = []

SEARCHES = ("similarity", "mmr", "similarity_score_threshold")


class VectorStore(ABC):
    """A store of texts that finds the ones most similar to a query.

    Override `similarity_search`, and `add_texts` or `add_documents`.
    """

    def add_texts(
        self, texts: Iterable[str], metadatas: list[dict[str, Any]] | None = None, **kwargs: Any
    ) -> list[str]:
        """Add texts and return their ids."""
        found = list(texts)
        about = metadatas or [{} for _ in found]
        documents = [Document(text, metadata=one) for text, one in zip(found, about, strict=True)]
        if type(self).add_documents is VectorStore.add_documents:
            raise NotImplementedError(
                f"`{type(self).__name__}` has neither `add_texts` nor `add_documents`."
            )
        return self.add_documents(documents, **kwargs)

    def add_documents(self, documents: Sequence[Document], **kwargs: Any) -> list[str]:
        """Add documents and return their ids."""
        if type(self).add_texts is VectorStore.add_texts:
            raise NotImplementedError(
                f"`{type(self).__name__}` has neither `add_texts` nor `add_documents`."
            )
        return self.add_texts(
            [document.page_content for document in documents],
            [document.metadata for document in documents],
            **kwargs,
        )

    @abstractmethod
    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Return the `k` documents most similar to `query`."""

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[Document]:
        """Return `k` documents that are similar to `query` but not to each other."""
        raise NotImplementedError(
            f"`{type(self).__name__}` does not support this: override this method."
        )

    def similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return the `k` documents most similar to `query`, each with its similarity from 0 to 1."""
        raise NotImplementedError(
            f"`{type(self).__name__}` does not support this: override this method."
        )

    def search(self, query: str, search_type: str = "similarity", **kwargs: Any) -> list[Document]:
        """Return the documents that a search of this type finds: `similarity`, `mmr` or `similarity_score_threshold`.

        Raises: `InvalidArgument` for another type.
        """
        if search_type == "similarity":
            return self.similarity_search(query, **kwargs)
        if search_type == "mmr":
            return self.max_marginal_relevance_search(query, **kwargs)
        if search_type == "similarity_score_threshold":
            least = kwargs.pop("score_threshold", 0.0)
            scored = self.similarity_search_with_relevance_scores(query, **kwargs)
            return [document for document, score in scored if score >= least]
        raise InvalidArgument(
            f"`search_type` is `{search_type}`; it must be one of {', '.join(SEARCHES)}."
        )

    def as_retriever(self, **kwargs: Any) -> VectorStoreRetriever:
        """Return a retriever of this store; `search_type` and `search_kwargs` configure its search."""
        return VectorStoreRetriever(vectorstore=self, **kwargs)


class VectorStoreRetriever(BaseRetriever):
    """Finds documents in a vector store."""

    vectorstore: VectorStore
    search_type: str = "similarity"
    search_kwargs: dict[str, Any] = Field(default_factory=dict)

    def _get_relevant_documents(
        self, query: str, *, run_manager: Any, **kwargs: Any
    ) -> list[Document]:
        return self.vectorstore.search(query, self.search_type, **{**self.search_kwargs, **kwargs})

    def add_documents(self, documents: Sequence[Document], **kwargs: Any) -> list[str]:
        """Add documents to the store and return their ids."""
        return self.vectorstore.add_documents(documents, **kwargs)
