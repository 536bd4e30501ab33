"""Why an answer ended, in its provider's words, under the name that its wire has for it. Pure."""

from __future__ import annotations

from typing import Any

__all__ = ["CUT_REASONS", "FILTERED_REASONS", "finish_reason_of"]

# OpenAI's and Gemini's; Anthropic's; Bedrock's.
_NAMES = ("finish_reason", "stop_reason", "stopReason")
# Why an answer ended that had more to say: a limit of tokens, a full context.
CUT_REASONS = frozenset(
    {
        "length",
        "max_tokens",
        "max_output_tokens",
        "model_length",
        "model_context_window_exceeded",
        "MAX_TOKENS",
    }
)
# A filter stopped the answer: of OpenAI and Azure; of Gemini (https://ai.google.dev/api/generate-content#FinishReason,
# read 2026-11).
FILTERED_REASONS = frozenset(
    {
        "content_filter",
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "MODEL_ARMOR",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
    }
)


def finish_reason_of(message: Any) -> str | None:
    """Return why the answer ended; None where nothing tells."""
    metadata = getattr(message, "response_metadata", None) or {}
    return next((str(reason) for name in _NAMES if (reason := metadata.get(name))), None)
