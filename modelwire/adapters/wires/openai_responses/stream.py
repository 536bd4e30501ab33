"""Decodes the events of a streamed answer of the Responses API into chunks. No I/O here.

A piece of text, reasoning or arguments becomes a chunk at once. The other fields of an item are sent when the item is
done, those of the answer in the last chunk. Every block has a number as `index`, by which its pieces add up. Encrypted
content is sent at the end: the final answer may have another one than the item had before, and only the final one is
valid (seen from OpenAI, 2026-11). Unknown events are ignored, and so are events that repeat others.
Wire format: https://platform.openai.com/docs/api-reference/responses-streaming, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from pydantic_core import from_json

from modelwire.adapters.wires.empty_answers import check_empty
from modelwire.adapters.wires.json import (
    dict_or_empty,
    is_keep_alive,
    malformed,
    read_json,
    text_or_none,
)
from modelwire.adapters.wires.openai_responses.response import (
    end_of,
    failure,
    items_in,
    response_metadata,
    usage_metadata,
    with_call_id,
)
from modelwire.adapters.wires.openai_responses.stream_items import (
    CallItem,
    Chunks,
    Item,
    MessageItem,
    Output,
    Piece,
    ReasoningItem,
    ToolItem,
    item_of,
    new_chunk,
)
from modelwire.aliases import JSON
from modelwire.errors import IncompleteStream
from modelwire.transport.wire import ServerEvent

_DONE = b"[DONE]"  # Some services end a stream with this (OpenRouter, 2026-11). It is ignored.


def _number(payload: JSON, name: str) -> int | None:
    """Return the integer under a key of an event, or None."""
    value = payload.get(name)
    return value if isinstance(value, int) else None


class ResponsesDecoder:
    """Decodes one streamed answer of the Responses API; see `StreamDecoder`."""

    def __init__(self, provider: str, request_id: str | None = None) -> None:
        self.request_id = request_id
        self._provider = provider
        self._output = Output(provider)
        self._response: JSON = {}  # the fields of the answer that events have sent so far
        self._ended = False  # True if the answer is complete should the stream end now.
        self._final = False  # True once the final event was received.
        self._items: list[Item] = []  # in order of appearance
        # The latest item with each number of the wire. Some services give several items the same number.
        self._current: dict[Any, Item] = {}
        # The unfinished texts, by the numbers of their item and part.
        self._usual: dict[tuple[Any, Any], Piece] = {}

    @property
    def refused(self) -> bool:
        """Whether a part of a message is a refusal. The code that resumes a stream reads this."""
        return self._output.refused

    def feed(self, event: ServerEvent) -> Chunks:
        """Return the chunks that this event completes, in a list that may be empty."""
        name, data = event
        try:
            payload = from_json(data)
        except ValueError:
            if self._final or data.strip() == _DONE or is_keep_alive(name, data):
                return []
            payload = self._odd_json(name, data)
        if self._final:
            return []
        # Nearly all events are a piece of text. They are recognised here, and all others go to `_read`.
        try:
            if payload["type"] == "response.output_text.delta" and not payload.get("logprobs"):
                piece = self._usual[payload["output_index"], payload["content_index"]]
                text = payload["delta"]
                if type(text) is str:
                    piece.sent["text"] += len(text)
                    return [
                        new_chunk(
                            [{"type": "text", "text": text, "index": piece.index}],
                            id=self._output.id,
                            response_metadata={"model_provider": self._provider},
                        )
                    ]
        except (KeyError, TypeError, AttributeError):
            pass
        return self._read(name, payload)

    def _odd_json(self, name: str, data: bytes) -> Any:
        if name == "error":  # The data of an error event may be plain text.
            return {"type": "error", "message": data.decode("utf-8", "replace")}
        return read_json(data, provider=self._provider, status=200, what="stream event")

    def _read(self, name: str, payload: Any) -> Chunks:
        if not isinstance(payload, dict):
            raise malformed(
                f"A stream event of `{self._provider}` is not a JSON object.",
                payload,
                provider=self._provider,
                status=200,
            )
        kind = text_or_none(payload.get("type")) or name
        is_unnamed_error = payload.get("error") and not kind.startswith("response.")
        if "error" in (kind, name) or is_unnamed_error:
            raise failure(
                {**payload, "model": self._response.get("model")}, provider=self._provider
            )
        read = self._READERS.get(kind)
        if read is None or self._is_late(payload):
            return []
        if kind.endswith(".delta") and not text_or_none(payload.get("delta")):
            return []
        return read(self, payload)

    def _is_late(self, payload: JSON) -> bool:
        """Return whether the item of an event is done already."""
        item = self._current.get(_number(payload, "output_index"))
        if item is None or not item.done:
            return False
        id_ = payload.get("item_id") or dict_or_empty(payload.get("item")).get("id")
        return bool(id_) and item.id == id_

    def _begun(self, payload: JSON) -> Chunks:
        """Read an event about the answer that is not its end."""
        self._take(payload)
        # A queued background answer is fetched later, so its stream may end here.
        self._ended = payload.get("type") == "response.queued"
        return []

    def _take(self, payload: JSON) -> None:
        """Store the fields of the answer that an event has."""
        self._response = {**self._response, **dict_or_empty(payload.get("response"))}
        self._output.id = self._output.id or text_or_none(self._response.get("id"))

    def _over(self, payload: JSON) -> Chunks:
        """Return chunks with the rest of all items, read from the final answer, and store its encrypted content."""
        self._take(payload)
        chunks: Chunks = []
        for position, whole in enumerate(items_in(self._response)):
            if position >= len(self._items):
                self._begin(position, whole)
            item = self._items[position]
            if item.kind == whole["type"]:
                chunks += self._finish(item, whole)
                item.encrypted = whole.get("encrypted_content") or item.encrypted
        self._ended = self._final = True
        return chunks

    def _failed(self, payload: JSON) -> Chunks:
        self._take(payload)
        raise failure(self._response, provider=self._provider)

    def close(self) -> Chunks:
        """Return the last chunk, with everything that was collected, and no text. See `StreamDecoder.close`."""
        if not self._ended:
            raise IncompleteStream(
                f"The stream of `{self._provider}` ended without `response.completed`: part of the answer is missing.",
                provider=self._provider,
                model=self._response.get("model"),
            )
        if not self._items:
            reason = end_of(self._response)
            check_empty("responses", reason, provider=self._provider, request_id=self.request_id)
        metadata = response_metadata(
            self._response,
            provider=self._provider,
            request_id=self.request_id,
            logprobs=self._output.logprobs,
            has_calls=any(isinstance(item, CallItem) for item in self._items),
        )
        return [
            new_chunk(
                [item.encrypted_block() for item in self._items if item.encrypted],
                id=self._output.id,
                tool_call_chunks=[call for item in self._items for call in item.calls_at_end()],
                usage_metadata=usage_metadata(self._response),
                response_metadata=metadata,
                chunk_position="last",
            )
        ]

    def _added(self, payload: JSON) -> Chunks:
        whole = dict_or_empty(payload.get("item"))
        if not text_or_none(whole.get("type")):
            return []
        item = self._begin(_number(payload, "output_index"), whole)
        return item.begin(self._with_call_id(item, whole))

    def _begin(self, number: Any, whole: JSON) -> Item:
        """Create and store the item with this `output_index`."""
        self._ended = False
        item = self._current[number] = item_of(whole, self._output)
        self._items.append(item)
        self._usual.clear()
        return item

    def _item(self, payload: JSON, whole: JSON) -> Any:
        """Return the item that an event is about; a new one if no event has announced it."""
        number = _number(payload, "output_index")
        item = self._current.get(number)
        if item is None or item.done or item.kind != whole["type"]:
            item = self._begin(number, whole)
        return item

    def _item_of(self, payload: JSON, kind: str) -> Any:
        return self._item(payload, {"type": kind, "id": payload.get("item_id")})

    def _item_done(self, payload: JSON) -> Chunks:
        whole = dict_or_empty(payload.get("item"))
        if text_or_none(whole.get("type")):
            return self._finish(self._item(payload, whole), whole)
        return []

    def _finish(self, item: Item, whole: JSON) -> Chunks:
        if isinstance(item, MessageItem):
            self._usual.clear()
        return item.finish(self._with_call_id(item, whole))

    def _with_call_id(self, item: Item, whole: JSON) -> JSON:
        if isinstance(item, CallItem):
            return with_call_id(whole, self._response, self._items.index(item))
        return whole

    def _words(self, payload: JSON, kind: str) -> Chunks:
        item: MessageItem = self._item_of(payload, "message")
        number = _number(payload, "content_index")
        chunks = item.words(number, kind, payload)
        if kind == "text":
            self._usual[_number(payload, "output_index"), number] = item.part(number)
        return chunks

    def _annotation(self, payload: JSON) -> Chunks:
        item: MessageItem = self._item_of(payload, "message")
        part = item.part(_number(payload, "content_index"))
        part.annotations.append(payload.get("annotation"))
        return []

    def _thought(self, payload: JSON, field: str, number: str, kind: str) -> Chunks:
        item: ReasoningItem = self._item_of(payload, "reasoning")
        return item.text(field, _number(payload, number), kind, payload["delta"])

    def _argument(self, payload: JSON, kind: str) -> Chunks:
        item: CallItem = self._item_of(payload, kind)
        return item.more_arguments(payload["delta"])

    def _code(self, payload: JSON) -> Chunks:
        item: ToolItem = self._item_of(payload, "code_interpreter_call")
        return item.code(payload["delta"])

    def _image(self, payload: JSON) -> Chunks:
        item: ToolItem = self._item_of(payload, "image_generation_call")
        return item.image(payload)

    def _audio(self, payload: JSON, key: str) -> Chunks:
        audio = {key: payload["delta"]}
        return [new_chunk("", id=self._output.id, additional_kwargs={"audio": audio})]

    _READERS: ClassVar[dict[str, Callable[[Any, JSON], Chunks]]] = {
        "response.created": _begun,
        "response.queued": _begun,
        "response.in_progress": _begun,
        "response.completed": _over,
        "response.incomplete": _over,
        "response.cancelled": _begun,  # The stream ends, and a part of the answer is missing.
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
