"""Decodes server-sent events from bytes. No I/O here.

The framing of https://html.spec.whatwg.org/multipage/server-sent-events.html (read 2026-11), for byte streams:
lines end with LF, CR or CRLF; a byte-order mark at the start is skipped; comments, `id` and `retry` are dropped;
an event without its blank line is not an event. Any split of the same bytes gives the same events.
"""

from __future__ import annotations

from functools import partial

from modelwire.errors import MalformedResponse
from modelwire.transport.wire import ServerEvent

# A larger event is refused as malformed. An event with a base64 image has a few MiB.
MAX_EVENT_BYTES = 32 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"

# This creates an event from a pair. The class itself would call a Python function for each token of a stream.
_event = partial(tuple.__new__, ServerEvent)


class SSEDecoder:
    """Collects bytes and returns the events that they complete. The work is linear in the bytes, however split."""

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        # The first bytes, until it is known whether they are a byte-order mark; then None.
        self._start: bytes | None = b""
        # True if the last byte was CR, so that a LF at the start of the next bytes belongs to it.
        self._after_cr = False
        # The pieces of the line that has not ended yet.
        self._line: list[bytes] = []
        # The number of bytes in `_line` and `_data`.
        self._pending_bytes = 0
        self._event = ""
        # The data of the present event: a single line, or a list of several.
        self._data: bytes | list[bytes] | None = None

    def feed(self, data: bytes) -> list[ServerEvent]:
        """Return the events that end within `data`. Raises `MalformedResponse` if an event is too large."""
        if self._pending_bytes > self._max_event_bytes:
            raise self._endless()
        if self._start is not None:
            data = self._skip_bom(data)
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines and self._line:
            self._line.append(lines[0])
            lines[0] = b"".join(self._line)
            self._line.clear()
            self._pending_bytes = _size(self._data)
        events = self._read(lines) if lines else []
        if rest:
            self._line.append(rest)
            self._hold(len(rest))
        return events

    def _skip_bom(self, data: bytes) -> bytes:
        head = (self._start or b"") + data
        if len(head) < len(_BOM) and _BOM.startswith(head):
            self._start = head
            return b""
        self._start = None
        return head.removeprefix(_BOM)

    def _read(self, lines: list[bytes]) -> list[ServerEvent]:
        events: list[ServerEvent] = []
        for line in lines:
            # Nearly every line is one of the first two cases, so they need no function call.
            if self._data is None and line.startswith(b"data: "):
                self._data = line[6:]
            elif line.startswith(b"event: "):
                self._event = line[7:].decode("utf-8", "replace")
            elif not line:
                if self._data is not None:
                    data = self._data if isinstance(self._data, bytes) else b"\n".join(self._data)
                    events.append(_event((self._event, data)))
                    self._data = None
                    self._pending_bytes = 0
                self._event = ""
            elif not line.startswith(b":"):
                self._read_field(line)
        return events

    def _read_field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._add_data(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")

    def _add_data(self, value: bytes) -> None:
        if self._data is None:
            self._data = value
            return
        if isinstance(self._data, bytes):
            self._data = [self._data]
        self._data.append(value)
        self._hold(len(value) + 1)

    def _hold(self, size: int) -> None:
        # Above the limit, the next `feed` raises; the events that ended before are still returned.
        self._pending_bytes += size

    def _endless(self) -> MalformedResponse:
        return MalformedResponse(
            f"A streamed event has more than {self._max_event_bytes:,} bytes and no end in sight; "
            "the connection was closed."
        )


def _size(data: bytes | list[bytes] | None) -> int:
    if data is None:
        return 0
    if isinstance(data, bytes):
        return len(data)
    return sum(map(len, data)) + len(data)
