"""A value that waits on disk comes back as it was."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from math import inf, nan
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from modelwire.jobs.row_records import json_of
from modelwire.jobs.tagged_values import tagged, untagged

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(),
    st.datetimes(timezones=st.sampled_from([None, UTC])),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.uuids(),
)
KEYS = st.one_of(SCALARS, st.sampled_from(["$type", "value"]), st.tuples(SCALARS))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(KEYS, inner, max_size=3),
        st.sets(SCALARS, max_size=3),
    ),
    max_leaves=8,
)


def stored(value: Any) -> Any:
    return untagged(from_json(json_of(tagged(value))))


@given(VALUES)
def test_a_value_comes_back_with_its_types(value: Any) -> None:
    found = stored(value)
    assert found == value
    assert repr(found) == repr(value) or isinstance(value, (set, dict, list, tuple))


@pytest.mark.parametrize(
    "value",
    [
        inf,
        -inf,
        (1, (2,)),
        [1, 2],
        {"$type": "date", "value": "x"},
        {1: "a", "1": "b", (2,): "c"},
        b"\x00\xff",
        datetime(2026, 11, 23, 9, 5, 1, 7, tzinfo=UTC),
        date(1, 1, 1),
        time(23, 59),
        datetime(2026, 10, 25, 2, 30, fold=1),
        time(2, 30, fold=1),
        timedelta(microseconds=-1),
        Decimal("1.10"),
        UUID(int=7),
        frozenset({1}),
    ],
)
def test_types_that_json_lacks_come_back(value: Any) -> None:
    found = stored({"column": value})["column"]
    assert (type(found), found, repr(found)) == (type(value), value, repr(value))


def test_nan_comes_back() -> None:
    assert str(stored(nan)) == "nan"


def test_plain_rows_are_plain_json() -> None:
    row = {"id": 1, "text": "a", "tags": ["b", None, True], "score": 0.5}
    assert tagged(row) == row
