"""The life of a call, played without a wire: the flow asks, the test answers, the clock is a number."""

import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import pytest
from support.word_exchange import word_exchange
from support.word_wire import WordDecoder, sse

from modelwire.errors import (
    BadRequest,
    ChatError,
    ConnectionLost,
    IncompleteStream,
    MalformedResponse,
    RateLimited,
    ServerError,
    StreamInterrupted,
    Timeout,
)
from modelwire.transport import call
from modelwire.transport import stream_sinks as sinks
from modelwire.transport.call import call_flow, collected_flow, stream_flow
from modelwire.transport.observer import CallObserver
from modelwire.transport.retry import RetryPolicy
from modelwire.transport.steps import Exchange, Read, Send, Sleep
from modelwire.transport.wire import Reply, ServerEvent


class Played:
    """Answers a flow from a script and keeps what it asked for."""

    def __init__(self, script: Sequence[Any], **settings: Any) -> None:
        self.now = 100.0
        self.script = list(script)
        self.asked: list[Any] = []
        self.out: list[str] = []
        settings.setdefault("retry", settings.pop("policy", RetryPolicy()))
        self.exchange: Exchange[str, str] = word_exchange(
            clock=lambda: self.now, model="m", **settings
        )

    def play(self, make: Callable[[Exchange[str, str]], Any]) -> Any:
        flow, outcome, failure = make(self.exchange), None, None
        try:
            while True:
                step = flow.throw(failure) if failure else flow.send(outcome)
                outcome = failure = None
                self.asked.append(step)
                match step:
                    case list():
                        self.out += step
                    case Sleep():
                        self.now += step.seconds
                    case Send() | Read():
                        outcome = self.script.pop(0)
                        if callable(outcome):
                            outcome = outcome(self)
                        if isinstance(outcome, Exception):
                            outcome, failure = None, outcome
        except StopIteration as done:
            return done.value

    @property
    def sleeps(self) -> list[Sleep]:
        return [step for step in self.asked if isinstance(step, Sleep)]

    @property
    def sends(self) -> int:
        return sum(isinstance(step, Send) for step in self.asked)


def ok(body: bytes = b"hello") -> Reply:
    return Reply(200, {}, body)


def said(status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Reply:
    return Reply(status, headers or {}, body)


# ---------------------------------------------------------------- whole answers


def test_an_answer_comes_back_decoded() -> None:
    assert Played([ok()]).play(call_flow) == "hello"


def test_a_500_then_a_200_is_one_answer_after_one_sleep() -> None:
    played = Played([said(500), ok()])
    assert played.play(call_flow) == "hello"
    assert [type(s.error) for s in played.sleeps] == [ServerError]
    assert played.sends == 2


def test_retry_waits_for_the_retry_after_header() -> None:
    played = Played([said(429, {"retry-after": "7"}), ok()])
    played.play(call_flow)
    assert 7 <= played.sleeps[0].seconds <= 7.7
    assert played.sleeps[0].error.retry_after == 7


@pytest.mark.parametrize(("leaving", "told"), [("begins", 1), ("ends", 2), (None, 2)])
def test_whoever_hears_of_a_wait_may_end_the_call_before_and_after_it(
    leaving: str | None, told: int
) -> None:
    heard: list[Any] = []

    class Leaving(CallObserver):
        def waiting(self, step: Any) -> None:
            heard.append(step)
            if leaving == ("ends" if step is None else "begins"):
                raise KeyboardInterrupt

    played = Played([said(500), ok()], observers=(Leaving(),))
    with nullcontext() if leaving is None else pytest.raises(KeyboardInterrupt):
        played.play(call_flow)
    assert [type(step) for step in heard] == [Sleep, type(None)][:told]
    assert played.sends == (2 if leaving is None else 1)


def test_the_end_of_a_wait_is_told_when_the_call_is_left_in_it_and_what_that_raises_is_dropped() -> (
    None
):
    class Leaving(CallObserver):
        waits = 0

        def waiting(self, step: Any) -> None:
            self.waits += -1 if step is None else 1
            if step is None:
                raise RuntimeError("in the way")

    observer = Leaving()
    flow = call_flow(Played([], observers=(observer,)).exchange)
    next(flow)
    assert isinstance(flow.send(said(500)), Sleep)
    assert observer.waits == 1
    with pytest.raises(KeyboardInterrupt):
        flow.throw(KeyboardInterrupt())
    assert observer.waits == 0


def test_a_bad_request_is_sent_once_and_carries_the_facts() -> None:
    played = Played([said(400, body=b"no such parameter")])
    with pytest.raises(BadRequest, match="no such parameter") as caught:
        played.play(call_flow)
    assert played.sends == 1
    assert (caught.value.provider, caught.value.model, len(caught.value.attempts)) == (
        "words",
        "m",
        1,
    )


def test_after_five_failures_the_last_error_lists_all_attempts() -> None:
    played = Played([said(500)] * 5)
    with pytest.raises(ServerError, match="after 5 attempts") as caught:
        played.play(call_flow)
    assert [a.status for a in caught.value.attempts] == [500] * 5


def test_an_unreadable_answer_is_asked_for_once_more() -> None:
    played = Played([ok(b""), ok(b"")])
    with pytest.raises(MalformedResponse):
        played.play(call_flow)
    assert played.sends == 2


def test_an_exception_that_is_not_the_wires_goes_straight_through() -> None:
    played = Played([ZeroDivisionError()])
    with pytest.raises(ZeroDivisionError):
        played.play(call_flow)
    assert played.sends == 1


def test_a_deadline_that_has_passed_raises_before_anything_is_sent() -> None:
    played = Played([ok()], deadline=99.0, timeout_s=1.0)
    with pytest.raises(TimeoutError, match="`timeout` of 1 s"):
        played.play(call_flow)
    assert played.sends == 0


def test_a_retry_that_would_outlast_the_deadline_raises_the_failure_now() -> None:
    played = Played([said(429, {"retry-after": "5"})], deadline=102.0, timeout_s=2.0)
    with pytest.raises(RateLimited, match="2 s left") as caught:
        played.play(call_flow)
    assert caught.value.retry_after == 5
    assert played.now == 100.0


# ---------------------------------------------------------------- streams


def test_chunks_leave_as_they_come_and_the_end_is_checked() -> None:
    played = Played([said(200), sse("a", "b"), sse("c"), sse("END"), None])
    played.play(stream_flow)
    assert played.out == ["a", "b", "c", "."]


@pytest.mark.parametrize("failure", [ConnectionLost("reset"), Timeout("silence")])
def test_before_the_first_chunk_a_stream_is_tried_again(failure: ChatError) -> None:
    played = Played([said(200), failure, said(200), sse("a", "END"), None])
    played.play(stream_flow)
    assert played.out == ["a", "."]


def test_an_overload_event_before_the_first_chunk_is_tried_again() -> None:
    played = Played(
        [said(200), sse("overloaded_error", event="error"), said(200), sse("a", "END"), None]
    )
    played.play(stream_flow)
    assert played.out == ["a", "."]
    assert len(played.sleeps) == 1


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (ConnectionLost("reset by peer"), "reset by peer"),
        (sse("BAD"), "unreadable"),
        (sse("api_error", event="error"), "busy"),
    ],
)
def test_after_the_first_chunk_a_failure_hands_over_the_part(last: Any, reason: str) -> None:
    played = Played([said(200), sse("a", "b"), sse("c"), last])
    with pytest.raises(StreamInterrupted, match=reason) as caught:
        played.play(stream_flow)
    assert caught.value.partial == "abc"
    assert played.sends == 1
    assert isinstance(caught.value.__cause__, ChatError)


