"""Tables of test cases: a part of them in `make test`, a part that meets every pair, and all in `make test-long`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

import pytest


def thinned(*, one_in: int = 3, **axes: Mapping[str, Any] | Iterable[Any]) -> pytest.MarkDecorator:
    """Parametrize over every combination of the axes, of which only one in `one_in` is not `long`.

    There each value of an axis meets each value of any other, where three axes or more have at least `one_in` values.
    """
    named = {
        name: dict(axis) if isinstance(axis, Mapping) else {str(value): value for value in axis}
        for name, axis in axes.items()
    }
    rows = [
        pytest.param(
            *(value for _, (_, value) in row),
            id="-".join(id for _, (id, _) in row),
            marks=pytest.mark.long if sum(place for place, _ in row) % one_in else (),
        )
        for row in product(*(list(enumerate(axis.items())) for axis in named.values()))
    ]
    return pytest.mark.parametrize(tuple(named), rows)


def thin(items: Iterable[pytest.Item]) -> None:
    """Mark every other case of a test with three axes or more as `long`, like the squares of a chess-board.

    An axis is a `parametrize` or a fixture with parameters, such as `colour`. Of the cases that stay, each value of an
    axis still meets each value of any other.
    """
    for item in items:
        axes = _axes(item)
        if len(axes) >= 3 and sum(axes.values()) % 2:
            item.add_marker(pytest.mark.long)


def _axes(item: pytest.Item) -> dict[str, int]:
    """Return the axes of a test, each under its first name, and the places of this case on them."""
    places: dict[str, int] = getattr(getattr(item, "callspec", None), "indices", {})
    places = dict(places)
    for mark in item.iter_markers("parametrize"):
        names = mark.args[0]
        if isinstance(names, str):
            names = [name.strip() for name in names.split(",")]
        for name in names[1:]:
            places.pop(name, None)
    return places


def of_make_test(first: str, names: Iterable[str]) -> list[Any]:
    """Return the names as parameters, of which all but `first` are `long`."""
    return [pytest.param(name, marks=() if name == first else pytest.mark.long) for name in names]
