"""`max_cost` is not passed: what a row may cost is set aside before it is asked, whatever it costs in the end."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwire import pool
from modelwire.adapters import ChatAnthropic, ChatOpenAI
from modelwire.adapters.model.base import BaseChatModel
from modelwire.errors import InvalidArgument
from modelwire.jobs import JobResult, run_job, work
from modelwire.jobs.budget import RowMoney
from modelwire.jobs.work import make_work
from modelwire.messages import AIMessage
from modelwire.outputs import ChatGeneration, ChatResult
from modelwire.runnables import RunnableLambda, RunnablePassthrough
from modelwire.testing import Answer, ProviderServer

pytest.importorskip("genai_prices")
MODEL = "gpt-4o-mini"  # 0.15 and 0.60 USD a million tokens


def spending(
    tmp_path: Path, words: Any, rows: Any, *, wire: str = "openai", **options: Any
) -> tuple[JobResult, int]:
    """Run a job at a provider whose nth answer has `words(n)` words; return how many calls it took, too."""

    def answer(request: Any) -> Any:
        return Answer(" ".join(["word"] * words(len(server.requests))), latency_s=0.002)

    with ProviderServer(default=answer) as server:
        given_ = {"model": MODEL} | options.pop("model_options", {})
        model = server.model(**given_)
        result = run_job(
            "{text}", rows, model=model, output=tmp_path / "o.jsonl", quiet=True, **options
        )
        return result, len(server.requests)


def texts(count: int) -> list[dict[str, str]]:
    return [{"text": f"t{n}"} for n in range(count)]


def test_answers_that_grow_do_not_pass_the_limit(tmp_path: Path) -> None:
    def words(n: int) -> int:
        return 20 if n <= 60 else 2_000

    result, _ = spending(
        tmp_path, words, texts(300), max_cost="0.05", model_options={"max_tokens": 2_100}
    )
    assert result.stopped == "max_cost"
    assert Decimal("0.045") < result.cost <= Decimal("0.05")


def test_a_row_with_a_long_input_is_reckoned_by_its_own(tmp_path: Path) -> None:
    rows = [*texts(50), *({"text": f"{n} " * 20_000} for n in range(50))]
    result, calls = spending(
        tmp_path, lambda n: 1, rows, max_cost="0.02", model_options={"max_tokens": 16}
    )
    assert result.stopped == "max_cost" and 50 <= calls < 100
    assert result.cost <= Decimal("0.02")


def test_more_money_goes_on_and_less_than_a_row_asks_nothing(tmp_path: Path, capsys: Any) -> None:
    result, calls = spending(tmp_path, lambda n: 3, texts(3), max_cost="0.001")
    assert (result.stopped, calls, result.rows) == (
        "max_cost",
        0,
        0,
    )  # an answer may have 16,384 tokens
    with ProviderServer(default="fine") as server:
        model = server.model(model=MODEL)
        run_job("{text}", texts(3), model=model, output=tmp_path / "o.jsonl", max_cost="0.001")
    assert "set `max_tokens` to lower it." in capsys.readouterr().err
    result, calls = spending(tmp_path, lambda n: 3, texts(3), max_cost="0.02")
    assert (result.complete, calls) == (True, 3)
    assert result.cost < Decimal("0.001")


@pytest.mark.parametrize("repeat", [1, 3])
def test_rows_in_flight_wait_for_money_and_go_on_when_it_comes_back(
    tmp_path: Path, repeat: int
) -> None:
    # Three rows at a time can be afforded, and all of them are: what was set aside comes back.
    template = "{text} " * repeat
    model = {"max_tokens": 100}
    with ProviderServer(default="one") as server:
        budget = RowMoney(Decimal(1), make_work(template, server.model(model=MODEL, **model)))
        each = budget.needed(json.dumps({"text": "t10"}).encode())
        result = run_job(
            template,
            texts(25),
            model=server.model(model=MODEL, **model),
            output=tmp_path / "o.jsonl",
            quiet=True,
            max_cost=each * 3,
        )
    assert (result.complete, result.rows) == (True, 25)
    assert result.cost < each * 3


class Spender(BaseChatModel):
    """A model of a user's own, that says how long its answers may be."""

    max_tokens: int = 40

    @property
    def _llm_type(self) -> str:
        return "spender"

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


def answer_of(tokens: int) -> Any:
    usage: Any = {"input_tokens": 0, "output_tokens": tokens, "total_tokens": tokens}
    return ChatResult(generations=[ChatGeneration(message=AIMessage("x", usage_metadata=usage))])


