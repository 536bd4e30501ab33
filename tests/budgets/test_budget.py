"""Budgets: what cannot be afforded is not sent. The server here bills by itself, and is asked nothing else."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support.biller import OUTPUT, Biller, billing, model_at

from modelwire import AIMessage, RunnableLambda, budget
from modelwire.budgets import Budget, Left, Spending, spending
from modelwire.budgets.store import SQLiteBudgetStore
from modelwire.caches import InMemoryCache
from modelwire.callbacks import BaseCallbackHandler
from modelwire.errors import (
    BudgetExceeded,
    DiskError,
    InvalidArgument,
    InvalidConfig,
    JobStopped,
    ServerError,
    Timeout,
)
from modelwire.jobs import price_of, run_job
from modelwire.output_parsers import StrOutputParser
from modelwire.rate_limiters import InMemoryRateLimiter
from modelwire.testing import GenericFakeChatModel, ProviderServer
from modelwire.tools.loop import astream_tools, stream_tools

pytest.importorskip("genai_prices")


@pytest.fixture
def biller() -> Iterator[Biller]:
    with billing() as server:
        yield server


class Heard(BaseCallbackHandler):
    starts = 0

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        self.starts += 1


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


# ---------------------------------------------------------------- what is not afforded is not sent


def test_the_call_after_the_last_is_not_sent(colour: Any, biller: Biller) -> None:
    model = model_at(biller)
    with budget(calls=3) as b:
        for _ in range(3):
            colour.invoke(model, "hi")
        with pytest.raises(
            BudgetExceeded, match=r"its 3 calls are made .*`gpt-4o-mini` was not sent"
        ) as caught:
            colour.invoke(model, "hi")
    assert biller.calls == 3
    assert caught.value.spent.calls == 3
    assert b.left == Left(None, None, 0, None)
    colour.invoke(model, "hi")  # outside it
    assert b.spent.calls == 3


def test_dollars_are_those_the_provider_bills(colour: Any, biller: Biller) -> None:
    model = model_at(biller)
    with (
        budget(usd="0.0002") as b,
        pytest.raises(BudgetExceeded, match=r"may cost \$0\.0001, and \$0\.000"),
    ):
        for _ in range(100):
            colour.invoke(model, "hi")
    assert b.spent.usd == biller.usd
    assert biller.usd <= Decimal("0.0002")
    assert biller.calls > 10  # 7.2 millionths each; what was set aside and not used comes back
    assert b.reserved == Spending()


def test_a_streamed_answer_is_paid_as_the_provider_counts_it(colour: Any, biller: Biller) -> None:
    with budget(tokens=10_000) as b:
        colour.stream(model_at(biller), "hi")
    assert (b.spent.tokens, b.guessed) == (18, 0)


def test_a_stream_that_breaks_is_paid_by_what_came(colour: Any, biller: Biller) -> None:
    biller.cut = True
    with budget(tokens=10_000) as b, pytest.raises(Exception, match="stream"):
        colour.stream(model_at(biller), "hi")
    assert b.guessed == 1
    assert 25 <= b.spent.tokens <= 60  # 20 words of five letters, and the question
    assert b.reserved == Spending()


def test_a_stream_that_is_left_is_paid_by_what_came(biller: Biller) -> None:
    with budget(tokens=10_000) as b:
        stream = model_at(biller).stream("hi")
        next(stream)
        stream.close()
    assert b.guessed == 1
    assert 0 < b.spent.tokens < 60
    assert b.reserved == Spending()


@pytest.mark.parametrize("way", ["model", "chain", "events", "tools", "rows"])
def test_a_stream_belongs_to_the_block_in_which_it_was_made(
    colour: Any, biller: Biller, way: str
) -> None:
    model = model_at(biller)
    chain = RunnableLambda(lambda text: text) | model | StrOutputParser()
    is_sync = colour.name == "sync"

    def make() -> Any:
        if way == "model":
            return model.stream("hi") if is_sync else model.astream("hi")
        if way == "chain":
            return chain.stream("hi") if is_sync else chain.astream("hi")
        if way == "tools":
            return stream_tools(model, "hi", []) if is_sync else astream_tools(model, "hi", [])
        if way == "rows":
            return (
                chain.batch_as_completed(["hi"]) if is_sync else chain.abatch_as_completed(["hi"])
            )
        return chain.stream("hi") if is_sync else chain.astream_events("hi", version="v2")

    async def read_all(stream: Any) -> None:
        async for _ in stream:
            pass

    def read() -> None:
        with budget(calls=5) as made_in:
            stream = make()
        list(stream)
        assert made_in.spent.calls == 1

    async def aread() -> None:
        with budget(calls=5) as made_in:
            stream = make()
        await read_all(stream)
        assert made_in.spent.calls == 1

    def read_elsewhere() -> None:
        with budget(calls=5) as made_in:
            stream = make()
        with budget(calls=5) as read_in:
            list(stream)
        assert (made_in.spent.calls, read_in.spent.calls) == (1, 0)

    async def aread_elsewhere() -> None:
        with budget(calls=5) as made_in:
            stream = make()
        with budget(calls=5) as read_in:
            await read_all(stream)
        assert (made_in.spent.calls, read_in.spent.calls) == (1, 0)

    colour.run(read, aread)
    colour.run(read_elsewhere, aread_elsewhere)


def test_a_stream_that_was_made_in_a_block_refuses_what_that_cannot_afford(
    colour: Any, biller: Biller
) -> None:
    def read() -> None:
        with budget(calls=1):
            streams = [model_at(biller).stream("hi") for _ in range(2)]
        list(streams[0])
        with pytest.raises(BudgetExceeded):
            list(streams[1])

    async def aread() -> None:
        with budget(calls=1):
            streams = [model_at(biller).astream("hi") for _ in range(2)]
        assert [chunk async for chunk in streams[0]]
        with pytest.raises(BudgetExceeded):
            _ = [chunk async for chunk in streams[1]]

    colour.run(read, aread)
    assert biller.calls == 1


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_call_that_is_cancelled_on_its_way_is_paid_as_estimated(
    biller: Biller, *, is_stream: bool
) -> None:
    biller.delay_s = 1.0

    async def ask() -> None:
        model = model_at(biller)
        if is_stream:
            async for _ in model.astream("hi"):
                pass
        else:
            await model.ainvoke("hi")

    with budget(usd=1) as b, pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(ask(), 0.2))
    assert (b.spent.calls, b.guessed) == (1, 1)
    assert b.spent.usd > 0
    assert b.reserved.usd == 0


def test_a_call_that_is_cancelled_before_it_was_sent_costs_nothing(biller: Biller) -> None:
    model = model_at(biller, rate_limiter=InMemoryRateLimiter(requests_per_second=0.001))
    with budget(usd=1) as b, pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(model.ainvoke("hi"), 0.1))
    assert (b.spent.usd, b.spent.calls, biller.calls) == (0, 0, 0)


def test_a_refused_call_gives_back_what_it_had_set_aside(colour: Any, biller: Biller) -> None:
    biller.status = 400
    with budget(usd=1, calls=5) as b, pytest.raises(Exception, match="400"):
        colour.invoke(model_at(biller), "hi")
    assert b.spent == Spending(Decimal(0), 0, 1)
    assert b.reserved == Spending()


def test_the_retries_of_a_call_are_one_call(colour: Any, biller: Biller) -> None:
    biller.status = 500
    with budget(calls=1) as b, pytest.raises(ServerError):
        colour.invoke(model_at(biller, max_retries=2, max_wait=5), "hi")
    assert (biller.calls, b.spent.calls) == (3, 1)


def test_the_narrowest_of_nested_budgets_holds_and_all_are_charged(
    colour: Any, biller: Biller
) -> None:
    model = model_at(biller)
    with budget(calls=10) as wide:
        with budget(calls=2) as narrow:
            for _ in range(2):
                colour.invoke(model, "hi")
            with pytest.raises(BudgetExceeded, match="its 2 calls"):
                colour.invoke(model, "hi")
        assert (wide.spent.calls, wide.reserved) == (
            2,
            Spending(),
        )  # what the narrow one refused it has back
        colour.invoke(model, "hi")
        with budget(calls=100):
            for _ in range(7):
                colour.invoke(model, "hi")
            with pytest.raises(BudgetExceeded, match="its 10 calls"):
                colour.invoke(model, "hi")
    assert (wide.spent.calls, narrow.spent.calls, biller.calls) == (10, 2, 10)


def test_one_budget_entered_twice_is_charged_once(biller: Biller) -> None:
    b = budget(calls=5)
    with b, b:
        model_at(biller).invoke("hi")
    assert b.spent.calls == 1
    model_at(biller).invoke("hi")
    assert b.spent.calls == 1


def test_a_cached_answer_costs_nothing(colour: Any, biller: Biller) -> None:
    model = model_at(biller, cache=InMemoryCache())
    with budget(calls=1, tokens=1000) as b:
        for _ in range(3):
            colour.invoke(model, "hi")
    assert (b.spent.calls, b.spent.tokens, biller.calls) == (1, 18, 1)


def test_a_chain_a_batch_and_a_thread_of_its_own(biller: Biller) -> None:
    chain = RunnableLambda(str) | model_at(biller)
    with budget(calls=12) as b:
        chain.batch(range(5))
        asyncio.run(chain.abatch(range(5)))
        context = contextvars.copy_context()
        ThreadPoolExecutor(1).submit(context.run, chain.invoke, "hi").result()

        def enter() -> None:
            with b:
                chain.invoke("hi")

        ThreadPoolExecutor(1).submit(enter).result()
        with pytest.raises(BudgetExceeded):
            chain.invoke("hi")
    assert biller.calls == 12


def test_a_model_without_a_price_is_refused_under_dollars_before_its_request(
    colour: Any, biller: Biller
) -> None:
    model = model_at(biller).model_copy(update={"model": "nobody-knows"})
    with (
        budget(usd=1),
        pytest.raises(InvalidArgument, match=r"no price of `nobody-knows` is known"),
    ):
        colour.invoke(model, "hi")
    assert biller.calls == 0
    with budget(usd=1, unpriced="ignore") as b:
        colour.invoke(model, "hi")
    assert b.spent.calls == 1


def test_seconds_end_a_call_in_flight_and_stop_the_next(colour: Any, biller: Biller) -> None:
    biller.delay_s = 5
    with budget(seconds=0.3):
        with pytest.raises(Timeout, match=r"longer than the time left in the budget, of 0\.3 s"):
            colour.invoke(model_at(biller), "hi")
        with pytest.raises(BudgetExceeded, match=r"its 0\.3 s are over"):
            colour.invoke(model_at(biller), "hi")


def test_a_timeout_names_the_budget_or_the_timeout_that_ended_the_call(
    colour: Any, biller: Biller
) -> None:
    biller.delay_s = 5
    with (
        budget("night", seconds=0.3),
        budget(seconds=60),
        pytest.raises(Timeout, match=r"in the budget `night`, of 0\.3 s"),
    ):
        colour.invoke(model_at(biller), "hi")
    with budget(seconds=60), pytest.raises(Timeout, match=r"longer than its `timeout` of 0\.2 s"):
        colour.invoke(model_at(biller), "hi", {"timeout": 0.2})


@pytest.mark.parametrize(
    ("limits", "advice"),
    [
        ({"usd": 0.00001}, "Give the budget more `usd`, or lower `max_tokens`."),
        ({"tokens": 10}, "Give the budget more `tokens`, or lower `max_tokens`."),
        ({"calls": 1}, "Give the budget more `calls`."),
        ({"seconds": 0.001}, "Give the budget more `seconds`."),
    ],
)
def test_what_is_advised_is_what_helps(biller: Biller, limits: Any, advice: str) -> None:
    with budget(**limits) as b, pytest.raises(BudgetExceeded) as caught:
        time.sleep(0.002)
        model_at(biller).invoke("hi")
        model_at(biller).invoke("hi")
    assert str(caught.value).endswith(advice) and caught.value.budget is b


def test_a_model_of_the_users_own_is_counted_and_stopped(colour: Any) -> None:
    usage: Any = {"input_tokens": 30, "output_tokens": 12, "total_tokens": 42}
    model = GenericFakeChatModel(
        messages=iter([AIMessage("one", usage_metadata=usage)] * 5), cache=False
    )
    heard = Heard()
    with budget(calls=2) as b:
        for _ in range(2):
            colour.invoke(model, "hi there")
        with pytest.raises(BudgetExceeded, match="2 calls are made"):
            colour.invoke(model, "hi there", {"callbacks": [heard]})
    assert b.spent.tokens == 84
    assert len(list(model.messages)) == 3
    assert heard.starts == 0  # who heard of no start misses no end


def test_a_job_under_a_budget_stops_and_keeps_its_rows(biller: Biller, tmp_path: Path) -> None:
    rows = [{"text": f"t{n}"} for n in range(10)]
    with budget(calls=4), pytest.raises(JobStopped, match=r"4 calls are made"):
        run_job("{text}", rows, model=model_at(biller), job_dir=tmp_path / "job", max_concurrency=1)
    assert biller.calls == 4
    result = run_job("{text}", rows, model=model_at(biller), job_dir=tmp_path / "job")
    assert (biller.calls, result.failed) == (10, 0)


# ---------------------------------------------------------------- many at a time


def spend_from_everywhere(
    biller: Biller, *, threads: int, tasks: int, calls: int, usd: str
) -> Budget:
    """Make `calls` calls, half from threads and half from tasks, until there is no money; return the budget."""
    model = model_at(biller, max_tokens=60)
    biller.output = lambda body: hash(threading.get_ident()) % 60 + 1

    def ask(_: Any) -> bool:
        try:
            model.invoke("hi")
        except BudgetExceeded:
            return False
        return True

    async def ask_all() -> None:
        places = asyncio.Semaphore(tasks)

        async def one() -> None:
            async with places:
                try:
                    await model.ainvoke("hi")
                except BudgetExceeded:
                    pass

        await asyncio.gather(*(one() for _ in range(calls // 2)))

    with budget(usd=usd) as b, ThreadPoolExecutor(threads) as pool:
        contexts = [contextvars.copy_context() for _ in range(calls // 2)]
        done = pool.map(lambda context: context.run(ask, None), contexts)
        asyncio.run(ask_all())
        list(done)
    return b


@pytest.mark.parametrize(
    ("threads", "tasks", "calls"),
    [(10, 40, 600), pytest.param(50, 200, 10_000, marks=pytest.mark.long)],
)
def test_many_calls_at_a_time_never_spend_more(
    biller: Biller, threads: int, tasks: int, calls: int
) -> None:
    usd = str(calls // 2 * 30 * OUTPUT)  # for a half of them
    b = spend_from_everywhere(biller, threads=threads, tasks=tasks, calls=calls, usd=usd)
    assert 0 < biller.calls < calls
    assert biller.usd <= Decimal(usd)
    assert b.spent.usd == biller.usd
    assert b.reserved == Spending()


# ---------------------------------------------------------------- kept between processes


def test_a_named_budget_goes_on_in_the_next_run(colour: Any, biller: Biller) -> None:
    with budget("team", calls=2):
        colour.invoke(model_at(biller), "hi")
    with budget("team", calls=2) as b:
        colour.invoke(model_at(biller), "hi")
        with pytest.raises(BudgetExceeded, match="The budget `team` is used up") as caught:
            colour.invoke(model_at(biller), "hi")
    assert b.left.calls == 0
    assert f"(${caught.value.spent.usd:f} spent by this process)" in str(caught.value)
    with budget("other", calls=2):
        colour.invoke(model_at(biller), "hi")


@pytest.fixture
def busy_file(biller: Biller) -> Iterator[Callable[[Budget], sqlite3.Connection]]:
    """Lock the file of named budgets from another connection, so that no write gets through for long."""
    opened: list[sqlite3.Connection] = []

    def lock(b: Budget) -> sqlite3.Connection:
        assert b._store is not None
        b._store._db.execute("PRAGMA busy_timeout = 20")
        other = sqlite3.connect(b._store._path, isolation_level=None, check_same_thread=False)
        opened.append(other)
        biller.meanwhile = lambda: other.execute("BEGIN IMMEDIATE")
        return other

    yield lock
    for one in opened:
        one.close()


def test_an_answer_outlives_a_file_that_cannot_be_written_and_the_sum_is_caught_up(
    colour: Any, biller: Biller, busy_file: Any, caplog: pytest.LogCaptureFixture
) -> None:
    model = model_at(biller)
    b = budget("team", usd=1)
    other = busy_file(b)

    def ask() -> None:
        with b:
            assert model.invoke("hi").text == "ok"

    async def aask() -> None:
        with b:
            assert (await model.ainvoke("hi")).text == "ok"

    colour.run(ask, aask)
    assert "is not up to date" in caplog.text
    assert b.left.usd == 1 - biller.usd
    with pytest.raises(DiskError, match="cannot be written, so the call was not sent"):
        colour.run(ask, aask)
    assert biller.calls == 1
    other.execute("ROLLBACK")
    biller.meanwhile = lambda: None
    colour.run(ask, aask)
    assert budget("team", usd=1).left.usd == 1 - biller.usd
    assert biller.calls == 2


def test_what_could_not_be_written_is_written_when_the_budget_goes(
    biller: Biller, busy_file: Any
) -> None:
    b = budget("team", usd=1)
    other = busy_file(b)
    with b:
        model_at(biller).invoke("hi")
    other.execute("ROLLBACK")
    del b
    gc.collect()
    assert budget("team", usd=1).left.usd == 1 - biller.usd


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_process_that_is_forked_while_a_call_is_admitted_can_admit_calls(biller: Biller) -> None:
    is_held, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with spending._lock:
            is_held.set()
            may_end.wait(60)

    threading.Thread(target=hold, daemon=True).start()
    is_held.wait(60)
    child = os.fork()
    may_end.set()
    if child == 0:
        signal.alarm(30)  # A lock that is held for ever ends the child.
        with budget(calls=1) as b:
            model_at(biller).invoke("hi")
        os._exit(0 if b.spent.calls == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_day_is_that_of_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime(2026, 11, 22, 23, 30, tzinfo=zone_of("UTC")).astimezone(tz)

    from zoneinfo import ZoneInfo as zone_of

    monkeypatch.setattr("modelwire.budgets.store.datetime", Clock)
    assert SQLiteBudgetStore("a", "day", "UTC").period() == "2026-11-22"
    assert SQLiteBudgetStore("a", "day", "Europe/Vienna").period() == "2026-11-23"
    assert SQLiteBudgetStore("a", "month", "UTC").period() == "2026-11"
    assert SQLiteBudgetStore("a", "hour", "UTC").period() == "2026-11-22T23"


def test_each_period_has_its_own_sum(biller: Biller, monkeypatch: pytest.MonkeyPatch) -> None:
    days = iter(["2026-11-22", "2026-11-22", "2026-11-23", "2026-11-23", "2026-11-23"])
    today = next(days)
    monkeypatch.setattr(SQLiteBudgetStore, "period", lambda self: today)
    with budget("d", calls=1, per="day") as b:
        model_at(biller).invoke("hi")
        with pytest.raises(BudgetExceeded):
            model_at(biller).invoke("hi")
        today = "2026-11-23"
        model_at(biller).invoke("hi")
    assert b.spent.calls == 2


LOOP = """
import sys
from modelwire import ChatOpenAI, budget
from modelwire.errors import BudgetExceeded
model = ChatOpenAI(model="gpt-4o-mini", base_url=sys.argv[1], api_key="k", max_tokens=60, rate_limit=None)
print("on", flush=True)
with budget("killed", usd="0.01", per="month"):
    while True:
        try:
            model.invoke("hi")
        except BudgetExceeded:
            break
