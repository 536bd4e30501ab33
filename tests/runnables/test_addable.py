"""Sums of chunks."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire.runnables.addable import (
    AddableDict,
    GrowingDict,
    GrowingList,
    aadd,
    add,
    collected,
    growing,
)


def test_addable_dict_joins_values_and_counts_none_as_nothing_yet() -> None:
    assert AddableDict(a="x", b=None) + {"a": "y", "b": 1, "c": [2]} == {
        "a": "xy",
        "b": 1,
        "c": [2],
    }
    assert {"a": "x"} + AddableDict(a=None) == {"a": "x"}


def test_addable_dict_names_the_types_that_do_not_add() -> None:
    with pytest.raises(TypeError) as caught:
        AddableDict(count=1) + AddableDict(count="a")
    assert str(caught.value) == "Cannot add incompatible types for key 'count': 'int' and 'str'."


def test_sum_of_addable_dicts_names_the_types_that_do_not_add() -> None:
    with pytest.raises(TypeError, match="key 'count': 'int' and 'str'"):
        add([AddableDict(count=1), AddableDict(count=2), AddableDict(count="a")])


def test_sum_of_nothing_is_none() -> None:
    async def nothing() -> AsyncIterator[int]:
        return
        yield

    assert add([]) is None
    assert asyncio.run(aadd(nothing())) is None


def test_collecting_takes_the_last_of_what_does_not_add() -> None:
    assert collected([{"a": 1}, {"b": 2}]) == {"b": 2}
    assert collected([1, "a", "b"]) == "ab"


def test_collecting_replaces_what_does_not_add_in_its_key_alone() -> None:
    parts = [
        AddableDict(q="say ", x={"a": 1}),
        AddableDict(x={"a": 2}),
        AddableDict(q="it"),
        AddableDict(x=None),
    ]
    assert collected(parts) == {"q": "say it", "x": {"a": 2}}
    nested = [
        AddableDict(y=AddableDict(q="a", x={"a": 1})),
        AddableDict(y=AddableDict(q="b", x={})),
    ]
    assert collected(nested) == {"y": {"q": "ab", "x": {}}}
    assert collected(
        [{"a": 1, "b": 1}, {"a": 2}, AddableDict(x=[]), {"x": [1], "a": "no number"}]
    ) == {
        "a": "no number",
        "x": [1],
    }


def test_versions_of_a_growing_value_add_up_to_the_last_one() -> None:
    lists = [GrowingList(["a"]), GrowingList(["a", "b"])]
    assert (collected(lists), type(collected(lists)), type(collected(lists[:1]))) == (
        ["a", "b"],
        list,
        list,
    )
    assert collected([AddableDict(x=each) for each in lists]) == {"x": ["a", "b"]}
    dicts = [GrowingDict(a="x"), GrowingDict(a="xy")]
    assert (collected(dicts), type(collected(dicts))) == ({"a": "xy"}, AddableDict)
    assert collected([*dicts, AddableDict(a="z", b=1)]) == {"a": "xyz", "b": 1}
    assert lists[0] + lists[1] == ["a", "b"]
    assert lists[0] + ["c"] == ["a", "c"]
    assert dicts[0] + dicts[1] + AddableDict(b=1) == {"a": "xy", "b": 1}


@pytest.mark.parametrize(
    ("versions", "kind"),
    [(["a", "ab"], str), ([1, 12], int), ([1.5, 1.25], float), ([1, 1.5], float)],
)
def test_marked_scalars_are_plain_ones_but_for_a_sum_of_versions(
    versions: list[Any], kind: type
) -> None:
    marked = [growing(version) for version in versions]
    assert marked == versions
    assert marked[0] + marked[1] == versions[0] + versions[1]
    assert (collected(marked), type(collected(marked))) == (versions[1], kind)
    assert add(marked) == versions[1]
    assert json.dumps(marked) == json.dumps(versions)
    assert pickle.loads(pickle.dumps(marked)) == versions


values = st.one_of(
    st.lists(st.text(max_size=3), min_size=1, max_size=6),
    st.lists(st.lists(st.integers(), max_size=3), min_size=1, max_size=6),
    st.lists(st.integers(), min_size=1, max_size=6),
    st.lists(
        st.dictionaries(st.sampled_from("ab"), st.none() | st.text(max_size=2)).map(AddableDict),
        min_size=1,
    ),
)


@given(values, st.data())
def test_any_grouping_gives_the_same_sum(items: list[object], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(items)))
    groups = [group for group in (items[:cut], items[cut:]) if group]
    assert add(add(group) for group in groups) == add(items)


def test_sum_changes_none_of_its_items() -> None:
    items = [AddableDict(a=["x"]), AddableDict(a=["y"])]
    assert add(items) == {"a": ["x", "y"]}
    assert items == [{"a": ["x"]}, {"a": ["y"]}]
