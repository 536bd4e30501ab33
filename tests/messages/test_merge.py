from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire.errors import InvalidArgument, InvalidType
from modelwire.messages.merge import (
    add_contents,
    merge_content,
    merge_dicts,
    merge_lists,
    merge_obj,
)


@pytest.mark.parametrize(
    ("left", "right", "merged"),
    [
        ("x", "x", "xx"),
        (1, 1, 1),
        (1, 2, 3),
        (1.5, 1.5, 1.5),
        (True, True, True),
        (None, 1, 1),
        (1, None, 1),
        (None, None, None),
        ([1], [2], [1, 2]),
        ({"b": "x"}, {"b": "y"}, {"b": "xy"}),
        ({"b": "x"}, {"c": "y"}, {"b": "x", "c": "y"}),
        ({}, None, {}),
        ((1,), (1,), (1,)),
        (
            [{"index": 0, "x": "a"}],
            [{"index": 0, "x": "b"}, {"index": 3, "x": "c"}],
            [{"index": 0, "x": "ab"}, {"index": 3, "x": "c"}],
        ),
    ],
)
def test_dicts_merge_value_by_value(left: Any, right: Any, merged: Any) -> None:
    assert merge_dicts({"a": left}, {"a": right}) == {"a": merged}


@pytest.mark.parametrize("key", ["id", "output_version", "model_provider"])
def test_equal_names_stay_single(key: str) -> None:
    assert merge_dicts({key: "x"}, {key: "x"}, {key: "x"}) == {key: "x"}
    assert merge_dicts({key: "x"}, {key: "y"}) == {key: "xy"}


@pytest.mark.parametrize("key", ["index", "created", "timestamp"])
def test_the_last_position_holds(key: str) -> None:
    assert merge_dicts({key: 1}, {key: 2}, {key: 5}) == {key: 5}


def test_other_texts_are_concatenated_even_equal_ones() -> None:
    assert merge_dicts({"model_name": "m"}, {"model_name": "m"}) == {"model_name": "mm"}


def test_made_up_indices_stay() -> None:
    assert merge_dicts({"index": "lc_a"}, {"index": "lc_a"}) == {"index": "lc_a"}


@pytest.mark.parametrize(
    ("left", "right", "said"),
    [
        (1.5, 2.5, "unsupported type"),
        (True, False, "unsupported type"),
        ((1,), (2,), "unsupported type"),
        (True, 1, "already exists with a different type"),
        (1, True, "already exists with a different type"),
        (1, "x", "already exists with a different type"),
        (1, 1.0, "already exists with a different type"),
        ("x", {}, "already exists with a different type"),
    ],
)
def test_values_that_cannot_be_added_are_a_type_error_with_the_key(
    left: Any, right: Any, said: str
) -> None:
    with pytest.raises(TypeError, match=said) as caught:
        merge_dicts({"a": left}, {"a": right})
    assert isinstance(caught.value, InvalidType)
    assert "`a`" in str(caught.value)


def test_lists_join_and_dicts_merge_by_index_only() -> None:
    assert merge_lists(["a"], ["b"]) == ["a", "b"]
    assert merge_lists(None, ["b"]) == ["b"]
    assert merge_lists(["b"], None) == ["b"]
    assert merge_lists(None, None) is None
    assert merge_lists([{"text": "a"}], [{"text": "b"}]) == [{"text": "a"}, {"text": "b"}]
    none = [{"index": None, "text": "a"}]
    assert merge_lists(none, none) == [*none, *none]
    assert merge_lists(
        [{"index": 0, "t": "a"}], [{"index": 1, "t": "b"}, {"index": 0, "t": "c"}]
    ) == [
        {"index": 0, "t": "ac"},
        {"index": 1, "t": "b"},
    ]
    assert merge_lists([], [{"index": 7, "t": "b"}, {"index": 7, "t": "c"}]) == [
        {"index": 7, "t": "bc"}
    ]


def test_made_up_text_indices_merge_and_other_texts_do_not() -> None:
    assert merge_lists([{"index": "lc_0", "t": "a"}], [{"index": "lc_0", "t": "b"}]) == [
        {"index": "lc_0", "t": "ab"}
    ]
    assert len(merge_lists([{"index": "x", "t": "a"}], [{"index": "x", "t": "b"}]) or []) == 2


def test_different_ids_at_one_index_stay_apart_and_a_nameless_delta_belongs_to_the_latest() -> None:
    def call(identity: str | None, args: str) -> dict[str, Any]:
        return {"index": 0, "id": identity, "args": args}

    assert merge_lists(
        [call("1", "a")], [call("2", "b")], [call(None, "c")], [call("1", "d")], [call("", "e")]
    ) == [
        call("1", "ad"),
        call("2", "bce"),
    ]
    assert merge_lists([call(None, "a")], [call("2", "b")], [call("2", "c")]) == [call("2", "abc")]
    assert merge_lists([call("", "a")], [call("2", "b")]) == [call("2", "ab")]


