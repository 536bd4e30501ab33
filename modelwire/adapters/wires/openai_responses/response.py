"""Converts the items of a Responses API answer, unstreamed or streamed, to the content and fields of a message.

No I/O here. The JSON is unchecked: a value of a wrong type is treated as missing. The content is a list of blocks. An
item of type `message` becomes one `text` or `refusal` block for each of its parts, with the item's `id` and `phase`
("commentary" beside calls, "final_answer"). Any other item is a block, unchanged. `message.text` joins all the texts.
Wire format: https://platform.openai.com/docs/api-reference/responses/object, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from modelwire.adapters.wires.empty_answers import check_empty
from modelwire.adapters.wires.json import dict_or_empty, dicts_in, error_from_json, text_or_none
from modelwire.adapters.wires.openai_chat.response import generated_call_id, usage_of
from modelwire.aliases import JSON, Fields, HeaderFields
from modelwire.messages import AIMessage
from modelwire.messages.block_translators.standard import some_of
from modelwire.messages.tool_calls import free_text_call, read_tool_call

if TYPE_CHECKING:
    from modelwire.errors import ProviderError
    from modelwire.messages import InvalidToolCall, ToolCall, UsageMetadata

# For each type of item that is a call of the caller's tools: the field with its arguments.
CALL_TEXT = {"function_call": "arguments", "custom_tool_call": "input"}
# The fields of an answer that are not copied to `response_metadata`, because they repeat the request or are read
# elsewhere. Fields that the API adds in future are copied. Source: openai 3.52, `Response` and `ResponseCreateParams`.
PLACED = frozenset(
    (
        "error",
        "frequency_penalty",
        "include",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "model",
        "output",
        "output_text",
        "parallel_tool_calls",
        "presence_penalty",
        "prompt",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning",
        "safety_identifier",
        "store",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "truncation",
        "usage",
        "user",
    )
)
# Chat Completions' names of the reasons why an answer is incomplete.
_FINISH_REASONS = {"max_output_tokens": "length", "content_filter": "content_filter"}


def items_in(response: Fields) -> list[JSON]:
    """Return the items of an answer: every dict with a `type`."""
    return [item for item in dicts_in(response.get("output")) if text_or_none(item.get("type"))]


def message_from_response(response: JSON, *, provider: str, request_id: str | None) -> AIMessage:
    """Return the message of an unstreamed answer. Raises `MalformedResponse` for an empty answer that failed."""
    content: list[Any] = []
    calls: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    logprobs: list[Any] = []
    for position, item in enumerate(items_in(response)):
        kind = item["type"]
        if kind == "message":
            content += _parts(item, logprobs)
            continue
        if kind in CALL_TEXT:
            item = with_call_id(item, response, position)
            call = _call(item)
            invalid.append(call) if "error" in call else calls.append(call)  # type: ignore[arg-type]
        content.append({key: value for key, value in item.items() if value is not None})
    if not content:
        check_empty("responses", end_of(response), provider=provider, request_id=request_id)
    return AIMessage.from_wire(
        content,
        id=text_or_none(response.get("id")),
        tool_calls=calls,
        invalid_tool_calls=invalid,
        usage_metadata=usage_metadata(response),
        response_metadata=response_metadata(
            response,
            provider=provider,
            request_id=request_id,
            logprobs=logprobs,
            has_calls=bool(calls or invalid),
        ),
    )


def _parts(item: JSON, logprobs: list[Any]) -> Iterator[JSON]:
    for part in parts_in(item):
        logprobs += dicts_in(part.get("logprobs"))
        yield {**block_of_part(part), **named_in(item)}


def named_in(item: JSON) -> JSON:
    """Return the `id` and the `phase` of an item, as far as it has them."""
    return {key: item[key] for key in ("id", "phase") if text_or_none(item.get(key))}


def parts_in(item: Fields) -> list[JSON]:
    """Return the parts of a message's content, without those whose `type` is not a string."""
    return [part for part in dicts_in(item.get("content")) if isinstance(part.get("type", ""), str)]


def block_of_part(part: JSON) -> JSON:
    """Return the content block for a part of a message."""
    if part.get("type") == "output_text":
        text = text_or_none(part.get("text")) or ""
        annotations = dicts_in(part.get("annotations"))
        return {"type": "text", "text": text, "annotations": annotations}
    if part.get("type") == "refusal":
        return {"type": "refusal", "refusal": text_or_none(part.get("refusal")) or ""}
    return {key: value for key, value in part.items() if value is not None}


def with_call_id(item: JSON, response: Fields, position: int) -> JSON:
    """Return a call's item with a `call_id`, made of the answer's id and `position` if the service sent none."""
    if text_or_none(item.get("call_id")):
        return item
    return {
        **item,
        "call_id": generated_call_id(response, position, text_or_none(item.get("name"))),
    }


def _call(item: JSON) -> ToolCall | InvalidToolCall:
    name = text_or_none(item.get("name")) or ""
    id_ = item["call_id"]
    raw = item.get(CALL_TEXT[item["type"]])
    if item["type"] == "custom_tool_call":
        return free_text_call(name, text_or_none(raw), id_)
    return read_tool_call(name, raw if isinstance(raw, dict) else text_or_none(raw) or "", id_)


def end_of(response: Fields) -> str | None:
    """Return why an answer ended: the reason if it is incomplete, else its status."""
    status = text_or_none(response.get("status"))
    if status != "incomplete":
        return status
    return text_or_none(dict_or_empty(response.get("incomplete_details")).get("reason"))


def usage_metadata(response: Fields) -> UsageMetadata | None:
    """Return the usage metadata of an answer, or None if the service sent no counts."""
    return usage_of(response.get("usage"), ("input_tokens", "output_tokens", "total_tokens"))


def response_metadata(
    response: Fields,
    *,
    provider: str,
    request_id: str | None,
    logprobs: list[Any],
    has_calls: bool,
) -> JSON:
    """Return the `response_metadata` of a message: fields of the answer, and Chat Completions' `finish_reason`."""
    metadata: JSON = {
        name: value for name, value in response.items() if value and name not in PLACED
    }
    metadata["model_name"] = text_or_none(response.get("model"))
    metadata["model_provider"] = provider
    metadata["token_usage"] = response["usage"] if isinstance(response.get("usage"), dict) else None
    metadata["logprobs"] = {"content": logprobs} if logprobs else None
    status = response.get("status")
    if status == "completed":
        metadata["finish_reason"] = "tool_calls" if has_calls else "stop"
    elif status == "incomplete":
        reason = dict_or_empty(response.get("incomplete_details")).get("reason")
        metadata["finish_reason"] = _FINISH_REASONS.get(str(reason), reason)
    if request_id is not None:
        metadata["request_id"] = request_id
    return metadata


def failure(
    source: Fields,
    *,
    provider: str,
    headers: HeaderFields | None = None,
    status: int = 200,
) -> ProviderError:
    """Return the error for a failed answer or an `error` event, which has its fields in `error` or at the top level."""
    error = source.get("error")
    if not error:
        error = some_of(source, "code", "message", "param")
    if isinstance(error, dict) and not error.get("code") and error.get("type") in (None, "error"):
        error = {**error, "type": "server_error"}
    return error_from_json(
        {"error": error},
        provider=provider,
        status=status,
        headers=headers,
        model=text_or_none(source.get("model")),
        fallback=f"`{provider}` could not finish the answer, and gave no reason.",
    )
