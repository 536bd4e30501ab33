"""A response as an object, and the steps that send it: bytes to send, seconds to wait, the end of the connection.

A fault is another sequence of steps for a reply. No I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydantic_core import to_json

from modelwire.aliases import JSON, HeaderFields

# The headers of a request or of a response, with lower-case names.
Headers = dict[str, str]

# This wait ends when the client disconnects.
FOREVER_S = float("inf")
LAST_CHUNK = b"0\r\n\r\n"


class End(Enum):
    """The way in which the server ends a connection that it does not reuse."""

    CLOSE = "close"  # FIN, after everything was sent.
    RESET = "reset"  # RST: the client's next read fails.


Step = bytes | float | End
Steps = Iterable[Step]


@dataclass(slots=True)
class Reply:
    """A response: status, headers, and the body in one part, or for a stream in one part for each event."""

    status: int
    headers: Headers
    parts: list[bytes]
    is_stream: bool = False
    # So many parts of a stream precede its content.
    opening: int = 0
    # So many parts follow the content, such as terminal marks.
    closing: int = 0
    latency_s: float = 0.0
    # Seconds between the parts of a stream.
    gap_s: float = 0.0

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    @property
    def content(self) -> list[bytes]:
        """The parts of a stream that contain the answer itself."""
        closing_at = len(self.parts) - self.closing
        return self.parts[self.opening : closing_at]

    def head(self, **changed: str | None) -> bytes:
        """Return status line and headers for the whole body.

        `changed` replaces headers, with `_` in place of `-` in their names; None removes a header.
        """
        named: dict[str, str | None] = {}
        if self.is_stream:
            named["transfer-encoding"] = "chunked"
        else:
            named["content-length"] = str(len(self.body))
        named |= self.headers
        for name, value in changed.items():
            named[name.replace("_", "-")] = value
        reason = _REASONS.get(self.status, "X")
        lines = [f"HTTP/1.1 {self.status} {reason}"]
        for name, value in named.items():
            if value is not None:
                lines.append(f"{name}: {value}")
        return "\r\n".join((*lines, "", "")).encode("latin-1")

    def frames(self, parts: Iterable[bytes] | None = None) -> list[bytes]:
        """Return the parts (all, or `parts`) as they are sent, framed as chunks if the body is chunked."""
        if parts is None:
            chosen = self.parts
        else:
            chosen = list(parts)
        if self.is_stream:
            return [chunk(part) for part in chosen]
        return chosen

    def whole(self, parts: Iterable[bytes] | None = None) -> bytes:
        """Return the head and the parts (all, or `parts`), properly ended."""
        sent = b"".join((self.head(), *self.frames(parts)))
        if self.is_stream:
            sent += LAST_CHUNK
        return sent

    def steps(self) -> bytes | Iterator[Step]:
        """Return the bytes of a response without waits, else the steps that send it."""
        if self.is_stream and self.gap_s:
            return self._spaced()
        whole = self.whole()
        if self.latency_s:
            return iter((self.latency_s, whole))
        return whole

    def _spaced(self) -> Iterator[Step]:
        first, *rest = self.frames()
        yield self.latency_s
        yield self.head() + first
        for part in rest:
            yield self.gap_s
            yield part
        yield LAST_CHUNK


# A response, or the steps that send it.
Response = Reply | Steps
# The opening, content and closing of a stream: events, each encoded.
StreamParts = tuple[list[bytes], list[bytes], list[bytes]]


def chunk(data: bytes) -> bytes:
    """Return data framed as one chunk (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def json_reply(status: int, body: Any, headers: HeaderFields | None = None) -> Reply:
    """Return a reply with a JSON body."""
    return Reply(status, {"content-type": "application/json", **(headers or {})}, [to_json(body)])


def page_reply(rows: list[JSON], params: Mapping[str, str], *, default_limit: int) -> Reply:
    """Return a page of a list, newest first, by `after` (or `after_id`, `before_id`) and `limit`."""
    ids = [row["id"] for row in rows]
    start = 0
    limit = int(params.get("limit", default_limit))
    after = params.get("after", params.get("after_id"))
    before = params.get("before_id")
    if after in ids:
        start = ids.index(after) + 1
    elif before in ids:
        end = ids.index(before)
        start = max(0, end - limit)
        limit = min(limit, end)
    end = start + limit
    page = rows[start:end]
    more = end < len(rows)
    if before in ids:
        more = start > 0
    shown = ids[start:end] or [None]
    ends = {"first_id": shown[0], "last_id": shown[-1]}
    return json_reply(200, {"object": "list", "data": page, "has_more": more, **ends})


def sse(data: Any, event: str | None = None) -> bytes:
    """Return one server-sent event. A text is sent unchanged, any other value as JSON."""
    if isinstance(data, str):
        written = data.encode()
    else:
        written = to_json(data)
    if event is None:
        return b"data: %b\n\n" % written
    return b"event: %b\ndata: %b\n\n" % (event.encode(), written)


_REASONS = {
    200: "OK",
    204: "No Content",
    206: "Partial Content",
    307: "Temporary Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    413: "Content Too Large",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
