from __future__ import annotations

import functools
import json
import operator
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire.adapters.wires.openai_chat.codec import ChatCompletionsCodec
from modelwire.errors import (
    BadRequest,
    ChatError,
    IncompleteStream,
    MalformedResponse,
    Overloaded,
    ServerError,
)
from modelwire.messages import AIMessageChunk
from modelwire.transport.wire import Reply, ServerEvent

CODEC = ChatCompletionsCodec()
DONE = "[DONE]"


def event(data: Any, name: str = "") -> ServerEvent:
    raw = (
        data
        if isinstance(data, bytes)
        else data.encode()
        if isinstance(data, str)
        else json.dumps(data).encode()
    )
    return ServerEvent(name, raw)


def delta(delta: Any = None, **fields: Any) -> dict[str, Any]:
    """One event as OpenAI sends it; fields of the choice and of the event by their names."""
    top = {
        key: fields.pop(key)
        for key in ("id", "model", "usage", "choices", "error")
        if key in fields
    }
    choice = {"index": 0, "delta": delta or {}, "logprobs": None, "finish_reason": None, **fields}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "system_fingerprint": "fp",
        "choices": [choice],
        **top,
    }


def text(said: str, **fields: Any) -> dict[str, Any]:
    return delta({"content": said}, **fields)


def tool(*calls: dict[str, Any]) -> dict[str, Any]:
    return delta({"tool_calls": list(calls)})


FINISH = delta(finish_reason="stop")
USAGE = delta(choices=[], usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3})


def chunks_of(*events: Any) -> list[AIMessageChunk]:
    decoder = CODEC.stream_decoder()
    chunks: list[AIMessageChunk] = []
    for each in events:
        chunks += decoder.feed(each if isinstance(each, ServerEvent) else event(each))
    return chunks + decoder.close()


def sum_of(*events: Any) -> AIMessageChunk:
    return functools.reduce(operator.add, chunks_of(*events))


# ---------------------------------------------------------------- the usual stream


def test_each_piece_of_text_is_a_chunk_and_the_last_says_the_rest_once() -> None:
    chunks = chunks_of(
        delta({"role": "assistant", "content": ""}), text("Hel"), text("lo"), FINISH, USAGE, DONE
    )
    assert [chunk.content for chunk in chunks] == ["Hel", "lo", ""]
    assert {chunk.id for chunk in chunks} == {"chatcmpl-1"}
    assert [chunk.chunk_position for chunk in chunks] == [None, None, "last"]
    assert [chunk.usage_metadata for chunk in chunks[:2]] == [None, None]
    assert [chunk.response_metadata for chunk in chunks[:2]] == [{}, {}]
    assert chunks[-1].usage_metadata == {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    assert chunks[-1].response_metadata == {
        "token_usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
        "model_name": "m",
        "system_fingerprint": "fp",
        "id": "chatcmpl-1",
        "finish_reason": "stop",
        "logprobs": None,
        "model_provider": "openai",
    }


def test_sum_of_chunks_has_every_single_fact_once() -> None:
    repeated = {"role": "assistant"}
    total = sum_of(
        delta(
            {**repeated, "content": "a"},
            usage={"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10},
        ),
        delta(
            {**repeated, "content": "b"},
            usage={"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
        ),
        delta({**repeated, "content": "c"}, finish_reason="stop", native_finish_reason="completed"),
        delta({**repeated, "content": ""}, finish_reason="stop", native_finish_reason="completed"),
        DONE,
    )
    assert total.content == "abc"
    assert total.usage_metadata == {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11}
    assert total.response_metadata["finish_reason"] == "stop"
    assert total.response_metadata["native_finish_reason"] == "completed"
    assert total.response_metadata["model_name"] == "m"


def test_azure_s_first_event_without_choices_id_and_model_makes_no_chunk() -> None:
    chunks = chunks_of(
        {
            "choices": [],
            "created": 0,
            "id": "",
            "model": "",
            "object": "",
            "prompt_filter_results": [{"a": 1}],
        },
        text("a"),
        {
            "choices": [
                {"index": 0, "finish_reason": None, "content_filter_offsets": {"check_offset": 4}}
            ],
            "id": "",
        },
        FINISH,
        DONE,
    )
    assert [(chunk.content, chunk.id) for chunk in chunks] == [
        ("a", "chatcmpl-1"),
        ("", "chatcmpl-1"),
    ]
    assert chunks[-1].response_metadata["model_name"] == "m"
    assert chunks[-1].response_metadata["prompt_filter_results"] == [{"a": 1}]


def test_other_choices_are_left_out_wherever_they_stand() -> None:
    both = text("a")
    both["choices"].insert(0, {"index": 1, "delta": {"content": "x"}, "finish_reason": None})
    total = sum_of(text("y", index=1), both, delta({"content": "z"}, index=2), FINISH, DONE)
    assert total.content == "a"


def test_reasoning_comes_as_it_is_thought() -> None:
    chunks = chunks_of(
        delta({"role": "assistant", "content": None, "reasoning_content": "h"}),
        delta(
            {
                "content": "",
                "reasoning": "m",
                "reasoning_details": [{"type": "t", "text": "m", "index": 0}],
            }
        ),
        delta({"reasoning_details": [{"type": "t", "text": "!", "signature": "s", "index": 0}]}),
        delta({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "?"}]}]}),
        delta({"content": [{"type": "text", "text": "a"}]}),
        text("b"),
        FINISH,
        DONE,
    )
    assert [chunk.additional_kwargs.get("reasoning_content") for chunk in chunks[:4]] == [
        "h",
        "m",
        "!",
        "?",
    ]
    total = functools.reduce(operator.add, chunks)
    assert total.content == "ab"
    assert total.additional_kwargs == {
        "reasoning_content": "hm!?",
        "reasoning_details": [{"type": "t", "text": "m!", "index": 0, "signature": "s"}],
    }


