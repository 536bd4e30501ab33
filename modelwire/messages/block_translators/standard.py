"""Standard blocks, through which wires exchange content: conversion of any block, and helpers for all wires. Pure.

Each wire converts between its own blocks and these (`blocks_from_wire.py`, `blocks_to_wire.py` in
its folder); no wire knows the blocks of another. This module itself reads only the older form of
LangChain's data blocks, with `source_type`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, cast

from modelwire.aliases import JSON, Values
from modelwire.messages.merge import Content
from modelwire.messages.tool_calls import parse_tool_args

if TYPE_CHECKING:
    from modelwire.messages.ai import AIMessage
    from modelwire.messages.content import ContentBlock

Block = JSON
AnyBlock = Values  # This is a block of any wire that is only read.
# Each wire has functions, by the type of block, that read its own blocks as standard ones and write standard ones as
# its own. A function returns None for a block that turns out not to be of that type, or that is not sent.
Reader = Callable[[Block], Block | None]
Readers = dict[str, Reader]
Writers = dict[str, Callable[[AnyBlock], Block | None]]

# These are the keys of standard data blocks; other keys of a foreign block go to `extras`.
_DATA_KEYS = frozenset(
    {
        "type",
        "id",
        "index",
        "url",
        "base64",
        "file_id",
        "mime_type",
        "text",
        "title",
        "context",
        "extras",
    }
)
# These are the types of standard blocks; `messages.content` has a class for each.
DATA_TYPES = frozenset({"audio", "file", "image", "text-plain", "video"})
KNOWN_BLOCK_TYPES = DATA_TYPES | {
    "invalid_tool_call",
    "non_standard",
    "reasoning",
    "refusal",
    "server_tool_call",
    "server_tool_call_chunk",
    "server_tool_result",
    "text",
    "tool_call",
    "tool_call_chunk",
}
# These are the types of calls of the user's tools, on any wire. They are sent as `tool_calls`.
CALL_TYPES = frozenset(
    {
        "tool_use",
        "tool_call",
        "tool_call_chunk",
        "invalid_tool_call",
        "input_json_delta",
        "function_call",
        "custom_tool_call",
    }
)
# These are the actions of a model besides text, on any wire. A wire without a form for one of them
# omits it from a history.
MODEL_WORK = CALL_TYPES | {
    "thinking",
    "redacted_thinking",
    "reasoning",
    "reasoning_content",
    "server_tool_use",
    "server_tool_call",
    "server_tool_call_chunk",
    "server_tool_result",
    "mcp_tool_use",
    "container_upload",
}
# Types with these endings are actions of a model, too: `web_search_call`, `apply_patch_call_output`.
_WORK_ENDINGS = ("_tool_result", "_call", "_output")


def is_model_work(kind: str) -> bool:
    """Return whether blocks of this type are actions of a model or its tools, not content."""
    return kind in MODEL_WORK or kind.endswith(_WORK_ENDINGS)


def is_known_block(block: Any) -> bool:
    """Return whether a block is a standard one."""
    return (
        isinstance(block, Mapping)
        and block.get("type") in KNOWN_BLOCK_TYPES
        and not _is_foreign(block)
    )


def _is_foreign(block: Values) -> bool:
    """Return whether a block has a standard type but another form."""
    return any(key in block for key in ("source_type", "source")) or isinstance(
        block.get("file"), Mapping
    )


def standard_blocks(content: Content) -> list[ContentBlock]:
    """Return message content as standard blocks; unknown blocks become `non_standard` ones."""
    if isinstance(content, str):
        if content:
            return [{"type": "text", "text": content}]
        return []
    return [
        standard_block({"type": "text", "text": block} if isinstance(block, str) else block)
        for block in content
    ]


def as_blocks(content: Any) -> list[Any]:
    """Return content as a list of blocks: texts become `text` blocks, and empty texts are omitted."""
    blocks: list[Any] = []
    for item in [content] if isinstance(content, str) else content:
        if not isinstance(item, str):
            blocks.append(item)
        elif item:
            blocks.append({"type": "text", "text": item})
    return blocks


def standard_block(block: Block) -> ContentBlock:
    """Return the standard block for a block of any wire; an unknown block becomes a `non_standard` one."""
    kind = block.get("type")
    translated: Block | None = None
    if kind is None and isinstance(block.get("text"), str):
        translated = {"type": "text", **block}
    elif isinstance(kind, str) and kind in KNOWN_BLOCK_TYPES and not _is_foreign(block):
        return cast("ContentBlock", block)
    elif "source_type" in block:
        translated = _from_source_type(block)
    elif isinstance(kind, str):
        from modelwire.messages.block_readers import block_from_wire

        translated = block_from_wire(block)
    return cast("ContentBlock", non_standard(block) if translated is None else translated)


def non_standard(block: Block) -> Block:
    """Return a provider's own block wrapped as `non_standard`.

    Its `index` moves to the wrapper, because chunks are added by the `index` of their blocks.
    """
    if "index" not in block:
        return {"type": "non_standard", "value": block}
    value = without(block, "index")
    return {"type": "non_standard", "value": value, "index": block["index"]}


# Most blocks are dicts, and a check for `dict` takes a fifth of the time, so it comes first.
_OBJECTS = (dict, Mapping)


def type_of(block: Any) -> str:
    """Return the type of a block; "" for a block without one, and for a value that is not a block."""
    kind = block.get("type") if isinstance(block, _OBJECTS) else None
    return kind if isinstance(kind, str) else ""


def without(block: AnyBlock, *names: str) -> Block:
    """Return a copy of a block, or of another JSON object, without these keys."""
    return {key: value for key, value in block.items() if key not in names}


def known(fields: Values) -> Block:
    """Return a dict of the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def some_of(block: AnyBlock, *names: str) -> Block:
    """Return a dict of those named fields of a block whose values are truthy."""
    return {name: block[name] for name in names if block.get(name)}


