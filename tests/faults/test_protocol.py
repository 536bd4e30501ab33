"""The catalogue's P lines: answers nobody can read, or that end too soon. Over a real socket, on every wire.

Single shapes of a wire's answers are told by the tests of its codec; `catalogue.py` says where.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelwire.errors import (
    ChatError,
    IncompleteStream,
    MalformedResponse,
    Overloaded,
    RateLimited,
    ServerError,
    StreamInterrupted,
)
from modelwire.messages import AIMessageChunk
from modelwire.testing import Fault, ProviderServer, faults
from modelwire.testing.server.replies import LAST_CHUNK

# Events that open a block of content.
BEFORE_CONTENT = {"openai": 0, "anthropic": 1, "responses": 2, "bedrock": 0, "gemini": 0}
NAMES = {
    "openai": "openai",
    "anthropic": "anthropic",
    "responses": "openai",
    "bedrock": "bedrock_converse",
    "gemini": "google_genai",
}


def text_of(chunks: list[AIMessageChunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


# ---------------------------------------------------------------- under a 200


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(faults.malformed_json(), id="P1"),
        pytest.param(faults.html(), id="P2"),
        pytest.param(faults.empty(), id="P3"),
    ],
)
@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_what_nobody_can_read_is_asked_for_once_more(
    colour: Any, wire: Any, server: ProviderServer, fault: Fault, way: str
) -> None:
    server.say(fault.on("spoiled"), "good")
    answer = getattr(colour, way)(server.model(wire), "hi")
    assert (answer.text if way == "invoke" else text_of(answer)) == "good"
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(faults.malformed_json(), id="P1"),
        pytest.param(faults.html(), id="P2"),
        pytest.param(faults.empty(), id="P3"),
    ],
)
def test_what_stays_unreadable_is_shown_in_part(
    colour: Any, wire: Any, server: ProviderServer, fault: Fault
) -> None:
    server.default = fault.on("spoiled " * 200)
    with pytest.raises(MalformedResponse) as caught:
        colour.invoke(server.model(wire), "hi")
    error = caught.value
    assert len(server.requests) == len(error.attempts) == 2
    assert error.provider == NAMES[wire]
    assert error.request_id
    assert len(error.message) < 600
    assert error.maybe_billed_attempts == 2


def test_p1_a_key_in_what_nobody_can_read_is_masked(colour: Any, server: ProviderServer) -> None:
    server.default = (
        b"HTTP/1.1 200 OK\r\ncontent-length: 41\r\n\r\noops sk-proj-0123456789abcdef0123456789ab"
    )
    with pytest.raises(MalformedResponse) as caught:
        colour.invoke(server.model(), "hi")
    assert "0123456789" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "error", "requests"),
    [
        pytest.param(502, ServerError, 2, id="P4-502"),
        pytest.param(429, RateLimited, 2, id="P4-429"),
        pytest.param(529, Overloaded, 2, id="P4-529"),
        pytest.param(400, ChatError, 1, id="P4-400"),
    ],
)
def test_an_error_under_a_200_is_of_the_class_of_its_code(
    colour: Any, wire: Any, server: ProviderServer, code: int, error: type[ChatError], requests: int
) -> None:
    server.say(faults.error_under_200(code), "good")
    if requests == 1:
        with pytest.raises(error):
            colour.invoke(server.model(wire), "hi")
    else:
        assert colour.invoke(server.model(wire), "hi").text == "good"
    assert len(server.requests) == requests


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": None},
        {"choices": []},
        {"choices": [None]},
        {"choices": [{"message": None}]},
        {"choices": [{}]},
        {"choices": "no"},
        [],
        [[]],
        "text",
        1,
        None,
    ],
    ids=lambda body: f"P5-{json.dumps(body)}",
)
@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
def test_a_body_without_an_answer_is_malformed(
    server: ProviderServer, body: Any, *, streaming: bool
) -> None:
    said = json.dumps(body).encode()
    server.default = (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n" + said
    )
    with pytest.raises(MalformedResponse):
        server.model(streaming=streaming, max_retries=0).invoke("hi")


@pytest.mark.parametrize(
    "body", [{}, {"content": None, "type": "message"}, {"output": None}, [], "text", None, 3]
)
@pytest.mark.parametrize("wire", ["anthropic", "responses", "gemini", "bedrock"])
def test_p5_a_body_without_an_answer_is_malformed_on_the_other_wires(
    server: ProviderServer, wire: Any, body: Any
) -> None:
    said = json.dumps(body).encode()
    server.default = (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n" + said
    )
    with pytest.raises(MalformedResponse):
        server.model(wire, max_retries=0).invoke("hi")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * 100_000, id="P24-nested"),
        pytest.param('{"a":' * 100_000, id="P24-nested-objects"),
        pytest.param(
            '{"choices":[{"message":{"content":"\\ud800"}}], "x": 1e999, "y": NaN}', id="P24-odd"
        ),
        pytest.param(
            '{"choices":1,"choices":[{"message":{"content":"a","content":"b"}}]}', id="P24-twice"
        ),
    ],
)
def test_odd_json_is_a_value_or_malformed(server: ProviderServer, wire: Any, text: str) -> None:
    server.default = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + text.encode()
    try:
        message = server.model(wire, max_retries=0).invoke("hi")
    except MalformedResponse:
        return
    assert message.text.encode()


@pytest.mark.parametrize("value", ["text/plain", "text/html", "application/octet-stream", ""])
def test_p25_a_good_answer_under_a_wrong_content_type_is_taken(
    colour: Any, wire: Any, server: ProviderServer, value: str
) -> None:
    fault = faults.wrong_content_type(value)
    server.say(fault.on("good"), fault.on("one two"))
    model = server.model(wire)
    assert colour.invoke(model, "hi").text == "good"
    assert text_of(colour.stream(model, "hi")) == "one two"


# ---------------------------------------------------------------- streams


def test_p12_a_stream_without_its_terminal_mark_is_incomplete(
    colour: Any, wire: Any, server: ProviderServer
) -> None:
    server.say(faults.no_terminal_mark().on("one two"))
    with pytest.raises(IncompleteStream) as caught:
        colour.stream(server.model(wire), "hi")
    assert caught.value.partial.text == "one two"
    assert len(server.requests) == 1


def test_p12_an_answer_over_a_stream_without_its_mark_is_asked_for_again(
    colour: Any, wire: Any, server: ProviderServer
) -> None:
    server.say(faults.no_terminal_mark().on("spoiled"), "good")
    message = colour.invoke(server.model(wire, streaming=True), "hi")
    assert message.text == "good"
    assert message.response_metadata["maybe_billed_attempts"] == 1


@pytest.mark.parametrize(
    ("status", "again"),
    [
        pytest.param(529, True, id="P21-529"),
        pytest.param(429, True, id="P21-429"),
        pytest.param(500, True, id="P21-500"),
        pytest.param(400, False, id="P21-400"),
    ],
)
def test_an_error_event_before_content_is_as_its_status(
    colour: Any, wire: Any, server: ProviderServer, status: int, again: bool
) -> None:
    if wire == "responses" and status == 529:
        pytest.skip("the wire has no event for it")
    server.say(faults.error_event(0, status=status), "good")
    if again:
        assert text_of(colour.stream(server.model(wire), "hi")) == "good"
    else:
        with pytest.raises(ChatError):
            colour.stream(server.model(wire), "hi")
    assert len(server.requests) == 1 + again


def test_p22_an_error_event_after_content_interrupts_the_stream(
    colour: Any, wire: Any, server: ProviderServer
) -> None:
    server.say(faults.error_event(2 + BEFORE_CONTENT[wire], status=500).on("one two three"))
    with pytest.raises(StreamInterrupted) as caught:
        colour.stream(server.model(wire), "hi")
    assert caught.value.partial.text == "one two"
    assert len(server.requests) == 1


def test_p15_an_event_without_end_is_given_up(colour: Any, server: ProviderServer) -> None:
    server.say(faults.endless_event())
    with pytest.raises(MalformedResponse, match="more than 1,000,000 bytes"):
        colour.stream(server.model(max_retries=0, max_response_bytes=1_000_000), "hi")


@pytest.mark.parametrize("keep_alive", [b"data:\n\n", b"data\n\n", b"event: ping\ndata: \n\n"])
def test_data_alone_is_a_keep_alive_and_ends_no_stream(
    colour: Any, wire: Any, server: ProviderServer, keep_alive: bytes
) -> None:
    if wire == "bedrock":
        pytest.skip("its streams are no server-sent events")

    def between(reply: Any, wire: Any, number: int) -> Any:
        parts = [piece for part in reply.parts for piece in (keep_alive, part)]
        yield b"".join((reply.head(), *reply.frames(parts), LAST_CHUNK))

    server.say(Fault("keep_alive", between).on("one two three"))
    assert text_of(colour.stream(server.model(wire, max_retries=0), "hi")) == "one two three"


# ---------------------------------------------------------------- streams that begin again (R14)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda after: faults.reset("body", after_events=after), id="reset"),
        pytest.param(lambda after: faults.error_event(after, status=500), id="error"),
        pytest.param(lambda after: faults.no_terminal_mark(), id="no-mark"),
    ],
)
def test_a_stream_that_may_begin_again_says_where_it_does(
    colour: Any, wire: Any, server: ProviderServer, fault: Any
) -> None:
    spoiled = fault(2 + BEFORE_CONTENT[wire])
    server.say(spoiled.on("old words"), spoiled.on("wrong words"), "the answer")
    chunks = colour.stream(server.model(wire), "hi", restart="marker")
    marks = [at for at, chunk in enumerate(chunks) if "stream_restart" in chunk.response_metadata]
    assert len(marks) == 2
    assert text_of(chunks[: marks[0]]) == "old words"
    assert text_of(chunks[marks[1] :]) == "the answer"
    total = chunks[0]
    for chunk in chunks[1:]:
        total = total + chunk
    assert total.text == "the answer"
    assert total.response_metadata["maybe_billed_attempts"] == 2


def test_the_sum_of_a_restarted_stream_is_the_same_however_it_is_added_up() -> None:
    a, b, c, d = (AIMessageChunk(content=text, id="1") for text in "abcd")
    mark = AIMessageChunk(content="", response_metadata={"stream_restart": True})
    assert (
        ((a + b) + mark + c + d).text
        == (a + (b + mark) + (c + d)).text
        == (a + b + (mark + c) + d).text
        == "cd"
    )


def test_a_stream_that_stays_broken_gives_the_last_part(
    colour: Any, wire: Any, server: ProviderServer
) -> None:
    broken = faults.reset("body", after_events=1 + BEFORE_CONTENT[wire])
    server.say(broken.on("one two"), broken.on("three four"), faults.status(400))
    model = server.model(wire, stream_restart="marker")
    with pytest.raises(StreamInterrupted) as caught:
        colour.stream(model, "hi")
    assert caught.value.partial.text == "three"
    assert len(server.requests) == 3


def test_unless_asked_a_stream_never_begins_again(
    colour: Any, wire: Any, server: ProviderServer
) -> None:
    server.say(
        faults.reset("body", after_events=1 + BEFORE_CONTENT[wire]).on("one two"), "never said"
    )
    with pytest.raises(StreamInterrupted):
        colour.stream(server.model(wire), "hi")
    assert len(server.requests) == 1
