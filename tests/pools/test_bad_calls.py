"""A call that no deployment takes harms no other call, and an outage of all deployments loses no call.

Each promise is tried once on the scheduler, in made-up time, and once over HTTP with servers of a dozen lines.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from support.word_exchange import word_exchange

from modelwire import pool
from modelwire.adapters import ChatOpenAI
from modelwire.caches import InMemoryCache
from modelwire.callbacks import BaseCallbackHandler
from modelwire.errors import (
    AllDeploymentsFailed,
    AuthenticationError,
    MalformedResponse,
    ModelwireError,
    NotFound,
    PermissionDenied,
    RateLimited,
    ServerError,
    Timeout,
)
from modelwire.messages import AIMessage, HumanMessage, SystemMessage
from modelwire.pools import PoolChatModel
from modelwire.pools.call import PoolCall
from modelwire.pools.deployment import Deployment
from modelwire.pools.health import Health
from modelwire.pools.scheduler import Scheduler
from modelwire.testing import GenericFakeChatModel
from modelwire.transport.call import call_flow
from modelwire.transport.ratelimit.admission import Admission, RoutedCall
from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter
from modelwire.transport.ratelimit.limits import Limits
from modelwire.transport.retry import RetryPolicy
from modelwire.transport.steps import Send


class Selective(ThreadingHTTPServer):
    """Answers each prompt with `ok`, but a prompt that contains `bad` with the status `refusal`."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, refusal: int) -> None:
        super().__init__(("127.0.0.1", 0), _SelectiveHandler)
        self.refusal = refusal
        self.is_down = False
        self.seen = 0
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def model(self, **options: Any) -> ChatOpenAI:
        url = f"http://127.0.0.1:{self.server_port}/v1"
        return ChatOpenAI(model="m", base_url=url, **{"api_key": "k", **options})


class _SelectiveHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Selective

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.seen += 1
        status = 200
        if self.server.is_down or b"bad" in body:
            status = self.server.refusal
        message = {"role": "assistant", "content": "ok"}
        value: Any = {"choices": [{"finish_reason": "stop", "message": message}]}
        if status != 200:
            value = {"error": {"message": "no"}}
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


Servers = Callable[..., list[Selective]]


@pytest.fixture
def servers() -> Iterator[Servers]:
    """Make servers with these refusals, and stop them at the end."""
    made: list[Selective] = []

    def make(*refusals: int) -> list[Selective]:
        new = [Selective(refusal) for refusal in refusals]
        made.extend(new)
        return new

    yield make
    for server in made:
        server.shutdown()
        server.server_close()


def over(*servers: Selective, **options: Any) -> PoolChatModel:
    return pool(
        {name: server.model() for name, server in zip("abc", servers, strict=False)}, **options
    )


class Part:
    """The model of a deployment in made-up time: it has a limiter, and nothing else."""

    def __init__(self) -> None:
        self.limiter = AdaptiveRateLimiter(0.0, Random(1))

    def current_limiter(self) -> AdaptiveRateLimiter:
        return self.limiter


def scheduler_of(deployments: int, **options: Any) -> Scheduler:
    return Scheduler([Deployment(name, Part()) for name in "abcdef"[:deployments]], **options)


def failed(error: ModelwireError) -> ModelwireError:
    """Return the error as that of a request that was sent."""
    error.attempts = ("one",)  # type: ignore[attr-defined]
    return error


def answer_one(scheduler: Scheduler, position: int, now: float) -> None:
    call = PoolCall(scheduler, now)
    call.place(scheduler.deployments[position], now)
    call.answered(now)


@pytest.mark.parametrize("bad_calls", [1, 40])
def test_calls_that_wait_for_their_next_try_hold_up_no_other_call(bad_calls: int) -> None:
    scheduler = scheduler_of(2)
    for number in range(bad_calls):
        bad = PoolCall(scheduler, 0.0)
        for position in (0, 1):
            bad.place(scheduler.deployments[position], 0.0)
            bad.failed(0.0, failed(ServerError("no")))
            answer_one(scheduler, position, 0.0)
        assert bad.poll(0.01) is None
        assert 0 < bad.wait_s <= 0.3
        assert len(scheduler.waiting) == number + 1
    good = PoolCall(scheduler, 0.02)
    assert good.poll(0.02) in scheduler.deployments


