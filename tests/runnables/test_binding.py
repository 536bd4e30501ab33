"""Bindings and `map`."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from modelwire.runnables import Runnable, RunnableBinding, RunnableEach, RunnableLambda


class Seeing(Runnable[Any, Any]):
    """Returns what it was called with."""

    def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        return input, (config or {}).get("tags"), kwargs

    def peek(self, config: Any = None) -> Any:
        return config

    extra = "extra"


def test_bound_keywords_reach_every_kind_of_call(colour: Any) -> None:
    bound = Seeing().bind(a=1).bind(b=2)
    expected = (0, None, {"a": 1, "b": 2})
    assert colour.invoke(bound, 0) == expected
    assert colour.invoke(bound, 0, a=3) == (0, None, {"a": 3, "b": 2})
    assert colour.stream(bound, 0) == [expected]
    assert colour.transform(bound, [0]) == [expected]
    assert colour.batch(bound, [0, 0]) == [(0, [], {"a": 1, "b": 2})] * 2
    assert [pair[1] for pair in colour.batch_as_completed(bound, [0])] == [
        (0, [], {"a": 1, "b": 2})
    ]


def test_bound_config_lies_under_the_calls(colour: Any) -> None:
    bound = Seeing().with_config(tags=["b"]).with_config({"tags": ["c"]})
    assert bound.config == {"tags": ["b", "c"]}
    assert colour.invoke(bound, 0, {"tags": ["a"]}) == (0, ["a", "b", "c"], {})
    assert colour.batch(bound, [0], [{"tags": ["a"]}])[0][1] == ["a", "b", "c"]


def test_bound_timeout_holds_inside_a_chain_with_a_longer_one(colour: Any) -> None:
    import time

    from modelwire.errors import Timeout

    slow = RunnableLambda(lambda x: time.sleep(0.03) or x).with_config(timeout=0.01)
    with pytest.raises(Timeout, match=r"0\.01 s"):
        colour.invoke(RunnableLambda(str) | slow, 1, {"timeout": 60})
    assert colour.invoke(slow, 1, {"timeout": 60}) == 1


def test_bound_max_concurrency_bounds_its_batches(colour: Any) -> None:
    import threading
    import time

    lock, counts = threading.Lock(), [0, 0]

    def work(x: int) -> int:
        with lock:
            counts[0] += 1
            counts[1] = max(counts)
        time.sleep(0.003)
        with lock:
            counts[0] -= 1
        return x

    assert colour.batch(RunnableLambda(work).with_config(max_concurrency=2), range(12)) == list(
        range(12)
    )
    assert counts[1] <= 2


def test_config_factories_lie_over_the_merged_config(colour: Any) -> None:
    bound = RunnableBinding(
        bound=Seeing(), config_factories=[lambda config: {"tags": ["f", *config.get("tags", [])]}]
    )
    assert colour.invoke(bound, 0, {"tags": ["a"]}) == (0, ["a", "f"], {})


def test_attributes_of_what_is_bound_are_there_with_the_bound_config() -> None:
    bound = Seeing().with_config(tags=["t"])
    assert bound.extra == "extra"
    assert bound.peek() == {"tags": ["t"]}
    with pytest.raises(AttributeError, match="no_such"):
        bound.no_such  # noqa: B018


def test_bindings_copy_compare_and_show_themselves() -> None:
    inner = Seeing()
    bound = inner.bind(a=1)
    assert copy.copy(bound) == bound == inner.bind(a=1)
    assert bound != inner.bind(a=2)
    assert bound.get_name() == "Seeing"
    assert repr(RunnableLambda(str).bind(a=1)) == (
        "RunnableBinding(bound=RunnableLambda(str), kwargs={'a': 1}, config={}, config_factories=[])"
    )


def test_map_runs_on_each_item(colour: Any) -> None:
    each = RunnableLambda(lambda x: x + 1).map()
    assert colour.invoke(each, [1, 2, 3]) == [2, 3, 4]
    assert colour.invoke(each, (1, 2)) == [2, 3]
    assert colour.invoke(each, []) == []
    assert colour.invoke(each.map(), [[1], [2, 3]]) == [[2], [3, 4]]
    assert each.get_name() == "RunnableEach<RunnableLambda>"
    assert isinstance(each, RunnableEach)
    assert colour.invoke(Seeing().map().bind(a=1), [0]) == [(0, [], {"a": 1})]
