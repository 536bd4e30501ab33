"""Decodes the events of a streamed answer of Anthropic's Messages API into chunks. No I/O here.

Wire format: https://docs.anthropic.com/en/docs/build-with-claude/streaming, read 2026-11.

The sum of the chunks equals the unstreamed message. While there is only plain text, the `content` of chunks is a
string. From the first block of another type on it is a list of blocks with their `index`. The first such list begins
with an empty text block, which the sum joins with the strings before
(`"Hi" + [{"type": "text", "text": "", "index": 0}, ...]`). The `index` stays in the sum, and requests omit it.
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
    """The streamed arguments of a call of the caller's tool (`is_ours`) or of a tool that the provider runs."""

    __slots__ = ("block", "is_ours", "parts")

    def __init__(self, block: JSON, *, is_ours: bool) -> None:
        self.block = block  # the block as its first event had it
        self.is_ours = is_ours
        self.parts: list[str] = []


class MessagesStreamDecoder:
    """Decodes one streamed answer, which is complete once `message_stop` or a stop reason was received.

    The id, the model, the usage and the stop reason are in one chunk only, because a sum of chunks adds up repeated
    values.
    """

    def __init__(self, *, provider: str, request_id: str | None = None) -> None:
        self._provider = provider
        self.request_id = request_id
        self._id: str | None = None
        self._opening: JSON | None = None  # metadata for the first chunk; None once it was returned
        self._ending: JSON = {}  # metadata for the last chunk
        self._usage: JSON = {}
        self._started = False
        self._stopped = False  # True once a stop reason was received.
        self._ended = False  # True once `message_stop` was received; later events are ignored.
        # The index of the first plain text block.
        self._head: int | None = None
        self._is_list = False  # True once a chunk had a list of blocks.
        self._arguments: dict[int, _Arguments] = {}  # by the index of the block

    def feed(self, event: ServerEvent) -> list[AIMessageChunk]:
        """Return the chunk that this event completes, in a list that may be empty. Unknown events are ignored."""
        if self._ended:
            return []
        try:
            data = from_json(event.data)
        except ValueError:
            if is_keep_alive(*event):
                return []
            if event.data.strip() == b"[DONE]":  # Servers that also have OpenAI's wire send this.
                return []
            # This parser accepts more, and raises `MalformedResponse`.
            data = read_json(event.data, provider=self._provider, what="stream")
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
        """Return the ends of unfinished calls, and a chunk with usage and stop reason. See `StreamDecoder.close`."""
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
        self._arguments = {}
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
        """Return the chunk for a piece of plain text while the content is a string. Most events come here."""
        if text.__class__ is not str:
            raise TypeError("text that is not a string")
        if self._opening is not None:
            opening, self._opening = self._opening, None
            return [AIMessageChunk.from_wire(text, id=self._id, response_metadata=opening)]
        return [AIMessageChunk.from_wire(text, id=self._id)]

    def _block(
        self, index: int, block: JSON, *, call: ToolCallChunk | None = None
    ) -> list[AIMessageChunk]:
        """Return the chunk for a piece of a block. From the first one on, the content is a list."""
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
                # A reader of single chunks needs the provider's name. A sum of chunks keeps equal names once.
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
        return []  # The metadata is sent with the first content, because a call may be retried until then.

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
        # Another model continues the answer (anthropic 2.11, `BetaFallbackBlock`).
        if kind == "fallback":
            self._ending["model"] = self._ending["model_name"] = block["to"]["model"]
        if isinstance(block.get("input"), dict):  # a call of a tool that the provider runs
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
        """Return the chunk with the parsed input of a call. A call without deltas was complete at its start."""
        text = "".join(arguments.parts)
        value = arguments.block.get("input")
        call = None
        if text.strip():
            try:
                value = parse_tool_args(text)
            # `max_tokens` cut the text, which is in `invalid_tool_calls` of the sum.
            except ValueError:
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
        """Add token counts to the usage. Later counts replace earlier ones, but a null replaces nothing."""
        if isinstance(usage, dict):
            self._usage |= {k: v for k, v in usage.items() if v is not None or k not in self._usage}

    def _other(self, event: ServerEvent, data: Any) -> list[AIMessageChunk]:
        """Raise the error of an error event; ignore all other events."""
        if isinstance(data, dict) and (
            event.event == "error" or data.get("type") == "error" or "error" in data
        ):
            raise event_error(data, provider=self._provider)
        return []


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise TypeError(f"{type(value).__name__} where text was expected")


# The metadata that the first chunk has.
_AT_THE_START = ("id", "model_provider")
_READERS = {
    "message_start": MessagesStreamDecoder._message_start,
    "content_block_start": MessagesStreamDecoder._block_start,
    "content_block_stop": MessagesStreamDecoder._block_stop,
    "message_delta": MessagesStreamDecoder._message_delta,
    "message_stop": MessagesStreamDecoder._message_stop,
}
