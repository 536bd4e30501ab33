"""Finds refusals in answers: each provider reports those of its models and filters in another field. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from modelwire.aliases import JSON
from modelwire.messages.block_translators.standard import refusal_block
from modelwire.messages.finish_reasons import FILTERED_REASONS, finish_reason_of

if TYPE_CHECKING:
    from modelwire.messages.ai import AIMessage

# The stop reasons of Bedrock for a guardrail or filter that has acted. The answer is a refusal only if its
# `content_blocks` have a `refusal`: a guardrail may also have masked parts of it.
_OF_BEDROCK = ("guardrail_intervened", "content_filtered")


def refusal_in(message: AIMessage) -> JSON | None:
    """Return the `refusal` block of an answer that the model or a filter refused, None for any other answer.

    Its `refusal` is the text that the provider gives as the reason, or "". `extras["category"]` is the kind, if known.
    """
    if isinstance(message.content, list):
        for part in message.content:
            if isinstance(part, dict) and part.get("type") == "refusal":
                return part
    refusal = message.additional_kwargs.get("refusal")  # OpenAI's key
    if isinstance(refusal, str) and refusal:
        return {"type": "refusal", "refusal": refusal}
    about = message.response_metadata
    feedback = about.get("prompt_feedback")  # Gemini's, on the prompt
    if isinstance(feedback, Mapping) and (kind := feedback.get("blockReason")):
        words = feedback.get("blockReasonMessage") or ""
        return {"type": "refusal", "refusal": words, "extras": {"category": kind}}
    ended = finish_reason_of(message)
    if ended == "refusal":  # Anthropic's stop reason; its `stop_details` have the explanation
        return refusal_block(about.get("stop_details"))
    if ended in _OF_BEDROCK:
        blocks = (dict(block) for block in message.content_blocks if block["type"] == "refusal")
        return next(blocks, None)
    if ended in FILTERED_REASONS:
        words = about.get("finish_message") or ""
        return {"type": "refusal", "refusal": words, "extras": {"category": ended}}
    return None
