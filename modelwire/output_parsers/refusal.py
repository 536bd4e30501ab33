"""Detect refusals: a parser must not read data out of one."""

from __future__ import annotations

from typing import Any

from modelwire.errors import ModelRefusalError
from modelwire.messages import AIMessage, AIMessageChunk
from modelwire.messages.finish_reasons import FILTERED_REASONS, finish_reason_of

__all__ = ["check_refusal"]


def check_refusal(message: object, *, partial: bool = False) -> None:
    """Raise `ModelRefusalError` if the message is a refusal; with `partial`, once all of it has arrived."""
    if not isinstance(message, AIMessage):
        return
    ended = finish_reason_of(message)
    if (
        partial
        and not ended
        and isinstance(message, AIMessageChunk)
        and message.chunk_position != "last"
    ):
        return
    block = _refusal(message, ended)
    if block is not None:
        raise ModelRefusalError.from_refusal(block, raw_message=message)


def _refusal(message: AIMessage, ended: Any) -> dict[str, Any] | None:
    if isinstance(message.content, list):
        for block in message.content:
            if isinstance(block, dict) and block.get("type") == "refusal":
                return block
    refusal = message.additional_kwargs.get("refusal")  # OpenAI's key
    if isinstance(refusal, str) and refusal:
        return {"type": "refusal", "refusal": refusal}
    if ended == "refusal":  # Anthropic's stop reason; its `stop_details` say why
        from modelwire.messages.block_translators.standard import refusal_block

        return refusal_block(message.response_metadata.get("stop_details"))
    if ended in ("guardrail_intervened", "content_filtered"):  # Bedrock's
        return next(
            (dict(block) for block in message.content_blocks if block["type"] == "refusal"), None
        )
    if ended in FILTERED_REASONS:
        words = message.response_metadata.get("finish_message")
        return {"type": "refusal", "refusal": words or message.text, "extras": {"category": ended}}
    return None
