"""`with_fallbacks`: others are tried where the first one fails, until a stream's first chunk."""

from __future__ import annotations

import copy
import pickle
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from support.heard import Heard

from modelwire.errors import InvalidArgument, InvalidType
from modelwire.runnables import (
    Runnable,
    RunnableBinding,
    RunnableGenerator,
    RunnableLambda,
    RunnableSerializable,
    RunnableWithFallbacks,
)


def fails(x: Any) -> Any:
    raise ValueError(f"no {x}")


def fails_too(x: Any) -> Any:
    raise RuntimeError(f"nor {x}")


def answers(x: Any) -> Any:
    return f"yes {x}"


first = RunnableLambda(fails)


def test_the_fallback_answers_where_the_first_fails(colour: Any) -> None:
    chain = first.with_fallbacks([RunnableLambda(fails_too), RunnableLambda(answers)])
    assert colour.invoke(chain, 1) == "yes 1"
    assert colour.stream(chain, 1) == ["yes 1"]
    assert colour.batch(chain, [1, 2]) == ["yes 1", "yes 2"]


def test_the_first_error_is_raised_when_all_fail_and_names_the_others(colour: Any) -> None:
    chain = first.with_fallbacks([RunnableLambda(fails_too)])
    for call in (colour.invoke, colour.stream):
        with pytest.raises(ValueError, match="no 1") as caught:
            call(chain, 1)
        assert caught.value.__notes__ == ["A fallback failed too: RuntimeError: nor 1"]
    results = colour.batch(chain, [1], return_exceptions=True)
    assert [type(result) for result in results] == [ValueError]


def test_other_errors_than_those_to_handle_pass(colour: Any) -> None:
    chain = first.with_fallbacks([RunnableLambda(answers)], exceptions_to_handle=(KeyError,))
    with pytest.raises(ValueError, match="no 1"):
        colour.invoke(chain, 1)
    with pytest.raises(ValueError, match="no 1"):
        colour.stream(chain, 1)


def test_the_error_is_put_into_a_copy_of_the_input(colour: Any) -> None:
    seen = RunnableLambda(lambda x: type(x["error"]).__name__)
    chain = first.with_fallbacks([RunnableLambda(fails_too), seen], exception_key="error")
    given = {"x": 1}
    assert colour.invoke(chain, given) == "RuntimeError"
    assert colour.stream(chain, given) == ["RuntimeError"]
    assert given == {"x": 1}
    with pytest.raises(InvalidType, match="must be a dict"):
        colour.invoke(chain, 1)


def test_a_stream_falls_back_only_before_its_first_chunk(colour: Any) -> None:
    def at_once(chunks: Iterator[Any]) -> Iterator[str]:
        raise ValueError("at once")
        yield "never"

    def late(chunks: Iterator[Any]) -> Iterator[str]:
        yield "a"
        raise ValueError("late")

    async def aat_once(chunks: AsyncIterator[Any]) -> AsyncIterator[str]:
        raise ValueError("at once")
        yield "never"

    async def alate(chunks: AsyncIterator[Any]) -> AsyncIterator[str]:
        yield "a"
        raise ValueError("late")

    other = RunnableLambda(answers)
    assert colour.stream(RunnableGenerator(at_once, aat_once).with_fallbacks([other]), 1) == [
        "yes 1"
    ]
    with pytest.raises(ValueError, match="late"):
        colour.stream(RunnableGenerator(late, alate).with_fallbacks([other]), 1)


def test_the_attempts_are_runs_inside_of_the_wrappers(colour: Any) -> None:
    heard = Heard()
    chain = first.with_fallbacks([RunnableLambda(answers)])
    colour.invoke(chain, 1, {"callbacks": [heard]})
    assert heard.over == [
        ("fails", "ValueError"),
        ("answers", "end"),
        ("RunnableWithFallbacks", "end"),
    ]


class Model(RunnableSerializable[str, str]):
    size: int = 3

    def invoke(self, input: str, config: Any = None, **kwargs: Any) -> str:
        if kwargs.get("tools") == ["fail"] and self.size == 3:
            raise ValueError("no")
        return f"{self.size} {kwargs.get('tools')}"

    def bind_tools(self, tools: list[str]) -> Runnable[str, str]:
        return self.bind(tools=tools)

    def area(self) -> int:
        return self.size**2


class Small(Model):
    weight: int = 1


def test_attributes_are_the_first_ones() -> None:
    chain = Model().with_fallbacks([Small(size=4)])
    assert (chain.size, chain.area()) == (3, 9)
    with pytest.raises(AttributeError, match="weight"):
        _ = chain.weight
    with pytest.raises(AttributeError):
        _ = chain._nothing


def test_a_method_that_returns_a_runnable_is_called_on_all(colour: Any) -> None:
    chain = (
        Model()
        .with_fallbacks([Small(size=4)], exceptions_to_handle=(ValueError,))
        .bind_tools(["fail"])
    )
    assert isinstance(chain, RunnableWithFallbacks)
    assert [type(one) for one in chain.runnables] == [RunnableBinding, RunnableBinding]
    assert chain.exceptions_to_handle == (ValueError,)
    assert colour.invoke(chain, "x") == "4 ['fail']"


def test_it_can_be_copied_and_pickled() -> None:
    chain = Model().with_fallbacks([Small(size=4)])
    assert copy.copy(chain) == copy.deepcopy(chain) == pickle.loads(pickle.dumps(chain)) == chain
    assert hash(RunnableLambda(len).with_fallbacks([RunnableLambda(str)]))


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"fallbacks": []}, InvalidArgument, "`fallbacks` is empty"),
        ({"fallbacks": [answers, 3]}, InvalidType, "as fallback 2, not a `int`"),
        ({"fallbacks": [answers], "exceptions_to_handle": ()}, InvalidType, "exception classes"),
        (
            {"fallbacks": [answers], "exceptions_to_handle": ("ValueError",)},
            InvalidType,
            "exception classes",
        ),
    ],
)
def test_bad_arguments_are_told_at_construction(given: Any, error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        first.with_fallbacks(given.pop("fallbacks"), **given)


def test_an_error_that_is_raised_again_keeps_the_notes_of_one_call(colour: Any) -> None:
    shared, other = ValueError("shared"), [KeyError(str(number)) for number in range(3)]
    shared.add_note("from outside")
    errors = iter(other)

    def fail(_: Any) -> None:
        raise shared

    def fail_otherwise(_: Any) -> None:
        raise next(errors)

    inner = RunnableLambda(fail).with_fallbacks([RunnableLambda(fail_otherwise)])
    for number in range(3):
        with pytest.raises(ValueError, match="shared"):
            colour.invoke(inner, 1)
        assert shared.__notes__ == ["from outside", f"A fallback failed too: KeyError: '{number}'"]
