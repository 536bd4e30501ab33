"""Models with a cache, a rate limiter or another output version, both colours, both wires and custom models."""

import asyncio
import json
import os
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.provider_bodies import anthropic_answer, anthropic_stream, openai_answer, openai_stream

from modelwire.adapters import BaseChatModel, ChatAnthropic, ChatOpenAI
from modelwire.caches import BaseCache, InMemoryCache, SQLiteCache
from modelwire.callbacks import BaseCallbackHandler
from modelwire.errors import (
    AuthenticationError,
    IncompleteStream,
    InvalidArgument,
    InvalidType,
    ServerError,
    Timeout,
)
from modelwire.globals import get_llm_cache, set_llm_cache
from modelwire.messages import AIMessage, AIMessageChunk, HumanMessage
from modelwire.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, Generation
from modelwire.prompts import ChatPromptTemplate
from modelwire.rate_limiters import BaseRateLimiter, InMemoryRateLimiter
from modelwire.runnables import RunnableLambda
from modelwire.testing import FakeListChatModel, GenericFakeChatModel, ParrotFakeChatModel

URLS = {
    "openai": "https://api.openai.com/v1/chat/completions",
    "anthropic": "https://api.anthropic.com/v1/messages",
}
USAGE = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}


@pytest.fixture
def cache() -> InMemoryCache:
    return InMemoryCache()


@pytest.fixture
def global_cache() -> Iterator[InMemoryCache]:
    cache = InMemoryCache()
    set_llm_cache(cache)
    yield cache
    set_llm_cache(None)


def answers(*texts: str, **settings: Any) -> FakeListChatModel:
    return FakeListChatModel(responses=list(texts), **settings)


# ---------------------------------------------------------------- which cache


def test_a_model_without_a_cache_asks_every_time(colour: Any) -> None:
    model = answers("a", "b")
    assert [colour.invoke(model, "q").content for _ in range(2)] == ["a", "b"]


def test_the_same_question_is_asked_once(colour: Any, cache: InMemoryCache) -> None:
    model = answers("a", "b", cache=cache)
    assert [colour.invoke(model, question).content for question in "qqrq"] == ["a", "a", "b", "a"]


def test_none_and_true_use_the_global_cache_and_false_does_not(
    colour: Any, global_cache: InMemoryCache
) -> None:
    for setting, seen in ((None, "aa"), (True, "aa"), (False, "ab")):
        global_cache.clear()
        model = answers("a", "b", cache=setting)
        assert "".join(colour.invoke(model, "q").content for _ in range(2)) == seen
    assert get_llm_cache() is global_cache


def test_a_models_own_cache_keeps_the_global_one_out(
    colour: Any, cache: InMemoryCache, global_cache: InMemoryCache
) -> None:
    colour.invoke(answers("a", cache=cache), "q")
    assert (len(cache._cache), len(global_cache._cache)) == (1, 0)


def test_true_without_a_global_cache_says_what_to_do(colour: Any) -> None:
    with pytest.raises(InvalidArgument, match="set_llm_cache"):
        colour.invoke(answers("a", cache=True), "q")


@pytest.mark.parametrize("wrong", ["memory", 3, InMemoryCache])
def test_what_is_no_cache_is_refused(colour: Any, wrong: Any) -> None:
    with pytest.raises(InvalidType, match=r"modelwire\.caches"):
        colour.invoke(answers("a", cache=wrong), "q")
    with pytest.raises(InvalidType, match=r"modelwire\.caches"):
        set_llm_cache(wrong)


# ---------------------------------------------------------------- what a hit is


def test_a_hit_is_the_callers_own_and_cost_nothing(colour: Any, cache: InMemoryCache) -> None:
    message = AIMessage("hi", usage_metadata=USAGE, response_metadata={"a": {"b": 1}})
    model = GenericFakeChatModel(messages=iter([message]), cache=cache)
    first, second = colour.invoke(model, "q"), colour.invoke(model, "q")
    assert first.usage_metadata == USAGE
    assert second.usage_metadata == {**USAGE, "total_cost": 0}
    first.content, second.response_metadata["a"]["b"] = "changed", 2
    third = colour.invoke(model, "q")
    assert (third.content, third.response_metadata) == ("hi", {"a": {"b": 1}})
    assert third.id.startswith("lc_run--")
    assert len({first.id, second.id, third.id}) == 3