def test_refusals_audio_and_legacy_calls_add_up_and_lists_are_kept() -> None:
    total = sum_of(
        delta({"refusal": "I ca", "function_call": {"name": "f", "arguments": ""}}),
        delta(
            {
                "refusal": "nnot",
                "function_call": {"arguments": '{"a'},
                "annotations": [{"type": "x"}],
            }
        ),
        delta(
            {
                "function_call": {"arguments": '":1}'},
                "annotations": [{"type": "y"}],
                "audio": {"id": "audio_1"},
            }
        ),
        delta({"audio": {"data": "AA"}}),
        delta({"audio": {"data": "BB"}}),
        FINISH,
        DONE,
    )
    assert total.additional_kwargs == {
        "refusal": "I cannot",
        "function_call": {"name": "f", "arguments": '{"a":1}'},
        "annotations": [{"type": "x"}, {"type": "y"}],
        "audio": {"id": "audio_1", "data": "AABB"},
    }


def test_log_probabilities_are_joined() -> None:
    chunks = chunks_of(
        text("a", logprobs={"content": [{"token": "a"}], "refusal": None}),
        text("b", logprobs={"content": [{"token": "b"}]}),
        FINISH,
        DONE,
    )
    assert [chunk.content for chunk in chunks] == ["a", "b", ""]
    assert chunks[-1].response_metadata["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}]}


def test_a_whole_message_in_one_event_is_read() -> None:
    assert (
        sum_of(
            delta(choices=[{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}])
        ).content
        == "a"
    )


def test_groq_s_usage_is_found() -> None:
    last = {
        **FINISH,
        "x_groq": {"usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}},
    }
    usage = sum_of(text("a"), last, DONE).usage_metadata
    assert usage is not None
    assert usage["total_tokens"] == 2


def test_a_stream_without_usage_has_none() -> None:
    assert sum_of(text("a", usage=None), FINISH, DONE).usage_metadata is None


# ---------------------------------------------------------------- tool calls


def calls_of(*events: Any) -> list[tuple[str, Any, str | None]]:
    total = sum_of(*events, delta(finish_reason="tool_calls"), DONE)
    assert total.invalid_tool_calls == []
    return [(call["name"], call["args"], call["id"]) for call in total.tool_calls]


def piece(arguments: Any = None, name: str | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "function": {"arguments": arguments, **({"name": name} if name is not None else {})},
        **fields,
    }


@pytest.mark.parametrize(
    ("pieces", "calls"),
    [
        (  # OpenAI: id and name once, arguments in pieces, cut inside an escape
            [
                piece("", "f", index=0, id="c1", type="function"),
                piece('{"a": "x\\', index=0),
                piece('u00e9"}', index=0),
                piece("", "g", index=1, id="c2", type="function"),
                piece("{}", index=1),
            ],
            [("f", {"a": "xé"}, "c1"), ("g", {}, "c2")],
        ),
        (  # whole calls, each in one delta
            [piece('{"a": 1}', "f", index=0, id="c1"), piece('{"a": 2}', "f", index=1, id="c2")],
            [("f", {"a": 1}, "c1"), ("f", {"a": 2}, "c2")],
        ),
        (  # id and name in every delta
            [piece('{"a"', "f", index=0, id="c1"), piece(": 1}", "f", index=0, id="c1")],
            [("f", {"a": 1}, "c1")],
        ),
        (  # pieces of two calls in turn, the second first, with a gap
            [
                piece("", "g", index=5, id="c2"),
                piece("", "f", index=0, id="c1"),
                piece('{"b"', index=5),
                piece('{"a"', index=0),
                piece(":2}", index=5),
                piece(":1}", index=0),
            ],
            [("g", {"b": 2}, "c2"), ("f", {"a": 1}, "c1")],
        ),
        (  # every call numbered 0
            [piece('{"a": 1}', "f", index=0, id="c1"), piece('{"a": 2}', "f", index=0, id="c2")],
            [("f", {"a": 1}, "c1"), ("f", {"a": 2}, "c2")],
        ),
        (  # no numbers, but ids
            [piece('{"a"', "f", id="c1"), piece(": 1}"), piece("{}", "g", id="c2")],
            [("f", {"a": 1}, "c1"), ("g", {}, "c2")],
        ),
        (  # arguments of a tool without any: absent, null, the word
            [
                {"index": 0, "id": "c1", "function": {"name": "f"}},
                piece(None, "g", index=1, id="c2"),
            ],
            [("f", {}, "c1"), ("g", {}, "c2")],
        ),
        ([piece("null", "f", index=0, id="c1")], [("f", {}, "c1")]),
        ([piece({"a": 1}, "f", index=0, id="c1")], [("f", {"a": 1}, "c1")]),
        (  # free text of a custom tool
            [
                {
                    "index": 0,
                    "id": "c1",
                    "type": "custom",
                    "custom": {"name": "sh", "input": 'echo "'},
                },
                {"index": 0, "custom": {"input": 'hi"\n'}},
            ],
            [("sh", {"__arg1": 'echo "hi"\n'}, "c1")],
        ),
    ],
)
def test_tool_calls_are_put_together(pieces: list[Any], calls: list[Any]) -> None:
    assert calls_of(*(tool(each) for each in pieces)) == calls
    if all("index" in each for each in pieces):
        assert calls_of(tool(*pieces)) == calls


def test_a_tool_call_without_an_id_gets_the_same_as_when_it_is_not_streamed() -> None:
    body = {
        "id": "chatcmpl-1",
        "created": 1,
        "choices": [{"message": {"tool_calls": [piece("{}", "f", id=""), piece("{}", "f")]}}],
    }
    whole = CODEC.decode(Reply(200, {}, json.dumps(body).encode())).tool_calls
    streamed = calls_of(tool(piece("{}", "f", id="")), tool(piece("{}", "f")))
    assert [id_ for *_, id_ in streamed] == [call["id"] for call in whole]
    assert len({id_ for *_, id_ in streamed}) == 2


def test_arguments_cut_short_are_no_crash() -> None:
    total = sum_of(
        tool(piece('{"a": [1, "x', "f", index=0, id="c1")), delta(finish_reason="length"), DONE
    )
    assert len(total.tool_calls) + len(total.invalid_tool_calls) == 1


# ---------------------------------------------------------------- ends and errors


def test_a_stream_is_complete_by_its_finish_reason_or_by_its_mark() -> None:
    assert sum_of(text("a"), FINISH).content == "a"
    assert sum_of(text("a"), DONE).response_metadata["finish_reason"] is None
    assert (
        sum_of(text("a", finish_reason=""), b" [DONE]\n").response_metadata["finish_reason"] is None
    )


@pytest.mark.parametrize(
    "events", [[], [text("a")], [text("a", finish_reason="")], [{"foo": 1}], [USAGE]]
)
def test_a_stream_that_just_ends_is_incomplete(events: list[Any]) -> None:
    with pytest.raises(IncompleteStream, match="part of the answer is missing"):
        chunks_of(*events)


def test_what_comes_after_the_mark_is_ignored() -> None:
    chunks = chunks_of(
        text("a"), DONE, text("b"), b"not json", {"error": {"message": "late"}}, DONE
    )
    assert [chunk.content for chunk in chunks] == ["a", ""]


@pytest.mark.parametrize(
    ("failing", "cls", "status", "code"),
    [
        (
            {
                "error": {
                    "message": "no",
                    "type": "invalid_request_error",
                    "code": "tool_use_failed",
                }
            },
            BadRequest,
            200,
            "tool_use_failed",
        ),
        ({"error": {"message": "no", "code": 502}}, ServerError, 502, "502"),
        ({"error": {"message": "no", "type": "overloaded_error"}}, Overloaded, 200, None),
        ({"error": "no"}, BadRequest, 200, None),
        ({"object": "error", "message": "no", "code": 503}, Overloaded, 503, "503"),
        ({**text("b"), "error": {"message": "no", "code": 502}}, ServerError, 502, "502"),
        (
            delta(choices=[{"index": 0, "error": {"message": "no", "code": 502}}]),
            ServerError,
            502,
            "502",
        ),
    ],
)
@pytest.mark.parametrize("before", [[], [text("a")], [text("a"), delta(finish_reason="length")]])
def test_an_error_event_raises_its_class_at_any_time(
    failing: Any, cls: type[ChatError], status: int, code: str | None, before: list[Any]
) -> None:
    decoder = CODEC.stream_decoder()
    for each in before:
        decoder.feed(event(each))
    with pytest.raises(ChatError) as caught:
        decoder.feed(event(failing))
    error = caught.value
    assert (type(error), error.status, error.code, error.message) == (cls, status, code, "no")
    assert error.provider == "openai"


def test_an_event_named_error_is_one_whatever_it_holds() -> None:
    with pytest.raises(BadRequest, match="broken"):
        CODEC.stream_decoder().feed(event({"message": "broken"}, "error"))
    with pytest.raises(BadRequest, match="we are sorry"):
        CODEC.stream_decoder().feed(event("we are sorry", "error"))
    for data in (text("a"), "", "{}", "[]"):
        with pytest.raises(ChatError):
            CODEC.stream_decoder().feed(event(data, "error"))


@pytest.mark.parametrize(
    "data", [b"<html>", b'{"choices": [', b"[" * 100_000, b'"a"', b"[]", b"7", b"null"]
)
def test_an_event_nobody_can_read_is_a_malformed_response(data: bytes) -> None:
    with pytest.raises(MalformedResponse, match="stream event"):
        CODEC.stream_decoder().feed(event(data))


def test_bad_utf_8_in_an_event_is_one_replacement_character() -> None:
    raw = json.dumps(text("a?b")).encode().replace(b"?", b"\xff")
    assert sum_of(raw, FINISH).content == "a�b"


@pytest.mark.parametrize(
    "odd",
    [
        {"choices": None},
        {"choices": {}},
        {"choices": [None, 1]},
        {"choices": [{}]},
        {"choices": [{"delta": None}]},
        {"choices": [{"delta": "x"}]},
        {"choices": [{"delta": {"content": 5, "tool_calls": {}, "reasoning_details": 1}}]},
        {"choices": [{"delta": {"tool_calls": [None, {"index": "0"}]}}]},
        {"usage": "12", "id": 5, "model": {}},
        {"foo": 1},
    ],
)
def test_pieces_that_are_not_what_they_should_be_are_no_crash(odd: Any) -> None:
    assert sum_of(text("a"), odd, FINISH, DONE).content == "a"


@pytest.mark.parametrize("choice", [0, 1])
def test_a_piece_of_a_refusal_that_is_no_text_is_as_good_as_absent(choice: int) -> None:
    pieces = (delta({"refusal": said}, index=choice) for said in ("no", 1))
    total = sum_of(text("a"), *pieces, delta(index=choice, finish_reason="stop"), FINISH, DONE)
    kwargs = (
        total.response_metadata["other_choices"][0]["additional_kwargs"]
        if choice
        else total.additional_kwargs
    )
    assert kwargs == {"refusal": "no"}


def test_an_unknown_named_event_is_ignored_and_a_named_chunk_read() -> None:
    total = sum_of(event({"a": 1}, "ping"), event(text("a"), "completion.chunk"), FINISH)
    assert total.content == "a"


# ---------------------------------------------------------------- the sum is the whole

PIECES = st.lists(st.text(min_size=1, max_size=6), max_size=6)
ARGS = st.dictionaries(
    st.text(max_size=4), st.integers() | st.text(max_size=6) | st.none(), max_size=3
)


@given(
    said=PIECES,
    thought=PIECES,
    calls=st.lists(st.tuples(st.sampled_from("fgh"), ARGS), max_size=3),
    usage=st.none() | st.tuples(st.integers(0, 99), st.integers(0, 99)),
    cut=st.integers(1, 7),
)
def test_sum_of_chunks_equals_the_whole_message(
    said: list[str], thought: list[str], calls: list[Any], usage: tuple[int, int] | None, cut: int
) -> None:
    raw_calls = [
        {
            "id": f"c{n}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(args)},
        }
        for n, (name, args) in enumerate(calls)
    ]
    raw_usage = usage and {
        "prompt_tokens": usage[0],
        "completion_tokens": usage[1],
        "total_tokens": 200,
    }
    message = {"role": "assistant", "content": "".join(said), "tool_calls": raw_calls}
    if thought:
        message["reasoning_content"] = "".join(thought)
    body = {
        **delta(choices=[{"index": 0, "message": message, "finish_reason": "stop"}]),
        "usage": raw_usage,
    }
    whole = CODEC.decode(Reply(200, {}, json.dumps(body).encode()))

    events = [delta({"role": "assistant", "content": ""})]
    events += [delta({"reasoning_content": each}) for each in thought] + [
        text(each) for each in said
    ]
    for n, call in enumerate(raw_calls):
        arguments = call["function"]["arguments"]
        events.append(
            tool(
                {
                    **call,
                    "index": n,
                    "function": {"name": call["function"]["name"], "arguments": ""},
                }
            )
        )
        events += [
            tool(piece(arguments[at : at + cut], index=n)) for at in range(0, len(arguments), cut)
        ]
    events += [FINISH, delta(choices=[], usage=raw_usage)]
    total = sum_of(*events, DONE)

    for name in (
        "content",
        "id",
        "tool_calls",
        "invalid_tool_calls",
        "usage_metadata",
        "additional_kwargs",
    ):
        assert getattr(total, name) == getattr(whole, name), name
    assert total.response_metadata == whole.response_metadata


# ---------------------------------------------------------------- cost


def test_a_piece_of_text_costs_two_python_calls() -> None:
    """Count, not time: `feed` itself and the making of the chunk."""
    decoder = CODEC.stream_decoder()
    decoder.feed(event(text("first")))
    usual = event(text("x"))
    seen: list[str] = []

    def profile(frame: Any, what: str, _: Any) -> None:
        if what == "call":
            seen.append(frame.f_code.co_name)

    sys.setprofile(profile)
    try:
        decoder.feed(usual)
    finally:
        sys.setprofile(None)
    assert seen[0] == "feed"
    assert len(seen) <= 3, seen
