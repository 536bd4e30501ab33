"""Writes prompts, answers and tools as JSON attributes of spans, if the program wants that.

The schemas: https://github.com/open-telemetry/semantic-conventions-genai, model/gen-ai/gen-ai-input-messages.json at
2b902ce1, gen-ai-output-messages.json at ae14c021, gen-ai-system-instructions.json at 16c5f010,
gen-ai-tool-definitions.json at d357ce21, read 2026-11.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelwire.aliases import Fields
from modelwire.ext import finish_reason_of
from modelwire.otel.attributes import Facts

# Prompts and answers are written into spans if this environment variable has one of these values.
CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_WANTED = ("true", "1", "span_only", "span_and_event")
_ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant", "developer": "system"}
# The `_type`s of models whose APIs have a field for the system prompt, outside of the messages.
_SYSTEM_APART = (
    "anthropic-chat",
    "chat-google-generative-ai",
    "amazon_bedrock_converse_chat",
)
_MODALITIES = ("image", "audio", "video")


def captures() -> bool:
    """Return whether prompts and answers are to be written into spans."""
    return os.environ.get(CAPTURE, "").lower() in _WANTED


def value_json(value: Any) -> str:
    """Return a value as JSON, which structured attributes of spans contain. A text is returned unchanged."""
    from pydantic_core import to_json

    if isinstance(value, str):
        return value
    return to_json(value, fallback=str).decode()


def prompt_attributes(messages: Sequence[Any], params: Fields) -> Facts:
    """Return the attributes with the prompt, the system prompt and the tools of a call."""
    facts: Facts = {}
    conversation = list(messages)
    if params.get("_type") in _SYSTEM_APART:
        system = [message for message in conversation if message.type == "system"]
        conversation = [message for message in conversation if message.type != "system"]
        parts = [{"type": "text", "content": str(message.text)} for message in system]
        if parts:
            facts["gen_ai.system_instructions"] = value_json(parts)
    facts["gen_ai.input.messages"] = value_json([_shown(message) for message in conversation])
    tools = params.get("tools")
    if isinstance(tools, Sequence) and tools:
        facts["gen_ai.tool.definitions"] = value_json([_definition(tool) for tool in tools])
    return facts


def answers_json(messages: Sequence[Any], *, with_reasons: bool) -> str:
    """Return the answers as JSON; `with_reasons` adds `finish_reason` to each, as earlier conventions require."""
    shown = [_shown(message) for message in messages]
    if with_reasons:
        for one, message in zip(shown, messages, strict=True):
            reason = finish_reason_of(message)
            if reason:
                one["finish_reason"] = reason
    return value_json(shown)


def _definition(tool: Any) -> Facts:
    """Return type and name of a tool in any provider's format. Its parameters are left out: they may be large."""
    if not isinstance(tool, Mapping):
        return {"type": "function", "name": str(getattr(tool, "name", tool))}
    function = tool.get("function")
    if isinstance(function, Mapping):
        return {"type": "function", "name": str(function.get("name"))}
    kind = str(tool.get("type", "function"))
    if kind == "custom":
        kind = "function"
    return {"type": kind, "name": str(tool.get("name", kind))}


def _shown(message: Any) -> Facts:
    role = _ROLES.get(message.type, message.type)
    if role == "tool":
        part = {"type": "tool_call_response", "id": message.tool_call_id, "response": message.text}
        return {"role": role, "parts": [part]}
    parts = list(_parts(message))
    parts += [
        {"type": "tool_call", "id": call["id"], "name": call["name"], "arguments": call["args"]}
        for call in getattr(message, "tool_calls", ())
    ]
    return {"role": role, "parts": parts}


def _parts(message: Any) -> Iterator[Facts]:
    """Yield the parts of a message, except its tool calls."""
    if isinstance(message.content, str) and message.type != "ai":
        yield {"type": "text", "content": message.content}
        return
    for block in message.content_blocks:
        kind = block["type"]
        if kind == "text":
            yield {"type": "text", "content": block["text"]}
        elif kind == "reasoning":
            yield {"type": "reasoning", "content": str(block.get("reasoning", ""))}
        elif kind in _MODALITIES or kind == "file":
            yield _data_part(block)


def _data_part(block: Fields) -> Facts:
    modality = "document"
    if block["type"] in _MODALITIES:
        modality = block["type"]
    about = {"modality": modality, "mime_type": block.get("mime_type")}
    if "url" in block:
        return {"type": "uri", "uri": block["url"], **about}
    if "file_id" in block:
        return {"type": "file", "file_id": block["file_id"], **about}
    return {"type": "blob", "content": str(block.get("base64", "")), **about}
