"""The frames of Amazon's event streams: what botocore writes and reads, cut anywhere, corrupt anywhere."""

from __future__ import annotations

import json
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.event_frames import frame

from modelwire.adapters.wires.bedrock.event_stream import EventStreamDecoder
from modelwire.errors import IncompleteStream, MalformedResponse
from modelwire.transport.wire import ServerEvent

EVENTS = [
    ("messageStart", b'{"role":"assistant"}'),
    ("contentBlockDelta", '{"t":"Zürich"}'.encode()),
    ("metadata", b"{}"),
]
STREAM = b"".join(frame(payload, event_type=name) for name, payload in EVENTS)


def decoder() -> EventStreamDecoder:
    return EventStreamDecoder(max_event_bytes=1_000_000)


@given(st.lists(st.integers(1, 40), max_size=80))
def test_any_split_gives_the_same_events(sizes: list[int]) -> None:
    framing, events, at = decoder(), [], 0
    for size in sizes:
        events += framing.feed(STREAM[at : at + size])
        at += size
    events += framing.feed(STREAM[at:])
    framing.close()
    assert events == [ServerEvent(name, payload) for name, payload in EVENTS]


def test_botocore_reads_the_same_frames() -> None:
    eventstream = pytest.importorskip("botocore.eventstream")
    buffer = eventstream.EventStreamBuffer()
    buffer.add_data(STREAM)
    assert [(it.headers[":event-type"], it.payload) for it in buffer] == EVENTS


def test_every_wrong_byte_is_found_and_what_was_whole_before_it_is_handed_out() -> None:
    first = len(frame(EVENTS[0][1], event_type=EVENTS[0][0]))
    for at in range(len(STREAM)):
        wrong = STREAM[:at] + bytes([STREAM[at] ^ 0x20]) + STREAM[at + 1 :]
        framing = decoder()
        if at >= first:
            assert framing.feed(wrong)[0] == ServerEvent(*EVENTS[0]), at
        with pytest.raises(MalformedResponse, match="checksum"):
            framing.feed(b"")
            framing.feed(wrong if at < first else b"")


def test_a_body_that_ends_within_a_frame_is_incomplete() -> None:
    ends = [len(frame(EVENTS[0][1], event_type=EVENTS[0][0]))]
    ends.append(ends[0] + len(frame(EVENTS[1][1], event_type=EVENTS[1][0])))
    for end in range(1, len(STREAM)):
        framing = decoder()
        framing.feed(STREAM[:end])
        if end in ends:
            framing.close()
        else:
            with pytest.raises(IncompleteStream, match="within a frame"):
                framing.close()


def test_an_exception_and_an_error_are_marked_as_such() -> None:
    exception = frame(
        b'{"message":"slow"}', message_type="exception", exception_type="throttlingException"
    )
    error = frame(b"", message_type="error", error_code="InternalError", error_message="gone")
    assert [(it.event, json.loads(it.data)) for it in decoder().feed(exception + error)] == [
        ("!throttlingException", {"message": "slow"}),
        ("!InternalError", {"message": "gone"}),
    ]


def test_headers_of_every_type_are_passed_over() -> None:
    others = b"".join(
        bytes([1]) + b"h" + bytes([kind]) + value
        for kind, value in [
            (0, b""),
            (1, b""),
            (2, b"1"),
            (3, b"12"),
            (4, b"1234"),
            (5, b"12345678"),
            (6, b"\x00\x02ab"),
            (8, b"12345678"),
            (9, b"0123456789abcdef"),
        ]
    )
    assert decoder().feed(frame(b"{}", event_type="metadata", more=others))[0].event == "metadata"


@pytest.mark.parametrize(
    "headers", [b"\x09:eve", b"\x01h\x07\x00\x09ab", b"\x01h\x0c", b"\x02\xff\xff\x00"]
)
def test_headers_that_nobody_can_read_are_malformed(headers: bytes) -> None:
    with pytest.raises(MalformedResponse, match="headers"):
        decoder().feed(frame(b"{}", more=headers))


def test_a_frame_that_is_too_large_is_refused_before_it_has_come() -> None:
    prelude = (2_000_000).to_bytes(4, "big") + (0).to_bytes(4, "big")
    with pytest.raises(MalformedResponse, match="2,000,000"):
        decoder().feed(prelude + crc32(prelude).to_bytes(4, "big"))


def test_what_is_no_frame_at_all_is_shown() -> None:
    with pytest.raises(MalformedResponse, match="<html>"):
        decoder().feed(b"<html><body>Bad gateway</body></html>")
