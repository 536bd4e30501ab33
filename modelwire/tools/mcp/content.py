"""What MCP servers send, as content blocks and messages of ours."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

from modelwire.tools.base import ToolException

__all__ = ["outcome"]


def outcome(result: Any) -> tuple[Any, Any]:
    """Return a result as content for the model and the whole of it. Raises `ToolException` for an error."""
    blocks = [_block(part) for part in result.content]
    structured = getattr(result, "structured_content", None)
    if not blocks and structured is not None:
        blocks = [{"type": "text", "text": to_json(structured).decode()}]
    texts = [block["text"] for block in blocks if block["type"] == "text"]
    content: Any = "\n".join(texts) if len(texts) == len(blocks) else blocks
    if result.is_error:
        raise ToolException("\n".join(texts) or "The tool failed without a message.")
    return content, result.model_dump(mode="json", by_alias=True, exclude_none=True)


def _block(part: Any) -> dict[str, Any]:
    """Return a part of a result as a block that every wire takes in the answer to a call."""
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