def test_a_text_that_another_program_kept_becomes_a_message(colour: Any) -> None:
    class Texts(InMemoryCache):
        def lookup(self, prompt: str, llm_string: str) -> Any:
            return [Generation(text="kept")]

    answer = colour.invoke(answers("a", cache=Texts()), "q")
    assert (type(answer), answer.content) == (AIMessage, "kept")


def test_handlers_hear_of_a_hit(colour: Any, cache: InMemoryCache) -> None:
    heard: list[str] = []

    class Handler(BaseCallbackHandler):
        def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
            heard.append("start")

        def on_llm_end(self, response: Any, **kwargs: Any) -> None:
            heard.append(response.generations[0][0].text)

    model = answers("a", "b", cache=cache)
    for _ in range(2):
        colour.invoke(model, "q", {"callbacks": [Handler()]})
    assert heard == ["start", "a", "start", "a"]


def test_who_listens_for_tokens_fills_the_same_entry(colour: Any, cache: InMemoryCache) -> None:
    tokens: list[str] = []

    class Handler(BaseCallbackHandler):
        def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None: ...

        def on_llm_new_token(self, token: str, **kwargs: Any) -> None:
            tokens.append(token)

    model = GenericFakeChatModel(messages=iter(["a b", "c"]), cache=cache)
    answer = colour.invoke(model, "q", {"callbacks": [Handler()]})
    assert tokens == ["a", " ", "b"]
    assert (type(answer), answer.content) == (AIMessage, "a b")
    again = colour.invoke(model, "q")
    assert (type(again), again.content) == (AIMessage, "a b")
    assert len(cache._cache) == 1


def test_a_model_with_all_of_it_can_be_pickled(cache: InMemoryCache) -> None:
    limiter = InMemoryRateLimiter(requests_per_second=7)
    model = ChatOpenAI(
        model="m", api_key="k", base_url="http://localhost:1", cache=cache, rate_limiter=limiter
    )
    other = pickle.loads(pickle.dumps(model))
    assert isinstance(other.cache, InMemoryCache)
    assert other.rate_limiter.requests_per_second == 7


def test_a_cached_answer_survives_the_process(colour: Any, tmp_path: Path) -> None:
    path = tmp_path / "answers.db"
    assert colour.invoke(answers("a", "b", cache=SQLiteCache(path)), "q").content == "a"
    assert colour.invoke(answers("a", "b", cache=SQLiteCache(path), i=1), "q").content == "a"


def test_one_lookup_a_call(colour: Any) -> None:
    asked: list[str] = []

    class Counting(InMemoryCache):
        def lookup(self, prompt: str, llm_string: str) -> Any:
            asked.append(prompt)
            return super().lookup(prompt, llm_string)

    model = answers("a", "b", cache=Counting())
    for _ in range(3):
        colour.invoke(model, "q")
    assert len(asked) == 3


# ---------------------------------------------------------------- what makes a question


class Tempered(BaseChatModel):
    """A model of one's own that says nothing of what sets it apart."""

    temperature: float = 0.0
    api_key: str = "k"
    max_tokens: int = 10
    calls: int = 0

    @property
    def _llm_type(self) -> str:
        return "tempered"

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        self.calls += 1
        return ChatResult(generations=[ChatGeneration(message=AIMessage("x"))])


def test_a_model_that_counts_its_calls_is_the_same_model_after_one(
    colour: Any, cache: InMemoryCache
) -> None:
    model = Tempered(cache=cache)
    for _ in range(3):
        colour.invoke(model, "q")
    assert model.calls == 1


def entries(cache: InMemoryCache) -> int:
    return len(cache._cache)


