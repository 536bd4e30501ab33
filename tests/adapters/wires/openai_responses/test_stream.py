"""The events of the Responses API as chunks."""

from __future__ import annotations

import functools
import json
import operator
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseStreamEvent

from modelwire.adapters.wires.openai_responses.codec import ResponsesCodec
from modelwire.errors import (
    IncompleteStream,
    MalformedResponse,
    ProviderError,
    RateLimited,
    ServerError,
)
from modelwire.messages import AIMessageChunk
from modelwire.messages.block_translators.v1 import V1Stream, as_v1
from modelwire.transport.wire import Reply, ServerEvent

CODEC = ResponsesCodec()
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "model": "m",
    "status": "in_progress",
    "output": [],
}
CREATED = {"type": "response.created", "response": RESPONSE}


def completed(*output: Any, **more: Any) -> dict[str, Any]:
    usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    response = {**RESPONSE, "status": "completed", "output": list(output), "usage": usage, **more}
    return {"type": f"response.{response['status']}", "response": response}


def read(*events: Any) -> list[AIMessageChunk]:
    decoder = CODEC.stream_decoder({"x-request-id": "req_1"})
    return [
        chunk for event in events for chunk in decoder.feed(server_event(event))
    ] + decoder.close()


def server_event(event: Any) -> ServerEvent:
    return ServerEvent(event.get("type", ""), json.dumps(event).encode())


def total(*events: Any) -> AIMessageChunk:
    return functools.reduce(operator.add, read(*events))


def without_index(value: Any) -> Any:
    if isinstance(value, list):
        return [without_index(item) for item in value]
    return (
        {k: without_index(v) for k, v in value.items() if k != "index"}
        if isinstance(value, dict)
        else value
    )


def delta(kind: str, text: str, at: int = 0, **more: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}.delta", "delta": text, "output_index": at, **more}


def text(words: str, at: int = 0, part: int = 0) -> dict[str, Any]:
    return delta("output_text", words, at, content_index=part, item_id=f"msg_{at}", logprobs=[])


