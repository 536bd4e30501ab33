"""Converts standard blocks of users, assistants and tools to blocks of Bedrock's Converse. No I/O here.

Wire format: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html, read 2026-11.
A block in another wire's form is converted to a standard one first. A block without a `type` has Converse's own form
and is sent unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from modelwire.adapters.wires.bedrock.blocks_from_wire import DOCUMENT_TYPES, OWN_TYPES
from modelwire.adapters.wires.outgoing_messages import (
    kind_of,
    safe_call_id,
    text_of,
    tool_call_id_of,
    value_of,
)
from modelwire.errors import InvalidArgument
from modelwire.messages import BaseMessage
from modelwire.messages.block_translators.standard import (
    AnyBlock,
    Block,
    Writers,
    extra_field,
    extras_of,
    some_of,
    split_data_url,
    standard_block,
    type_of,
)

NO_URL = "Converse fetches nothing from the web: send the data as `base64` with `mime_type`, or an `s3://` address."
# Converse's format of a document by its MIME type.
_FORMATS = {media_type: form for form, media_type in DOCUMENT_TYPES.items()}
# The wire's names of blocks, by LangChain's.
_SNAKE = {
    "guard_content": "guardContent",
    "cache_point": "cachePoint",
    "search_result": "searchResult",
}


def blocks_to_wire(content: str | Sequence[Any]) -> list[Block]:
    """Return Converse's blocks for content, without empty texts, which the API rejects.

    A block with `cache_control` is followed by a cache point. Raises `InvalidArgument` for a block that the API does
    not accept.
    """
    if isinstance(content, str):
        if content.strip():
            return [{"text": content}]
        return []
    blocks: list[Block] = []
    for item in content:
        if (block := _to_wire(item)) is None:
            continue
        blocks.append(block)
        cache_control = extra_field(item, "cache_control") if isinstance(item, Mapping) else None
        if cache_control is not None:
            blocks.append(cache_point(cache_control))
    return blocks


def cache_point(cache_control: Any) -> Block:
    """Return the block that ends a cached prefix of the prompt, with the lifetime of Anthropic's `cache_control`."""
    point = {"type": "default"}
    if isinstance(cache_control, Mapping) and cache_control.get("ttl"):
        point["ttl"] = cache_control["ttl"]
    return {"cachePoint": point}


def _to_wire(item: Any) -> Block | None:
    if isinstance(item, str):
        return {"text": item} if item.strip() else None
    if isinstance(item, Mapping) and "type" not in item:
        return dict(item)
    kind = kind_of(item)
    if kind in OWN_TYPES:
        name = _SNAKE.get(kind, kind)
        inner = item.get(kind, item.get(name))
        text = inner.get("text") if isinstance(inner, Mapping) else None
        if kind == "guard_content" and isinstance(text, str):
            inner = {"text": {"text": text}}
        return {name: inner if inner is not None else {"type": "default"}}
    if isinstance(item.get(kind), Mapping) and "source" in item[kind]:
        return {kind: dict(item[kind])}  # Converse's own form, beside a `type`.
    standard: AnyBlock = standard_block(dict(item))
    if (write := TO_WIRE.get(standard["type"])) is None or (
        standard["type"] == "non_standard" != kind
    ):
        raise InvalidArgument(
            f"Bedrock's Converse takes no block of type `{kind}`; it takes {', '.join(_TAKEN)}."
        )
    return write(standard)


def _text(item: AnyBlock) -> Block | None:
    text = text_of(item)
    return {"text": text} if text.strip() else None


def _media(item: AnyBlock) -> Block:
    """Return an image, video, audio or document block, depending on the MIME type of the data.

    Raises `InvalidArgument` if the MIME type is missing or of another kind than the block.
    """
    kind, media_type, source = _source(item)
    family, _, form = media_type.partition("/")
    if family in ("image", "video", "audio"):
        form = {"jpg": "jpeg", "quicktime": "mov", "x-matroska": "mkv", "3gpp": "three_gp"}.get(
            form, form
        )
        return {family: {"format": form, "source": source}}
    if kind != "file":
        usual = {"image": "image/png", "audio": "audio/wav"}.get(kind, "video/mp4")
        raise InvalidArgument(
            f"A block of type `{kind}` needs its `mime_type`, such as `{usual}`, not `{media_type}`."
        )
    return _document(item, media_type, source)


def _document(item: AnyBlock, media_type: str, source: Block) -> Block:
    document: Block = {
        "format": _FORMATS.get(media_type) or ("txt" if media_type.startswith("text/") else "pdf")
    }
    # A name may have only letters, digits, white space, hyphens, parentheses and brackets.
    name = str(extra_field(item, "title", "filename", "name") or "document").rpartition(".")
    document["name"] = re.sub(
        r"\s+", " ", re.sub(r"[^a-zA-Z0-9\s\-()\[\]]", "-", name[0] or name[2])
    )
    document["source"] = source
    for key in ("context", "citations"):
        if (value := extra_field(item, key)) is not None:
            document[key] = value
    return {"document": document}


