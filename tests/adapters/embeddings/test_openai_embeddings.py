"""`OpenAIEmbeddings`: packing, order, equal texts, bad input, and what the calls of a chat model have too."""

from __future__ import annotations

import pickle
from array import array
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from modelwire import budget, init_embeddings
from modelwire.adapters.embeddings.codec import vectors_of
from modelwire.adapters.embeddings.openai import embeddings_codec
from modelwire.embeddings import AzureOpenAIEmbeddings, OpenAIEmbeddings
from modelwire.errors import (
    AuthenticationError,
    BadRequest,
    BudgetExceeded,
    ContextTooLong,
    InvalidArgument,
    InvalidType,
    MalformedResponse,
    MissingKey,
    UnknownModel,
)
from modelwire.testing import ProviderServer, faults
from modelwire.testing.server.embeddings import unit_vector
from modelwire.transport.wire import Reply
from modelwire.usage import track
from tests.support.colours import AsyncColour, SyncColour

Colour = SyncColour | AsyncColour


def documents(colour: Colour, model: Any, texts: Any, **options: Any) -> Any:
    return colour.run(
        lambda: model.embed_documents(texts, **options),
        lambda: model.aembed_documents(texts, **options),
    )


def query(colour: Colour, model: Any, text: Any) -> Any:
    return colour.run(lambda: model.embed_query(text), lambda: model.aembed_query(text))


def vectors(texts: Any, dimensions: int = 8) -> list[list[float]]:
    return [list(unit_vector(text, dimensions)) for text in texts]


def test_documents_and_queries_become_vectors(colour: Colour) -> None:
    with ProviderServer() as server:
        model = server.embeddings()
        assert documents(colour, model, ["a", "b"]) == vectors("ab")
        assert query(colour, model, "c") == vectors("c")[0]
        assert documents(colour, model, []) == []
    assert server.requests[0].body == {
        "input": ["a", "b"],
        "model": "text-embedding-test",
        "encoding_format": "base64",
    }
    assert server.counts.requests == 2


def test_many_texts_go_in_few_requests(colour: Colour) -> None:
    texts = [f"text {number}" for number in range(5_000)]
    with ProviderServer() as server:
        assert documents(colour, server.embeddings(dimensions=3), texts) == vectors(texts, 3)
    assert sorted(len(request.body["input"]) for request in server.requests) == [904, 2048, 2048]


def test_requests_go_side_by_side_and_vectors_come_back_in_order(colour: Colour) -> None:
    with ProviderServer(latency=lambda request: 0.6 / request.number) as server:
        found = documents(colour, server.embeddings(chunk_size=1), list("abc"))
        assert found == vectors("abc")
        assert server.counts.max_in_flight > 1
        documents(colour, server.embeddings(chunk_size=1, max_concurrency=1), list("abc"))


def test_a_request_has_at_most_the_tokens_that_the_provider_takes() -> None:
    texts = [f"{number} " + "word " * 1_500 for number in range(130)]
    with ProviderServer() as server:
        server.embeddings().embed_documents(texts)
    sizes = [sum(map(len, request.body["input"])) for request in server.requests]
    assert sum(len(request.body["input"]) for request in server.requests) == 130
    assert max(sizes) / 3 <= 300_000 < sum(sizes) / 3


def test_equal_texts_are_sent_once_and_have_lists_of_their_own(colour: Colour) -> None:
    with ProviderServer() as server:
        found = documents(colour, server.embeddings(), ["a", "b", "a"])
    assert found == vectors("aba")
    assert found[0] is not found[2]
    assert server.requests[0].body["input"] == ["a", "b"]


@pytest.mark.parametrize("of_call", [False, True])
def test_chunk_size_is_the_most_texts_of_a_request(colour: Colour, *, of_call: bool) -> None:
    own, options = ({}, {"chunk_size": 2}) if of_call else ({"chunk_size": 2}, {})
    with ProviderServer() as server:
        assert documents(colour, server.embeddings(**own), list("abcde"), **options) == vectors(
            "abcde"
        )
    assert sorted(len(request.body["input"]) for request in server.requests) == [1, 2, 2]


