"""Answers with standard blocks as content: `output_version="v1"`. Pure.

`as_v1` converts a whole answer, a `V1Stream` the chunks of one stream, so that their sum equals the
converted answer.
"""

from __future__ import annotations

from typing import Any, TypeVar

from modelwire.aliases import Kwargs
from modelwire.messages.ai import AIMessage, AIMessageChunk

_Answer = TypeVar("_Answer", bound=AIMessage)

_V1 = {"output_version": "v1"}
# The blocks contain these; a copy here would be sent a second time.
_MOVED_TO_BLOCKS = ("reasoning_content", "refusal")
# Blocks of these types are streamed in pieces: adjacent pieces of one type without an index are one
# block. A piece of any other type is a whole block.
_PIECEWISE = ("text", "reasoning", "refusal")


def as_v1(message: _Answer) -> _Answer:
    """Return a copy of the answer with standard blocks as content; an answer that has them is returned itself."""
    if message.response_metadata.get("output_version") == "v1":
        return message
    return _with_blocks(message, list(message.content_blocks))


def _with_blocks(message: _Answer, blocks: list[Any]) -> _Answer:
    update: Kwargs = {
        "content": blocks,
        "response_metadata": {**message.response_metadata, **_V1},
    }
    extra = {
        key: value
        for key, value in message.additional_kwargs.items()
        if key not in _MOVED_TO_BLOCKS
    }
    if len(extra) != len(message.additional_kwargs):
        update["additional_kwargs"] = extra
    return message.model_copy(update=update)


class V1Stream:
    """Turns the chunks of one stream, in order, into chunks of standard blocks.

    Every block gets a number as `index`, by which its pieces are added. A text and a tool call
    never share a number, whatever numbers the wire has.
    """

    def __init__(self) -> None:
        # This maps the place of a block in the stream to the block's number.
        self._numbers: dict[Any, int] = {}
        self._count = 0
        # The type of the latest block.
        self._kind: str | None = None
        # The number of runs of blocks of one type.
        self._run = 0

    def convert(self, chunk: AIMessageChunk) -> AIMessageChunk:
        """Return the chunk with its content in standard blocks; the chunk is not changed."""
        if chunk.response_metadata.get("output_version") == "v1":
            return chunk
        part = chunk
        if chunk.chunk_position is not None:  # `content_blocks` of a last chunk has whole calls.
            part = chunk.model_copy(update={"chunk_position": None})
        return _with_blocks(
            chunk, [{**block, "index": self._number(block)} for block in part.content_blocks]
        )

    def _number(self, block: Any) -> int:
        kind = block["type"]
        index = block.get("index")
        if kind != self._kind:
            self._kind, self._run = kind, self._run + 1
        run = ("run", self._run)
        if index is not None:
            place: Any = ("index", kind, index)
            if place not in self._numbers and run in self._numbers:
                # The earlier pieces of this block were plain text without an index, as in streams
                # from Anthropic.
                self._numbers[place] = self._numbers.pop(run)
        else:
            place = run if kind in _PIECEWISE else ("alone", self._count)
        if place not in self._numbers:
            self._numbers[place] = self._count
            self._count += 1
        return self._numbers[place]
