from __future__ import annotations

import pytest

from modelwire.messages.tool_calls import parse_tool_args


@pytest.mark.parametrize("text", [None, "", "  ", "null", "{}"])
def test_no_arguments_are_an_empty_dict(text: str | None) -> None:
    assert parse_tool_args(text) == {}


def test_arguments_may_hold_raw_line_breaks_and_lone_surrogates() -> None:
    assert parse_tool_args('{"code": "a\nb\tc"}') == {"code": "a\nb\tc"}
    assert list(parse_tool_args('{"a": "\ud83d"}')) == ["a"]


@pytest.mark.parametrize(
    "text", ['{"a": 1', "[1]", '"a"', "1", "nothing", "[" * 100_000, '{"a": ' * 100_000]
)
def test_arguments_that_are_no_object_raise_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="tool arguments"):
        parse_tool_args(text)
