from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire.errors import InvalidArgument
from modelwire.messages import parse_partial_json


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{", {}),
        ('{"a', {}),
        ('{"a"', {}),
        ('{"a":', {}),
        ('{"a":1', {"a": 1}),
        ('{"a":1,', {"a": 1}),
        ('{"a":"x', {"a": "x"}),
        ('{"a":"x\\', {"a": "x"}),
        ('{"a":tr', {}),
        ('{"a":true', {"a": True}),
        ('{"a":1.', {"a": 1}),
        ('{"a":1e', {"a": 1}),
        ('{"a":-', {}),
        ("[1,", [1]),
        ('["a', ["a"]),
        ("[", []),
        ('"a', "a"),
        ("1", 1),
        ("null", None),
        ('{"a":[{"b":"c"},{"d', {"a": [{"b": "c"}, {}]}),
        (' {"a": 1 , ', {"a": 1}),
        ('{"a":"b\nc"', {"a": "b\nc"}),
        ('{"a":"b\nc"}', {"a": "b\nc"}),
        ('{\n"a": "x\ty', {"a": "x\ty"}),
        ('{"a\\"\n', {}),
        ('{"a":"b","c":', {"a": "b"}),
        ('{"a":1} and more', {"a": 1}),
        ('"say 1.', "say 1."),
    ],
)
def test_json_is_read_as_far_as_it_goes(text: str, value: Any) -> None:
    assert parse_partial_json(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "\n", "nope", "tru", "-", "{a:1}", "{'a':1}", '{"a":1,}', "[1,]", "\ud800", "\n\x00nope"],
)
def test_what_is_no_beginning_of_json_is_our_error(text: str) -> None:
    with pytest.raises(InvalidArgument, match="not JSON"):
        parse_partial_json(text)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "[\n" * 100_000, "[" * 100_000 + '"\n']
)
def test_deep_nesting_is_our_error_and_no_crash(text: str) -> None:
    with pytest.raises(InvalidArgument, match="not JSON"):
        parse_partial_json(text)


def test_strict_refuses_raw_line_breaks() -> None:
    with pytest.raises(InvalidArgument):
        parse_partial_json('{"a":"b\nc"}', strict=True)


trees = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=4), trees, max_size=3), st.integers(1, 400))
def test_every_beginning_of_an_object_is_read(value: dict[str, Any], length: int) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert isinstance(parse_partial_json(text[:length]), dict)
    assert parse_partial_json(text) == value
