"""The caches of a pool's models are one: what one deployment has answered is not asked of another, nor waited for."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from support.raw_server import answer as answer_of
from support.word_wire import sse

from modelwire import pool
from modelwire.adapters import ChatOpenAI
from modelwire.adapters.model import coalescing
from modelwire.adapters.model.cache import CacheEntry
from modelwire.caches import BaseCache, InMemoryCache
from modelwire.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from modelwire.errors import (
    AllDeploymentsFailed,
    ConnectFailed,
    IncompleteStream,
    StreamInterrupted,
    Timeout,
)
from modelwire.globals import set_llm_cache
from modelwire.pools import PoolChatModel
from modelwire.pools.call import PoolCall
from modelwire.pools.deployment import Deployment
from modelwire.pools.scheduler import Scheduler

COUNT = 40


class Provider(ThreadingHTTPServer):
    """Answers each prompt with its name, after `delay_s`; with 503 while it is down."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.name = name
        self.delay_s = 0.0
        self.status = 200
        self.refuses = False
        self.seen = 0
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def model(self, **options: Any) -> ChatOpenAI:
        url = f"http://127.0.0.1:{self.server_port}/v1"
        return ChatOpenAI(model="m", base_url=url, **{"api_key": "k", **options})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Provider

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.seen += 1
        time.sleep(self.server.delay_s)
        message = {"role": "assistant", "content": self.server.name}
        if self.server.refuses:
            message["refusal"] = "no"
        choice: Any = {"index": 0, "finish_reason": "stop", "message": message, "delta": message}
        text = json.dumps({"choices": [choice]})
        if body.get("stream"):
            text = f"data: {text}\n\ndata: [DONE]\n\n"
        self.send_response(self.server.status)
        kind = "text/event-stream" if body.get("stream") else "application/json"
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


Providers = Callable[[], dict[str, Provider]]


@pytest.fixture
def providers() -> Iterator[dict[str, Provider]]:
    """Three providers, `a` to `c`."""
    made = {name: Provider(name) for name in "abc"}
    yield made
    for one in made.values():
        one.shutdown()
        one.server_close()


@pytest.fixture
def everywhere() -> Iterator[BaseCache]:
    """A cache for all models."""
    cache = InMemoryCache()
    set_llm_cache(cache)
    yield cache
    set_llm_cache(None)


def pool_of(providers: dict[str, Provider], **options: Any) -> PoolChatModel:
    return pool({name: one.model() for name, one in providers.items()}, **options)


def seen_by(providers: dict[str, Provider]) -> int:
    return sum(one.seen for one in providers.values())


def answer(colour: Any, model: Any, question: str, *, way: str) -> str:
    if way == "invoke":
        text: str = colour.invoke(model, question).text
        return text
    return "".join(chunk.text for chunk in colour.stream(model, question))


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_an_answer_of_any_deployment_is_taken_from_the_cache(
    providers: dict[str, Provider], colour: Any, way: str
) -> None:
    model = pool_of(providers)
    questions = [f"question {number}" for number in range(COUNT)]
    first = model.batch(questions, {"max_concurrency": 20})
    assert all(one.seen for one in providers.values())
    assert seen_by(providers) == COUNT
    again = [answer(colour, model, question, way=way) for question in questions]
    assert again == [message.text for message in first]
    assert seen_by(providers) == COUNT


def test_a_cached_answer_waits_for_no_outage_and_is_no_probe() -> None:
    deployments = [
        Deployment(name, ChatOpenAI(model="m", api_key="k", rate_limit=None)) for name in "ab"
    ]
    scheduler = Scheduler(deployments)
    for one in deployments:
        for _ in range(3):
            one.health.failed(0.0, 0.0, ConnectFailed("no"))
        scheduler.suspect(one, is_suspect=True)
    waiting = PoolCall(scheduler, 0.0)
    assert waiting.poll(0.0) is None
    call = PoolCall(scheduler, 0.0, entries={1: CacheEntry(InMemoryCache(), ("hi", "m"))})
    call.home = 1
    assert call.poll(0.0) is deployments[1]
    # Both deployments may still be probed: by the call that waits and by a new one.
    probe = PoolCall(scheduler, 5.0).poll(5.0)
    assert {probe, waiting.poll(5.0)} == set(deployments)
    call.answered(5.0)
    assert [one.in_flight for one in deployments] == [1, 1]
    assert all(one.health.is_out for one in deployments)


