"""Lists the reasons why answers end, for every wire, and the meaning of each for the answer. Pure."""

from __future__ import annotations

from enum import Enum
from typing import Any


class Ending(Enum):
    """The meaning of a finish reason for the answer."""

    WHOLE = "whole"  # The model has finished, or has called a tool.
    CUT = "cut"  # A limit of tokens has ended it, or a full context.
    SUSPENDED = "suspended"  # The answer is not finished: another request continues it.
    REFUSED = "refused"  # The model has refused, or a filter has stopped the answer.
    BROKEN = "broken"  # The provider or the model has failed.


# These are each wire's reasons by their names in `adapters.wires.wire.WIRES`, all read 2026-11.
ENDINGS: dict[str, dict[str, Ending]] = {
    # https://platform.openai.com/docs/api-reference/chat/object (openai 3.52, `Choice.finish_reason`); the others are
    # those of compatible services, each with its source.
    "openai": {
        "stop": Ending.WHOLE,
        "tool_calls": Ending.WHOLE,
        "function_call": Ending.WHOLE,
        "eos": Ending.WHOLE,  # https://docs.together.ai/reference/chat-completions-1
        "length": Ending.CUT,
        "model_length": Ending.CUT,  # https://docs.mistral.ai/api/
        "content_filter": Ending.REFUSED,
        "sensitive": Ending.REFUSED,  # https://docs.z.ai/api-reference/llm/chat-completion
        "error": Ending.BROKEN,  # https://docs.mistral.ai/api/, https://openrouter.ai/docs/api-reference/overview
        "network_error": Ending.BROKEN,  # https://docs.z.ai/api-reference/llm/chat-completion
        # https://api-docs.deepseek.com/api/create-chat-completion
        "insufficient_system_resource": Ending.BROKEN,
    },
    # https://platform.openai.com/docs/api-reference/responses/object (openai 3.52, `ResponseStatus`): the status, and
    # for an `incomplete` one the reason in `incomplete_details`.
    "responses": {
        "completed": Ending.WHOLE,
        "max_output_tokens": Ending.CUT,
        "max_messages": Ending.CUT,
        "steered": Ending.CUT,
        "queued": Ending.SUSPENDED,
        "in_progress": Ending.SUSPENDED,
        "content_filter": Ending.REFUSED,
        "failed": Ending.BROKEN,
        "cancelled": Ending.BROKEN,
    },
    # https://docs.anthropic.com/en/api/handling-stop-reasons (anthropic 2.11, `BetaStopReason`)
    "anthropic": {
        "end_turn": Ending.WHOLE,
        "stop_sequence": Ending.WHOLE,
        "tool_use": Ending.WHOLE,
        # The answer ends here only if the caller has set a pause after it.
        "compaction": Ending.WHOLE,
        "max_tokens": Ending.CUT,
        "model_context_window_exceeded": Ending.CUT,
        "pause_turn": Ending.SUSPENDED,
        "refusal": Ending.REFUSED,
    },
    # https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html (botocore 1.44, `StopReason`)
    "bedrock": {
        "end_turn": Ending.WHOLE,
        "stop_sequence": Ending.WHOLE,
        "tool_use": Ending.WHOLE,
        "max_tokens": Ending.CUT,
        "model_context_window_exceeded": Ending.CUT,
        "guardrail_intervened": Ending.REFUSED,
        "content_filtered": Ending.REFUSED,
        "malformed_model_output": Ending.BROKEN,
        "malformed_tool_use": Ending.BROKEN,
    },
    # https://ai.google.dev/api/generate-content#FinishReason (google-genai 3.4, `FinishReason`)
    "gemini": {
        "STOP": Ending.WHOLE,
        "MAX_TOKENS": Ending.CUT,
        "CONTINUATION": Ending.SUSPENDED,
        "SAFETY": Ending.REFUSED,
        "RECITATION": Ending.REFUSED,
        "LANGUAGE": Ending.REFUSED,
        "BLOCKLIST": Ending.REFUSED,
        "PROHIBITED_CONTENT": Ending.REFUSED,
        "SPII": Ending.REFUSED,
        "MODEL_ARMOR": Ending.REFUSED,
        "IMAGE_SAFETY": Ending.REFUSED,
        "IMAGE_PROHIBITED_CONTENT": Ending.REFUSED,
        "IMAGE_RECITATION": Ending.REFUSED,
        "ESCALATION": Ending.REFUSED,
        "PUP_LIMITED_DISABLED": Ending.REFUSED,
        "FINISH_REASON_UNSPECIFIED": Ending.BROKEN,
        "OTHER": Ending.BROKEN,
        "IMAGE_OTHER": Ending.BROKEN,
        "NO_IMAGE": Ending.BROKEN,
        "MALFORMED_FUNCTION_CALL": Ending.BROKEN,
        "MALFORMED_RESPONSE": Ending.BROKEN,
        "UNEXPECTED_TOOL_CALL": Ending.BROKEN,
        "TOO_MANY_TOOL_CALLS": Ending.BROKEN,
        "MISSING_THOUGHT_SIGNATURE": Ending.BROKEN,
    },
}


def _reasons(kind: Ending) -> frozenset[str]:
    """Return the reasons of that kind of every wire, because messages travel between wires."""
    tables = ENDINGS.values()
    return frozenset(reason for table in tables for reason in table if table[reason] is kind)


CUT_REASONS = _reasons(Ending.CUT)
SUSPENDED_REASONS = _reasons(Ending.SUSPENDED)
FILTERED_REASONS = _reasons(Ending.REFUSED)
# An answer with one of these statuses is not final: the provider makes it in the background.
PENDING_STATUSES = ("queued", "in_progress")
# The `response_metadata` of an answer has the reason under one of these keys: that of OpenAI and
# Gemini, of Anthropic, of Bedrock.
_NAMES = ("finish_reason", "stop_reason", "stopReason")


def ending_of(wire: str, reason: str) -> Ending | None:
    """Return the meaning of a reason on a wire; None if no table lists it.

    A gateway passes on the reasons of the provider behind it, so the reasons of other wires are
    recognised, too.
    """
    own = ENDINGS.get(wire, {})
    tables = [own, *ENDINGS.values()]
    return next((table[reason] for table in tables if reason in table), None)


def finish_reason_of(message: Any) -> str | None:
    """Return the finish reason in a message's metadata, None if there is none."""
    metadata = getattr(message, "response_metadata", None) or {}
    return next((str(reason) for name in _NAMES if (reason := metadata.get(name))), None)
