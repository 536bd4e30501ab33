"""Converts standard blocks to parts of Gemini's contents. No I/O here: no URL is fetched.

A block in another wire's form is converted to a standard one first.
Wire format: https://ai.google.dev/api/caching#Part, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelwire.adapters.wires.gemini.response import PART_FIELDS
from modelwire.adapters.wires.outgoing_messages import kind_of, text_of, value_of, without_data
from modelwire.errors import InvalidArgument
from modelwire.messages.block_readers import is_readable
from modelwire.messages.block_translators.standard import (
    DATA_TYPES,
    AnyBlock,
    Writers,
    extra_field,
    extras_of,
    is_model_work,
    split_data_url,
    standard_block,
    type_of,
)

Part = dict[str, Any]


def user_parts(content: str | Sequence[Any]) -> list[Part]:
    """Return the parts for a user's content, without empty texts.

    Raises `InvalidArgument` for a block that the API does not accept.
    """
    if isinstance(content, str):
        return [{"text": content}] if content else []
    return [part for item in content if (part := _to_wire(item)) is not None]


def media_parts(item: Any) -> list[Part] | None:
    """Return a list with the part for an image, audio, video or file block; None for any other value."""
    if not type_of(item):
        return None
    standard = standard_block(dict(item))
    if standard["type"] not in DATA_TYPES:
        return None
    part = TO_WIRE[standard["type"]](standard)
    return [] if part is None else [part]


def answer_part(item: Any, *, own: bool) -> Part | None:
    """Return the part for a block of an answer, or None to leave it out; `own`: the answer came over this wire."""
    kind = type_of(item)
    if not kind:
        return _to_wire(item)
    write = ANSWER_TO_WIRE.get(kind)
    if write is not None and own:
        return write(item)
    if kind == "text":
        return _text(item)
    if write is not None or is_model_work(kind) or kind == "refusal":
        return None
    standard = standard_block(dict(item))
    if standard["type"] in DATA_TYPES:
        part = TO_WIRE[standard["type"]](standard)
        if part is None or not own:
            return part
        return _signed(part, item)
    if own and standard["type"] == "non_standard":
        return dict(standard["value"])
    return None


def _to_wire(item: Any) -> Part | None:
    if isinstance(item, str):
        return {"text": item} if item else None
    kind = kind_of(item)
    standard: AnyBlock = standard_block(dict(item))
    write = TO_WIRE.get(standard["type"])
    if write is None or (standard["type"] == "non_standard" and kind != "non_standard"):
        if is_readable(kind):
            raise without_data(item, kind)
        raise InvalidArgument(
            f"The Gemini API does not take a block of type `{kind}`. "
            'To send a part unchanged, wrap it as {"type": "non_standard", "value": {...}}.'
        )
    return write(standard)


def _text(item: AnyBlock) -> Part | None:
    text = text_of(item)
    if text:
        return _with_fields({"text": text}, item)
    return None


def _with_fields(part: Part, item: AnyBlock) -> Part:
    """Add the block's other fields that a part can have (`PART_FIELDS`), and return the part."""
    if len(item) > 2:
        for theirs, ours in PART_FIELDS.items():
            if (value := extra_field(item, ours, theirs)) is not None:
                part[theirs] = value
    return part


def _data(item: AnyBlock) -> Part:
    """Return the part for an image, audio, a video or a file, with its data or its URL.

    Raises `InvalidArgument` if the block has neither, or no mime type that base64 needs.
    """
    mime_type = item.get("mime_type")
    url = item.get("url")
    data = item.get("base64")
    if isinstance(url, str) and (split := split_data_url(url)) is not None:
        mime_type = split[0] or mime_type
        data = split[1]
    if isinstance(data, str):
        mime_type = mime_type or ("application/pdf" if item["type"] == "file" else None)
        if not mime_type:
            raise InvalidArgument(
                f"A block of type `{item['type']}` with `base64` needs its `mime_type`, such as `image/png`."
            )
        part: Part = {"inlineData": {"mimeType": mime_type, "data": data}}
    elif isinstance(uri := url or item.get("file_id"), str):
        part = {"fileData": {"mimeType": mime_type or _guessed(uri, item["type"]), "fileUri": uri}}
    else:
        raise without_data(item, item["type"])
    return _with_fields(part, item)


def _guessed(uri: str, kind: str) -> str:
    """Return the mime type that the ending of a URL suggests, else a usual one for this kind of block."""
    from mimetypes import guess_type

    usual = {"image": "image/jpeg", "audio": "audio/mpeg", "video": "video/mp4"}.get(
        kind, "application/pdf"
    )
    return guess_type(uri.partition("?")[0])[0] or usual


def _plain_text(item: AnyBlock) -> Part | None:
    if isinstance(item.get("text"), str):
        return _text(item)
    return _data({"mime_type": "text/plain", **item})


TO_WIRE: Writers = {
    "text": _text,
    "text-plain": _plain_text,
    "image": _data,
    "audio": _data,
    "video": _data,
    "file": _data,
    "non_standard": value_of,
}


def _signed(part: Part, item: AnyBlock) -> Part:
    """Return the part with the thought signature that the block has in its extras."""
    signature = extras_of(item).get("signature")
    if signature:
        return {**part, "thoughtSignature": signature}
    return part


def _answered_text(item: AnyBlock) -> Part | None:
    signed = _signed(_with_fields({"text": item.get("text") or ""}, item), item)
    return signed if signed != {"text": ""} else None


def _thought(item: AnyBlock) -> Part | None:
    text = item.get("reasoning") or item.get("thinking") or ""  # LangChain has `thinking`.
    if isinstance(text, str) and text:
        return _signed({"text": text, "thought": True}, item)
    return None


def _original_part(item: AnyBlock) -> Part | None:
    """Return the service's own part for the call or the result of a tool that it ran; None if the block has none."""
    part = extras_of(item).get("part")
    if isinstance(part, Mapping):
        return dict(part)
    return None


# The functions that convert blocks of answers over this wire, other than images, audio, videos and files.
ANSWER_TO_WIRE: Writers = {
    "text": _answered_text,
    "reasoning": _thought,
    "thinking": _thought,
    "server_tool_call": _original_part,
    "server_tool_result": _original_part,
}
