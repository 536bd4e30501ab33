"""The standard content blocks, as dicts, and functions that create them. Pure values.

A block's `type` selects its form. Additions of a provider to a standard block are in its `extras`;
a block without a standard form is a `non_standard` one with the provider's own block under `value`.
"""

# This module does without `from __future__ import annotations`, so that the `__annotations__` of
# the dicts are types.
from typing import Any, Literal, NotRequired, Protocol, TypeVar

from typing_extensions import TypedDict

from modelwire.aliases import JSON, Values
from modelwire.errors import InvalidArgument
from modelwire.messages.base import LC_AUTO_PREFIX
from modelwire.messages.block_translators.standard import DATA_TYPES, KNOWN_BLOCK_TYPES, known
from modelwire.messages.tool_calls import InvalidToolCall, ToolCall, ToolCallChunk

__all__ = [
    "KNOWN_BLOCK_TYPES",
    "Annotation",
    "AudioContentBlock",
    "Citation",
    "ContentBlock",
    "DataContentBlock",
    "FileContentBlock",
    "ImageContentBlock",
    "InvalidToolCall",
    "NonStandardAnnotation",
    "NonStandardContentBlock",
    "PlainTextContentBlock",
    "ReasoningContentBlock",
    "RefusalContentBlock",
    "ServerToolCall",
    "ServerToolCallChunk",
    "ServerToolResult",
    "TextContentBlock",
    "ToolCall",
    "ToolCallChunk",
    "VideoContentBlock",
    "create_audio_block",
    "create_citation",
    "create_file_block",
    "create_image_block",
    "create_non_standard_block",
    "create_plaintext_block",
    "create_reasoning_block",
    "create_text_block",
    "create_tool_call",
    "create_video_block",
    "ensure_id",
    "is_data_content_block",
]


class Citation(TypedDict):
    """The source of a text: a document or page, and the range of the text (in characters) that cites it."""

    type: Literal["citation"]
    id: NotRequired[str]
    url: NotRequired[str]
    title: NotRequired[str]
    start_index: NotRequired[int]
    end_index: NotRequired[int]
    cited_text: NotRequired[str]
    extras: NotRequired[dict[str, Any]]


class NonStandardAnnotation(TypedDict):
    """An annotation without a standard form; `value` is the provider's own one."""

    type: Literal["non_standard_annotation"]
    id: NotRequired[str]
    value: dict[str, Any]


Annotation = Citation | NonStandardAnnotation


class _Block(TypedDict):
    """The keys that most blocks may have: an id, their place in a stream, additions of the provider."""

    id: NotRequired[str]
    index: NotRequired[int | str]
    extras: NotRequired[dict[str, Any]]


class _Data(_Block):
    """Data: by `url`, in `base64` (with `mime_type`), or by the provider's id of an uploaded file."""

    url: NotRequired[str]
    base64: NotRequired[str]
    file_id: NotRequired[str]
    mime_type: NotRequired[str]


class TextContentBlock(_Block):
    """A text with its citations."""

    type: Literal["text"]
    text: str
    annotations: NotRequired[list[Annotation]]


class ReasoningContentBlock(_Block):
    """The model's reasoning, as far as the provider shows it."""

    type: Literal["reasoning"]
    reasoning: NotRequired[str]


class RefusalContentBlock(_Block):
    """The text in which the model refuses to answer."""

    type: Literal["refusal"]
    refusal: str


class ImageContentBlock(_Data):
    """An image: by `url`, in `base64` (with `mime_type`), or by the provider's id of an uploaded file."""

    type: Literal["image"]


class VideoContentBlock(_Data):
    """A video, with the same keys as an image."""

    type: Literal["video"]


class AudioContentBlock(_Data):
    """Audio, with the same keys as an image."""

    type: Literal["audio"]


class FileContentBlock(_Data):
    """Any other file, with the same keys as an image."""

    type: Literal["file"]


class PlainTextContentBlock(_Block):
    """A document of plain text, for context. Use a `text` block for your own message to the model."""

    type: Literal["text-plain"]
    file_id: NotRequired[str]
    mime_type: Literal["text/plain"]
    url: NotRequired[str]
    base64: NotRequired[str]
    text: NotRequired[str]
    title: NotRequired[str]
    context: NotRequired[str]


class ServerToolCall(TypedDict):
    """A call of a tool that the provider runs itself."""

    type: Literal["server_tool_call"]
    id: str
    name: str
    args: dict[str, Any]
    index: NotRequired[int | str]
    extras: NotRequired[dict[str, Any]]


class ServerToolCallChunk(_Block):
    """A streamed part of a call of a tool that the provider runs itself; `args` is JSON text."""

    type: Literal["server_tool_call_chunk"]
    name: NotRequired[str]
    args: NotRequired[str]


class ServerToolResult(_Block):
    """The result of a tool that the provider runs itself."""

    type: Literal["server_tool_result"]
    tool_call_id: str
    status: Literal["success", "error"]
    output: NotRequired[Any]


class NonStandardContentBlock(TypedDict):
    """A block without a standard form; `value` is the provider's own one."""

    type: Literal["non_standard"]
    id: NotRequired[str]
    value: dict[str, Any]
    index: NotRequired[int | str]


