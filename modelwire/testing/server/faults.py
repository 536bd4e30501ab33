"""Faults that the test server can make, each a function that damages a good reply. No I/O.

    server.say(faults.reset("body").on("an answer that breaks off"), "the answer of the next request")

`NAMED` has each fault with its default arguments by name, for random faults and the command line.
Labels such as (S1) name the rows of the fault catalogue that the package's own tests follow.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain, repeat
from typing import Any, Literal

from modelwire.aliases import HeaderFields
from modelwire.errors import InvalidArgument, ProviderError, did_you_mean
from modelwire.ext import usual_status
from modelwire.testing.server.limits import check_word
from modelwire.testing.server.replies import (
    FOREVER_S,
    End,
    Headers,
    Reply,
    Response,
    Step,
    Steps,
    chunk,
)
from modelwire.testing.server.wires import error_body, error_reply, server_wire

_STOP_REASON = re.compile(rb'"stop_reason": ?"[a-z_]+"')
# The server waits this long between the last bytes and a reset, so that the bytes arrive first.
_SETTLE_S = 0.02

# A function from a good reply, the wire and the request's number to a damaged reply, or to the steps of
# a response that cannot be described as a reply.
_Play = Callable[[Reply, str, int], Response]


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: its name, and the function that damages a reply.

    `answer` is the good answer that it damages; with None it is the next one of the script.
    """

    name: str
    play: _Play = field(repr=False)
    answer: Any = None

    def on(self, answer: Any) -> Fault:
        """Return a copy of this fault that damages `answer`."""
        return replace(self, answer=answer)


@dataclass(frozen=True, slots=True)
class Rule:
    """A fault with its conditions, all of which must hold: `every` n-th request, the probability `rate`,
    a period, a function of the request.

    `between_s` is in seconds since the server's start, on its own clock. The fault happens at most
    `times` times.
    """

    fault: Fault | str
    every: int | None = None
    rate: float | None = None
    between_s: tuple[float, float] | None = None
    when: Callable[[Any], bool] | None = None
    times: int | None = None


def _of_reply(name: str, change: Callable[[Reply], Response]) -> Fault:
    return Fault(name, lambda reply, wire, number: change(reply))


def status(
    code: int,
    *,
    retry_after: float | str | None = None,
    retry_after_form: Literal["seconds", "ms", "date"] = "seconds",
    type: str | None = None,
    error_code: str | int | None = None,
    message: str = "",
    headers: HeaderFields | None = None,
    body: bytes | None = None,
) -> Fault:
    """Answer with an HTTP status and an error in the wire's format (S1-S9).

    `retry_after` is in seconds, and a text is sent unchanged. `body` replaces the JSON.
    """
    if code not in range(100, 600):
        raise InvalidArgument(f"`code` must be a status from 100 to 599, not {code!r}.")
    check_word("retry_after_form", retry_after_form, ("seconds", "ms", "date"))

    def play(reply: Reply, wire: str, number: int) -> Reply:
        named = {**_retry_after(retry_after, retry_after_form), **(headers or {})}
        reply = error_reply(
            wire, code, number=number, headers=named, message=message, type=type, code=error_code
        )
        if body is not None:
            reply.parts = [body]
        return reply

    return Fault(f"status_{code}", play)


def _retry_after(value: float | str | None, form: str) -> Headers:
    if value is None:
        return {}
    if isinstance(value, str):
        return {"retry-after": value}
    if form == "ms":
        return {"retry-after-ms": f"{value * 1000:.0f}"}
    if form == "date":
        from email.utils import formatdate
        from time import time

        now = time()
        return {
            "date": formatdate(now, usegmt=True),
            "retry-after": formatdate(now + value, usegmt=True),
        }
    return {"retry-after": f"{value:g}"}


# https://platform.openai.com/docs/guides/error-codes, and `anthropic.types.shared`
# (`enforced_spend_limit_reached`), read 2026-11.
def billing(code: str | None = None) -> Fault:
    """Answer 429 because the account has no credit (S8), so that a retry is useless.

    The default `code` is the one that the provider sends.
    """

    def play(reply: Reply, wire: str, number: int) -> Reply:
        kind, usual = server_wire(wire).no_money
        message = "You exceeded your quota."
        return error_reply(wire, 429, number=number, type=kind, code=code or usual, message=message)

    return Fault("billing", play)


def error_under_200(code: int = 502) -> Fault:
    """Answer 200 with an error in the body, which contains the status `code` (P4), as OpenRouter does."""

    def play(reply: Reply, wire: str, number: int) -> Reply:
        return replace(error_reply(wire, code, number=number, code=code), status=200)

    return Fault("error_under_200", play)


