"""Detect refusals: a parser must not read data out of one."""

from __future__ import annotations

from modelwire.errors import ModelRefusalError
from modelwire.messages import AIMessage, AIMessageChunk
from modelwire.messages.finish_reasons import FILTERED_REASONS, finish_reason_of
from modelwire.messages.refusals import refusal_in


def check_refusal(message: object, *, partial: bool = False) -> None:
    """Raise `ModelRefusalError` if the message is a refusal; with `partial`, once all of it has arrived."""
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
            block = {**block, "refusal": str(message.text)}  # the error shows what came
        raise ModelRefusalError.from_refusal(block, raw_message=message)