@pytest.mark.usefixtures("everywhere")
def test_a_cached_answer_needs_no_key(providers: dict[str, Provider], colour: Any) -> None:
    model = pool_of(providers)
    known = colour.invoke(model, "known").text
    for one in providers.values():
        one.status = 401
    with pytest.raises(AllDeploymentsFailed):
        colour.invoke(model, "new")
    assert colour.invoke(model, "known").text == known


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_equal_calls_at_the_same_time_are_one_request(
    providers: dict[str, Provider], way: str
) -> None:
    for one in providers.values():
        one.delay_s = 0.3
    model = pool_of(providers)

    async def ask(question: str) -> str:
        if way == "invoke":
            return (await model.ainvoke(question)).text
        return "".join([chunk.text async for chunk in model.astream(question)])

    async def ask_all() -> list[str]:
        return await asyncio.gather(*(ask(question) for question in "xyzx" * 5))

    answers = asyncio.run(ask_all())
    assert len(answers) == 20
    assert seen_by(providers) == 3
    with ThreadPoolExecutor(8) as threads:
        texts = {message.text for message in threads.map(model.invoke, ["other"] * 8)}
    assert len(texts) == 1
    assert seen_by(providers) == 4


@pytest.mark.usefixtures("everywhere")
def test_equal_calls_that_wait_in_the_queue_are_one_request(providers: dict[str, Provider]) -> None:
    model = pool({name: one.model(rpm=300) for name, one in providers.items()})

    async def ask_all() -> list[Any]:
        questions = [f"question {number}" for number in range(20)] + ["same"] * 12
        return await asyncio.gather(*(model.ainvoke(question) for question in questions))

    answers = [message.text for message in asyncio.run(ask_all())]
    assert seen_by(providers) == 21
    assert len(set(answers[20:])) == 1


@pytest.mark.usefixtures("everywhere")
def test_a_failed_call_leads_no_other(providers: dict[str, Provider], colour: Any) -> None:
    providers["a"].status = 500
    model = pool_of(providers, prefer="first")
    for question in "xyz":
        assert colour.invoke(model, question).text == "b"
    assert not coalescing._pending
    assert [one.in_flight for one in model._scheduler.deployments] == [0, 0, 0]


def test_a_cache_of_one_deployment_is_that_of_the_pool_too(
    providers: dict[str, Provider], colour: Any
) -> None:
    plain = providers["a"].model()
    cached = providers["b"].model(cache=InMemoryCache())
    model = pool({"a": plain, "b": cached}, prefer="first")
    providers["a"].status = 503
    assert colour.invoke(model, "hi").text == "b"
    providers["a"].status = 200
    assert colour.invoke(model, "hi").text == "b"
    assert colour.invoke(model, "new").text == "a"
    assert colour.invoke(model, "new").text == "a"
    assert [providers[name].seen for name in "ab"] == [3, 1]


@pytest.mark.usefixtures("everywhere")
def test_no_cache_is_searched_where_a_model_has_none(
    providers: dict[str, Provider], colour: Any
) -> None:
    model = pool({name: one.model(cache=False) for name, one in providers.items()})
    for _ in range(3):
        colour.invoke(model, "hi")
    assert seen_by(providers) == 3


