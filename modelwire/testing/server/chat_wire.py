"""Writes an `Answer` in the format of OpenAI's Chat Completions, whole and streamed. No I/O.

Wire format: https://platform.openai.com/docs/api-reference/chat, read 2026-11, with
`reasoning_content` as DeepSeek sends it: https://api-docs.deepseek.com/guides/reasoning_model.
"""

from __future__ import annotations

from modelwire.aliases import JSON
from modelwire.testing.server.answers import Answer, Call, Usage, calls_of, pieces, slices
from modelwire.testing.server.replies import StreamParts, sse


def _usage(usage: Usage) -> JSON:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.written_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def body(answer: Answer, call: Call) -> JSON:
    """Return the completion object."""
    message: JSON = {
        "role": "assistant",
        "content": answer.text or (None if answer.tool_calls or answer.refusal else ""),
        "refusal": answer.refusal or None,
        "annotations": [],
    }
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.tool_calls:
        message["tool_calls"] = [
            {
                "id": one.id,
                "type": "function",
                "function": {"name": one.name, "arguments": one.text},
            }
            for one in calls_of(answer, call)
        ]
    completion = {
        "id": f"chatcmpl-{call.number}",
        "object": "chat.completion",
        "created": call.created,
        "model": answer.model or call.model,
        "choices": [
            {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.stop_reason}
        ],
        "usage": _usage(call.usage),
    }
    if call.tier is not None:
        completion["service_tier"] = call.tier
    return completion


def events(answer: Answer, call: Call) -> StreamParts:
    """Return the encoded events of a stream, in three lists: opening, content and closing."""
    frame = {
        "id": f"chatcmpl-{call.number}",
        "object": "chat.completion.chunk",
        "created": call.created,
        "model": answer.model or call.model,
    }

    def event(delta: JSON, reason: str | None = None) -> bytes:
        return sse(
            {
                **frame,
                "choices": [
                    {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
                ],
            }
        )

    content = [event({"reasoning_content": piece}) for piece in pieces(answer.reasoning)]
    content += [event({"content": piece}) for piece in pieces(answer.text)]
    content += [event({"refusal": piece}) for piece in pieces(answer.refusal)]
    for index, one in enumerate(calls_of(answer, call)):
        named = {"id": one.id, "type": "function", "function": {"name": one.name, "arguments": ""}}
        content.append(event({"tool_calls": [{"index": index, **named}]}))
        content += [
            event({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
            for part in slices(one.text)
        ]
    closing = [event({}, answer.stop_reason)]
    if call.wants_usage:
        closing.append(sse({**frame, "choices": [], "usage": _usage(call.usage)}))
    return (
        [event({"role": "assistant", "content": "", "refusal": None})],
        content,
        [*closing, sse("[DONE]")],
    )
