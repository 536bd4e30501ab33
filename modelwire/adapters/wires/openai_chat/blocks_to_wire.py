"""Converts standard blocks to content parts of Chat Completions. No I/O here: no URL is fetched.

A block in another wire's form is converted to a standard one first. A part of this wire stays as it is.
Wire format: https://platform.openai.com/docs/api-reference/chat/create, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from modelwire.adapters.wires.outgoing_messages import key_names
from modelwire.aliases import JSON
from modelwire.errors import InvalidArgument, InvalidType, did_you_mean
from modelwire.messages.block_readers import is_readable
from modelwire.messages.block_translators.standard import (
    AnyBlock,
    extra_field,
    is_model_work,
    standard_block,
    type_of,
)

Part = dict[str, Any]

# The output items of the Responses API that `is_model_work` does not recognise.
_RESPONSES_ITEMS = frozenset(
    {"additional_tools", "compaction", "mcp_approval_request", "mcp_list_tools", "program"}
)

# Keys that other wires and the message classes add to blocks. OpenAI rejects unknown keys.
FOREIGN_KEYS = frozenset({"id", "index", "annotations", "citations", "extras", "phase"})
NOT_SENT = FOREIGN_KEYS | {"cache_control"}

# OpenAI's names of audio formats, by the subtypes of other mime types. OpenAI accepts `wav` and `mp3`, compatible
# services more: https://platform.openai.com/docs/guides/audio, read 2026-11.
_AUDIO_FORMATS = {
    "x-wav": "wav",
    "wave": "wav",
    "vnd.wave": "wav",
    "mpeg": "mp3",
    "mpga": "mp3",
    "x-m4a": "m4a",
}

# The kinds of content that a message of each role may have; other roles have text only.
ALLOWED = {
    "user": frozenset({"text", "image", "audio", "file"}),
    "assistant": frozenset({"text", "refusal"}),
}
_ONLY_TEXT = frozenset({"text"})


def to_wire(
    blocks: Sequence[Any],
    *,
    role: str,
    position: int,
    extra_types: Collection[str] = (),
    cache_control: bool = False,
) -> list[Part]:
    """Return the content parts for `blocks`, the content list of message number `position` (from 0).

    `extra_types` are the types of blocks that only this compatible service has. Such blocks are sent unchanged, like
    the value of a `non_standard` block, and standard blocks are converted to them if `OF_SERVICES` has a function.
    The `cache_control` of a block is sent only if the service accepts it (`cache_control=True`).
    Raises `InvalidArgument` for a block that this wire or this role does not accept.
    """
    place = Place(f"Message {position} (`{role}`)", role)
    allowed = ALLOWED.get(role, _ONLY_TEXT)
    parts: list[Part] = []
    for block in blocks:
        if isinstance(block, str):
            parts.append({"type": "text", "text": block})
            continue
        kind = place.kind_of(block)
        if kind in extra_types:
            parts.append(block)
        elif extra_types and (own := _of_service(block, extra_types, place)) is not None:
            parts.append(own)
        elif kind == "non_standard":
            value = place.mapping(block, "value")
            if not (role == "assistant" and _is_left_out(type_of(value))):
                parts.append(value)
        elif not (role == "assistant" and _is_left_out(kind)):
            part = block_to_wire(block, place)
            if PART_KINDS.get(part["type"], part["type"]) not in allowed:
                raise place.misplaced(kind)
            if cache_control and "cache_control" in block:
                part = {**part, "cache_control": block["cache_control"]}
            parts.append(part)
    return parts


def _of_service(block: AnyBlock, extra_types: Collection[str], place: Place) -> Part | None:
    """Return the block as one of the service's own types, or None if it has none for such a block."""
    standard: AnyBlock = standard_block(dict(block))
    for name in extra_types:
        kind, write = OF_SERVICES.get(name, ("", None))
        if kind == standard["type"] and write is not None:
            return write(standard, place)
    return None


def _is_left_out(kind: str) -> bool:
    """Return whether a block of the assistant is not sent as content, such as a call, which `tool_calls` has."""
    return is_model_work(kind) or kind in _RESPONSES_ITEMS


def block_to_wire(block: AnyBlock, place: Place) -> Part:
    """Return the content part for a block. Raises `InvalidArgument` if Chat Completions does not accept the block."""
    kind = place.kind_of(block)
    if kind in OWN_PARTS and (kind != "file" or isinstance(block.get("file"), Mapping)):
        return OWN_PARTS[kind](block, place)
    standard: AnyBlock = standard_block(dict(block))
    is_unread = standard["type"] == "non_standard"
    if is_unread:
        standard = block
    write = TO_WIRE.get(standard["type"])
    if write is not None:
        return write(standard, place)
    # A block that has a reader was left unread because its data is missing.
    raise place.without_data(block) if is_unread and is_readable(kind) else place.unsupported(kind)


