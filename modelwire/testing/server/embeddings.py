"""Answers requests for embeddings in every provider's format, with vectors made from the texts. No I/O."""

from __future__ import annotations

import random
import re
from array import array
from binascii import b2a_base64
from functools import lru_cache
from math import sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

from modelwire.aliases import JSON
from modelwire.embeddings import init_embeddings
from modelwire.testing.server.request_rules import Problem
from modelwire.testing.server.wires import raw_reply

if TYPE_CHECKING:
    from modelwire.embeddings import Embeddings
    from modelwire.testing.server.answers import Call
    from modelwire.testing.server.replies import Reply
    from modelwire.testing.server.requests import SeenRequest

_DEFAULT_DIMENSIONS = 8
# The name of the wire of a batch's rows that ask for embeddings. Their format is OpenAI's.
EMBEDDINGS = "embeddings"


@lru_cache(maxsize=4096)
def unit_vector(text: str, dimensions: int = _DEFAULT_DIMENSIONS) -> tuple[float, ...]:
    """Return the server's embedding of a text: a vector of length 1, the same in every run."""
    rng = random.Random(text)  # noqa: S311 - not for secrets: the same in every run
    numbers = [rng.uniform(-1, 1) for _ in range(dimensions)]
    length = sqrt(sum(number * number for number in numbers))
    # Some formats carry 32-bit floats: rounded to these, the numbers are the same in all formats.
    return tuple(array("f", [number / length for number in numbers]))


class _Wanted(NamedTuple):
    """The texts of a request, and the length of their vectors."""

    texts: list[Any]
    dimensions: int
    most: int  # A request with more texts is rejected.


def embeddings_wire(path: str) -> str | None:
    """Return the wire of a request for embeddings, such as "openai", by its path; None for any other path."""
    for pattern, wire in _PATHS:
        if pattern.search(path):
            return wire
    return None


_PATHS = (
    (re.compile(r"/embeddings$"), "openai"),
    (re.compile(r":(batchEmbedContents|embedContent|predict)$"), "gemini"),
    (re.compile(r"/model/[^/]+/invoke$"), "bedrock"),
    (re.compile(r"/v2/embed$"), "cohere"),
)


def _wanted(wire: str, fields: dict[str, Any]) -> _Wanted:
    if "instances" in fields:
        parameters = fields.get("parameters", {})
        length = parameters.get("outputDimensionality", _DEFAULT_DIMENSIONS)
        texts = [one.get("content") for one in fields["instances"]]
        return _Wanted(texts, length, 250)
    if "content" in fields:
        config = fields.get("embedContentConfig", {})
        length = config.get("outputDimensionality", _DEFAULT_DIMENSIONS)
        return _Wanted([_joined(fields["content"])], length, 1)
    if wire == "gemini":
        requests = fields.get("requests") or [{}]
        texts = [_joined(one.get("content", {})) for one in requests]
        length = requests[0].get("outputDimensionality", _DEFAULT_DIMENSIONS)
        return _Wanted(texts, length, 100)
    if "singleEmbeddingParams" in fields:
        params = fields["singleEmbeddingParams"]
        length = params.get("embeddingDimension", _DEFAULT_DIMENSIONS)
        text = params.get("text", {}).get("value", "")
        return _Wanted([text], length, 1)
    if "inputText" in fields:
        return _Wanted([fields["inputText"]], fields.get("dimensions", _DEFAULT_DIMENSIONS), 1)
    dimensions = fields.get("dimensions", fields.get("output_dimension", _DEFAULT_DIMENSIONS))
    if "texts" in fields:
        return _Wanted(list(fields["texts"]), dimensions, 96)
    texts = fields.get("input", [])
    if isinstance(texts, str):
        texts = [texts]
    return _Wanted(list(texts), dimensions, 2048)


def _joined(content: JSON) -> str:
    return "".join(str(part.get("text", "")) for part in content.get("parts", ()))


def embeddings_problem(wire: str, request: SeenRequest) -> Problem | None:
    """Return why a provider would reject the request, or None: no text, an empty text, or too many texts."""
    wanted = _wanted(wire, request.fields)
    texts = wanted.texts
    if not texts or "" in texts:
        return Problem("The input has no text, or an empty one.")
    if len(texts) > wanted.most:
        return Problem(f"The input has {len(texts)} texts; at most {wanted.most} are allowed.")
    return None


# On these wires, this header has the number of input tokens.
_TOKEN_HEADERS = {"bedrock": "x-amzn-bedrock-input-token-count"}


