"""Detects refusals of a model, because a parser must not read data from a refusal."""

from __future__ import annotations

from modelwire.errors import ModelRefusalError
from modelwire.messages import AIMessage, AIMessageChunk
from modelwire.messages.finish_reasons import FILTERED_REASONS, finish_reason_of
from modelwire.messages.refusals import refusal_in


def check_refusal(message: object, *, partial: bool = False) -> None:
    """Raise `ModelRefusalError` if the message is a refusal; with `partial`, only once all of it has arrived."""
    if not isinstance(message, AIMessage):
        return
    if (
        partial
        and not finish_reason_of(message)
        and isinstance(message, AIMessageChunk)
        and message.chunk_position != "last"
    ):
        return
    block = refusal_in(message)
    if block is not None:
        ended = finish_reason_of(message)
        if not block.get("refusal") and ended != "refusal" and ended in FILTERED_REASONS:
            block = {
                **block,
                "refusal": str(message.text),
            }  # The error shows the text of the answer.
        raise ModelRefusalError.from_refusal(block, raw_message=message)