@pytest.mark.usefixtures("everywhere")
def test_tools_and_parameters_are_a_part_of_the_key(
    providers: dict[str, Provider], colour: Any
) -> None:
    def look(place: str) -> str:
        """Look there."""
        return place

    model = pool_of(providers)
    with_tool = model.bind_tools([look])
    for one in (model, with_tool, model.bind(temperature=0.5), with_tool.bind(stop=["x"])) * 3:
        colour.invoke(one, "hi")
    assert seen_by(providers) == 4


@pytest.mark.usefixtures("everywhere")
def test_a_handler_hears_of_a_cached_answer_and_its_deployment(
    providers: dict[str, Provider], colour: Any
) -> None:
    heard = []

    class Handler(BaseCallbackHandler):
        def on_chat_model_start(self, *args: Any, metadata: Any = None, **kwargs: Any) -> None:
            heard.append(metadata["deployment"])

    model = pool_of(providers)
    said = colour.invoke(model, "hi").response_metadata["deployment"]
    again = colour.invoke(model, "hi", {"callbacks": [Handler()]})
    assert [again.response_metadata["deployment"]] == heard == [said]
    assert again.usage_metadata is None or again.usage_metadata["total_cost"] == 0


@pytest.mark.usefixtures("everywhere")
def test_cached_answers_are_no_part_of_weights_and_hedges(providers: dict[str, Provider]) -> None:
    a, b = providers["a"].model(), providers["b"].model()
    model = pool([(a, 3), (b, 1)])
    model.invoke("hi")
    for number in range(60):
        model.invoke("hi")
        if number % 5 == 0:
            model.invoke(f"question {number}")
    assert (providers["a"].seen, providers["b"].seen) == (10, 3)
    hedged = pool({"a": a, "b": b}, hedge="p95")

    async def read() -> None:
        for _ in range(30):
            assert [chunk.text async for chunk in hedged.astream("hi")]

    asyncio.run(read())
    assert hedged._scheduler.hedges.wait_s(stream=True) is None


@pytest.mark.usefixtures("everywhere")
def test_a_hedged_pool_takes_cached_answers(providers: dict[str, Provider], colour: Any) -> None:
    model = pool_of(providers, hedge=5.0)
    questions = [f"question {number}" for number in range(COUNT)]
    model.batch(questions, {"max_concurrency": 20})
    for question in questions:
        colour.invoke(model, question)
        assert list(colour.stream(model, question))
    assert seen_by(providers) == COUNT


@pytest.mark.usefixtures("everywhere")
def test_a_handler_that_fails_on_a_cached_answer_ends_the_call_in_time(
    providers: dict[str, Provider], colour: Any
) -> None:
    runs = []

    class Failing(BaseCallbackHandler):
        raise_error = True

        def on_llm_end(self, *args: Any, **kwargs: Any) -> None:
            runs.append(1)
            raise ConnectFailed("a call of the handler's own")

    model = pool_of(providers, max_wait=0.5)
    colour.invoke(model, "hi")
    with pytest.raises((AllDeploymentsFailed, Timeout)):
        colour.invoke(model, "hi", {"callbacks": [Failing()], "timeout": 5})
    assert len(runs) < 30


@pytest.mark.usefixtures("everywhere")
def test_answers_that_are_not_stored_are_divided_as_without_a_cache(
    providers: dict[str, Provider], colour: Any
) -> None:
    a, b = providers["a"], providers["b"]
    a.refuses = b.refuses = True
    refused = {"on_refusal": "message"}
    model = pool([(a.model(**refused), 1), (b.model(**refused), 1)])
    for _ in range(20):
        colour.invoke(model, "hi")
    assert (a.seen, b.seen) == (10, 10)
    first = pool({"a": a.model(**refused), "b": b.model(**refused)}, prefer="first")
    a.status = 503
    assert colour.invoke(first, "again").response_metadata["deployment"] == "b"
    a.status = 200
    while colour.invoke(first, "other").response_metadata["deployment"] != "a":
        pass  # It is out for a moment.
    assert colour.invoke(first, "again").response_metadata["deployment"] == "a"


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("status", [500, 403, 429])
def test_many_equal_calls_follow_the_first_where_it_goes(
    providers: dict[str, Provider], status: int
) -> None:
    providers["a"].status = status
    for one in providers.values():
        one.delay_s = 0.05
    model = pool_of(providers, prefer="first")

    async def ask_all() -> set[str]:
        answers = await asyncio.gather(*(model.ainvoke("x") for _ in range(100)))
        return {answer.text for answer in answers}

    assert asyncio.run(ask_all()) == {"b"}
    assert [providers[name].seen for name in "abc"] == [1, 1, 0]


