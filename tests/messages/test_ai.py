from __future__ import annotations

import copy
import json
import pickle
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from modelwire.messages import (
    AIMessage,
    AIMessageChunk,
    add_ai_message_chunks,
    merge_chunks,
    message_chunk_to_message,
    tool_call,
    tool_call_chunk,
)
from modelwire.messages import tool_calls as tool_calls_module

USAGE: Any = {
    "input_tokens": 3,
    "output_tokens": 5,
    "total_tokens": 8,
    "input_token_details": {"cache_read": 1},
}


def cut(text: str, places: list[int]) -> list[str]:
    """Cut a text at places taken modulo its length."""
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[start:end] for start, end in pairwise(edges)] or [""]


def grouped(draw: st.DrawFn, chunks: list[AIMessageChunk]) -> AIMessageChunk:
    """Add neighbours in an order that hypothesis chooses."""
    while len(chunks) > 1:
        place = draw(st.integers(0, len(chunks) - 2))
        chunks = [*chunks[:place], chunks[place] + chunks[place + 1], *chunks[place + 2 :]]
    return chunks[0]


@st.composite
def streams(draw: st.DrawFn) -> tuple[AIMessage, list[AIMessageChunk], AIMessageChunk]:
    """Draw an answer, the chunks a decoder makes of it, and their sum in some grouping."""
    text = draw(st.text(max_size=12))
    as_blocks = draw(st.booleans())
    args = draw(
        st.lists(
            st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=5), max_size=3),
            max_size=3,
        )
    )
    places = st.lists(st.integers(0, 50), max_size=5)
    chunks = [
        AIMessageChunk.from_wire(
            [] if as_blocks else "", id="msg_1", response_metadata={"model_name": "m"}
        )
    ]
    for piece in cut(text, draw(places)):
        chunks.append(
            AIMessageChunk.from_wire(
                [{"type": "text", "text": piece, "index": 0}] if as_blocks else piece
            )
        )
    for number, arguments in enumerate(args):
        call = tool_call_chunk(name=f"tool_{number}", id=f"call_{number}", args="", index=number)
        chunks.append(AIMessageChunk.from_wire([] if as_blocks else "", tool_call_chunks=[call]))
        for piece in cut(json.dumps(arguments), draw(places)):
            delta = tool_call_chunk(args=piece, index=number)
            chunks.append(
                AIMessageChunk.from_wire([] if as_blocks else "", tool_call_chunks=[delta])
            )
    chunks.append(
        AIMessageChunk.from_wire(
            [] if as_blocks else "",
            usage_metadata=copy.deepcopy(USAGE),
            response_metadata={"finish_reason": "stop"},
            chunk_position="last",
        )
    )
    whole = AIMessage.from_wire(
        [{"type": "text", "text": text, "index": 0}] if as_blocks else text,
        id="msg_1",
        tool_calls=[
            tool_call(name=f"tool_{n}", id=f"call_{n}", args=a) for n, a in enumerate(args)
        ],
        usage_metadata=copy.deepcopy(USAGE),
        response_metadata={"model_name": "m", "finish_reason": "stop"},
    )
    return whole, chunks, grouped(draw, list(chunks))


@given(streams())
def test_sum_of_chunks_equals_the_whole_message_in_any_grouping(
    drawn: tuple[AIMessage, list[AIMessageChunk], AIMessageChunk],
) -> None:
    whole, chunks, total = drawn
    assert message_chunk_to_message(total) == whole
    assert merge_chunks(chunks) == total
    assert add_ai_message_chunks(*chunks) == total


@given(streams())
def test_a_sum_changes_none_of_its_parts(
    drawn: tuple[AIMessage, list[AIMessageChunk], AIMessageChunk],
) -> None:
    _, chunks, _ = drawn
    before = copy.deepcopy(chunks)
    merge_chunks(chunks)
    assert chunks == before


@given(streams())
def test_chunks_made_without_validation_equal_validated_ones(
    drawn: tuple[AIMessage, list[AIMessageChunk], AIMessageChunk],
) -> None:
    whole, chunks, total = drawn
    for chunk in (*chunks, total):
        given_fields = chunk.model_dump(exclude={"tool_calls", "invalid_tool_calls"})
        validated = AIMessageChunk(**given_fields)
        assert chunk == validated
        assert repr(chunk) == repr(validated)
        assert list(chunk.model_dump()) == list(validated.model_dump())
        assert pickle.loads(pickle.dumps(chunk)) == validated
    assert whole == AIMessage(**whole.model_dump())
    assert repr(whole) == repr(AIMessage(**whole.model_dump()))


