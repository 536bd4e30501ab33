"""The items of a streamed answer of the Responses API: what of each has left as chunks, and what is left. No I/O here.

`stream.py` chooses the item that an event is about. An item turns a piece of itself into chunks, and, when it is done,
the rest of itself.
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

# These fields of an item have a place of their own in its chunks.
_PLACED = ("type", "id", "encrypted_content")
# These fields of a `reasoning` item are lists of texts.
_REASONING_TEXTS = ("summary", "content")
# These fields of an event that shows an unfinished image become the block's `partial_images`.
_IMAGE_FIELDS = (
    *("partial_image_index", "partial_image_b64", "output_format"),
    *("size", "quality", "background"),
)
# The arguments of a call with free text are one field of a JSON object.
_FREE_TEXT_HEAD, _FREE_TEXT_END = '{"__arg1":"', '"}'

Chunks = list[AIMessageChunk]
new_chunk = AIMessageChunk.from_wire


class Piece:
    """A block under way: its number, and how many characters of each of its texts have left."""

    __slots__ = ("annotations", "index", "sent")

    def __init__(self, index: int) -> None:
        self.index = index
        self.sent: dict[Any, int] = {}
        self.annotations: list[Any] = []

    def add(self, key: Any, text: str) -> None:
        """Note that more of a text has left."""
        self.sent[key] = self.sent.get(key, 0) + len(text)

    def rest_of(self, key: Any, text: Any) -> str:
        """Return the part of `text` that has not left yet, and note that it leaves now."""
        if isinstance(text, dict):  # arguments that are no text (as in whole answers)
            text = to_json(text).decode()
        whole: str = text if isinstance(text, str) else ""
        rest = whole[self.sent.get(key, 0) :]
        self.add(key, rest)
        return rest


class Output:
    """What all items of an answer share: its id, the number of blocks so far, the log probabilities."""

    __slots__ = ("blocks", "id", "logprobs", "provider", "refused")

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.id: str | None = None
        self.blocks = 0
        self.logprobs: list[Any] = []
        self.refused = False  # Whether a part of a message is a refusal.

    def next_piece(self) -> Piece:
        """Begin a block."""
        self.blocks += 1
        return Piece(self.blocks - 1)

    def chunk(self, content: list[Any], calls: tuple[ToolCallChunk, ...] = ()) -> AIMessageChunk:
        """Return a chunk of blocks and pieces of calls."""
        # The provider tells a reader of single chunks in which form the blocks are.
        metadata = {"model_provider": self.provider}
        return new_chunk(content, id=self.id, tool_call_chunks=calls, response_metadata=metadata)


class Item:
    """An item under way. Unless it is a message, it is one block."""

    __slots__ = ("_piece", "done", "encrypted", "id", "kind", "named", "output")

    def __init__(self, whole: JSON, output: Output) -> None:
        self.kind: str = whole["type"]
        self.id = whole.get("id")
        self.named = named_in(whole)  # It is empty once a chunk has named the item.
        self.encrypted: Any = None
        self.done = False
        self.output = output
        self._piece: Piece | None = None

    @property
    def has_begun(self) -> bool:
        """Whether a chunk of it may have left."""
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
        """Return the chunks for an item that the provider has announced."""
        return []

    def finish(self, whole: JSON) -> Chunks:
        """Return the chunks for everything of an item that has not left yet."""
        if self.done:
            return []
        if not self.has_begun:
            self.named = named_in(whole)
        self.encrypted = whole.get("encrypted_content") or self.encrypted
        self.done = True
        return self.rest(whole)

    def rest(self, whole: JSON) -> Chunks:
        """Return the chunks for the rest of a whole item."""
        raise NotImplementedError

    def fields_left(self, whole: JSON, placed: tuple[str, ...] = _PLACED) -> JSON:
        """Return the fields that have not left yet and have no place of their own."""
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
        """Return what completes the arguments of a call whose end did not come."""
        return []


class ToolItem(Item):
    """An item of the provider's own tools, or of a kind that is unknown here."""

    __slots__ = ()

    def code(self, text: str) -> Chunks:
        """Return the chunk for a piece of code that the provider runs."""
        self.block().add("code", text)
        return self.chunk_of(code=text)

    def image(self, event: JSON) -> Chunks:
        """Return the chunk for an unfinished image. `partial_images` are never sent back."""
        image = {key: event[key] for key in _IMAGE_FIELDS if event.get(key) is not None}
        return self.chunk_of(partial_images=[image])

    def rest(self, whole: JSON) -> Chunks:
        """Return the chunk with the fields that have not left yet, unless there is none."""
        piece = self.block()
        fields = self.fields_left(whole)
        if "code" in piece.sent:
            rest = piece.rest_of("code", whole.get("code"))
            fields |= {"code": rest} if rest else {}
        return self._chunk_unless_empty(fields)


