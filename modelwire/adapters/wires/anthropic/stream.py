"""Read a streamed answer of Anthropic's Messages API, event by event. No I/O here.

Wire format: https://docs.anthropic.com/en/docs/build-with-claude/streaming, read 2026-11.

The rule that makes the sum of the chunks the unstreamed message: while there is only plain text, `content` is a string.
With the first block of another kind it becomes a list of blocks with their `index`, which begins with an empty text
block that the strings so far belong to (`"Hi" + [{"type": "text", "text": "", "index": 0}, ...]`). `index` stays in the
sum; encoding drops it.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json, to_json

from modelwire.adapters.wires.anthropic.response import (
    MODEL_PROVIDER,
    event_error,
    is_plain_text,
    metadata_of,
    usage_metadata_of,
    with_id,
)
from modelwire.adapters.wires.empty_answers import check_empty
from modelwire.adapters.wires.json import is_keep_alive, malformed, read_json
from modelwire.aliases import JSON
from modelwire.errors import IncompleteStream
from modelwire.messages import AIMessageChunk
from modelwire.messages.block_translators.standard import without
from modelwire.messages.tool_calls import ToolCallChunk, parse_tool_args, tool_call_chunk
from modelwire.transport.wire import ServerEvent


class _Arguments:
    """The arguments of a tool call, the caller's or the provider's, while they arrive."""

    __slots__ = ("block", "is_ours", "parts")

    def __init__(self, block: JSON, *, is_ours: bool) -> None:
        self.block = block  # as it started
        self.is_ours = is_ours
        self.parts: list[str] = []


class MessagesStreamDecoder:
    """Makes chunks of events. The stream is whole when `message_stop` or a stop reason was seen.

    All that comes once (id, model, usage, stop reason) is emitted once, because sums of chunks add it up.
    """

    def __init__(self, *, provider: str, request_id: str | None = None) -> None:
        self._provider = provider
        self.request_id = request_id
        self._id: str | None = None
        self._opening: JSON | None = None  # metadata that the first chunk takes along
        self._ending: JSON = {}  # metadata of the end
        self._usage: JSON = {}
        self._started = False
        self._stopped = False  # a stop reason has come
        self._ended = False  # nothing more counts
        self._head: int | None = (
            None  # index of the first plain text block, while the content is a string
        )
        self._is_list = False
        self._arguments: dict[int, _Arguments] = {}  # by index of block

    def feed(self, event: ServerEvent) -> list[AIMessageChunk]:
        """Return the chunk of this event, or nothing. Unknown events and deltas are ignored."""
        if self._ended:
            return []
        try:
            data = from_json(event.data)
        except ValueError:
            if is_keep_alive(*event):
                return []
            if event.data.strip() == b"[DONE]":  # servers that speak OpenAI's wire too
                return []
            data = read_json(
                event.data, provider=self._provider, what="stream"
            )  # more patient; raises ours
        try:
            kind = data["type"]
            if kind == "content_block_delta":
                return self._delta(data["index"], data["delta"])
            read = _READERS.get(kind)
            if read is not None:
                return read(self, data)
            return self._other(event, data)
        except (KeyError, TypeError, AttributeError) as exc:
            if isinstance(data, dict) and ("error" in data or "type" not in data):
                return self._other(event, data)
            raise malformed(
                f"An event in the stream of `{self._provider}` is not as documented ({exc!r}).",
                event.data,
                provider=self._provider,
            ) from exc

    def close(self) -> list[AIMessageChunk]:
        """Return the last chunk: usage, stop reason, position. Raises `IncompleteStream`; the caller knows the part."""
        if not (self._stopped or self._ended):
            if not self._started:
                seen = "before its first event"
            else:
                seen = "before `message_stop` or a stop reason"
            raise IncompleteStream(
                f"The stream of `{self._provider}` ended {seen}.", provider=self._provider
            )
        self._ended = True
        last = []
        for index, arguments in self._arguments.items():
            last += self._arguments_end(index, arguments)
        self._arguments = {}  # the provider stopped, so they are as they are
        metadata = {**(self._opening or {"model_provider": MODEL_PROVIDER}), **self._ending}
        if self._usage:
            metadata["usage"] = self._usage
        if self.request_id is not None:
            metadata["request_id"] = self.request_id
        if not self._is_list and self._head is None:
            reason = metadata.get("stop_reason")
            check_empty("anthropic", reason, provider=self._provider, request_id=self.request_id)
        self._opening = None
        return [
            *last,
            AIMessageChunk.from_wire(
                [] if self._is_list else "",
                id=self._id,
                usage_metadata=usage_metadata_of(self._usage or None),
                response_metadata=metadata,
                chunk_position="last",
            ),
        ]

    def _text(self, text: str) -> list[AIMessageChunk]:
        """Make the chunk of plain text while the content is a string: the hot path."""
        if text.__class__ is not str:
            raise TypeError("text that is not a string")
        if self._opening is not None:
            opening, self._opening = self._opening, None
            return [AIMessageChunk.from_wire(text, id=self._id, response_metadata=opening)]
        return [AIMessageChunk.from_wire(text, id=self._id)]

    def _block(
        self, index: int, block: JSON, *, call: ToolCallChunk | None = None
    ) -> list[AIMessageChunk]:
        """Make the chunk of a piece of a block, which turns the content into a list."""
        content: list[str | JSON] = []
        if not self._is_list:
            self._is_list = True
            if self._head == index:
                block = {"text": "", **block}
            elif self._head is not None:
                content.append({"type": "text", "text": "", "index": self._head})
        content.append({**block, "index": index})
        return self._listed(content, call)

    def _listed(
        self, content: list[str | JSON], call: ToolCallChunk | None
    ) -> list[AIMessageChunk]:
        opening, self._opening = self._opening, None
        return [
            AIMessageChunk.from_wire(
                content,
                id=self._id,
                tool_call_chunks=() if call is None else [call],
                # Says how to read the blocks of this very chunk; equal values do not add up.
                response_metadata=opening or {"model_provider": MODEL_PROVIDER},
            )
        ]

    def _message_start(self, data: JSON) -> list[AIMessageChunk]:
        if self._started:
            return []
        self._started = True
        message = data["message"]
        self._id = None if message.get("id") is None else _string(message["id"])
        self._merge_usage(message.get("usage"))
        metadata = metadata_of(message)
        metadata.pop("usage", None)
        self._opening = {key: metadata.pop(key) for key in _AT_THE_START if key in metadata}
        self._ending = metadata
        return []  # rides on the first chunk: until then the call may be tried again

    def _block_start(self, data: JSON) -> list[AIMessageChunk]:
        self._started = True
        index = data["index"]
        block = data["content_block"]
        kind = _string(block["type"])
        if is_plain_text(block) and not self._is_list:
            if self._head is None:
                self._head = index
            if block.get("text"):
                return self._text(block["text"])
            return []
        if kind == "tool_use":
            return self._tool_use_start(index, block)
        if kind == "fallback":  # another model goes on (anthropic 2.11, `BetaFallbackBlock`)
            self._ending["model"] = self._ending["model_name"] = block["to"]["model"]
        if isinstance(
            block.get("input"), dict
        ):  # a tool of the provider's: its input arrives as ours do
            self._arguments[index] = _Arguments(block, is_ours=False)
            block = without(block, "input")
        return self._block(index, block)

    def _tool_use_start(self, index: int, block: JSON) -> list[AIMessageChunk]:
        block = with_id(block, self._id, index)
        self._arguments[index] = _Arguments(block, is_ours=True)
        name = block.get("name")
        call = tool_call_chunk(
            name=name if isinstance(name, str) else "", args="", id=block["id"], index=index
        )
        return self._block(index, without(block, "input"), call=call)

    def _delta(self, index: int, delta: JSON) -> list[AIMessageChunk]:
        kind = delta["type"]
        if kind == "text_delta":
            text = delta["text"]
            if self._is_list:
                return self._block(index, {"type": "text", "text": _string(text)})
            if self._head is None:
                self._head = index
            return self._text(text)
        if kind == "input_json_delta":
            return self._arguments_delta(index, _string(delta["partial_json"]))
        if kind == "thinking_delta":
            return self._block(index, {"type": "thinking", "thinking": _string(delta["thinking"])})
        if kind == "signature_delta":
            signature = _string(delta["signature"])
            return self._block(index, {"type": "thinking", "signature": signature})
        if kind == "citations_delta":
            return self._block(index, {"type": "text", "citations": [delta["citation"]]})
        if kind == "compaction_delta":
            return self._block(index, {**delta, "type": "compaction"})
        return []

    def _arguments_delta(self, index: int, text: str) -> list[AIMessageChunk]:
        arguments = self._arguments.get(index)
        if arguments is None or not text:
            return []
        arguments.parts.append(text)
        if arguments.is_ours:
            return self._listed([], tool_call_chunk(args=text, index=index))
        return []

    def _block_stop(self, data: JSON) -> list[AIMessageChunk]:
        index = data["index"]
        arguments = self._arguments.pop(index, None)
        if arguments is not None:
            return self._arguments_end(index, arguments)
        return []

    def _arguments_end(self, index: int, arguments: _Arguments) -> list[AIMessageChunk]:
        """Put the parsed input into the block. A call that came whole at its start has had no delta."""
        text = "".join(arguments.parts)
        value = arguments.block.get("input")
        call = None
        if text.strip():
            try:
                value = parse_tool_args(text)
            except (
                ValueError
            ):  # cut off by `max_tokens`: `invalid_tool_calls` of the sum has the text
                value = value or {}
        elif arguments.is_ours:
            call = tool_call_chunk(args=to_json(value or {}).decode(), index=index)
        return self._block(index, {"type": arguments.block["type"], "input": value}, call=call)

    def _message_delta(self, data: JSON) -> list[AIMessageChunk]:
        delta = data.get("delta") or {}
        if not isinstance(delta, dict):
            raise TypeError(f"{type(delta).__name__} where an object was expected")
        self._ending |= delta
        self._ending |= without(data, "type", "delta", "usage")
        self._merge_usage(data.get("usage"))
        if delta.get("stop_reason") is not None:
            self._stopped = True
        return []

    def _message_stop(self, data: JSON) -> list[AIMessageChunk]:
        self._ended = True
        return []

    def _merge_usage(self, usage: Any) -> None:
        """Merge counts of tokens: those at the end win, but older answers have some only at the start."""
        if isinstance(usage, dict):
            self._usage |= {k: v for k, v in usage.items() if v is not None or k not in self._usage}

    def _other(self, event: ServerEvent, data: Any) -> list[AIMessageChunk]:
        """Raise what an error event says; ignore the rest."""
        if isinstance(data, dict) and (
            event.event == "error" or data.get("type") == "error" or "error" in data
        ):
            raise event_error(data, provider=self._provider)
        return []


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise TypeError(f"{type(value).__name__} where text was expected")


_AT_THE_START = ("id", "model_provider")
_READERS = {
    "message_start": MessagesStreamDecoder._message_start,
    "content_block_start": MessagesStreamDecoder._block_start,
    "content_block_stop": MessagesStreamDecoder._block_stop,
    "message_delta": MessagesStreamDecoder._message_delta,
    "message_stop": MessagesStreamDecoder._message_stop,
}
