"""Runnables that are pydantic models."""

from __future__ import annotations

from abc import ABC
from typing import Any, Generic, TypeVar

import pydantic
import pytest

from modelwire.errors import InvalidType
from modelwire.runnables import Runnable, RunnableSerializable

T = TypeVar("T")
U = TypeVar("U")


class Parser(RunnableSerializable[str, T], ABC):
    strict: bool = False


class Listing(Parser[list[U]]):
    """Passes a type variable on."""

    limit: int = 3

    def invoke(self, input: str, config: Any = None, **kwargs: Any) -> list[U]:
        return list(input)[: self.limit]  # type: ignore[arg-type]


class Words(Listing[str]):
    def invoke(self, input: str, config: Any = None, **kwargs: Any) -> list[str]:
        return input.split()[: self.limit]


def test_fields_are_checked_and_calls_work(colour: Any) -> None:
    words = Words(limit=2)
    assert colour.invoke(words, "a b c") == ["a", "b"]
    assert words.model_dump() == {"name": None, "strict": False, "limit": 2}
    assert words == Words(limit=2) != Words(limit=3)
    with pytest.raises(pydantic.ValidationError):
        Words(limit="many")  # type: ignore[arg-type]


def test_subscripting_makes_no_class() -> None:
    before = RunnableSerializable.__subclasses__()
    alias = Listing[int]
    assert not isinstance(alias, type)
    assert type(Listing[int](limit=1)) is Listing
    assert RunnableSerializable.__subclasses__() == before
    assert Words.__mro__[1] is Listing


def test_declared_types_are_known() -> None:
    class Counting(RunnableSerializable[str, int]):
        def invoke(self, input: str, config: Any = None, **kwargs: Any) -> int:
            return len(input)

    class Plain(Runnable[str, int]):
        def invoke(self, input: str, config: Any = None, **kwargs: Any) -> int:
            return len(input)

    class Silent(Runnable):  # type: ignore[type-arg]
        def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
            return input

    for runnable in (Counting(), Plain()):
        assert (runnable.InputType, runnable.OutputType) == (str, int)
    with pytest.raises(InvalidType, match="`Silent` does not declare its output type"):
        Silent().OutputType  # noqa: B018
    assert Counting(name="mine").get_name() == "mine"


def test_generic_may_be_repeated() -> None:
    class Repeated(RunnableSerializable[T, U], Generic[T, U]):
        def invoke(self, input: T, config: Any = None, **kwargs: Any) -> U:
            return input  # type: ignore[return-value]

    assert (Repeated[int, int]() | Repeated[int, int]()).invoke(3) == 3


def test_a_runnable_needs_invoke() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Runnable()  # type: ignore[abstract]