def error_event(
    after_events: int = 0, *, status: int = 529, type: str | None = None, code: str | None = None
) -> Fault:
    """End a stream with an error event after `after_events` events of its content (P21, P22)."""

    def play(reply: Reply, wire: str, number: int) -> Steps:
        body = error_body(wire, status, type=type, code=code, number=number)
        position = reply.opening + after_events
        event = server_wire(wire).error_event(body, position)
        content = reply.content[:after_events]
        yield reply.whole([*reply.parts[: reply.opening], *content, event])

    return Fault("error_event", play)


def of_error(error: ProviderError) -> Fault:
    """Answer as the provider does when modelwire raises `error`."""
    return status(
        error.status or usual_status(type(error)),
        retry_after=error.retry_after,
        type=error.type,
        error_code=error.code,
        message=error.message,
    )


def _begun(reply: Reply, *, events: int | None = None, bytes_: int | None = None) -> bytes:
    """Return the first bytes of a reply: its head, and `events` events of its content or `bytes_` bytes of its body.

    Without a number they have half of the events of a stream, or half of the body.
    """
    sent: list[bytes] = []
    if bytes_ is None and reply.is_stream:
        content = reply.content
        if events is None:
            events = len(content) // 2
        sent += reply.parts[: reply.opening]
        sent += content[:events]
    else:
        if bytes_ is None:
            bytes_ = len(reply.body) // 2
        if bytes_:
            sent.append(reply.body[:bytes_])
    return b"".join((reply.head(), *reply.frames(sent)))


def cut(*, after_events: int | None = None, after_bytes: int | None = None) -> Fault:
    """Close the connection after some events of the content, some bytes, or half of the body (N9, N11)."""
    return _of_reply(
        "cut", lambda reply: (_begun(reply, events=after_events, bytes_=after_bytes), End.CLOSE)
    )


def no_terminal_mark() -> Fault:
    """End a stream properly, but without its terminal mark (P12): no finish reason, no `[DONE]`, no `message_stop`."""

    def change(reply: Reply) -> Response:
        closing_at = len(reply.parts) - reply.closing
        return (reply.whole(reply.parts[:closing_at]),)

    return _of_reply("no_terminal_mark", change)


def pause_turn() -> Fault:
    """End the answer with `pause_turn`, as Anthropic does with long turns. The script's next entry continues it."""

    def change(reply: Reply) -> Steps:
        paused = [_STOP_REASON.sub(b'"stop_reason":"pause_turn"', part) for part in reply.parts]
        yield replace(reply, parts=paused).whole()

    return _of_reply("pause_turn", change)


def reset(
    at: Literal["request", "headers", "body"] = "request", *, after_events: int | None = None
) -> Fault:
    """Reset the connection: instead of an answer (N6), after the headers (N8), or in mid-body (N9-N11)."""
    begun: dict[str, Callable[[Reply], tuple[Step, ...]]] = {
        "request": lambda reply: (),
        "headers": lambda reply: (reply.head(), _SETTLE_S),
        "body": lambda reply: (_begun(reply, events=after_events), _SETTLE_S),
    }
    check_word("at", at, list(begun))
    play = begun[at]
    return _of_reply(f"reset_{at}", lambda reply: (*play(reply), End.RESET))


def close() -> Fault:
    """Close the connection without an answer (N7)."""
    return Fault("close", lambda reply, wire, number: (End.CLOSE,))


def stall(
    at: Literal["request", "body"] = "request", *, seconds: float = FOREVER_S, after_events: int = 1
) -> Fault:
    """Pause before the answer (N12) or in mid-body (N13), by default without end; then continue normally."""
    check_word("at", at, ("request", "body"))

    def change(reply: Reply) -> Steps:
        whole = reply.whole()
        begun = b""
        if at == "body":
            begun = _begun(reply, events=after_events)
        yield from (begun, seconds, whole[len(begun) :])

    return _of_reply(f"stall_{at}", change)


def slow(bytes_per_tick: int = 1, tick_s: float = 1.0) -> Fault:
    """Send `bytes_per_tick` bytes at a time, and wait `tick_s` between them (N14)."""

    def change(reply: Reply) -> Steps:
        whole = reply.whole()
        yield whole[:bytes_per_tick]
        for start in range(bytes_per_tick, len(whole), bytes_per_tick):
            yield from (tick_s, whole[start : start + bytes_per_tick])

    return _of_reply("slow", change)


def byte_by_byte() -> Fault:
    """Send a good answer with every byte in a packet of its own (N26)."""
    return replace(slow(1, 0.0), name="byte_by_byte")


def _instead(name: str, body: bytes, **headers: str) -> Fault:
    return _of_reply(name, lambda reply: Reply(200, {**reply.headers, **headers}, [body]))


def malformed_json() -> Fault:
    """Break the JSON of the answer, or of each event of a stream (P1)."""

    def change(reply: Reply) -> Steps:
        broken = [part.replace(b'":', b'"', 1) for part in reply.parts]
        yield replace(reply, parts=broken).whole()

    return _of_reply("malformed_json", change)


