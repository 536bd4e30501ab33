"""Converts parts of a Chat Completions answer, unstreamed or streamed, to the fields of a message. No I/O here.

All functions here accept unchecked JSON: a value of a wrong type is treated as missing.
Wire format: https://platform.openai.com/docs/api-reference/chat/object, read 2026-11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelwire.adapters.wires.json import count_or_none, dict_or_empty, text_or_none
from modelwire.aliases import JSON, Fields
from modelwire.messages.block_translators.standard import type_of
from modelwire.messages.tool_calls import (
    CALL_EXTRAS,
    free_text_call,
    read_tool_call,
    tool_call_extras,
)

if TYPE_CHECKING:
    from modelwire.messages import InvalidToolCall, ToolCall, UsageMetadata


def message_fields(message: Fields, response: Fields) -> JSON:
    """Return `content`, `tool_calls`, `invalid_tool_calls` and `additional_kwargs` of an unstreamed message."""
    content, thought = content_and_thinking(message.get("content"))
    thought += reasoning_text(message)
    kwargs = message_extras(message)
    if thought:
        kwargs["reasoning_content"] = thought
    if details := message.get("reasoning_details"):
        kwargs["reasoning_details"] = details
    raw_calls = message.get("tool_calls")
    calls, invalid, extras = tool_calls_of(raw_calls, response) if raw_calls else ([], [], {})
    if extras:
        kwargs[CALL_EXTRAS] = extras
    return {
        "content": content,
        "tool_calls": calls,
        "invalid_tool_calls": invalid,
        "additional_kwargs": kwargs,
    }


def number_of(choice: Fields) -> int:
    """Return the `index` of a choice, or 0 if it has none. Choice 0 is the answer."""
    index = choice.get("index")
    return index if isinstance(index, int) else 0


def other_choice(choice: Fields, fields: JSON, extras: JSON) -> JSON:
    """Return an entry of `response_metadata["other_choices"]`: a choice after the first, which is the answer.

    `fields` are those of its message, `extras` what the service added.
    """
    ending = {
        "finish_reason": text_or_none(choice.get("finish_reason")),
        "logprobs": choice.get("logprobs"),
    }
    return {**extras, "index": choice.get("index"), **fields, **ending}


# The types of content that is not the answer to a JSON schema.
_PARTS = ("text", "thinking", "reasoning")


def content_and_thinking(content: Any) -> tuple[str | list[Any], str]:
    """Return text and reasoning of `content`: text, null, or a list of parts (Mistral, Databricks, 2026-11).

    The text is a list instead if the content has other parts, such as images.
    """
    if isinstance(content, str):
        return content, ""
    if isinstance(content, dict) and content.get("type") not in _PARTS:
        from pydantic_core import to_json

        return to_json(content).decode(), ""  # an answer to a JSON schema (Cloudflare, 2026-11)
    if not isinstance(content, list):
        content = [content]
    parts: list[Any] = []
    thought = ""
    for part in content:
        kind = type_of(part)
        if kind in ("thinking", "reasoning"):
            thought += _joined(part.get("thinking") or part.get("summary"))
            continue
        if isinstance(part, str):
            text = part
        elif kind in ("text", "output_text"):
            text = part.get("text")
        else:
            text = None
        if isinstance(text, str):
            if parts and isinstance(parts[-1], str):
                parts[-1] += text
            else:
                parts.append(text)
        elif isinstance(part, dict):
            parts.append(part)
    if not parts:
        return "", thought
    return (parts[0] if len(parts) == 1 and isinstance(parts[0], str) else parts), thought


def _joined(thinking: Any) -> str:
    """Return the text of a part with reasoning: a string, or a list of text parts."""
    if isinstance(thinking, str):
        return thinking
    if not isinstance(thinking, list):
        return ""
    texts = (part.get("text") if isinstance(part, dict) else part for part in thinking)
    return "".join(text for text in texts if isinstance(text, str))


def reasoning_text(message: Fields) -> str:
    """Return the reasoning of a message or a delta, "" without one.

    It is in `reasoning_content` (DeepSeek, vLLM, Qwen) or `reasoning` (OpenRouter, Groq, Ollama), in both with some
    services, and only in `reasoning_details` with Snowflake (2026-11).
    """
    for name in ("reasoning_content", "reasoning"):
        text = message.get(name)
        if isinstance(text, str) and text:
            return text
    details = message.get("reasoning_details")
    if not isinstance(details, list):
        return ""
    texts = (part.get("text") or part.get("summary") for part in details if isinstance(part, dict))
    return "".join(text for text in texts if isinstance(text, str))


def merged_details(details: list[Any]) -> list[Any]:
    """Return the `reasoning_details` of a stream (OpenRouter), joining successive pieces of one `index` and `type`."""
    merged: list[Any] = []
    for piece in details:
        last = merged[-1] if merged else None
        if isinstance(piece, dict) and isinstance(last, dict) and _same_entry(last, piece):
            for key, value in piece.items():
                if (
                    key in ("text", "summary", "data")
                    and isinstance(value, str)
                    and isinstance(last.get(key), str)
                ):
                    last[key] += value
                elif value is not None:
                    last[key] = value
        else:
            merged.append(dict(piece) if isinstance(piece, dict) else piece)
    return merged


def _same_entry(last: JSON, piece: JSON) -> bool:
    return piece.get("index") is not None and all(
        last.get(key) == piece.get(key) for key in ("index", "type")
    )


def tool_calls_of(raw: Any, response: Fields) -> tuple[list[ToolCall], list[InvalidToolCall], JSON]:
    """Return an unstreamed message's valid tool calls, its invalid ones, and the extra fields of both by their ids."""
    calls: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    extras: JSON = {}
    for call in raw if isinstance(raw, list) else ():
        if not isinstance(call, dict):
            continue
        position = len(calls) + len(invalid)
        name, text, custom = tool_call_parts(call)
        id_ = text_or_none(call.get("id")) or generated_call_id(response, position, name)
        if more := tool_call_extras({**call, "type": "custom"} if custom else call):
            extras[id_] = more
        read = free_text_call(name, text, id_) if custom else read_tool_call(name, text, id_)
        invalid.append(read) if "error" in read else calls.append(read)  # type: ignore[arg-type]
    return calls, invalid, extras


