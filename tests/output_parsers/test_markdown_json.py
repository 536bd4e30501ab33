from __future__ import annotations

import pytest

from modelwire.errors import InvalidArgument, OutputParserException
from modelwire.utils.json import (
    parse_and_check_json_markdown,
    parse_json_markdown,
    parse_partial_json,
)


def test_json_that_is_cut_short_is_read_as_far_as_it_goes() -> None:
    assert parse_json_markdown('Here:\n```json\n{"foo": "bar"\n\n') == {"foo": "bar"}
    assert parse_json_markdown('```\n{"foo": "bar"\n\n```\nThis should do') == {"foo": "bar"}
    assert parse_partial_json('{"foo": [1, 2, oops') == {"foo": [1, 2]}
    assert parse_partial_json('{"é":\n[1, nope') == {"é": [1]}
    with pytest.raises(InvalidArgument, match="no code block"):
        parse_json_markdown("hi")


def test_the_keys_that_are_needed_are_checked() -> None:
    assert parse_and_check_json_markdown('{"a": 1, "b": 2}', ["a"]) == {"a": 1, "b": 2}
    for text, says in (
        ("hi", "Got invalid JSON object"),
        ("[1]", r"Expected JSON object \(dict\)"),
        ("{}", "`a`"),
    ):
        with pytest.raises(OutputParserException, match=says) as caught:
            parse_and_check_json_markdown(text, ["a"])
        assert caught.value.llm_output == text


def test_a_text_of_a_thousand_code_blocks_is_given_up_soon() -> None:
    seen: list[int] = []

    def refuse(text: str) -> None:
        seen.append(len(text))
        raise ValueError("no")

    with pytest.raises(InvalidArgument):
        parse_json_markdown("```json\n{" * 1000, parser=refuse)
    assert len(seen) < 30
