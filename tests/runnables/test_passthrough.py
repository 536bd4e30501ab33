"""Passing on, assigning and picking."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from modelwire.callbacks import BaseCallbackHandler
from modelwire.errors import InvalidType
from modelwire.output_parsers import JsonOutputParser
from modelwire.runnables import (
    AddableDict,
    RunnableAssign,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
    RunnablePick,
)
from modelwire.runnables.addable import collected


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
            with pytest.raises(
                InvalidType, match=f"must be a dict, not a `{type(value).__name__}`"
            ):
                call(step, value)


def test_pick_gives_a_value_or_the_dict_of_keys_that_are_there(colour: Any) -> None:
    given = {"a": 1, "b": 2}
    assert colour.invoke(RunnablePick("a"), given) == 1
    assert colour.invoke(RunnablePick("c"), given) is None
    assert colour.invoke(RunnablePick(["a", "c"]), given) == {"a": 1}
    parts = [AddableDict(a="x"), AddableDict(b=1), AddableDict(a="y")]
    assert colour.transform(RunnablePick("a"), parts) == ["x", "y"]
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
    assert (
        repr(RunnablePassthrough.assign(a=step))
        == "RunnableAssign(mapper={\n  a: RunnableLambda(str)\n})"
    )


def tokens(text: str) -> RunnableGenerator[Any, str]:
    """Make a step that streams `text` letter by letter."""

    def letters(_: Iterator[Any]) -> Iterator[str]:
        yield from text

    async def aletters(_: AsyncIterator[Any]) -> AsyncIterator[str]:
        for letter in text:
            yield letter

    return RunnableGenerator(letters, aletters)


JSON_DICT = tokens('{"a": "He", "b": [1, 2], "n": 12}') | JsonOutputParser()
JSON_LIST = tokens('[1, 2, {"a": "x"}]') | JsonOutputParser()


@pytest.mark.parametrize(
    "runnable",
    [
        RunnablePassthrough.assign(x=JSON_DICT),
        RunnableParallel(q=RunnablePassthrough(), x=JSON_DICT),
        RunnableParallel(q=RunnablePassthrough(), x=RunnableParallel(y=JSON_DICT, z=JSON_LIST)),
        JSON_DICT.assign(y=lambda given: given["a"]),
        JSON_DICT.pick("a"),
        JSON_DICT.pick("b"),
        JSON_DICT.pick("n"),
        JSON_DICT.pick("missing"),
        JSON_DICT.pick(["a", "n"]),
        JSON_DICT.assign(y=lambda given: given["a"]).pick(["y", "n"]),
        JSON_DICT.assign(y=lambda given: given["a"]).pick("n"),
        JSON_LIST,
        tokens("123") | JsonOutputParser(),
        tokens('"word"') | JsonOutputParser(),
        RunnablePassthrough.assign(x=JSON_LIST),
    ],
)
def test_a_stream_of_growing_values_adds_up_to_what_invoke_gives(
    colour: Any, runnable: Any
) -> None:
    given = {"q": "hi"}
    whole = colour.invoke(runnable, given)
    assert collected(colour.stream(runnable, given) or [None]) == whole
    if whole is not None:
        assert colour.stream(runnable | RunnableLambda(lambda x: x), given) == [whole]


@pytest.mark.parametrize(
    ("key", "versions"),
    [
        ("a", ["", "H", *["He"] * 9]),
        ("b", [[], [1], *[[1, 2]] * 6]),
        ("n", [1, *[12] * 4]),
        ("t", [True] * 3),
        ("f", [1, 1.5]),
    ],
)
def test_a_picked_value_streams_as_it_grows(colour: Any, key: str, versions: list[Any]) -> None:
    """Of langchain-core 1.7.2, with the same repetitions."""
    parsed = tokens('{"a": "He", "b": [1, 2], "n": 12, "t": true, "f": 1.5}') | JsonOutputParser()
    assert colour.stream(parsed.pick(key), 1) == versions
    whole = colour.stream(parsed.pick(key) | RunnableLambda(lambda x: (x, type(x))), 1)
    assert whole == [(versions[-1], type(versions[-1]))]
    dict_of_it = parsed | RunnableParallel(x=RunnablePick(key)) | RunnableLambda(lambda x: x)
    assert colour.stream(dict_of_it, 1) == [{"x": versions[-1]}]


@pytest.mark.parametrize(
    ("text", "versions"),
    [('"word"', ["", "w", "wo", "wor", "word"]), ("123", [1, 12, 123]), ("true", [True])],
)
def test_a_parsed_scalar_streams_as_it_grows(colour: Any, text: str, versions: list[Any]) -> None:
    """Of langchain-core 1.7.2."""
    assert colour.stream(tokens(text) | JsonOutputParser(), 1) == versions


def test_a_picked_value_of_an_endless_stream_comes() -> None:
    def endless(_: Iterator[Any]) -> Iterator[str]:
        yield '{"answer": "'
        while True:
            yield "la"

    stream = (RunnableGenerator(endless) | JsonOutputParser()).pick("answer").stream(1)
    assert [next(stream) for _ in range(3)] == ["", "la", "lala"]
    stream.close()  # type: ignore[attr-defined]


def test_a_picked_value_that_would_add_up_waits_for_the_last_one(colour: Any) -> None:
    class Plain:
        """An object that adds up with nothing."""

    plain = [Plain(), Plain()]
    chunks = [{"x": (1,), "p": plain[0]}, {"x": (2,), "p": plain[1]}]
    assert colour.transform(RunnablePick("x"), chunks) == [(2,)]
    assert colour.transform(RunnablePick("p"), chunks) == plain
    truths = [{"t": False}, {"t": True}]
    assert colour.transform(RunnablePick("t") | RunnableLambda(str), truths) == ["True"]


def test_a_streamed_run_reports_all_keys_of_its_output(colour: Any) -> None:
    ends: list[Any] = []

    class Ends(BaseCallbackHandler):
        def on_chain_end(self, outputs: Any, *, parent_run_id: Any = None, **about: Any) -> None:
            if parent_run_id is None:
                ends.append(outputs)

    colour.stream(RunnablePassthrough.assign(x=JSON_DICT), {"q": "hi"}, {"callbacks": [Ends()]})
    assert ends == [{"q": "hi", "x": {"a": "He", "b": [1, 2], "n": 12}}]
