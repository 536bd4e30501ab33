"""Decodes the events of a streamed answer of generateContent into chunks. No I/O here.

Wire format: https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent, read 2026-11. Each event
is an answer with the next pieces of text. Texts are joined; of any other field the last value is used.

While there is only plain text, the `content` of chunks is a string. From the first other part on it is a list of blocks
with their `index`. The first such list begins with an empty text block, which the sum joins with the strings before. A
complete tool call is returned at the end of the stream, because a later event may show that the service has run it, or
before the next call that is streamed in pieces.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from pydantic_core import from_json, to_json

from modelwire.adapters.wires.gemini.response import (
    COUNTED,
    MODEL_PROVIDER,
    PART_FIELDS,
    answered_names,
    block_from_part,
    call_of,
    check_answered,
    choices_of,
    metadata_of,
    not_to_run,
    parts_of,
    usage_metadata_of,
)
from modelwire.adapters.wires.json import (
    UNDOCUMENTED,
    dict_or_empty,
    error_from_json,
    is_keep_alive,
    malformed,
    read_json,
    text_or_none,
)
from modelwire.aliases import JSON
from modelwire.errors import IncompleteStream
from modelwire.messages import AIMessageChunk
from modelwire.messages.block_translators.standard import Block, without
from modelwire.messages.tool_calls import tool_call_chunk
from modelwire.transport.sse import SSEDecoder
from modelwire.transport.wire import ServerEvent

# The names of the fields of server-sent events.
_FIELDS = frozenset((b"data", b"event", b"id", b"retry"))


# A text part with one of these fields is not plain text.
_MARKS = frozenset(("thought", "thoughtSignature", *PART_FIELDS))


class GenerateFraming(SSEDecoder):
    """Splits a body into server-sent events, and accepts JSON without `data:`: an error, or a complete answer.

    The service sends an error after good events so, over several lines (recorded 2026-11). The blank line after the
    last event may be missing.
    """

    def _read_field(self, line: bytes) -> None:
        if line.partition(b":")[0] in _FIELDS:
            super()._read_field(line)
        elif self._data is not None or line[:1] in (b"{", b"["):
            self._add_data(line)

    def feed(self, data: bytes) -> list[ServerEvent]:
        """Return the events that `data` completes. JSON is an event as soon as it is complete."""
        events = super().feed(data)
        is_unfinished = self._data is not None or self._line
        if is_unfinished and data.rstrip()[-1:] in (b"}", b"]"):
            held = self._data if isinstance(self._data, list) else [self._data or b""]
            text = b"\n".join((*held, b"".join(self._line).removeprefix(b"data:"))).strip()
            if text[:1] in (b"{", b"[") and _is_whole(text):
                events.append(ServerEvent("", text))
                self._line.clear()
                self._data = None
                self._pending_bytes = 0
        return events


def _is_whole(text: bytes) -> bool:
    try:
        from_json(text)
    except ValueError:
        return False
    return True


class GenerateStreamDecoder:
    """Decodes one streamed answer, which is complete if a finish reason or a block reason was received.

    The id, the model, the usage and the finish reason are in one chunk only, because a sum of chunks adds up repeated
    values.
    """

    request_id: str | None = None

    def __init__(self, *, provider: str) -> None:
        self._provider = provider
        self._id: str | None = None
        self._answer: JSON = {}  # the last value of each field that events have beside their candidates
        self._candidate: JSON = {}  # the fields of the first candidate beside its content
        self._citations: list[Any] = []
        self._usage: Any = None
        self._others: dict[int, JSON] = {}  # further candidates by their index
        self._begun = False  # True once a chunk was returned.
        self._is_list = False  # True once a chunk had a list of blocks.
        self._kind = ""  # the type of the latest block if it is text that may continue
        self._index = -1  # the index of the latest block
        self._calls: list[tuple[int, JSON]] = []  # index and part of calls that wait for the end
        # The index, the arguments and the block type of the call that is streamed in pieces.
        self._open: tuple[int, JSON, str] | None = None
        self._count = 0  # the number of calls returned so far

    def feed(self, event: ServerEvent) -> list[AIMessageChunk]:
        """Return the chunks that this event completes. Raises the provider's error for an error event."""
        try:
            data = from_json(event.data)
        except ValueError:
            if is_keep_alive(*event):
                return []
            if event.data.strip() == b"[DONE]":  # Some gateways send this.
                return []
            data = read_json(event.data, provider=self._provider, what="stream")
        chunks: list[AIMessageChunk] = []
        try:
            # Without `alt=sse` the body is one array of answers.
            for answer in data if data.__class__ is list else (data,):
                if "error" in answer and "candidates" not in answer:
                    raise error_from_json(answer, provider=self._provider, status=200)
                for candidate in self._set(answer):
                    if index := candidate.pop("index", 0):
                        self._other(index, candidate)
                    else:
                        self._read(candidate, chunks)
        except UNDOCUMENTED as exc:
            raise self._malformed("An event in", exc, event.data) from exc
        return chunks

    def _malformed(self, what: str, exc: Exception, seen: Any) -> Exception:
        message = f"{what} the stream of `{self._provider}` is not as documented ({exc!r})."
        return malformed(message, seen, provider=self._provider)

    def _set(self, answer: JSON) -> Any:
        """Store the fields that an event has beside its candidates, and return the candidates."""
        candidates = answer.pop("candidates", None)
        usage = answer.pop("usageMetadata", None)
        # Each usage is a running total, but the first may have no counts.
        if usage and not COUNTED.isdisjoint(usage):
            self._usage = usage
        if self._id is None:
            self._id = text_or_none(answer.get("responseId"))
        self._answer |= answer
        return candidates or ()

    def _read(self, candidate: JSON, chunks: list[AIMessageChunk]) -> None:
        parts = parts_of(candidate)
        candidate.pop("content", None)
        if cited := candidate.pop("citationMetadata", None):
            self._citations += cited.get("citations") or cited.get("citationSources") or []
        if candidate:
            self._candidate |= {key: value for key, value in candidate.items() if value}
        for part in parts:
            text = part.get("text")
            if (
                text.__class__ is str
                and not self._is_list
                and (len(part) == 1 or _MARKS.isdisjoint(part))
            ):
                if text:
                    chunks.append(self._text(text))
            elif "functionCall" in part:
                self._call(part, chunks)
            else:
                if "functionResponse" in part:
                    self._answered_by_service(part, chunks)
                self._part(block_from_part(part), chunks)

    def _text(self, text: str) -> AIMessageChunk:
        """Return the chunk for a piece of plain text while the content is a string. Most events come here."""
        self._index = 0
        self._kind = "text"
        if self._begun:
            return AIMessageChunk.from_wire(text, id=self._id)
        self._begun = True
        return AIMessageChunk.from_wire(
            text, id=self._id, response_metadata={"model_provider": MODEL_PROVIDER}
        )

    def _part(self, block: Block, chunks: list[AIMessageChunk]) -> None:
        """Add the chunk for a block. Text continues a block of the same type; any other block gets a new index."""
        kind = block["type"]
        if "extras" in block or kind not in ("text", "reasoning"):
            self._index += 1
            self._kind = ""
        else:
            if not block[kind]:
                return
            if kind != self._kind:
                self._index += 1
                self._kind = kind
        chunks.append(self._listed({**block, "index": self._index}))

    def _listed(self, block: Block, *calls: Any) -> AIMessageChunk:
        content: list[Any] = [block]
        if not self._is_list:
            self._is_list = True
            if self._begun:
                content.insert(0, {"type": "text", "text": "", "index": 0})
        self._begun = True
        # A reader of single chunks needs the provider's name. A sum of chunks keeps equal names once.
        metadata = {"model_provider": MODEL_PROVIDER}
        return AIMessageChunk.from_wire(
            content, id=self._id, tool_call_chunks=calls, response_metadata=metadata
        )

    def _call(self, part: JSON, chunks: list[AIMessageChunk]) -> None:
        """Store a complete call for the end of the stream, or add the chunks for a call that is streamed in pieces."""
        call = part["functionCall"]
        if self._open is not None and call.get("name"):
            chunks.append(self._finished())
        if self._open is None:
            if not call.get("name") and "args" not in call:
                return  # The end mark of a call that has ended already.
            self._index += 1
            self._kind = ""
            if not call.get("willContinue") and "partialArgs" not in call:
                self._calls.append((self._index, part))
                return
            chunks += self._waiting_calls()  # Calls must be returned in their order.
            block = call_of(part, self._id, self._count)
            self._open = self._index, {}, block["type"]
            self._count += 1
            chunk = tool_call_chunk(
                name=block["name"], args="", id=block.pop("id"), index=self._index
            )
            del block["args"]
            chunks.append(self._listed({**block, "id": chunk["id"], "index": self._index}, chunk))
        _add(self._open[1], call)
        if not call.get("willContinue"):
            chunks.append(self._finished())

    def _finished(self, *, is_whole: bool = True) -> AIMessageChunk:
        """Return the chunk with the arguments of a call that was streamed in pieces, and close the call.

        If the stream was cut (`is_whole=False`), the arguments are invalid JSON, so that the call cannot run.
        """
        assert self._open is not None  # noqa: S101 - for the type checker
        (index, args, kind), self._open = self._open, None
        text = to_json(args).decode()
        block = {"type": kind, "index": index}
        if is_whole:
            block["args"] = args
        else:
            text = text[:-1]
        return self._listed(block, tool_call_chunk(args=text, index=index))

    def _answered_by_service(self, result: JSON, chunks: list[AIMessageChunk]) -> None:
        """Add chunks for the waiting calls that the service has run, as content that the caller does not run."""
        names = answered_names((result,))
        waiting = self._calls
        self._calls = [it for it in waiting if it[1]["functionCall"].get("name") not in names]
        for index, part in waiting:
            if part["functionCall"].get("name") in names:
                chunks.append(self._listed({**block_from_part(part), "index": index}))

    def _other(self, index: int, candidate: JSON) -> None:
        known = self._others.setdefault(index, {"index": index, "content": {"parts": []}})
        known["content"]["parts"] += parts_of(candidate)
        known |= without(candidate, "content")

    def close(self) -> list[AIMessageChunk]:
        """Return the waiting calls, and a chunk with everything else that was collected. See `StreamDecoder.close`."""
        try:
            return self._ended()
        except UNDOCUMENTED as exc:
            raise self._malformed("The end of", exc, self._answer | self._candidate) from exc

    def _ended(self) -> list[AIMessageChunk]:
        answer = self._answer
        candidate = self._candidate
        if "finishReason" not in candidate and not dict_or_empty(answer.get("promptFeedback")).get(
            "blockReason"
        ):
            if self._begun or self._calls:
                seen = "before a finish reason"
            else:
                seen = "before its first event"
            raise IncompleteStream(
                f"The stream of `{self._provider}` ended {seen}.", provider=self._provider
            )
        chunks = [] if self._open is None else [self._finished(is_whole=False)]
        chunks += self._waiting_calls()
        if self._citations:
            candidate = {**candidate, "citationMetadata": {"citations": self._citations}}
        metadata = metadata_of(
            {**answer, "responseId": self._id, "usageMetadata": self._usage}, candidate
        )
        check_answered(metadata, provider=self._provider, has_content=self._begun)
        if self._others:
            metadata["other_choices"] = choices_of(self._others.values(), self._id)
        last = AIMessageChunk.from_wire(
            [] if self._is_list else "",
            id=self._id,
            usage_metadata=usage_metadata_of(self._usage),
            response_metadata=metadata,
            chunk_position="last",
        )
        return [*chunks, last]

    def _waiting_calls(self) -> list[AIMessageChunk]:
        """Return the chunks of the complete calls received so far, in order."""
        waiting, self._calls = self._calls, []
        return [self._waited(index, part) for index, part in waiting]

    def _waited(self, index: int, part: JSON) -> AIMessageChunk:
        """Return the chunk for a complete call of the caller's tool."""
        block = {
            **call_of(part, self._id, self._count, error=not_to_run(self._candidate)),
            "index": index,
        }
        self._count += 1
        # A sum would make a valid call of a tool call chunk.
        if block["type"] == "invalid_tool_call":
            return self._listed(block)
        args = to_json(block["args"]).decode()
        return self._listed(
            block, tool_call_chunk(name=block["name"], args=args, id=block["id"], index=index)
        )