def test_the_first_type_of_a_block_holds() -> None:
    assert merge_lists(
        [{"index": 0, "type": "text", "text": "a"}], [{"index": 0, "type": "other", "text": "b"}]
    ) == [{"index": 0, "type": "text", "text": "ab"}]


def test_pieces_of_a_providers_own_block_say_its_type_once() -> None:
    pieces = [
        {"index": 0, "type": "non_standard", "value": {"type": "compaction", "content": t}}
        for t in "ab"
    ]
    whole = {"index": 0, "type": "non_standard", "value": {"type": "compaction", "content": "ab"}}
    assert merge_lists(pieces[:1], pieces[1:]) == [whole]


def test_a_non_standard_delta_of_a_standard_block_goes_under_its_extras() -> None:
    block = {"index": 0, "type": "text", "text": "a"}
    delta = {"index": 0, "type": "non_standard", "value": {"signature": "s"}}
    assert merge_lists([block], [delta]) == [{**block, "extras": {"signature": "s"}}]
    assert merge_lists([delta], [delta]) == [{**delta, "value": {"signature": "ss"}}]


CONTENT_TABLE: list[tuple[Any, list[Any], Any]] = [
    ("a", ["b"], "ab"),
    ("a", [["b"]], ["a", "b"]),
    (["a"], ["b"], ["ab"]),
    (["a"], [""], ["a"]),
    ([], [""], []),
    ("", [["b"]], ["", "b"]),
    ("", [[]], [""]),
    ("a", [[]], ["a"]),
    ([{"type": "text", "text": "a"}], ["b"], [{"type": "text", "text": "a"}, "b"]),
    (["a"], [["b"]], ["a", "b"]),
    ("a", ["b", ["c"], "d"], ["ab", "cd"]),
    (["a"], ["b", "c"], ["abc"]),
    ("a", [], "a"),
]


@pytest.mark.parametrize(("first", "others", "merged"), CONTENT_TABLE)
def test_merge_content_follows_its_table_and_changes_nothing_given(
    first: Any, others: list[Any], merged: Any
) -> None:
    before = copy.deepcopy((first, others))
    assert merge_content(first, *others) == merged
    assert (first, others) == before


def test_no_text_is_lost_after_an_empty_list() -> None:
    assert merge_content([], "b") == ["b"]


def test_an_empty_text_adds_nothing_to_a_list_on_either_side() -> None:
    assert add_contents("", [{"x": 1}], "") == [{"x": 1}]


blocks = st.lists(
    st.fixed_dictionaries(
        {"type": st.just("text"), "text": st.text(max_size=3), "index": st.integers(0, 2)}
    ),
    max_size=3,
)


@given(st.lists(blocks, min_size=1, max_size=6))
def test_adding_many_lists_equals_adding_one_after_the_other(
    lists: list[list[dict[str, Any]]],
) -> None:
    one_by_one: list[Any] | None = lists[0]
    for items in lists[1:]:
        one_by_one = merge_lists(one_by_one, items)
    assert merge_lists(*lists) == one_by_one


values = st.none() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["a", "id", "index"]), st.none() | st.text(max_size=3)),
        min_size=1,
        max_size=6,
    )
)
def test_adding_many_dicts_equals_adding_one_after_the_other(dicts: list[dict[str, Any]]) -> None:
    before = copy.deepcopy(dicts)
    one_by_one: dict[Any, Any] = dicts[0]
    for more in dicts[1:]:
        one_by_one = merge_dicts(one_by_one, more)
    assert merge_dicts(*dicts) == one_by_one
    assert dicts == before


@pytest.mark.parametrize(
    ("left", "right", "merged"),
    [
        ("a", "b", "ab"),
        ([1], [2], [1, 2]),
        ({"a": 1}, {"a": 2}, {"a": 3}),
        (1, 1, 1),
        (None, 1, 1),
        (1, None, 1),
        (None, None, None),
    ],
)
def test_artifacts_merge_by_their_kind(left: Any, right: Any, merged: Any) -> None:
    assert merge_obj(left, right) == merged


def test_artifacts_that_differ_in_kind_or_value_are_refused() -> None:
    with pytest.raises(InvalidType, match="different types"):
        merge_obj(1, "a")
    with pytest.raises(InvalidArgument, match="two different values"):
        merge_obj(1, 2)
