"""Tracks the items of a streamed answer of the Responses API, and which parts chunks have sent. No I/O here.

`stream.py` chooses the item that an event is about. The item returns chunks for a piece of itself and, when it is done,
for everything that no chunk has sent yet.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

from modelwire.adapters.wires.json import dicts_in, text_or_none
from modelwire.adapters.wires.openai_responses.response import (
    CALL_TEXT,
    block_of_part,
    named_in,
    parts_in,
)
from modelwire.aliases import JSON
from modelwire.messages import AIMessageChunk
from modelwire.messages.block_translators.standard import without
from modelwire.messages.tool_calls import ToolCallChunk, tool_call_chunk

# These fields of an item are sent by other code, and not with its remaining fields.
_PLACED = ("type", "id", "encrypted_content")
# These fields of a `reasoning` item are lists of texts.
_REASONING_TEXTS = ("summary", "content")
# These fields of an event that shows an unfinished image become the block's `partial_images`.
_IMAGE_FIELDS = (
    *("partial_image_index", "partial_image_b64", "output_format"),
    *("size", "quality", "background"),
)
# The arguments of a call with free text are sent as a JSON object with one field. These are its beginning and end.
_FREE_TEXT_HEAD, _FREE_TEXT_END = '{"__arg1":"', '"}'

Chunks = list[AIMessageChunk]
new_chunk = AIMessageChunk.from_wire


class Piece:
    """An unfinished block: its number, and how many characters of each of its texts chunks have sent."""

    __slots__ = ("annotations", "index", "sent")

    def __init__(self, index: int) -> None:
        self.index = index
        self.sent: dict[Any, int] = {}
        self.annotations: list[Any] = []

    def add(self, key: Any, text: str) -> None:
        """Record that a chunk sends `text`, the next piece of the text called `key`."""
        self.sent[key] = self.sent.get(key, 0) + len(text)

    def rest_of(self, key: Any, text: Any) -> str:
        """Return the part of the whole `text` that no chunk has sent, and record it as sent."""
        if isinstance(text, dict):  # Arguments may be an object, as in unstreamed answers.
            text = to_json(text).decode()
        whole: str = text if isinstance(text, str) else ""
        rest = whole[self.sent.get(key, 0) :]
        self.add(key, rest)
        return rest


class Output:
    """The state that all items of an answer share: its id, the number of blocks so far, the log probabilities."""

    __slots__ = ("blocks", "id", "logprobs", "provider", "refused")

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.id: str | None = None
        self.blocks = 0
        self.logprobs: list[Any] = []
        self.refused = False  # True once a part of a message was a refusal.

    def next_piece(self) -> Piece:
        """Return a new block with the next number."""
        self.blocks += 1
        return Piece(self.blocks - 1)

    def chunk(self, content: list[Any], calls: tuple[ToolCallChunk, ...] = ()) -> AIMessageChunk:
        """Return a chunk with these blocks and pieces of tool calls."""
        # A reader of single chunks needs the provider's name to know the form of the blocks.
        metadata = {"model_provider": self.provider}
        return new_chunk(content, id=self.id, tool_call_chunks=calls, response_metadata=metadata)


class Item:
    """An unfinished item. Every item but a message is one block."""

    __slots__ = ("_piece", "done", "encrypted", "id", "kind", "named", "output")

    def __init__(self, whole: JSON, output: Output) -> None:
        self.kind: str = whole["type"]
        self.id = whole.get("id")
        self.named = named_in(whole)  # Empty once a chunk has sent the item's id and phase.
        self.encrypted: Any = None
        self.done = False
        self.output = output
        self._piece: Piece | None = None

    @property
    def has_begun(self) -> bool:
        """Whether a chunk may have sent a part of the item."""
        return self._piece is not None

    def block(self) -> Piece:
        """Return the item's only block."""
        if self._piece is None:
            self._piece = self.output.next_piece()
        return self._piece

    def chunk_of(self, calls: tuple[ToolCallChunk, ...] = (), /, **fields: Any) -> Chunks:
        """Return a chunk with fields of the item's only block."""
        content = {"type": self.kind, **self.named, **fields, "index": self.block().index}
        self.named = {}
        return [self.output.chunk([content], calls)]

    def _chunk_unless_empty(self, fields: JSON) -> Chunks:
        if fields or self.named:
            return self.chunk_of(**fields)
        return []

    def begin(self, whole: JSON) -> Chunks:
        """Return the chunks for an item that the provider has announced; `whole` are its fields so far."""
        return []

    def finish(self, whole: JSON) -> Chunks:
        """Return the chunks for everything in the whole item that no chunk has sent, and mark it as done."""
        if self.done:
            return []
        if not self.has_begun:
            self.named = named_in(whole)
        self.encrypted = whole.get("encrypted_content") or self.encrypted
        self.done = True
        return self.rest(whole)

    def rest(self, whole: JSON) -> Chunks:
        """Return the chunks for everything in the whole item that no chunk has sent."""
        raise NotImplementedError

    def fields_left(self, whole: JSON, placed: tuple[str, ...] = _PLACED) -> JSON:
        """Return the fields of the whole item that no chunk has sent, without those named in `placed`.

        The chunks have the values of the latter in other places, such as the text or the id.
        """
        sent = self.block().sent
        return {
            key: value
            for key, value in whole.items()
            if value is not None and key not in placed and key not in sent
        }

    def encrypted_block(self) -> JSON:
        """Return the block with the item's encrypted content."""
        return {
            "type": self.kind,
            "encrypted_content": self.encrypted,
            "index": self.block().index,
        }

    def calls_at_end(self) -> list[ToolCallChunk]:
        """Return the pieces that complete the arguments of a call whose end was not received."""
        return []


