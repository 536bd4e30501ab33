"""Adds the sources of Gemini's answers to their text, and converts LangChain's `media` block. No I/O here.

The decoder has written an answer's content as standard blocks. What remains are the answer's sources: they are in
`groundingMetadata` and `citationMetadata` of its response metadata, and become annotations of its text blocks.
Wire format: https://ai.google.dev/gemini-api/docs/google-search, read 2026-11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from modelwire.adapters.wires.gemini.response import in_order
from modelwire.adapters.wires.json import UNDOCUMENTED, dict_or_empty
from modelwire.aliases import Fields
from modelwire.messages.block_translators.standard import (
    Block,
    Readers,
    as_blocks,
    call_blocks,
    data_block,
    is_known_block,
    non_standard,
    some_of,
    standard_block,
    with_tool_calls,
)

if TYPE_CHECKING:
    from modelwire.messages.ai import AIMessage
    from modelwire.messages.content import ContentBlock


def _from_media(block: Block) -> Block | None:
    """Return the standard block of `{"type": "media", "mime_type": ..., "data" | "file_uri": ...}`, or None."""
    data = block.get("data")
    uri = block.get("file_uri")
    mime_type = str(block.get("mime_type") or "")
    if data is None and uri is None:
        return None
    kind = mime_type.partition("/")[0]
    kind = kind if kind in ("image", "audio", "video") else "file"
    return data_block(
        kind, block, {"data", "file_uri"}, base64=data, url=uri, mime_type=mime_type or None
    )


FROM_WIRE: Readers = {"media": _from_media}
OWN_TYPES: frozenset[str] = frozenset()


def answer_from_wire(message: AIMessage) -> list[ContentBlock]:
    """Return the content of an answer or of a chunk as standard blocks, with its sources as annotations of its text."""
    blocks: list[Any] = []
    for block in as_blocks(in_order(message.content)):
        if block.get("type") in ("tool_call", "invalid_tool_call"):
            blocks += _call(block, message)
        elif is_known_block(block):
            blocks.append(dict(standard_block(block)))
        else:
            blocks.append(non_standard(block))
    metadata = message.response_metadata
    try:
        sources = [
            *_grounding(metadata.get("grounding_metadata")),
            *_citations(metadata.get("citation_metadata")),
        ]
        blocks = _annotated(blocks, sources) if sources else blocks
    except UNDOCUMENTED:
        pass  # The blocks then have no annotations, but the metadata still has the sources.
    return cast("list[ContentBlock]", with_tool_calls(blocks, message))


def _call(block: Block, message: AIMessage) -> list[Block]:
    more: Block = {key: block[key] for key in ("extras", "index") if key in block}
    calls = call_blocks(message, block.get("id"), block.get("index"))
    if calls is None:
        # A block without a name is the end of a call whose chunks have been returned already.
        return [dict(block)] if block.get("name") else []
    return [{**call, **more} for call in calls]


def _annotated(blocks: list[Any], annotations: list[tuple[int, int, Block]]) -> list[Any]:
    """Return the blocks with each annotation added to its text.

    An annotation has its start and its end, counted in bytes of the UTF-8 of all texts together.
    """
    start = 0
    made = []
    for block in blocks:
        if block["type"] == "text":
            text = block["text"].encode("utf-8", "surrogatepass")
            here = []
            for first, last, about in annotations:
                if start <= first < start + len(text):
                    begin, end = (
                        len(text[: at - start].decode("utf-8", "ignore")) for at in (first, last)
                    )
                    here.append({**about, "start_index": begin, "end_index": end})
            if here:
                block = {**block, "annotations": [*block.get("annotations", ()), *here]}
            start += len(text)
        made.append(block)
    return made


def _grounding(metadata: Any) -> list[tuple[int, int, Block]]:
    """Return the start, the end and the citation of each supported segment in `groundingMetadata`."""
    found = dict_or_empty(metadata)
    chunks = found.get("groundingChunks") or []
    annotations = []
    for support in found.get("groundingSupports") or ():
        segment = dict_or_empty(support.get("segment"))
        for number in support.get("groundingChunkIndices") or ():
            chunk = chunks[number] if number < len(chunks) else {}
            kind, source = next(iter(chunk.items()), ("", {}))
            made = _citation(source, {"source": kind, "chunk": number})
            if "text" in segment:
                made["cited_text"] = segment["text"]
            annotations.append((segment.get("startIndex", 0), segment.get("endIndex", 0), made))
    return annotations


def _citations(metadata: Any) -> list[tuple[int, int, Block]]:
    """Return the start, the end and the citation of each entry in `citationMetadata`."""
    found = dict_or_empty(metadata)
    entries = found.get("citations") or found.get("citationSources") or []
    return [(it.get("startIndex", 0), it.get("endIndex", 0), _citation(it, {})) for it in entries]


def _citation(source: Fields, extras: Block) -> Block:
    made: Block = {"type": "citation"}
    if url := source.get("uri"):
        made["url"] = url
    made |= some_of(source, "title")
    more = extras | some_of(source, "license", "publicationDate")
    if more:
        made["extras"] = more
    return made
