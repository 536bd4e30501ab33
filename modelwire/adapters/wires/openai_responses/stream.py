"""The events of a streamed answer of the Responses API as chunks. No I/O here.

A piece of text, reasoning or arguments is a chunk at once; what an item has besides leaves when the item is done, what
the answer has besides in the last chunk. Every block has a number as `index`, by which its pieces add up. Encrypted
content waits for the whole answer at the end: it differs from the one an item first came with, and that one holds
(seen from OpenAI, 2026-11). Events nobody knows are passed over, as are those that repeat others.
Wire format: https://platform.openai.com/docs/api-reference/responses-streaming, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from pydantic_core import from_json, to_json

from modelwire.adapters.wires.empty_answers import check_empty
from modelwire.adapters.wires.json import (
    dict_or_empty,
    is_keep_alive,
    malformed,
    read_json,
    text_or_none,
)
from modelwire.adapters.wires.openai_responses.response import (
    CALL_TEXT,
    JSON,
    block_of_part,
    dicts_in,
    end_of,
    failure,
    items_in,
    named_in,
    parts_in,
    response_metadata,
    usage_metadata,
    with_call_id,
)
from modelwire.errors import IncompleteStream
from modelwire.messages import AIMessageChunk
from modelwire.messages.tool_calls import ToolCallChunk, tool_call_chunk
from modelwire.transport.wire import ServerEvent

__all__ = ["ResponsesDecoder"]

DONE = b"[DONE]"  # some services append it (OpenRouter, 2026-11); it says nothing here

_chunk = AIMessageChunk.from_wire


def _number(payload: JSON, name: str) -> int | None:
    value = payload.get(name)
    return value if isinstance(value, int) else None


class _Piece:
    """A block under way: its number, and how many characters of which of its texts have left."""

    __slots__ = ("annotations", "index", "sent")

    def __init__(self, index: int) -> None:
        self.index = index
        self.sent: dict[Any, int] = {}
        self.annotations: list[Any] = []

    def rest_of(self, key: Any, text: Any) -> str:
        """Return what of `text` has not left yet, and note that it does now."""
        if isinstance(text, dict):  # arguments that are no text (as in whole answers)
            text = to_json(text).decode()
        whole: str = text if isinstance(text, str) else ""
        rest = whole[self.sent.get(key, 0) :]
        self.sent[key] = self.sent.get(key, 0) + len(rest)
        return rest


class _Item:
    """An item of the answer under way. One that is no message is one block."""

    __slots__ = ("done", "encrypted", "id", "kind", "named", "parts", "piece")

    def __init__(self, kind: str, item: JSON) -> None:
        self.kind = kind
        self.id = item.get("id")
        self.named = named_in(item)  # until a chunk has named it
        self.parts: dict[Any, _Piece] = {}  # of a message, by number
        self.piece: _Piece | None = None
        self.encrypted: Any = None
        self.done = False


class ResponsesDecoder:
    """Decodes one stream."""

    def __init__(self, provider: str, request_id: str | None = None) -> None:
        self._provider = provider
        self.request_id = request_id
        self.refused = False  # a part of a message is a refusal
        self._response: JSON = {}  # as the latest event has it
        self._id: str | None = None
        self._ended = False  # nothing is missing if the stream ends now
        self._final = False  # nothing more is to come
        self._items: list[_Item] = []  # in order of appearance
        self._current: dict[
            Any, _Item
        ] = {}  # by the wire's number; some services give several the same
        self._usual: dict[
            tuple[Any, Any], _Piece
        ] = {}  # the text under way, by numbers of item and part
        self._numbers = 0  # of blocks so far
        self._logprobs: list[Any] = []

    def feed(self, event: ServerEvent) -> list[AIMessageChunk]:
        """Return the chunks this event makes, if any."""
        name, data = event
        try:
            payload = from_json(data)
        except ValueError:
            if self._final or data.strip() == DONE or is_keep_alive(name, data):
                return []
            payload = self._odd_json(name, data)
        if self._final:
            return []
        # The usual event, tested for everything that would make it unusual.
        try:
            if payload["type"] == "response.output_text.delta" and not payload.get("logprobs"):
                piece, text = (
                    self._usual[payload["output_index"], payload["content_index"]],
                    payload["delta"],
                )
                if type(text) is str:
                    piece.sent["text"] += len(text)
                    return [
                        _chunk(
                            [{"type": "text", "text": text, "index": piece.index}],
                            id=self._id,
                            response_metadata={"model_provider": self._provider},
                        )
                    ]
        except (KeyError, TypeError, AttributeError):
            pass
        return self._read(name, payload)

    def _odd_json(self, name: str, data: bytes) -> Any:
        if name == "error":  # its data may be plain words
            return {"type": "error", "message": data.decode("utf-8", "replace")}
        return read_json(data, provider=self._provider, status=200, what="stream event")

    def _read(self, name: str, payload: Any) -> list[AIMessageChunk]:
        if not isinstance(payload, dict):
            raise malformed(
                f"A stream event of `{self._provider}` is not a JSON object.",
                payload,
                provider=self._provider,
                status=200,
            )
        kind = text_or_none(payload.get("type")) or name
        if (
            kind == "error"
            or name == "error"
            or (payload.get("error") and not kind.startswith("response."))
        ):
            raise failure(
                {**payload, "model": self._response.get("model")}, provider=self._provider
            )
        read = self._READERS.get(kind)
        if read is None or self._is_late(payload):
            return []
        if kind.endswith(".delta") and not (
            isinstance(delta := payload.get("delta"), str) and delta
        ):
            return []
        return read(self, payload)

    def _is_late(self, payload: JSON) -> bool:
        """Return whether an event repeats the end of its item, or comes after it."""
        item = self._current.get(_number(payload, "output_index"))
        id_ = payload.get("item_id") or dict_or_empty(payload.get("item")).get("id")
        return item is not None and item.done and bool(id_) and item.id == id_

    def _begun(self, payload: JSON) -> list[AIMessageChunk]:
        self._take(payload)
        self._ended = (
            payload.get("type") == "response.queued"
        )  # a background answer is fetched later
        return []

    def _take(self, payload: JSON) -> None:
        self._response = {**self._response, **dict_or_empty(payload.get("response"))}
        self._id = self._id or text_or_none(self._response.get("id"))

    def _over(self, payload: JSON) -> list[AIMessageChunk]:
        """Finish what no event has finished; the whole answer's encrypted content is the one to keep."""
        self._take(payload)
        chunks: list[AIMessageChunk] = []
        for position, whole in enumerate(items_in(self._response)):
            if position >= len(self._items):
                self._begin(position, whole)
            item = self._items[position]
            if item.kind == whole["type"]:
                chunks += self._finish(item, whole)
                item.encrypted = whole.get("encrypted_content") or item.encrypted
        self._ended = self._final = True
        return chunks

    def _failed(self, payload: JSON) -> list[AIMessageChunk]:
        self._take(payload)
        raise failure(self._response, provider=self._provider)

    def close(self) -> list[AIMessageChunk]:
        """Return the last chunk: no text, but all that comes once."""
        if not self._ended:
            raise IncompleteStream(
                f"The stream of `{self._provider}` ended without `response.completed`: part of the answer is missing.",
                provider=self._provider,
                model=self._response.get("model"),
            )
        if not self._items:
            reason = end_of(self._response)
            check_empty("responses", reason, provider=self._provider, request_id=self.request_id)
        calls = [item for item in self._items if item.kind in CALL_TEXT]
        unended = [
            item.piece.index
            for item in calls
            if item.kind == "custom_tool_call" and item.piece and not item.done
        ]
        return [
            _chunk(
                [self._encrypted(item) for item in self._items if item.encrypted],
                id=self._id,
                tool_call_chunks=[tool_call_chunk(args='"}', index=index) for index in unended],
                usage_metadata=usage_metadata(self._response),
                response_metadata=response_metadata(
                    self._response,
                    provider=self._provider,
                    request_id=self.request_id,
                    logprobs=self._logprobs,
                    has_calls=bool(calls),
                ),
                chunk_position="last",
            )
        ]

    def _encrypted(self, item: _Item) -> JSON:
        block = {
            "type": item.kind,
            "encrypted_content": item.encrypted,
            "index": self._block(item).index,
        }
        if item.kind == "reasoning":
            return {**block, "summary": []}
        return block

    def _added(self, payload: JSON) -> list[AIMessageChunk]:
        whole = dict_or_empty(payload.get("item"))
        if not text_or_none(whole.get("type")):
            return []
        item = self._begin(_number(payload, "output_index"), whole)
        if item.kind == "reasoning":
            self._block(item).sent = {"summary": 0}
            return self._chunk_of(item, summary=[])
        if item.kind in CALL_TEXT:
            return self._call_head(item, whole)
        return []

    def _begin(self, number: Any, whole: JSON) -> _Item:
        self._ended = False
        item = self._current[number] = _Item(whole["type"], whole)
        self._items.append(item)
        self._usual.clear()
        return item

    def _item(self, payload: JSON, whole: JSON) -> _Item:
        """Return the item an event is about, begun with what there is of it where it has not come."""
        number = _number(payload, "output_index")
        item = self._current.get(number)
        if item is None or item.done or item.kind != whole["type"]:
            item = self._begin(number, whole)
        return item

    def _item_of(self, payload: JSON, kind: str) -> _Item:
        return self._item(payload, {"type": kind, "id": payload.get("item_id")})

    def _block(self, item: _Item) -> _Piece:
        if item.piece is None:
            item.piece = self._next_piece()
        return item.piece

    def _next_piece(self) -> _Piece:
        self._numbers += 1
        return _Piece(self._numbers - 1)

    def _chunk_of(
        self, item: _Item, calls: tuple[ToolCallChunk, ...] = (), /, **block: Any
    ) -> list[AIMessageChunk]:
        """Make a chunk of a piece of the only block of an item."""
        content = {"type": item.kind, **item.named, **block, "index": self._block(item).index}
        item.named = {}
        return [self._made([content], calls)]

    def _made(self, content: list[Any], calls: tuple[ToolCallChunk, ...] = ()) -> AIMessageChunk:
        metadata = {
            "model_provider": self._provider
        }  # whose words the blocks are in, for who reads single chunks
        return _chunk(content, id=self._id, tool_call_chunks=calls, response_metadata=metadata)

    def _item_done(self, payload: JSON) -> list[AIMessageChunk]:
        whole = dict_or_empty(payload.get("item"))
        if text_or_none(whole.get("type")):
            return self._finish(self._item(payload, whole), whole)
        return []

    def _finish(self, item: _Item, whole: JSON) -> list[AIMessageChunk]:
        """Return what has not yet been emitted of an item."""
        if item.done:
            return []
        if item.piece is None and not item.parts:  # nothing of it was emitted: its id has not come
            item.named = named_in(whole)
        item.encrypted = whole.get("encrypted_content") or item.encrypted
        item.done = True
        if item.kind == "message":
            self._usual.clear()
            return self._message_rest(item, whole)
        if item.kind in CALL_TEXT:
            return self._call_rest(item, whole)
        return self._tool_rest(item, whole)

    def _tool_rest(self, item: _Item, whole: JSON) -> list[AIMessageChunk]:
        piece, block = self._block(item), self._fields_left(item, whole)
        for key in ("summary", "content") if item.kind == "reasoning" else ():
            if key in whole and whole[key] is not None:
                parts = self._reasoning_rest(piece, key, whole[key])
                if parts or key not in piece.sent:
                    block[key] = parts
        if "code" in piece.sent and (rest := piece.rest_of("code", whole.get("code"))):
            block["code"] = rest
        if block or item.named:
            return self._chunk_of(item, **block)
        return []

    def _fields_left(self, item: _Item, whole: JSON) -> JSON:
        held = (
            "type",
            "id",
            "encrypted_content",
            *(("summary", "content") if item.kind == "reasoning" else ()),
        )
        sent = self._block(item).sent
        return {
            key: value
            for key, value in whole.items()
            if value is not None and key not in held and key not in sent
        }

    def _part(self, item: _Item, number: Any) -> _Piece:
        piece = item.parts.get(number)
        if piece is None:
            piece = item.parts[number] = self._next_piece()
        return piece

    def _words(self, payload: JSON, kind: str) -> list[AIMessageChunk]:
        text: str = payload["delta"]
        item, number = self._item_of(payload, "message"), _number(payload, "content_index")
        piece = self._part(item, number)
        named = {} if piece.sent else item.named
        piece.sent[kind] = piece.sent.get(kind, 0) + len(text)
        self.refused = self.refused or kind == "refusal"
        if kind == "text":
            self._logprobs += dicts_in(payload.get("logprobs"))
            self._usual[_number(payload, "output_index"), number] = piece
        return [self._made([{"type": kind, kind: text, **named, "index": piece.index}])]

    def _annotation(self, payload: JSON) -> list[AIMessageChunk]:
        item = self._item_of(payload, "message")
        self._part(item, _number(payload, "content_index")).annotations.append(
            payload.get("annotation")
        )
        return []

    def _message_rest(self, item: _Item, whole: JSON) -> list[AIMessageChunk]:
        """Return what is left of every part: usually citations, which a sum must not take for pieces of each other."""
        named = named_in(whole)
        blocks: list[Any] = []
        numbers = list(
            item.parts
        )  # in order of appearance: vLLM's begin with 1 behind reasoning (2026-08)
        for place, part in enumerate(parts_in(whole)):
            piece = self._part(item, numbers[place] if place < len(numbers) else ("rest", place))
            block = block_of_part(part)
            key = "refusal" if block.get("type") == "refusal" else "text"
            self.refused = self.refused or key == "refusal"
            if not piece.sent.get(key):
                self._logprobs += dicts_in(part.get("logprobs"))
            missing = {
                name: value
                for name, value in named.items()
                if not piece.sent or name not in item.named
            }
            if key in block:
                block[key] = piece.rest_of(key, block[key])
            if "annotations" in block:
                block["annotations"] = block["annotations"] or dicts_in(piece.annotations)
            blocks.append({**block, **missing, "index": piece.index})
        return [self._made(blocks)] if blocks else []

    def _thought(self, payload: JSON, key: str, number: str, kind: str) -> list[AIMessageChunk]:
        text: str = payload["delta"]
        item, at = self._item_of(payload, "reasoning"), _number(payload, number)
        piece = self._block(item)
        piece.sent[key] = 0
        piece.sent[key, at] = piece.sent.get((key, at), 0) + len(text)
        return self._chunk_of(item, **{key: [{"type": kind, "text": text, "index": at}]})

    def _reasoning_rest(self, piece: _Piece, key: str, parts: Any) -> list[JSON]:
        rest = []
        numbers = [sent[1] for sent in piece.sent if isinstance(sent, tuple) and sent[0] == key]
        for place, part in enumerate(dicts_in(parts)):
            at = numbers[place] if place < len(numbers) else place
            is_new = (key, at) not in piece.sent
            text = piece.rest_of((key, at), part.get("text"))
            if text or is_new:
                rest.append(
                    {**part, "text": text, "index": at} if is_new else {"text": text, "index": at}
                )
        return rest

    def _call_head(self, item: _Item, whole: JSON) -> list[AIMessageChunk]:
        piece, key = self._block(item), CALL_TEXT[item.kind]
        whole = with_call_id(whole, self._response, self._items.index(item))
        name, id_ = text_or_none(whole.get("name")) or "", whole["call_id"]
        call = tool_call_chunk(name=name, args=self._args(item, ""), id=id_, index=piece.index)
        piece.sent.update({"name": 0, "call_id": 0, key: 0})
        text = piece.rest_of(key, whole.get(key))
        chunks = self._chunk_of(item, (call,), name=name, call_id=id_, **{key: ""})
        if text:
            return chunks + self._call_piece(item, text)
        return chunks

    def _call_rest(self, item: _Item, whole: JSON) -> list[AIMessageChunk]:
        chunks = self._call_head(item, whole) if item.piece is None else []
        key = CALL_TEXT[item.kind]
        if text := self._block(item).rest_of(key, whole.get(key)):
            chunks += self._call_piece(item, text)
        ending, block = (
            '"}' if item.kind == "custom_tool_call" else "",
            self._fields_left(item, whole),
        )
        if ending or block:
            call = tool_call_chunk(args=ending, index=self._block(item).index)
            chunks += self._chunk_of(item, (call,), **block)
        return chunks

    def _call_piece(self, item: _Item, text: str) -> list[AIMessageChunk]:
        piece = self._block(item)
        call = tool_call_chunk(args=self._args(item, text), index=piece.index)
        return self._chunk_of(item, (call,), **{CALL_TEXT[item.kind]: text})

    def _args(self, item: _Item, text: str) -> str:
        """Return a piece of arguments; free text becomes the JSON object that stands for it, piece by piece."""
        if item.kind == "function_call":
            return text
        head = '{"__arg1":"' if "input" not in self._block(item).sent else ""
        return head + to_json(text).decode()[1:-1]

    def _argument(self, payload: JSON, kind: str) -> list[AIMessageChunk]:
        item = self._item_of(payload, kind)
        if item.piece is None:  # a call without a beginning: its name and id come with the end
            return []
        item.piece.sent[CALL_TEXT[kind]] += len(payload["delta"])
        return self._call_piece(item, payload["delta"])

    def _code(self, payload: JSON) -> list[AIMessageChunk]:
        item = self._item_of(payload, "code_interpreter_call")
        sent = self._block(item).sent
        sent["code"] = sent.get("code", 0) + len(payload["delta"])
        return self._chunk_of(item, code=payload["delta"])

    def _image(self, payload: JSON) -> list[AIMessageChunk]:
        """Hand out an image on its way; `partial_images` are never sent back."""
        item = self._item_of(payload, "image_generation_call")
        shown = (
            "partial_image_index",
            "partial_image_b64",
            "output_format",
            "size",
            "quality",
            "background",
        )
        image = {key: payload[key] for key in shown if payload.get(key) is not None}
        return self._chunk_of(item, partial_images=[image])

    def _audio(self, payload: JSON, key: str) -> list[AIMessageChunk]:
        return [_chunk("", id=self._id, additional_kwargs={"audio": {key: payload["delta"]}})]

    _READERS: ClassVar[dict[str, Callable[[Any, JSON], list[AIMessageChunk]]]] = {
        "response.created": _begun,
        "response.queued": _begun,
        "response.in_progress": _begun,
        "response.completed": _over,
        "response.incomplete": _over,
        "response.cancelled": _begun,  # it ends the stream, and part of the answer is missing
        "response.failed": _failed,
        "response.output_item.added": _added,
        "response.output_item.done": _item_done,
        "response.output_text.delta": lambda self, payload: self._words(payload, "text"),
        "response.refusal.delta": lambda self, payload: self._words(payload, "refusal"),
        "response.output_text.annotation.added": _annotation,
        "response.reasoning_summary_text.delta": lambda self, payload: self._thought(
            payload, "summary", "summary_index", "summary_text"
        ),
        "response.reasoning_text.delta": lambda self, payload: self._thought(
            payload, "content", "content_index", "reasoning_text"
        ),
        "response.function_call_arguments.delta": lambda self, payload: self._argument(
            payload, "function_call"
        ),
        "response.custom_tool_call_input.delta": lambda self, payload: self._argument(
            payload, "custom_tool_call"
        ),
        "response.code_interpreter_call_code.delta": _code,
        "response.image_generation_call.partial_image": _image,
        "response.audio.delta": lambda self, payload: self._audio(payload, "data"),
        "response.audio.transcript.delta": lambda self, payload: self._audio(payload, "transcript"),
    }
