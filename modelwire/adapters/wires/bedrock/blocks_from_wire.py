"""Converts blocks of Bedrock's Converse, in messages of users and in answers, to standard blocks. No I/O here.

Wire format: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html, read 2026-11.
The blocks of a stream keep their `index`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from modelwire.adapters.wires.block_answers import (
    Translator,
    called,
    text_with_annotations,
    translated_blocks,
)
from modelwire.adapters.wires.json import dict_or_empty, dicts_in
from modelwire.aliases import Fields
from modelwire.messages.block_translators.standard import (
    Block,
    Readers,
    data_block,
    refusal_block,
    rest,
    standard_block,
)

if TYPE_CHECKING:
    from modelwire.messages.ai import AIMessage
    from modelwire.messages.content import ContentBlock

# The MIME types of Converse's formats of documents.
DOCUMENT_TYPES = {
    "txt": "text/plain",
    "md": "text/markdown",
    "html": "text/html",
    "csv": "text/csv",
    "pdf": "application/pdf",
    "doc": "application/msword",
    "xls": "application/vnd.ms-excel",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
# The types of blocks in messages of users that have no standard form, under LangChain's names and the wire's own.
OWN_TYPES = frozenset(
    {"guard_content", "guardContent", "cachePoint", "cache_point", "search_result", "searchResult"}
)


def _from_source(block: Block) -> Block | None:
    """Return the standard block of an image, a document, a video or audio in Converse's form; None without data.

    Converse's form has the data in a dict under the name of its type.
    """
    kind = block["type"]
    inner = dict_or_empty(block.get(kind))
    source = dict_or_empty(inner.get("source"))
    url = dict_or_empty(source.get("s3Location")).get("uri")
    if "bytes" not in source and url is None:
        return None
    form = str(inner.get("format"))
    mime_type = DOCUMENT_TYPES.get(form) if kind == "document" else f"{kind}/{form}"
    more = rest(inner, "format", "source")
    kind = "file" if kind == "document" else kind
    return data_block(kind, more, mime_type=mime_type, base64=source.get("bytes"), url=url)


FROM_WIRE: Readers = dict.fromkeys(("image", "document", "video", "audio"), _from_source)


def answer_from_wire(message: AIMessage) -> list[ContentBlock]:
    """Return the content of an answer or of a chunk as standard blocks.

    If a guardrail or a filter blocked the answer, the last block is a refusal.
    """
    blocks = translated_blocks(message, _TRANSLATORS, _other)
    if (category := _blocked_by(message.response_metadata)) is not None:
        blocks.append(refusal_block({"explanation": message.text, "category": category}))
    return cast("list[ContentBlock]", blocks)


def _blocked_by(metadata: Fields) -> str | None:
    """Return "content_filtered" or "guardrail" if a filter or a guardrail blocked the answer, else None.

    A guardrail whose trace shows that it only masked parts of the answer did not block it.
    """
    reason = metadata.get("stopReason")
    if reason == "content_filtered":
        return "content_filtered"
    if reason != "guardrail_intervened":
        return None
    trace = metadata.get("trace")
    is_masked = "'action': 'BLOCKED'" not in str(trace) and "'action': 'ANONYMIZED'" in str(trace)
    return None if is_masked else "guardrail"


def _annotation(citation: Any) -> Block:
    if not isinstance(citation, dict):
        return {"type": "non_standard_annotation", "value": citation}
    cited = [str(part.get("text") or "") for part in dicts_in(citation.get("sourceContent"))]
    standard: Block = {"type": "citation", "cited_text": "".join(cited)}
    if url := dict_or_empty(dict_or_empty(citation.get("location")).get("web")).get("url"):
        standard["url"] = url
    if citation.get("title"):
        standard["title"] = citation["title"]
    return standard | rest(citation, "title")


def _reasoning(block: Block, message: AIMessage) -> list[Block]:
    reasoning = block.get("reasoning_content")
    if not isinstance(reasoning, Mapping):
        return [{"type": "non_standard", "value": block}]
    text = reasoning.get("text") or ""
    return [{"type": "reasoning", "reasoning": text, **rest(dict(reasoning), "text")}]


def _other(block: Block, message: AIMessage) -> list[Block]:
    return [dict(cast("Block", standard_block(block)))]


_TRANSLATORS: dict[str, Translator] = {
    "text": text_with_annotations(_annotation),
    "reasoning_content": _reasoning,
    "tool_use": lambda block, message: called(block, message, block.get("input") or {}, {}),
}
