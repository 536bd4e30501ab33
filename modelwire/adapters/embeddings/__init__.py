"""Embeddings: texts to vectors, over the transport of the chat models. One module a wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import lazy

if TYPE_CHECKING:
    from modelwire.adapters.embeddings.openai import AzureOpenAIEmbeddings as AzureOpenAIEmbeddings
    from modelwire.adapters.embeddings.openai import OpenAIEmbeddings as OpenAIEmbeddings
    from modelwire.adapters.embeddings.registry import init_embeddings as init_embeddings

__getattr__, __dir__, __all__ = lazy.exports(
    __name__,
    {
        "modelwire.adapters.embeddings.openai": ["AzureOpenAIEmbeddings", "OpenAIEmbeddings"],
        "modelwire.adapters.embeddings.registry": ["init_embeddings"],
    },
)
