"""`count_tokens`: the provider's count where it has one, else a tokenizer's or an estimate, and which it was."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1, sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from support.raw_server import RawServer

from modelwire import ChatOpenAI, HumanMessage
from modelwire.adapters import ChatAnthropic, ChatAnthropicVertex, ChatBedrockConverse, ChatVertexAI
from modelwire.adapters.model import token_counts
from modelwire.adapters.model.token_counts import TokenCount
from modelwire.errors import AuthenticationError, InvalidArgument, MalformedResponse, RateLimited
from modelwire.messages import AIMessage, SystemMessage, trim_messages
from modelwire.messages.counting import count_tokens_approximately
from modelwire.testing import FakeListChatModel, ProviderServer


def weather(city: str) -> str:
    """Tell the weather."""
    return city


@pytest.fixture(scope="module")
def provider() -> Iterator[ProviderServer]:
    with ProviderServer() as server:
        yield server


def answered(status: str, body: bytes, head: bytes = b"") -> list[bytes]:
    return [
        b"HTTP/1.1 %s\r\n%scontent-length: %d\r\n\r\n%s" % (status.encode(), head, len(body), body)
    ]


@contextmanager
def closing_server(script: list[list[bytes]]) -> Iterator[RawServer]:
    server = RawServer(script, repeat=len(script) == 1)
    try:
        yield server
    finally:
        server.close()


@pytest.mark.parametrize(
    ("wire", "path", "exact"),
    [
        (
            "openai",
            "/v1/responses/input_tokens",
            False,
        ),  # the count of another API of the same model
        ("responses", "/v1/responses/input_tokens", True),
        ("anthropic", "/v1/messages/count_tokens", True),
        ("gemini", "/v1beta/models/gemini-test:countTokens", True),
        ("bedrock", "/model/test.model-v1%3A0/count-tokens", True),
    ],
)
def test_the_provider_counts_messages_and_tools(
    provider: ProviderServer, wire: Any, path: str, exact: bool, colour: Any
) -> None:
    model = provider.model(wire, max_tokens=7, temperature=0.5)
    bound: Any = model.bind_tools([weather])
    call = [SystemMessage("Be brief."), HumanMessage("What is the weather in Rome?")]

    def count(model: Any, **more: Any) -> TokenCount:
        made: TokenCount = colour.run(
            lambda: model.count_tokens(call, **more), lambda: model.acount_tokens(call, **more)
        )
        return made

    alone, with_tools = count(model), count(model, tools=[weather])
    request = provider.requests[-1]
    assert (request.method, request.path) == ("POST", path)
    sent = json.dumps(request.body)
    for part in ("Be brief.", "What is the weather in Rome?", "Tell the weather."):
        assert part in sent
    assert "0.5" not in sent or wire == "gemini"  # a parameter of the answer is none of the input
    assert 0 < alone < with_tools == count(bound)
    assert (with_tools.exact, with_tools.source) == (exact, provider.base_url + path)


def test_a_count_is_a_number_that_says_who_counted() -> None:
    count = TokenCount(1234, exact=True, source="https://api.example.org/count")
    assert (count, f"{count:,}", str(count), json.dumps([count])) == (
        1234,
        "1,234",
        "1234",
        "[1234]",
    )
    assert count > 1000
    assert repr(count) == "TokenCount(1234, exact=True, source='https://api.example.org/count')"
    again = pickle.loads(pickle.dumps(count))
    assert (again, again.exact, again.source) == (count, True, count.source)


def test_bedrock_counts_by_the_model_and_not_by_a_regions_profile(provider: ProviderServer) -> None:
    for model, base_model, path in (
        (
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            None,
            "anthropic.claude-sonnet-4-5-20250929-v1%3A0",
        ),
        (
            "arn:aws:bedrock:us-east-1:1:application-inference-profile/a",
            "amazon.nova-pro-v1:0",
            "amazon.nova-pro-v1%3A0",
        ),
    ):
        provider.model("bedrock", model=model, base_model=base_model).count_tokens("hi")  # type: ignore[attr-defined]
        assert provider.requests[-1].path == f"/model/{path}/count-tokens"


def test_vertex_counts_at_its_own_addresses(provider: ProviderServer) -> None:
    place: dict[str, Any] = {
        "project": "p",
        "base_url": provider.base_url,
        "credentials": lambda: "t",
    }
    models = "/projects/p/locations/global/publishers"
    count = ChatVertexAI(model="gemini-2.5-pro", **place).count_tokens("hi")
    assert (
        provider.requests[-1].path == f"/v1beta1{models}/google/models/gemini-2.5-pro:countTokens"
    )
    assert set(provider.requests[-1].body) == {"contents"}
    assert count.exact
    ChatAnthropicVertex(model="claude-haiku-4-5@20251001", **place).count_tokens("hi")
    assert provider.requests[-1].path == f"/v1{models}/anthropic/models/count-tokens:rawPredict"
    assert provider.requests[-1].body["model"] == "claude-haiku-4-5@20251001"


def test_a_count_is_tried_again_and_takes_nothing_of_the_limit_of_calls(colour: Any) -> None:
    with closing_server(
        [
            answered(
                "429 Too Many Requests",
                b'{"error": {"message": "slow down"}}',
                b"retry-after: 0\r\n",
            ),
            answered("200 OK", b'{"input_tokens": 11}'),
        ]
    ) as server:
        model = ChatAnthropic(model="m", api_key="k", base_url=server.url.removesuffix("/v1"))
        count = colour.run(lambda: model.count_tokens("hi"), lambda: model.acount_tokens("hi"))
        assert (count, count.exact, len(server.requests)) == (11, True, 2)
        assert all(
            request.startswith(b"POST /v1/messages/count_tokens ") for request in server.requests
        )
        assert "none known" in repr(model.limits())


@pytest.mark.parametrize(
    "status", ["404 Not Found", "405 Method Not Allowed", "501 Not Implemented"]
)
def test_where_the_address_has_no_such_endpoint_it_is_counted_here(
    status: str, colour: Any
) -> None:
    with closing_server([answered(status, b"{}")]) as server:
        model = ChatOpenAI(model="llama", api_key="k", base_url=server.url, max_retries=0)
        count = colour.run(
            lambda: model.count_tokens("x" * 400), lambda: model.acount_tokens("x" * 400)
        )
        assert (count, count.exact, count.source) == (
            count_tokens_approximately("x" * 400),
            False,
            "estimate",
        )
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        ("401 Unauthorized", b'{"error": {"message": "bad key"}}', AuthenticationError),
        ("429 Too Many Requests", b'{"error": {"message": "slow down"}}', RateLimited),
        ("200 OK", b'{"tokens": 3}', MalformedResponse),
        ("200 OK", b"<html>", MalformedResponse),
        ("200 OK", b'{"input_tokens": true}', MalformedResponse),
    ],
)
def test_errors_are_those_of_a_call(
    status: str, body: bytes, error: type[Exception], colour: Any
) -> None:
    with closing_server([answered(status, body)]) as server:
        model = ChatAnthropic(
            model="m", api_key="k", base_url=server.url.removesuffix("/v1"), max_retries=0
        )
        with pytest.raises(error):
            colour.run(lambda: model.count_tokens("hi"), lambda: model.acount_tokens("hi"))


def test_a_key_that_a_function_gives_is_asked_for(provider: ProviderServer, colour: Any) -> None:
    async def key() -> str:
        return "of-a-function"

    model: Any = provider.model(
        "anthropic", api_key=key if colour.name == "async" else lambda: "of-a-function"
    )
    colour.run(lambda: model.count_tokens("hi"), lambda: model.acount_tokens("hi"))
    assert provider.requests[-1].headers["x-api-key"] == "of-a-function"


def test_a_service_without_the_endpoint_is_not_asked(provider: ProviderServer) -> None:
    before = provider.counts.requests
    assert provider.model("openai", provider="groq").count_tokens("hi").source == "estimate"  # type: ignore[attr-defined]
    assert FakeListChatModel(responses=["a"]).count_tokens("hi").exact is False
    assert provider.counts.requests == before


def test_nothing_to_count_is_an_error_before_any_request(provider: ProviderServer) -> None:
    before = provider.counts.requests
    with pytest.raises(InvalidArgument, match="empty list"):
        provider.model().count_tokens([])  # type: ignore[attr-defined]
    assert provider.counts.requests == before


# A tokenizer of words: what is asked of tiktoken, without its vocabularies.


@pytest.fixture
def tiktoken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SimpleNamespace]:
    def named(model: str) -> str:
        return {"gpt-4o-mini": "o200k_base"}[model]

    loaded: list[str] = []

    def get_encoding(name: str) -> Any:
        loaded.append(name)
        return SimpleNamespace(name=name, encode_ordinary=str.split)

    made = SimpleNamespace(
        encoding_name_for_model=named, get_encoding=get_encoding, loaded=loaded, folder=tmp_path
    )
    monkeypatch.setitem(sys.modules, "tiktoken", made)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    url = token_counts._VOCABULARIES["o200k_base"][0]
    monkeypatch.setitem(
        token_counts._VOCABULARIES, "o200k_base", (url, sha256(b"words").hexdigest())
    )
    made.file = tmp_path / sha1(url.encode()).hexdigest()
    token_counts._encoding_on_disk.cache_clear()
    yield made
    token_counts._encoding_on_disk.cache_clear()


def test_tiktoken_counts_where_its_vocabulary_is_on_this_machine(tiktoken: SimpleNamespace) -> None:
    tiktoken.file.write_bytes(b"words")
    model = ChatOpenAI(
        model="gpt-4o-mini", api_key="k", provider="azure_openai", base_url="http://127.0.0.1:9/v1"
    )
    count = model.count_tokens("one two three")
    assert (count, count.exact, count.source) == (3 + 3 + 1 + 3, False, "tiktoken o200k_base")
    assert model.get_num_tokens("one two three") == 3
    assert model.get_num_tokens_from_messages([HumanMessage("one two three")]) == count
    assert model.count_tokens("one two three", tools=[weather]) > count
    history = [HumanMessage("one two three four"), AIMessage("five"), HumanMessage("six seven")]
    kept = trim_messages(history, max_tokens=3 + 3 + 1 + 2, token_counter=model)
    assert [message.content for message in kept] == ["six seven"]


@pytest.mark.parametrize("vocabulary", [None, b"changed"])
def test_tiktoken_is_never_let_to_fetch_one(
    tiktoken: SimpleNamespace, vocabulary: bytes | None
) -> None:
    if vocabulary is not None:
        tiktoken.file.write_bytes(vocabulary)
    model = ChatOpenAI(
        model="gpt-4o-mini", api_key="k", provider="azure_openai", base_url="http://127.0.0.1:9/v1"
    )
    assert model.count_tokens("one two three").source == "estimate"
    assert model.get_num_tokens("x" * 9) == 3
    assert tiktoken.loaded == []


@pytest.mark.parametrize("source", ["anthropic", "openai"])
def test_a_tokenizer_of_the_users_counts_before_an_estimate(
    source: Literal["anthropic", "openai"],
) -> None:
    with closing_server([answered("404 Not Found", b"{}")]) as server:
        cls: Any = {"anthropic": ChatAnthropic, "openai": ChatOpenAI}[source]
        model = cls(
            model="m",
            api_key="k",
            base_url=server.url,
            custom_get_token_ids=lambda text: list(text.encode()),
        )
        count = model.count_tokens("hello")
        assert (count, count.source) == (len("Human: hello"), "get_token_ids")
        assert model.count_tokens("hello", tools=[weather]) > count + len("Tell the weather.")


def test_the_real_tiktoken_names_its_vocabularies_as_we_do() -> None:
    real = pytest.importorskip("tiktoken")
    from tiktoken_ext import openai_public  # type: ignore[import-not-found]

    source = Path(openai_public.__file__).read_text()
    assert all(
        url in source and fingerprint in source
        for url, fingerprint in token_counts._VOCABULARIES.values()
    )
    assert real.encoding_name_for_model("gpt-4o-mini") == "o200k_base"


def test_a_bedrock_model_counts_as_every_other(provider: ProviderServer) -> None:
    assert ChatBedrockConverse.count_tokens is ChatOpenAI.count_tokens