class ToolItem(Item):
    """An item of the provider's own tools, or of an unknown type."""

    __slots__ = ()

    def code(self, text: str) -> Chunks:
        """Return the chunk for a piece of code that the provider runs."""
        self.block().add("code", text)
        return self.chunk_of(code=text)

    def image(self, event: JSON) -> Chunks:
        """Return the chunk for an unfinished image. Later requests do not contain `partial_images`."""
        image = {key: event[key] for key in _IMAGE_FIELDS if event.get(key) is not None}
        return self.chunk_of(partial_images=[image])

    def rest(self, whole: JSON) -> Chunks:
        """Return a chunk with the fields that no chunk has sent, or an empty list."""
        piece = self.block()
        fields = self.fields_left(whole)
        if "code" in piece.sent:
            rest = piece.rest_of("code", whole.get("code"))
            fields |= {"code": rest} if rest else {}
        return self._chunk_unless_empty(fields)


class ReasoningItem(Item):
    """The model's reasoning: the texts of its summary or of its content, each with a number."""

    __slots__ = ()

    def begin(self, whole: JSON) -> Chunks:
        """Return the chunk that begins the block."""
        self.block().sent = {"summary": 0}
        return self.chunk_of(summary=[])

    def text(self, field: str, number: int | None, kind: str, text: str) -> Chunks:
        """Return the chunk for a piece of a text of `field`, which is "summary" or "content"."""
        piece = self.block()
        piece.sent[field] = 0
        piece.add((field, number), text)
        part = {"type": kind, "text": text, "index": number}
        return self.chunk_of(**{field: [part]})

    def rest(self, whole: JSON) -> Chunks:
        """Return a chunk with the texts and fields that no chunk has sent, or an empty list."""
        fields = self.fields_left(whole, (*_PLACED, *_REASONING_TEXTS))
        for field in _REASONING_TEXTS:
            if whole.get(field) is None:
                continue
            parts = self._texts_left(field, whole[field])
            if parts or field not in self.block().sent:
                fields[field] = parts
        return self._chunk_unless_empty(fields)

    def _texts_left(self, field: str, parts: Any) -> list[JSON]:
        """Return the parts of a field with the text that no chunk has sent."""
        piece = self.block()
        rest = []
        keys = [key for key in piece.sent if isinstance(key, tuple) and key[0] == field]
        for place, part in enumerate(dicts_in(parts)):
            key = keys[place] if place < len(keys) else (field, place)
            is_new = key not in piece.sent
            text = piece.rest_of(key, part.get("text"))
            named = {"text": text, "index": key[1]}
            if is_new:
                rest.append(part | named)
            elif text:
                rest.append(named)
        return rest

    def encrypted_block(self) -> JSON:
        """Return the block with the item's encrypted content, and a `summary`, which reasoning must have."""
        return {**super().encrypted_block(), "summary": []}