def test_an_answer_in_another_order_is_put_right_by_its_index(colour: Colour) -> None:
    data = [{"index": index, "embedding": [float(index)]} for index in (2, 0, 1)]
    with ProviderServer([{"data": data}]) as server:
        assert documents(colour, server.embeddings(), list("abc")) == [[0.0], [1.0], [2.0]]


def test_numbers_are_read_from_lists_and_from_base64() -> None:
    packed = b64encode(array("f", [0.5, -2.0])).decode()
    data = [{"index": 0, "embedding": packed}, {"index": 1, "embedding": [1, 0.25]}]
    with ProviderServer([{"data": data}]) as server:
        found = server.embeddings().embed_documents(["a", "b"])
    assert found == [[0.5, -2.0], [1.0, 0.25]]
    assert all(type(number) is float for row in found for number in row)


@pytest.mark.parametrize(
    ("texts", "kind", "words"),
    [
        (["a", "", "c"], InvalidArgument, r"`texts\[1\]` is empty"),
        (["a", "b", None], InvalidType, r"`texts\[2\]` must be a text, not a `NoneType`"),
        ([b"a"], InvalidType, r"`texts\[0\]` must be a text, not a `bytes`"),
        ("a text", InvalidType, "must be a list of texts, not a `str`"),
        (7, InvalidType, "must be a list of texts, not a `int`"),
    ],
)
def test_bad_texts_are_refused_with_their_index_before_any_request(
    colour: Colour, texts: Any, kind: type[Exception], words: str
) -> None:
    with ProviderServer() as server, pytest.raises(kind, match=words):
        documents(colour, server.embeddings(), texts)
    assert server.requests == []


FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
VECTORS = st.lists(FLOATS, min_size=1, max_size=6)


@given(rows=st.lists(VECTORS, min_size=1, max_size=4), in_base64=st.booleans())
def test_every_finite_vector_is_read_as_it_was_written(
    rows: list[list[float]], *, in_base64: bool
) -> None:
    codec = embeddings_codec("openai", "m", {})
    codec.pack = codec.pack._replace(texts=["text"] * len(rows))
    sent = [_packed(row) if in_base64 else row for row in rows]
    assert vectors_of(codec.decode(_reply(*sent))) == rows


@given(
    row=VECTORS,
    place=st.integers(0, 5),
    bad=st.sampled_from([float("nan"), float("inf"), float("-inf")]),
    in_base64=st.booleans(),
)
def test_a_number_that_is_not_finite_is_found_at_every_place(
    row: list[float], place: int, bad: float, *, in_base64: bool
) -> None:
    row.insert(min(place, len(row)), bad)
    sent: Any = _packed(row) if in_base64 else row
    with pytest.raises(MalformedResponse, match="not finite"):
        embeddings_codec("openai", "m", {}).decode(_reply(sent))


@pytest.mark.parametrize("embedding", ["AAC", "AACA", "AACA%w==", "", {}, 7, ["a"], [None]])
def test_what_is_no_vector_is_refused(embedding: Any) -> None:
    with pytest.raises(MalformedResponse, match=r"has no vectors|is missing"):
        embeddings_codec("openai", "m", {}).decode(_reply(embedding))


def test_two_vectors_for_one_text_are_refused() -> None:
    data = [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [2.0]}]
    reply = Reply(200, {}, to_json({"data": data}))
    with pytest.raises(MalformedResponse, match="2 vectors for 1 texts"):
        embeddings_codec("openai", "m", {}).decode(reply)


def _packed(row: list[float]) -> str:
    return b64encode(array("f", row)).decode()


def _reply(*embeddings: Any) -> Reply:
    return Reply(200, {}, to_json(_rows(*embeddings), inf_nan_mode="constants"))


def _rows(*rows: Any) -> dict[str, Any]:
    return {"data": [{"index": at, "embedding": row} for at, row in enumerate(rows)]}


