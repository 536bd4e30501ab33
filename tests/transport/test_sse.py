"""SSE framing: any split of the same bytes gives the same events."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelwire.errors import MalformedResponse
from modelwire.transport.sse import SSEDecoder
from modelwire.transport.wire import ServerEvent


def decode(*pieces: bytes) -> list[ServerEvent]:
    decoder = SSEDecoder()
    return [event for piece in pieces for event in decoder.feed(piece)]


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"data: a\n\n", [("", b"a")]),
        (b"data:a\n\n", [("", b"a")]),
        (b"data:  a\n\n", [("", b" a")]),
        (b"data: a\r\rdata: b\r\n\r\n", [("", b"a"), ("", b"b")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("", b"a")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
        (b": comment\n:\ndata: a\n: more\n\n", [("", b"a")]),
        (b"event: ping\ndata: {}\n\ndata: x\n\n", [("ping", b"{}"), ("", b"x")]),
        (b"event: lonely\n\ndata: x\n\n", [("", b"x")]),
        (b"data: a\ndata: b\ndata\n\n", [("", b"a\nb\n")]),
        (b"data:\n\n", [("", b"")]),
        (b"id: 7\nretry: 10\nunknown: y\ndata: x\n\n", [("", b"x")]),
        (b"data: never ended\n", []),
        (b"data: a\n\ndata: cut", [("", b"a")]),
        ("data: größe 🍷\n\n".encode(), [("", "größe 🍷".encode())]),
        (b"", []),
    ],
)
def test_framing_follows_the_specification(body: bytes, events: list[tuple[str, bytes]]) -> None:
    assert decode(body) == events


LINES = st.sampled_from(
    [
        b"data: x",
        b"data:",
        b'data: {"a": 1}',
        b"data",
        b": c",
        b"event: ping",
        b"",
        b"",
        b"id: 1",
        b"retry: 10",
        "data: é🍷".encode(),
    ]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    bom = draw(st.sampled_from([b"", b"\xef\xbb\xbf", b"\xef\xbb"]))
    return bom + b"".join(draw(LINES) + draw(ENDS) for _ in range(draw(st.integers(0, 12))))


@given(bodies(), st.lists(st.integers(0, 200), max_size=30))
@example(b"data: x\r\n\r\n", [8, 9, 10])
@example(b"\xef\xbb\xbfdata: x\n\n", [1, 2])
def test_any_split_gives_the_same_events(body: bytes, cuts: list[int]) -> None:
    marks = sorted({min(cut, len(body)) for cut in cuts} | {0, len(body)})
    assert decode(*(body[a:b] for a, b in pairwise(marks))) == decode(body)


@given(st.binary(max_size=200))
def test_byte_by_byte_equals_the_whole_for_any_bytes(body: bytes) -> None:
    assert decode(*(body[i : i + 1] for i in range(len(body)))) == decode(body)


def test_every_line_ending_gives_the_same_events() -> None:
    body = b"event: a\ndata: 1\ndata: 2\n\n: c\ndata: 3\n\n"
    assert (
        decode(body.replace(b"\n", b"\r\n")) == decode(body.replace(b"\n", b"\r")) == decode(body)
    )


def test_one_long_line_in_single_bytes_is_held_in_linear_space() -> None:
    decoder = SSEDecoder()
    for _ in range(200_000):
        assert decoder.feed(b"x") == []
    assert decoder._pending_bytes == 200_000
    assert decoder.feed(b"\n\n") == []
    assert decoder._pending_bytes == 0


@pytest.mark.parametrize("piece", [b"data: xxxxxxxx", b"data: xxxx\n", b"x"])
def test_an_event_without_end_is_given_up(piece: bytes) -> None:
    decoder = SSEDecoder(max_event_bytes=1000)
    with pytest.raises(MalformedResponse, match="1,000 bytes"):
        for _ in range(2000):
            decoder.feed(piece)