def test_a_waiting_call_is_woken_behind_those_that_wait_for_their_next_try() -> None:
    scheduler = scheduler_of(1)
    (only,) = scheduler.deployments
    bad = PoolCall(scheduler, 0.0)
    bad.place(only, 0.0)
    bad.failed(0.0, failed(ServerError("no")))
    assert bad.poll(0.0) is None
    limiter = only.limiter(0.0)
    assert limiter is not None
    limiter.gate.paused_until = 2.0
    calls = [PoolCall(scheduler, 0.01) for _ in range(3)]
    assert [call.poll(0.01) for call in calls] == [None] * 3
    woken: list[int] = []
    for number, call in enumerate(calls):
        assert call.waiter is not None
        call.waiter.on_wake = lambda number=number: woken.append(number)  # type: ignore[misc]
    limiter.gate.paused_until = 0.0
    assert calls[0].poll(0.1) is only
    assert woken == [1, 2]


def test_in_an_outage_of_all_a_call_waits_until_max_wait_and_sends_few_requests() -> None:
    scheduler = scheduler_of(3, max_wait=60.0)
    for position in range(3):
        answer_one(scheduler, position, 0.0)
    now, sent = end_of(PoolCall(scheduler, 1.0), lambda *_: ServerError("no"))
    assert 55 < now < 75
    assert sent <= 3 * 13


def end_of(
    call: PoolCall, answers: Callable[[Deployment, float], ModelwireError]
) -> tuple[float, int]:
    """Return when the call that began at 1.0 ends with an error, and how many requests it has sent.

    Each deployment answers a request at once, with the error that `answers` returns for it and the time.
    """
    now = 1.0
    sent = 0
    with pytest.raises(AllDeploymentsFailed):
        while now < 1000:
            deployment = call.poll(now)
            if deployment is None:
                now += max(call.wait_s, 0.001)
            else:
                sent += 1
                call.failed(now, failed(answers(deployment, now)))
    return now, sent


def test_a_call_that_one_deployment_rejects_and_another_fails_ends_after_max_wait() -> None:
    scheduler = scheduler_of(2, max_wait=60.0)

    def error_of(deployment: Deployment, now: float) -> ModelwireError:
        return PermissionDenied("no") if deployment.name == "a" else ServerError("no")

    ended, _ = end_of(PoolCall(scheduler, 1.0), error_of)
    assert 55 < ended < 75


def test_one_call_alone_takes_no_deployment_out() -> None:
    scheduler = scheduler_of(2)
    ended, _ = end_of(PoolCall(scheduler, 1.0), lambda *_: ServerError("no"))
    assert ended > 55
    assert not any(one.health.is_out for one in scheduler.deployments)


def test_a_call_that_has_not_failed_probes_before_those_that_have() -> None:
    scheduler = scheduler_of(1)
    (only,) = scheduler.deployments
    bad = [PoolCall(scheduler, 0.0) for _ in range(3)]
    for call in bad:
        call.place(only, 0.0)
    for call in bad:
        call.failed(0.0, failed(ServerError("no")))
    assert only.health.is_out
    good = PoolCall(scheduler, 0.1)
    assert [call.poll(0.1) for call in (*bad, good)] == [None] * 4
    assert bad[0].poll(0.9) is None
    assert good.poll(0.9) is only
    good.answered(1.0)
    assert not only.health.is_out


def test_a_probe_that_has_failed_before_makes_the_pause_no_longer() -> None:
    health, error = Health(), ServerError("no")
    for now in (1.0, 1.1, 1.2):
        health.failed(now, now, error)
    assert health.wait_s(1.2) == pytest.approx(0.5)
    for probe in (2.0, 3.0):
        health.sent(probe)
        health.failed(probe, probe, error, is_first=False)
        assert health.wait_s(probe) == pytest.approx(0.5)
    health.sent(4.0)
    health.failed(4.0, 4.0, error)
    assert health.wait_s(4.0) == pytest.approx(1.0)


def test_a_call_fails_soon_that_alone_fails_while_others_are_answered() -> None:
    scheduler = scheduler_of(2)

    def error_of(deployment: Deployment, now: float) -> ModelwireError:
        answer_one(scheduler, deployment.position, now)
        return ServerError("no")

    _, sent = end_of(PoolCall(scheduler, 1.0), error_of)
    assert sent == 4 + 2


