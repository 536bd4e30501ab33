"""What handlers hear of a model: one start, its tokens, one end or error; and nothing runs when nobody listens."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.provider_bodies import openai_answer, openai_stream

from modelwire.adapters import BaseChatModel, ChatOpenAI
from modelwire.caches import InMemoryCache
from modelwire.callbacks import (
    AsyncCallbackHandler,
    BaseCallbackHandler,
    UsageMetadataCallbackHandler,
)
from modelwire.errors import BadRequest, IncompleteStream, InvalidArgument
from modelwire.messages import AIMessage, AIMessageChunk
from modelwire.output_parsers import StrOutputParser
from modelwire.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from modelwire.testing import ProviderServer

URL = "https://api.openai.com/v1/chat/completions"


class Ear(BaseCallbackHandler):
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.about: dict[str, Any] = {}

    def on_chat_model_start(self, serialized: Any, messages: Any, **about: Any) -> None:
        self.heard.append(("start", [m.content for m in messages[0]]))
        self.about = about

    def on_llm_new_token(self, token: str, *, chunk: Any = None, **about: Any) -> None:
        assert chunk.message.content == token
        self.heard.append(("token", token))

    def on_llm_end(self, response: Any, **about: Any) -> None:
        self.heard.append(
            ("end", response.generations[0][0].text if response.generations[0] else None)
        )

    def on_llm_error(self, error: BaseException, *, response: Any = None, **about: Any) -> None:
        part = response.generations[0]
        self.heard.append(("error", (type(error).__name__, part[0].text if part else None)))


class AsyncEar(AsyncCallbackHandler):
    """The same with `await`."""

    def __init__(self) -> None:
        self.ear = Ear()
        self.heard = self.ear.heard

    async def on_chat_model_start(self, *args: Any, **about: Any) -> None:
        self.ear.on_chat_model_start(*args, **about)

    async def on_llm_new_token(self, token: str, **about: Any) -> None:
        self.ear.on_llm_new_token(token, **about)

    async def on_llm_end(self, response: Any, **about: Any) -> None:
        self.ear.on_llm_end(response, **about)

    async def on_llm_error(self, error: BaseException, **about: Any) -> None:
        self.ear.on_llm_error(error, **about)


@pytest.fixture(params=[Ear, AsyncEar])
def ear(request: pytest.FixtureRequest) -> Any:
    return request.param()


def model(**settings: Any) -> ChatOpenAI:
    return ChatOpenAI(model="gpt-test", api_key="k", max_retries=0, **settings)


def test_an_answer_is_one_start_and_one_end(colour: Any, ear: Any, httpx2_mock: Any) -> None:
    httpx2_mock.post(URL).respond(json=openai_answer("yes"))
    colour.invoke(model(disable_streaming=True), "hi", {"callbacks": [ear]})
    assert ear.heard == [("start", ["hi"]), ("end", "yes")]


def test_a_handler_of_tokens_hears_them_although_the_call_is_no_stream(
    colour: Any, ear: Any, httpx2_mock: Any
) -> None:
    httpx2_mock.post(URL).respond(content=openai_stream("a", "b"))
    chain = model() | StrOutputParser()
    assert colour.invoke(chain, "hi", {"callbacks": [ear]}) == "ab"
    assert [text for kind, text in ear.heard if kind == "token" and text] == ["a", "b"]
    assert ear.heard[-1] == ("end", "ab")


def test_the_answer_of_such_a_call_is_whole(colour: Any, httpx2_mock: Any) -> None:
    httpx2_mock.post(URL).respond(content=openai_stream("a", "b"))
    answer = colour.invoke(model(), "hi", {"callbacks": [Ear()]})
    assert type(answer) is AIMessage
    assert answer.content == "ab"
    assert answer.response_metadata["finish_reason"] == "stop"


class Ends(BaseCallbackHandler):
    """Hears no tokens."""

    def on_chat_model_start(self, *args: Any, **about: Any) -> None:
        pass


class Ignoring(Ear):
    """Would hear tokens, and does not want to."""

    @property
    def ignore_llm(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("handler", "settings"),
    [
        (Ends, {}),
        (Ignoring, {}),
        (Ear, {"disable_streaming": True}),
        (Ear, {"n": 2}),
        (Ear, {"stream_usage": False}),
    ],
)
def test_a_call_is_no_stream_where_nobody_hears_it_or_a_stream_would_say_less(
    colour: Any, handler: Any, settings: Any, httpx2_mock: Any
) -> None:
    route = httpx2_mock.post(URL).respond(json=openai_answer("yes"))
    assert colour.invoke(model(**settings), "hi", {"callbacks": [handler()]}).content == "yes"
    assert b'"stream":true' not in route.calls.last.request.content


def test_a_cut_stream_under_a_call_is_an_error_with_the_part(
    colour: Any, ear: Any, httpx2_mock: Any
) -> None:
    httpx2_mock.post(URL).respond(content=openai_stream("a", "b", finish=None, done=False))
    with pytest.raises(IncompleteStream):
        colour.invoke(model(), "hi", {"callbacks": [ear]})
    assert ear.heard[-1] == ("error", ("IncompleteStream", "ab"))


def test_a_stream_is_heard_token_by_token(colour: Any, ear: Any, httpx2_mock: Any) -> None:
    httpx2_mock.post(URL).respond(content=openai_stream("a", "b"))
    colour.stream(model() | StrOutputParser(), "hi", {"callbacks": [ear]})
    assert [what for what in ear.heard if what != ("token", "")] == [
        ("start", ["hi"]),
        ("token", "a"),
        ("token", "b"),
        ("end", "ab"),
    ]


def test_a_failure_is_one_start_and_one_error(colour: Any, ear: Any, httpx2_mock: Any) -> None:
    httpx2_mock.post(URL).respond(400, json={"error": {"message": "no"}})
    with pytest.raises(BadRequest):
        colour.invoke(model(), "hi", {"callbacks": [ear]})
    assert ear.heard == [("start", ["hi"]), ("error", ("BadRequest", None))]


def test_a_cut_stream_is_an_error_with_the_part(colour: Any, ear: Any, httpx2_mock: Any) -> None:
    httpx2_mock.post(URL).respond(content=openai_stream("a", "b", finish=None, done=False))
    with pytest.raises(IncompleteStream):
        colour.stream(model(), "hi", {"callbacks": [ear]})
    assert ear.heard[-1] == ("error", ("IncompleteStream", "ab"))


def test_leaving_a_stream_early_ends_it_once(httpx2_mock: Any) -> None:
    httpx2_mock.post(URL).respond(content=openai_stream("a", "b"))
    ear = Ear()
    stream: Any = model().stream("hi", {"callbacks": [ear]})
    next(stream)
    stream.close()
    assert [kind for kind, _ in ear.heard] == ["start", "token", "end"]

    async def leave() -> None:
        stream: Any = model().astream("hi", {"callbacks": [ear]})
        await anext(stream)
        await stream.aclose()

    asyncio.run(leave())
    assert [kind for kind, _ in ear.heard] == ["start", "token", "end"] * 2


def test_a_stream_nobody_reads_is_no_run(ear: Any) -> None:
    stream: Any = model().stream("hi", {"callbacks": [ear]})
    stream.close()
    unread: Any = model().astream("hi", {"callbacks": [ear]})
    asyncio.run(unread.aclose())
    assert ear.heard == []


def test_a_handler_learns_whose_run_it_is(colour: Any, httpx2_mock: Any) -> None:
    httpx2_mock.post(URL).respond(json=openai_answer())
    ear = Ear()
    config = {"callbacks": [ear], "tags": ["outer"], "metadata": {"a": 1}, "run_name": "mine"}
    colour.invoke(model(temperature=0, tags=["own"]), "hi", config, stop=["X"])
    assert ear.about["name"] == "mine"
    assert set(ear.about["tags"]) == {"outer", "own"}
    assert ear.about["metadata"] == {
        "a": 1,
        "ls_model_type": "chat",
        "ls_provider": "openai",
        "ls_model_name": "gpt-test",
        "ls_temperature": 0,
        "ls_stop": ["X"],
    }
    assert ear.about["invocation_params"]["model"] == "gpt-test"
    assert "k" not in ear.about["invocation_params"].values()


def test_a_model_of_ones_own_needs_only_generate(colour: Any, ear: Any) -> None:
    class Echo(BaseChatModel):
        @property
        def _llm_type(self) -> str:
            return "echo"

        def _generate(
            self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
        ) -> ChatResult:
            return ChatResult(
                generations=[ChatGeneration(message=AIMessage(messages[-1].content.upper()))]
            )

    answer = colour.invoke(Echo(), "hi", {"callbacks": [ear]})
    assert answer.content == "HI"
    assert answer.id.startswith("lc_run--")
    assert [chunk.content for chunk in colour.stream(Echo(), "hi")] == ["HI"]
    assert [a.content for a in colour.batch(Echo(), ["a", "b"])] == ["A", "B"]


def test_a_model_of_ones_own_may_stream(colour: Any, ear: Any) -> None:
    class Spell(BaseChatModel):
        @property
        def _llm_type(self) -> str:
            return "spell"

        def _generate(
            self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
        ) -> ChatResult:
            raise AssertionError("a stream was asked for")

        def _stream(
            self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
        ) -> Iterator[ChatGenerationChunk]:
            for letter in messages[-1].content:
                yield ChatGenerationChunk(message=AIMessageChunk(content=letter))

    chunks = colour.stream(Spell(), "abc", {"callbacks": [ear]})
    assert [chunk.content for chunk in chunks if chunk.content] == ["a", "b", "c"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert ear.heard[-1] == ("end", "abc")


def test_a_stream_without_a_chunk_is_an_error_whoever_hears_it(colour: Any, ear: Any) -> None:
    class Mute(BaseChatModel):
        @property
        def _llm_type(self) -> str:
            return "mute"

        def _generate(
            self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
        ) -> ChatResult:
            raise AssertionError("a stream was asked for")

        def _stream(
            self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
        ) -> Iterator[ChatGenerationChunk]:
            return iter(())

    for ask in (
        lambda: colour.stream(Mute(), "hi"),
        lambda: colour.stream(Mute(), "hi", {"callbacks": [ear]}),
        lambda: colour.invoke(Mute(), "hi", {"callbacks": [ear]}),
    ):
        with pytest.raises(InvalidArgument, match="The stream of `Mute` ended without a chunk"):
            ask()
    assert ear.heard == [("start", ["hi"]), ("error", ("InvalidArgument", None))] * 2


class Both(BaseChatModel):
    """Answers by the name of the method that is called."""

    @property
    def _llm_type(self) -> str:
        return "both"

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("whole"))])

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for part in ("str", "eam"):
            yield ChatGenerationChunk(message=AIMessageChunk(content=part))


@pytest.mark.parametrize("is_cached", [False, True])
@pytest.mark.parametrize(
    ("settings", "keywords", "text"),
    [
        ({}, {}, "whole"),
        ({}, {"stream": True}, "stream"),
        ({}, {"stream": False}, "whole"),
        ({"disable_streaming": True}, {"stream": True}, "whole"),
        ({"disable_streaming": "tool_calling"}, {"stream": True, "tools": [{}]}, "whole"),
        ({"disable_streaming": "tool_calling"}, {"stream": True}, "stream"),
    ],
)
def test_a_call_chooses_whether_its_answer_is_streamed(
    colour: Any, settings: Any, keywords: Any, text: str, is_cached: bool
) -> None:
    model = Both(**settings, cache=InMemoryCache() if is_cached else None)
    answer = colour.invoke(model, "hi", **keywords)
    assert answer.content == text
    assert type(answer) is AIMessage
    handler = UsageMetadataCallbackHandler()  # one that does not receive tokens
    assert colour.invoke(model, "hi", {"callbacks": [handler]}, **keywords).content == text


def test_a_call_that_asks_for_no_stream_has_no_tokens(colour: Any, ear: Any) -> None:
    answer = colour.invoke(Both(), "hi", {"callbacks": [ear]}, stream=False)
    assert answer.content == "whole"
    assert ear.heard == [("start", ["hi"]), ("end", "whole")]


@pytest.mark.parametrize("is_observed", [False, True])
@pytest.mark.parametrize("wire", ["openai", "responses", "anthropic", "bedrock", "gemini"])
def test_a_call_over_each_wire_chooses_whether_its_answer_is_streamed(
    colour: Any, wire: Any, is_observed: bool
) -> None:
    config = {"callbacks": [UsageMetadataCallbackHandler()]} if is_observed else None
    with ProviderServer(["hello there"] * 3) as server:
        model = server.model(wire)
        for keywords in ({"stream": True}, {"stream": False}, {}):
            assert colour.invoke(model, "hi", config, **keywords).text == "hello there"
        assert [request.stream for request in server.requests] == [True, False, False]
        assert "stream" not in json.dumps(server.requests[1].body)
        cache = server.model(wire, cache=InMemoryCache())
        server.say("hello there")
        assert colour.invoke(cache, "hi", stream=True).text == "hello there"
        assert colour.invoke(cache, "hi").text == "hello there"  # the same request otherwise
        assert len(server.requests) == 4