# Matches a step of a JSON path: a name, a number in brackets, or a quoted name in brackets.
_STEPS = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\[(['\"])(.*?)\3\]")
# A list among streamed arguments has at most so many items, as a path with a huge number would fill the memory.
_MOST_ITEMS = 100_000
_VALUES = ("stringValue", "numberValue", "boolValue")


def _add(args: JSON, call: JSON) -> None:
    """Add a piece of a call to its arguments; a partial argument has the JSON path of its value (Vertex, Gemini 3)."""
    args |= call.get("args") or {}
    for piece in call.get("partialArgs") or ():
        value = next((piece[name] for name in _VALUES if name in piece), None)
        _put(args, str(piece.get("jsonPath") or ""), value)


def _put(place: Any, path: str, value: Any) -> None:
    """Set the value at a path such as `$.steps[0].name`. A text is appended to a text that the path has already."""
    steps: list[Any] = []
    for name, number, _, quoted in _STEPS.findall(path):
        steps.append(int(number) if number else name or quoted)
    if not steps:
        return
    for step, following in pairwise(steps):
        empty: Any = [] if isinstance(following, int) else {}
        place = _at(place, step, empty)
    known = _at(place, steps[-1], None)
    if isinstance(known, str) and isinstance(value, str):
        place[steps[-1]] = known + value
    else:
        place[steps[-1]] = value


def _at(place: Any, step: Any, empty: Any) -> Any:
    """Return the value under a key or an index of `place`, which is set to `empty` if there is none."""
    if isinstance(step, int):
        if step > _MOST_ITEMS:
            raise TypeError(f"item {step} of a list")
        place += [None] * (step + 1 - len(place))
    elif step not in place:
        place[step] = None
    if place[step] is None:
        place[step] = empty
    return place[step]