def test_chunks_in_the_same_bytes_before_a_failure_are_handed_out_first() -> None:
    played = Played([said(200), sse("a", "b", "BAD")])
    with pytest.raises(StreamInterrupted) as caught:
        played.play(stream_flow)
    assert played.out == ["a", "b"]
    assert caught.value.partial == "ab"


@pytest.mark.parametrize(
    "events",
    [
        [sse("a", "b"), sse("api_error", event="error")],
        [sse("a", "b") + sse("api_error", event="error")],
    ],
)
def test_an_answer_that_had_begun_counts_as_billed_however_its_bytes_came(
    events: list[bytes],
) -> None:
    played = Played([said(200), *events])
    with pytest.raises(StreamInterrupted) as caught:
        played.play(stream_flow)
    assert caught.value.maybe_billed_attempts == 1


def test_a_stream_that_ends_without_its_mark_raises_with_the_part() -> None:
    played = Played([said(200), sse("a", "b"), None])
    with pytest.raises(IncompleteStream) as caught:
        played.play(stream_flow)
    assert caught.value.partial == "ab"
    assert not isinstance(caught.value, StreamInterrupted)


def test_an_empty_stream_is_tried_again_then_raises() -> None:
    played = Played([said(200), None] * 5)
    with pytest.raises(IncompleteStream):
        played.play(stream_flow)
    assert played.out == []
    assert played.sends == 5


def test_an_error_reply_to_a_stream_is_read_whole() -> None:
    played = Played([said(400), b"no such ", b"model", None])
    with pytest.raises(BadRequest, match="no such model"):
        played.play(stream_flow)