def test_a_models_fields_and_a_calls_parameters_are_part_of_the_question(
    colour: Any, cache: InMemoryCache
) -> None:
    different = [
        lambda: colour.invoke(Tempered(cache=cache), "q"),
        lambda: colour.invoke(Tempered(cache=cache, temperature=1), "q"),
        lambda: colour.invoke(Tempered(cache=cache, max_tokens=11), "q"),
        lambda: colour.invoke(Tempered(cache=cache), "q", stop=["x"]),
        lambda: colour.invoke(Tempered(cache=cache), "q", seed=1),
        lambda: colour.invoke(Tempered(cache=cache), "q", tools=[{"name": "t"}]),
        lambda: colour.invoke(Tempered(cache=cache), [("system", "q")]),
        lambda: colour.invoke(Tempered(cache=cache), [HumanMessage("q", name="n")]),
    ]
    for number, call in enumerate(different, 1):
        call()
        assert entries(cache) == number
    same = [
        lambda: colour.invoke(Tempered(cache=cache, api_key="other"), "q"),
        lambda: colour.invoke(
            Tempered(cache=cache, tags=["t"], name="n"), [HumanMessage("q", id="1")]
        ),
        lambda: colour.invoke(Tempered(cache=cache), [HumanMessage("q", id="2")], {"tags": ["t"]}),
    ]
    for call in same:
        call()
        assert entries(cache) == len(different)
    assert "other" not in str(cache._cache)


def test_arguments_without_a_lasting_description_are_not_cached(
    colour: Any, cache: InMemoryCache, caplog: pytest.LogCaptureFixture
) -> None:
    model = answers("a", "b", cache=cache)
    assert [colour.invoke(model, "q", client=object()).content for _ in range(2)] == ["a", "b"]
    assert entries(cache) == 0
    assert "cannot be cached" in caplog.text


class Provider:
    def __init__(self, name: str, mock: Any, *texts: str) -> None:
        self.name = name
        self.cls: Any = ChatOpenAI if name == "openai" else ChatAnthropic
        self.answer: Any = openai_answer if name == "openai" else anthropic_answer
        self.stream: Any = openai_stream if name == "openai" else anthropic_stream
        self.texts = list(texts) or [
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
        ]
        self.bodies: list[dict[str, Any]] = []
        mock.route(method="POST").mock(side_effect=self._reply)

    def _reply(self, request: Any) -> Any:
        body = json.loads(request.content)
        self.bodies.append(body)
        text = self.texts[len(self.bodies) - 1]
        if body.get("stream"):
            return httpx.Response(200, content=self.stream(*text))
        return httpx.Response(200, json=self.answer(text))

    def model(self, **settings: Any) -> Any:
        return self.cls(**{"model": "m", "api_key": "sk-canary", "max_retries": 0, **settings})


@pytest.fixture(params=["openai", "anthropic"])
def provider(request: pytest.FixtureRequest, httpx2_mock: Any) -> Provider:
    return Provider(request.param, httpx2_mock)


def test_a_wire_is_asked_once_however_the_question_is_put(
    colour: Any, provider: Provider, cache: InMemoryCache
) -> None:
    model = provider.model(cache=cache)
    said = [
        colour.invoke(model, "q").content,
        colour.invoke(model, [HumanMessage("q", id="1")]).content,
        colour.invoke(
            provider.model(cache=cache, api_key="sk-other", timeout=3, max_retries=2), "q"
        ).content,
        colour.invoke(ChatPromptTemplate.from_template("{x}") | model, {"x": "q"}).content,
        "".join(str(chunk.content) for chunk in colour.stream(model, "q")),
    ]
    assert said == ["one"] * 5
    assert len(provider.bodies) == 1
    kept = str(cache._cache.keys())
    assert "canary" not in kept
    assert "other" not in kept


