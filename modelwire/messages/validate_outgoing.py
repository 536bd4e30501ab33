"""Checks content blocks before any wire encodes them: bytes become base64, an unknown `type` is an error.

Pure. Answers of models are not checked, because a provider accepts its own blocks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from modelwire.aliases import Values
from modelwire.errors import InvalidArgument, did_you_mean, warn_caller
from modelwire.messages.block_readers import is_wire_type
from modelwire.messages.block_translators.standard import DATA_TYPES, is_model_work

# These are the types that a user may write; errors offer them as close matches.
STANDARD = ("text", *sorted(DATA_TYPES), "non_standard")
# These are items of the Responses API that models write and users may send back, and the block of a
# tool's result.
_ANSWERED = frozenset(
    {"refusal", "mcp_approval_request", "mcp_list_tools", "message", "program", "tool_result"}
)

# The media types of Word, Excel and PowerPoint begin with one of these.
_OFFICE_TYPES = (
    "application/vnd.openxmlformats-officedocument.",
    "application/msword",
    "application/vnd.ms-",
)
_HOLD_BASE64 = ("base64", "data")
_BYTES = (bytes, bytearray, memoryview)
_BASE64 = re.compile(rb"[A-Za-z0-9+/\n]+={0,2}\n?")


def validate_outgoing(messages: list[Any]) -> list[Any]:
    """Return the messages with the bytes in their blocks as base64 text; the input is not changed.

    Raises: `InvalidArgument` for a block type that no provider has, with close matches, and for
    bytes in a key that is not for data.
    """
    for position, message in enumerate(messages):
        content = getattr(message, "content", None)
        if (
            content.__class__ is list
            and (changed := _checked(content, message, position)) is not content
        ):
            messages = [
                *messages[:position],
                message.model_copy(update={"content": changed}),
                *messages[position + 1 :],
            ]
    return messages


def warn_of_attachments(
    messages: list[Any], *, image_bytes: int | None, reads_office_files: bool, title: str
) -> None:
    """Warn of images larger than `image_bytes` and, unless `reads_office_files`, of office files.

    `title` names in the warning the provider that rejects them.
    """
    for message in messages:
        blocks = message.content if isinstance(message.content, list) else ()
        for block in blocks:
            data = block.get("base64") if isinstance(block, Mapping) else None
            if not isinstance(data, str):
                continue
            size = len(data) * 3 // 4
            media_type = str(block.get("mime_type"))
            if block.get("type") == "image" and image_bytes is not None and size > image_bytes:
                warn_caller(
                    f"An image has {size / 1e6:.1f} MB, but {title} takes at most {image_bytes / 1e6:.1f} MB: make it "
                    "smaller."
                )
            elif not reads_office_files and media_type.startswith(_OFFICE_TYPES):
                warn_caller(
                    f"A file has the type `{media_type}`, but {title} does not read office files: send it as PDF or "
                    "text."
                )


def _checked(content: list[Any], message: Any, position: int) -> list[Any]:
    kind = str(message.type)
    if kind.startswith(("ai", "AI")):
        return content
    new = content
    for place, block in enumerate(content):
        if not isinstance(block, Mapping):
            continue
        where = f"Message {position} (`{kind}`)"
        block_type = block.get("type")
        if kind != "tool" and isinstance(block_type, str) and not _is_known(block_type):
            raise InvalidArgument(
                f"{where}: no provider has content blocks of type `{block_type}`. "
                f"{did_you_mean(block_type, STANDARD)} "
                'A dict that the provider takes as it is goes into {"type": "non_standard", "value": {...}}.'
            )
        if block_type != "text" and (changed := _without_bytes(block, where)) is not block:
            new = [*new[:place], changed, *new[place + 1 :]]
    return new


def _is_known(kind: str) -> bool:
    if kind in STANDARD:
        return True
    return is_model_work(kind) or kind in _ANSWERED or is_wire_type(kind)


def _without_bytes(block: Values, where: str) -> Values:
    """Return the block with base64 text for its bytes, at its top or one dict below (`source`, `input_audio`)."""
    new = block
    for key, value in block.items():
        changed: Any = value
        if isinstance(value, _BYTES):
            if key not in _HOLD_BASE64:
                raise InvalidArgument(
                    f"{where}: `{key}` of a `{block.get('type')}` block holds bytes. Write them as "
                    '{"type": "file", "base64": data, "mime_type": "application/pdf"}, or use `from_path`.'
                )
            media_type = block.get("mime_type") or block.get("media_type")
            changed = _base64_text(
                bytes(value), f"{where}: `{key}`", is_text=str(media_type).startswith("text/")
            )
        elif isinstance(value, Mapping):
            changed = _without_bytes(value, where)
        if changed is not value:
            new = {**new, key: changed}
    return new


def _base64_text(data: bytes, where: str, *, is_text: bool) -> str:
    """Return data as base64 text.

    Bytes that are base64 already, such as those of `b64encode`, become that text.
    """
    from base64 import b64encode

    if not _BASE64.fullmatch(data) or len(data.replace(b"\n", b"")) % 4:
        return b64encode(data).decode("ascii")
    if is_text:  # Any other data are not valid base64.
        raise InvalidArgument(
            f"{where} holds bytes that may be plain text or text encoded as base64. Pass a str of base64: "
            "`base64.b64encode(data).decode()`."
        )
    return data.replace(b"\n", b"").decode("ascii")