class ReasoningItem(Item):
    """The model's reasoning: texts of its summary, or of its content, each with a number."""

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
        """Return the chunk with the texts and fields that have not left yet, unless there is none."""
        fields = self.fields_left(whole, (*_PLACED, *_REASONING_TEXTS))
        for field in _REASONING_TEXTS:
            if whole.get(field) is None:
                continue
            parts = self._texts_left(field, whole[field])
            if parts or field not in self.block().sent:
                fields[field] = parts
        return self._chunk_unless_empty(fields)

    def _texts_left(self, field: str, parts: Any) -> list[JSON]:
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
        """Return the block with the item's encrypted content. A block of reasoning needs a `summary`."""
        return {**super().encrypted_block(), "summary": []}


class MessageItem(Item):
    """A message: each of its parts, a text or a refusal, is a block."""

    __slots__ = ("parts",)

    def __init__(self, whole: JSON, output: Output) -> None:
        super().__init__(whole, output)
        self.parts: dict[Any, Piece] = {}  # by the provider's number

    @property
    def has_begun(self) -> bool:
        """Whether a chunk of it may have left."""
        return bool(self.parts)

    def part(self, number: Any) -> Piece:
        """Return the block of a part."""
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
        """Return a chunk with the rest of every part.

        Usually this is its citations, which a sum of chunks must not take for pieces of each other.
        """
        # The parts are matched in order of appearance: those of vLLM begin with 1 after reasoning
        # (2026-08).
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
    """A call of a tool of the caller's. Its `call_id` is never missing here."""

    __slots__ = ()

    def begin(self, whole: JSON) -> Chunks:
        """Return the chunks for name and id, and for the arguments that came with them."""
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

        Return None for a call whose beginning was not sent: its name and id come with the end.
        """
        if not self.has_begun:
            return []
        self.block().add(CALL_TEXT[self.kind], text)
        return self._arguments(text)

    def rest(self, whole: JSON) -> Chunks:
        """Return the chunks for the rest of the arguments, their end, and the other fields."""
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
        """Return a piece of arguments. Free text becomes a JSON object, piece by piece."""
        if self.kind == "function_call":
            return text
        head = "" if "input" in self.block().sent else _FREE_TEXT_HEAD
        return head + to_json(text).decode()[1:-1]

    def calls_at_end(self) -> list[ToolCallChunk]:
        """Return what completes the JSON object of free text whose end did not come."""
        if self.kind == "function_call" or self.done or not self.has_begun:
            return []
        return [tool_call_chunk(args=_FREE_TEXT_END, index=self.block().index)]


_CLASSES: dict[str, type[Item]] = {
    "message": MessageItem,
    "reasoning": ReasoningItem,
    **dict.fromkeys(CALL_TEXT, CallItem),
}


def item_of(whole: JSON, output: Output) -> Item:
    """Return a new item with the fields that the provider has sent so far: at least its `type`."""
    return _CLASSES.get(whole["type"], ToolItem)(whole, output)