def test_every_parameter_makes_another_question_of_it(
    colour: Any, provider: Provider, cache: InMemoryCache
) -> None:
    def ask(settings: dict[str, Any], **kwargs: Any) -> None:
        colour.invoke(provider.model(cache=cache, **settings), "q", **kwargs)

    variations: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({}, {}),
        ({"temperature": 0}, {}),
        ({"temperature": 1}, {}),
        ({"model": "n"}, {}),
        ({"base_url": "https://example.test/v1"}, {}),
        ({"default_headers": {"Anthropic-Beta": "x"}}, {}),
        ({}, {"max_tokens": 5}),
        ({}, {"stop": ["x"]}),
        ({}, {"extra_body": {"a": 1}}),
    ]
    for _ in range(2):
        for settings, kwargs in variations:
            ask(settings, **kwargs)
    assert len(provider.bodies) == len(variations)


def test_the_password_in_an_address_is_no_part_of_the_question(
    colour: Any, provider: Provider, cache: InMemoryCache
) -> None:
    for password in ("hunter2", "swordfish"):
        colour.invoke(
            provider.model(cache=cache, base_url=f"https://u:{password}@example.test/v1"), "q"
        )
    assert len(provider.bodies) == 1
    assert "hunter2" not in str(cache._cache.keys())


# ---------------------------------------------------------------- streams


def test_a_stream_fills_the_cache_for_streams_and_answers(
    colour: Any, provider: Provider, cache: BaseCache
) -> None:
    model = provider.model(cache=cache)
    assert [chunk.content for chunk in colour.stream(model, "q") if chunk.content] == [
        "o",
        "n",
        "e",
    ]
    again = colour.stream(model, "q")
    assert [chunk.content for chunk in again] == ["one"]
    assert again[0].chunk_position == "last"
    answer = colour.invoke(model, "q")
    assert (
        type(answer),
        answer.content,
        answer.response_metadata["finish_reason" if provider.name == "openai" else "stop_reason"],
    ) == (AIMessage, "one", "stop" if provider.name == "openai" else "end_turn")
    assert len(provider.bodies) == 1


def test_a_stream_left_early_is_not_kept(colour: Any, cache: InMemoryCache) -> None:
    model = answers("abc", "def", cache=cache)

    def sync() -> str:
        stream = model.stream("q")
        first = str(next(stream).content)
        stream.close()  # type: ignore[attr-defined]
        return first

    async def leave() -> str:
        stream = model.astream("q")
        first = str((await anext(stream)).content)
        await stream.aclose()  # type: ignore[attr-defined]
        return first

    assert colour.run(sync, leave) == "a"
    assert entries(cache) == 0


def test_a_stream_that_was_cut_is_not_kept(
    colour: Any, cache: InMemoryCache, httpx2_mock: Any
) -> None:
    httpx2_mock.post(URLS["openai"]).respond(content=openai_stream("a", finish=None, done=False))
    with pytest.raises(IncompleteStream):
        colour.stream(ChatOpenAI(model="m", api_key="k", max_retries=0, cache=cache), "q")
    assert entries(cache) == 0


def test_tool_calls_come_back_from_a_streams_entry(colour: Any, cache: InMemoryCache) -> None:
    message = AIMessage(
        "see", tool_calls=[{"name": "t", "args": {"a": [1]}, "id": "1"}], usage_metadata=USAGE
    )
    model = GenericFakeChatModel(messages=iter([message]), cache=cache)
    for chunks in (colour.stream(model, "q"), colour.stream(model, "q")):
        whole = chunks[0]
        for chunk in chunks[1:]:
            whole = whole + chunk
        assert (whole.content, whole.tool_calls) == ("see", message.tool_calls)
    assert colour.invoke(model, "q").tool_calls == message.tool_calls


# ---------------------------------------------------------------- identical calls at the same time


