"""The embeddings of every wire: what is sent, and the vectors of what comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelwire.caches import InMemoryCache, SQLiteCache
from modelwire.embeddings import (
    BedrockEmbeddings,
    CohereEmbeddings,
    DeterministicFakeEmbedding,
    FakeEmbeddings,
    VertexAIEmbeddings,
    VoyageAIEmbeddings,
    init_embeddings,
)
from modelwire.errors import (
    BadRequest,
    ContextTooLong,
    InvalidArgument,
    MalformedResponse,
    MissingKey,
    RateLimited,
)
from modelwire.testing import ProviderServer, faults
from modelwire.testing.server.embeddings import unit_vector
from modelwire.usage import track
from tests.support.colours import AsyncColour, SyncColour

Colour = SyncColour | AsyncColour
COHERE_ON_BEDROCK = {"model": "cohere.embed-english-v3"}
NOVA = {"model": "amazon.nova-2-multimodal-embeddings-v1:0"}
ON_VERTEX = {"vertexai": True, "project": "p", "location": "europe-west4"}
OF_P = "/v1beta1/projects/p/locations/europe-west4/publishers/google/models"
WIRES: dict[str, tuple[str, dict[str, Any]]] = {
    "openai": ("openai", {}),
    "azure": ("azure_openai", {}),
    "gemini": ("google_genai", {}),
    "vertex": ("google_vertexai", {}),
    "gemini on vertex": ("google_vertexai", {"model": "gemini-embedding-001"}),
    "gemini class on vertex": ("google_genai", ON_VERTEX),
    "titan": ("bedrock", {}),
    "nova": ("bedrock", NOVA),
    "cohere on bedrock": ("bedrock", COHERE_ON_BEDROCK),
    "cohere": ("cohere", {}),
    "voyage": ("voyageai", {}),
    "mistral": ("mistralai", {}),
    "ollama": ("ollama", {}),
    "local": ("local", {}),
    "a service": ("together", {}),
}
PATHS = {
    "openai": "/v1/embeddings",
    "azure": "/openai/v1/embeddings",
    "gemini": "/v1beta/models/gemini-embedding-001:batchEmbedContents",
    "vertex": f"{OF_P}/text-embedding-005:predict",
    "gemini on vertex": f"{OF_P}/gemini-embedding-001:embedContent",
    "gemini class on vertex": f"{OF_P.replace('v1beta1', 'v1beta')}/gemini-embedding-001:embedContent",
    "nova": "/model/amazon.nova-2-multimodal-embeddings-v1%3A0/invoke",
    "titan": "/model/amazon.titan-embed-text-v2%3A0/invoke",
    "cohere on bedrock": "/model/cohere.embed-english-v3/invoke",
    "cohere": "/v2/embed",
}


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def model_of(wire: str, server: ProviderServer, **settings: Any) -> Any:
    provider, own = WIRES[wire]
    return server.embeddings(provider, **{**own, **settings})


def documents(colour: Colour, model: Any, texts: Any) -> Any:
    return colour.run(lambda: model.embed_documents(texts), lambda: model.aembed_documents(texts))


def vectors(texts: Any, dimensions: int = 8) -> list[list[float]]:
    return [list(unit_vector(text, dimensions)) for text in texts]


# Wires that take one text in a request.
ONE_BY_ONE = {"gemini on vertex", "gemini class on vertex", "titan", "nova"}


def test_every_wire_embeds_documents_and_queries(wire: str, colour: Colour) -> None:
    texts = [f"text {number}" for number in range(12 if wire in ONE_BY_ONE else 120)]
    with ProviderServer() as server:
        model = model_of(wire, server, dimensions=5)
        assert documents(colour, model, texts) == vectors(texts, 5)
        assert model.embed_query("q") == vectors("q", 5)[0]
    assert {request.path for request in server.requests} == {PATHS.get(wire, "/v1/embeddings")}


def test_every_wire_retries_and_raises_the_errors_of_its_provider(wire: str) -> None:
    with ProviderServer([faults.status(503)]) as server:
        assert model_of(wire, server).embed_documents(["a"]) == vectors("a")
    with ProviderServer(default=faults.status(400)) as server, pytest.raises(BadRequest):
        model_of(wire, server).embed_documents(["a"])
    with ProviderServer(default=faults.status(429)) as server, pytest.raises(RateLimited):
        model_of(wire, server, max_retries=0).embed_query("a")


def test_every_wire_refuses_an_answer_without_vectors(wire: str) -> None:
    with ProviderServer(default={"nothing": 1}) as server, pytest.raises(MalformedResponse):
        model_of(wire, server, max_retries=0).embed_documents(["a"])


@pytest.mark.parametrize(
    ("wire", "document", "query"),
    [
        ("gemini", "RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"),
        ("vertex", "RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"),
        ("gemini on vertex", "RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"),
        ("nova", "GENERIC_INDEX", "GENERIC_RETRIEVAL"),
        ("cohere", "search_document", "search_query"),
        ("cohere on bedrock", "search_document", "search_query"),
        ("voyage", "document", "query"),
        ("openai", None, None),
        ("titan", None, None),
    ],
)
def test_the_use_of_a_vector_is_named_in_the_words_of_the_wire(
    wire: str, document: str | None, query: str | None
) -> None:
    with ProviderServer() as server:
        model = model_of(wire, server)
        model.embed_documents(["a"])
        model.embed_query("a")
    assert [_use(request.body) for request in server.requests] == [document, query]


def _use(body: Any) -> Any:
    """Return the word for the use of a vector, wherever the wire has it."""
    for part in (
        *body.get("requests", ()),
        *body.get("instances", ()),
        body.get("embedContentConfig", {}),
        body.get("singleEmbeddingParams", {}),
        body,
    ):
        for name in ("taskType", "task_type", "embeddingPurpose", "input_type"):
            if name in part:
                return part[name]
    return None


def test_a_use_of_ones_own_wins() -> None:
    with ProviderServer() as server:
        server.embeddings("google_genai", task_type="CLUSTERING").embed_query("a")
        server.embeddings("cohere", input_type="clustering").embed_query("a")
    assert server.requests[0].body["requests"][0]["taskType"] == "CLUSTERING"
    assert server.requests[1].body["input_type"] == "clustering"


@pytest.mark.parametrize(
    ("wire", "most"),
    [
        ("gemini", 100),
        ("vertex", 250),
        ("gemini on vertex", 1),
        ("cohere", 96),
        ("titan", 1),
        ("nova", 1),
    ],
)
def test_requests_are_packed_up_to_the_limit_of_the_wire(wire: str, most: int) -> None:
    texts = [str(number) for number in range(31 if most == 1 else 301)]
    with ProviderServer() as server:
        model_of(wire, server).embed_documents(texts)
    assert len(server.requests) == -(-len(texts) // most)


def test_titan_is_signed_and_takes_one_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)
    with ProviderServer() as server:
        model = BedrockEmbeddings(
            model_id="amazon.titan-embed-text-v2:0",
            region_name="us-east-1",
            base_url=server.base_url,
            aws_access_key_id="AKIDEXAMPLE",
            aws_secret_access_key="secret",
            model_kwargs={"normalize": True},
            dimensions=256,
        )
        assert len(model.embed_query("a")) == 256
    request = server.requests[0]
    assert request.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert request.body == {"inputText": "a", "dimensions": 256, "normalize": True}


def test_voyage_has_a_key_and_an_address_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "of-another-company")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://other.example/v1")
    monkeypatch.delenv("VOYAGE_API_KEY", raising=False)
    with pytest.raises(MissingKey, match="VOYAGE_API_KEY"):
        VoyageAIEmbeddings(model="voyage-4")
    monkeypatch.setenv("VOYAGE_API_KEY", "mine")
    request = VoyageAIEmbeddings(model="voyage-4", dimensions=512).build_request(["a"])
    assert request.url == "https://api.voyageai.com/v1/embeddings"
    assert request.headers["Authorization"] == "Bearer mine"
    assert request.body["output_dimension"] == 512


def test_cohere_has_an_address_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COHERE_API_KEY", "mine")
    request = CohereEmbeddings(model="embed-v4.0").build_request(["a"])
    assert request.url == "https://api.cohere.ai/v2/embed"
    assert request.headers["Authorization"] == "Bearer mine"


def test_vertex_ai_asks_for_whole_texts_and_sums_the_tokens() -> None:
    with ProviderServer() as server, track() as spent:
        model = server.embeddings("google_vertexai", dimensions=4)
        model.embed_documents(["a text of some tokens", "another"])
    (request,) = server.requests
    assert request.body == {
        "instances": [
            {"content": text, "task_type": "RETRIEVAL_DOCUMENT"}
            for text in ("a text of some tokens", "another")
        ],
        "parameters": {"autoTruncate": False, "outputDimensionality": 4},
    }
    assert spent.total.calls == 1


def test_vertex_ai_is_called_in_the_project_with_a_token() -> None:
    model = VertexAIEmbeddings(
        model="text-embedding-005",
        project="mine",
        location="europe-west4",
        credentials=lambda: "a-token",
        embeddings_task_type="CLUSTERING",
    )
    request = model.build_request(["a"])
    assert request.url == (
        "https://europe-west4-aiplatform.googleapis.com/v1beta1/projects/mine/locations/europe-west4/"
        "publishers/google/models/text-embedding-005:predict"
    )
    assert request.body["instances"] == [{"content": "a", "task_type": "CLUSTERING"}]


@pytest.mark.parametrize(
    "wire", ["titan", "nova", "cohere on bedrock", "vertex", "gemini on vertex"]
)
def test_the_tokens_of_a_request_are_known(wire: str) -> None:
    with ProviderServer() as server:
        model = model_of(wire, server)
        answer = model.calls.invoke(model.packs(["a text of some tokens"])[0])
    assert answer.usage_metadata == {"input_tokens": 5, "output_tokens": 0, "total_tokens": 5}


def test_nova_has_its_own_words() -> None:
    with ProviderServer() as server:
        model = server.embeddings("bedrock", **NOVA, dimensions=256, input_type="CLUSTERING")
        assert len(model.embed_query("a")) == 256
    assert server.requests[0].body == {
        "schemaVersion": "nova-multimodal-embed-v1",
        "taskType": "SINGLE_EMBEDDING",
        "singleEmbeddingParams": {
            "embeddingPurpose": "CLUSTERING",
            "embeddingDimension": 256,
            "text": {"truncationMode": "NONE", "value": "a"},
        },
    }


def test_a_text_too_long_for_the_model_on_this_machine_is_no_fault_of_its_server() -> None:
    refused = faults.status(500, message="input (6001 tokens) is too large to process.")
    with ProviderServer(default=refused) as server:
        model = server.embeddings("local")
        with pytest.raises(ContextTooLong, match="too large to process"):
            model.embed_query("a")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gemini-embedding-001", "GoogleGenerativeAIEmbeddings"),
        ("google:text-embedding-004", "GoogleGenerativeAIEmbeddings"),
        ("cohere:embed-v4.0", "CohereEmbeddings"),
        ("text-embedding-005", "VertexAIEmbeddings"),
        ("vertexai:gemini-embedding-001", "VertexAIEmbeddings"),
        ("voyage-4", "VoyageAIEmbeddings"),
        ("mistral:mistral-embed", "MistralAIEmbeddings"),
        ("together:BAAI/bge-large-en-v1.5", "OpenAIEmbeddings"),
    ],
)
def test_a_name_tells_the_class(name: str, kind: str) -> None:
    assert type(init_embeddings(name, api_key="k")).__name__ == kind


def test_a_cache_holds_a_vector_for_each_text(colour: Colour, tmp_path: Path) -> None:
    for cache in (InMemoryCache(), SQLiteCache(tmp_path / "vectors.sqlite")):
        with ProviderServer() as server:
            model = server.embeddings(cache=cache)
            assert documents(colour, model, ["a", "b"]) == vectors("ab")
            assert documents(colour, model, ["b", "c", "a"]) == vectors("bca")
            documents(colour, server.embeddings(cache=cache, dimensions=4), ["a"])
        assert [r.body["input"] for r in server.requests] == [["a", "b"], ["c"], ["a"]]


def test_what_came_before_an_error_is_in_the_cache(colour: Colour) -> None:
    bad = ["b"]

    def answer(request: Any) -> Any:
        return faults.status(400) if bad == request.body["input"] else "as usual"

    with ProviderServer(default=answer) as server:
        model = server.embeddings(cache=InMemoryCache(), chunk_size=1)
        with pytest.raises(BadRequest):
            documents(colour, model, ["a", "b"])
        bad.clear()
        assert documents(colour, model, ["a", "b"]) == vectors("ab")
        sent = sorted(request.body["input"] for request in server.requests)
        assert sent == [["a"], ["b"], ["b"]]
        with pytest.raises(InvalidArgument, match="must be a cache"):
            server.embeddings(cache=object()).embed_query("a")


def test_fake_embeddings_have_the_size_that_is_set() -> None:
    assert len(FakeEmbeddings(size=3).embed_query("a")) == 3
    fake = DeterministicFakeEmbedding(size=4)
    assert fake.embed_documents(["a", "b"])[0] == fake.embed_query("a") != fake.embed_query("b")


FLOATS = [0.5, -0.25]
PACKED = "AAAAPwAAgL4="  # the same numbers as 32-bit floats in base64
# Bodies of our own in the shapes of answers that are recorded in public (pydantic-ai's cassettes of 2026).
SHAPES: dict[str, tuple[str, dict[str, Any], int | None]] = {
    "titan 1": ("titan", {"embedding": FLOATS, "inputTextTokenCount": 4}, 4),
    "titan 2": (
        "titan",
        {
            "embedding": FLOATS,
            "embeddingsByType": {"float": FLOATS},
            "inputTextTokenCount": 5,
        },
        5,
    ),
    "nova": ("nova", {"embeddings": [{"embeddingType": "TEXT", "embedding": FLOATS}]}, None),
    "cohere 3 on bedrock": (
        "cohere on bedrock",
        {"id": "i", "response_type": "embeddings_floats", "texts": ["a"], "embeddings": [FLOATS]},
        None,
    ),
    "cohere 4 on bedrock": (
        "cohere on bedrock",
        {
            "id": "i",
            "response_type": "embeddings_by_type",
            "texts": ["a"],
            "embeddings": {"float": [FLOATS]},
        },
        None,
    ),
    "cohere": (
        "cohere",
        {
            "id": "i",
            "texts": ["a"],
            "embeddings": {"float": [FLOATS]},
            "meta": {
                "api_version": {"version": "2"},
                "billed_units": {"input_tokens": 2, "image_tokens": 0},
            },
        },
        2,
    ),
    "gemini": ("gemini", {"embeddings": [{"values": FLOATS}]}, None),
    "gemini 2": (
        "gemini",
        {
            "embeddings": [{"values": FLOATS}],
            "usageMetadata": {
                "promptTokenCount": 3,
                "promptTokenDetails": [{"modality": "TEXT", "tokenCount": 3}],
            },
        },
        3,
    ),
    "predict on vertex": (
        "vertex",
        {
            "predictions": [
                {
                    "embeddings": {
                        "values": FLOATS,
                        "statistics": {"truncated": False, "token_count": 6},
                    }
                }
            ],
            "metadata": {"billableCharacterCount": 21},
        },
        6,
    ),
    "gemini on vertex": (
        "gemini on vertex",
        {
            "embedding": {"values": FLOATS},
            "usageMetadata": {"promptTokenCount": 7, "totalTokenCount": 7},
        },
        7,
    ),
    "openai": (
        "openai",
        {
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": PACKED}],
            "model": "m",
            "usage": {"prompt_tokens": 8, "total_tokens": 8},
        },
        8,
    ),
    "voyage": (
        "voyage",
        {
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": PACKED}],
            "model": "m",
            "usage": {"total_tokens": 9},
        },
        9,
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_shapes_of_recorded_answers_are_read(shape: str) -> None:
    wire, body, tokens = SHAPES[shape]
    with ProviderServer(default=body) as server:
        model = model_of(wire, server)
        assert model.embed_documents(["a"]) == [FLOATS]
        usage = model.calls.invoke(model.packs(["a"])[0]).usage_metadata
    assert (usage and usage["input_tokens"]) == tokens