def test_answers_that_cannot_be_decoded_are_not_asked_for_again_and_again() -> None:
    scheduler = scheduler_of(2)
    _, sent = end_of(PoolCall(scheduler, 1.0), lambda *_: MalformedResponse("no"))
    assert sent == 4


def test_refusals_of_one_call_are_its_own_though_it_comes_back_from_elsewhere() -> None:
    limiter = AdaptiveRateLimiter(0.0, Random(1))

    def answered(calls: int) -> None:
        for _ in range(calls):
            other = Admission(0.0, again=False, patient=False, size=0, max_output=None)
            limiter.admit(other)
            limiter.answered(other, 0.0)
            limiter.leave(other, 0.0)

    answered(100)
    bad = RoutedCall()
    for _ in range(12):
        policy = RetryPolicy(max_retries=0)
        exchange = word_exchange(limiter=limiter, retry=policy, clock=lambda: 0.0)
        exchange.belong_to(bad)
        flow = call_flow(exchange)
        assert isinstance(next(flow), Send)
        with pytest.raises(RateLimited):
            flow.throw(RateLimited("no"))
        answered(6)
    assert bad.failed_admissions[limiter].own_refusals == 10
    assert limiter.limits(0.0) == Limits()


@pytest.mark.parametrize(
    "refusal",
    [429, pytest.param(503, marks=pytest.mark.long), pytest.param(500, marks=pytest.mark.long)],
)
def test_one_bad_call_does_not_slow_the_others_down(
    servers: Servers, colour: Any, refusal: int
) -> None:
    model = over(*servers(refusal, refusal))
    is_over = threading.Event()
    answers: list[float] = []

    def good_calls() -> None:
        while not is_over.is_set():
            assert model.invoke("good").text == "ok"
            answers.append(time.monotonic())

    threads = [threading.Thread(target=good_calls) for _ in range(3)]
    for thread in threads:
        thread.start()
    while len(answers) < 40:
        time.sleep(0.01)
    begun = time.monotonic()
    with pytest.raises((Timeout, AllDeploymentsFailed)):
        colour.invoke(model, "bad", {"timeout": 1.5})
    ended = time.monotonic()
    is_over.set()
    for thread in threads:
        thread.join()
    during = [at for at in answers if begun <= at <= ended]
    # Without the bad call it is more than fifty a second; it was two a second beside one.
    assert len(during) > 15 * (ended - begun)


@pytest.mark.parametrize("deployments", [1, 2])
@pytest.mark.parametrize("status", [500, 503])
def test_a_single_call_outlives_a_short_outage_of_all_deployments(
    servers: Servers, colour: Any, status: int, deployments: int
) -> None:
    some = servers(*[status] * deployments)
    model = over(*some)
    assert model.invoke("hi").text == "ok"
    for server in some:
        server.is_down = True

    def end() -> None:
        for server in some:
            server.is_down = False

    threading.Timer(1.0, end).start()
    assert colour.invoke(model, "hi").text == "ok"


@pytest.mark.parametrize("refusal", [403, 404])
def test_a_call_that_all_reject_takes_no_deployment_from_the_others(
    servers: Servers, colour: Any, refusal: int
) -> None:
    model = over(*servers(refusal, refusal))
    for _ in range(2):
        with pytest.raises(AllDeploymentsFailed):
            colour.invoke(model, "bad")
        assert colour.invoke(model, "good").text == "ok"
    assert not any(one.health.is_out for one in model._scheduler.deployments)


@pytest.mark.parametrize("kind", [PermissionDenied, NotFound])
def test_three_rejections_of_single_calls_in_a_row_take_a_deployment_out(
    kind: type[ModelwireError],
) -> None:
    health = Health()
    for now in (1.0, 2.0):
        health.rejected(now, now, kind("no"))
        assert not health.is_out
    health.answered(3.0)
    for now in (4.0, 5.0, 6.0):
        assert not health.is_out
        health.rejected(now, now, kind("no"))
    assert health.wait_s(6.0) == pytest.approx(0.5)
    # So does a probe that is rejected; one of a deployment that only failed shows that it is up.
    health.sent(16.0)
    health.rejected(16.0, 16.0, kind("no"))
    assert health.wait_s(16.0) == pytest.approx(1.0)
    # A deployment that has never answered has no such model, or takes no such key.
    unknown = Health()
    for now in (1.0, 2.0, 3.0):
        unknown.rejected(now, now, kind("no"))
    assert unknown.is_rejected
    assert unknown.wait_s(3.0) == pytest.approx(10.0)
    failing = Health()
    for now in (1.0, 1.1, 1.2):
        failing.failed(now, now, ServerError("no"))
    failing.sent(2.0)
    failing.rejected(2.0, 2.1, kind("no"))
    assert failing.is_probe_due(2.1)


