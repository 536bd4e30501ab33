"""Converts the content that MCP servers send to content blocks and messages."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

from modelwire.aliases import JSON
from modelwire.messages import AIMessage, BaseMessage, HumanMessage
from modelwire.tools.base import ToolException


def outcome(result: Any) -> tuple[Any, Any]:
    """Return the content for the model, and the whole result as JSON. Raises `ToolException` for an error."""
    blocks = [_block(part) for part in result.content]
    structured = getattr(result, "structured_content", None)
    if not blocks and structured is not None:
        blocks = [{"type": "text", "text": to_json(structured).decode()}]
    texts = [block["text"] for block in blocks if block["type"] == "text"]
    content: Any = "\n".join(texts) if len(texts) == len(blocks) else blocks
    if result.is_error:
        raise ToolException("\n".join(texts) or "The tool failed without a message.")
    return content, result.model_dump(mode="json", by_alias=True, exclude_none=True)


def _block(part: Any) -> JSON:
    """Return a part of a result as a content block that every provider accepts in the answer to a tool call."""
    if part.type == "text":
        return {"type": "text", "text": part.text}
    if part.type == "image":
        return {"type": "image", "base64": part.data, "mime_type": part.mime_type}
    if part.type == "resource" and getattr(part.resource, "text", None) is not None:
        return {"type": "text", "text": part.resource.text}
    if part.type == "resource_link":
        about = [part.title or part.name, str(part.uri), part.mime_type, part.description]
        return {"type": "text", "text": f"Resource: {', '.join(filter(None, about))}"}
    where = getattr(part, "uri", None) or getattr(getattr(part, "resource", None), "uri", None)
    kind = getattr(part, "mime_type", None) or part.type
    return {"type": "text", "text": f"({kind}, {where or 'not shown'})"}


def resource_blocks(result: Any) -> list[JSON]:
    """Return the contents of a resource as blocks for a message of the user."""
    return [_resource_block(part) for part in result.contents]


def _resource_block(part: Any) -> JSON:
    text = getattr(part, "text", None)
    if text is not None:
        return {"type": "text", "text": text}
    mime_type = part.mime_type or "application/octet-stream"
    return _media_block(part.blob, mime_type)


def _media_block(data: str, mime_type: str) -> JSON:
    """Return the block for base64 data of this type: an image, audio, or a file."""
    kind = mime_type.partition("/")[0]
    if kind not in ("image", "audio", "video"):
        kind = "file"
    return {"type": kind, "base64": data, "mime_type": mime_type}


def prompt_messages(result: Any) -> list[BaseMessage]:
    """Return the messages of a prompt."""
    return [_prompt_message(one) for one in result.messages]


def _prompt_message(message: Any) -> BaseMessage:
    part = message.content
    if part.type == "resource":
        block = _resource_block(part.resource)
    elif part.type in ("image", "audio"):
        block = _media_block(part.data, part.mime_type)
    else:
        block = _block(part)
    kind = AIMessage if message.role == "assistant" else HumanMessage
    if block["type"] == "text":
        return kind(block["text"])
    return kind([block])