def rest(block: Block, *known: str) -> Block:
    """Return `{"extras": ...}` with the keys of the block that are not in `known`, or an empty dict."""
    extras = without(block, "type", "index", *known)
    return {"extras": extras} if extras else {}


def is_unfinished(message: AIMessage) -> bool:
    """Return whether a message is a chunk that is not the last of its answer."""
    return hasattr(message, "tool_call_chunks") and message.chunk_position != "last"  # type: ignore[attr-defined]


def call_blocks(message: AIMessage, id_: str | None, index: Any) -> list[Block] | None:
    """Return the message's blocks for the tool call with this id (for an unfinished chunk, at this index).

    The result is None if there is no such call. For a chunk it has the text of the arguments, for a
    whole message the parsed arguments or the error.
    """
    if is_unfinished(message):
        chunks = [
            c
            for c in message.tool_call_chunks  # type: ignore[attr-defined]
            if (id_ and c["id"] == id_) or c["index"] == index is not None
        ]
        return [{**chunk, "type": "tool_call_chunk"} for chunk in chunks] or None
    if id_ is None:
        return None
    calls: list[Any] = [
        {**call, "type": "tool_call"} for call in message.tool_calls if call["id"] == id_
    ]
    return calls or [dict(bad) for bad in message.invalid_tool_calls if bad["id"] == id_] or None


def with_tool_calls(blocks: list[Any], message: AIMessage) -> list[Any]:
    """Return the blocks with the tool calls added that have no block; for an unfinished chunk, as tool call chunks."""
    if is_unfinished(message):
        if not any(block["type"] == "tool_call_chunk" for block in blocks):
            blocks += [{**chunk, "type": "tool_call_chunk"} for chunk in message.tool_call_chunks]  # type: ignore[attr-defined]
        return blocks
    ids = {
        block.get("id") for block in blocks if block["type"] in ("tool_call", "invalid_tool_call")
    }
    for call in (*message.tool_calls, *message.invalid_tool_calls):
        if call["id"] is None or call["id"] not in ids:
            kind = "invalid_tool_call" if "error" in call else "tool_call"
            blocks.append({**call, "type": kind})
    return blocks


