from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire.errors import InvalidArgument, OutputParserException
from modelwire.messages import AIMessage, AIMessageChunk
from modelwire.output_parsers import (
    CommaSeparatedListOutputParser,
    ListOutputParser,
    MarkdownListOutputParser,
    NumberedListOutputParser,
)


class Semicolons(ListOutputParser):
    def parse(self, text: str) -> list[str]:
        if "!" in text:
            raise OutputParserException("No shouting.", llm_output=text)
        return [item.strip() for item in text.split(";")]


CASES = [
    (CommaSeparatedListOutputParser(), "foo", ["foo"]),
    (CommaSeparatedListOutputParser(), "foo, bar,baz", ["foo", "bar", "baz"]),
    (
        CommaSeparatedListOutputParser(),
        '"foo, foo2",bar, "say ""hi"""',
        ["foo, foo2", "bar", 'say "hi"'],
    ),
    (CommaSeparatedListOutputParser(), "a\nb, c\r\n\r\nd", ["a", "b", "c", "d"]),
    (CommaSeparatedListOutputParser(), "a,,b,", ["a", "", "b", ""]),
    (CommaSeparatedListOutputParser(), 'x "y, z", "a\nb', ['x "y', 'z"', "a\nb"]),
    (CommaSeparatedListOutputParser(), "", []),
    (
        NumberedListOutputParser(),
        "Items:\n\n1. foo\n\n    2. bar\r\n10. baz",
        ["foo", "bar", "baz"],
    ),
    (NumberedListOutputParser(), "No items, version 2.5 or not.", []),
    (
        MarkdownListOutputParser(),
        "A - not an item - list.\n- foo\n     * bar\n-no\n- baz",
        ["foo", "bar", "baz"],
    ),
    (NumberedListOutputParser(pattern=r"^\d+\)\s(.+)"), "1) a\n2. b\n3) c", ["a", "c"]),
    (Semicolons(), "a; b ;c", ["a", "b", "c"]),
]


@pytest.mark.parametrize(("parser", "text", "items"), CASES)
def test_items_are_read_whole_and_in_a_stream_however_it_is_cut(
    colour: Any, parser: Any, text: str, items: list[str]
) -> None:
    assert colour.invoke(parser, AIMessage(text)) == items
    assert colour.transform(parser, list(text)) == [[item] for item in items]
    assert colour.transform(parser, [text]) == [[item] for item in items]
    assert colour.transform(parser, [AIMessageChunk(text[:4]), AIMessageChunk(text[4:])]) == [
        [item] for item in items
    ]


def test_an_item_is_given_as_soon_as_it_is_complete() -> None:
    for parser, chunks in (
        (CommaSeparatedListOutputParser(), ["a", ",b", ",c"]),
        (Semicolons(), ["a", ";b", ";c"]),
    ):
        given_out: list[str] = []
        seen = []

        def source(chunks: list[str] = chunks, given_out: list[str] = given_out) -> Any:
            for chunk in chunks:
                given_out.append(chunk)
                yield chunk

        for item in parser.transform(source()):
            seen.append((item, len(given_out)))
        assert seen == [(["a"], 2), (["b"], 3), (["c"], 3)]


@given(st.text('a",\n\r ', max_size=30), st.lists(st.integers(0, 30), max_size=5))
def test_any_cut_gives_the_same_items(text: str, cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(text)]
    chunks = [text[start:end] for start, end in pairwise(places)]
    parser = CommaSeparatedListOutputParser()
    assert [item for (item,) in parser.transform(iter(chunks))] == parser.parse(text)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_what_the_csv_module_writes_is_read_back(items: list[str]) -> None:
    import csv
    import io

    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerow(items)
    assert CommaSeparatedListOutputParser().parse(out.getvalue()) == items


def test_a_streams_error_is_the_calls_error(colour: Any) -> None:
    with pytest.raises(OutputParserException, match="shouting"):
        colour.transform(Semicolons(), ["a;", "b!"])


def test_a_pattern_must_be_one_with_a_group() -> None:
    with pytest.raises(InvalidArgument, match="not a regular expression"):
        NumberedListOutputParser(pattern="(")
    with pytest.raises(InvalidArgument, match="needs a group"):
        MarkdownListOutputParser(pattern="a+")


def test_instructions_show_the_form() -> None:
    assert "foo, bar, baz" in CommaSeparatedListOutputParser().get_format_instructions()
    assert "1. foo" in NumberedListOutputParser().get_format_instructions()
    assert "- foo" in MarkdownListOutputParser().get_format_instructions()
    assert CommaSeparatedListOutputParser().OutputType == list[str]
    assert NumberedListOutputParser().asdict()["_type"] == "numbered-list"
