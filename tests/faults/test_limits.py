"""L: limits. The arithmetic is told on a virtual clock (tests/transport/ratelimit); here it is held over a real socket.

No bound here is one of time: a busy machine only sends more slowly, and is refused less.
"""

from __future__ import annotations

import asyncio
import threading
import time
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from support.tries import fewest
from support.ways import by_gather

from modelwire.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from modelwire.errors import RateLimited
from modelwire.jobs import run_job
from modelwire.testing import Limits, ProviderServer, Rule, faults
from modelwire.transport.ratelimit import limiter

Colour = Any


def answers_of(colour: Colour, model: Any, rows: int, width: int) -> list[str]:
    answers = colour.batch(model, [f"row {n}" for n in range(rows)], {"max_concurrency": width})
    return [answer.text for answer in answers]


def expected(rows: int) -> list[str]:
    return [f"row {n}" for n in range(rows)]


def check_a_limit_is_held(
    colour: Colour,
    rows: int,
    refused: int,
    *,
    rpm: int = 1800,
    window_s: float = 0.2,
    **limits: Any,
) -> None:
    """Work off the rows at a limit that every machine reaches: a slow one, too, would be refused without a limiter."""

    def throttled() -> int:
        with ProviderServer(
            limits=Limits(rpm=rpm, window_s=window_s, **limits), latency=0.02, keep=1
        ) as server:
            assert answers_of(colour, server.model(), rows, 64) == expected(rows)
            assert server.counts.answered == rows  # none twice
            return server.counts.throttled

    assert fewest(throttled, refused) <= refused


UNSAID = pytest.mark.parametrize("refused_cost", [0.0, 1.0], ids=["L1", "L5, refusals count"])


@pytest.mark.parametrize(
    "refused_cost",
    [
        pytest.param(0.0, id="L1"),
        pytest.param(1.0, id="L5, refusals count", marks=pytest.mark.long),
    ],
)
def test_a_limit_nobody_speaks_of_is_found_over_a_socket(
    colour: Colour, refused_cost: float
) -> None:
    """A short job feels its way for most of its time: it is refused ten times, and more than 100 without a limiter."""
    check_a_limit_is_held(colour, 60, 45, headers="none", refused_cost=refused_cost)


def test_l3_headers_keep_a_job_from_being_refused(colour: Colour) -> None:
    check_a_limit_is_held(colour, 60, 40)


@pytest.mark.long
@UNSAID
def test_a_longer_job_is_refused_less(colour: Colour, refused_cost: float) -> None:
    """4 % in a minute; the promised 2 % are of a job ten times as long, on the virtual clock."""
    check_a_limit_is_held(
        colour, 5000, 400, rpm=6000, window_s=1, headers="none", refused_cost=refused_cost
    )


def check_an_outage(colour: Colour, rows: int, width: int, seconds: float, most: int) -> None:
    def refused() -> int:
        down: list[float] = []

        def is_down(request: Any) -> bool:
            if request.number < rows // 3:
                return False
            down.append(down[0] if down else time.monotonic())
            return time.monotonic() - down[0] < seconds

        with ProviderServer(
            faults=[Rule(faults.status(503), when=is_down)], latency=0.01, keep=1
        ) as server:
            assert answers_of(colour, server.model(), rows, width) == expected(rows)
            assert server.counts.answered == rows
            return server.counts.by_status[503]

    assert 0 < fewest(refused, most) <= most


@pytest.mark.long
def test_l8_an_outage_is_met_with_few_requests_and_loses_nothing(colour: Colour) -> None:
    check_an_outage(colour, 300, 32, 3, most=50)


@pytest.mark.long
def test_l8_an_outage_of_a_minute_over_a_socket(colour: Colour) -> None:
    check_an_outage(colour, 10_000, 64, 60, most=100)


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
        while not server.model().limits().paused_s:
            time.sleep(0.005)
        threads = [threading.Thread(target=by_thread) for _ in range(5)] + [
            threading.Thread(target=by_loop)
        ]
        for thread in threads:
            thread.start()
        for thread in (first, *threads):
            thread.join()
        times = [request.at_s for request in server.requests]
        assert sorted(ends) == ["task"] * 5 + ["thread"] * 6
        assert min(times[1:]) - times[0] >= 0.45


def test_l16_a_pause_is_that_of_its_key_and_model_only(colour: Colour) -> None:
    """P23."""

    def is_shut(request: Any) -> bool:
        return bool(request.model == "a" and request.headers["authorization"] == "Bearer first")

    with ProviderServer(faults=[Rule(faults.status(429, retry_after=50), when=is_shut)]) as server:
        shut = server.model(model="a", api_key="first", max_wait=1)
        with pytest.raises(RateLimited):
            colour.invoke(shut, "hi")
        for open_ in ({"model": "b", "api_key": "first"}, {"model": "a", "api_key": "second"}):
            answers = [
                colour.invoke(server.model(**open_, max_wait=1), row).text for row in expected(20)
            ]
            assert answers == expected(20)
        assert (server.counts.by_status[429], server.counts.answered) == (1, 40)
        with pytest.raises(RateLimited):
            colour.invoke(shut, "hi")
        assert server.counts.requests == 41