def tool_call_parts(call: Fields) -> tuple[str | None, str | None, bool]:
    """Return the name and the arguments' text of a call, or of a streamed piece, and whether the tool is a custom one.

    A custom tool takes free text instead of JSON. Some services omit `type` (Mistral), send `function` and `custom`
    with one of them empty (Snowflake), or have null or an object as arguments. Read 2026-11.
    """
    function = dict_or_empty(call.get("function"))
    custom = dict_or_empty(call.get("custom"))
    if (
        call.get("type") == "custom"
        or (custom and not function)
        or (custom.get("name") and not function.get("name"))
    ):
        return text_or_none(custom.get("name")), text_or_none(custom.get("input")), True
    arguments = function.get("arguments")
    if arguments is not None and not isinstance(arguments, str):
        from pydantic_core import to_json

        arguments = to_json(arguments).decode()
    return text_or_none(function.get("name")), arguments, False


def generated_call_id(response: Fields, position: int, name: str | None) -> str:
    """Return an id for a tool call that has none (Gemini's compatible endpoint, 2026-11).

    The id depends on the answer alone, so a streamed answer gets the same id as an unstreamed one. OpenAI accepts at
    most 40 characters in an id, Anthropic only letters, digits, `_` and `-`.
    """
    from hashlib import sha256

    seed = f"{response.get('id')}|{response.get('created')}|{position}|{name}"
    return f"call_{sha256(seed.encode('utf-8', 'replace')).hexdigest()[:24]}"


_CHAT_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


def usage_of(usage: Any, names: tuple[str, str, str] = _CHAT_COUNTS) -> UsageMetadata | None:
    """Return the usage metadata of an answer, or None if the service sent no counts.

    `names` are the wire's keys of the input, output and total tokens. The total is the service's, because some count
    thinking only there. The details contain only counts that were sent.
    """
    if not isinstance(usage, dict):
        return None
    sent, made, total = map(count_or_none, map(usage.get, names))
    if sent is None and made is None and total is None:
        return None
    sent = sent or 0
    made = made or 0
    result: UsageMetadata = {
        "input_tokens": sent,
        "output_tokens": made,
        "total_tokens": sent + made if total is None else total,
    }
    details = usage.get(names[0] + "_details")
    if not isinstance(details, dict):
        details = {}
    if "cached_tokens" not in details:  # DeepSeek and Moonshot have other keys (2026-11).
        cached = usage.get("prompt_cache_hit_tokens", usage.get("cached_tokens"))
        details = details if cached is None else {**details, "cached_tokens": cached}
    if details and (into := _counts(details, _INPUT_DETAILS)):
        result["input_token_details"] = into  # type: ignore[typeddict-item]
    details = usage.get(names[1] + "_details")
    if isinstance(details, dict) and (out := _counts(details, _OUTPUT_DETAILS)):
        result["output_token_details"] = out  # type: ignore[typeddict-item]
    return result