MODELS = {
    "a limit of its own": (lambda: ChatOpenAI(model=MODEL, max_tokens=7, api_key="k"), 7),
    "under the newer name": (
        lambda: ChatOpenAI(model=MODEL, max_completion_tokens=7, api_key="k"),
        7,
    ),
    "bound": (lambda: ChatOpenAI(model=MODEL, api_key="k").bind(max_tokens=9), 9),
    "bound wins": (
        lambda: ChatOpenAI(model=MODEL, max_tokens=7, api_key="k").bind(max_tokens=9),
        9,
    ),
    "three answers": (lambda: ChatOpenAI(model=MODEL, max_tokens=7, api_key="k").bind(n=3), 21),
    "the other wire": (
        lambda: ChatOpenAI(model="gpt-4o", max_tokens=70, api_key="k", use_responses_api=True),
        70,
    ),
    "said by nobody": (lambda: ChatOpenAI(model=MODEL, api_key="k"), 16_384),
    "Anthropic": (lambda: ChatAnthropic(model="claude-sonnet-4-5", max_tokens=7, api_key="k"), 7),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_largest_answer_is_what_the_request_allows(name: str) -> None:
    make, tokens = MODELS[name]
    budget = RowMoney(Decimal(1), make_work("{text}", make()))
    assert [call.answer_tokens for call in budget._each_call()] == [tokens]


def test_every_model_of_a_chain_is_reckoned_and_again_for_each_retry() -> None:
    model = ChatOpenAI(model=MODEL, max_tokens=10, api_key="k")
    chain = (
        RunnablePassthrough.assign(summary=make_work("{text}", model).chain)
        | RunnableLambda(str)
        | model
    )
    row = b'{"text":"a"}'
    single = RowMoney(Decimal(1), make_work("{text}", model))
    assert len(RowMoney(Decimal(1), make_work(chain))._calls) == 2
    assert len(RowMoney(Decimal(1), make_work(chain.with_retry(stop_after_attempt=3)))._calls) == 6
    assert RowMoney(Decimal(1), make_work(chain)).needed(row) > single.needed(row) > 0


def test_a_row_of_a_pool_is_reckoned_at_the_dearest_member() -> None:
    small = ChatOpenAI(model="gpt-4o-mini", max_tokens=100, api_key="k")
    large = ChatOpenAI(model="gpt-4o", max_tokens=100, api_key="k")
    row = b'{"text":"a"}'

    def needed(model: Any) -> Decimal:
        money = RowMoney(Decimal(1), make_work("{text}", model))
        # The texts of a pool's own work are longer than those of a model's.
        money._own_tokens = 100
        return money.needed(row)

    assert needed(pool([small, large])) == needed(pool([large, small])) == needed(large)
    assert needed(pool([small])) == needed(small) < needed(large)


def test_a_pool_with_a_member_whose_price_is_unknown_is_refused_under_a_limit(
    tmp_path: Path,
) -> None:
    models = [ChatOpenAI(model=name, api_key="k") for name in ("gpt-4o", "nobody-knows-1")]
    with pytest.raises(InvalidArgument, match="no price of `nobody-knows-1`"):
        run_job("{text}", texts(2), model=pool(models), output=tmp_path / "o.jsonl", max_cost=1)


def test_a_job_over_a_pool_stops_before_a_row_that_could_pass_the_limit(tmp_path: Path) -> None:
    with ProviderServer(default="one") as a, ProviderServer(default="one") as b:
        models = [one.model(model=MODEL, max_tokens=100) for one in (a, b)]
        result = run_job(
            "{text}",
            texts(3),
            model=pool(models),
            output=tmp_path / "o.jsonl",
            max_cost="0.0000001",
        )
        assert len(a.requests) + len(b.requests) == 0
    assert (result.stopped, result.rows) == ("max_cost", 0)


@settings(max_examples=12, deadline=None)
@given(
    costs=st.lists(st.integers(1, 40), min_size=1, max_size=60),
    cap=st.integers(1, 400),
    at_once=st.integers(1, 30),
)
def test_no_order_of_costs_passes_a_cap_that_reservations_know(
    tmp_path_factory: pytest.TempPathFactory, costs: list[int], cap: int, at_once: int
) -> None:
    """Each row costs up to 40 cents, which the price of an answer of `max_tokens` says."""
    most = Decimal(cap) / 100

    class Model(Spender):
        async def _agenerate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0.0005 * (int(messages[0].text) % 3))
            return answer_of(costs[int(messages[0].text)])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            work,
            "known_price",
            lambda message: Decimal(message.usage_metadata["output_tokens"]) / 100,
        )
        result = run_job(
            "{n}",
            [{"n": n} for n in range(len(costs))],
            model=Model(max_tokens=40),
            quiet=True,
            max_cost=most,
            max_concurrency=at_once,
            output=tmp_path_factory.mktemp("money") / "o.jsonl",
        )
    assert result.cost <= most
    if not result.complete:  # one more could have passed it
        assert result.cost + Decimal("0.40") > most
    assert result.rows == len(costs) or result.stopped == "max_cost"
