"""Decodes the frames of Amazon's event streams into events. No I/O here.

A frame consists of its length and the length of its headers (4 bytes each, big-endian), the CRC-32 of these 8 bytes,
the headers, the payload, and the CRC-32 of everything before. Both checksums are verified. Any split of the same bytes
gives the same events. Source: https://smithy.io/2.0/aws/amazon-eventstream.html, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from struct import Struct
from struct import error as StructError
from zlib import crc32

from pydantic_core import to_json

from modelwire.errors import IncompleteStream, MalformedResponse
from modelwire.transport.wire import ServerEvent

# The `event` of a `ServerEvent` begins with this if the frame is an exception.
ERROR = "!"

_PRELUDE = Struct(">III")
_CRC = Struct(">I")
# The bytes of a frame without headers and payload.
_LEAST = _PRELUDE.size + _CRC.size
_MAX_HEADERS_BYTES = 128 * 1024
# By the type of a header's value, its number of bytes. None: the value begins with its length.
_TEXT = 7
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 6: None, _TEXT: None, 8: 8, 9: 16}


class EventStreamDecoder:
    """Collects bytes and returns the events that they complete, in time linear in the bytes."""

    def __init__(self, *, max_event_bytes: int) -> None:
        self._max_event_bytes = max_event_bytes
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[ServerEvent]:
        """Return the events whose frames `data` completes. Raises `MalformedResponse` if the first frame is corrupt."""
        rest = self._rest
        start = 0
        events = []
        rest += data
        while len(rest) - start >= _PRELUDE.size:
            try:
                end = start + self._length_at(start)
                if len(rest) < end:
                    break
                events.append(_event_of(bytes(rest[start:end])))
            except MalformedResponse:
                if not events:
                    raise
                break  # The valid events are returned first. The next call, or `close`, raises.
            start = end
        del rest[:start]
        return events

    def close(self) -> None:
        """Raise `IncompleteStream` if the bytes end within a frame, `MalformedResponse` if that frame is corrupt."""
        if self._rest:
            self.feed(b"")
            raise IncompleteStream(
                f"The stream ended within a frame, after {len(self._rest):,} bytes of it."
            )

    def _length_at(self, start: int) -> int:
        """Return the length in bytes of the frame at `start`. Raises `MalformedResponse` if it is corrupt."""
        rest = self._rest
        length, headers_length, crc = _PRELUDE.unpack_from(rest, start)
        if crc32(rest[start : start + 8]) != crc:
            raise MalformedResponse(
                "A frame of the event stream begins with a wrong checksum: it is corrupt, or not a frame. "
                f"It begins: `{bytes(rest[start : start + 60])!r}`"
            )
        if (
            length < _LEAST + headers_length
            or headers_length > _MAX_HEADERS_BYTES
            or length > self._max_event_bytes
        ):
            raise MalformedResponse(
                f"A frame of the event stream claims {length:,} bytes, {headers_length:,} of them headers; at most "
                f"{self._max_event_bytes:,} are read."
            )
        return int(length)


def _event_of(frame: bytes) -> ServerEvent:
    """Return the event of a complete frame. Raises `MalformedResponse` if it is corrupt."""
    end = len(frame) - _CRC.size
    if crc32(frame[:end]) != _CRC.unpack_from(frame, end)[0]:
        raise MalformedResponse(
            f"A frame of the event stream has a wrong checksum: its {len(frame):,} bytes are corrupt."
        )
    payload_at = _PRELUDE.size + _PRELUDE.unpack_from(frame)[1]
    name, message = _name_of(frame[_PRELUDE.size : payload_at])
    return ServerEvent(
        name, frame[payload_at:end] if message is None else to_json({"message": message})
    )


@lru_cache(maxsize=64)
def _name_of(headers: bytes) -> tuple[str, str | None]:
    """Return the type of the event or error, and the error's message if a header has it, else None."""
    try:
        values = dict(_headers(headers))
    except (StructError, IndexError, KeyError, UnicodeDecodeError) as exc:
        raise MalformedResponse(
            "A frame of the event stream has headers that cannot be read."
        ) from exc
    kind = values.get(":message-type", "event")
    if kind == "error":
        code = values.get(":error-code", "error")
        return f"{ERROR}{code}", values.get(":error-message", "")
    name = values.get(f":{kind}-type", "")
    return f"{ERROR}{name}" if kind == "exception" else name, None


def _headers(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield the name and the value of each header that is a text."""
    at = 0
    while at < len(data):
        end = at + 1 + data[at]
        name, kind, at = data[at + 1 : end].decode("utf-8"), data[end], end + 1
        if (size := _SIZES[kind]) is None:
            size = int.from_bytes(data[at : at + 2], "big")
            at += 2
        if at + size > len(data):
            raise IndexError(name)
        if kind == _TEXT:
            yield name, data[at : at + size].decode("utf-8")
        at += size
