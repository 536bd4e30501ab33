"""`RouterRunnable`: the input names the runnable."""

from __future__ import annotations

from typing import Any

import pytest

from modelwire.errors import InvalidArgument, InvalidType
from modelwire.runnables import RouterRunnable, RunnableLambda

router = RouterRunnable[Any]({"double": lambda x: x * 2, "text": str})


def test_the_key_chooses_who_gets_the_input(colour: Any) -> None:
    assert colour.invoke(router, {"key": "double", "input": 2}) == 4
    assert colour.stream(router, {"key": "text", "input": 2}) == ["2"]
    assert colour.batch(router, [{"key": "text", "input": 1}, {"key": "double", "input": 1}]) == [
        "1",
        2,
    ]


def test_an_unknown_key_offers_the_close_ones(colour: Any) -> None:
    with pytest.raises(
        InvalidArgument, match=r"No runnable associated with key 'doubel'\. Did you mean `double`"
    ):
        colour.invoke(router, {"key": "doubel", "input": 2})


@pytest.mark.parametrize("bad", [3, {"key": "text"}, {"input": 1}, ["key", "input"]])
def test_an_input_without_key_and_input_is_refused(colour: Any, bad: Any) -> None:
    with pytest.raises(InvalidType, match="`key` and `input`"):
        colour.invoke(router, bad)


def test_what_is_no_runnable_is_named_at_construction() -> None:
    with pytest.raises(InvalidType, match="as `b` of a `RouterRunnable`, not a `int`"):
        RouterRunnable({"b": 3})


def test_equality_and_repr_show_the_runnables() -> None:
    same = RunnableLambda(str)
    assert RouterRunnable({"a": same}) == RouterRunnable({"a": same})
    assert (
        repr(RouterRunnable({"a": same})) == "RouterRunnable(runnables={'a': RunnableLambda(str)})"
    )