"""


@pytest.mark.long
@pytest.mark.parametrize(
    "pauses_s",
    [(0.02,), pytest.param((0.01, 0.02, 0.05), marks=pytest.mark.long)],
    ids=["once", "three times"],
)
def test_a_killed_process_never_leaves_a_sum_that_is_too_low(
    biller: Biller, pauses_s: tuple[float, ...]
) -> None:
    biller.output = lambda body: 60
    for pause_s in pauses_s:
        before = biller.calls
        child = subprocess.Popen(
            [sys.executable, "-c", LOOP, biller.url],
            stdout=subprocess.PIPE,
            env={**os.environ},
            text=True,
        )
        assert child.stdout is not None
        child.stdout.readline()
        while biller.calls == before:
            time.sleep(0.001)
        time.sleep(pause_s)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        time.sleep(0.05)  # what it had sent is billed
        total = SQLiteBudgetStore("killed", "month", "UTC").total()
        assert total.usd >= biller.usd > 0
        assert total.calls >= biller.calls
    ended = subprocess.run(
        [sys.executable, "-c", LOOP, biller.url], env={**os.environ}, check=True, timeout=120
    )
    assert ended.returncode == 0
    assert biller.usd <= Decimal("0.01")


# ---------------------------------------------------------------- bad input, and what people read


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({}, "A budget needs a limit"),
        ({"usd": 0}, "`usd` is an amount of dollars above 0"),
        ({"usd": -1}, "`usd` is an amount"),
        ({"usd": float("nan")}, "`usd` is an amount"),
        ({"usd": float("inf")}, "`usd` is an amount"),
        ({"usd": "much"}, "`usd` is an amount"),
        ({"usd": True}, "`usd` is an amount"),
        ({"tokens": 1.5}, "`tokens` is a whole number above 0"),
        ({"calls": 0}, "`calls` is a whole number above 0"),
        ({"seconds": -2}, "`seconds` is a number above 0"),
        ({"seconds": float("nan")}, "`seconds` is a number above 0"),
        ({"calls": 1, "per": "day"}, "needs a name"),
        ({"name": "x", "calls": 1, "per": "week"}, '"hour", "day" or "month"'),
        ({"name": "x", "calls": 1, "zone": "Mars/Base"}, "is not a time zone"),
        ({"name": "x", "calls": 1, "zone": "../etc/passwd"}, "is not a time zone"),
        ({"calls": 1, "unpriced": "maybe"}, '"refuse" or "ignore"'),
        ({"name": "nowhere"}, "There is no budget `nowhere`"),
    ],
)
def test_a_budget_that_cannot_be_held_is_refused(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(InvalidArgument, match=match):
        budget(**settings)


def test_limits_come_from_the_file(tmp_path: Path, biller: Biller) -> None:
    path = tmp_path / "modelwire.toml"
    path.write_text('[budgets.team]\ncalls = 1\nper = "day"\n')
    with budget("team", config_file=str(path)) as b, pytest.raises(BudgetExceeded):
        model_at(biller).invoke("hi")
        model_at(biller).invoke("hi")
    assert b.calls == 1
    path.write_text("[budgets.team]\ncall = 1\n")
    with pytest.raises(
        InvalidConfig, match=r"line 2: a budget has no `call`\. Did you mean `calls`"
    ):
        budget("team", config_file=str(path))
    path.write_text("[budgets.team]\ncalls = 1\n")
    with pytest.raises(InvalidArgument, match="Did you mean `team`"):
        budget("taem", config_file=str(path))


def test_an_argument_wins_over_the_file_and_the_others_of_the_file_hold(tmp_path: Path) -> None:
    path = tmp_path / "modelwire.toml"
    path.write_text('[budgets.team]\ncalls = 1\ntokens = 500\nper = "day"\nunpriced = "ignore"\n')
    b = budget("team", calls=3, config_file=str(path))
    assert (b.calls, b.tokens, b.unpriced) == (3, 500, "ignore")
    assert budget("other", calls=3, config_file=str(path)).tokens is None
    with pytest.raises(InvalidArgument, match=r"`name` must be a text, not 5.*`budget\(usd=5\)`"):
        budget(5)  # type: ignore[arg-type]


def test_it_prints_what_is_spent(biller: Biller) -> None:
    with budget(usd="1.50", calls=100) as b:
        model_at(biller).invoke("hi")
    assert str(b) == "budget: $0.0000072 of $1.50, 18 tokens, 1 of 100 calls"
    with budget("team", tokens=500, seconds=60) as b:
        model_at(biller).invoke("hi")
    assert str(b).startswith("budget team: $0.0000072, 18 of 500 tokens, 1 calls, ")


def test_the_file_of_a_named_budget_is_closed_with_it() -> None:
    store = SQLiteBudgetStore("closed", None, "UTC")
    connection = store._db
    del store
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


@pytest.mark.parametrize(
    ("calls", "words"), [(1, "its only call is made"), (2, "its 2 calls are made")]
)
def test_a_budget_of_calls_says_how_many_were_made(calls: int, words: str) -> None:
    with budget(calls=calls), ProviderServer() as server:
        model = server.model()
        for _ in range(calls):
            model.invoke("hi")
        with pytest.raises(BudgetExceeded, match=words):
            model.invoke("hi")


@pytest.mark.parametrize(("tier", "share"), [("flex", "0.5"), ("priority", "1.8")])
def test_a_call_is_held_and_paid_by_its_tier(tier: str, share: str) -> None:
    usual = (
        Decimal("0.25") * 6000 + Decimal(2) * 64
    ) / 10**6  # of gpt-5-mini: the question and more
    with ProviderServer() as server, budget(usd=usual * Decimal(share)) as held:
        model = server.model(model="gpt-5-mini", max_tokens=64, service_tier=tier)
        answer = model.invoke("word " * 4000)
        assert held.spent.usd == price_of(answer) > 0
        with pytest.raises(BudgetExceeded):
            model.invoke("word " * 4000)
    assert len(server.requests) == 1