class Gate(BaseChatModel):
    """Answers when the gate is opened; counts who came."""

    gate: Any
    came: Any
    fail: Any = None
    native: bool = True

    @property
    def _llm_type(self) -> str:
        return "gate"

    def _loop_native(self) -> bool:
        return self.native

    def _answered(self) -> ChatResult:
        if self.fail and (error := self.fail.pop(0)):
            raise error
        return ChatResult(
            generations=[ChatGeneration(message=AIMessage(f"answer {len(self.came)}"))]
        )

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        self.came.append(threading.get_ident())
        assert self.gate.wait(20)
        return self._answered()

    async def _agenerate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        self.came.append(None)
        while not self.gate.is_set():  # noqa: ASYNC110 - threads open it
            await asyncio.sleep(0.001)
        return self._answered()


def gate(cache: Any, *, is_open: bool = False, **settings: Any) -> Gate:
    event = threading.Event()
    if is_open:
        event.set()
    return Gate(gate=event, came=[], cache=cache, **settings)


def in_threads(number: int, act: Any) -> tuple[list[threading.Thread], list[Any]]:
    results: list[Any] = []

    def work() -> None:
        try:
            results.append(act())
        except Exception as exc:  # noqa: BLE001 - it is looked at later
            results.append(exc)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(number)]
    [thread.start() for thread in threads]
    return threads, results


