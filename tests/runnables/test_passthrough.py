"""Passing on, assigning and picking."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from modelwire.errors import InvalidType
from modelwire.runnables import RunnableAssign, RunnableLambda, RunnableParallel, RunnablePassthrough, RunnablePick


def test_passthrough_gives_back_the_same_object(colour: Any) -> None:
    value = {"a": 1}
    assert colour.invoke(RunnablePassthrough(), value) is value
    assert colour.transform(RunnablePassthrough(), ["a", "b"]) == ["a", "b"]


def test_passthrough_tells_its_function_the_whole_input(colour: Any) -> None:
    seen: list[Any] = []

    async def atell(x: Any, config: Any) -> None:
        seen.append((x, config["tags"]))

    def tell(x: Any, config: Any) -> None:
        seen.append((x, config["tags"]))

    for passthrough in (RunnablePassthrough(tell), RunnablePassthrough(tell, atell)):
        assert colour.invoke(passthrough, 1, {"tags": ["t"]}) == 1
        assert colour.transform(passthrough, ["a", "b"], {"tags": ["t"]}) == ["a", "b"]
        assert seen == [(1, ["t"]), ("ab", ["t"])]
        seen.clear()
    assert asyncio.run(RunnablePassthrough(atell).ainvoke(1)) == 1
    assert seen == [(1, [])]


def test_assign_adds_keys_and_replaces_shadowed_ones(colour: Any) -> None:
    assign = RunnablePassthrough.assign(total=lambda d: d["a"] + d["b"], a=lambda d: -d["a"])
    assert colour.invoke(assign, {"a": 1, "b": 2}) == {"a": -1, "b": 2, "total": 3}
    assert assign.get_name() == "RunnableAssign<total,a>"


def test_assign_streams_the_input_first_without_shadowed_keys(colour: Any) -> None:
    assign = RunnablePassthrough.assign(a=lambda d: "new", z=lambda d: "added")
    chunks = colour.stream(assign, {"a": "old", "b": "kept"})
    assert chunks[0] == {"b": "kept"}
    assert sorted(str(chunk) for chunk in chunks[1:]) == ["{'a': 'new'}", "{'z': 'added'}"]


def test_assign_method_of_a_runnable_extends_the_chain(colour: Any) -> None:
    chain = RunnableParallel(a=RunnablePassthrough()).assign(b=lambda d: d["a"] + 1).pick("b")
    assert colour.invoke(chain, 1) == 2
    assert colour.stream(chain, 1) == [2]


@pytest.mark.parametrize("value", [3, "text", None, ["a"]])
def test_assign_and_pick_want_a_dict(colour: Any, value: Any) -> None:
    for step in (RunnablePassthrough.assign(a=lambda d: 1), RunnablePick("a")):
        for call in (colour.invoke, colour.stream):
            with pytest.raises(InvalidType, match=f"must be a dict, not a `{type(value).__name__}`"):
                call(step, value)


def test_pick_gives_a_value_or_the_dict_of_keys_that_are_there(colour: Any) -> None:
    given = {"a": 1, "b": 2}
    assert colour.invoke(RunnablePick("a"), given) == 1
    assert colour.invoke(RunnablePick("c"), given) is None
    assert colour.invoke(RunnablePick(["a", "c"]), given) == {"a": 1}
    assert colour.transform(RunnablePick("a"), [{"a": "x"}, {"b": 1}, {"a": "y"}]) == ["x", "y"]
    assert colour.transform(RunnablePick(["a"]), [{"b": 1}]) == []
    assert RunnablePick(["a", "b"]).get_name() == "RunnablePick<a,b>"
    with pytest.raises(InvalidType, match="`keys` must be"):
        RunnablePick(3)  # type: ignore[arg-type]


def test_equality_is_by_what_they_hold() -> None:
    step = RunnableLambda(str)
    assert RunnablePassthrough() == RunnablePassthrough()
    assert RunnablePassthrough() != RunnablePassthrough(print)
    assert RunnablePassthrough.assign(a=step) == RunnableAssign(RunnableParallel(a=step))
    assert RunnablePick("a") == RunnablePick("a") != RunnablePick("b")
    assert repr(RunnablePick("a")) == "RunnablePick(keys='a')"
    assert repr(RunnablePassthrough.assign(a=step)) == "RunnableAssign(mapper={\n  a: RunnableLambda(str)\n})"