class Place(NamedTuple):
    """Raises the errors about a block, whose texts name its message, its role and the API."""

    where: str  # such as "Message 3 (`user`)"
    role: str = "user"
    api: str = "Chat Completions"

    def kind_of(self, block: Any) -> str:
        """Return the type of the block. Raises `InvalidType` or `InvalidArgument` if it is not a block."""
        if not isinstance(block, Mapping):
            raise InvalidType(
                f"{self} holds a `{type(block).__name__}`; a content block is a string or a dict."
            )
        kind = block.get("type")
        if not isinstance(kind, str):
            raise InvalidArgument(
                f"{self} holds a content block without a `type`; it has {key_names(block)}."
            )
        return kind

    def text(self, block: AnyBlock, key: str) -> str:
        """Return the string under `key`. Raises `InvalidArgument` if there is no string."""
        value = block.get(key)
        if not isinstance(value, str):
            kind = block.get("type")
            found = type(value).__name__
            raise InvalidArgument(
                f"{self}: a `{kind}` block needs `{key}`, a string, not a `{found}`."
            )
        return value

    def mapping(self, block: AnyBlock, key: str) -> JSON:
        """Return a copy of the dict under `key`. Raises `InvalidArgument` if there is no dict."""
        value = block.get(key)
        if not isinstance(value, Mapping):
            raise InvalidArgument(f"{self}: a `{block.get('type')}` block needs `{key}`, a dict.")
        return dict(value)

    def unsupported(self, kind: str) -> InvalidArgument:
        """Return the error for a block whose type the API does not have."""
        return InvalidArgument(
            f"{self}: {self.api} does not take a block of type `{kind}`. "
            f"{did_you_mean(kind, (*TO_WIRE, *OWN_PARTS))} "
            'To send a dict unchanged, wrap it as {"type": "non_standard", "value": {...}}.'
        )

    def without_data(self, block: AnyBlock) -> InvalidArgument:
        """Return the error for an image, audio or file block that has no data."""
        return InvalidArgument(
            f"{self}: a `{block.get('type')}` block needs one of `url`, `base64` with `mime_type`, `file_id`; "
            f"it has {key_names(block)}."
        )

    def misplaced(self, kind: str) -> InvalidArgument:
        """Return the error for a block that messages of this role cannot have."""
        hint = " Send it in a human message after the tool result." if self.role == "tool" else ""
        kinds = " and ".join(f"`{name}`" for name in sorted(ALLOWED.get(self.role, _ONLY_TEXT)))
        return InvalidArgument(
            f"{self}: on {self.api} `{self.role}` messages hold {kinds} blocks, not `{kind}`.{hint}"
        )

    def __str__(self) -> str:
        return self.where


def _text(block: AnyBlock, place: Place) -> Part:
    place.text(block, "text")
    return {key: value for key, value in block.items() if key not in NOT_SENT}


def _plain_text(block: AnyBlock, place: Place) -> Part:
    if isinstance(block.get("text"), str):
        return {"type": "text", "text": block["text"]}
    return _file(block, place)


def _refusal(block: AnyBlock, place: Place) -> Part:
    return {"type": "refusal", "refusal": place.text(block, "refusal")}


def _image(block: AnyBlock, place: Place) -> Part:
    source = data_source(block, place)
    if source.kind == "file_id":  # Only `file` parts can refer to a stored file.
        return _file(block, place)
    image = {"url": source.value if source.kind == "url" else source.data_url(place)}
    detail = extra_field(block, "detail")
    return {"type": "image_url", "image_url": {**image, "detail": detail} if detail else image}


def audio_to_wire(block: AnyBlock, place: Place) -> Part:
    """Return the part for an audio block, which has the same form in both APIs of OpenAI.

    Raises `InvalidArgument` unless the block has base64 data.
    """
    source = data_source(block, place)
    if source.kind != "base64":
        raise InvalidArgument(
            f"{place}: {place.api} takes audio as base64 only, not by `{source.kind}`."
        )
    subtype = source.subtype(place)
    return {
        "type": "input_audio",
        "input_audio": {"data": source.value, "format": _AUDIO_FORMATS.get(subtype, subtype)},
    }


