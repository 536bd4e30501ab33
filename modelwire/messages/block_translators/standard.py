"""Any provider's blocks of input, and the older form of data blocks, as standard blocks. Pure.

Which words are whose: OpenAI's `image_url`, `input_audio`, `file`
(https://platform.openai.com/docs/api-reference/chat/create), Anthropic's `image`, `document` with a `source`
(https://docs.claude.com/en/api/messages), and older scripts' data blocks with `source_type`. Read 2026-11.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from modelwire.messages.content import KNOWN_BLOCK_TYPES
from modelwire.messages.tool_calls import parse_tool_args

if TYPE_CHECKING:
    from modelwire.messages.ai import AIMessage
    from modelwire.messages.content import ContentBlock

__all__ = [
    "call_blocks", "is_known_block", "is_unfinished", "non_standard", "rest", "standard_block", "standard_blocks",
    "with_calls_whole", "with_tool_calls",
]  # fmt: skip

Block = dict[str, Any]

# Keys of standard data blocks; what else a foreign block has goes under `extras`.
_DATA_KEYS = frozenset(
    {"type", "id", "index", "url", "base64", "file_id", "mime_type", "text", "title", "context", "extras"}
)


def is_known_block(block: Any) -> bool:
    """Tell whether a block is standard already."""
    return isinstance(block, Mapping) and block.get("type") in KNOWN_BLOCK_TYPES and not _is_foreign(block)


def _is_foreign(block: Mapping[str, Any]) -> bool:
    """Tell whether a block has a standard type's name and another shape."""
    return any(key in block for key in ("source_type", "source")) or isinstance(block.get("file"), Mapping)


def standard_blocks(content: str | list[str | dict[Any, Any]]) -> list[ContentBlock]:
    """Say message content in standard blocks; blocks nobody knows become `non_standard` ones."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [standard_block({"type": "text", "text": block} if isinstance(block, str) else block) for block in content]


def standard_block(block: Block) -> ContentBlock:
    """Say one block in standard words."""
    kind = block.get("type")
    translated: Block | None = None
    if kind is None and isinstance(block.get("text"), str):
        translated = {"type": "text", **block}
    elif isinstance(kind, str) and kind in KNOWN_BLOCK_TYPES and not _is_foreign(block):
        return cast("ContentBlock", block)
    elif "source_type" in block:
        translated = _from_source_type(block)
    elif isinstance(kind, str) and kind in _FOREIGN:
        translated = _FOREIGN[kind](block)
    return cast("ContentBlock", non_standard(block) if translated is None else translated)


def non_standard(block: Block) -> Block:
    """Wrap a provider's own block; its `index` stands on the wrapper, for sums."""
    if "index" not in block:
        return {"type": "non_standard", "value": block}
    value = {key: item for key, item in block.items() if key != "index"}
    return {"type": "non_standard", "value": value, "index": block["index"]}


def rest(block: Block, *known: str) -> Block:
    """Return `{"extras": ...}` with what the block has beyond the keys known, nothing where it has none."""
    extras = {key: value for key, value in block.items() if key not in ("type", "index", *known)}
    return {"extras": extras} if extras else {}


# ---------------------------------------------------------------- tool calls


def is_unfinished(message: AIMessage) -> bool:
    """Tell whether a message is a part of an answer whose end has not come."""
    return hasattr(message, "tool_call_chunks") and message.chunk_position != "last"  # type: ignore[attr-defined]


def call_blocks(message: AIMessage, id_: str | None, index: Any) -> list[Block] | None:
    """Return what the message says of the tool call with this id (of an unfinished part, at this index).

    `None` where it says nothing of it. A part has it as it came; a whole message read, or with what was wrong with it.
    """
    if is_unfinished(message):
        chunks = [c for c in message.tool_call_chunks if (id_ and c["id"] == id_) or c["index"] == index is not None]  # type: ignore[attr-defined]
        return [{**chunk, "type": "tool_call_chunk"} for chunk in chunks] or None
    if id_ is None:
        return None
    calls: list[Any] = [{**call, "type": "tool_call"} for call in message.tool_calls if call["id"] == id_]
    return calls or [dict(bad) for bad in message.invalid_tool_calls if bad["id"] == id_] or None


def with_tool_calls(blocks: list[Any], message: AIMessage) -> list[Any]:
    """Add the tool calls that no block of the content carries: of a chunk that is not the last, as they have come."""
    if is_unfinished(message):
        if not any(block["type"] == "tool_call_chunk" for block in blocks):
            blocks += [{**chunk, "type": "tool_call_chunk"} for chunk in message.tool_call_chunks]  # type: ignore[attr-defined]
        return blocks
    ids = {block.get("id") for block in blocks if block["type"] in ("tool_call", "invalid_tool_call")}
    for call in (*message.tool_calls, *message.invalid_tool_calls):
        if call["id"] is None or call["id"] not in ids:
            kind = "invalid_tool_call" if "error" in call else "tool_call"
            blocks.append({**call, "type": kind})
    return blocks


def with_calls_whole(content: list[Any], message: AIMessage) -> list[Any]:
    """Return content in which the calls a stream has brought in parts are calls; the content itself where none are."""
    if not any(isinstance(block, dict) and block.get("type") in _PARTS for block in content):
        return content
    whole: list[Any] = []
    for block in content:
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "tool_call_chunk":
            said = call_blocks(message, block.get("id"), None) or [_read(block, "tool_call")]
            kept = {key: block[key] for key in ("index", "extras") if block.get(key) is not None}
            whole += [{**call, **kept} for call in said]
        else:
            whole.append(_read(block, "server_tool_call") if kind == "server_tool_call_chunk" else block)
    return whole


