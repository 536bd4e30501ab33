"""Continues answers that the provider suspends: makes the next request, and joins the parts. No I/O here.

A long turn may arrive in parts: Anthropic pauses a turn that runs Anthropic's own tools (`pause_turn`), Gemini one that
has reached a limit of the service (`CONTINUATION`). `transport.call` sends a request for each further part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from modelwire.adapters.model.arguments import json_bytes
from modelwire.adapters.model.results import chunk_from_message
from modelwire.aliases import JSON, Fields
from modelwire.errors import IncompleteAnswer
from modelwire.messages import AIMessage, AIMessageChunk, merge_chunks, message_chunk_to_message
from modelwire.messages.block_translators.standard import as_blocks
from modelwire.messages.finish_reasons import SUSPENDED_REASONS, finish_reason_of
from modelwire.messages.usage import add_usage

if TYPE_CHECKING:
    from modelwire.transport.wire import WireRequest

# The `response_metadata` has the number of requests that continued the answer under this key.
_CONTINUED = "continued"
# Metadata of a suspended part that the whole answer must not have.
_OF_PART = ("continuation_token",)


class Continuation:
    """The continuation of one call's answer.

    `next_body(body, answer)` is the codec's `continued`; `limit` bounds the further requests.
    """

    __slots__ = ("_next_body", "_provider", "_request", "count", "limit")

    def __init__(
        self,
        request: WireRequest,
        next_body: Callable[[Fields, AIMessage], JSON | None],
        limit: int,
        provider: str,
    ) -> None:
        self._request = request
        self._next_body = next_body
        self._provider = provider
        self.limit = limit
        self.count = 0  # The number of further requests so far.

    def is_suspended(self, part: AIMessage) -> bool:
        """Return whether the provider expects another request after this part."""
        ended = (
            part.response_metadata
        )  # Every answer is checked, so `finish_reason_of` is not called.
        return (ended.get("stop_reason") or ended.get("finish_reason")) in SUSPENDED_REASONS

    def next_content(self, answer: AIMessage) -> bytes:
        """Return the body of the request that continues `answer`. Raises `IncompleteAnswer` at the limit."""
        body = None
        problem = "without what another request needs to continue it"
        if self.count < self.limit:
            body = self._next_body(self._request.body, answer)
        else:
            problem = f"again after {self.count} continuations: raise `max_continuations`"
        if body is None:
            raise IncompleteAnswer(
                f"`{self._provider}` suspended the answer ({finish_reason_of(answer)}) {problem}. "
                "The part is in `.partial`.",
                provider=self._provider,
                model=self._request.model,
                partial=chunk_from_message(answer),
            )
        self.count += 1
        return json_bytes(body)

    def joined(self, answer: AIMessage, part: AIMessage) -> AIMessage:
        """Return the answer so far and its next part as one message; the usage is the sum."""
        first = answer.content
        second = part.content
        content: Any
        if isinstance(first, str) and isinstance(second, str):
            content = first + second
        else:
            content = [*as_blocks(first), *as_blocks(second)]
        usage = None
        if answer.usage_metadata is not None or part.usage_metadata is not None:
            usage = add_usage(answer.usage_metadata, part.usage_metadata)
        return AIMessage.from_wire(
            content,
            id=answer.id,
            tool_calls=[*answer.tool_calls, *part.tool_calls],
            invalid_tool_calls=[*answer.invalid_tool_calls, *part.invalid_tool_calls],
            usage_metadata=usage,
            response_metadata=self._metadata(answer.response_metadata, part.response_metadata),
            additional_kwargs={**answer.additional_kwargs, **part.additional_kwargs},
        )

    def message(self, chunk: AIMessageChunk) -> AIMessage:
        """Return the message for the sum of the chunks of a part."""
        return cast("AIMessage", message_chunk_to_message(chunk))

    def opened(self, end: AIMessageChunk) -> AIMessageChunk:
        """Return the last chunk of a suspended part without its end mark, because the stream continues."""
        provider = end.response_metadata.get("model_provider")
        return AIMessageChunk.from_wire(
            end.content,
            id=end.id,
            tool_call_chunks=end.tool_call_chunks,
            usage_metadata=end.usage_metadata,
            response_metadata={} if provider is None else {"model_provider": provider},
            additional_kwargs=end.additional_kwargs,
        )

    def next_part(self, before: AIMessageChunk) -> NextPart:
        """Return the function that changes the chunks of the next part so that they can be added to `before`."""
        return NextPart(before, self._metadata)

    def added(self, before: AIMessageChunk, part: AIMessageChunk) -> AIMessageChunk:
        """Return the sum of `before` and the next part, with the finish reason of that part."""
        start = self.opened(before)
        return merge_chunks([start, *self.next_part(before)([part])])

    def _metadata(self, first: Fields, last: Fields) -> JSON:
        metadata = {name: value for name, value in first.items() if name not in _OF_PART}
        metadata |= last
        if "id" in first:  # The answer keeps the id that it began with.
            metadata["id"] = first["id"]
        return {**metadata, _CONTINUED: self.count}


class NextPart:
    """Changes the chunks of a part so that they continue the answer: they get its id, and higher block indices."""

    def __init__(
        self,
        before: AIMessageChunk,
        metadata: Callable[[Fields, Fields], JSON],
    ) -> None:
        self._before = before
        self._metadata = metadata
        self._is_list = isinstance(before.content, list)
        self._offset = _next_index(before)
        self._has_said_text = False  # True if a chunk of this part had text as a string.

    def __call__(self, chunks: Sequence[AIMessageChunk]) -> list[AIMessageChunk]:
        return [self._continued(chunk) for chunk in chunks]

    def _continued(self, chunk: AIMessageChunk) -> AIMessageChunk:
        content = self._content(chunk.content)
        calls = [_moved(call, self._offset) for call in chunk.tool_call_chunks]
        metadata = chunk.response_metadata
        if chunk.chunk_position == "last" or finish_reason_of(chunk) is not None:
            metadata = self._metadata(self._before.response_metadata, metadata)
        elif "model_provider" in metadata:
            metadata = {"model_provider": metadata["model_provider"]}
        return AIMessageChunk.from_wire(
            content,
            id=self._before.id,
            tool_call_chunks=calls,
            usage_metadata=chunk.usage_metadata,
            response_metadata=metadata,
            additional_kwargs=chunk.additional_kwargs,
            chunk_position=chunk.chunk_position,
        )

    def _content(self, content: Any) -> Any:
        if isinstance(content, str):
            if not self._is_list:
                self._has_said_text = self._has_said_text or bool(content)
                return content
            block = {"type": "text", "text": content, "index": self._offset}
            return [block] if content else []
        if not content:
            return [] if self._is_list else ""
        head: list[JSON] = []
        if not self._is_list:
            self._is_list = True
            if self._has_said_text:  # The sum puts all text so far into the decoder's first block.
                self._offset = 0
            elif self._before.content:
                head = [{"type": "text", "text": "", "index": 0}]
        return [*head, *(_moved(block, self._offset) for block in content)]


def _next_index(chunk: AIMessageChunk) -> int:
    """Return the index for the next block after those of a chunk."""
    if isinstance(chunk.content, str):
        return 1 if chunk.content else 0
    places = [*chunk.content, *chunk.tool_call_chunks]
    used = [place.get("index") for place in places if isinstance(place, dict)]
    numbers = [index for index in used if type(index) is int]
    return max([*numbers, len(chunk.content) - 1]) + 1


def _moved(block: Any, offset: int) -> Any:
    """Return a block, or a chunk of a tool call, with `offset` added to its index."""
    if not isinstance(block, dict) or type(block.get("index")) is not int:
        return block
    return {**block, "index": block["index"] + offset}
