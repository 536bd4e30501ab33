"""The decoder of Anthropic's streams: chunks, their sum, its errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.anthropic_wire import USE, blocks_of, events_of, streamed, text, whole

from modelwire.adapters.wires.anthropic.codec import MessagesCodec
from modelwire.errors import (
    AuthenticationError,
    BadRequest,
    IncompleteStream,
    MalformedResponse,
    Overloaded,
    RateLimited,
    RetryClass,
    ServerError,
)
from modelwire.messages import AIMessageChunk, merge_chunks
from modelwire.transport.sse import SSEDecoder
from modelwire.transport.wire import Reply, ServerEvent

CODEC = MessagesCodec()


def event(data: dict[str, Any] | bytes, name: str = "") -> ServerEvent:
    return ServerEvent(name, data if isinstance(data, bytes) else json.dumps(data).encode())


def start(**usage: Any) -> ServerEvent:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "usage": usage,
    }
    return event({"type": "message_start", "message": message})


def block(index: int, value: dict[str, Any]) -> ServerEvent:
    return event({"type": "content_block_start", "index": index, "content_block": value})


def delta(index: int, kind: str, **value: Any) -> ServerEvent:
    return event({"type": "content_block_delta", "index": index, "delta": {"type": kind, **value}})


def stop(index: int) -> ServerEvent:
    return event({"type": "content_block_stop", "index": index})


def end(reason: str | None = "end_turn", **usage: Any) -> ServerEvent:
    return event({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage})


STOP = event({"type": "message_stop"})


def decoded(*events: ServerEvent) -> list[AIMessageChunk]:
    decoder = CODEC.stream_decoder()
    return [chunk for one in events for chunk in decoder.feed(one)] + decoder.close()


# ---------------------------------------------------------------- content


def test_plain_text_streams_as_strings() -> None:
    chunks = streamed(events_of([text("Hello there")]))
    assert [chunk.content for chunk in chunks] == ["Hel", "lo ", "the", "re", ""]
    assert {chunk.id for chunk in chunks} == {"msg_1"}


def test_several_plain_texts_are_one_string_streamed_and_whole() -> None:
    content = [text("a"), text("b")]
    assert (
        merge_chunks(streamed(events_of(content))).content
        == CODEC.decode(Reply(200, {}, whole(content))).content
        == "ab"
    )


def test_text_before_a_tool_call_becomes_the_first_block() -> None:
    total = merge_chunks(streamed(events_of([text("let me see"), USE])))
    assert blocks_of(total) == [text("let me see"), USE]
    assert [call["args"] for call in total.tool_calls] == [{"city": "Zürich"}]


def test_tool_call_chunks_say_name_and_id_once() -> None:
    chunks = [call for chunk in streamed(events_of([USE])) for call in chunk.tool_call_chunks]
    assert [(call["id"], call["name"]) for call in chunks] == [("toolu_1", "weather")] + [
        (None, None)
    ] * (len(chunks) - 1)
    assert json.loads("".join(call["args"] for call in chunks)) == USE["input"]
    assert {call["index"] for call in chunks} == {0}


def test_a_call_whose_input_came_at_its_start_keeps_it() -> None:
    total = merge_chunks(decoded(start(), block(0, USE), stop(0), end("tool_use"), STOP))
    assert total.tool_calls[0]["args"] == USE["input"]
    assert blocks_of(total) == [USE]


def test_a_call_without_id_has_the_same_one_streamed_and_whole() -> None:
    nameless = {**USE, "id": None}
    total = merge_chunks(decoded(start(), block(0, nameless), stop(0), end("tool_use"), STOP))
    answer = CODEC.decode(Reply(200, {}, whole([nameless])))
    assert total.tool_calls[0]["id"] == answer.tool_calls[0]["id"] is not None


def test_arguments_cut_off_by_the_token_limit_are_an_invalid_call() -> None:
    total = merge_chunks(
        decoded(
            start(),
            block(0, {**USE, "input": {}}),
            delta(0, "input_json_delta", partial_json='{"city": "Zü'),
            end("max_tokens"),
            STOP,
        )
    )
    assert total.response_metadata["stop_reason"] == "max_tokens"
    assert blocks_of(total) == [{**USE, "input": {}}]
    calls = [*total.tool_calls, *total.invalid_tool_calls]
    assert [call["id"] for call in calls] == ["toolu_1"]


def test_gaps_and_unknown_events_and_deltas_are_tolerated() -> None:
    total = merge_chunks(
        decoded(
            start(),
            event({"type": "ping"}),
            event({"type": "brand_new", "index": 3}),
            block(5, text("")),
            delta(5, "brand_new_delta", value=1),
            delta(5, "text_delta", text="hi"),
            stop(5),
            delta(9, "input_json_delta", partial_json="{}"),
            end(),
            STOP,
        )
    )
    assert total.text == "hi"


def test_what_follows_the_end_is_ignored() -> None:
    late = delta(0, "text_delta", text="late")
    total = merge_chunks(
        decoded(start(), block(0, text("")), delta(0, "text_delta", text="hi"), end(), STOP, late)
    )
    assert total.content == "hi"


def test_padding_and_done_marks_of_other_servers_are_fine() -> None:
    padded = ServerEvent("", delta(0, "text_delta", text="hi").data + b"      ")
    assert merge_chunks(decoded(start(), padded, end(), STOP, event(b"[DONE]"))).content == "hi"
    assert merge_chunks(decoded(start(), padded, end(), event(b"[DONE]"))).content == "hi"


PIECES = st.one_of(
    st.text(max_size=12).map(text),
    st.text(max_size=8).map(
        lambda said: {"type": "thinking", "thinking": said, "signature": "c2ln"}
    ),
    st.dictionaries(
        st.text(max_size=3), st.one_of(st.none(), st.integers(), st.text(max_size=5)), max_size=3
    ).map(lambda args: {**USE, "input": args}),
    st.just({"type": "redacted_thinking", "data": "eA=="}),
    st.text(max_size=5).map(
        lambda said: text(said, citations=[{"type": "char_location", "cited_text": said}])
    ),
    st.just(
        {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {"query": "q"}}
    ),
    st.just({"type": "something_new", "value": [1, {"a": None}]}),
)


@given(st.lists(PIECES, max_size=5), st.integers(1, 400))
def test_the_sum_equals_the_unstreamed_message_however_the_bytes_are_cut(
    content: list[Any], size: int
) -> None:
    content = [
        {**b, "id": f"toolu_{n}"} if b["type"] == "tool_use" else b for n, b in enumerate(content)
    ]
    body = events_of(content)
    sse, decoder = SSEDecoder(), CODEC.stream_decoder()
    cuts = [body[at : at + size] for at in range(0, len(body), size)]
    chunks = [
        chunk for piece in cuts for one in sse.feed(piece) for chunk in decoder.feed(one)
    ] + decoder.close()
    total, answer = merge_chunks(chunks), CODEC.decode(Reply(200, {}, whole(content)))
    assert isinstance(total.content, str) == isinstance(answer.content, str)
    assert blocks_of(total) == blocks_of(answer)
    assert total.tool_calls == answer.tool_calls
    assert (total.id, total.usage_metadata) == (answer.id, answer.usage_metadata)
    assert (total.response_metadata, total.chunk_position) == (answer.response_metadata, "last")


# ---------------------------------------------------------------- what is said once


def test_usage_of_the_start_holds_where_the_end_says_less() -> None:
    chunks = decoded(
        start(input_tokens=7, cache_read_input_tokens=3, output_tokens=1),
        end(output_tokens=9),
        STOP,
    )
    assert merge_chunks(chunks).usage_metadata == {
        "input_tokens": 10,
        "output_tokens": 9,
        "total_tokens": 19,
        "input_token_details": {"cache_read": 3},
    }


def test_usage_of_the_end_wins_and_is_said_once() -> None:
    text_delta = delta(0, "text_delta", text="hi")
    chunks = decoded(
        start(input_tokens=7, output_tokens=1),
        text_delta,
        end(input_tokens=8, output_tokens=9),
        STOP,
    )
    assert [chunk.usage_metadata for chunk in chunks[:-1]] == [None]
    assert chunks[-1].usage_metadata == {"input_tokens": 8, "output_tokens": 9, "total_tokens": 17}
    assert chunks[-1].response_metadata["usage"] == {"input_tokens": 8, "output_tokens": 9}


def test_no_usage_is_none_and_never_zero() -> None:
    assert merge_chunks(decoded(start(), end(), STOP)).usage_metadata is None


def test_the_end_says_container_and_context_management() -> None:
    last = {
        "type": "message_delta",
        "delta": {
            "stop_reason": "refusal",
            "stop_details": {"category": "cyber"},
            "container": {"id": "c"},
        },
        "context_management": {"applied_edits": []},
    }
    metadata = merge_chunks(decoded(start(), event(last), STOP)).response_metadata
    assert metadata["stop_reason"] == "refusal"
    assert metadata["stop_details"] == {"category": "cyber"}
    assert metadata["container"] == {"id": "c"}
    assert metadata["context_management"] == {"applied_edits": []}
    assert (metadata["model_name"], metadata["model_provider"]) == ("m", "anthropic")


# ---------------------------------------------------------------- the end, and errors


@pytest.mark.parametrize(
    "events", [(end(),), (STOP,), (end(), STOP)], ids=["reason", "stop", "both"]
)
def test_a_stop_reason_or_message_stop_completes_the_stream(
    events: tuple[ServerEvent, ...],
) -> None:
    assert decoded(start(), delta(0, "text_delta", text="hi"), *events)[-1].chunk_position == "last"


@pytest.mark.parametrize("seen", range(4))
def test_a_stream_without_its_terminal_mark_is_incomplete(seen: int) -> None:
    events = [start(), delta(0, "text_delta", text="hi"), stop(0), end(None)][:seen]
    with pytest.raises(IncompleteStream, match="before"):
        decoded(*events)


@pytest.mark.parametrize(
    ("kind", "error", "retry"),
    [
        ("overloaded_error", Overloaded, RetryClass.OVERLOAD),
        ("rate_limit_error", RateLimited, RetryClass.THROTTLE),
        ("api_error", ServerError, RetryClass.TRANSIENT),
        ("authentication_error", AuthenticationError, RetryClass.FATAL),
        ("invalid_request_error", BadRequest, RetryClass.FATAL),
        ("never_heard_of", BadRequest, RetryClass.FATAL),
    ],
)
def test_an_error_event_is_the_error_of_its_type(
    kind: str, error: type[Exception], retry: RetryClass
) -> None:
    said = {"type": "error", "error": {"type": kind, "message": "no"}, "request_id": "req_1"}
    decoder = CODEC.stream_decoder()
    decoder.feed(start())
    with pytest.raises(error, match="no") as caught:
        decoder.feed(event(said, "error"))
    assert caught.value.retry_class is retry
    assert (caught.value.type, caught.value.request_id) == (kind, "req_1")


@pytest.mark.parametrize(
    "data",
    [
        b"<html>",
        b"[1]",
        b"7",
        b'{"type": "content_block_delta"}',
        b'{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 5}}',
        b'{"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": null}}',
        b'{"type": "content_block_delta", "index": 0, "delta": []}',
        b'{"type": "content_block_start", "index": 0, "content_block": null}',
        b'{"type": "message_start", "message": "x"}',
        b"[" * 100_000,
    ],
)
def test_an_event_nobody_can_read_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedResponse):
        CODEC.stream_decoder().feed(event(data))


def test_bad_utf8_in_an_event_is_one_replacement_character() -> None:
    data = delta(0, "text_delta", text="a?b").data.replace(b"?", b"\xff")
    assert CODEC.stream_decoder().feed(event(data))[0].content == "a\ufffdb"


@pytest.mark.parametrize(
    "bad",
    [block(0, {"type": [], "text": "x"}), event({"type": "message_delta", "delta": "x"})],
    ids=["type", "delta"],
)
def test_an_event_of_the_wrong_types_is_malformed(bad: ServerEvent) -> None:
    decoder = CODEC.stream_decoder()
    decoder.feed(start())
    with pytest.raises(MalformedResponse):
        decoder.feed(bad)


def test_a_call_whose_id_and_name_are_no_text_gets_an_id() -> None:
    decoder = CODEC.stream_decoder()
    events = [
        start(),
        block(0, {"type": "tool_use", "id": [1], "name": 5, "input": {}}),
        stop(0),
        event({"type": "message_stop"}),
    ]
    (call,) = merge_chunks(
        [chunk for each in events for chunk in decoder.feed(each)] + decoder.close()
    ).tool_calls
    assert call["id"].startswith("toolu_")
    assert call["name"] == ""
