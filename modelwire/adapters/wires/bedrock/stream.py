"""Decodes the events of a streamed answer of Bedrock's ConverseStream into chunks. No I/O here.

Wire format: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html, read 2026-11.

The sum of the chunks equals the unstreamed message. While there is one text, the `content` of chunks is a string. From
the next block on it is a list of blocks with their `index`. The first such list begins with an empty text block, which
the sum joins with the strings before. Only tools and images have a `contentBlockStart`; any other block begins with its
first delta.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

from modelwire.adapters.wires.bedrock.event_stream import ERROR
from modelwire.adapters.wires.bedrock.response import (
    MODEL_PROVIDER,
    block_from_wire,
    metadata_of,
    named_error,
    server_result,
    usage_metadata_of,
)
from modelwire.adapters.wires.empty_answers import check_empty
from modelwire.adapters.wires.json import UNDOCUMENTED, dict_or_empty, malformed, read_json
from modelwire.errors import IncompleteStream
from modelwire.messages import AIMessageChunk
from modelwire.messages.block_translators.standard import Block, without
from modelwire.messages.tool_calls import ToolCallChunk, parse_tool_args, tool_call_chunk
from modelwire.transport.wire import ServerEvent


class ConverseStreamDecoder:
    """Decodes one streamed answer, which is complete once `messageStop` was received. The usage follows that event."""

    def __init__(self, *, provider: str, model: str | None, request_id: str | None) -> None:
        self._provider = provider
        self._model = model
        self.request_id = request_id
        self._ending: Block = {}  # the fields of the last events, for the metadata of the last chunk
        self._stopped = False  # True once `messageStop` was received.
        self._head: int | None = None  # the index of the first text
        self._is_list = False  # True once a chunk had a list of blocks.
        # By their index, the beginnings of the blocks that are returned at their end.
        self._started: dict[int, Block] = {}
        # By the index of their block, the pieces received so far.
        self._parts: dict[int, list[Any]] = {}

    def feed(self, event: ServerEvent) -> list[AIMessageChunk]:
        """Return the chunk that this event completes, in a list that may be empty. Unknown events are ignored."""
        try:
            data = from_json(event.data)
        except ValueError:
            # This parser accepts more, and raises `MalformedResponse`.
            data = read_json(event.data, provider=self._provider, what="stream")
        name = event.event
        try:
            if name == "contentBlockDelta":
                return self._delta(data["contentBlockIndex"], data["delta"])
            if name == "contentBlockStart":
                return self._start(data["contentBlockIndex"], data["start"])
            if name == "contentBlockStop":
                return self._stop(data["contentBlockIndex"])
            if name.startswith(ERROR):
                name = name.removeprefix(ERROR)
                raise named_error(
                    name, dict_or_empty(data), provider=self._provider, request_id=self.request_id
                )
            if name in ("messageStop", "metadata"):
                # Raises an error now if `close` could not read it.
                usage_metadata_of(data.get("usage"))
                self._stopped = self._stopped or name == "messageStop"
                self._ending |= data
        except UNDOCUMENTED as exc:
            message = (
                f"A `{name}` in the stream of `{self._provider}` is not as documented ({exc!r})."
            )
            raise malformed(message, event.data, provider=self._provider) from exc
        return []

    def close(self) -> list[AIMessageChunk]:
        """Return the ends of unfinished blocks, and a chunk with usage and stop reason. See `StreamDecoder.close`."""
        if not self._stopped:
            message = f"The stream of `{self._provider}` ended before `messageStop`."
            raise IncompleteStream(message, provider=self._provider)
        try:
            last = [chunk for index in sorted(self._started) for chunk in self._stop(index)]
        except UNDOCUMENTED as exc:
            message = f"A block in the stream of `{self._provider}` is not as documented ({exc!r})."
            raise malformed(message, self._ending, provider=self._provider) from exc
        metadata = metadata_of(self._ending, self.request_id, self._model)
        if not (self._is_list or self._head is not None or last):
            reason = metadata.get("stopReason")
            check_empty("bedrock", reason, provider=self._provider, request_id=self.request_id)
        usage = usage_metadata_of(metadata.get("usage"))
        end = AIMessageChunk.from_wire(
            [] if self._is_list else "",
            id=self.request_id,
            usage_metadata=usage,
            response_metadata=metadata,
            chunk_position="last",
        )
        return [*last, end]

    def _block(self, index: int, block: Block, *calls: ToolCallChunk) -> list[AIMessageChunk]:
        """Return the chunk for a piece of a block. From the first one on, the content is a list."""
        content: list[Any] = [{**block, "index": index}]
        if not self._is_list:
            self._is_list = True
            if self._head == index:
                content[0] = {"text": "", **content[0]}
            elif self._head is not None:
                content.insert(0, {"type": "text", "text": "", "index": self._head})
        # A reader of single chunks needs the provider's name. A sum of chunks keeps equal names once.
        metadata = {"model_provider": MODEL_PROVIDER}
        return [
            AIMessageChunk.from_wire(
                content, id=self.request_id, tool_call_chunks=calls, response_metadata=metadata
            )
        ]

    def _delta(self, index: int, delta: Block) -> list[AIMessageChunk]:
        if "text" in delta:
            return self._text(index, delta["text"])
        if "toolUse" in delta:
            return self._arguments(index, delta["toolUse"]["input"])
        if "reasoningContent" in delta:
            reasoning = {**delta["reasoningContent"]}
            # Each piece is encoded in base64, so `_stop` joins the bytes.
            if "redactedContent" in reasoning:
                self._collect(index, {"type": "reasoning_content"}, reasoning["redactedContent"])
                return []
            return self._block(index, {"type": "reasoning_content", "reasoning_content": reasoning})
        if "citation" in delta:
            return self._block(index, {"type": "text", "citations": [delta["citation"]]})
        if "toolResult" in delta:
            self._parts[index] += delta["toolResult"]
        elif "image" in delta:
            self._parts[index].append(delta["image"])
        return []

    def _text(self, index: int, text: str) -> list[AIMessageChunk]:
        if text.__class__ is not str:
            raise TypeError("a piece of text is not a string")
        if not text:
            return []
        if self._is_list or (self._head is not None and self._head != index):
            return self._block(index, {"type": "text", "text": text})
        self._head = index
        return [AIMessageChunk.from_wire(text, id=self.request_id)]

    def _collect(self, index: int, block: Block, part: Any) -> None:
        self._started.setdefault(index, block)
        self._parts.setdefault(index, []).append(part)

    def _start(self, index: int, start: Block) -> list[AIMessageChunk]:
        self._parts[index] = []
        if "toolUse" not in start:
            self._started[index] = start
            return []
        block = self._started[index] = block_from_wire(start, index) or {}
        if block["type"] != "tool_use":
            return []
        call = tool_call_chunk(name=block["name"], args="", id=block["id"], index=index)
        return self._block(index, without(block, "input"), call)

    def _arguments(self, index: int, text: str) -> list[AIMessageChunk]:
        if not text or index not in self._started:
            return []
        self._parts[index].append(text)
        if self._started[index]["type"] != "tool_use":
            return []
        chunk = tool_call_chunk(args=text, index=index)
        return [AIMessageChunk.from_wire([], id=self.request_id, tool_call_chunks=(chunk,))]

    def _stop(self, index: int) -> list[AIMessageChunk]:
        """Return the chunk with the parts of a block that are complete at its end: arguments, a result, an image."""
        block = self._started.pop(index, None)
        parts = self._parts.pop(index, [])
        if block is None:
            return []
        kind = block.get("type")
        if kind == "tool_use":
            return self._arguments_end(index, "".join(parts))
        if kind == "server_tool_call":
            return self._block(index, {**block, "args": _parsed("".join(parts))})
        if kind == "reasoning_content":
            return self._block(
                index, {**block, "reasoning_content": {"redacted_content": _joined(parts)}}
            )
        if "toolResult" in block:
            return self._block(index, server_result(block["toolResult"], parts))
        if "image" in block:
            image = {key: value for part in parts for key, value in part.items()}
            whole = block_from_wire({"image": {**block["image"], **image}}, index)
            return self._block(index, whole) if whole else []
        return []

    def _arguments_end(self, index: int, text: str) -> list[AIMessageChunk]:
        """Return the chunk with the parsed input of a call. A call without arguments has no deltas."""
        calls = () if text.strip() else (tool_call_chunk(args="{}", index=index),)
        return self._block(index, {"type": "tool_use", "input": _parsed(text)}, *calls)


def _parsed(text: str) -> Any:
    """Return the parsed arguments of a call; {} if `maxTokens` cut them. `invalid_tool_calls` then has the text."""
    try:
        return parse_tool_args(text)
    except ValueError:
        return {}


def _joined(parts: list[str]) -> str:
    """Return the base64 of all bytes together, from parts that are each encoded in base64."""
    if len(parts) == 1:
        return parts[0]
    from base64 import b64decode, b64encode

    return b64encode(b"".join(map(b64decode, parts))).decode("ascii")
