"""Every embeddings wire: what it sends, in how many requests, what it reads, and which errors it raises."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from modelwire import init_embeddings
from modelwire.caches import InMemoryCache
from modelwire.embeddings import (
    BedrockEmbeddings,
    CohereEmbeddings,
    DeterministicFakeEmbedding,
    FakeEmbeddings,
    GoogleGenerativeAIEmbeddings,
    MistralAIEmbeddings,
    OllamaEmbeddings,
    OpenAIEmbeddings,
    VoyageAIEmbeddings,
)
from modelwire.errors import (
    AuthenticationError,
    BadRequest,
    InvalidArgument,
    MalformedResponse,
    MissingKey,
)
from modelwire.testing import ProviderServer, faults
from modelwire.testing.server.embeddings import unit_vector
from modelwire.usage import track
from tests.support.colours import AsyncColour, SyncColour

Colour = SyncColour | AsyncColour
# Each wire with the most texts of one request.
WIRES = {
    "openai": 2048,
    "azure_openai": 2048,
    "google_genai": 100,
    "bedrock": 1,
    "cohere": 96,
    "mistralai": 512,
    "ollama": 256,
    "voyageai": 1000,
}


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    return str(request.param)


def documents(colour: Colour, model: Any, texts: Any) -> Any:
    return colour.run(lambda: model.embed_documents(texts), lambda: model.aembed_documents(texts))


def vectors(texts: Any, dimensions: int = 8) -> list[Any]:
    return [pytest.approx(list(unit_vector(text, dimensions))) for text in texts]


def test_documents_and_a_query_become_the_vectors_of_their_texts(colour: Colour, wire: str) -> None:
    with ProviderServer() as server:
        model = server.embeddings(wire)
        assert documents(colour, model, ["a", "b", "a"]) == vectors("aba")
        found = colour.run(lambda: model.embed_query("c"), lambda: model.aembed_query("c"))
        assert found == vectors("c")[0]


def test_a_request_has_as_many_texts_as_the_provider_takes(wire: str) -> None:
    most = WIRES[wire]
    count = 3 if most == 1 else most + 5
    texts = [f"text {number}" for number in range(count)]
    with ProviderServer() as server:
        assert server.embeddings(wire).embed_documents(texts) == vectors(texts)
    assert len(server.requests) == (3 if most == 1 else 2)


def test_dimensions_are_asked_for(colour: Colour, wire: str) -> None:
    with ProviderServer() as server:
        model = server.embeddings(wire, dimensions=3)
        assert documents(colour, model, ["a"]) == vectors("a", 3)


def test_an_error_is_the_providers_and_names_the_texts(colour: Colour, wire: str) -> None:
    with ProviderServer([faults.status(401)]) as server, pytest.raises(AuthenticationError):
        documents(colour, server.embeddings(wire), ["a"])
    with ProviderServer([faults.status(400, message="too strange")]) as server:
        with pytest.raises(BadRequest, match=r"too strange.*`texts\[0\]`") as caught:
            documents(colour, server.embeddings(wire), ["a"])
        assert caught.value.partial == [None]


def test_a_transient_failure_is_retried(colour: Colour, wire: str) -> None:
    with ProviderServer([faults.status(500), faults.status(429)]) as server:
        assert documents(colour, server.embeddings(wire), ["a"]) == vectors("a")
    assert len(server.requests) == 3


def test_an_answer_without_vectors_is_malformed(wire: str) -> None:
    with ProviderServer([{"x": 1}] * 3) as server, pytest.raises(MalformedResponse):
        server.embeddings(wire, max_retries=0).embed_query("a")


def test_a_cache_holds_the_vector_of_each_text(colour: Colour, wire: str) -> None:
    with ProviderServer() as server:
        model = server.embeddings(wire, cache=InMemoryCache())
        for texts in ("ab", "ba", "abc"):
            assert documents(colour, model, list(texts)) == vectors(texts)
        sent = sum(json.dumps(request.body).count('"c"') for request in server.requests)
    assert sent == 1
    assert len(server.requests) <= 3


def test_the_calls_are_counted(wire: str) -> None:
    with ProviderServer() as server, track() as spent:
        server.embeddings(wire).embed_query("a text of some length")
    assert spent.total.calls == 1


@pytest.mark.parametrize(
    ("name", "cls", "model"),
    [
        ("openai:text-embedding-3-small", OpenAIEmbeddings, "text-embedding-3-small"),
        ("text-embedding-3-small", OpenAIEmbeddings, "text-embedding-3-small"),
        ("google_genai:gemini-embedding-001", GoogleGenerativeAIEmbeddings, "gemini-embedding-001"),
        ("gemini-embedding-001", GoogleGenerativeAIEmbeddings, "gemini-embedding-001"),
        ("cohere:embed-v4.0", CohereEmbeddings, "embed-v4.0"),
        ("mistral:mistral-embed", MistralAIEmbeddings, "mistral-embed"),
        ("ollama:nomic-embed-text", OllamaEmbeddings, "nomic-embed-text"),
        ("voyage:voyage-4", VoyageAIEmbeddings, "voyage-4"),
        ("amazon.titan-embed-text-v2:0", BedrockEmbeddings, "amazon.titan-embed-text-v2:0"),
    ],
)
def test_a_name_stands_for_a_class(
    monkeypatch: pytest.MonkeyPatch, name: str, cls: Any, model: str
) -> None:
    for key in ("OPENAI", "GOOGLE", "COHERE", "MISTRAL", "VOYAGE"):
        monkeypatch.setenv(f"{key}_API_KEY", "test-key")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    made = init_embeddings(name)
    assert type(made) is cls
    assert made.model == model


# ---------------------------------------------------------------- what each wire sends, to a server of a dozen lines


class Recorder(ThreadingHTTPServer):
    """Answers each request with `answer`, and keeps path, headers and body."""

    def __init__(self, answer: Any) -> None:
        seen: list[tuple[str, dict[str, str], Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                data = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None: ...

        super().__init__(("127.0.0.1", 0), Handler)
        self.seen = seen
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        Thread(target=self.serve_forever, daemon=True).start()


def sent(answer: Any, make: Any, act: Any) -> tuple[str, dict[str, str], Any]:
    recorder = Recorder(answer)
    try:
        assert act(make(recorder.url)) is not None
    finally:
        recorder.shutdown()
        recorder.server_close()
    return recorder.seen[0]


def test_what_gemini_gets() -> None:
    path, headers, body = sent(
        {"embeddings": [{"values": [1, 2]}]},
        lambda url: GoogleGenerativeAIEmbeddings(
            model="models/gemini-embedding-001",
            google_api_key="k",
            base_url=f"{url}/v1beta",
            task_type="SEMANTIC_SIMILARITY",
            output_dimensionality=2,
        ),
        lambda model: model.embed_query("hi"),
    )
    assert path == "/v1beta/models/gemini-embedding-001:batchEmbedContents"
    assert headers["x-goog-api-key"] == "k"
    assert body == {
        "requests": [
            {
                "model": "models/gemini-embedding-001",
                "taskType": "SEMANTIC_SIMILARITY",
                "outputDimensionality": 2,
                "content": {"parts": [{"text": "hi"}]},
            }
        ]
    }


def test_what_cohere_gets() -> None:
    path, headers, body = sent(
        {"embeddings": {"float": [[1.0]]}, "meta": {"billed_units": {"input_tokens": 1}}},
        lambda url: CohereEmbeddings(model="embed-v4.0", cohere_api_key="k", base_url=f"{url}/v2"),
        lambda model: model.embed_query("hi"),
    )
    assert (path, headers["authorization"]) == ("/v2/embed", "Bearer k")
    assert body == {
        "model": "embed-v4.0",
        "texts": ["hi"],
        "embedding_types": ["float"],
        "truncate": "NONE",
        "input_type": "search_query",
    }


def test_what_voyage_gets() -> None:
    path, headers, body = sent(
        {"data": [{"index": 0, "embedding": [1.0]}], "usage": {"total_tokens": 1}},
        lambda url: VoyageAIEmbeddings(
            model="voyage-4", voyage_api_key="k", base_url=f"{url}/v1", output_dimension=1
        ),
        lambda model: model.embed_documents(["hi"]),
    )
    assert (path, headers["authorization"]) == ("/v1/embeddings", "Bearer k")
    assert body == {
        "input": ["hi"],
        "model": "voyage-4",
        "encoding_format": "base64",
        "output_dimension": 1,
        "input_type": "document",
        "truncation": False,
    }


def test_what_ollama_gets() -> None:
    path, _, body = sent(
        {"data": [{"index": 0, "embedding": [1.0]}]},
        lambda url: OllamaEmbeddings(model="nomic-embed-text", base_url=url),
        lambda model: model.embed_query("hi"),
    )
    assert (path, body) == ("/v1/embeddings", {"input": ["hi"], "model": "nomic-embed-text"})


@pytest.mark.parametrize(
    ("model", "answer", "body"),
    [
        (
            "amazon.titan-embed-text-v2:0",
            {"embedding": [1.0], "inputTextTokenCount": 1},
            {"inputText": "hi", "normalize": False},
        ),
        (
            "cohere.embed-english-v3",
            {"embeddings": [[1.0]]},
            {"texts": ["hi"], "input_type": "search_query", "normalize": False},
        ),
        (
            "eu.cohere.embed-v4:0",
            {"embeddings": {"float": [[1.0]]}},
            {"texts": ["hi"], "input_type": "search_query", "normalize": False},
        ),
    ],
)
def test_what_bedrock_gets(model: str, answer: Any, body: Any) -> None:
    path, headers, found = sent(
        answer,
        lambda url: BedrockEmbeddings(
            model_id=model,
            region_name="us-east-1",
            base_url=url,
            aws_access_key_id="AKIDEXAMPLE",
            aws_secret_access_key="test",
            model_kwargs={"normalize": False},
        ),
        lambda model: model.embed_query("hi"),
    )
    assert path == f"/model/{model.replace(':', '%3A')}/invoke"
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256")
    assert found == body


# ---------------------------------------------------------------- bad input


def test_a_long_text_is_split_or_refused_by_the_limit_of_its_model() -> None:
    with ProviderServer() as server:
        model = server.embeddings("cohere", model="embed-english-v3.0")
        with pytest.warns(UserWarning, match="split by an estimate"):
            found = model.embed_query("word " * 1_000)
    assert len(server.requests[0].body["texts"]) > 1
    assert len(found) == 8


def test_a_missing_key_and_dimensions_of_another_model_are_clear_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("VOYAGE_API_KEY", raising=False)
    with pytest.raises(MissingKey, match="VOYAGE_API_KEY"):
        VoyageAIEmbeddings(model="voyage-4")
    with pytest.raises(InvalidArgument, match="cannot shorten its vectors"):
        BedrockEmbeddings(
            model_id="amazon.titan-embed-text-v1", region_name="us-east-1", dimensions=3
        )


def test_fakes_have_their_size_and_may_be_determined_by_the_text() -> None:
    fake = FakeEmbeddings(size=3)
    assert [len(one) for one in fake.embed_documents(["a", "b"])] == [3, 3]
    assert fake.embed_query("a") != fake.embed_query("a")
    same = DeterministicFakeEmbedding(size=3)
    assert same.embed_query("a") == same.embed_documents(["a"])[0] != same.embed_query("b")