def _file(block: AnyBlock, place: Place) -> Part:
    source = data_source(block, place)
    if source.kind == "file_id":
        return {"type": "file", "file": {"file_id": source.value}}
    if source.kind == "url":
        raise InvalidArgument(
            f"{place}: {place.api} does not take file URLs. Send files as base64 or by `file_id`, not by URL: "
            "download the file first."
        )
    data_url = source.data_url(place)
    return {
        "type": "file",
        "file": {"filename": file_name(block, source, place), "file_data": data_url},
    }


def file_name(block: AnyBlock, source: Source, place: Place) -> str:
    """Return the name of a file block, or a default one, as the API requires a name.

    Source: https://platform.openai.com/docs/guides/pdf-files, read 2026-11.
    """
    name = extra_field(block, "filename", "name", "title")
    if name:
        return str(name)
    return f"file.{source.subtype(place) or 'bin'}"


_PartWriter = Callable[[AnyBlock, Place], Part]
PartWriters = dict[str, _PartWriter]

# The function that converts each type of standard block.
TO_WIRE: PartWriters = {
    "text": _text,
    "text-plain": _plain_text,
    "refusal": _refusal,
    "image": _image,
    "audio": audio_to_wire,
    "file": _file,
}


def _document_url(block: AnyBlock, place: Place) -> Part:
    """Return Mistral's part for a file: https://docs.mistral.ai/api/ (`DocumentURLChunk`, `FileChunk`), 2026-11."""
    source = data_source(block, place)
    if source.kind == "file_id":
        return {"type": "file", "file_id": source.value}
    part = {"type": "document_url", "document_url": _url(source, place)}
    name = extra_field(block, "document_name", "filename", "name", "title")
    if name:
        return {**part, "document_name": str(name)}
    return part


def _video_url(block: AnyBlock, place: Place) -> Part:
    """Return OpenRouter's part for a video: https://openrouter.ai/docs/features/multimodal/videos, 2026-11."""
    return {"type": "video_url", "video_url": {"url": _url(data_source(block, place), place)}}


def _url(source: Source, place: Place) -> str:
    if source.kind == "file_id":
        raise InvalidArgument(f"{place}: the service takes a URL or base64 here, not a `file_id`.")
    if source.kind == "url":
        return source.value
    return source.data_url(place)


# By the type of a service's own part: the type of standard block that is converted to it, and the function for that.
OF_SERVICES: dict[str, tuple[str, _PartWriter]] = {
    "document_url": ("file", _document_url),
    "video_url": ("video", _video_url),
}


def _image_url(block: AnyBlock, place: Place) -> Part:
    image = block.get("image_url")
    return {
        "type": "image_url",
        "image_url": {"url": image}
        if isinstance(image, str)
        else place.mapping(block, "image_url"),
    }


# By the type of a part of this wire: the function that copies it without the keys that the API rejects.
OWN_PARTS: PartWriters = {
    "image_url": _image_url,
    "input_audio": lambda block, place: {
        "type": "input_audio",
        "input_audio": place.mapping(block, "input_audio"),
    },
    "file": lambda block, place: {"type": "file", "file": dict(block["file"])},
}
# The kind of content of each type of part, as `ALLOWED` names it.
PART_KINDS = {
    "text": "text",
    "refusal": "refusal",
    "image_url": "image",
    "input_audio": "audio",
    "file": "file",
}


class Source(NamedTuple):
    """The data of a standard block: a URL, base64 with its mime type, or the id of a stored file."""

    kind: str  # "url", "base64" or "file_id"
    value: str
    mime_type: Any = None

    def mime(self, place: Place) -> str:
        """Return the mime type. Raises `InvalidArgument` if it is missing."""
        if not isinstance(self.mime_type, str) or not self.mime_type:
            raise InvalidArgument(f"{place}: base64 data needs `mime_type`, such as `image/png`.")
        return self.mime_type

    def subtype(self, place: Place) -> str:
        """Return the mime type's part after the slash. Raises `InvalidArgument` if the mime type is missing."""
        return self.mime(place).partition("/")[2].partition(";")[0]

    def data_url(self, place: Place) -> str:
        """Return base64 data as a `data:` URL. Raises `InvalidArgument` if the mime type is missing."""
        if self.value.startswith("data:"):
            return self.value
        return f"data:{self.mime(place)};base64,{self.value}"


def data_source(block: AnyBlock, place: Place) -> Source:
    """Return the data of a standard block. Raises `InvalidArgument` if it has none."""
    for key in ("url", "base64", "file_id"):
        if block.get(key) is not None:
            return Source(key, place.text(block, key), block.get("mime_type"))
    raise place.without_data(block)
