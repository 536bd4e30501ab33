"""The claims behind the programs of docs/budgets.md, docs/tokens.md and docs/plan.md (`test_pages.py` runs these)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from modelwire import ChatOpenAI, budget
from modelwire.errors import BudgetExceeded, ContextTooLong, InvalidArgument
from modelwire.jobs import plan_job, run_job
from modelwire.jobs.finish_by import JobPlan
from modelwire.jobs.plan import State, expected
from modelwire.testing import BatchPlan, ProviderServer

ROWS = [{"review": f"Wine number {n}, with notes of pear."} for n in range(200)]


def test_a_loop_that_would_not_end() -> None:
    with ProviderServer() as server:
        model = server.model(model="gpt-4o-mini", max_tokens=200)
        with (
            budget(usd="0.001", calls=50) as b,
            pytest.raises(BudgetExceeded, match="was not sent"),
        ):
            while True:
                model.invoke("Once more.")
    assert b.spent.usd <= b.usd


def test_threads_of_your_own_enter_it_again() -> None:
    with ProviderServer() as server:
        model = server.model(model="gpt-4o-mini")
        b = budget(calls=3)

        def ask(text):
            with b:
                return model.invoke(text)

        with ThreadPoolExecutor(4) as pool:
            outcomes = [pool.submit(ask, "Hello.").exception() for _ in range(5)]
    assert [type(error) for error in outcomes].count(BudgetExceeded) == 2


def test_each_question_has_a_part_of_the_whole() -> None:
    with ProviderServer() as server:
        model = server.model(model="gpt-4o-mini")
        with budget(calls=5) as whole:
            with budget(calls=2), pytest.raises(BudgetExceeded, match="its 2 calls are made"):
                for _ in range(3):
                    model.invoke("Hello.")
            model.invoke("The whole still has some.")
    assert whole.left.calls == 2


def test_a_named_budget_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The sums are in modelwire/budgets.sqlite there.
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with ProviderServer() as server:
        model = server.model(model="gpt-4o-mini")
        for _ in range(2):  # as two runs
            with budget("team", calls=2, per="day", zone="Europe/Vienna"):
                model.invoke("Hello.")
        with (
            budget("team", calls=2, per="day", zone="Europe/Vienna"),
            pytest.raises(BudgetExceeded),
        ):
            model.invoke("Hello.")


def test_a_profile_has_limits_abilities_and_prices() -> None:
    profile = ChatOpenAI(model="gpt-5", api_key="k").profile
    assert profile["max_input_tokens"] == 272_000
    assert profile["max_output_tokens"] == 128_000
    assert profile["image_inputs"] and profile["tool_calling"] and profile["structured_output"]
    # It names models.dev, the version of the package, its row, its date.
    assert profile["retirement_date"] is None  # not known


def test_what_you_set_wins() -> None:
    model = ChatOpenAI(
        model="our-own", base_url="http://127.0.0.1:8000/v1", profile={"max_input_tokens": 32_000}
    )
    assert model.profile["max_input_tokens"] == 32_000
    assert model.profile["sources"]["max_input_tokens"]["name"] == "profile="


def weather(city: str) -> None:
    """Tell the weather in a city."""


def test_the_provider_counts() -> None:
    with ProviderServer() as server:
        for wire in ("responses", "anthropic", "gemini", "bedrock"):
            model = server.model(wire)
            count = model.count_tokens("What is the weather in Rome?", tools=[weather])
            assert count.exact and count > model.count_tokens("What is the weather in Rome?")
            assert model.bind_tools([weather]).count_tokens("What is the weather in Rome?") == count


def test_what_cannot_fit_is_not_sent() -> None:
    with ProviderServer() as server:
        model = server.model(profile={"max_input_tokens": 1_000})
        with pytest.raises(ContextTooLong, match="Nothing was sent") as caught:
            model.invoke("all work and no play makes a dull boy " * 300)
        assert (caught.value.tokens, caught.value.max_input_tokens) == (2_850, 1_000)
        assert server.counts.requests == 0


def test_a_job_that_is_done_by_seven(tmp_path: Path) -> None:
    # Its batches are back at the first look.
    with ProviderServer(batches=BatchPlan(polls=1)) as server:
        model = server.model(model="gpt-4o-mini", max_tokens=50, rpm=500)
        options = {
            "model": model,
            "output": tmp_path / "sums.csv",
            "finish_by": "6h",
            "max_cost": 4,
        }
        plan = plan_job("Summarise: {review}", ROWS, **options)
        assert not server.requests  # a plan asks nothing
        result = run_job("Summarise: {review}", ROWS, **options)
    assert result.complete and plan.end <= plan.hour
    assert len(server.batches.made) > 1  # most rows went at half the price


def test_an_hour_that_cannot_be_met(tmp_path: Path) -> None:
    with ProviderServer() as server:
        model = server.model(model="gpt-4o-mini", rpm=30)
        with pytest.raises(
            InvalidArgument, match=r"live calls get 30 rows a minute. The earliest is .*, for about"
        ):
            run_job(
                "Summarise: {review}",
                ROWS,
                model=model,
                output=tmp_path / "late.csv",
                finish_by="3m",
            )
        assert not server.requests


def test_the_table_of_a_plan() -> None:
    eight = datetime.now().astimezone().replace(hour=8, minute=0, second=0, microsecond=0)
    state = State(left_s=36_000, rows=20_000, rate=500 / 60, price=0.0052, money=400, spare_s=1_800)
    assert str(JobPlan(expected(state), eight, eight + timedelta(hours=10))).splitlines() == [
        "way                 rows    cost    end",
        "batch             18,194  $47.30  12:42",
        "batch, then live   1,806   $9.39  16:43",
        "all               20,000  $56.70  16:43",
        "Deadline 18:00. Batches not finished by 16:29 are cancelled one by one, and their rows are called "
        "directly: $104.00 at most by these estimates.",
    ]
