"""Converts the output of a tool to the caller's result: the output itself, or the `ToolMessage` that answers a call."""

from __future__ import annotations

from typing import Any, Literal

from modelwire.errors import InvalidType
from modelwire.langchain_bridge import is_langchain, is_langchains, own
from modelwire.messages import ToolMessage
from modelwire.messages.tool import ToolOutputMixin

# The types of content blocks that OpenAI, Anthropic or Bedrock accept in the answer to a tool call; read 2026-11.
TOOL_MESSAGE_BLOCK_TYPES = (
    "text",
    "image_url",
    "image",
    "json",
    "search_result",
    "custom_tool_call_output",
    "document",
    "file",
)


def format_output(
    content: Any,
    artifact: Any,
    tool_call_id: str | None,
    name: str,
    status: Literal["success", "error"],
) -> Any:
    """Return `content` itself if there is no call id, else a `ToolMessage` with it.

    A `ToolOutputMixin` (a `ToolMessage` is one), or a list of them, is returned unchanged; a `ToolMessage` of
    LangChain is converted.
    Text and content blocks become the message's content, anything else its JSON.
    """
    if tool_call_id is None:
        return content
    outputs = content if isinstance(content, list) else [content]
    if outputs and all(map(_is_output, outputs)):
        if any(map(is_langchain, outputs)):
            return own("value", content)
        return content
    if isinstance(content, list | tuple) and all(_is_content_block(block) for block in content):
        content = list(content)
    elif not isinstance(content, str):
        content = _stringified(content)
    return ToolMessage(
        content=content, artifact=artifact, tool_call_id=tool_call_id, name=name, status=status
    )


def _is_output(value: Any) -> bool:
    return isinstance(value, ToolOutputMixin) or is_langchains(
        type(value), ToolOutputMixin.__name__
    )


def _is_content_block(block: Any) -> bool:
    return isinstance(block, str) or (
        isinstance(block, dict) and block.get("type") in TOOL_MESSAGE_BLOCK_TYPES
    )


def _stringified(value: Any) -> str:
    """Return `value` as JSON, or `str(value)` if it has no JSON form."""
    import json

    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return str(value)


def failure_text(handler: Any, error: BaseException, default: str) -> Any:
    """Return the text that replaces an error, by a setting such as `handle_tool_error`; None to raise the error."""
    if not handler:
        return None
    if handler is True:
        return default
    if isinstance(handler, str):
        return handler
    if callable(handler):
        return handler(error)
    raise InvalidType(
        f"A handler of errors must be a bool, a text or a function of the error, not a `{type(handler).__name__}`."
    )
