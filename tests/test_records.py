from __future__ import annotations

import copy
import pickle
import typing
from collections.abc import Callable
from typing import Any

import pytest

from modelwire.records import NamedTuple


class Place(NamedTuple):
    """Where something is."""

    street: str
    number: int = 1
    find: Callable[[], Unknown] | None = None  # type: ignore[name-defined]  # noqa: F821 - no annotation is evaluated

    @property
    def sign(self) -> str:
        return f"{self.street} {self.number}"

    def __str__(self) -> str:
        return self.sign


class OfTyping(typing.NamedTuple):
    """Where something is."""

    street: str
    number: int = 1
    find: Any = None


def test_a_record_is_what_a_named_tuple_of_typing_is() -> None:
    assert Place("Elm", 3) == OfTyping("Elm", 3) == ("Elm", 3, None)
    assert Place("Elm")._asdict() == OfTyping("Elm")._asdict()
    assert Place.__doc__ == OfTyping.__doc__
    names = ("_fields", "_field_defaults", "__match_args__", "__slots__", "__bases__", "__module__")
    for name in names:
        assert getattr(Place, name) == getattr(OfTyping, name), name
    assert repr(Place("Elm")) == "Place(street='Elm', number=1, find=None)"
    assert str(Place("Elm")) == "Elm 1"
    assert Place("Elm")._replace(number=9).sign == "Elm 9"
    assert type(pickle.loads(pickle.dumps(Place("Elm")))) is Place
    assert copy.copy(Place("Elm")) == Place("Elm")
    with pytest.raises(AttributeError):
        Place("Elm").colour = "red"  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        Place()  # type: ignore[call-arg]