def in_parts(*args: str | None) -> AIMessageChunk:
    first = tool_call_chunk(name="f", id="1", index=0)
    deltas = [tool_call_chunk(args=part, index=0) for part in args]
    return merge_chunks(
        [AIMessageChunk.from_wire("", tool_call_chunks=[delta]) for delta in (first, *deltas)]
    )


WAYS_TO_LOOK: list[Any] = [
    lambda chunk: chunk.tool_calls,
    lambda chunk: chunk.__dict__["tool_calls"],
    lambda chunk: chunk.model_dump()["tool_calls"],
    lambda chunk: json.loads(chunk.model_dump_json())["tool_calls"],
    lambda chunk: dict(chunk)["tool_calls"],
    lambda chunk: copy.copy(chunk).tool_calls,
    lambda chunk: copy.deepcopy(chunk).tool_calls,
    lambda chunk: pickle.loads(pickle.dumps(chunk)).tool_calls,
    lambda chunk: chunk.model_copy(update={"id": "x"}).tool_calls,
    lambda chunk: TypeAdapter(list[AIMessageChunk]).dump_python([chunk])[0]["tool_calls"],
    lambda chunk: TypeAdapter(Any).dump_python({"deep": [chunk]})["deep"][0]["tool_calls"],
    lambda chunk: json.loads(TypeAdapter(Any).dump_json([chunk]))[0]["tool_calls"],
    lambda chunk: message_chunk_to_message(chunk).tool_calls,  # type: ignore[attr-defined]
]


@pytest.mark.parametrize("look", WAYS_TO_LOOK)
def test_tool_calls_of_a_chunk_are_there_however_one_looks(look: Any) -> None:
    expected = [{"name": "f", "args": {"a": 1}, "id": "1", "type": "tool_call"}]
    assert look(in_parts('{"a"', ":1}")) == expected


def test_tool_calls_of_a_chunk_count_in_equality_and_repr() -> None:
    unread, read = in_parts('{"a":1}'), in_parts('{"a":1}')
    assert read.tool_calls
    assert unread == read
    assert "tool_calls=[{'name': 'f', 'args': {'a': 1}" in repr(in_parts('{"a":1}'))
    assert in_parts('{"a":1}') != in_parts('{"a":2}')


def test_tool_calls_stand_in_their_place_in_dump_and_schema() -> None:
    order = list(AIMessageChunk.model_fields)
    assert list(in_parts("{}").model_dump()) == order
    assert list(AIMessageChunk.model_json_schema()["properties"]) == order


def test_tool_arguments_are_parsed_once_and_only_when_somebody_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parsed = []
    real = tool_calls_module.parse_tool_args
    monkeypatch.setattr(
        tool_calls_module, "parse_tool_args", lambda text: parsed.append(text) or real(text)
    )
    chunks = [
        AIMessageChunk.from_wire("", tool_call_chunks=[tool_call_chunk(args="[" * n, index=0)])
        for n in range(9)
    ]
    for chunk in chunks:
        chunk.id = "run"
    last = AIMessageChunk.from_wire("", chunk_position="last")
    total = merge_chunks(
        [
            in_parts('{"a":'),
            AIMessageChunk.from_wire("", tool_call_chunks=[tool_call_chunk(args="1}", index=0)]),
            last,
        ]
    )
    assert parsed == []
    assert total.tool_calls == [tool_call(name="f", args={"a": 1}, id="1")]
    assert total.tool_calls is total.tool_calls
    message_chunk_to_message(total)
    assert parsed == ['{"a":1}']


@pytest.mark.parametrize(
    ("args", "so_far"),
    [
        ((), {}),
        ((None,), {}),
        (("",), {}),
        (('{"a": 1, "b',), {"a": 1}),
        (('{"a": "x',), {"a": "x"}),
        (("{}",), {}),
    ],
)
def test_arguments_still_on_their_way_are_read_as_far_as_they_go(
    args: tuple[str | None, ...], so_far: Any
) -> None:
    assert in_parts(*args).tool_calls == [tool_call(name="f", args=so_far, id="1")]


@pytest.mark.parametrize("args", ["nope", "[1]", "3", "[" * 100_000, '{"a":' * 100_000])
def test_arguments_that_are_no_object_make_an_invalid_call(args: str) -> None:
    chunk = in_parts(args)
    assert chunk.tool_calls == []
    assert [call["args"] for call in chunk.invalid_tool_calls] == [args]


def test_a_finished_stream_has_no_half_arguments() -> None:
    cut_short = in_parts('{"path": "/tmp/x", "depth": 1')
    assert cut_short.tool_calls[0]["args"] == {"path": "/tmp/x", "depth": 1}
    finished = cut_short + AIMessageChunk.from_wire("", chunk_position="last")
    assert finished.tool_calls == []
    assert finished.invalid_tool_calls[0]["error"]


