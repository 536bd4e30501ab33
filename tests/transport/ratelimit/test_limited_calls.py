"""The limiter under real models: who shares one, what users may say and see, and a limit held over a socket."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from random import Random
from typing import Any

import httpx2
import pytest
from support.asking import ask
from support.mocked import answered_by
from support.provider_bodies import anthropic_answer
from support.tries import fewest

from modelwire.adapters import ChatAnthropic, ChatOpenAI
from modelwire.adapters.model import http
from modelwire.adapters.model.call_parts import limiter_of_model
from modelwire.errors import InvalidArgument, QuotaExhausted, RateLimited, Timeout
from modelwire.testing import faults
from modelwire.testing.server import Limits, ProviderServer
from modelwire.transport import call
from modelwire.transport.observer import CallObserver
from modelwire.transport.ratelimit import admission, registry
from modelwire.transport.ratelimit import limiter as gate
from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter
from modelwire.transport.ratelimit.limits import Change
from modelwire.transport.wire import Reply

URL = "http://api.test/v1/chat/completions"
ANSWER = {
    "id": "x",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
LIMIT_HEADERS = {
    "x-ratelimit-limit-requests": "5000",
    "x-ratelimit-remaining-requests": "4999",
    "x-ratelimit-reset-requests": "12ms",
    "x-ratelimit-limit-tokens": "160000",
    "x-ratelimit-remaining-tokens": "159976",
    "x-ratelimit-reset-tokens": "9ms",
}


def model(**settings: Any) -> ChatOpenAI:
    return ChatOpenAI(
        **{"model": "m", "api_key": "sk-1", "base_url": "http://api.test/v1"} | settings
    )


def limiter(
    headers: dict[str, str] | None = None, url: str = URL, name: str = "m", now: float = 0.0
) -> AdaptiveRateLimiter:
    return registry.limiter_of(url, headers or {}, name, now=now, rng=Random(1))


# ---------------------------------------------------------------- who shares one


def test_the_same_address_credential_and_model_share_a_limiter() -> None:
    mine = limiter({"Authorization": "Bearer a", "User-Agent": "x"})
    assert limiter({"authorization": "Bearer a", "User-Agent": "y"}) is mine
    assert limiter({"Authorization": "Bearer a"}, url="http://api.test/v1/responses") is mine


@pytest.mark.parametrize(
    "other",
    [
        {"headers": {"Authorization": "Bearer b"}},
        {"headers": {"Authorization": "Bearer a", "OpenAI-Organization": "o"}},
        {"url": "http://api.test/v2/chat/completions"},
        {"url": "https://api.test/v1/chat/completions"},
        {"name": "m2"},
    ],
)
def test_another_key_organisation_address_or_model_has_its_own(other: dict[str, Any]) -> None:
    """P23, L16."""
    assert limiter(**{"headers": {"Authorization": "Bearer a"}} | other) is not limiter(
        {"Authorization": "Bearer a"}
    )


def test_what_is_idle_for_ten_minutes_is_forgotten() -> None:
    mine = limiter(now=0.0)
    busy = limiter(name="busy", now=0.0)
    ask(busy, 0.0)
    assert limiter(now=500.0) is mine
    assert limiter(now=700.0) is not mine
    assert limiter(name="busy", now=700.0) is busy


def test_a_limiter_shows_no_credential() -> None:
    mine = limiter({"Authorization": "Bearer canary"}, url="http://user:canary@api.test/v1")
    assert "canary" not in f"{mine.name} {vars(mine)} {registry._limiters}"
    assert "canary" not in mine.name


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_starts_anew() -> None:
    ask(limiter(), 0.0)
    registry._lock.acquire()
    child = os.fork()
    if child == 0:
        os._exit(0 if limiter().congestion.in_flight == 0 else 1)
    registry._lock.release()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert limiter().congestion.in_flight == 1


# ---------------------------------------------------------------- what users say and see


@pytest.mark.parametrize(
    "bad", [{"rpm": 0}, {"tpm": -1}, {"rpm": float("inf")}, {"rate_limit": "fast"}]
)
def test_a_limit_that_is_none_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(bad))):
        model(**bad)


def test_limits_shows_what_headers_said(colour: Any, httpx2_mock: Any) -> None:
    httpx2_mock.post(URL).respond(json=ANSWER, headers=LIMIT_HEADERS)
    talking = model()
    assert repr(talking.limits()) == "Limits(none known)"
    colour.invoke(talking, "hi")
    limits = model().limits()
    assert (limits.requests_per_minute, limits.tokens_per_minute) == (
        pytest.approx(5000),
        pytest.approx(160_000),
    )
    assert (limits.in_flight, limits.waiting) == (0, 0)


def test_what_the_user_knows_is_in_the_limits() -> None:
    assert (
        repr(model(rpm=60, tpm=1000).limits())
        == "Limits(requests_per_minute=60, tokens_per_minute=1000)"
    )


def test_rate_limit_none_switches_it_off(colour: Any, httpx2_mock: Any) -> None:
    httpx2_mock.post(URL).respond(json=ANSWER, headers=LIMIT_HEADERS)
    colour.batch(model(rate_limit=None), ["hi"] * 20)
    assert registry._limiters == {}


def test_a_limit_that_is_learned_is_told(colour: Any, httpx2_mock: Any) -> None:
    httpx2_mock.post(URL).respond(json=ANSWER, headers=LIMIT_HEADERS)
    told: list[Change] = []

    class Limits(CallObserver):
        def limit_changed(self, change: Change) -> None:
            told.append(change)

    colour.batch(model(), ["hi"] * 5, {"observers": (Limits(),)})
    assert [change.kind for change in told] == ["learned"]
    assert told[0].requests_per_s == pytest.approx(5000 / 60)
    assert told[0].key.startswith("api.test m #")
    assert "sk-1" not in told[0].key


# ---------------------------------------------------------------- pauses


@contextmanager
def paused(seconds: float) -> Iterator[ChatOpenAI]:
    """Give a model whose key was told to wait."""
    talking = model()
    mine = limiter_of_model(talking, talking.build_request("hi"))
    now = time.monotonic()
    admission = ask(mine, now)
    mine.failed(
        admission, now, RateLimited("slow down", retry_after=seconds, status=429, provider="openai")
    )
    mine.leave(admission, now)
    yield talking
    assert mine.is_idle()


def test_a_call_that_cannot_wait_for_the_end_of_a_pause_raises_at_once(
    colour: Any, httpx2_mock: Any
) -> None:
    with paused(40) as talking:
        with pytest.raises(RateLimited, match="s left") as caught:
            colour.invoke(talking, "hi", {"timeout": 20})
        assert caught.value.retry_after == pytest.approx(40, abs=5)
        with pytest.raises(RateLimited, match="max_wait"):
            colour.invoke(model(max_wait=10), "hi")
        with pytest.raises(RateLimited, match="s left"):
            colour.stream(talking, "hi", {"timeout": 20})
    assert httpx2_mock.calls.call_count == 0


def test_a_pause_is_waited_out_by_calls_that_can(colour: Any, httpx2_mock: Any) -> None:
    httpx2_mock.post(URL).respond(json=ANSWER)
    with paused(0.2) as talking:
        answers = colour.batch(talking, ["a", "b", "c"])
    assert [answer.content for answer in answers] == ["hi"] * 3


def test_the_deadline_holds_in_the_queue(colour: Any, httpx2_mock: Any) -> None:
    slow = model(rpm=1)
    mine = limiter_of_model(slow, slow.build_request("hi"))
    for _ in range(8):
        mine.leave(ask(mine, time.monotonic()), time.monotonic())
    with pytest.raises(Timeout):
        colour.invoke(slow, "hi", {"timeout": 0.2})
    assert mine.is_idle()
    assert httpx2_mock.calls.call_count == 0


def test_a_task_cancelled_in_the_queue_sends_nothing(httpx2_mock: Any) -> None:
    async def run() -> None:
        with paused(30) as talking:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await talking.ainvoke("hi")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    [chunk async for chunk in talking.astream("hi")]

    asyncio.run(run())
    assert httpx2_mock.calls.call_count == 0


def test_a_stream_that_is_left_gives_its_place_back(colour: Any, httpx2_mock: Any) -> None:
    body = b'data: {"id":"x","model":"m","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n' * 3
    httpx2_mock.post(URL).respond(content=body + b"data: [DONE]\n\n")
    talking = model()
    mine = limiter_of_model(talking, talking.build_request("hi"))

    def leave() -> None:
        stream = talking.stream("hi")
        next(stream)
        assert mine.congestion.in_flight == 1
        stream.close()

    async def aleave() -> None:
        stream = talking.astream("hi")
        await anext(stream)
        assert mine.congestion.in_flight == 1
        await stream.aclose()

    colour.run(leave, aleave)
    assert mine.is_idle()


def test_ctrl_c_just_after_the_grant_gives_the_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[AdaptiveRateLimiter] = []

    def admitted(self: AdaptiveRateLimiter, admission: Any) -> None:
        admit(self, admission)
        asked.append(self)
        raise KeyboardInterrupt

    admit = AdaptiveRateLimiter.admit
    monkeypatch.setattr(AdaptiveRateLimiter, "admit", admitted)
    with pytest.raises(KeyboardInterrupt):
        model().invoke("hi")
    assert asked[0].congestion.sent == 1
    assert asked[0].is_idle()


@pytest.mark.parametrize("status", [200, 429])
def test_wherever_ctrl_c_comes_in_the_limiter_no_place_is_lost(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt can come where a function begins and where one written in C has ended."""
    files = {gate.__file__, call.__file__, admission.__file__}
    talking = model(max_retries=0)

    class Answered:
        """A connection that answers without a network."""

        def send(self, step: Any) -> Reply:
            body = json.dumps(ANSWER if status == 200 else {"error": {"message": "no"}})
            return Reply(status, {"content-type": "application/json"}, body.encode())

        def wait(self, step: Any) -> None: ...

        def close(self) -> None: ...

        def failure(self, exc: Exception) -> Exception:
            return exc

    monkeypatch.setattr(http, "connection_of", lambda model, exchange: Answered())
    for stop in count(1):
        registry.forget()
        left = stop

        def interrupt(frame: Any, event: str, _: object) -> None:
            nonlocal left
            if event in ("call", "c_return") and frame.f_code.co_filename in files:
                left -= 1
                if left == 0:
                    raise KeyboardInterrupt

        mine = limiter_of_model(talking, talking.build_request("hi"))
        sys.setprofile(interrupt)
        try:
            talking.invoke("hi")
        except (KeyboardInterrupt, RateLimited):
            pass
        finally:
            sys.setprofile(None)
        assert mine.is_idle(), stop
        if left > 0:
            break
    assert stop > 20


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loaded machine may need longer than the others wait for the first request."""
    monkeypatch.setattr(gate, "_FIRST_ALONE_S", 300.0)
    monkeypatch.setattr(gate, "_FEW_ALONE_S", 30.0)


@pytest.mark.usefixtures("_patient")
@pytest.mark.parametrize("at_once", [1, 200])
def test_without_credit_the_rows_of_a_batch_are_one_request(colour: Any, at_once: int) -> None:
    """P12."""
    with ProviderServer([faults.NAMED["billing"]] * 400, latency=0.05) as server:
        talking = server.model()
        outcomes = colour.batch(
            talking, ["hi"] * 200, {"max_concurrency": at_once}, return_exceptions=True
        )
        assert {type(outcome) for outcome in outcomes} == {QuotaExhausted}
        assert server.counts.requests == 1
        with pytest.raises(QuotaExhausted):
            colour.invoke(talking, "hi")  # a call of its own asks again
        assert server.counts.requests == 2


@pytest.mark.usefixtures("_patient")
@pytest.mark.parametrize(("status", "code"), [(401, "invalid_api_key"), (404, "model_not_found")])
def test_rows_with_a_wrong_key_or_model_are_one_request(
    colour: Any, status: int, code: str
) -> None:
    with ProviderServer([faults.status(status, error_code=code)] * 100, latency=0.05) as server:
        outcomes = colour.batch(server.model(), ["hi"] * 30, return_exceptions=True)
        assert {getattr(outcome, "status", None) for outcome in outcomes} == {status}
        assert server.counts.requests == 1


@pytest.mark.usefixtures("_patient")
def test_without_credit_a_crowd_of_single_calls_is_one_request() -> None:
    """P12."""

    async def crowd() -> list[Any]:
        return await asyncio.gather(
            *(talking.ainvoke("hi") for _ in range(200)), return_exceptions=True
        )

    with ProviderServer([faults.NAMED["billing"]] * 400, latency=0.05) as server:
        talking = server.model()
        assert {type(outcome) for outcome in asyncio.run(crowd())} == {QuotaExhausted}
        assert server.counts.requests == 1


# ---------------------------------------------------------------- over a socket


@pytest.mark.long
@pytest.mark.parametrize(("kind", "headers"), [(ChatOpenAI, "none"), (ChatAnthropic, "own")])
def test_a_limit_is_held_over_a_socket(colour: Any, kind: type, headers: Any) -> None:
    """P1, scaled: 30 requests a second, few at once. Without the limiter more than 100 are refused, with it ten."""

    def refused() -> int:
        with ProviderServer(
            limits=Limits(rpm=1800, window_s=0.2, headers=headers), latency=0.02, keep=1
        ) as server:
            url = server.base_url_for("openai" if kind is ChatOpenAI else "anthropic")
            talking = kind(model="m", api_key="k", base_url=url)
            rows = [f"row {n}" for n in range(60)]
            answers = colour.batch(talking, rows, {"max_concurrency": len(rows)})
            assert [answer.text for answer in answers] == rows
            assert server.counts.answered == len(rows)
            return server.counts.throttled

    assert fewest(refused, 40) <= 40


# ---------------------------------------------------------------- tokens nobody asked for

CLAUDE_LEFT = {
    "anthropic-ratelimit-output-tokens-limit": "8000",
    "anthropic-ratelimit-output-tokens-remaining": "4000",
    "anthropic-ratelimit-output-tokens-reset": "2026-11-21T12:00:30Z",
    "date": "Sat, 21 Nov 2026 12:00:00 GMT",
}


@pytest.mark.parametrize("name", ["claude-sonnet-4-5", "claude-opus-5", "claude-unknown"])
@pytest.mark.parametrize(
    ("stated", "headers"), [({"tpm": 50_000}, {}), ({}, CLAUDE_LEFT)], ids=["tpm", "headers"]
)
@pytest.mark.parametrize("call", [{}, {"max_tokens": 60_000}])
def test_what_a_claude_may_say_is_not_what_it_is_charged_for(
    colour: Any, name: str, stated: dict[str, Any], headers: dict[str, str], call: dict[str, Any]
) -> None:
    def answer(_: Any) -> Any:
        return httpx2.Response(200, json=anthropic_answer("short"), headers=headers)

    model = ChatAnthropic(model=name, api_key="k", max_wait=1, **stated, **answered_by(answer))
    for _ in range(4):  # each would wait for longer than it may, and say so
        colour.invoke(model, "hi", {"timeout": 5}, **call)


def test_openai_is_charged_for_what_it_may_say_until_it_has_said_less(colour: Any) -> None:
    answers = answered_by(lambda _: httpx2.Response(200, json=ANSWER))
    model = ChatOpenAI(model="m", api_key="k", tpm=50_000, max_tokens=40_000, max_wait=1, **answers)
    for _ in range(4):
        colour.invoke(model, "hi", {"timeout": 5})
    exchange = model._exchange(model._messages("hi"), None, {}, {}, stream=False)
    assert exchange.max_output == 40_000
    responses = ChatOpenAI(model="m", api_key="k", max_tokens=40_000, use_responses_api=True)
    assert (
        responses._exchange(responses._messages("hi"), None, {}, {}, stream=False).max_output
        == 40_000
    )
