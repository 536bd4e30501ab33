"""Converts blocks of Anthropic's Messages API, in messages of users and in answers, to standard blocks. No I/O here.

Wire format: https://docs.claude.com/en/api/messages and https://docs.claude.com/en/docs/build-with-claude/citations,
read 2026-11. The blocks of a stream keep their `index`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from pydantic_core import to_json

from modelwire.adapters.wires.block_answers import (
    Translator,
    called,
    text_with_annotations,
    translated_blocks,
)
from modelwire.messages.block_translators.standard import (
    Block,
    Readers,
    call_blocks,
    data_block,
    extras_of,
    is_known_block,
    is_unfinished,
    non_standard,
    refusal_block,
    rest,
    some_of,
    standard_block,
    type_of,
)
from modelwire.messages.tool_calls import parse_tool_args

if TYPE_CHECKING:
    from modelwire.messages.ai import AIMessage
    from modelwire.messages.content import ContentBlock

# LangChain's names for tools that several providers run, by Anthropic's names.
_STANDARD_NAMES = {"code_execution": "code_interpreter"}
# For each type of citation: a key that no other type has, and the key of its title (anthropic 2.11,
# `TextCitationParam`).
CITATIONS = {
    "web_search_result_location": ("encrypted_index", "title"),
    "search_result_location": ("search_result_index", "title"),
    "char_location": ("start_char_index", "document_title"),
    "page_location": ("start_page_number", "document_title"),
    "content_block_location": ("start_block_index", "document_title"),
}
# The types of blocks in messages of users that have no standard form. anthropic 2.12, `BetaContentBlockParam`.
OWN_TYPES = frozenset(
    {
        "search_result",
        "container_upload",
        "tool_addition",
        "tool_removal",
        "fallback",
        "mcp_tool_listing",
        "tool_reference",
    }
)
# For each type of a block's `source`: the keys of the standard block and the keys of the source that have their values.
# The first key has the data. LangChain has the id of a file under `id` (langchain-core 1.7, read 2026-11).
_SOURCES = {
    "base64": {"base64": "data", "mime_type": "media_type"},
    "url": {"url": "url"},
    "file": {"file_id": "file_id", "id": "file_id"},
}


def _from_source(block: Block) -> Block | None:
    """Return the standard block of an image, a document or a file with a `source`; None if it has no data."""
    source = block.get("source")
    if not isinstance(source, Mapping):
        return None
    kind = "image" if block["type"] == "image" else "file"
    rest = dict(block)
    if kind == "file":  # A standard file block has no keys for the title and the context.
        rest["extras"] = some_of(block, "title", "context") | extras_of(block)
    used = {"source", "title", "context"}
    if source.get("type") == "text" and isinstance(source.get("data"), str):
        mime_type = source.get("media_type", "text/plain")
        return data_block("text-plain", rest, used, text=source["data"], mime_type=mime_type)
    keys = _SOURCES.get(type_of(source), {})
    fields = {ours: source.get(key) for ours, key in keys.items()}
    if next(iter(fields.values()), None) is None:
        return None
    return data_block(kind, rest, used, **fields)


FROM_WIRE: Readers = dict.fromkeys(("image", "document", "file"), _from_source)


def answer_from_wire(message: AIMessage) -> list[ContentBlock]:
    """Return the content of an answer or of a chunk as standard blocks. A refusal that ended it is the last block."""
    blocks = translated_blocks(message, _TRANSLATORS, _other)
    if message.response_metadata.get("stop_reason") == "refusal" and not any(
        b["type"] == "refusal" for b in blocks
    ):
        blocks.append(refusal_block(message.response_metadata.get("stop_details")))
    return cast("list[ContentBlock]", blocks)


translate_content = translate_content_chunk = answer_from_wire  # The names that LangChain has.


def _annotation(citation: Any) -> Block:
    kind = type_of(citation)
    if (
        kind not in CITATIONS
        or "cited_text" not in citation
        or (kind.startswith("web_") and "url" not in citation)
    ):
        return {"type": "non_standard_annotation", "value": citation}
    title = CITATIONS[kind][1]
    standard: Block = {"type": "citation", "cited_text": citation["cited_text"]}
    standard |= {
        key: citation[of]
        for key, of in (("url", "url"), ("title", title))
        if citation.get(of) is not None
    }
    return standard | rest(citation, "cited_text", "url", title)


def _thinking(block: Block, message: AIMessage) -> list[Block]:
    return [
        {"type": "reasoning", "reasoning": block.get("thinking") or "", **rest(block, "thinking")}
    ]


def _tool_use(block: Block, message: AIMessage) -> list[Block]:
    return called(block, message, _input(block), rest(block, "id", "name", "input", "partial_json"))


def _arguments_delta(block: Block, message: AIMessage) -> list[Block]:
    calls = call_blocks(message, None, block.get("index"))
    if calls is not None:
        return calls
    if not is_unfinished(message):
        return [non_standard(block)]
    return [{"type": "server_tool_call_chunk", "args": block.get("partial_json") or ""}]


def _server_tool_use(block: Block, message: AIMessage) -> list[Block]:
    name = str(block.get("name") or "")
    call: Block = {"name": _STANDARD_NAMES.get(name, name), "id": block.get("id")}
    extras = rest(block, "id", "name", "input", "partial_json")
    if block["type"] == "mcp_tool_use" and name:  # The last chunk of a streamed call has no name.
        call["name"] = "remote_mcp"
        extras = {"extras": {"tool_name": name, **extras.get("extras", {})}}
    if is_unfinished(message):
        args = block.get("partial_json") or ""
        if not args and block.get("input"):
            args = to_json(block["input"]).decode()
        part = some_of(call, "name", "id")
        return [{"type": "server_tool_call_chunk", "args": args, **part, **extras}]
    return [{"type": "server_tool_call", **call, "args": _input(block), **extras}]


def _input(block: Block) -> Any:
    """Return the parsed arguments of a call. Another client's stream may have left them as text in `partial_json`."""
    if not block.get("input") and isinstance(block.get("partial_json"), str):
        try:
            return parse_tool_args(block["partial_json"])
        except ValueError:
            return {}
    return block.get("input") or {}


def _server_tool_result(block: Block) -> Block:
    output = block.get("content")
    kind = str(output.get("type", "")) if isinstance(output, Mapping) else ""
    failed = block.get("is_error") is True or kind.endswith("_error")
    extras = {
        "block_type": block["type"],
        **rest(block, "tool_use_id", "content", "is_error").get("extras", {}),
    }
    result: Block = {
        "type": "server_tool_result",
        "tool_call_id": block.get("tool_use_id") or "",
        "status": "error" if failed else "success",
        "extras": extras,
    }
    if output is not None:
        result["output"] = output
    return result


def _other(block: Block, message: AIMessage) -> list[Block]:
    kind = type_of(block)
    if kind.endswith("_tool_result"):
        return [_server_tool_result(block)]
    if is_known_block(block):
        return [dict(cast("Block", standard_block(block)))]
    return [non_standard(block)]


_TRANSLATORS: dict[str, Translator] = {
    "text": text_with_annotations(_annotation),
    "thinking": _thinking,
    "tool_use": _tool_use,
    "input_json_delta": _arguments_delta,
    "server_tool_use": _server_tool_use,
    "mcp_tool_use": _server_tool_use,
}
