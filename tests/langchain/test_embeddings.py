"""LangChain's own tests of embeddings, on each wire, against a provider on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings as TheirEmbeddings
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from modelwire import embeddings
from modelwire.langchain import as_langchain
from modelwire.testing import ProviderServer
from modelwire.testing.server.embeddings import unit_vector

# Class -> its arguments, the path of its address, and the variable that holds the key.
CLASSES: dict[str, tuple[dict[str, Any], str, str]] = {
    "OpenAIEmbeddings": ({"model": "text-embedding-3-small"}, "/v1", "OPENAI_API_KEY"),
    "AzureOpenAIEmbeddings": (
        {"azure_deployment": "mine", "azure_endpoint": "https://example.org"},
        "/openai/v1",
        "AZURE_OPENAI_API_KEY",
    ),
    "GoogleGenerativeAIEmbeddings": (
        {"model": "gemini-embedding-001"},
        "/v1beta",
        "GOOGLE_API_KEY",
    ),
    "BedrockEmbeddings": (
        {"model_id": "amazon.titan-embed-text-v2:0", "region_name": "us-east-1"},
        "",
        "AWS_BEARER_TOKEN_BEDROCK",
    ),
    "VertexAIEmbeddings": (
        {"model": "text-embedding-005", "location": "us-central1"},
        "/v1/projects/p/locations/us-central1",
        "GOOGLE_API_KEY",
    ),
    "CohereEmbeddings": ({"model": "embed-v4.0"}, "/v2", "COHERE_API_KEY"),
    "VoyageAIEmbeddings": ({"model": "voyage-4"}, "/v1", "VOYAGE_API_KEY"),
    "MistralAIEmbeddings": ({"model": "mistral-embed"}, "/v1", "MISTRAL_API_KEY"),
    "OllamaEmbeddings": ({"model": "nomic-embed-text"}, "/v1", "OLLAMA_API_KEY"),
}


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        _About.origin = running.base_url
        yield running


class _About:
    """What is the same for every wire."""

    name: str
    origin = ""

    @property
    def embeddings_class(self) -> Any:
        return getattr(embeddings, self.name)

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        own, path, _ = CLASSES[self.name]
        return {**own, "api_key": "k", "base_url": self.origin + path}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        own, _, variable = CLASSES[self.name]
        expected = own.get("azure_deployment", own.get("model", own.get("model_id")))
        return {variable: "of-the-environment"}, own, {"model": expected}


for _name in CLASSES:
    for _theirs in (EmbeddingsUnitTests, EmbeddingsIntegrationTests):
        _case = f"Test{_name}{_theirs.__name__.removeprefix('Embeddings')}"
        globals()[_case] = type(_case, (_About, _theirs), {"name": _name})
del _theirs


def test_langchains_vector_store_takes_them(server: ProviderServer) -> None:
    ours = server.embeddings()
    theirs = as_langchain(ours)
    assert isinstance(theirs, TheirEmbeddings)
    store = InMemoryVectorStore(theirs)
    store.add_texts(["the sea", "a bill"])
    assert store.similarity_search("the sea", k=1)[0].page_content == "the sea"
    assert theirs.embed_query("a") == list(unit_vector("a"))


@pytest.mark.asyncio
async def test_langchains_vector_store_awaits_them(server: ProviderServer) -> None:
    store = InMemoryVectorStore(as_langchain(server.embeddings()))
    await store.aadd_texts(["the sea", "a bill"])
    found = await store.asimilarity_search("a bill", k=1)
    assert found[0].page_content == "a bill"