def _text_file(item: AnyBlock) -> Block:
    if not isinstance(text := item.get("text"), str):
        return _media({"mime_type": "text/plain", **item, "type": "file"})
    return _document(item, str(item.get("mime_type") or "text/plain"), {"text": text})


def _source(item: AnyBlock) -> tuple[str, str, Block]:
    """Return the type of a block with data, its MIME type, and Converse's `source` with the data or its S3 address.

    Raises `InvalidArgument` if the block has neither.
    """
    kind = item["type"]
    media_type = item.get("mime_type")
    url = item.get("url")
    data = item.get("base64")
    if isinstance(url, str) and (inline := split_data_url(url)) is not None:
        media_type = media_type or inline[0]
        data = inline[1]
    if isinstance(data, str):
        source: Block = {"bytes": data}
    elif isinstance(url, str) and url.startswith("s3://"):
        source = {"s3Location": {"uri": url}}
    else:
        raise InvalidArgument(f"A block of type `{kind}` cannot be sent. {NO_URL}")
    if not isinstance(media_type, str) or "/" not in media_type:
        media_type = "application/pdf" if kind == "file" else str(media_type)
    return kind, media_type, source


TO_WIRE: Writers = {
    "text": _text,
    "refusal": lambda item: _text({**item, "text": item.get("refusal")}),
    "image": _media,
    "audio": _media,
    "video": _media,
    "file": _media,
    "text-plain": _text_file,
    "non_standard": lambda item: _to_wire(value_of(item)),
}
# The types of blocks that the error about a wrong one names.
_TAKEN = [f"`{kind}`" for kind in TO_WIRE if kind not in ("refusal", "non_standard")]


def tool_use(call: AnyBlock) -> Block:
    """Return Converse's block for a tool call."""
    id = safe_call_id(call.get("id"), 64)
    return {"toolUse": {"toolUseId": id, "name": call["name"], "input": call.get("args") or {}}}


def tool_result(message: BaseMessage) -> Block:
    """Return Converse's block for a tool message. A value in it that is not a content block becomes JSON."""
    content: Any = message.content
    if isinstance(content, str):
        blocks = [{"text": content}] if content.strip() else []
    else:
        blocks = [block for item in content for block in _result_blocks(item)]
    id = safe_call_id(tool_call_id_of(message), 64)
    result: Block = {"toolUseId": id, "content": [it for it in blocks if "cachePoint" not in it]}
    if getattr(message, "status", None) == "error":
        result["status"] = "error"
    return {"toolResult": result}


def _result_blocks(item: Any) -> list[Block]:
    if isinstance(item, Mapping):
        if item.get("type") == "json" or item.keys() == {"json"}:
            return [{"json": item.get("json")}]
        is_block = item.get("type") in OWN_TYPES or item.keys() & _RESULTS
        if not is_block and standard_block(dict(item))["type"] not in TO_WIRE.keys() - {
            "non_standard"
        }:
            return [{"json": dict(item)}]
    elif not isinstance(item, str):
        from pydantic_core import to_json

        return [{"text": to_json(item, fallback=str).decode()}]
    return blocks_to_wire([item])


# Converse's own blocks, without a `type`, that a tool's result may have.
_RESULTS = frozenset({"text", "image", "document", "video", "searchResult"})


def answer_block(item: Any) -> Block | None:
    """Return Converse's block for a block of an answer over this wire, or None to leave it out."""
    kind = type_of(item)
    if kind == "text" and item.get("citations"):
        return {
            "citationsContent": {
                "content": [{"text": item.get("text") or ""}],
                "citations": item["citations"],
            }
        }
    if kind == "text" and item.get("annotations"):
        citations = [cited for it in item["annotations"] if (cited := _citation(it)) is not None]
        return answer_block({"type": "text", "text": item.get("text"), "citations": citations})
    if kind == "reasoning_content":
        return _reasoning(item["reasoning_content"])
    if kind == "reasoning":
        return _reasoning({"text": item.get("reasoning") or "", **extras_of(item)})
    if kind == "server_tool_call":
        return {"toolUse": {**tool_use(item)["toolUse"], "type": "server_tool_use"}}
    if kind == "server_tool_result":
        result: Block = {"toolUseId": item.get("tool_call_id"), "content": item.get("output") or []}
        block_type = extras_of(item).get("block_type")
        return {"toolResult": {**result, "type": block_type} if block_type else result}
    if kind in _PARTS_OF_CALLS:
        return None
    return _to_wire(item)


_PARTS_OF_CALLS = frozenset({"tool_call_chunk", "invalid_tool_call", "server_tool_call_chunk"})


def _reasoning(reasoning: AnyBlock) -> Block | None:
    if (redacted := reasoning.get("redacted_content")) is not None:
        return {"reasoningContent": {"redactedContent": redacted}}
    text = some_of(reasoning, "text", "signature")
    if text:
        return {"reasoningContent": {"reasoningText": {"text": "", **text}}}
    return None


def _citation(annotation: Any) -> Block | None:
    """Return Converse's citation for a standard annotation; None if another wire's answer had it."""
    if not isinstance(annotation, Mapping) or "location" not in (extras := extras_of(annotation)):
        return None
    return extras | some_of(annotation, "title")
