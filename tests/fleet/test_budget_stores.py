"""Named budgets keep the same promises in the user's file and on a Redis that processes share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support.biller import OUTPUT, Biller, billing, model_at
from support.redis_server import RedisServer

import modelwire
from modelwire import budget
from modelwire.budgets import Spending
from modelwire.budgets.store import SQLiteBudgetStore
from modelwire.errors import BudgetExceeded
from modelwire.fleet.budgets import SharedBudgetStore

pytest.importorskip("genai_prices")
pytestmark = pytest.mark.usefixtures("patient")


@pytest.fixture
def biller() -> Iterator[Biller]:
    with billing() as server:
        yield server


@pytest.fixture(params=["file", "redis"], autouse=True)
def place(
    request: pytest.FixtureRequest,
    redis: RedisServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    if request.param == "redis":
        monkeypatch.setenv("MODELWIRE_SHARED", redis.patient_url)
        modelwire.shared()
    return str(request.param)


def test_the_store_is_where_the_state_is_shared(place: str) -> None:
    kinds: dict[str, Any] = {"file": SQLiteBudgetStore, "redis": SharedBudgetStore}
    assert type(budget("team", calls=1)._store) is kinds[place]


def test_a_budget_continues_under_its_name(colour: Any, biller: Biller) -> None:
    model = model_at(biller)
    with budget("team", calls=2, usd=1):
        colour.invoke(model, "hi")
    with budget("team", calls=2, usd=1) as b:
        colour.invoke(model, "hi")
        with pytest.raises(BudgetExceeded, match=r"`team` is used up: its 2 calls"):
            colour.invoke(model, "hi")
    assert (b.left.calls, b.left.usd) == (0, 1 - biller.usd)
    with budget("other", calls=1):
        colour.invoke(model, "hi")
    assert biller.calls == 3


@pytest.mark.parametrize("limits", [{"usd": "0.0002"}, {"tokens": 400}, {"usd": 1, "tokens": 400}])
def test_the_last_affordable_call_is_sent_and_the_next_is_not(
    colour: Any, biller: Biller, limits: Any
) -> None:
    model = model_at(biller)
    with budget("team", **limits) as b, pytest.raises(BudgetExceeded) as caught:
        for _ in range(100):
            colour.invoke(model, "hi")
    left, needed = b.left, caught.value.needed
    assert biller.usd <= b.usd if b.usd is not None else True
    assert biller.tokens <= b.tokens if b.tokens is not None else True
    is_short_of_usd = left.usd is not None and left.usd < needed.usd
    is_short_of_tokens = left.tokens is not None and left.tokens < needed.tokens
    assert is_short_of_usd or is_short_of_tokens
    assert b.spent == Spending(biller.usd, biller.tokens, biller.calls)


def test_an_inner_budget_that_refuses_gives_back_what_the_named_one_reserved(
    biller: Biller,
) -> None:
    model = model_at(biller)
    with budget("team", calls=10, usd=1) as team:
        with budget(calls=1), pytest.raises(BudgetExceeded, match="its only call"):
            for _ in range(2):
                model.invoke("hi")
        assert team.left.calls == 9
        assert team.left.usd == 1 - biller.usd


def test_one_budget_with_two_limits_holds_each(biller: Biller) -> None:
    model = model_at(biller)
    with budget("team", calls=5) as wide:
        model.invoke("hi")
        with budget("team", calls=3) as narrow, pytest.raises(BudgetExceeded):
            for _ in range(10):
                model.invoke("hi")
    # A call inside both is counted by both.
    assert narrow.spent.calls == 1
    assert wide.spent.calls == 2


def test_each_period_has_its_own_sum(biller: Biller, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2026, 11, 22, 22, 30, tzinfo=ZoneInfo("UTC"))

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return now.astimezone(tz)

    monkeypatch.setattr("modelwire.budgets.store.datetime", Clock)
    model = model_at(biller)
    with budget("team", calls=1, per="day", zone="Europe/Vienna") as b:
        model.invoke("hi")
        with pytest.raises(BudgetExceeded):
            model.invoke("hi")
        now = datetime(2026, 11, 22, 23, 30, tzinfo=ZoneInfo("UTC"))
        model.invoke("hi")
        with pytest.raises(BudgetExceeded):
            model.invoke("hi")
    assert b.spent.calls == 2


def test_a_call_that_ends_in_the_next_period_is_settled_in_its_own(
    biller: Biller, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour = 10

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime(2026, 11, 22, hour, 30, tzinfo=tz)

    def strike() -> None:
        nonlocal hour
        hour = 11

    monkeypatch.setattr("modelwire.budgets.store.datetime", Clock)
    biller.meanwhile = strike
    with budget("team", usd=1, per="hour") as b:
        model_at(biller).invoke("hi")
        assert b.left.usd == 1
        hour = 10
        assert b.left.usd == 1 - biller.usd


def test_threads_never_spend_more_together(biller: Biller) -> None:
    model = model_at(biller, max_tokens=60)
    biller.output = lambda body: 60
    usd = 100 * 60 * OUTPUT

    def ask(_: int) -> bool:
        try:
            with budget("team", usd=usd):
                model.invoke("hi")
        except BudgetExceeded:
            return False
        return True

    with ThreadPoolExecutor(10) as pool:
        answered = sum(pool.map(ask, range(200)))
    assert 0 < answered == biller.calls < 200
    assert biller.usd <= usd


LOOP = """
import sys, time
from modelwire import ChatOpenAI, budget
from modelwire.errors import BudgetExceeded
model = ChatOpenAI(model="gpt-4o-mini", base_url=sys.argv[1], api_key="k", max_tokens=60, rate_limit=None)
print("on", flush=True)
with budget("killed", usd=sys.argv[2], per="month"):
    while True:
        try:
            model.invoke("hi")
        except BudgetExceeded:
            break
"""


def start(biller: Biller, usd: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", LOOP, biller.url, usd],
        stdout=subprocess.PIPE,
        env={**os.environ},
        text=True,
    )


def total() -> Spending:
    store = budget("killed", usd=1, per="month")._store
    assert store is not None
    return store.total()


def test_a_killed_process_never_leaves_a_sum_that_is_too_low(biller: Biller) -> None:
    biller.output = lambda body: 60
    child = start(biller, "0.01")
    while biller.calls < 5:
        time.sleep(0.001)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert child.stdout is not None
    child.stdout.close()
    time.sleep(0.05)  # What the child had sent is billed.
    after = total()
    assert after.usd >= biller.usd > 0
    assert after.calls >= biller.calls
    assert after.usd < Decimal("0.005")
    other = start(biller, "0.01")
    other.communicate(timeout=120)
    assert other.returncode == 0
    assert biller.usd <= Decimal("0.01")


@pytest.mark.long
def test_three_processes_one_of_them_killed_never_spend_more_together(biller: Biller) -> None:
    biller.output = lambda body: 60
    usd = 300 * 60 * OUTPUT
    children = [start(biller, str(usd)) for _ in range(3)]
    while biller.calls < 60:
        time.sleep(0.001)
    children[0].send_signal(signal.SIGKILL)
    for child in children:
        child.communicate(timeout=120)
    assert [child.returncode for child in children] == [-signal.SIGKILL, 0, 0]
    assert biller.usd <= usd
    # What was killed in flight stays spent, and its parcel of at most a hundredth; the rest was used.
    assert biller.usd > usd * Decimal("0.9")
