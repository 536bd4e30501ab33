"""Messages as the dicts of OpenAI's Chat Completions, whichever provider's blocks they hold. Pure.

Wire format: https://platform.openai.com/docs/api-reference/chat/create, read 2026-11. Understood are the blocks of
LangChain (both forms), OpenAI, Anthropic (https://docs.claude.com/en/api/messages), Bedrock Converse
(https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html) and Vertex AI (`media`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from modelwire.errors import InvalidArgument
from modelwire.messages.ai import AIMessage
from modelwire.messages.base import BaseMessage
from modelwire.messages.content import is_data_content_block
from modelwire.messages.conversion import convert_to_messages
from modelwire.messages.data_blocks import convert_to_openai_data_block, named_file

if TYPE_CHECKING:
    from modelwire.messages.any_message import MessageLikeRepresentation

__all__ = ["convert_to_openai_messages"]

Block = Mapping[str, Any]
Part = dict[str, Any]

ROLES = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool", "function": "function"}


def convert_to_openai_messages(
    messages: MessageLikeRepresentation | Sequence[MessageLikeRepresentation],
    *,
    text_format: Literal["string", "block"] = "string",
    include_id: bool = False,
    pass_through_unknown_blocks: bool = True,
) -> dict[str, Any] | list[dict[str, Any]]:
    """Say messages in OpenAI's words: a dict for one message, a list of dicts for several.

    `text_format="string"`: content that is text only becomes one string, its blocks joined by line breaks; "block": all
    content becomes a list of blocks. Results of tools among a message's blocks become messages of their own before it,
    where OpenAI wants them: one message may so become a list. Blocks nobody knows are left as they are, or raise
    `InvalidArgument`; so does what OpenAI has no words for.
    """
    if text_format not in ("string", "block"):
        raise InvalidArgument(f"Unrecognized text_format='{text_format}', expected one of 'string' or 'block'.")
    is_one = isinstance(messages, str | Mapping | BaseMessage)
    said = [
        turn
        for at, message in enumerate(convert_to_messages(messages))
        for turn in _Turn(
            message, f"messages[{at}]", text_format, include_id=include_id, lenient=pass_through_unknown_blocks
        ).said()
    ]
    return said[0] if is_one and len(said) == 1 else said


def openai_role(message: BaseMessage) -> str | None:
    """Return OpenAI's role for a message, `None` for one that no model is shown."""
    kind = message.type.removesuffix("MessageChunk").lower()
    if kind == "chat":
        return str(message.role)  # type: ignore[attr-defined]  # what a chat message has
    if kind == "system":
        return str(message.additional_kwargs.get("__openai_role__", "system"))
    return ROLES.get(kind)


class _Turn:
    """One message on its way into OpenAI's words."""

    def __init__(self, message: BaseMessage, path: str, text_format: str, *, include_id: bool, lenient: bool) -> None:
        self.message = message
        self.path = path
        self.text_format = text_format
        self.include_id = include_id
        self.lenient = lenient
        self.calls: list[Part] = []
        self.results: list[Part] = []

    def said(self) -> list[dict[str, Any]]:
        message = self.message
        role = openai_role(message)
        if role is None:
            raise InvalidArgument(
                f"{self.path}: a message of class `{type(message).__name__}` cannot be said to OpenAI."
            )
        turn: dict[str, Any] = {"role": role}
        if message.name:
            turn["name"] = message.name
        if isinstance(message, AIMessage):
            self.calls += [_call(call["id"], call["name"], _json(call["args"])) for call in message.tool_calls]
        content = self._content(message.content)
        if self.calls:
            turn["tool_calls"] = self.calls
        for name in ("refusal", "function_call"):
            if isinstance(message, AIMessage) and message.additional_kwargs.get(name):
                turn[name] = message.additional_kwargs[name]
        if tool_call_id := getattr(message, "tool_call_id", None):
            turn["tool_call_id"] = tool_call_id
        if self.include_id and message.id:
            turn["id"] = message.id
        turn["content"] = content
        is_result_only = self.results and not content and not self.calls
        return self.results if is_result_only else [*self.results, turn]

    def _content(self, content: str | list[str | dict[Any, Any]]) -> str | list[Part]:
        if isinstance(content, str) and self.text_format == "string":
            return content
        parts: list[Part] = []
        for at, block in enumerate([content] if isinstance(content, str) else content):
            if isinstance(block, str):
                parts += [{"type": "text", "text": block}] if block else []
            else:
                parts += self._block(block, f"{self.path}.content[{at}]")
        if self.text_format == "string" and all(part.get("type") == "text" for part in parts):
            return "\n".join(part["text"] for part in parts)
        return parts

    def _block(self, block: Block, path: str) -> Iterable[Part]:
        """Return what the block adds to the content; calls and results of tools go where they belong."""
        kind = block.get("type")
        if kind is None:
            kind = next((key for key in ("text", "image", "json", "guard_content") if key in block), None)
        if kind in _CALLS:
            return self._tool_call(block, path)
        if kind == "tool_result":
            return self._tool_result(block, path)
        if kind in ("image", "document") and "source" in block:
            return self._from_anthropic(block, path)
        if kind != "text" and is_data_content_block(block):
            return [_data(block)]
        write = _WRITERS.get(str(kind))
        part = write(block, path) if write is not None else None
        if part is not None:
            return [part] if part else []
        return self._unknown(block, path)

    def _unknown(self, block: Block, path: str) -> Iterable[Part]:
        if self.lenient:
            return [dict(block)]
        raise InvalidArgument(
            f"Unrecognized content block at {path}: nothing OpenAI takes is made of this `{block.get('type')}`. "
            "`pass_through_unknown_blocks=True` leaves it as it is."
        )

    def _from_anthropic(self, block: Block, path: str) -> Iterable[Part]:
        from modelwire.messages.block_translators.standard import standard_block

        source = _need(block, path, "source")
        if isinstance(source, Mapping) and source.get("type") == "base64":
            _need(source, f"{path}.source", "media_type", "data")
        standard: dict[str, Any] = {**standard_block(dict(block))}
        if is_data_content_block(standard) and (block["type"] == "image" or "url" not in standard):
            return [_data(standard)]
        return self._unknown(block, path)

    def _tool_call(self, block: Block, path: str) -> Iterable[Part]:
        id_key, args_key = _CALLS[block["type"]]
        id_, name, args = _need(block, path, id_key, "name", args_key)
        if not any(call["id"] == id_ for call in self.calls):
            self.calls.append(_call(id_, name, args if isinstance(args, str) else _json(args)))
        # A call of the Responses API is a part of the content there, where a later turn wants it back.
        return [dict(block)] if block["type"] == "function_call" and self.lenient else []

    def _tool_result(self, block: Block, path: str) -> Iterable[Part]:
        from modelwire.messages.tool import ToolMessage

        id_, content = _need(block, path, "tool_use_id", "content")
        result = ToolMessage(content, tool_call_id=id_, status="error" if block.get("is_error") else "success")
        self.results += _Turn(result, path, self.text_format, include_id=False, lenient=self.lenient).said()
        return []


