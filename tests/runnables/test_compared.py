"""Runnables are values: a copy is equal to what it was made of, and another configuration is not."""

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from modelwire.chat_history import InMemoryChatMessageHistory
from modelwire.language_models import FakeListChatModel
from modelwire.runnables import (
    ConfigurableField,
    RouterRunnable,
    Runnable,
    RunnableBranch,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
    RunnablePick,
    RunnableWithMessageHistory,
    route,
)


def same(value: Any) -> Any:
    return value


def other(value: Any) -> Any:
    return value


def chunks(items: Iterator[Any]) -> Iterator[Any]:
    yield from items


def history(session_id: str) -> InMemoryChatMessageHistory:
    raise NotImplementedError


def model(answer: str) -> FakeListChatModel:
    return FakeListChatModel(responses=[answer])


MADE: dict[str, Callable[[Any], Runnable[Any, Any]]] = {
    "lambda": RunnableLambda,
    "sequence": lambda step: RunnableLambda(step) | chunks,
    "parallel": lambda step: RunnableParallel(a=step, b=same),
    "passthrough": RunnablePassthrough,
    "assign": lambda step: RunnablePassthrough.assign(a=step),
    "branch": lambda step: RunnableBranch((step, same), same),
    "fallbacks": lambda step: RunnableLambda(same).with_fallbacks([RunnableLambda(step)]),
    "retry": lambda step: RunnableLambda(step).with_retry(),
    "bound": lambda step: RunnableLambda(step).bind(a=1),
    "each": lambda step: RunnableLambda(step).map(),
    "router": lambda step: RouterRunnable({"a": step}),
    "route": lambda step: route(same, {"a": step}),
    "history": lambda step: RunnableWithMessageHistory(RunnableLambda(step), history),
    "fields": lambda step: model(step.__name__).configurable_fields(
        responses=ConfigurableField(id="r")
    ),
    "alternatives": lambda step: model("a").configurable_alternatives(
        ConfigurableField(id="w"), o=model(step.__name__)
    ),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_a_copy_is_equal_and_another_one_is_not(make: Callable[[Any], Runnable[Any, Any]]) -> None:
    runnable = make(same)
    for again in (
        copy.copy(runnable),
        copy.deepcopy(runnable),
        pickle.loads(pickle.dumps(runnable)),
        make(same),
    ):
        assert again == runnable
    assert make(other) != runnable
    assert runnable != same


def test_the_class_counts_too() -> None:
    assert RunnablePick("a") != RouterRunnable({"a": same})
    assert RunnableGenerator(chunks) == RunnableGenerator(chunks) != RunnableLambda(chunks)
    assert len({RunnablePick("a"), RunnablePick("a"), RunnablePick(["a"])}) == 2