def test_a_clock_that_jumps_changes_nothing(
    colour: Colour, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """J6: an hour ahead, an hour back, at every look."""
    real, hours = time.time, cycle((3600.0, -3600.0, 0.0))
    monkeypatch.setattr(time, "time", lambda: real() + next(hours))
    with ProviderServer(
        [faults.status(429, retry_after=1), faults.status(500), faults.status(503)]
    ) as server:
        assert answers_of(colour, server.model(), 20, 4) == expected(20)
        times = [request.at_s for request in server.requests]
        refused = next(request for request in server.requests if request.status == 429)
        # Nobody comes early; the other workers may send until one of them has read the refusal.
        assert not [at for at in times if refused.at_s + 0.6 < at < refused.at_s + 0.99]
        run_job(server.model(), expected(20), output=tmp_path / "out.jsonl", quiet=True)
        batch = (
            server.model()
            .submit_batch(expected(5), dir=tmp_path / "a.job")
            .wait(poll=0.01, timeout=60)
        )
        assert [result.status for result in batch.results()] == ["succeeded"] * 5
    assert (tmp_path / "out.jsonl").read_text().count('"answer":"row ') == 20


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
    assert [change.kind for change in handler.changes][:2] in (
        ["half_open"],
        ["half_open", "resumed"],
    )
    assert handler.changes[0].pause_s > 0


def test_a_handler_of_limits_that_raises_changes_nothing(
    colour: Colour, caplog: pytest.LogCaptureFixture
) -> None:
    class Raising(BaseCallbackHandler):
        def on_limit(self, change: Any, **kwargs: Any) -> None:
            raise ValueError("oops")

    with ProviderServer([faults.status(429, retry_after=0.05)]) as server:
        assert colour.invoke(server.model(), "hi", {"callbacks": [Raising()]}).text == "hi"
    assert "Raising.on_limit" in caplog.text


# Bodies nobody can read (GLITCH) are tried again once only, so a job at random would lose some: they are left out.
RANDOM_FAULTS = {
    "500": 0.05,
    "502": 0.02,
    "503": 0.04,
    "529": 0.03,
    "429": 0.02,
    "close": 0.05,
    "reset_headers": 0.02,
    "reset_body": 0.05,
    "gzip_garbage": 0.01,
    "bad_chunk_size": 0.01,
}


def check_a_job_under_random_faults(rows: int) -> None:
    assert sum(RANDOM_FAULTS.values()) == pytest.approx(0.3)
    """Each answer names the request it is for: it is the one that went well for its row, of which there is one."""
    with ProviderServer(
        default=lambda asked: f"{asked.text} #{asked.number}", faults=RANDOM_FAULTS, seed=5
    ) as server:
        model = server.model(
            max_retries=10
        )  # of five tries at 30 %, one row in four hundred has none left
        answers = model.batch(expected(rows), {"max_concurrency": 64})
        went_well = [one for one in server.requests if one.status == 200 and one.fault is None]
        assert sorted(one.text for one in went_well) == sorted(expected(rows))
        number = {one.text: one.number for one in went_well}
        assert [answer.text for answer in answers] == [
            f"{row} #{number[row]}" for row in expected(rows)
        ]
        assert server.counts.by_fault.total() >= 0.25 * rows


@pytest.mark.parametrize(
    "calls", [100, *(pytest.param(many, marks=pytest.mark.long) for many in (1000, 10_000))]
)
def test_a_thousand_calls_with_random_faults_are_all_answered(calls: int) -> None:
    check_a_job_under_random_faults(calls)


def test_a_key_that_is_always_refused_takes_nothing_from_another(
    colour: Colour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fairness: both ask at the same time, of one address and through one pool."""
    monkeypatch.setattr(
        limiter, "_FIRST_ALONE_S", 300.0
    )  # a loaded machine reads the first refusal late

    def is_shut(request: Any) -> bool:
        return bool(request.headers["authorization"] == "Bearer shut")

    with ProviderServer(faults=[Rule(faults.status(429), when=is_shut)], latency=0.02) as server:
        shut, open_ = server.model(api_key="shut", max_wait=3), server.model(api_key="open")
        outcomes: list[Any] = []

        def ask_the_shut_one() -> None:
            outcomes.extend(by_gather(shut, expected(50)))

        thread = threading.Thread(target=ask_the_shut_one)
        thread.start()
        while not server.counts.by_status[429]:
            time.sleep(0.005)
        assert answers_of(colour, open_, 200, 50) == expected(200)
        thread.join()
        assert {type(outcome) for outcome in outcomes} == {RateLimited}
        assert server.counts.answered == 200
        assert server.counts.by_status[429] <= 25
        assert open_.limits().requests_per_minute is None