_PARTS = ("tool_call_chunk", "server_tool_call_chunk")


def _read(block: Block, kind: str) -> Block:
    """Make a call of all its parts; the arguments of the provider's own tool are its affair if they cannot be read."""
    try:
        return {**block, "type": kind, "args": parse_tool_args(block.get("args"))}
    except ValueError as exc:
        if kind == "tool_call":
            return {**block, "type": "invalid_tool_call", "error": str(exc)}
        return {**block, "type": kind, "args": {}, "extras": {**block.get("extras", {}), "arguments": block["args"]}}


# ---------------------------------------------------------------- data


def _made(kind: str, block: Block, used: frozenset[str] | set[str], **fields: Any) -> Block:
    """Make a block of `fields`, what is left of the foreign `block` under `extras`."""
    made: Block = {"type": kind}
    made |= {key: block[key] for key in ("id", "index") if key in block and key not in used}
    made |= {key: value for key, value in fields.items() if value is not None}
    extras = {**block.get("extras", {}), **{k: v for k, v in block.items() if k not in _DATA_KEYS and k not in used}}
    if extras:
        made["extras"] = extras
    return made


# Where data is, by the kind of its source: in the older form, and in Anthropic's.
_OLDER = {"url": ("url", "url"), "base64": ("base64", "data"), "id": ("file_id", "id")}
_ANTHROPIC = {
    "base64": {"base64": "data", "mime_type": "media_type"},
    "url": {"url": "url"},
    "file": {"file_id": "file_id"},
}


def _from_source_type(block: Block) -> Block | None:
    """Read the older form of data blocks: `source_type` says where the data is."""
    kind, source = block.get("type"), block["source_type"]
    if kind not in ("image", "audio", "file", "video"):
        return None
    used = {"source_type", "data", "url", "mime_type", "text"}
    mime_type = block.get("mime_type")
    if source == "text" and kind == "file" and "text" in block:
        return _made("text-plain", block, used, text=block["text"], mime_type=mime_type or "text/plain")
    ours, theirs = _OLDER.get(str(source), ("", ""))
    if theirs not in block:
        return None
    return _made(kind, block, used | {theirs}, **{ours: block[theirs]}, mime_type=mime_type)


def _split_data_url(url: str) -> tuple[str, str] | None:
    """Split `data:image/png;base64,AAAA` into mime type and data."""
    if not url.startswith("data:"):
        return None
    head, comma, data = url[5:].partition(",")
    mime_type, _, encoding = head.partition(";")
    return (mime_type, data) if comma and encoding.endswith("base64") else None


def _image_url(block: Block) -> Block | None:
    image = block.get("image_url")
    image = {"url": image} if isinstance(image, str) else image
    if not isinstance(image, Mapping) or not isinstance(image.get("url"), str):
        return None
    rest = {**{k: v for k, v in image.items() if k != "url"}, **{k: v for k, v in block.items() if k != "image_url"}}
    data = _split_data_url(image["url"])
    if data:
        return _made("image", rest, set(), base64=data[1], mime_type=data[0])
    return _made("image", rest, set(), url=image["url"])


def _input_audio(block: Block) -> Block | None:
    sound = block.get("input_audio")
    if not isinstance(sound, Mapping) or "data" not in sound:
        return None
    sound_format = sound.get("format")
    mime_type = f"audio/{sound_format}" if sound_format else None
    return _made("audio", block, {"input_audio"}, base64=sound["data"], mime_type=mime_type)


def _file(block: Block) -> Block | None:
    file = block.get("file")
    if not isinstance(file, Mapping):
        return _from_source(block)
    rest = {**{k: v for k, v in file.items() if k not in ("file_data", "file_id")}, **block}
    if isinstance(file.get("file_data"), str):
        data = _split_data_url(file["file_data"])
        mime_type, base64 = data or (None, file["file_data"])
        return _made("file", rest, {"file"}, base64=base64, mime_type=mime_type)
    if "file_id" in file:
        return _made("file", rest, {"file", "file_id"}, file_id=file["file_id"])
    return None


def _from_source(block: Block) -> Block | None:
    """Read Anthropic's `image` and `document` blocks."""
    source = block.get("source")
    if not isinstance(source, Mapping):
        return None
    kind = "image" if block["type"] == "image" else "file"
    rest = dict(block)
    if kind == "file":  # a standard file has no place of its own for these
        rest["extras"] = {**{k: block[k] for k in ("title", "context") if block.get(k)}, **block.get("extras", {})}
    used = {"source", "title", "context"}
    if source.get("type") == "text":
        mime_type = source.get("media_type", "text/plain")
        return _made("text-plain", rest, used, text=source.get("data"), mime_type=mime_type)
    where = _ANTHROPIC.get(str(source.get("type")), {})
    return _made(kind, rest, used, **{ours: source.get(theirs) for ours, theirs in where.items()}) if where else None


_FOREIGN: dict[str, Callable[[Block], Block | None]] = {
    "image_url": _image_url,
    "input_audio": _input_audio,
    "file": _file,
    "image": _from_source,
    "document": _from_source,
}