@pytest.mark.usefixtures("everywhere")
def test_an_equal_call_that_cannot_wait_goes_where_it_can_start(
    providers: dict[str, Provider],
) -> None:
    """A sync call does not wait for a call on an event loop, which may be blocked until it is done."""
    a, b = providers["a"], providers["b"]
    a.delay_s = 1.0
    model = pool({"a": a.model(rpm=1), "b": b.model()}, prefer="first")

    with ThreadPoolExecutor(1) as threads:
        leader = threads.submit(lambda: asyncio.run(model.ainvoke("x")))
        while not a.seen:
            time.sleep(0.01)
        assert model.invoke("x", {"timeout": 20}).text == "b"
        assert not leader.done()


@pytest.mark.usefixtures("everywhere")
def test_equal_calls_take_the_answer_of_a_hedge(providers: dict[str, Provider]) -> None:
    a, b = providers["a"], providers["b"]
    a.delay_s = 3.0
    model = pool({"a": a.model(), "b": b.model()}, prefer="first", hedge=0.1)
    model._scheduler.hedges.calls = 100  # The budget allows a few hedges.

    async def ask_all() -> list[str]:
        return [answer.text for answer in await asyncio.gather(*map(model.ainvoke, ["x"] * 12))]

    assert set(asyncio.run(ask_all())) == {"b"}
    assert (a.seen, b.seen) == (1, 1)


@pytest.mark.usefixtures("everywhere")
def test_a_reader_that_stands_still_holds_up_no_equal_call(providers: dict[str, Provider]) -> None:
    model = pool_of(providers)
    standing = model.stream("x")
    next(standing)
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(model.invoke, "x", {"timeout": 20}).result().text
    assert list(standing)
    assert not coalescing._pending


class Asking(BaseCallbackHandler):
    """Asks `model` the question of the call once, at an event of it."""

    raise_error = True

    def __init__(self, model: Any, event: str) -> None:
        self.model = model
        self.answers: list[str] = []
        setattr(self, event, self.ask)

    def ask(self, *args: Any, **kwargs: Any) -> None:
        if not self.answers:
            self.answers.append("")
            self.answers.append(self.model.invoke("x", {"timeout": 20}).text)