@pytest.mark.parametrize(
    ("answer", "index", "words"),
    [
        (_rows([1.0], [float("nan")]), 2, "not finite"),
        (_rows([1.0], [float("inf")]), 2, "not finite"),
        (_rows([1.0]), 2, r"vector 1 is missing"),
        (_rows([1.0], []), 2, "vector 1 is missing"),
        (_rows([1.0], None), 2, "vector 1 is missing"),
    ],
)
def test_a_bad_vector_is_an_error_with_the_index_of_its_text(
    colour: Colour, answer: Any, index: int, words: str
) -> None:
    with (
        ProviderServer(default=answer) as server,
        pytest.raises(MalformedResponse, match=words) as caught,
    ):
        documents(colour, server.embeddings(max_retries=0), ["a", "a", "b"])
    error: Any = caught.value
    assert error.index == index
    assert f"`texts[{index}]`" in str(error)
    assert error.partial == [None, None, None]


@pytest.mark.parametrize(
    "answer",
    [{"data": "none"}, {}, {"data": [{"index": 0}]}, _rows([1.0], [1.0], [1.0]), _rows("@@", [1])],
)
def test_an_answer_without_vectors_is_an_error(answer: Any) -> None:
    with ProviderServer(default=answer) as server, pytest.raises(MalformedResponse):
        server.embeddings(max_retries=0).embed_documents(["a", "b"])


def test_a_glitch_is_asked_again(colour: Colour) -> None:
    with ProviderServer([_rows([1.0]), _rows([1.0], [2.0])]) as server:
        assert documents(colour, server.embeddings(), ["a", "b"]) == [[1.0], [2.0]]


def test_vectors_of_another_length_than_dimensions_are_an_error() -> None:
    with ProviderServer(default=_rows([1.0, 2.0])) as server:
        model = server.embeddings(dimensions=3, max_retries=0)
        with pytest.raises(MalformedResponse, match="has 2 numbers, and `dimensions` is 3"):
            model.embed_query("a")


@pytest.mark.parametrize(
    ("model", "dimensions", "words"),
    [
        ("text-embedding-3-small", 1537, "at most 1,536"),
        ("text-embedding-ada-002", 512, "cannot shorten"),
        ("text-embedding-3-small", 0, "whole number above 0"),
        ("text-embedding-3-small", "256", "whole number above 0"),
    ],
)
def test_dimensions_that_the_model_has_not_are_refused(
    model: str, dimensions: Any, words: str
) -> None:
    with pytest.raises(InvalidArgument, match=words):
        OpenAIEmbeddings(model=model, dimensions=dimensions, api_key="k")


def test_of_a_request_that_fails_the_error_names_its_texts_and_nothing_else_is_lost(
    colour: Colour,
) -> None:
    def answer(request: Any) -> Any:
        if "b" in request.body["input"]:
            return faults.status(400)
        return "as usual"

    with ProviderServer(default=answer) as server, pytest.raises(BadRequest) as caught:
        documents(colour, server.embeddings(chunk_size=2), ["b", "a", "cc", "d"])
    error = caught.value
    assert "2 of 4 texts, `texts[0]` to `texts[1]`" in str(error)
    assert error.partial == [None, None, *vectors(["cc", "d"])]


class _Encoding:
    """A tokenizer whose tokens are words."""

    def encode_ordinary(self, text: str) -> list[str]:
        return text.split(" ")

    def decode(self, tokens: list[str], errors: str = "strict") -> str:
        return " ".join(tokens)


def test_a_long_text_is_split_by_tokens_and_its_vector_is_the_average(
    colour: Colour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenAIEmbeddings, "find_encoding", lambda self: _Encoding())
    with ProviderServer() as server:
        model = server.embeddings(embedding_ctx_length=2)
        found = documents(colour, model, ["aa bb cc", "aa bb", "aa"])
    assert server.requests[0].body["input"] == ["aa bb", "cc", "aa"]
    assert found[1:] == vectors(["aa bb", "aa"])
    assert sum(number * number for number in found[0]) == pytest.approx(1)


def test_without_a_tokenizer_a_long_text_is_split_by_an_estimate_with_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(OpenAIEmbeddings, "find_encoding", lambda self: None)
    with ProviderServer() as server, pytest.warns(UserWarning, match="split by an estimate"):
        server.embeddings().embed_query("word " * 10_000)
    assert [len(text) for text in server.requests[0].body["input"]] == [24_573, 24_573, 854]