def test_a_call_fails_at_once_if_the_rest_of_the_pool_is_out_for_long(servers: Servers) -> None:
    revoked, other = servers(401, 403)
    revoked.is_down = True
    model = over(revoked, other, prefer="first")
    assert model.invoke("good").text == "ok"
    begun = time.monotonic()
    with pytest.raises(AllDeploymentsFailed) as error:
        model.invoke("bad")
    assert time.monotonic() - begun < 5
    assert list(error.value.errors) == ["b", "a"]
    assert isinstance(error.value.errors["a"], AuthenticationError)


def test_an_unpickled_pool_says_how_its_keys_are_set_again_and_then_works(
    servers: Servers, colour: Any
) -> None:
    model = pickle.loads(pickle.dumps(over(*servers(500, 500)).bind_tools([])))
    with pytest.raises(
        AllDeploymentsFailed, match=r"`pool\.deployments\[\.\.\.\]\.api_key = \.\.\.`"
    ):
        colour.invoke(model, "hi")
    for one in model.deployments.values():
        one.api_key = "k"
    assert colour.invoke(model, "hi").text == "ok"


class Slow(GenericFakeChatModel):
    """Answers late, and ends late when it is cancelled."""

    async def ainvoke(self, *args: Any, **kwargs: Any) -> AIMessage:
        try:
            await asyncio.sleep(0.2 if self.metadata else 60.0)
        finally:
            await asyncio.sleep(0.2)
        return AIMessage("late")


@pytest.mark.parametrize("cancelled_after_s", [0.1, 0.3, 0.5])
def test_a_cancelled_hedged_call_is_cancelled_whenever_that_comes(cancelled_after_s: float) -> None:
    # The second call answers after 0.05 + 0.4 s. Then the first one is cancelled, which takes 0.2 s.
    slow = Slow(messages=iter([]))
    quick = Slow(messages=iter([]), metadata={"quick": True})
    model = pool({"slow": slow, "quick": quick}, prefer="first", hedge=0.05)
    model._scheduler.hedges.calls = 1000

    async def main() -> None:
        task = asyncio.ensure_future(model.ainvoke("hi"))
        await asyncio.sleep(cancelled_after_s)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        left = [one for one in asyncio.all_tasks() if one is not asyncio.current_task()]
        assert not left

    asyncio.run(main())
    assert [one.in_flight for one in model._scheduler.deployments] == [0, 0]


@pytest.mark.parametrize("hedge", [None, 30.0])
def test_the_time_of_a_stream_is_not_that_of_its_reader(colour: Any, hedge: float | None) -> None:
    fake = GenericFakeChatModel(messages=iter([AIMessage("one two")]))
    model = pool({"a": fake}, hedge=hedge)

    def read_all() -> None:
        for _ in model.stream("hi"):
            time.sleep(0.05)

    async def aread_all() -> None:
        async for _ in model.astream("hi"):
            await asyncio.sleep(0.05)

    colour.run(read_all, aread_all)
    median_s = model._scheduler.deployments[0].times.median_s(0)
    assert median_s is not None
    assert median_s < 0.05


def test_rejections_come_sooner_than_answers_and_take_no_busy_deployment_out() -> None:
    scheduler = scheduler_of(2)
    for position in range(2):
        answer_one(scheduler, position, 0.0)
    rows = [PoolCall(scheduler, 1.0, patient=True) for _ in range(40)]
    for row in rows:
        assert row.poll(1.0) is not None
    for row in rows[:10]:  # a quarter of the rows is filtered, by both deployments
        while row.deployment is not None:
            row.failed(1.1, failed(PermissionDenied("filtered")))
            with contextlib.suppress(AllDeploymentsFailed):
                row.poll(1.1)
    assert not any(one.health.is_out for one in scheduler.deployments)
    # Where none is answered, the deployments are out once nothing is in flight.
    for row in rows[10:]:
        assert row.deployment is not None
        row.failed(1.2, failed(PermissionDenied("revoked")))
    assert any(one.health.is_out for one in scheduler.deployments)


