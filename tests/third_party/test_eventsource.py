"""The cases of WPT's `eventsource` folder that are about parsing, through our decoder, however the bytes are cut.

Source: web-platform-tests, `eventsource/`, read 2026-11. No package of a registry carries these files, so the bytes and
the events are written here as facts: what the server of each test sends, and what its page expects. The
suite's server puts three line feeds behind a message that is not closed by the test.
"""

from __future__ import annotations

import pytest

from modelwire.transport.sse import SSEDecoder

BOM = b"\xef\xbb\xbf"
LONG = b"x" * 2048
ELLIPSIS = "…".encode()
END = b"\n\n\n"

Events = list[tuple[str, bytes]]
# Test -> (the bytes of the answer, the type and the data of each event).
CASES: dict[str, tuple[bytes, Events]] = {
    "event-data": (
        b"data:msg\ndata: msg\n\n:\nfalsefield:msg\n\nfalsefield:msg\nData:data\n\ndata\n\ndata:end\n\n",
        [("", b"msg\nmsg"), ("", b""), ("", b"end")],
    ),
    "format-bom": (
        BOM + b"data:1\n\n" + BOM + b"data:2\n\ndata:3" + END,
        [("", b"1"), ("", b"3")],
    ),
    "format-bom-2": (BOM + BOM + b"data:1\n\ndata:2\n\ndata:3" + END, [("", b"2"), ("", b"3")]),
    "format-comments": (
        b"data:1\r:\0\n:\r\ndata:2\n:" + LONG + b"\rdata:3\n:data:fail\r:" + LONG + b"\ndata:4\n\n",
        [("", b"1\n2\n3\n4")],
    ),
    "format-data-before-final-empty-line": (
        b"retry:1000\ndata:test1\n\nid:test\ndata:test2\n",
        [("", b"test1")],
    ),
    "format-field-data": (
        b"data:\n\ndata\ndata\n\ndata:test" + END,
        [("", b""), ("", b"\n"), ("", b"test")],
    ),
    "format-field-event": (b"event:test\ndata:x\n\ndata:x" + END, [("test", b"x"), ("", b"x")]),
    "format-field-event-empty": (b"event: \ndata:data" + END, [("", b"data")]),
    "format-field-id": (b"id: " + ELLIPSIS + b"\nretry: 200\ndata: hello\n\n", [("", b"hello")]),
    # The server's file of these three was not at hand: its bytes follow from what the page expects.
    "format-field-id-3, persists": (
        b"id: 1\ndata: 1\n\ndata: 2\n\nid: 2\ndata:3\n\ndata:4\n\n",
        [("", b"1"), ("", b"2"), ("", b"3"), ("", b"4")],
    ),
    "format-field-id-3, resets": (
        b"id: 1\ndata: 1\n\nid:\ndata:2\n\ndata:3\n\n",
        [("", b"1"), ("", b"2"), ("", b"3")],
    ),
    "format-field-id-3, resets without colon": (
        b"id: 1\ndata: 1\n\nid\ndata:2\n\ndata:3\n\n",
        [("", b"1"), ("", b"2"), ("", b"3")],
    ),
    **{
        f"format-field-id-null, {value!r}": (
            b"id: " + value + b"\nretry: 200\ndata: hello\n\n",
            [("", b"hello")],
        )
        for value in (b"\0\0", b"x\0", b"\0x", b"x\0x", b" \0")
    },
    "format-field-parsing": (
        b"data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\ndata:3\rdata:\r\n"
        b" data:32\ndata:4\n\n",
        [("", b"\0\n 2\n1\n3\n\n4")],
    ),
    "format-field-retry": (b"retry:03000\ndata:x" + END, [("", b"x")]),
    "format-field-retry-bogus": (b"retry:3000\nretry:1000x\ndata:x" + END, [("", b"x")]),
    "format-field-retry-empty": (b"retry\ndata:test" + END, [("", b"test")]),
    "format-field-unknown": (
        b"data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test" + END,
        [("", b"test\n\ntest")],
    ),
    "format-leading-space": (b"data:\ttest\rdata: \ndata:test" + END, [("", b"\ttest\n\ntest")]),
    "format-newlines": (b"data:test\r\ndata\ndata:test\r\n\r\n", [("", b"test\n\ntest")]),
    "format-null-character": (b"data:\0\n\n\n\n", [("", b"\0")]),
    "format-utf-8": ("data:ok…".encode() + END, [("", "ok…".encode())]),
}
# Left out: `format-field-id-2` sends what `format-field-id` sends, and ids are dropped, as providers resume no stream
# by them; the three `format-mime-*` are about the content type; `eventsource-*` and `request-*` are about a browser's
# requests and its object. Reconnecting, and so the time of `retry`, is not the decoder's.


def decode(*pieces: bytes) -> Events:
    decoder = SSEDecoder()
    return [(event.event, event.data) for piece in pieces for event in decoder.feed(piece)]


@pytest.mark.parametrize(("body", "events"), CASES.values(), ids=CASES)
def test_the_events_are_those_of_wpt(body: bytes, events: Events) -> None:
    assert decode(body) == events


@pytest.mark.parametrize(("body", "events"), CASES.values(), ids=CASES)
def test_the_events_are_the_same_however_the_bytes_are_cut(body: bytes, events: Events) -> None:
    assert decode(*(body[at : at + 1] for at in range(len(body)))) == events
    for at in range(len(body)):
        assert decode(body[:at], body[at:]) == events
