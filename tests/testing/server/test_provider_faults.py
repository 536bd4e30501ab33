"""Each fault, read from the socket as it comes; and what our own models make of some of them."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from support.thinned import thinned

from modelwire.errors import ChatError, IncompleteStream, QuotaExhausted, StreamInterrupted
from modelwire.testing import Answer, Fault, ProviderServer, faults

Serve = Callable[..., ProviderServer]
Ask = Callable[..., Any]
WORDS = "one two three four five six"
WIRES = ["openai", "responses", "anthropic", "gemini", "bedrock"]
TERMINAL = {
    "openai": b"[DONE]",
    "responses": b"response.completed",
    "anthropic": b"message_stop",
    "gemini": b"finishReason",
    "bedrock": b"messageStop",
}
JSON_AT = {"bedrock": rb"event(\{.*?\})"}  # of the events of a stream, behind the last header
REQUEST_ID = {"anthropic": "request-id", "bedrock": "x-amzn-requestid"}


def said(raw: bytes) -> list[str]:
    """The words of the answer that are in there."""
    return [word for word in WORDS.split() if word.encode() in raw]


@pytest.fixture
def spoil(serve: Serve, ask_raw: Ask) -> Ask:
    """Ask for `WORDS`, spoilt by a fault; return all that came."""

    def ask(fault: Fault, wire: str = "openai", **options: Any) -> Any:
        server = serve([fault.on(WORDS)], time_scale=0.01)
        answer = ask_raw(server, wire, to_the_end=True, **options)
        assert server.requests[0].fault == fault.name
        assert server.counts.answered == 0
        assert server.counts.by_fault[fault.name] == server.counts.chat_calls
        return answer

    return ask


# ---------------------------------------------------------------- answers that say no


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    "status", [400, 401, 402, 403, 404, 408, 409, 413, 422, 425, 429, 500, 502, 503, 504, 529]
)
def test_a_status_comes_with_an_error_in_the_words_of_the_wire(
    wire: str, status: int, spoil: Ask
) -> None:
    answer = spoil(faults.status(status, message="so it is"), wire)
    assert answer.status == status
    error = answer.json if wire == "bedrock" else answer.json["error"]
    assert error["message"] == "so it is"
    assert answer.json.get("type") == ("error" if wire == "anthropic" else None)
    assert error[{"gemini": "status", "bedrock": "__type"}.get(wire, "type")]
    assert REQUEST_ID.get(wire, "x-request-id") in answer.headers


@pytest.mark.parametrize(
    ("retry_after", "form", "header", "value"),
    [
        (5, "seconds", "retry-after", "5"),
        (0.25, "seconds", "retry-after", "0.25"),
        ("soon", "seconds", "retry-after", "soon"),
        ("nan", "seconds", "retry-after", "nan"),
        (1.5, "ms", "retry-after-ms", "1500"),
    ],
)
def test_retry_after_has_many_forms(
    retry_after: Any, form: Any, header: str, value: str, spoil: Ask
) -> None:
    answer = spoil(faults.status(429, retry_after=retry_after, retry_after_form=form))
    assert answer.headers[header] == value


def test_retry_after_as_a_date_is_told_by_the_answers_own_clock(spoil: Ask) -> None:
    headers = spoil(faults.status(503, retry_after=90, retry_after_form="date")).headers
    waits = parsedate_to_datetime(headers["retry-after"]) - parsedate_to_datetime(headers["date"])
    assert waits.total_seconds() == 90


def test_a_status_takes_a_body_and_headers_of_its_own(spoil: Ask) -> None:
    answer = spoil(
        faults.status(502, body=b"<html>bad gateway", headers={"x-should-retry": "false"})
    )
    assert (answer.body, answer.headers["x-should-retry"]) == (b"<html>bad gateway", "false")


@pytest.mark.parametrize("wire", WIRES)
def test_billing_is_told_by_its_code(wire: str, serve: Serve) -> None:
    server = serve(default=faults.billing())
    with pytest.raises(QuotaExhausted):
        server.model(wire).invoke("hi")
    assert server.counts.requests == 1


@pytest.mark.parametrize("wire", WIRES)
def test_an_error_may_come_under_200(wire: str, spoil: Ask) -> None:
    answer = spoil(faults.error_under_200(502), wire)
    assert (answer.status, "502" in answer.body.decode()) == (200, True)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("after", [0, 2])
def test_an_error_event_breaks_a_stream(wire: str, after: int, spoil: Ask) -> None:
    answer = spoil(faults.error_event(after), wire, stream=True)
    assert answer.whole
    assert TERMINAL[wire] not in answer.body
    mark = b"serviceUnavailableException" if wire == "bedrock" else b'"error"'
    assert (mark in answer.body, len(said(answer.body)) <= after) == (True, True)
    if wire in ("responses", "anthropic"):
        assert b"event: error\n" in answer.body


# ---------------------------------------------------------------- answers that break off


@pytest.mark.parametrize(
    ("fault", "ended"),
    [
        (faults.cut(), "closed"),
        (faults.cut(after_events=2), "closed"),
        (faults.cut(after_bytes=0), "closed"),
        (faults.cut(after_bytes=100), "closed"),
        (faults.reset("request"), "reset"),
        (faults.reset("headers"), "reset"),
        (faults.reset("body"), "reset"),
        (faults.reset("body", after_events=1), "reset"),
        (faults.close(), "closed"),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else value,
)
@pytest.mark.parametrize("stream", [True, False])
def test_a_broken_answer_ends_as_it_says(
    fault: Fault, ended: str, stream: bool, spoil: Ask
) -> None:
    answer = spoil(fault, stream=stream)
    assert answer.ended == ended
    assert not answer.whole
    if fault.name in ("reset_request", "close"):
        assert answer.raw == b""
    else:
        assert answer.status == 200


def test_a_stream_is_cut_after_as_many_events_or_bytes_as_told(spoil: Ask) -> None:
    assert said(spoil(faults.cut(after_events=2), stream=True).body) == ["one", "two"]
    assert said(spoil(faults.reset("body", after_events=3), stream=True).body) == [
        "one",
        "two",
        "three",
    ]
    assert spoil(faults.cut(after_bytes=100), stream=True).body.startswith(b"64\r\ndata: ")
    assert len(spoil(faults.cut(after_bytes=100)).body) == 100
    assert spoil(faults.cut(after_bytes=0), stream=True).body == b""
    assert spoil(faults.reset("headers"), stream=True).body == b""


@pytest.mark.parametrize("wire", WIRES)
def test_a_stream_without_its_terminal_mark_ends_properly_all_the_same(
    wire: str, spoil: Ask
) -> None:
    answer = spoil(faults.no_terminal_mark(), wire, stream=True)
    assert answer.whole
    assert said(answer.body) == WORDS.split()
    assert TERMINAL[wire] not in answer.body
    assert b'"finish_reason":"stop"' not in answer.body


@pytest.mark.parametrize("wire", WIRES)
def test_our_models_raise_where_a_stream_breaks_off_and_keep_its_part(
    wire: str, serve: Serve
) -> None:
    server = serve(
        [faults.reset("body", after_events=3).on(WORDS), faults.no_terminal_mark().on(WORDS)]
    )
    model = server.model(wire, max_retries=0)
    for kind in (StreamInterrupted, IncompleteStream):
        got = []
        with pytest.raises(kind) as raised:
            for chunk in model.stream("hi"):
                got.append(chunk.text)
        assert WORDS.startswith("".join(got))
        assert raised.value.partial.text == "".join(got) != ""


# ---------------------------------------------------------------- answers that take their time


def test_a_stall_says_nothing_and_then_goes_on(spoil: Ask) -> None:
    assert spoil(faults.stall("request"), patience_s=0.05).raw == b""
    begun = spoil(faults.stall("body", after_events=2), stream=True, patience_s=0.2)
    assert (said(begun.body), begun.ended) == (["one", "two"], "open")
    assert said(spoil(faults.stall("body", seconds=1), stream=True).body) == WORDS.split()
    assert said(spoil(faults.stall("request", seconds=1)).body) == WORDS.split()


@pytest.mark.parametrize(
    "fault", [faults.slow(50, 0.01), faults.byte_by_byte()], ids=lambda fault: fault.name
)
@pytest.mark.parametrize("stream", [True, False])
def test_slow_answers_come_whole(fault: Fault, stream: bool, spoil: Ask) -> None:
    answer = spoil(fault, stream=stream)
    assert (answer.whole, said(answer.body)) == (True, WORDS.split())


def test_slow_waits_between_its_ticks(serve: Serve, ask_raw: Ask) -> None:
    server = serve([faults.slow(100, 1.0).on(WORDS)], time_scale=0.001)
    ticks = len(ask_raw(server).raw) // 100
    assert server.requests[0].in_flight_s >= ticks - 1


# ---------------------------------------------------------------- bodies nobody can read


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("stream", [True, False])
def test_malformed_json_is_none(wire: str, stream: bool, spoil: Ask) -> None:
    answer = spoil(faults.malformed_json(), wire, stream=stream)
    assert answer.whole
    at = JSON_AT.get(wire, rb"data: (.*)")
    bodies = re.findall(at, answer.body) if stream else [answer.body]
    assert bodies
    for body in bodies:
        if body != b"[DONE]":
            with pytest.raises(ValueError):
                json.loads(body)


def test_pages_and_nothing_come_under_200(spoil: Ask) -> None:
    page = spoil(faults.html())
    assert (page.status, page.headers["content-type"], page.whole) == (200, "text/html", True)
    assert page.body.startswith(b"<!doctype html>")
    nothing = spoil(faults.empty())
    assert (nothing.status, nothing.body, nothing.headers["content-length"]) == (200, b"", "0")


def test_the_content_type_may_be_wrong(spoil: Ask) -> None:
    answer = spoil(faults.wrong_content_type("text/plain"))
    assert (answer.headers["content-type"], said(answer.body)) == ("text/plain", WORDS.split())


@pytest.mark.parametrize("off_by", [10, -10])
@pytest.mark.parametrize("stream", [True, False])
def test_the_content_length_may_be_wrong(off_by: int, stream: bool, spoil: Ask) -> None:
    answer = spoil(faults.content_length(off_by), stream=stream)
    assert int(answer.headers["content-length"]) == len(answer.body) + off_by
    assert (answer.ended, "transfer-encoding" in answer.headers) == ("closed", False)


def test_a_chunk_size_may_be_no_number(spoil: Ask) -> None:
    for stream in (True, False):
        answer = spoil(faults.bad_chunk_size(), stream=stream)
        assert answer.headers["transfer-encoding"] == "chunked"
        assert answer.body.startswith(b"zz\r\n")
        assert answer.ended == "closed"


def test_gzip_may_be_garbage_or_a_bomb(spoil: Ask) -> None:
    garbage = spoil(faults.gzip_garbage())
    assert (garbage.headers["content-encoding"], garbage.whole) == ("gzip", True)
    with pytest.raises(zlib.error):
        gzip.decompress(garbage.body + b"\0" * 20)
    bomb = spoil(faults.gzip_bomb(5_000_000), patience_s=5.0)
    assert len(bomb.body) < 20_000
    assert len(gzip.decompress(bomb.body)) == 5_000_001


def test_garbage_is_no_http(spoil: Ask) -> None:
    assert spoil(faults.garbage()).status is None


@pytest.mark.parametrize(
    ("fault", "start"),
    [
        (faults.endless_header(), b"HTTP/1.1 200 OK\r\nx-long: aaa"),
        (faults.endless_event(), b"HTTP/1.1 200 OK\r\n"),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
def test_endless_lines_do_not_end_and_hold_up_nobody(
    fault: Fault, start: bytes, serve: Serve, ask_raw: Ask
) -> None:
    server = serve([fault])
    answer = ask_raw(server, stream=True, to_the_end=True, limit=3_000_000, patience_s=2)
    assert len(answer.raw) >= 3_000_000
    assert answer.raw.startswith(start)
    line = (
        answer.raw if fault.name == "endless_header" else answer.raw.replace(b"\r\n10000\r\n", b"")
    )  # the chunks' frames
    assert b"\n" not in line[1000:]
    assert ask_raw(server).status == 200


# ---------------------------------------------------------------- HTTP that is legal, and rare


def test_a_redirect_names_another_place(spoil: Ask) -> None:
    answer = spoil(faults.redirect("http://127.0.0.1:9/x", 308))
    assert (answer.status, answer.headers["location"]) == (308, "http://127.0.0.1:9/x")


def test_early_hints_come_before_a_good_answer(spoil: Ask, serve: Serve) -> None:
    raw = spoil(faults.early_hints()).raw
    assert raw.startswith(b"HTTP/1.1 103 ")
    assert b"\r\n\r\nHTTP/1.1 200 OK" in raw
    assert serve([faults.early_hints().on("fine")]).model().invoke("hi").content == "fine"


# ---------------------------------------------------------------- all of them


@thinned(
    name=sorted(set(faults.NAMED) - {"gzip_bomb", "endless_header", "endless_event"}),
    wire=WIRES,
    stream=[True, False],
)
def test_every_fault_can_be_said_on_every_wire(
    name: str, wire: str, stream: bool, serve: Serve, ask_raw: Ask
) -> None:
    server = serve([faults.NAMED[name].on(Answer("x", reasoning="y"))], time_scale=1e-6)
    ask_raw(server, wire, stream=stream, to_the_end=True, patience_s=0.03)
    assert server.requests[0].fault == name
    assert not server.failures
    assert ask_raw(server, wire, stream=stream).whole  # the server has survived it


@pytest.mark.parametrize(
    "name", ["malformed_json", "html", "empty", "content_length", "garbage", "bad_chunk_size"]
)
def test_our_model_survives_it_once(name: str, serve: Serve) -> None:
    server = serve([faults.NAMED[name], "fine"])
    assert server.model().invoke("hi").content == "fine"
    assert server.counts.answered == 1


def test_an_answer_that_cannot_be_spoilt_is_replaced(serve: Serve, ask_raw: Ask) -> None:
    server = serve([faults.cut().on(b"raw bytes"), faults.cut().on(faults.html())])
    for _ in range(2):
        assert not ask_raw(server, to_the_end=True).whole
    assert server.counts.by_fault == {"cut": 2}


def test_a_fault_is_not_an_answer(serve: Serve) -> None:
    server = serve(default=faults.status(500))
    with pytest.raises(ChatError):
        server.model(max_retries=0).invoke("hi")
