"""A conversation as one text, for prompts and logs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

from modelwire.aliases import JSON
from modelwire.errors import InvalidArgument
from modelwire.messages.ai import AIMessage
from modelwire.messages.base import BaseMessage

__all__ = ["get_buffer_string"]

# The XML truncates documents, and the arguments and results of server tools, to this many
# characters.
LONGEST = 500

# The XML truncates the ids of tool calls to this many characters, as LangChain does (langchain-core
# 1.7, read 2026-11).
_ID_CHARS = 64


def get_buffer_string(
    messages: Sequence[BaseMessage],
    human_prefix: str = "Human",
    ai_prefix: str = "AI",
    *,
    system_prefix: str = "System",
    function_prefix: str = "Function",
    tool_prefix: str = "Tool",
    message_separator: str = "\n",
    format: Literal["prefix", "xml"] = "prefix",
) -> str:
    """Return messages as one text: `Human: ...` lines, or `<message type="human">` elements that content cannot fake.

    The XML has text, reasoning, tool calls and the URLs of data blocks; inline data and unknown
    blocks are omitted.

    Raises: `InvalidArgument` for another format, or a message of an unknown type.
    """
    if format not in ("prefix", "xml"):
        raise InvalidArgument(
            f"Unrecognized format=`{format}`. Supported formats are `prefix` and `xml`."
        )
    prefixes = {
        "human": human_prefix,
        "ai": ai_prefix,
        "system": system_prefix,
        "function": function_prefix,
        "tool": tool_prefix,
    }
    lines = []
    for message in messages:
        role = _role(message, prefixes)
        lines.append(_as_xml(message, role) if format == "xml" else _as_line(message, role))
    return message_separator.join(lines)


def _role(message: BaseMessage, prefixes: dict[str, str]) -> str:
    kind = getattr(message, "type", None)
    if kind in ("chat", "ChatMessageChunk"):
        return str(message.role)  # type: ignore[attr-defined]  # what a chat message has
    if isinstance(kind, str):
        prefix = prefixes.get(kind.removesuffix("MessageChunk").lower())
        if prefix is not None:
            return prefix
    raise InvalidArgument(f"Got unsupported message type: `{type(message).__name__}`.")


def _as_line(message: BaseMessage, role: str) -> str:
    line = f"{role}: {message.text}"
    if isinstance(message, AIMessage):
        if message.tool_calls:
            return f"{line}{message.tool_calls}"
        if "function_call" in message.additional_kwargs:
            return f"{line}{message.additional_kwargs['function_call']}"
    return line


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _quote(value: object) -> str:
    """Return a quoted attribute value (as `xml.sax.saxutils.quoteattr`, without loading an XML parser)."""
    text = _escape(str(value)).replace("\n", "&#10;").replace("\r", "&#13;").replace("\t", "&#9;")
    if '"' not in text:
        return f'"{text}"'
    if "'" not in text:
        return f"'{text}'"
    return '"' + text.replace('"', "&quot;") + '"'


def _json(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, default=str)


def _as_xml(message: BaseMessage, role: str) -> str:
    # The role of a chat message is the user's and stays unchanged; others (`AI`) become lower case.
    opening = f"<message type={_quote(role if message.type.lower().startswith('chat') else role.lower())}>"
    content = " ".join(_parts(message.content))
    calls = list(_calls(message))
    if not calls:
        return f"{opening}{content}</message>"
    inner = ([f"<content>{content}</content>"] if content else []) + calls
    return "\n".join((opening, *(f"  {line}" for line in inner), "</message>"))


def _calls(message: BaseMessage) -> Iterator[str]:
    if not isinstance(message, AIMessage):
        return
    for call in message.tool_calls:
        attributes = (
            f"id={_quote(_shortened(call['id'] or '', _ID_CHARS))} name={_quote(call['name'])}"
        )
        yield f"<tool_call {attributes}>{_escape(_json(call['args']))}</tool_call>"
    function = message.additional_kwargs.get("function_call")
    if isinstance(function, dict) and not message.tool_calls:
        arguments = _escape(str(function.get("arguments", "")))
        yield f"<function_call name={_quote(function.get('name', ''))}>{arguments}</function_call>"


def _parts(content: str | Iterable[str | dict[Any, Any]]) -> Iterator[str]:
    if isinstance(content, str):
        yield _escape(content)
        return
    for block in content:
        if isinstance(block, str):
            yield _escape(block)
            continue
        write = _WRITERS.get(block.get("type", "text" if "text" in block else ""))
        written = write(block) if write else None
        if written is not None:
            yield written


def _shortened(text: str, longest_chars: int = LONGEST) -> str:
    if len(text) <= longest_chars:
        return text
    return f"{text[:longest_chars]}..."


def _document(block: JSON) -> str | None:
    if isinstance(block.get("text"), str):
        return _escape(_shortened(block["text"]))
    return None


def _text(block: JSON) -> str | None:
    if isinstance(block.get("text"), str):
        return _escape(block["text"])
    return None


def _reasoning(block: JSON) -> str | None:
    thought = block.get("reasoning")
    if isinstance(thought, str) and thought:
        return f"<reasoning>{_escape(thought)}</reasoning>"
    return None


def _data(block: JSON) -> str | None:
    kind = str(block["type"])
    url = block.get("url")
    if isinstance(url, str) and not url.startswith("data:"):
        return f"<{kind} url={_quote(url)} />"
    if block.get("file_id"):
        return f"<{kind} file_id={_quote(block['file_id'])} />"
    return None


def _image_url(block: JSON) -> str | None:
    image = block.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if isinstance(url, str) and not url.startswith("data:"):
        return f"<image url={_quote(url)} />"
    return None


def _server_call(block: JSON) -> str:
    attributes = f"id={_quote(block.get('id', ''))} name={_quote(block.get('name', ''))}"
    arguments = _escape(_shortened(_json(block.get("args", {}))))
    return f"<server_tool_call {attributes}>{arguments}</server_tool_call>"


def _server_result(block: JSON) -> str:
    output = _escape(_shortened(_json(block["output"]))) if block.get("output") else ""
    attributes = f"tool_call_id={_quote(block.get('tool_call_id', ''))} status={_quote(block.get('status', ''))}"
    return f"<server_tool_result {attributes}>{output}</server_tool_result>"


_WRITERS: dict[str, Callable[[JSON], str | None]] = {
    "text": _text,
    "text-plain": _document,
    "reasoning": _reasoning,
    "image": _data,
    "audio": _data,
    "video": _data,
    "file": _data,
    "image_url": _image_url,
    "server_tool_call": _server_call,
    "server_tool_result": _server_result,
}