def test_the_last_row_of_a_batch_ends_though_it_always_fails() -> None:
    scheduler = scheduler_of(2, max_wait=60.0)
    for position in range(2):
        answer_one(scheduler, position, 0.0)
    row = PoolCall(scheduler, 1.0, patient=True)
    ended, _ = end_of(row, lambda *_: ServerError("no"))
    assert 55 < ended < 75


def test_rows_wait_ten_minutes_for_deployments_that_are_down() -> None:
    scheduler = scheduler_of(1)
    answer_one(scheduler, 0, 0.0)
    rows = [PoolCall(scheduler, 1.0, patient=True) for _ in range(3)]
    for row in rows:
        row.place(scheduler.deployments[0], 1.0)
    for row in rows:
        row.failed(1.0, failed(ServerError("no")))
    ended, _ = end_of(rows[0], lambda *_: ServerError("no"))
    assert 590 < ended < 620


def test_many_calls_that_only_one_deployment_may_take_hold_up_no_other() -> None:
    scheduler = scheduler_of(2)
    first, second = scheduler.deployments
    limiter = second.limiter(0.0)
    assert limiter is not None
    limiter.gate.paused_until = 100.0
    for _ in range(60):
        call = PoolCall(scheduler, 0.0)
        call.place(first, 0.0)
        call.failed(0.0, failed(NotFound("an unknown file")))
        answer_one(scheduler, 0, 0.0)
        assert call.poll(0.0) is None
    assert PoolCall(scheduler, 0.1).poll(0.1) is first


def test_without_a_limiter_an_overload_of_all_ends_after_max_wait(servers: Servers) -> None:
    some = servers(503, 529)
    models = {name: one.model(rate_limit=None) for name, one in zip("ab", some, strict=True)}
    with pytest.raises(AllDeploymentsFailed):
        pool(models, max_wait=0.4).invoke("bad", {"timeout": 20})


def test_an_answer_from_a_cache_shows_nothing_of_its_deployment(
    servers: Servers, colour: Any
) -> None:
    (server,) = servers(500)
    model = pool({"a": server.model(cache=InMemoryCache())})
    (deployment,) = model._scheduler.deployments
    for _ in range(5):
        assert colour.invoke(model, "hi").text == "ok"
        assert "".join(chunk.text for chunk in colour.stream(model, "hi")) == "ok"
    assert server.seen == deployment.answers == 1
    assert deployment.in_flight == 0


def test_blocks_and_tools_are_a_part_of_the_beginning() -> None:
    blocks = [{"type": "text", "text": "x" * 6000, "cache_control": {"type": "ephemeral"}}]
    messages = [SystemMessage(blocks), HumanMessage("hi")]  # type: ignore[arg-type]
    model = pool({"a": ChatOpenAI(model="m", api_key="k")})
    call = model._call(messages, stream=False)
    assert call.prefix is not None
    assert call.prefix[1] == 6002
    assert call.tokens == 1500

    def with_tool() -> Any:
        def look(place: str) -> str:
            """Look there."""
            return place

        look.__doc__ = "Look there. " * 500
        return model.bind_tools([look])._call(model._messages("hi"), stream=False).prefix

    assert with_tool() is not None
    assert with_tool() == with_tool()


def test_a_run_has_the_id_and_the_name_of_the_config(servers: Servers, colour: Any) -> None:
    heard: list[Any] = []

    class Runs(BaseCallbackHandler):
        def on_chat_model_start(self, *args: Any, run_id: Any, **kwargs: Any) -> None:
            heard.append((run_id, kwargs["name"], kwargs["metadata"]["deployment"]))

    down, up = servers(500, 500)
    down.is_down = True
    run_id = uuid4()
    config = {"callbacks": [Runs()], "run_id": run_id, "run_name": "mine"}
    colour.invoke(over(down, up, prefer="first"), "hi", config)
    assert [name for _, name, _ in heard] == ["mine", "mine"]
    assert heard[0][0] == run_id != heard[1][0]
    assert [deployment for _, _, deployment in heard] == ["a", "b"]
