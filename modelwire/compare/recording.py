"""Reads the calls of a cassette: each request, and its answer or error.

The whole file is read before any request is sent.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from modelwire.compare.requests import Request, read_request
from modelwire.errors import CallerError, CassetteError, ChatError
from modelwire.ext import WIRES, Reply, SSEDecoder, wire_named
from modelwire.messages import AIMessage, merge_chunks
from modelwire.testing.cassettes.records import Answer, from_lines

__all__ = ["RecordedCall", "read_recording"]

_LEFT_OUT = re.compile(r"<\d+ characters, sha256 [0-9a-f]{64}>")
# These are further paths of the wire, besides `Wire.path`.
_STREAMS = {
    ":streamGenerateContent": "gemini",
    "/converse-stream": "bedrock",
}


class RecordedCall(NamedTuple):
    """One call: the `line` of the file, its request, and the answer or the error that ended it."""

    line: int
    wire: str
    model: str
    request: Request
    answer: AIMessage | None
    error: str | None
    seconds: float


def read_recording(path: str | os.PathLike[str]) -> list[RecordedCall]:
    """Return the calls of a cassette. If a call was tried several times, the last try is returned.

    Raises: `CassetteError` for a file that is not a cassette, has no calls, or has a truncated
    request.
    """
    try:
        exchanges = from_lines(Path(path).read_bytes(), path)
    except OSError as exc:
        raise CassetteError(f"`{path}` cannot be read: {exc.strerror or exc}.") from exc
    calls: list[RecordedCall] = []
    for place, (sent, came) in enumerate(exchanges):
        wire = _wire_of(sent.url)
        failed = came.ended != "complete" or not 200 <= (came.status or 0) < 300
        if wire is None or (
            failed and any(later.sha256 == sent.sha256 for later, _ in exchanges[place + 1 :])
        ):
            continue
        calls.append(_call(wire, sent.url, sent.body, came, place + 2, path))
    if not calls:
        raise CassetteError(
            f"`{path}` has no call of a chat model to compare: record some with `recorded(...)`."
        )
    return calls


def _call(wire: str, url: str, body: Any, came: Answer, line: int, path: object) -> RecordedCall:
    where = f"`{path}`, line {line}"
    if (text := _missing_text(body)) is not None:
        raise CassetteError(
            f"{where}: a text of the request is left out of the recording ({text[:24]}...), as an older modelwire did "
            "with all above 10,000 characters. Record the call again, or delete the line."
        )
    try:
        request = read_request(wire, body)
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration, CallerError) as exc:
        problem = exc if isinstance(exc, CallerError) else f"{type(exc).__name__}: {exc}"
        raise CassetteError(
            f"{where}: the request cannot be read back ({problem}). Delete the line."
        ) from exc
    named = re.search(r"/models?/([^/:]+)[/:]", urlsplit(url).path)
    model = str(body.get("model") or unquote(named[1] if named else ""))
    answer, error = None, None
    try:
        answer = _answer(wire, body, url, came)
    except ChatError as exc:
        error = f"{type(exc).__name__}: {exc.message}"
    return RecordedCall(line, wire, model, request, answer, error, came.end_s)


def _wire_of(url: str) -> str | None:
    path = urlsplit(url).path
    ends = {**{wire_named(name).path: name for name in WIRES}, **_STREAMS}
    return next((name for end, name in ends.items() if path.endswith(end)), None)


def _missing_text(value: Any) -> str | None:
    if isinstance(value, str):
        return value if _LEFT_OUT.fullmatch(value) else None
    items: Iterable[Any] = ()
    if isinstance(value, Mapping):
        items = value.values()
    elif isinstance(value, list):
        items = value
    return next((found for item in items if (found := _missing_text(item)) is not None), None)


def _answer(wire: str, body: Mapping[str, Any], url: str, came: Answer) -> AIMessage:
    """Return the recorded answer. Raises the `ChatError` that it stands for."""
    codec = wire_named(wire).codec(wire_named(wire).owner)
    data = b"".join(piece for _, piece in came.pieces)
    if came.ended == "failed":
        raise came.failure()
    reply = Reply(came.status or 0, came.headers, data)
    if not 200 <= reply.status < 300:
        raise codec.error(reply)
    if not body.get("stream") and not any(mark in urlsplit(url).path for mark in _STREAMS):
        return codec.decode(reply)
    framing = getattr(codec, "framing", SSEDecoder)(max_event_bytes=len(data) + 1)
    decoder = codec.stream_decoder(came.headers)
    chunks = [chunk for event in framing.feed(data) for chunk in decoder.feed(event)]
    merged: AIMessage = merge_chunks([*chunks, *decoder.close()])
    return merged