def test_a_plain_json_answer_to_a_stream_is_one_chunk() -> None:
    played = Played([said(200), b" \n", b'{"a":', b"1}", None])
    played.play(stream_flow)
    assert played.out == [' \n{"a":1}']


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_part_of_a_long_stream_is_exact(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(sinks.EmittedChunks, "PACK_AT_BYTES", 1000)
    words = [f"w{i} " for i in range(2000)]
    body = sse(*words)
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    played = Played([said(200), *pieces, ConnectionLost("gone")])
    with pytest.raises(StreamInterrupted) as caught:
        played.play(stream_flow)
    assert caught.value.partial == "".join(played.out) == "".join(words)


def test_a_long_stream_is_decoded_once_and_held_in_a_tenth_of_its_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoded = Counter[bytes]()
    feed = WordDecoder.feed

    def counted(decoder: WordDecoder, event: ServerEvent) -> list[str]:
        decoded[event.data] += 1
        return feed(decoder, event)

    monkeypatch.setattr(WordDecoder, "feed", counted)
    frame = '"object": "chat.completion.chunk", "choices": [{"finish_reason": null}]' * 4
    words = [f"w{i} {frame}" for i in range(10_000)]
    body = sse(*words, "END")
    pieces = [body[at : at + 4000] for at in range(0, len(body), 4000)]
    played = Played([said(200), *pieces, None])
    sink = sinks.EmittedChunks(played.exchange)
    monkeypatch.setattr(call, "EmittedChunks", lambda exchange: sink)
    played.play(stream_flow)
    assert "".join(played.out) == "".join(words) + "."
    assert set(decoded.values()) == {1}
    assert len(sink._packed) == len(body) // sink.PACK_AT_BYTES
    assert sum(len(pack._data) for pack in sink._packed) < len(body) / 10


def test_a_stream_stops_at_its_deadline_with_the_part() -> None:
    def late(played: Played) -> bytes:
        played.now += 10
        return sse("b")

    played = Played([said(200), sse("a"), late], deadline=105.0, timeout_s=5.0)
    with pytest.raises(Timeout, match="`timeout` of 5 s") as caught:
        played.play(stream_flow)
    assert caught.value.partial == "ab"


# ---------------------------------------------------------------- an answer over a stream


def test_a_gathered_stream_is_one_value_and_nothing_leaves_before() -> None:
    played = Played([said(200), sse("a", "b"), sse("c", "END"), None])
    assert played.play(collected_flow) == "abc."
    assert played.out == []


@pytest.mark.parametrize("cut", [ConnectionLost("reset"), None])
def test_a_gathered_stream_that_breaks_after_chunks_starts_again(cut: Any) -> None:
    played = Played([said(200), sse("a", "b"), cut, said(200), sse("x", "END"), None])
    assert played.play(collected_flow) == "x."
    assert played.sends == 2


def test_a_gathered_stream_that_stays_broken_raises_with_the_last_part() -> None:
    played = Played([step for i in range(5) for step in (said(200), sse(f"a{i}"), None)])
    with pytest.raises(IncompleteStream) as caught:
        played.play(collected_flow)
    assert caught.value.partial == "a4"
    assert len(caught.value.attempts) == 5


# ---------------------------------------------------------------- streams without measure


@pytest.mark.parametrize("flow", [stream_flow, collected_flow])
def test_endless_small_events_end_at_the_limit_of_the_answer(flow: Any) -> None:
    words = [sse(f"w{i:05} ") for i in range(2000)]
    played = Played([said(200), *words, None], max_response_bytes=8_000)
    with pytest.raises(ChatError, match=r"more than 8,000 bytes.*`max_response_bytes`") as caught:
        played.play(flow)
    assert not caught.value.retryable
    assert caught.value.partial == "".join(f"w{i:05} " for i in range(8_000 // len(words[0])))
    assert played.sends == 1


def test_the_default_limit_of_a_stream_is_wider_than_that_of_a_body() -> None:
    usual = Played([]).exchange.policy
    assert usual.max_stream_bytes == 4 * usual.max_response_bytes
    assert Played([], max_response_bytes=7).exchange.policy.max_stream_bytes == 7


def test_endless_blank_lines_end_at_the_limit_of_the_answer() -> None:
    played = Played([said(200), *[b"\n" * 1000] * 100], max_response_bytes=50_000)
    with pytest.raises(MalformedResponse, match="more than 50,000 bytes"):
        played.play(stream_flow)
    assert len(played.script) == 100 - 51


def test_blank_lines_do_not_outlast_the_timeout() -> None:
    def late(played: Played) -> bytes:
        played.now += 1
        return b"\n"

    played = Played([said(200), *[late] * 100], deadline=105.0, timeout_s=5.0)
    with pytest.raises(Timeout, match="`timeout` of 5 s"):
        played.play(stream_flow)
    assert played.now == 105.0


@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b" \n", b"\r", b" "])
def test_many_blank_lines_are_held_in_small_space_and_change_nothing(blank: bytes) -> None:
    odd = blank == b" "  # the spaces belong to the field that follows
    played = Played([said(200), *[blank * 1000] * 5000, sse("odd", "a", "END"), None])
    tracemalloc.start()
    try:
        played.play(stream_flow)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "".join(played.out) == ("a." if odd else "odda.")
    assert peak_bytes < 1_000_000


def test_a_space_before_a_field_is_not_dropped_with_the_blank_lines_before_it() -> None:
    blank = [b" \n" * 3000, b" "]
    played = Played([said(200), *blank, sse("odd", "a", "END"), None])
    played.play(stream_flow)
    assert "".join(played.out) == "a."