def test_plain_assignment_is_not_validated_and_holds() -> None:
    chunk = in_parts('{"a":1}')
    chunk.tool_calls = [1]  # type: ignore[list-item]
    assert chunk.tool_calls == [1]
    assert chunk.invalid_tool_calls == []
    chunk.note = "kept"  # type: ignore[attr-defined]
    assert chunk.note == "kept"  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        chunk.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_whole_tool_calls_given_to_a_chunk_become_chunks() -> None:
    chunk = AIMessageChunk("", tool_calls=[{"name": "f", "args": {"a": 1}, "id": "1"}])
    assert chunk.tool_call_chunks == [tool_call_chunk(name="f", args='{"a": 1}', id="1")]
    assert chunk.tool_calls == [tool_call(name="f", args={"a": 1}, id="1")]
    bad: Any = [{"type": "invalid_tool_call", "name": "f", "args": "x", "id": "1", "error": None}]
    assert AIMessageChunk("", invalid_tool_calls=bad).invalid_tool_calls == bad


def test_tool_call_chunks_may_leave_out_keys() -> None:
    chunk = AIMessageChunk("", tool_call_chunks=[{"index": 0, "args": "a"}])  # type: ignore[typeddict-item]
    assert chunk.tool_call_chunks == [tool_call_chunk(args="a", index=0)]


def test_tool_calls_get_their_type_without_changing_what_was_given() -> None:
    given_call: Any = {"name": "f", "args": {"a": 1}, "id": "1"}
    message = AIMessage("", tool_calls=[given_call])
    assert message.tool_calls[0]["type"] == "tool_call"
    assert "type" not in given_call


def test_tool_calls_of_older_programs_are_read_from_additional_kwargs() -> None:
    raw = [
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
        {"id": "2", "type": "function", "function": {"name": "g", "arguments": '{"a":'}},
    ]
    message = AIMessage("", additional_kwargs={"tool_calls": raw})
    assert message.tool_calls == [tool_call(name="f", args={"a": 1}, id="1")]
    assert [call["id"] for call in message.invalid_tool_calls] == ["2"]
    chunk = AIMessageChunk("", additional_kwargs={"tool_calls": raw})
    assert [call["args"] for call in chunk.tool_calls] == [{"a": 1}, {}]


def test_tool_calls_among_content_blocks_are_tool_calls() -> None:
    call: Any = {"type": "tool_call", "name": "f", "args": {"a": 1}, "id": "1"}
    message = AIMessage(content_blocks=[{"type": "text", "text": "x"}, call])
    assert message.tool_calls == [call]


def test_usage_of_chunks_adds_up_with_its_details() -> None:
    total = merge_chunks(
        [
            AIMessageChunk("a", usage_metadata=USAGE),
            AIMessageChunk("b"),
            AIMessageChunk("c", usage_metadata=USAGE),
        ]
    )
    assert total.usage_metadata == {
        "input_tokens": 6,
        "output_tokens": 10,
        "total_tokens": 16,
        "input_token_details": {"cache_read": 2},
    }
    assert USAGE["input_tokens"] == 3


def test_a_sum_is_last_when_any_part_is() -> None:
    assert (
        AIMessageChunk("a", chunk_position="last") + AIMessageChunk("b")
    ).chunk_position == "last"
    assert (AIMessageChunk("a") + AIMessageChunk("b")).chunk_position is None


@pytest.mark.long
def test_a_hundred_thousand_deltas_are_touched_once_each() -> None:
    class Counted(str):
        added = 0

        def __add__(self, other: str) -> str:
            type(self).added += 1
            return str.__add__(self, other)

    text = [AIMessageChunk.from_wire(Counted("ab")) for _ in range(100_000)]
    assert len(merge_chunks(text).content) == 200_000
    args = [
        AIMessageChunk.from_wire(
            "", tool_call_chunks=[tool_call_chunk(args=Counted("ab"), index=0)]
        )
        for _ in range(100_000)
    ]
    assert len(merge_chunks(args).tool_call_chunks[0]["args"] or "") == 200_000
    assert Counted.added == 0  # joined once, not added 100,000 times


def test_pretty_repr_lists_tool_calls() -> None:
    message = AIMessage(
        "x",
        tool_calls=[{"name": "f", "args": {"a": 1}, "id": "1"}],
        invalid_tool_calls=[
            {"type": "invalid_tool_call", "name": "g", "args": "y", "id": "2", "error": "boo"}
        ],
    )
    assert message.pretty_repr().splitlines()[2:] == [
        "x",
        "Tool Calls:",
        "  f (1)",
        " Call ID: 1",
        "  Args:",
        "    a: 1",
        "Invalid Tool Calls:",
        "  g (2)",
        " Call ID: 2",
        "  Error: boo",
        "  Args:",
        "    y",
    ]
