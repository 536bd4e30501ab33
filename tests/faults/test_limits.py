"""L: limits. The arithmetic is told on a virtual clock (tests/transport/governor); here it is held over a real socket.

No bound here is one of time: a busy machine only sends more slowly, and is refused less.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from modelwire.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from modelwire.errors import RateLimited
from modelwire.testing import Limits, ProviderServer, Rule, faults

Colour = Any


def answers_of(colour: Colour, model: Any, rows: int, width: int) -> list[str]:
    answers = colour.batch(model, [f"row {n}" for n in range(rows)], {"max_concurrency": width})
    return [answer.text for answer in answers]


def expected(rows: int) -> list[str]:
    return [f"row {n}" for n in range(rows)]


@pytest.mark.parametrize("refused_cost", [0.0, 1.0], ids=["L1", "L5, refusals count"])
def test_a_limit_nobody_speaks_of_is_found_over_a_socket(colour: Colour, refused_cost: float) -> None:
    limits = Limits(rpm=6000, window_s=1, headers="none", refused_cost=refused_cost)
    with ProviderServer(limits=limits, latency=0.02) as server:
        assert answers_of(colour, server.model(), 400, 64) == expected(400)
        assert server.counts.answered == 400  # none twice
        assert server.counts.throttled <= 100  # a short job feels its way for most of its time


def test_l3_headers_keep_a_job_from_being_refused(colour: Colour) -> None:
    with ProviderServer(limits=Limits(rpm=6000, window_s=1), latency=0.02, time_scale=1.0) as server:
        assert answers_of(colour, server.model(), 300, 64) == expected(300)
        assert server.counts.throttled <= 60


def test_l8_an_outage_is_met_with_few_requests_and_loses_nothing(colour: Colour) -> None:
    down: list[float] = []

    def is_down(request: Any) -> bool:
        if request.number < 100:
            return False
        down.append(down[0] if down else time.monotonic())
        return time.monotonic() - down[0] < 3

    rule = Rule(faults.status(503), when=is_down)
    with ProviderServer(faults=[rule], latency=0.01) as server:
        assert answers_of(colour, server.model(), 300, 32) == expected(300)
        assert server.counts.by_status[503] <= 60
        assert server.counts.answered == 300


def test_l14_what_cannot_be_waited_for_is_said_at_once(colour: Colour) -> None:
    """P16: a deadline of 2 s, and a Retry-After of 5."""
    with ProviderServer([faults.status(429, retry_after=5)]) as server:
        with pytest.raises(RateLimited, match="s left") as caught:
            colour.invoke(server.model(), "hi", {"timeout": 2})
        assert caught.value.retry_after == 5
        assert server.counts.requests == 1


def test_l14_nobody_sends_while_the_key_is_paused() -> None:
    """P17: threads and an event loop, each with a model of its own."""
    with ProviderServer([faults.status(429, retry_after=0.5)]) as server:
        ends: list[str] = []

        def by_thread() -> None:
            ends.append(server.model().invoke("thread").text)

        def by_loop() -> None:
            async def run() -> None:
                answers = await asyncio.gather(*(server.model().ainvoke("task") for _ in range(5)))
                ends.extend(answer.text for answer in answers)

            asyncio.run(run())

        first = threading.Thread(target=by_thread)
        first.start()
        while not server.counts.by_status[429]:
            time.sleep(0.005)
        time.sleep(0.1)
        threads = [threading.Thread(target=by_thread) for _ in range(5)] + [threading.Thread(target=by_loop)]
        for thread in threads:
            thread.start()
        for thread in (first, *threads):
            thread.join()
        times = [request.at_s for request in server.requests]
        assert sorted(ends) == ["task"] * 5 + ["thread"] * 6
        assert min(times[1:]) - times[0] >= 0.45


class Slow(BaseCallbackHandler):
    """Takes its time with the first answer, and until the others are done."""

    def __init__(self) -> None:
        self.others_done = threading.Event()
        self.held = threading.Event()
        self.was_in_time: list[bool] = []

    def on_llm_end(self, *args: Any, **kwargs: Any) -> None:
        self.held.set()
        self.was_in_time.append(self.others_done.wait(30))


def test_l17_a_slow_handler_holds_nobody_else() -> None:
    slow = Slow()
    with ProviderServer() as server:
        model = server.model()
        held = threading.Thread(target=lambda: model.invoke("slow", {"callbacks": [slow]}))
        held.start()
        assert slow.held.wait(30)
        assert model.limits().in_flight == 0
        assert [model.invoke(str(n)).text for n in range(20)] == [str(n) for n in range(20)]
        slow.others_done.set()
        held.join()
    assert slow.was_in_time == [True]


class Listening(BaseCallbackHandler):
    def __init__(self) -> None:
        self.changes: list[Any] = []

    def on_limit(self, change: Any, **kwargs: Any) -> None:
        self.changes.append(change)


class ListeningInLoop(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.changes: list[Any] = []

    async def on_limit(self, change: Any, **kwargs: Any) -> None:
        await asyncio.sleep(0)
        self.changes.append(change)


@pytest.mark.parametrize("kind", [Listening, ListeningInLoop])
def test_handlers_hear_of_limits(colour: Colour, kind: type[Any]) -> None:
    handler = kind()
    with ProviderServer([faults.status(429, retry_after=0.05)]) as server:
        assert colour.invoke(server.model(), "hi", {"callbacks": [handler]}).text == "hi"
    assert [change.kind for change in handler.changes] == ["half_open"]
    assert handler.changes[0].pause_s > 0


def test_a_handler_of_limits_that_raises_changes_nothing(colour: Colour, caplog: pytest.LogCaptureFixture) -> None:
    class Raising(BaseCallbackHandler):
        def on_limit(self, change: Any, **kwargs: Any) -> None:
            raise ValueError("oops")

    with ProviderServer([faults.status(429, retry_after=0.05)]) as server:
        assert colour.invoke(server.model(), "hi", {"callbacks": [Raising()]}).text == "hi"
    assert "Raising.on_limit" in caplog.text


# Bodies nobody can read (GLITCH) are tried again once only, so a job at random would lose some: they are left out.
RANDOM_FAULTS = {
    "500": 0.05, "502": 0.02, "503": 0.04, "529": 0.03, "429": 0.02, "close": 0.05, "reset_headers": 0.02,
    "reset_body": 0.05, "gzip_garbage": 0.01, "bad_chunk_size": 0.01,
}  # fmt: skip


def check_a_job_under_random_faults(rows: int) -> None:
    assert sum(RANDOM_FAULTS.values()) == pytest.approx(0.3)
    with ProviderServer(faults=RANDOM_FAULTS, seed=5, keep=1) as server:
        model = server.model(max_retries=10)  # of five tries at 30 %, one row in four hundred has none left
        answers = model.batch([f"row {n}" for n in range(rows)], {"max_concurrency": 64})
        assert [answer.text for answer in answers] == expected(rows)
        assert server.counts.by_fault.total() >= 0.25 * rows


def test_a_thousand_calls_with_random_faults_are_all_answered() -> None:
    check_a_job_under_random_faults(1000)


@pytest.mark.long
def test_ten_thousand_calls_with_random_faults_are_all_answered() -> None:
    check_a_job_under_random_faults(10_000)
