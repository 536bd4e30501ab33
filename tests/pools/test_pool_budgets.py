"""A call of a pool and its tries at several deployments are one call of a budget; each try pays what it may cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.biller import Biller, billing, model_at

from modelwire import budget, pool
from modelwire.adapters import BaseChatModel
from modelwire.budgets import Budget, Spending
from modelwire.callbacks import BaseCallbackHandler
from modelwire.errors import AllDeploymentsFailed, BudgetExceeded, ServerError
from modelwire.messages import AIMessage
from modelwire.outputs import ChatGeneration, ChatResult
from modelwire.pools import PoolChatModel
from modelwire.usage import track

# The status of a gateway that lost the answer: the provider behind it may bill the try.
LOST = 502
Billers = Callable[..., list[Biller]]


@pytest.fixture
def billers() -> Iterator[Billers]:
    """Make servers that answer with these statuses, and stop them at the end."""
    with ExitStack() as stack:

        def make(*statuses: int) -> list[Biller]:
            made = [stack.enter_context(billing()) for _ in statuses]
            for one, status in zip(made, statuses, strict=True):
                one.status = status
            return made

        yield make


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def over(*servers: Biller, **options: Any) -> PoolChatModel:
    models = {name: model_at(server) for name, server in zip("abc", servers, strict=False)}
    return pool(models, **{"prefer": "first", **options})


def recover_after(server: Biller, requests: int) -> None:
    """Let a server answer, after it has refused so many requests."""
    seen = iter(range(requests - 1))

    def count() -> None:
        if next(seen, None) is None:
            server.meanwhile = recover

    def recover() -> None:
        server.status = 200

    server.meanwhile = count


@pytest.mark.parametrize("status", [500, 503, 429, 401])
def test_a_call_that_goes_elsewhere_is_one_call(colour: Any, billers: Billers, status: int) -> None:
    a, b = billers(status, 200)
    with budget(calls=3) as spent:
        for _ in range(3):
            colour.invoke(over(a, b), "hi")
        with pytest.raises(BudgetExceeded, match="its 3 calls are made"):
            colour.invoke(over(a, b), "hi")
    assert (a.calls, b.calls) == (3, 3)
    assert spent.spent.calls == 3
    assert spent.spent.tokens == b.tokens
    assert spent.reserved == Spending()


def test_a_stream_that_begins_elsewhere_is_one_call(colour: Any, billers: Billers) -> None:
    a, b = billers(500, 200)
    with budget(calls=2) as spent:
        for _ in range(2):
            colour.stream(over(a, b), "hi")
    assert (a.calls, b.calls, spent.spent.calls) == (2, 2, 2)
    assert spent.reserved == Spending()


def test_one_call_lasts_through_an_outage(colour: Any, billers: Billers) -> None:
    a, b = billers(500, 500)
    recover_after(a, 2)
    with budget(calls=1) as spent:
        colour.invoke(over(a, b), "hi")
    assert a.calls + b.calls > 3
    assert spent.spent.calls == 1


@pytest.mark.parametrize("status", [500, 401])
def test_a_call_that_failed_everywhere_has_counted_once(
    colour: Any, billers: Billers, status: int
) -> None:
    model = over(*billers(status, status, status), max_wait=0.2)
    with budget(calls=2) as spent:
        for number in range(1, 3 if status == 500 else 2):
            with pytest.raises(AllDeploymentsFailed):
                colour.invoke(model, "hi")
            assert spent.spent == Spending(calls=number)


def test_each_try_pays_and_reserves_what_it_may_cost(colour: Any, billers: Billers) -> None:
    a, b = billers(LOST, 200)
    with budget(tokens=1000, calls=1) as spent:
        colour.invoke(over(a, b), "hi")
    question = spent.spent.tokens - b.tokens
    assert question > 0
    assert spent.spent.calls == spent.guessed == 1
    # One try fits, and what it has paid is missing for the next.
    with budget(tokens=100 + question, calls=1) as small, pytest.raises(BudgetExceeded):
        colour.invoke(over(a, b), "hi")
    assert small.spent == Spending(small.spent.usd, question, 1)


def test_a_call_of_two_lost_tries_is_one_of_unknown_cost(billers: Billers) -> None:
    a, b, c = billers(LOST, LOST, 200)
    with budget(calls=1) as spent:
        over(a, b, c).invoke("hi")
    assert (spent.spent.calls, spent.guessed) == (1, 1)


def test_each_of_nested_budgets_counts_a_call_once(colour: Any, billers: Billers) -> None:
    model = over(*billers(500, 200))
    with budget(calls=2) as outer:
        with budget(calls=1) as inner, outer:
            colour.invoke(model, "hi")
            with pytest.raises(BudgetExceeded):
                colour.invoke(model, "hi")
        colour.invoke(model, "hi")
    assert (outer.spent.calls, inner.spent.calls) == (2, 1)
    assert outer.reserved == inner.reserved == Spending()


class Enters(BaseCallbackHandler):
    """Enters a budget when a try has failed."""

    raise_error = True

    def __init__(self, entered: Budget) -> None:
        self.entered = entered

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.entered.__enter__()


def test_a_budget_that_is_entered_between_two_tries_counts_the_call(billers: Billers) -> None:
    model = over(*billers(500, 500, 200))
    late = budget(calls=1)
    with budget(calls=1) as early:
        model.invoke("hi", {"callbacks": [Enters(late)]})
    assert early.spent.calls == late.spent.calls == 1
    while late.is_entered:
        late.__exit__()


class Asks(BaseCallbackHandler):
    """Calls a model when a try starts and when it has failed."""

    raise_error = True

    def __init__(self, model: Any) -> None:
        self.model = model

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        self.model.invoke("May I?")

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.model.invoke("Why?")


def test_calls_that_a_handler_makes_during_a_try_are_calls_of_their_own(billers: Billers) -> None:
    a, b, own = billers(500, 200, 200)
    with budget(calls=10) as spent:
        over(a, b).invoke("hi", {"callbacks": [Asks(model_at(own))]})
    assert own.calls == 3
    assert spent.spent.calls == 4


def test_a_named_budget_counts_a_call_once(colour: Any, billers: Billers) -> None:
    a, b = billers(500, 200)
    for _ in range(2):
        with budget("team", calls=2, per="day"):
            colour.invoke(over(a, b), "hi")
    with budget("team", calls=2, per="day") as third, pytest.raises(BudgetExceeded):
        colour.invoke(over(a, b), "hi")
    assert third.left.calls == 0
    assert b.calls == 2


def test_calls_of_several_threads_count_once_each(billers: Billers) -> None:
    a, b = billers(500, 200)
    spent = budget(calls=40)

    def ask(number: int) -> None:
        with spent:
            over(a, b).invoke(str(number))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(40)))
    assert (b.calls, spent.spent.calls, spent.left.calls) == (40, 40, 0)
    assert a.calls > 0
    assert spent.reserved == Spending()


def test_a_hedge_is_a_call_of_its_own(colour: Any, billers: Billers) -> None:
    slow, quick = billers(200, 200)
    slow.delay_s = 1.0
    model = over(slow, quick, hedge=0.1)
    model._scheduler.hedges.calls = 100
    with budget(calls=10) as spent:
        colour.invoke(model, "hi")
    assert spent.spent.calls == 2
    slow.delay_s = 0
    slow.status = 500
    with budget(calls=10) as spent:
        colour.invoke(over(slow, quick, hedge=30), "hi")
    assert spent.spent.calls == 1


class Local(BaseChatModel):
    """A model that sends no request of modelwire's own; it may fail."""

    fails: bool = False

    @property
    def _llm_type(self) -> str:
        return "local"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        if self.fails:
            raise ServerError("It is down.", status=500)
        return ChatResult(generations=[ChatGeneration(message=AIMessage("ok"))])


def test_models_that_build_no_request_are_tried_as_one_call(colour: Any) -> None:
    model = pool({"a": Local(fails=True), "b": Local()}, prefer="first")
    with budget(calls=1) as spent:
        assert colour.invoke(model, "hi").text == "ok"
    assert spent.spent.calls == 1


def test_track_counts_the_answer_as_a_call_and_the_failed_try_as_an_error(
    colour: Any, billers: Billers
) -> None:
    a, b = billers(500, 200)
    with track() as tracked:
        colour.invoke(over(a, b), "hi")
    assert (tracked.total.calls, tracked.errors) == (1, 1)