def item(
    kind: str, at: int, **fields: Any
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return the item, and the events of its beginning and its end."""
    whole = {"type": kind, "id": f"{kind}_{at}", **fields}
    empty = {
        "arguments": "",
        "input": "",
        "summary": [],
        "content": [],
        "code": "",
        "status": "in_progress",
    }
    head = {
        key: empty.get(key, value) for key, value in whole.items() if key != "encrypted_content"
    }
    return (
        whole,
        {"type": "response.output_item.added", "output_index": at, "item": head},
        {"type": "response.output_item.done", "output_index": at, "item": whole},
    )


NOTE = {"type": "url_citation", "url": "https://x", "title": "x", "start_index": 0, "end_index": 1}
NOTES = [{"type": "file_citation", "file_id": name, "filename": name, "index": 5} for name in "ab"]


def message(
    words: str, at: int = 0, **fields: Any
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    part = {"type": "output_text", "text": words, "annotations": fields.pop("annotations", [])}
    return item("message", at, role="assistant", status="completed", content=[part], **fields)


# name: the items, and the events between beginning and end of each
CASES: dict[str, list[tuple[tuple[Any, Any, Any], list[Any]]]] = {
    "text": [(message("Hello"), [text("Hel"), text("lo")])],
    "text that no delta brought": [(message("Hello"), [])],
    "text of which the end no delta brought": [(message("Hello"), [text("Hel")])],
    "citations at one place": [
        (
            message("Hi", annotations=[NOTE, *NOTES]),
            [text("Hi")]
            + [
                {
                    "type": "response.output_text.annotation.added",
                    "output_index": 0,
                    "content_index": 0,
                    "annotation": note,
                }
                for note in NOTES
            ],
        )
    ],
    "commentary, a call, the final answer": [
        (message("I look.", 0, phase="commentary"), [text("I "), text("look.")]),
        (
            item(
                "function_call", 1, call_id="c1", name="f", arguments='{"a":1}', status="completed"
            ),
            [
                delta("function_call_arguments", '{"a"', 1),
                delta("function_call_arguments", ":1}", 1),
            ],
        ),
        (message("So.", 2, phase="final_answer"), [text("So.", 2)]),
    ],
    "two calls, one without deltas": [
        (item("function_call", 0, call_id="c1", name="f", arguments="{}", status="completed"), []),
        (item("function_call", 1, call_id="c2", name="g", arguments='{"b": [1]}'), []),
    ],
    "a custom tool": [
        (
            item(
                "custom_tool_call",
                0,
                call_id="c1",
                name="run",
                input='print("ä")\n',
                status="completed",
            ),
            [delta("custom_tool_call_input", piece) for piece in ("print", '("ä', '")\n')],
        )
    ],
    "reasoning in two parts, encrypted": [
        (
            item(
                "reasoning",
                0,
                summary=[
                    {"type": "summary_text", "text": "one"},
                    {"type": "summary_text", "text": "two"},
                ],
                encrypted_content="secret",
            ),
            [
                delta("reasoning_summary_text", "on", summary_index=0),
                delta("reasoning_summary_text", "e", summary_index=0),
                delta("reasoning_summary_text", "two", summary_index=1),
            ],
        ),
        (message("so", 1), [text("so", 1)]),
    ],
    "reasoning as it is": [
        (
            item("reasoning", 0, summary=[], content=[{"type": "reasoning_text", "text": "hm"}]),
            [
                delta("reasoning_text", "h", content_index=0),
                delta("reasoning_text", "m", content_index=0),
            ],
        )
    ],
    "a refusal": [
        (
            item(
                "message", 0, role="assistant", content=[{"type": "refusal", "refusal": "I cannot"}]
            ),
            [delta("refusal", "I ", content_index=0), delta("refusal", "cannot", content_index=0)],
        )
    ],
    "code": [
        (
            item(
                "code_interpreter_call",
                0,
                code="1+1",
                container_id="cntr",
                outputs=None,
                status="completed",
            ),
            [delta("code_interpreter_call_code", "1+"), delta("code_interpreter_call_code", "1")],
        )
    ],
    "a search": [
        (
            item("web_search_call", 0, status="completed", action={"type": "search", "query": "q"}),
            [
                {
                    "type": "response.web_search_call.searching",
                    "output_index": 0,
                    "item_id": "web_search_call_0",
                }
            ],
        )
    ],
    "tools of servers": [
        (item("mcp_list_tools", 0, server_label="s", tools=[{"name": "t"}]), []),
        (item("mcp_call", 1, server_label="s", name="t", arguments='{"x":1}', output="y"), []),
        (item("image_generation_call", 2, status="completed", result="AAAA"), []),
        (item("compaction", 3, encrypted_content="all"), []),
        (item("something_new", 4, field={"a": [1]}), []),
    ],
}


CASES["a text that is not counted from 0"] = [
    (message("Hello"), [text("Hel", part=1), text("lo", part=1)])
]


def events_of(case: str) -> tuple[list[Any], list[Any]]:
    """Return the items of a case, and the events of all of it but the last."""
    parts = CASES[case]
    events = [CREATED]
    for (_, added, done), between in parts:
        events += [added, *between, done]
    return [whole for (whole, _, _), _ in parts], events


def decode(*output: Any) -> Any:
    return CODEC.decode(
        Reply(200, {"x-request-id": "req_1"}, json.dumps(completed(*output)["response"]).encode())
    )


@pytest.mark.parametrize("case", CASES)
def test_sum_of_responses_chunks_equals_the_whole_message(case: str) -> None:
    items, events = events_of(case)
    streamed, whole = total(*events, completed(*items)), decode(*items)
    assert without_index(streamed.content) == without_index(whole.content)
    assert (streamed.tool_calls, streamed.invalid_tool_calls) == (
        whole.tool_calls,
        whole.invalid_tool_calls,
    )
    assert streamed.usage_metadata == whole.usage_metadata
    assert streamed.response_metadata == whole.response_metadata
    assert (streamed.text, streamed.id, streamed.chunk_position) == (whole.text, "resp_1", "last")


@pytest.mark.parametrize("case", CASES)
def test_a_final_response_without_output_leaves_what_the_items_said(case: str) -> None:
    items, events = events_of(case)
    assert without_index(total(*events, completed()).content) == without_index(
        decode(*items).content
    )


@pytest.mark.parametrize("case", CASES)
def test_a_final_response_makes_up_for_items_that_were_never_ended(case: str) -> None:
    items, events = events_of(case)
    begun = [event for event in events if event["type"] != "response.output_item.done"]
    assert without_index(total(*begun, completed(*items)).content) == without_index(
        decode(*items).content
    )
    assert total(*begun, completed(*items)).tool_calls == decode(*items).tool_calls


@pytest.mark.parametrize("case", CASES)
def test_standard_blocks_of_a_responses_stream_add_up(case: str) -> None:
    items, events = events_of(case)
    stream = V1Stream()
    chunks = [stream.convert(chunk) for chunk in read(*events, completed(*items))]
    wanted = as_v1(decode(*items))
    kinds = [block["type"] for block in functools.reduce(operator.add, chunks).content_blocks]
    assert kinds == [block["type"] for block in wanted.content_blocks]


def test_a_piece_of_text_is_a_chunk_at_once_and_the_first_says_whose() -> None:
    (_, added, _), _ = CASES["commentary, a call, the final answer"][0]
    decoder = CODEC.stream_decoder()
    assert [
        chunk for event in (CREATED, added) for chunk in decoder.feed(server_event(event))
    ] == []
    (first,) = decoder.feed(server_event(text("I ")))
    (second,) = decoder.feed(server_event(text("look.")))
    assert first.content == [
        {"type": "text", "text": "I ", "id": "message_0", "phase": "commentary", "index": 0}
    ]
    assert (second.content, second.id) == (
        [{"type": "text", "text": "look.", "index": 0}],
        "resp_1",
    )


def test_the_encrypted_content_of_the_final_response_wins() -> None:
    whole, added, done = item("reasoning", 0, summary=[], encrypted_content="first")
    streamed = total(CREATED, added, done, completed({**whole, "encrypted_content": "last"}))
    assert [block["encrypted_content"] for block in streamed.content] == ["last"]  # type: ignore[index]


def test_items_that_share_a_number_stay_apart() -> None:
    one, two = message("one", 0), message("two", 0)
    streamed = total(CREATED, *one[1:], two[1], text("two"), two[2], completed(one[0], two[0]))
    assert [block["text"] for block in streamed.content] == ["one", "two"]  # type: ignore[index]


@pytest.mark.parametrize("case", CASES)
def test_events_said_again_after_an_item_has_ended_add_nothing(case: str) -> None:
    items, events = events_of(case)
    again = [
        {
            **event,
            "item_id": dict(event.get("item", {})).get("id") or items[event["output_index"]]["id"],
        }
        for event in events[1:]
    ]
    last = [event for event in again if event["output_index"] == len(items) - 1]
    streamed = total(*events, *last, completed(*items))
    assert without_index(streamed.content) == without_index(decode(*items).content)


def test_log_probabilities_of_the_deltas_are_kept() -> None:
    whole, added, done = message("ab")
    first = {"token": "a", "logprob": -0.5}
    second = {"token": "b", "logprob": -0.25}
    events = [text("a") | {"logprobs": [first]}, text("b") | {"logprobs": [second]}]
    whole["content"][0]["logprobs"] = [first, second]
    streamed = total(CREATED, added, *events, done, completed(whole))
    assert streamed.response_metadata["logprobs"] == {"content": [first, second]}


def test_an_image_on_its_way_is_handed_out_and_never_sent_back() -> None:
    from modelwire.adapters.wires.openai_responses.messages import History, items_from_messages

    whole, added, done = item("image_generation_call", 0, status="completed", result="BBBB")
    partial = {
        "type": "response.image_generation_call.partial_image",
        "output_index": 0,
        "item_id": whole["id"],
        "partial_image_index": 0,
        "partial_image_b64": "AAAA",
    }
    streamed = total(CREATED, added, partial, done, completed(whole))
    (block,) = streamed.content
    assert block["partial_images"] == [{"partial_image_index": 0, "partial_image_b64": "AAAA"}]  # type: ignore[index]
    assert items_from_messages([streamed], History()) == [whole]


def test_spoken_pieces_add_up() -> None:
    events = [delta("audio", "AA"), delta("audio", "BB"), delta("audio.transcript", "hi")]
    assert total(CREATED, *events, completed()).additional_kwargs == {
        "audio": {"data": "AABB", "transcript": "hi"}
    }


# ---------------------------------------------------------------- ends


@pytest.mark.parametrize(
    "events", [[], [CREATED], [CREATED, message("x")[1], text("x")], [CREATED, message("x")[2]]]
)
def test_a_responses_stream_without_a_terminal_event_is_incomplete(events: list[Any]) -> None:
    with pytest.raises(IncompleteStream, match=r"response\.completed"):
        read(*events)


def test_a_background_answer_may_end_as_queued_but_not_after_it_began() -> None:
    queued = {"type": "response.queued", "response": {**RESPONSE, "status": "queued"}}
    assert total(CREATED, queued).response_metadata["status"] == "queued"
    with pytest.raises(IncompleteStream):
        read(CREATED, queued, message("x")[1])


def test_a_stream_of_an_answer_that_was_cancelled_is_incomplete() -> None:
    cancelled = {"type": "response.cancelled", "response": {**RESPONSE, "status": "cancelled"}}
    with pytest.raises(IncompleteStream):
        read(CREATED, message("x")[1], text("x"), cancelled)


def test_an_incomplete_answer_says_why() -> None:
    cut = completed(
        *events_of("text")[0],
        status="incomplete",
        incomplete_details={"reason": "max_output_tokens"},
    )
    streamed = total(*events_of("text")[1], cut)
    metadata = streamed.response_metadata
    assert (metadata["status"], metadata["finish_reason"]) == ("incomplete", "length")
    assert metadata["incomplete_details"] == {"reason": "max_output_tokens"}


FAILURES: dict[str, tuple[Any, type[ProviderError], str | None]] = {
    "failed": (
        completed(status="failed", error={"code": "server_error", "message": "oops"}),
        ServerError,
        "server_error",
    ),
    "failed by a limit": (
        completed(status="failed", error={"code": "rate_limit_exceeded", "message": "slow"}),
        RateLimited,
        "rate_limit_exceeded",
    ),
    "failed without a word": (completed(status="failed", error=None), ServerError, None),
    "error event": (
        {
            "type": "error",
            "code": "server_error",
            "message": "oops",
            "param": None,
            "sequence_number": 1,
        },
        ServerError,
        "server_error",
    ),
    "nested error event": (
        {
            "type": "error",
            "error": {"type": "rate_limit_error", "code": "rate_limit_exceeded", "message": "slow"},
        },
        RateLimited,
        "rate_limit_exceeded",
    ),
    "error of a gateway": ({"error": {"code": 502, "message": "bad gateway"}}, ServerError, "502"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failed_answer_is_the_error_that_fits(case: str) -> None:
    event, cls, code = FAILURES[case]
    with pytest.raises(cls) as caught:
        read(CREATED, event)
    assert (caught.value.code, caught.value.model) == (code, "m")


def test_what_comes_after_the_end_is_passed_over() -> None:
    decoder = CODEC.stream_decoder()
    for event in (CREATED, completed()):
        decoder.feed(server_event(event))
    assert decoder.feed(ServerEvent("", b"[DONE]")) == []
    assert decoder.feed(server_event(text("late"))) == []
    assert decoder.close()[-1].chunk_position == "last"


@pytest.mark.parametrize("data", [b"{", b"[]", b"1", b"\xff"])
def test_an_event_that_cannot_be_read_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedResponse):
        CODEC.stream_decoder().feed(ServerEvent("", data))


KINDS = [
    get_args(cls.model_fields["type"].annotation)[0]
    for cls in get_args(get_args(ResponseStreamEvent)[0])
]
JUNK = st.one_of(
    st.none(), st.integers(), st.text(max_size=3), st.just([None]), st.just({"type": 1})
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(KINDS),
            st.dictionaries(
                st.sampled_from(
                    [
                        "delta",
                        "item",
                        "output_index",
                        "content_index",
                        "summary_index",
                        "response",
                        "annotation",
                        "item_id",
                        "logprobs",
                    ]
                ),
                JUNK,
            ),
        ),
        max_size=6,
    )
)
def test_no_event_whatever_is_in_it_breaks_the_decoder(
    events: list[tuple[str, dict[str, Any]]],
) -> None:
    """Every event type the SDK knows, with fields of the wrong kind: read, passed over, or an error of ours."""
    try:
        read(CREATED, *({"type": kind, **fields} for kind, fields in events), completed())
    except (ProviderError, MalformedResponse):
        assert any(kind in ("error", "response.failed") for kind, _ in events)


def test_arguments_that_are_no_text_are_read_in_streams_as_in_whole_answers() -> None:
    call = {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "c1",
        "name": "f",
        "arguments": {"a": 1},
    }
    calls = [{"name": "f", "args": {"a": 1}, "id": "c1", "type": "tool_call"}]
    added = {
        "type": "response.output_item.added",
        "output_index": 0,
        "item": {**call, "arguments": ""},
    }
    done = {"type": "response.output_item.done", "output_index": 0, "item": call}
    assert total(CREATED, added, done, completed(call)).tool_calls == calls
    assert (
        CODEC.decode(Reply(200, {}, json.dumps(completed(call)["response"]).encode())).tool_calls
        == calls
    )


def test_a_part_whose_type_is_no_name_is_as_good_as_absent() -> None:
    message = {
        "type": "message",
        "id": "msg_1",
        "content": [{"type": [], "text": "x"}, {"type": "output_text", "text": "y"}],
    }
    done = {"type": "response.output_item.done", "output_index": 0, "item": message}
    for answer in (
        total(CREATED, done, completed(message)),
        CODEC.decode(Reply(200, {}, json.dumps(completed(message)["response"]).encode())),
    ):
        assert [block["type"] for block in answer.content_blocks] == ["text"]
        assert answer.text == "y"
