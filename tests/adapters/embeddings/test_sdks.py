"""The SDKs as oracles: from the same answers they read the same vectors, and they send what is sent here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelwire.testing import ProviderServer

TEXTS = ["the sea", "a bill", "ünïcödé"]


def _last(server: ProviderServer) -> tuple[str, Any]:
    return server.requests[-1].path, server.requests[-1].body


def test_openai_reads_the_same_vectors() -> None:
    openai = pytest.importorskip("openai")
    with ProviderServer() as server:
        ours = server.embeddings(dimensions=7).embed_documents(TEXTS)
        sent = _last(server)
        client = openai.OpenAI(base_url=server.base_url + "/v1", api_key="k")
        answer = client.embeddings.create(input=TEXTS, model="text-embedding-test", dimensions=7)
        assert [item.embedding for item in answer.data] == ours
        assert _last(server) == sent


def test_google_genai_reads_the_same_vectors() -> None:
    genai = pytest.importorskip("google.genai")
    with ProviderServer() as server:
        ours = server.embeddings("google_genai", dimensions=7).embed_documents(TEXTS)
        path, body = _last(server)
        client = genai.Client(api_key="k", http_options={"base_url": server.base_url})
        answer = client.models.embed_content(
            model="gemini-embedding-001",
            contents=TEXTS,
            config={"task_type": "RETRIEVAL_DOCUMENT", "output_dimensionality": 7},
        )
        assert [item.values for item in answer.embeddings] == ours
        their_path, theirs = _last(server)
    assert their_path.rpartition("/")[2] == path.rpartition("/")[2]
    for one, other in zip(theirs["requests"], body["requests"], strict=True):
        one["content"].pop("role", None)
        assert one == other


@pytest.mark.parametrize("model", ["text-embedding-005", "gemini-embedding-001"])
def test_google_genai_reads_the_same_vectors_on_vertex_ai(model: str) -> None:
    genai = pytest.importorskip("google.genai")
    credentials = pytest.importorskip("google.oauth2.credentials")
    texts = TEXTS if model.startswith("text") else TEXTS[:1]
    with ProviderServer() as server:
        ours = server.embeddings("google_vertexai", model=model, dimensions=7)
        found = ours.embed_documents(texts)
        path, body = _last(server)
        client = genai.Client(
            vertexai=True,
            project="p",
            location="europe-west4",
            credentials=credentials.Credentials("token"),
            http_options={"base_url": server.base_url},
        )
        config = {
            "task_type": "RETRIEVAL_DOCUMENT",
            "output_dimensionality": 7,
            "auto_truncate": False,
        }
        answer = client.models.embed_content(model=model, contents=texts, config=config)
        assert [item.values for item in answer.embeddings] == found
        assert answer.embeddings[0].statistics.token_count == 1
        their_path, theirs = _last(server)
    assert (
        their_path.rpartition("/locations/")[2].partition("/")[2]
        == (path.rpartition("/locations/")[2].partition("/")[2])
    )
    theirs.get("content", {}).pop("role", None)
    assert theirs == body


@pytest.mark.parametrize(
    "model",
    [
        "amazon.titan-embed-text-v2:0",
        "amazon.nova-2-multimodal-embeddings-v1:0",
        "cohere.embed-english-v3",
    ],
)
def test_boto3_reads_the_same_vectors(model: str) -> None:
    boto3 = pytest.importorskip("boto3")
    with ProviderServer() as server:
        ours = server.embeddings("bedrock", model=model).embed_documents(TEXTS[:1])
        path, body = _last(server)
        client = boto3.client(
            "bedrock-runtime",
            region_name="us-east-1",
            endpoint_url=server.base_url,
            aws_access_key_id="a",
            aws_secret_access_key="b",
        )
        answer = json.loads(
            client.invoke_model(modelId=model, body=json.dumps(body))["body"].read()
        )
        found = answer.get("embeddings") or [answer.get("embedding")]
        assert [one["embedding"] if isinstance(one, dict) else one for one in found] == ours
        assert _last(server) == (path, body)