DataContentBlock = (
    ImageContentBlock
    | VideoContentBlock
    | AudioContentBlock
    | PlainTextContentBlock
    | FileContentBlock
)
ToolContentBlock = (
    ToolCall | ToolCallChunk | ServerToolCall | ServerToolCallChunk | ServerToolResult
)
ContentBlock = (
    TextContentBlock
    | InvalidToolCall
    | ReasoningContentBlock
    | RefusalContentBlock
    | NonStandardContentBlock
    | DataContentBlock
    | ToolContentBlock
)


def is_data_content_block(block: Values) -> bool:
    """Return whether a block is a standard one with data: an image, audio, a video, a file, a document.

    The result is also True for the older form with `source_type`.
    """
    if block.get("type") not in DATA_TYPES:
        return False
    if any(key in block for key in ("url", "base64", "file_id", "text")):
        return True
    source = block.get("source_type")
    return (source == "base64" and "data" in block) or (source == "id" and "id" in block)


def ensure_id(id_val: str | None) -> str:
    """Return the id, or a new one with the prefix of generated ids."""
    if id_val:
        return id_val
    from uuid import uuid4

    return f"{LC_AUTO_PREFIX}{uuid4()}"


def _block(kind: str, *, extras: JSON, **fields: Any) -> Any:
    """Return a block with the fields that are not None."""
    block = {"type": kind, **known(fields)}
    if more := known(extras):
        block["extras"] = more
    return block


def create_text_block(
    text: str,
    *,
    id: str | None = None,
    annotations: list[Annotation] | None = None,
    index: int | str | None = None,
    **kwargs: Any,
) -> TextContentBlock:
    """Return a text block."""
    block: TextContentBlock = _block(
        "text", text=text, id=ensure_id(id), annotations=annotations, index=index, extras=kwargs
    )
    return block


_DataBlock = TypeVar("_DataBlock", covariant=True)


class _Creates(Protocol[_DataBlock]):
    def __call__(
        self,
        *,
        url: str | None = None,
        base64: str | None = None,
        file_id: str | None = None,
        mime_type: str | None = None,
        id: str | None = None,
        index: int | str | None = None,
        **kwargs: Any,
    ) -> _DataBlock: ...


def _creates(kind: str, _made: type[_DataBlock]) -> _Creates[_DataBlock]:
    """Return a function that creates blocks of this type; `_made` is their class, for type checkers."""

    def create(
        *,
        url: str | None = None,
        base64: str | None = None,
        file_id: str | None = None,
        mime_type: str | None = None,
        id: str | None = None,
        index: int | str | None = None,
        **kwargs: Any,
    ) -> Any:
        if url is None and base64 is None and file_id is None:
            raise InvalidArgument(
                f"A block of type `{kind}` must have one of `url`, `base64` and `file_id`."
            )
        if base64 is not None and mime_type is None and kind != "image":
            raise InvalidArgument(
                f"A block of type `{kind}` with `base64` data must have a `mime_type`."
            )
        where = {"url": url, "base64": base64, "file_id": file_id, "mime_type": mime_type}
        return _block(kind, id=ensure_id(id), **where, index=index, extras=kwargs)

    create.__name__ = create.__qualname__ = f"create_{kind}_block"
    create.__doc__ = f"Return a block of type `{kind}`. Raises: `InvalidArgument` without data."
    return create


create_image_block = _creates("image", ImageContentBlock)
create_video_block = _creates("video", VideoContentBlock)
create_audio_block = _creates("audio", AudioContentBlock)
create_file_block = _creates("file", FileContentBlock)


def create_plaintext_block(
    text: str | None = None,
    url: str | None = None,
    base64: str | None = None,
    file_id: str | None = None,
    title: str | None = None,
    context: str | None = None,
    id: str | None = None,
    index: int | str | None = None,
    **kwargs: Any,
) -> PlainTextContentBlock:
    """Return a block with a document of plain text."""
    block: PlainTextContentBlock = _block(
        "text-plain",
        mime_type="text/plain",
        id=ensure_id(id),
        text=text,
        url=url,
        base64=base64,
        file_id=file_id,
        title=title,
        context=context,
        index=index,
        extras=kwargs,
    )
    return block


def create_reasoning_block(
    reasoning: str | None = None,
    id: str | None = None,
    index: int | str | None = None,
    **kwargs: Any,
) -> ReasoningContentBlock:
    """Return a reasoning block."""
    block: ReasoningContentBlock = _block(
        "reasoning", reasoning=reasoning or "", id=ensure_id(id), index=index, extras=kwargs
    )
    return block


def create_citation(
    *,
    url: str | None = None,
    title: str | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
    cited_text: str | None = None,
    id: str | None = None,
    **kwargs: Any,
) -> Citation:
    """Return a citation, for the `annotations` of a text block."""
    block: Citation = _block(
        "citation",
        id=ensure_id(id),
        url=url,
        title=title,
        start_index=start_index,
        end_index=end_index,
        cited_text=cited_text,
        extras=kwargs,
    )
    return block


def create_tool_call(
    name: str,
    args: JSON,
    *,
    id: str | None = None,
    index: int | str | None = None,
    **kwargs: Any,
) -> ToolCall:
    """Return a tool call as a content block."""
    block: ToolCall = _block(
        "tool_call", name=name, args=args, id=ensure_id(id), index=index, extras=kwargs
    )
    return block


def create_non_standard_block(
    value: JSON, *, id: str | None = None, index: int | str | None = None
) -> NonStandardContentBlock:
    """Return a block that holds a provider's own block under `value`."""
    block: NonStandardContentBlock = _block(
        "non_standard", value=value, id=ensure_id(id), index=index, extras={}
    )
    return block
