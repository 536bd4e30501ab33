"""Writes an `Answer` in the format of OpenAI's Responses, whole and streamed. No I/O.

Wire format: https://platform.openai.com/docs/api-reference/responses-streaming, read 2026-11, and
the types of `openai.types.responses`.
"""

from __future__ import annotations

from typing import Any

from modelwire.aliases import JSON
from modelwire.testing.server.answers import Answer, Call, calls_of, pieces, slices
from modelwire.testing.server.replies import StreamParts, sse

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}

# A response repeats the settings of its request. These are the defaults of a model that does not reason, with the
# fields that OpenResponses requires: https://www.openresponses.org/specification, read 2026-11.
_SETTINGS: JSON = {
    "frequency_penalty": 0.0,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
}


def _items(answer: Answer, call: Call) -> list[JSON]:
    items: list[JSON] = []
    if answer.reasoning:
        summary = [{"type": "summary_text", "text": answer.reasoning}]
        items.append({"type": "reasoning", "id": f"rs_{call.number}", "summary": summary})
    content: list[JSON] = []
    if answer.text or not (answer.refusal or answer.tool_calls):
        content.append(
            {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
        )
    if answer.refusal:
        content.append({"type": "refusal", "refusal": answer.refusal})
    if content:
        message = {
            "type": "message",
            "id": f"msg_{call.number}",
            "role": "assistant",
            "status": "completed",
        }
        items.append({**message, "content": content})
    items += [
        {
            "type": "function_call",
            "id": f"fc_{call.number}_{index}",
            "call_id": one.id,
            "name": one.name,
            "arguments": one.text,
            "status": "completed",
        }
        for index, one in enumerate(calls_of(answer, call))
    ]
    return items


def body(answer: Answer, call: Call) -> JSON:
    """Return the response object."""
    reason = _INCOMPLETE.get(answer.stop_reason)
    usage = call.usage
    ending: JSON = {"status": "completed", "incomplete_details": None}
    ending["completed_at"] = call.created
    if reason:
        ending = {"status": "incomplete", "incomplete_details": {"reason": reason}}
        ending["completed_at"] = None
    return {
        **_SETTINGS,
        "id": f"resp_{call.number}",
        "object": "response",
        "created_at": call.created,
        "error": None,
        **ending,
        "model": answer.model or call.model,
        "output": _items(answer, call),
        "service_tier": call.tier or "default",
        "background": call.background,
        "usage": {
            "input_tokens": usage.input_tokens,
            "input_tokens_details": {
                "cached_tokens": usage.cached_tokens,
                "cache_write_tokens": usage.written_tokens,
            },
            "output_tokens": usage.output_tokens,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
            "total_tokens": usage.total,
        },
    }


class _Events:
    """Collects the encoded events of a stream, each with its number."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def add(self, kind: str, **fields: Any) -> None:
        name = f"response.{kind}"
        self.written.append(
            sse({"type": name, "sequence_number": len(self.written), **fields}, name)
        )


def events(answer: Answer, call: Call) -> StreamParts:
    """Return the encoded events of a stream, in three lists: opening, content and closing."""
    whole = body(answer, call)
    begun = {
        **whole,
        "status": "in_progress",
        "output": [],
        "usage": None,
        "incomplete_details": None,
        "completed_at": None,
    }
    out = _Events()
    out.add("created", response=begun)
    out.add("in_progress", response=begun)
    for index, item in enumerate(whole["output"]):
        _ITEMS[item["type"]](out, item, {"item_id": item["id"], "output_index": index})
        out.add("output_item.done", output_index=index, item=item)
    out.add(whole["status"], response=whole)
    return out.written[:2], out.written[2:-1], out.written[-1:]


def _reasoning(out: _Events, item: JSON, at: JSON) -> None:
    text = item["summary"][0]["text"]
    out.add("output_item.added", output_index=at["output_index"], item={**item, "summary": []})
    at = {**at, "summary_index": 0}
    out.add("reasoning_summary_part.added", **at, part={"type": "summary_text", "text": ""})
    for piece in pieces(text):
        out.add("reasoning_summary_text.delta", **at, delta=piece)
    out.add("reasoning_summary_text.done", **at, text=text)
    out.add("reasoning_summary_part.done", **at, part=item["summary"][0])


def _message(out: _Events, item: JSON, at: JSON) -> None:
    out.add(
        "output_item.added",
        output_index=at["output_index"],
        item={**item, "status": "in_progress", "content": []},
    )
    for number, part in enumerate(item["content"]):
        if part["type"] == "output_text":
            name = "output_text"
            key = "text"
        else:
            name = "refusal"
            key = "refusal"
        here = {**at, "content_index": number}
        extra: JSON = {}
        if key == "text":
            extra = {"logprobs": []}
        out.add("content_part.added", **here, part={**part, key: ""})
        for piece in pieces(part[key]):
            out.add(f"{name}.delta", **here, delta=piece, **extra)
        out.add(f"{name}.done", **here, **{key: part[key]}, **extra)
        out.add("content_part.done", **here, part=part)


def _function_call(out: _Events, item: JSON, at: JSON) -> None:
    empty = {**item, "arguments": "", "status": "in_progress"}
    out.add("output_item.added", output_index=at["output_index"], item=empty)
    text = item["arguments"]
    for part in slices(text):
        out.add("function_call_arguments.delta", **at, delta=part)
    out.add("function_call_arguments.done", **at, arguments=text)


_ITEMS = {"reasoning": _reasoning, "message": _message, "function_call": _function_call}