def with_calls_whole(
    content: list[Any], message: AIMessage, *, named_only: bool = False
) -> list[Any]:
    """Return content with streamed call chunks parsed into calls; the content itself if it has no such chunks.

    With `named_only`, a chunk without an id is not parsed: the beginning of its call may still be added before it.
    """
    if not any(isinstance(block, dict) and block.get("type") in _PARTS for block in content):
        return content
    whole: list[Any] = []
    for block in content:
        kind = block.get("type") if isinstance(block, dict) else None
        if kind not in _PARTS or (named_only and not block.get("id")):
            whole.append(block)
        elif kind == "tool_call_chunk":
            calls = call_blocks(message, block.get("id"), None) or ()
            call = calls[0] if len(calls) == 1 else _read(block, "tool_call")
            place = {key: block[key] for key in ("index", "extras") if block.get(key) is not None}
            whole.append({**call, **place})
        else:
            whole.append(_read(block, "server_tool_call"))
    return whole


_PARTS = ("tool_call_chunk", "server_tool_call_chunk")


def _read(block: Block, kind: str) -> Block:
    """Return a call chunk as a call of type `kind` with parsed arguments.

    If they cannot be parsed, a `tool_call` becomes an `invalid_tool_call`, and another call has
    them in its `extras`.
    """
    try:
        return {**block, "type": kind, "args": parse_tool_args(block.get("args"))}
    except ValueError as exc:
        if kind == "tool_call":
            return {**block, "type": "invalid_tool_call", "error": str(exc)}
        return {
            **block,
            "type": kind,
            "args": {},
            "extras": {**extras_of(block), "arguments": block["args"]},
        }


def data_block(kind: str, block: Block, used: Collection[str] = (), **fields: Any) -> Block:
    """Return a standard data block of type `kind` with `fields`, made from a block of another form.

    The other keys of that `block` go to `extras`, except the ones in `used`.
    """
    made: Block = {"type": kind}
    made |= {key: block[key] for key in ("id", "index") if key in block and key not in used}
    made |= known(fields)
    extras = {**extras_of(block), **without(block, *_DATA_KEYS, *used)}
    if extras:
        made["extras"] = extras
    return made


# This maps a `source_type` of older blocks to the key of the data in a standard block and in an
# older one.
_OLDER = {"url": ("url", "url"), "base64": ("base64", "data"), "id": ("file_id", "id")}


def _from_source_type(block: Block) -> Block | None:
    """Return the standard block for the older form of data blocks, in which `source_type` names the key of the data."""
    kind = block.get("type")
    source = block["source_type"]
    if kind not in ("image", "audio", "file", "video"):
        return None
    used = {"source_type", "data", "url", "mime_type", "text"}
    mime_type = block.get("mime_type")
    if source == "text" and kind == "file" and "text" in block:
        return data_block(
            "text-plain", block, used, text=block["text"], mime_type=mime_type or "text/plain"
        )
    ours, theirs = _OLDER.get(str(source), ("", ""))
    if theirs not in block:
        return None
    return data_block(kind, block, used | {theirs}, **{ours: block[theirs]}, mime_type=mime_type)


def split_data_url(url: str) -> tuple[str, str] | None:
    """Return the media type and data of `data:image/png;base64,AAAA`; None for any other URL."""
    if not url.startswith("data:"):
        return None
    head, comma, data = url[5:].partition(",")
    mime_type, _, encoding = head.partition(";")
    if comma and encoding.endswith("base64"):
        return (mime_type, data)
    return None


def extras_of(block: Values) -> Block:
    """Return a copy of a block's `extras`, empty if they are not a dict."""
    extras = block.get("extras")
    if isinstance(extras, Mapping):
        return dict(extras)
    return {}


def extra_field(block: Values, *keys: str) -> Any:
    """Return a field that only some providers know: from the block, its `extras`, or its older `metadata`."""
    extras = block.get("extras")
    inner = extras.get("metadata") if isinstance(extras, Mapping) else None
    for key in keys:
        for place in (block, extras, inner, block.get("metadata")):
            if isinstance(place, Mapping) and place.get(key) is not None:
                return place[key]
    return None


def refusal_block(details: Any) -> Block:
    """Return the refusal block for Anthropic's `stop_details`.

    Source: https://docs.claude.com/en/docs/test-and-evaluate/strengthen-guardrails, read 2026-11.
    """
    known = details if isinstance(details, Mapping) else {}
    block: Block = {"type": "refusal", "refusal": known.get("explanation") or ""}
    if known.get("category"):
        return {**block, "extras": {"category": known["category"]}}
    return block
