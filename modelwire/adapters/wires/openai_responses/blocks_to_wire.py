"""Converts standard blocks to content parts of the Responses API. No I/O here: no URL is fetched.

A block in another wire's form is converted to a standard one first. A part of this wire stays as it is.
Wire format: https://platform.openai.com/docs/api-reference/responses/create, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelwire.adapters.wires.openai_chat.blocks_to_wire import (
    FOREIGN_KEYS,
    Part,
    PartWriters,
    Place,
    audio_to_wire,
    data_source,
    file_name,
)
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.messages.block_translators.standard import (
    AnyBlock,
    extra_field,
    standard_block,
    type_of,
    without,
)

OWN_PARTS = frozenset({"input_image", "input_file", "input_audio"})
_TEXTS = frozenset({"text", "input_text", "output_text", "text-plain", ""})
# The types of text blocks whose other keys are sent too.
_KEEP_KEYS = frozenset({"text", "input_text"})
# The keys that our stream decoder adds to items. They are never sent.
ADDED = frozenset({"index", "partial_images"})
_NOT_SENT = FOREIGN_KEYS | {"cache_control", "phase", "logprobs"}


def to_wire(block: Any, where: str) -> Part:
    """Return the content part for a block; `where` names its message in errors.

    Raises `InvalidType` or `InvalidArgument` for a block that the Responses API does not accept.
    """
    if isinstance(block, str):
        return {"type": "input_text", "text": block}
    if not isinstance(block, Mapping):
        raise InvalidType(
            f"{where} holds a `{type(block).__name__}`; a content block is a string or a dict."
        )
    kind = type_of(block)
    if kind in OWN_PARTS:
        return without(block, *ADDED)
    if kind == "non_standard" and isinstance(block.get("value"), Mapping):
        return dict(block["value"])
    if kind in _TEXTS and isinstance(text := block.get("text"), str):
        if kind in _KEEP_KEYS:
            sent = {key: value for key, value in block.items() if key not in _NOT_SENT}
        else:
            sent = {}
        return {**sent, "type": "input_text", "text": text}
    standard: AnyBlock = standard_block(dict(block))
    place = Place(where, api="the Responses API")
    write = TO_WIRE.get(standard["type"])
    if write is None:
        raise InvalidArgument(
            f"{where}: the Responses API does not take a block of type `{block.get('type')}`. "
            'To send a dict unchanged, wrap it as {"type": "non_standard", "value": {...}}.'
        )
    part = write(standard, place)
    if part["type"] == "input_image":
        return {"detail": "auto", **part}
    return part


def _image(block: AnyBlock, place: Place) -> Part:
    source = data_source(block, place)
    key = "file_id" if source.kind == "file_id" else "image_url"
    part = {
        "type": "input_image",
        key: source.data_url(place) if source.kind == "base64" else source.value,
    }
    detail = extra_field(block, "detail")
    if detail:
        return {**part, "detail": detail}
    return part


def _file(block: AnyBlock, place: Place) -> Part:
    if block.get("base64") is not None and not block.get("mime_type"):
        block = {**block, "mime_type": "application/pdf"}
    source = data_source(block, place)
    if source.kind != "base64":
        return {
            "type": "input_file",
            "file_url" if source.kind == "url" else "file_id": source.value,
        }
    return {
        "type": "input_file",
        "file_data": source.data_url(place),
        "filename": file_name(block, source, place),
    }


def _plain_text(block: AnyBlock, place: Place) -> Part:
    if isinstance(block.get("text"), str):
        return {"type": "input_text", "text": block["text"]}
    return _file({"mime_type": "text/plain", **block}, place)


TO_WIRE: PartWriters = {
    "text-plain": _plain_text,
    "image": _image,
    "audio": audio_to_wire,
    "file": _file,
}
# The types of blocks that only messages of the user have. As an item the API would reject such a block.
INPUTS = OWN_PARTS | frozenset(TO_WIRE) | {"image_url"}