def finish(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def until(condition: Any) -> None:
    for _ in range(10_000):
        if condition():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it never came to that")


def waiting(ended: Any) -> int:
    """Return how many calls wait for a future: threads, and tasks."""
    return len(ended._waiters) + len(ended._done_callbacks)


def followers(number: int) -> Any:
    from modelwire.adapters.model import coalescing as single_flight

    return lambda: (
        sum(waiting(flight._ended) for flight in list(single_flight._pending.values())) == number
    )


def test_threads_that_ask_the_same_share_one_call(cache: InMemoryCache) -> None:
    model = gate(cache)
    threads, results = in_threads(8, lambda: model.invoke("q").content)
    until(followers(7))
    model.gate.set()
    finish(threads)
    assert results == ["answer 1"] * 8
    assert len(model.came) == 1


def test_tasks_that_ask_the_same_share_one_call(cache: InMemoryCache) -> None:
    async def ask() -> list[str]:
        model = gate(cache)
        calls = [asyncio.create_task(model.ainvoke("q")) for _ in range(8)]
        await asyncio.sleep(0.02)
        model.gate.set()
        return [str(answer.content) for answer in await asyncio.gather(*calls)]

    assert asyncio.run(ask()) == ["answer 1"] * 8


def test_a_task_waits_for_a_threads_call(cache: InMemoryCache) -> None:
    model = gate(cache)
    threads, results = in_threads(1, lambda: model.invoke("q").content)
    until(lambda: len(model.came) == 1)
    more, later = in_threads(1, lambda: asyncio.run(model.ainvoke("q")).content)
    until(followers(1))
    model.gate.set()
    finish(threads + more)
    assert results + later == ["answer 1"] * 2


def test_different_questions_and_different_caches_do_not_wait_for_each_other() -> None:
    one, other = InMemoryCache(), InMemoryCache()
    slow = gate(one)
    threads, _ = in_threads(1, lambda: slow.invoke("q"))
    until(lambda: len(slow.came) == 1)
    assert gate(other, is_open=True).invoke("q").content == "answer 1"
    assert gate(one, is_open=True).invoke("other").content == "answer 1"
    slow.gate.set()
    finish(threads)


def test_a_batch_asks_each_question_once(
    colour: Any, provider: Provider, cache: InMemoryCache
) -> None:
    said = colour.batch(provider.model(cache=cache), ["q", "r"] * 10)
    assert len(provider.bodies) == 2
    assert (
        len({answer.content for answer in said[::2]})
        == len({answer.content for answer in said[1::2]})
        == 1
    )


def test_when_the_first_fails_the_others_ask_again(cache: InMemoryCache) -> None:
    model = gate(cache, fail=[ServerError("down")])
    threads, results = in_threads(5, lambda: model.invoke("q").content)
    until(followers(4))
    model.gate.set()
    finish(threads)
    assert sorted(str(result) for result in results) == ["answer 2"] * 4 + ["down"]
    assert len(model.came) == 2


def test_when_everybody_fails_everybody_hears_of_their_own_error_soon(cache: InMemoryCache) -> None:
    model = gate(cache, fail=[AuthenticationError(f"no {i}") for i in range(20)])
    threads, results = in_threads(12, lambda: model.invoke("q"))
    until(followers(11))
    model.gate.set()
    finish(threads)
    assert len({str(result) for result in results}) == 12
    assert all(isinstance(result, AuthenticationError) for result in results)


def test_a_cancelled_first_call_leaves_the_others_their_answer(cache: InMemoryCache) -> None:
    async def ask() -> tuple[list[Any], int]:
        model = gate(cache)
        calls = [asyncio.create_task(model.ainvoke("q")) for _ in range(4)]
        await asyncio.sleep(0.02)
        calls[0].cancel()
        await asyncio.sleep(0.02)
        model.gate.set()
        return await asyncio.gather(*calls, return_exceptions=True), len(model.came)

    results, came = asyncio.run(ask())
    assert isinstance(results[0], asyncio.CancelledError)
    assert [result.content for result in results[1:]] == ["answer 2"] * 3
    assert came == 2


def test_a_cancelled_follower_leaves_the_first_call_alone(cache: InMemoryCache) -> None:
    async def ask() -> list[Any]:
        model = gate(cache)
        calls = [asyncio.create_task(model.ainvoke("q")) for _ in range(3)]
        await asyncio.sleep(0.02)
        calls[1].cancel()
        model.gate.set()
        return await asyncio.gather(*calls, return_exceptions=True)

    first, second, third = asyncio.run(ask())
    assert isinstance(second, asyncio.CancelledError)
    assert first.content == third.content == "answer 1"


def test_a_follower_waits_no_longer_than_its_timeout(colour: Any, cache: InMemoryCache) -> None:
    model = gate(cache)
    threads, _ = in_threads(1, lambda: model.invoke("q"))
    until(lambda: len(model.came) == 1)
    with pytest.raises(Timeout):
        colour.invoke(model, "q", {"timeout": 0.05})
    model.gate.set()
    finish(threads)


def test_a_sync_call_inside_its_own_loop_does_not_wait_for_that_loop(cache: InMemoryCache) -> None:
    async def ask() -> list[str]:
        model = gate(cache)
        task = asyncio.create_task(model.ainvoke("q"))
        await asyncio.sleep(0.01)
        model.gate.set()
        inner = model.invoke("q")  # the mistake this is about
        return [str(inner.content), str((await task).content)]

    assert asyncio.run(ask()) == ["answer 2", "answer 2"]


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("way", ["batch", "batch in threads", "stream in a thread", "another loop"])
def test_what_a_loop_stands_still_for_does_not_wait_for_a_call_on_that_loop(
    cache: InMemoryCache,
    native: bool,
    way: str,
) -> None:
    model = gate(cache, native=native)

    def ask_there() -> Any:
        return asyncio.run(model.ainvoke("q"))

    def act() -> Any:
        if way == "batch":
            return model.batch(["q", "r"])
        if way == "batch in threads":
            return (RunnableLambda(str) | model).batch(["q", "r"])
        ways: dict[str, Any] = {
            "stream in a thread": lambda: list(model.stream("q")),
            "another loop": ask_there,
        }
        threads, results = in_threads(1, ways[way])
        finish(threads)
        return results

    async def ask() -> tuple[Any, Any]:
        task = asyncio.create_task(model.ainvoke("q"))
        await asyncio.sleep(0)
        assert model.came == [None]  # it leads, and from here on its loop stands still
        model.gate.set()
        return act(), await task

    threads, results = in_threads(1, lambda: asyncio.run(ask()))
    finish(threads)
    found, answered = results[0]
    assert found
    assert str(answered.content).startswith("answer")


def test_a_stream_waits_for_the_same_call_in_flight(colour: Any, cache: InMemoryCache) -> None:
    model = gate(cache)
    threads, _ = in_threads(1, lambda: model.invoke("q"))
    until(lambda: len(model.came) == 1)
    opener = threading.Timer(0.05, model.gate.set)
    opener.start()
    assert [chunk.content for chunk in colour.stream(model, "q")] == ["answer 1"]
    finish([*threads, opener])


def test_nobody_waits_for_a_stream_of_the_same_thread(cache: InMemoryCache) -> None:
    model = answers("abc", "def", cache=cache)
    stream = model.stream("q")
    assert next(stream).content == "a"
    assert model.invoke("q").content == "def"
    stream.close()  # type: ignore[attr-defined]


def streamed(model: BaseChatModel) -> str:
    return "".join(str(chunk.content) for chunk in model.stream("q"))


async def astreamed(model: BaseChatModel) -> str:
    return "".join([str(chunk.content) async for chunk in model.astream("q")])


def test_threads_that_stream_the_same_share_one_call(cache: InMemoryCache) -> None:
    model = gate(cache)
    threads, results = in_threads(6, lambda: streamed(model))
    more, answered = in_threads(2, lambda: model.invoke("q").content)
    until(followers(7))
    model.gate.set()
    finish(threads + more)
    assert results + answered == ["answer 1"] * 8
    assert len(model.came) == 1


def test_tasks_that_stream_the_same_share_one_call(cache: InMemoryCache) -> None:
    async def ask() -> list[str]:
        model = gate(cache)
        calls = [asyncio.create_task(astreamed(model)) for _ in range(8)]
        await asyncio.sleep(0.02)
        model.gate.set()
        found = await asyncio.gather(*calls)
        assert len(model.came) == 1
        return found

    assert asyncio.run(ask()) == ["answer 1"] * 8


def test_when_the_first_stream_fails_the_next_one_goes_on(cache: InMemoryCache) -> None:
    model = gate(cache, fail=[ServerError("down")])
    threads, results = in_threads(5, lambda: streamed(model))
    until(followers(4))
    model.gate.set()
    finish(threads)
    assert sorted(str(result) for result in results) == ["answer 2"] * 4 + ["down"]
    assert len(model.came) == 2


def test_when_the_first_stream_is_left_the_next_one_goes_on(cache: InMemoryCache) -> None:
    async def ask() -> list[str]:
        model = answers("abc", "def", "ghi", cache=cache)
        first: Any = model.astream("q")
        assert (await anext(first)).content == "a"
        others = [asyncio.create_task(astreamed(model)) for _ in range(3)]
        await asyncio.sleep(0.02)
        await first.aclose()
        return await asyncio.gather(*others)

    assert asyncio.run(ask()) == ["def"] * 3


def test_nobody_waits_long_for_a_reader_that_has_stopped(
    colour: Any, cache: InMemoryCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelwire.adapters.model.coalescing._READER_S", 0.1)
    model = answers("abc", "def", "ghi", cache=cache)

    def ask() -> list[str]:
        first = model.stream("q")
        assert next(first).content == "a"
        threads, results = in_threads(3, lambda: streamed(model))
        finish(threads)
        assert "".join(str(chunk.content) for chunk in first) == "bc"
        return results

    async def aask() -> list[str]:
        first = model.astream("q")
        assert (await anext(first)).content == "a"
        found = await asyncio.gather(*(astreamed(model) for _ in range(3)))
        assert "".join([str(chunk.content) async for chunk in first]) == "bc"
        return found

    assert colour.run(ask, aask) == ["def"] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_its_parents_calls(cache: InMemoryCache) -> None:
    model = gate(cache)
    threads, _ = in_threads(1, lambda: model.invoke("q"))
    until(lambda: len(model.came) == 1)
    child = os.fork()
    if child == 0:
        model.gate = threading.Event()
        model.gate.set()
        os._exit(0 if model.invoke("q").content == "answer 2" else 1)
    try:
        assert os.waitpid(child, 0)[1] == 0
    finally:
        model.gate.set()
        finish(threads)


# ---------------------------------------------------------------- rate limiters


class Counter(BaseRateLimiter):
    def __init__(self, *, full: bool = False) -> None:
        self.taken = 0
        self.full = full

    def acquire(self, *, blocking: bool = True) -> bool:
        self.taken += not self.full
        return not self.full

    async def aacquire(self, *, blocking: bool = True) -> bool:
        while self.full and blocking:  # noqa: ASYNC110 - it stays full
            await asyncio.sleep(0.001)
        return self.acquire()


def test_each_call_and_each_stream_acquires_once(colour: Any) -> None:
    limiter = Counter()
    model = answers("a", rate_limiter=limiter)
    colour.invoke(model, "q")
    colour.stream(model, "q")
    colour.batch(model, ["q", "r", "s"])
    assert limiter.taken == 5


def test_a_hit_does_not_acquire(colour: Any, cache: InMemoryCache) -> None:
    limiter = Counter()
    model = answers("a", rate_limiter=limiter, cache=cache)
    for _ in range(3):
        colour.invoke(model, "q")
        colour.stream(model, "q")
    assert limiter.taken == 1


def test_a_wire_acquires_before_its_request(colour: Any, provider: Provider) -> None:
    limiter = Counter()
    model = provider.model(rate_limiter=limiter)
    colour.invoke(model, "q")
    colour.stream(model, "q")
    assert (limiter.taken, len(provider.bodies)) == (2, 2)


def test_waiting_for_the_rate_limiter_counts_against_the_timeout(colour: Any) -> None:
    model = answers("a", rate_limiter=Counter(full=True))
    with pytest.raises(Timeout):
        colour.invoke(model, "q", {"timeout": 0.05})


# ---------------------------------------------------------------- the version of the content


def test_output_version_v1_gives_blocks(colour: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = colour.invoke(ParrotFakeChatModel(output_version="v1"), [("ai", "hi")])
    assert answer.content == [{"type": "text", "text": "hi"}]
    assert answer.response_metadata["output_version"] == "v1"
    monkeypatch.setenv("LC_OUTPUT_VERSION", "v1")
    assert colour.invoke(answers("a"), "q").content == [{"type": "text", "text": "a"}]
    assert colour.invoke(answers("a", output_version="v0"), "q").content == "a"


class Scripted(BaseChatModel):
    chunks: list[Any]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        raise NotImplementedError

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[Any]:
        for chunk in self.chunks:
            yield ChatGenerationChunk(message=chunk)


def total(chunks: list[Any]) -> Any:
    return chunks[0] + chunks[1:]


def test_v1_chunks_add_up_to_blocks_that_stay_apart(colour: Any) -> None:
    call = {"name": "t", "args": '{"a"', "id": "1", "index": 0, "type": "tool_call_chunk"}
    rest = {"name": None, "args": ": 1}", "id": None, "index": 0, "type": "tool_call_chunk"}
    chunks = [
        AIMessageChunk(content="foo "),
        AIMessageChunk(content="bar"),
        AIMessageChunk(content="", tool_call_chunks=[call]),
        AIMessageChunk(content="", tool_call_chunks=[rest]),
    ]
    whole = total(colour.stream(Scripted(chunks=chunks, output_version="v1"), "q"))
    assert whole.content[0] == {"type": "text", "text": "foo bar", "index": 0}
    assert len(whole.content) == 2
    assert whole.tool_calls == [{"name": "t", "args": {"a": 1}, "id": "1", "type": "tool_call"}]
    assert whole.response_metadata["output_version"] == "v1"


def test_the_cache_serves_both_versions(colour: Any, cache: InMemoryCache) -> None:
    settings = {"responses": ["a", "b"], "cache": cache}
    assert colour.invoke(FakeListChatModel(**settings, output_version="v1"), "q").content == [
        {"type": "text", "text": "a"}
    ]
    assert colour.invoke(FakeListChatModel(**settings), "q").content == "a"
    assert (
        colour.stream(FakeListChatModel(**settings, output_version="v1"), "q")[0].content[0]["text"]
        == "a"
    )