def test_without_splitting_a_long_text_is_an_error_with_its_index(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(OpenAIEmbeddings, "find_encoding", lambda self: _Encoding())
    with ProviderServer() as server, pytest.raises(ContextTooLong, match=r"texts\[1\]") as caught:
        model = server.embeddings(check_embedding_ctx_length=False, embedding_ctx_length=2)
        model.embed_documents(["a", "aa bb cc"])
    assert (caught.value.tokens, caught.value.max_input_tokens) == (3, 2)
    assert server.requests == []


def test_calls_have_retries_budgets_and_costs_like_those_of_chat(colour: Colour) -> None:
    with ProviderServer([faults.status(503)]) as server, track() as spent:
        assert documents(colour, server.embeddings(), ["abcd"]) == vectors(["abcd"])
        assert server.counts.by_status == {503: 1, 200: 1}
        with budget(calls=1), pytest.raises(BudgetExceeded):
            model = server.embeddings(chunk_size=1)
            documents(colour, model, ["a", "b"])
    assert spent.usage_metadata["text-embedding-test"]["input_tokens"] >= 1


def test_a_budget_reserves_nothing_for_the_output_that_embeddings_do_not_have(
    colour: Colour,
) -> None:
    with ProviderServer() as server, budget(tokens=100) as spent:
        assert documents(colour, server.embeddings(), ["a few words"]) == vectors(["a few words"])
    assert 0 < spent.spent.tokens < 20


def test_a_refused_key_is_an_error_of_the_provider(colour: Colour) -> None:
    with ProviderServer(default=faults.status(401)) as server, pytest.raises(AuthenticationError):
        query(colour, server.embeddings(), "a")


def test_the_key_may_be_a_function_and_settings_are_those_of_the_chat_model(
    colour: Colour, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ProviderServer() as server:
        model = server.embeddings(api_key=lambda: "from-a-function", organization="mine")
        query(colour, model, "a")
    assert server.requests[0].headers["authorization"] == "Bearer from-a-function"
    assert server.requests[0].headers["openai-organization"] == "mine"
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(MissingKey, match="`OpenAIEmbeddings` needs an API key"):
        OpenAIEmbeddings(model="text-embedding-3-small")
    with pytest.warns(UserWarning, match="not a known parameter of `OpenAIEmbeddings`"):
        server.embeddings(colour_of_vectors="blue")
    monkeypatch.setenv("OPENAI_API_KEY", "of-the-environment")
    model = OpenAIEmbeddings(model="text-embedding-3-small", dimensions=4)
    assert model.openai_api_key.get_secret_value() == "of-the-environment"
    assert "of-the-environment" not in repr(model)
    assert pickle.loads(pickle.dumps(model)).dimensions == 4
    assert b"of-the-environment" not in pickle.dumps(model)


def test_azure_calls_the_deployment() -> None:
    with ProviderServer() as server:
        model = AzureOpenAIEmbeddings(
            azure_endpoint=server.base_url,
            azure_deployment="mine",
            api_version="2024-10-21",
            api_key="k",
        )
        assert model.embed_query("a") == vectors("a")[0]
    assert server.requests[0].path == "/openai/deployments/mine/embeddings"
    assert server.requests[0].headers["api-key"] == "k"


def test_a_name_says_which_model_is_meant() -> None:
    made = init_embeddings("openai:text-embedding-3-large", api_key="k", dimensions=256)
    assert isinstance(made, OpenAIEmbeddings)
    assert (made.model, made.dimensions) == ("text-embedding-3-large", 256)
    assert init_embeddings("text-embedding-3-small", api_key="k").model == "text-embedding-3-small"
    with pytest.raises(UnknownModel, match="The provider of"):
        init_embeddings("a-model")
    with pytest.raises(UnknownModel, match="No provider is called `opena1`"):
        init_embeddings("opena1:a-model")
    for provider in ("groq", "anthropic"):
        with pytest.raises(InvalidArgument, match=f"`{provider}` has no embeddings") as caught:
            init_embeddings(f"{provider}:a-model")
        assert str(caught.value).count(" ollama,") == 1


def test_arguments_of_langchain_without_effect_do_not_reach_the_provider() -> None:
    with ProviderServer() as server:
        with pytest.warns(UserWarning, match="`retry_max_seconds` has no effect"):
            model = server.embeddings(show_progress_bar=True, retry_max_seconds=9)
        model.embed_query("a")
    assert set(server.requests[0].body) == {"input", "model", "encoding_format"}