def html() -> Fault:
    """Answer 200 with an HTML page (P2)."""
    page = b"<!doctype html><html><body><h1>Welcome to the hotel's network</h1></body></html>"
    return _instead("html", page, **{"content-type": "text/html"})


def empty() -> Fault:
    """Answer 200 with an empty body (P3)."""
    return _instead("empty", b"")


def wrong_content_type(value: str = "text/plain") -> Fault:
    """Send a good answer with a wrong content type (P25)."""

    def change(reply: Reply) -> Steps:
        yield replace(reply, headers={**reply.headers, "content-type": value}).whole()

    return _of_reply("wrong_content_type", change)


def content_length(off_by: int = 10) -> Fault:
    """Announce `off_by` more bytes than are sent, then close (N16); below zero, announce fewer (N17)."""

    def change(reply: Reply) -> Steps:
        body = reply.body
        announced = max(0, len(body) + off_by)
        head = reply.head(transfer_encoding=None, content_length=str(announced))
        yield from (head + body, End.CLOSE)

    return _of_reply("content_length", change)


def bad_chunk_size() -> Fault:
    """Send a chunk whose size is not a number (N18)."""

    def change(reply: Reply) -> Steps:
        yield (
            reply.head(transfer_encoding="chunked", content_length=None)
            + b"zz\r\n"
            + reply.body
            + b"\r\n"
        )
        yield from (_SETTLE_S, End.CLOSE)

    return _of_reply("bad_chunk_size", change)


def gzip_garbage() -> Fault:
    """Announce gzip, and send a body that is not gzip (N20)."""
    return _instead(
        "gzip_garbage", b"\x1f\x8b\x08 this is no gzip at all", **{"content-encoding": "gzip"}
    )


def gzip_bomb(decoded_bytes: int = 200_000_000) -> Fault:
    """Send a small body that decodes to a huge one (N21)."""

    def change(reply: Reply) -> Steps:
        headers = {**reply.headers, "content-encoding": "gzip"}
        yield Reply(200, headers, [_bomb(decoded_bytes)]).whole()

    return _of_reply("gzip_bomb", change)


@lru_cache(maxsize=8)
def _bomb(decoded_bytes: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    block = b" " * 1_000_000
    blocks = (packer.compress(block) for _ in range(decoded_bytes // len(block)))
    return b"".join((packer.compress(b"{"), *blocks, packer.flush()))


def garbage() -> Fault:
    """Send bytes that are not HTTP."""
    return Fault(
        "garbage",
        lambda reply, wire, number: (b"\x16\x03\x01 hello?\r\n\r\n", _SETTLE_S, End.CLOSE),
    )


def endless_header() -> Fault:
    """Send a header line without end (N19)."""
    return Fault(
        "endless_header", lambda *_: chain([b"HTTP/1.1 200 OK\r\nx-long: "], repeat(b"a" * 65536))
    )


def endless_event() -> Fault:
    """Send an event of a stream without end (P15)."""

    def change(reply: Reply) -> Steps:
        yield reply.head(
            transfer_encoding="chunked",
            content_length=None,
            content_type="text/event-stream",
        )
        yield chunk(b"data: ")
        yield from repeat(chunk(b"a" * 65536))

    return _of_reply("endless_event", change)


def redirect(location: str = "http://127.0.0.1:1/elsewhere", code: int = 307) -> Fault:
    """Redirect the client to another origin, which must not get the key (N23)."""
    reply = Reply(code, {"location": location}, [b""])
    return Fault("redirect", lambda *_: (reply.head(),))


def early_hints() -> Fault:
    """Send 103 before a good answer (N22)."""
    hints = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n"
    return _of_reply("early_hints", lambda reply: (hints, reply.whole()))


_PLAIN = (
    billing(),
    error_under_200(),
    error_event(),
    cut(),
    no_terminal_mark(),
    reset("request"),
    reset("headers"),
    reset("body"),
    close(),
    stall("request"),
    stall("body"),
    slow(),
    byte_by_byte(),
    malformed_json(),
    html(),
    empty(),
    wrong_content_type(),
    content_length(),
    bad_chunk_size(),
    gzip_garbage(),
    gzip_bomb(),
    garbage(),
    endless_header(),
    endless_event(),
    redirect(),
    early_hints(),
    replace(error_event(1), name="error_event_after"),
)


class _Named(dict[str, Fault]):
    """Maps names to faults. A status such as `503` or `status_503` is found, too, but not listed."""

    def __missing__(self, name: object) -> Fault:
        code = str(name).removeprefix("status_")
        if code.isdecimal():
            return status(int(code))
        hint = did_you_mean(str(name), list(self))
        raise InvalidArgument(f"There is no fault `{name}`. {hint}")


NAMED: dict[str, Fault] = _Named((fault.name, fault) for fault in _PLAIN)