_INPUT_DETAILS = (
    ("audio_tokens", "audio"),
    ("cached_tokens", "cache_read"),
    ("cache_write_tokens", "cache_creation"),
)
_OUTPUT_DETAILS = (("audio_tokens", "audio"), ("reasoning_tokens", "reasoning"))


def _counts(details: Fields, names: tuple[tuple[str, str], ...]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for theirs, ours in names:
        if (value := details.get(theirs)) is not None and (
            count := count_or_none(value)
        ) is not None:
            counts[ours] = count
    return counts


# The fields of an answer, a choice and a message that are read elsewhere or mean nothing. All others are extras.
_READ_OF_RESPONSE = frozenset(
    (
        "id",
        "object",
        "created",
        "model",
        "choices",
        "usage",
        "system_fingerprint",
        "error",
        "obfuscation",
        "p",
    )
)
_READ_OF_CHOICE = frozenset(("index", "message", "delta", "finish_reason", "logprobs", "text"))
_READ_OF_MESSAGE = frozenset(
    (
        "role",
        "content",
        "reasoning",
        "reasoning_content",
        "reasoning_details",
        "tool_calls",
        "channel",
    )
)


def error_within(response: Any) -> Any:
    """Return the error in an answer with status 200 as an error body; None if there is no error.

    It has one of these forms: `{"error": {..}}` (OpenRouter, Groq), `{"object": "error", ..}` (vLLM),
    `{"x_groq": {"error": "text"}}` (`XGroq` of groq's SDK), an `error` in a choice (OpenRouter), or a choice whose
    finish reason is a failure. Read 2026-11.
    """
    if not isinstance(response, dict):
        return None
    if response.get("error") or response.get("object") == "error":
        return response
    if "x_groq" in response and (failed := dict_or_empty(response["x_groq"]).get("error")):
        return {"message": failed, "type": "server_error"}
    choices = response.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and not choice.get("index"):
            if choice.get("error"):
                return choice
            if kind := FAILED.get(str(choice.get("finish_reason"))):
                return {
                    "message": f"The answer ended with `finish_reason` `{choice['finish_reason']}`.",
                    "type": kind,
                }
    return None


# The type of error for each finish reason of an answer that broke off: Mistral's (https://docs.mistral.ai/api/), Z.ai's
# (https://docs.z.ai/api-reference/llm/chat-completion), DeepSeek's
# (https://api-docs.deepseek.com/api/create-chat-completion). Read 2026-11.
FAILED = {
    "error": "server_error",
    "network_error": "server_error",
    "insufficient_system_resource": "server_overloaded",
}


def response_extras(response: Fields, choice: Fields) -> JSON:
    """Return the other fields of the answer and its choice: `service_tier`, `citations`, `native_finish_reason` ..."""
    # Most chunks have no such fields and need no loop.
    if _READ_OF_RESPONSE.issuperset(response) and _READ_OF_CHOICE.issuperset(choice):
        return {}
    extras = {
        name: value for name, value in response.items() if value and name not in _READ_OF_RESPONSE
    }
    extras.update(
        (name, value) for name, value in choice.items() if value and name not in _READ_OF_CHOICE
    )
    return extras


def response_metadata(
    response: Fields,
    choice: Fields,
    extras: JSON,
    *,
    provider: str,
    request_id: str | None,
) -> JSON:
    """Return the `response_metadata` of a message, under LangChain's names, which replace `extras` of the same name."""
    metadata: JSON = {
        **extras,
        "token_usage": response["usage"] if isinstance(response.get("usage"), dict) else None,
        "model_name": text_or_none(response.get("model")),
        "system_fingerprint": text_or_none(response.get("system_fingerprint")),
        "id": text_or_none(response.get("id")),
        "finish_reason": text_or_none(choice.get("finish_reason")),
        "logprobs": choice.get("logprobs"),
        "model_provider": provider,
    }
    if request_id is not None:
        metadata["request_id"] = request_id
    return metadata


def message_extras(message: Fields) -> JSON:
    """Return the fields of a message beside text, reasoning and tool calls: `refusal`, `audio`, `annotations` ..."""
    if _READ_OF_MESSAGE.issuperset(message):
        return {}
    extras: JSON = {}
    for name, value in message.items():
        # Snowflake sends all objects in every answer, most of them with empty fields (2026-11).
        if (
            value
            and name not in _READ_OF_MESSAGE
            and (not isinstance(value, dict) or any(value.values()))
        ):
            extras[name] = value
    return extras