def embeddings_reply(wire: str, request: SeenRequest, call: Call) -> Reply:
    """Return the reply with the vectors of a request's texts, which counts four bytes as one token."""
    reply = raw_reply(embeddings_body(wire, request), call)
    header = _TOKEN_HEADERS.get(wire)
    if header is not None:
        reply.headers[header] = str(_tokens_of(wire, request))
    return reply


def embeddings_body(wire: str, request: SeenRequest) -> JSON:
    """Return the body with the vectors of a request's texts, in the format of a wire."""
    wanted = _wanted(wire, request.fields)
    vectors = []
    for text in wanted.texts:
        vector = unit_vector(str(text), wanted.dimensions)
        vectors.append(list(vector))
    return _WRITERS[wire](request, vectors, _tokens_of(wire, request))


def _tokens_of(wire: str, request: SeenRequest) -> int:
    texts = _wanted(wire, request.fields).texts
    return sum(map(_tokens, texts))


def _tokens(text: Any) -> int:
    return max(1, len(str(text).encode()) // 4)


def _openai(request: SeenRequest, vectors: list[list[float]], tokens: int) -> JSON:
    embeddings: list[Any] = vectors
    if request.fields.get("encoding_format") == "base64":
        embeddings = list(map(_packed, vectors))
    data = [
        {"object": "embedding", "index": index, "embedding": embedding}
        for index, embedding in enumerate(embeddings)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": request.model, "usage": usage}


def _packed(vector: list[float]) -> str:
    return b2a_base64(array("f", vector), newline=False).decode()


def _gemini(request: SeenRequest, vectors: list[list[float]], tokens: int) -> JSON:
    if "instances" in request.fields:
        predictions = []
        for one, vector in zip(request.fields["instances"], vectors, strict=True):
            statistics = {"token_count": _tokens(one["content"]), "truncated": False}
            embedding = {"values": vector, "statistics": statistics}
            predictions.append({"embeddings": embedding})
        return {"predictions": predictions}
    if "content" in request.fields:
        usage = {"promptTokenCount": tokens}
        return {"embedding": {"values": vectors[0]}, "usageMetadata": usage, "truncated": False}
    return {"embeddings": [{"values": vector} for vector in vectors]}


def _bedrock(request: SeenRequest, vectors: list[list[float]], tokens: int) -> JSON:
    if "singleEmbeddingParams" in request.fields:
        return {"embeddings": [{"embeddingType": "TEXT", "embedding": vectors[0]}]}
    if "inputText" in request.fields:
        return {"embedding": vectors[0], "inputTextTokenCount": tokens}
    texts = request.fields["texts"]
    return {"id": "1", "response_type": "embeddings_floats", "embeddings": vectors, "texts": texts}


def _cohere(request: SeenRequest, vectors: list[list[float]], tokens: int) -> JSON:
    billed = {"billed_units": {"input_tokens": tokens}}
    texts = request.fields["texts"]
    return {"id": "1", "embeddings": {"float": vectors}, "texts": texts, "meta": billed}


_WRITERS = {"openai": _openai, "gemini": _gemini, "bedrock": _bedrock, "cohere": _cohere}
# These are the arguments of a model that calls this server; the table below changes some by provider.
_OPENAI: JSON = {"model": "text-embedding-test", "base_url": "/v1", "api_key": "test-key"}
_ARGUMENTS: dict[str, JSON] = {
    "azure_openai": {"azure_endpoint": "", "base_url": "/openai/v1"},
    "google_genai": {"model": "gemini-embedding-001", "base_url": "/v1beta"},
    "google_vertexai": {
        "model": "text-embedding-005",
        "base_url": "",
        "project": "p",
        "location": "europe-west4",
    },
    "bedrock": {
        "model": "amazon.titan-embed-text-v2:0",
        "base_url": "",
        "region_name": "us-east-1",
    },
    "cohere": {"model": "embed-v4.0", "base_url": "/v2"},
}


def embeddings_model(provider: str, origin: str, arguments: JSON) -> Embeddings:
    """Return the embeddings model of a provider that calls the server at `origin`."""
    own = {**_OPENAI, **_ARGUMENTS.get(provider, {})}
    for name in ("base_url", "azure_endpoint"):
        if name in own:
            own[name] = origin + own[name]
    settings = {**own, **arguments}
    return init_embeddings(settings.pop("model"), provider=provider, **settings)
