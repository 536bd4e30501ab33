from __future__ import annotations

import pytest

from modelwire.messages import AIMessageChunk
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


@pytest.mark.parametrize(
    ("args", "is_call"),
    [
        ('{"a": 1}: 1}', False),
        ('{"a": 1}}', False),
        (' {"a": 1}]', False),
        ('{"a": {"b": "}"}}', True),
        ('{"a": 1} x', True),
        ('{"a": 1} {"b": 2}', True),
        ('{"a": [1]', True),
    ],
)
def test_arguments_with_a_bracket_too_many_are_invalid_before_the_stream_ends_as_in_langchain(
    args: str, is_call: bool
) -> None:
    chunk = {"name": "f", "args": args, "id": "1", "index": 0}
    message = AIMessageChunk("", tool_call_chunks=[chunk])
    assert bool(message.tool_calls) is is_call
    assert bool(message.invalid_tool_calls) is not is_call