class MessageItem(Item):
    """A message: each of its parts, a text or a refusal, is a block."""

    __slots__ = ("parts",)

    def __init__(self, whole: JSON, output: Output) -> None:
        super().__init__(whole, output)
        self.parts: dict[Any, Piece] = {}  # by the part's number on the wire

    @property
    def has_begun(self) -> bool:
        """Whether a chunk may have sent a part of the message."""
        return bool(self.parts)

    def part(self, number: Any) -> Piece:
        """Return the block of the part with this number; a new one for a new part."""
        piece = self.parts.get(number)
        if piece is None:
            piece = self.parts[number] = self.output.next_piece()
        return piece

    def words(self, number: int | None, kind: str, event: JSON) -> Chunks:
        """Return the chunk for a piece of a part; `kind` is "text" or "refusal"."""
        piece = self.part(number)
        text = event["delta"]
        named = {} if piece.sent else self.named
        piece.add(kind, text)
        if kind == "refusal":
            self.output.refused = True
        else:
            self.output.logprobs += dicts_in(event.get("logprobs"))
        block = {"type": kind, kind: text, **named, "index": piece.index}
        return [self.output.chunk([block])]

    def rest(self, whole: JSON) -> Chunks:
        """Return a chunk with everything of the parts that no chunk has sent.

        This is usually the citations. They are sent at once, because a sum of chunks would join several lists wrongly.
        """
        # Parts are matched by their order, as vLLM numbers them from 1 after reasoning (2026-08).
        numbers = list(self.parts)
        named = named_in(whole)
        blocks = []
        for place, part in enumerate(parts_in(whole)):
            number = numbers[place] if place < len(numbers) else ("rest", place)
            piece = self.part(number)
            blocks.append(self._rest_of_part(piece, part, named))
        return [self.output.chunk(blocks)] if blocks else []

    def _rest_of_part(self, piece: Piece, part: JSON, named: JSON) -> JSON:
        block = block_of_part(part)
        key = "text"
        if block.get("type") == "refusal":
            key = "refusal"
            self.output.refused = True
        if not piece.sent.get(key):
            self.output.logprobs += dicts_in(part.get("logprobs"))
        if piece.sent:
            named = without(named, *self.named)
        if key in block:
            block[key] = piece.rest_of(key, block[key])
        if "annotations" in block:
            block["annotations"] = block["annotations"] or dicts_in(piece.annotations)
        return {**block, **named, "index": piece.index}


class CallItem(Item):
    """A call of a tool that the caller runs. `stream.py` has made sure that it has a `call_id`."""

    __slots__ = ()

    def begin(self, whole: JSON) -> Chunks:
        """Return the chunks for the name and the id, and for arguments that were sent with them."""
        piece = self.block()
        field = CALL_TEXT[self.kind]
        name = text_or_none(whole.get("name")) or ""
        id_ = whole["call_id"]
        call = tool_call_chunk(name=name, args=self._args(""), id=id_, index=piece.index)
        named = {"name": name, "call_id": id_, field: ""}
        piece.sent |= dict.fromkeys(named, 0)
        text = piece.rest_of(field, whole.get(field))
        chunks = self.chunk_of((call,), **named)
        if text:
            chunks += self._arguments(text)
        return chunks

    def more_arguments(self, text: str) -> Chunks:
        """Return the chunk for a piece of the arguments.

        The list is empty for a call whose beginning was not received: `rest` returns its name, id and arguments.
        """
        if not self.has_begun:
            return []
        self.block().add(CALL_TEXT[self.kind], text)
        return self._arguments(text)

    def rest(self, whole: JSON) -> Chunks:
        """Return the chunks for the rest of the arguments and for the other fields."""
        chunks = [] if self.has_begun else self.begin(whole)
        piece = self.block()
        field = CALL_TEXT[self.kind]
        text = piece.rest_of(field, whole.get(field))
        if text:
            chunks += self._arguments(text)
        end = "" if self.kind == "function_call" else _FREE_TEXT_END
        fields = self.fields_left(whole)
        if end or fields:
            call = tool_call_chunk(args=end, index=piece.index)
            chunks += self.chunk_of((call,), **fields)
        return chunks

    def _arguments(self, text: str) -> Chunks:
        call = tool_call_chunk(args=self._args(text), index=self.block().index)
        return self.chunk_of((call,), **{CALL_TEXT[self.kind]: text})

    def _args(self, text: str) -> str:
        """Return a piece of arguments; a piece of free text becomes a piece of a JSON object."""
        if self.kind == "function_call":
            return text
        head = "" if "input" in self.block().sent else _FREE_TEXT_HEAD
        return head + to_json(text).decode()[1:-1]

    def calls_at_end(self) -> list[ToolCallChunk]:
        """Return the piece that completes the JSON object of free text whose end was not received."""
        if self.kind == "function_call" or self.done or not self.has_begun:
            return []
        return [tool_call_chunk(args=_FREE_TEXT_END, index=self.block().index)]


_CLASSES: dict[str, type[Item]] = {
    "message": MessageItem,
    "reasoning": ReasoningItem,
    **dict.fromkeys(CALL_TEXT, CallItem),
}


def item_of(whole: JSON, output: Output) -> Item:
    """Return a new item; `whole` are the fields that the provider has sent so far, at least its `type`."""
    return _CLASSES.get(whole["type"], ToolItem)(whole, output)