class AsyncAsking(AsyncCallbackHandler):
    """The same, awaited."""

    raise_error = True

    def __init__(self, model: Any, event: str) -> None:
        self.model = model
        self.answers: list[str] = []
        setattr(self, event, self.ask)

    async def ask(self, *args: Any, **kwargs: Any) -> None:
        if not self.answers:
            self.answers.append("")
            self.answers.append((await self.model.ainvoke("x", {"timeout": 20})).text)


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("hedge", [None, 5.0])
@pytest.mark.parametrize("way", ["invoke", "stream"])
@pytest.mark.parametrize("event", ["on_chat_model_start", "on_llm_end"])
def test_a_handler_may_ask_the_same_question(
    providers: dict[str, Provider], colour: Any, way: str, event: str, hedge: Any
) -> None:
    model = pool_of(providers, hedge=hedge)
    kind = AsyncAsking if colour.name == "async" else Asking
    handler = kind(model, event)
    began = time.monotonic()
    config = {"callbacks": [handler], "timeout": 15}
    if way == "invoke":
        assert colour.invoke(model, "x", config).text
    else:
        assert list(colour.stream(model, "x", config))
    assert handler.answers[1] in ("a", "b", "c")
    assert time.monotonic() - began < 15  # It has not waited for a timeout.
    assert not coalescing._pending


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("hedge", [None, 5.0])
def test_a_stream_that_breaks_holds_up_no_equal_call(
    raw_server: Any, colour: Any, hedge: Any
) -> None:
    chunk_text = json.dumps({"choices": [{"index": 0, "delta": {"content": "a"}}]})
    cut = [answer_of(sse(chunk_text)), None]
    whole = json.dumps({"choices": [{"finish_reason": "stop", "message": {"content": "ok"}}]})
    server = raw_server([cut, [answer_of(whole.encode())]])
    model = pool([ChatOpenAI(model="m", base_url=server.url, api_key="k")], hedge=hedge)
    with pytest.raises((StreamInterrupted, IncompleteStream)):
        list(colour.stream(model, "x"))
    assert not coalescing._pending
    assert colour.invoke(model, "x", {"timeout": 20}).text == "ok"


@pytest.mark.usefixtures("everywhere")
def test_a_hedged_stream_whose_end_is_cancelled_holds_up_no_equal_call(
    providers: dict[str, Provider], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = pool_of(providers, hedge=5.0)

    async def slowly(chunks: Any) -> None:
        await chunks.aclose()
        await asyncio.sleep(30)

    async def leave() -> None:
        stream = model.astream("x")
        await anext(stream)
        monkeypatch.setattr("modelwire.pools.hedged.aclose", slowly)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await stream.aclose()

    asyncio.run(leave())
    assert not coalescing._pending
    assert [one.in_flight for one in model._scheduler.deployments] == [0, 0, 0]


def test_a_timeout_ends_slow_lookups(providers: dict[str, Provider], colour: Any) -> None:
    looked = []

    class Slow(InMemoryCache):
        def lookup(self, prompt: str, llm_string: str) -> Any:
            looked.append(1)
            time.sleep(1.5)
            return super().lookup(prompt, llm_string)

        async def alookup(self, prompt: str, llm_string: str) -> Any:
            looked.append(1)
            await asyncio.sleep(1.5)
            return None

    cache = Slow()
    models = {name: one.model(cache=cache) for name, one in providers.items()}
    with pytest.raises(Timeout):
        colour.invoke(pool(models), "x", {"timeout": 1.0})
    assert len(looked) == 1
    assert not coalescing._pending


@pytest.mark.usefixtures("everywhere")
def test_a_hedge_between_two_keys_of_one_address_is_a_request(
    providers: dict[str, Provider],
) -> None:
    """Both have the same key in the cache, and the second does not wait for the first."""
    a = providers["a"]
    a.delay_s = 1.0
    model = pool({"one": a.model(api_key="1"), "two": a.model(api_key="2")}, hedge=0.1)
    model._scheduler.hedges.calls = 100
    asyncio.run(model.ainvoke("x"))
    assert a.seen == 2


@pytest.mark.usefixtures("everywhere")
def test_equal_calls_that_were_refused_wait_for_each_other_again(
    providers: dict[str, Provider],
) -> None:
    """Each deployment refuses the first requests, so that the calls wait in the queue."""
    for one in providers.values():
        one.status, one.delay_s = 429, 0.1
    model = pool_of(providers)

    def wait_until_all_refuse() -> None:
        while any(one.seen < 1 for one in providers.values()):
            time.sleep(0.01)

    async def ask_all() -> list[str]:
        calls = [asyncio.ensure_future(model.ainvoke("x")) for _ in range(30)]
        await asyncio.to_thread(wait_until_all_refuse)
        for one in providers.values():
            one.status = 200
        return [(await call).text for call in calls]

    assert len(set(asyncio.run(ask_all()))) == 1
    assert not coalescing._pending