def _call(id_: str | None, name: str, arguments: str) -> Part:
    return {"type": "function", "id": id_, "function": {"name": name, "arguments": arguments}}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _need(block: Any, path: str, *keys: str) -> Any:
    """Return the values of the keys, one alone or several in a list; raise for those that are missing."""
    missing = [key for key in keys if not isinstance(block, Mapping) or key not in block]
    if missing:
        names = ", ".join(f"`{key}`" for key in missing)
        raise InvalidArgument(f"Unrecognized content block at {path}: it is missing the expected key(s) {names}.")
    values = [block[key] for key in keys]
    return values if len(keys) > 1 else values[0]


def _text(block: Block, path: str) -> Part:
    return {"type": "text", "text": _need(block, path, "text")}


def _image_url(block: Block, path: str) -> Part:
    return {"type": "image_url", "image_url": _need(block, path, "image_url")}


def _bedrock_image(block: Block, path: str) -> Part:
    source, image_format = _need(_need(block, path, "image"), f"{path}.image", "source", "format")
    return _inline_image(f"image/{image_format}", _need(source, f"{path}.image.source", "bytes"))


def _media(block: Block, path: str) -> Part:
    mime_type, data = _need(block, path, "mime_type", "data")
    if not str(mime_type).startswith("image/"):
        raise InvalidArgument(
            f"OpenAI messages can only support text and image data. Media of type `{mime_type}` at {path}."
        )
    return _inline_image(mime_type, data)


def _inline_image(mime_type: str, data: str | bytes) -> Part:
    import base64

    text = base64.b64encode(data).decode("ascii") if isinstance(data, bytes | bytearray) else data
    return {"type": "image_url", "image_url": {"url": f"data:{mime_type};base64,{text}"}}


def _file(block: Block, path: str) -> Part | None:
    file = block.get("file")
    return {**block, "file": named_file(file)} if isinstance(file, Mapping) else None


def _refusal(block: Block, path: str) -> Part:
    refusal = block.get("refusal")
    return {"type": "refusal", "refusal": refusal} if refusal else {}


def _guard_content(block: Block, path: str) -> Part:
    guarded = _need(block, path, "guard_content")
    text = guarded.get("text") if isinstance(guarded, Mapping) else guarded
    return {"type": "text", "text": text["text"] if isinstance(text, Mapping) else text}


def _data(block: Block) -> Part:
    if block["type"] == "text-plain" and isinstance(block.get("text"), str):
        return {"type": "text", "text": block["text"]}
    return convert_to_openai_data_block(dict(block))


# A block of a tool call: where it has its id and its arguments.
_CALLS = {"tool_call": ("id", "args"), "tool_use": ("id", "input"), "function_call": ("call_id", "arguments")}
# What a block is in OpenAI's words: nothing for an empty dict; `None` where it is not what it seems.
_WRITERS: dict[str, Callable[[Block, str], Part | None]] = {
    "text": _text,
    "image_url": _image_url,
    "image": _bedrock_image,
    "media": _media,
    "file": _file,
    "input_audio": lambda block, path: dict(block) if "input_audio" in block else None,
    "json": lambda block, path: {"type": "text", "text": _json(_need(block, path, "json"))},
    "guard_content": _guard_content,
    "refusal": _refusal,
    # Services beside OpenAI take the model's thoughts back.
    "thinking": lambda block, path: dict(block),
    "redacted_thinking": lambda block, path: dict(block),
    "reasoning": lambda block, path: dict(block),
}
