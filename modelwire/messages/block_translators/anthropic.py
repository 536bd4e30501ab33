"""Answers of Anthropic's Messages API in standard blocks. Pure.

Wire format: https://docs.claude.com/en/api/messages and https://docs.claude.com/en/docs/build-with-claude/citations,
read 2026-11. The blocks of a stream keep the `index` they came with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from pydantic_core import to_json

from modelwire.messages.block_translators.standard import (
    call_blocks,
    is_known_block,
    is_unfinished,
    non_standard,
    rest,
    standard_block,
    with_tool_calls,
)
from modelwire.messages.tool_calls import parse_tool_args

if TYPE_CHECKING:
    from modelwire.messages.ai import AIMessage
    from modelwire.messages.content import ContentBlock

__all__ = ["refusal", "translate_content", "translate_content_chunk"]

Block = dict[str, Any]

# LangChain's names for tools that several providers run.
STANDARD_NAMES = {"code_execution": "code_interpreter"}
# A citation of this type -> what it must have, and whose title it names.
CITATIONS = {
    "web_search_result_location": ({"cited_text", "url"}, "title"),
    "search_result_location": ({"cited_text"}, "title"),
    "char_location": ({"cited_text"}, "document_title"),
    "page_location": ({"cited_text"}, "document_title"),
    "content_block_location": ({"cited_text"}, "document_title"),
}


def translate_content(message: AIMessage) -> list[ContentBlock]:
    """Say an answer, or a part of one, in standard blocks; a refusal it ended with comes last."""
    content = message.content
    blocks: list[Any] = []
    for block in [content] if isinstance(content, str) else content:
        if isinstance(block, str):
            blocks += [{"type": "text", "text": block}] if block else []
            continue
        translate = _TRANSLATORS.get(str(block.get("type")), _other)
        for translated in translate(block, message):
            if "index" in block:
                translated.setdefault("index", block["index"])
            blocks.append(translated)
    blocks = with_tool_calls(blocks, message)
    if message.response_metadata.get("stop_reason") == "refusal" and not any(b["type"] == "refusal" for b in blocks):
        blocks.append(refusal(message.response_metadata.get("stop_details")))
    return cast("list[ContentBlock]", blocks)


translate_content_chunk = translate_content


def _text(block: Block, message: AIMessage) -> list[Block]:
    text: Block = {"type": "text", "text": block.get("text") or ""}
    text |= {key: block[key] for key in ("annotations", "extras") if key in block}  # a standard block
    if block.get("citations"):
        text["annotations"] = [_annotation(citation) for citation in block["citations"]]
    return [text]


def _annotation(citation: Any) -> Block:
    required, title = CITATIONS.get(str(citation.get("type")), ({""}, "")) if isinstance(citation, dict) else ({""}, "")
    if not isinstance(citation, dict) or not required <= citation.keys():
        return {"type": "non_standard_annotation", "value": citation}
    said: Block = {"type": "citation", "cited_text": citation["cited_text"]}
    said |= {key: citation[of] for key, of in (("url", "url"), ("title", title)) if citation.get(of) is not None}
    return said | rest(citation, "cited_text", "url", title)


def _thinking(block: Block, message: AIMessage) -> list[Block]:
    return [{"type": "reasoning", "reasoning": block.get("thinking") or "", **rest(block, "thinking")}]


def _tool_use(block: Block, message: AIMessage) -> list[Block]:
    """Say a call of the caller's: as far as it has come in a stream, else with the arguments the message read."""
    extras = rest(block, "id", "name", "input", "partial_json")
    said = call_blocks(message, block.get("id"), block.get("index"))
    if said is not None:
        return [{**call, **extras} for call in said]
    if not block.get("name"):
        return []  # the end of a call that a stream has said
    args = _input(block)
    return [{"type": "tool_call", "id": block.get("id"), "name": block["name"], "args": args, **extras}]


def _arguments_delta(block: Block, message: AIMessage) -> list[Block]:
    said = call_blocks(message, None, block.get("index"))
    if said is not None:
        return said
    if not is_unfinished(message):
        return [non_standard(block)]
    return [{"type": "server_tool_call_chunk", "args": block.get("partial_json") or ""}]


def _server_tool_use(block: Block, message: AIMessage) -> list[Block]:
    name = str(block.get("name") or "")
    said: Block = {"name": STANDARD_NAMES.get(name, name), "id": block.get("id")}
    extras = rest(block, "id", "name", "input", "partial_json")
    if block["type"] == "mcp_tool_use" and name:  # the end of one, in a stream, has its input only
        said["name"] = "remote_mcp"
        extras = {"extras": {"tool_name": name, **extras.get("extras", {})}}
    if is_unfinished(message):
        args = block.get("partial_json") or (to_json(block["input"]).decode() if block.get("input") else "")
        part = {key: value for key, value in said.items() if value}
        return [{"type": "server_tool_call_chunk", "args": args, **part, **extras}]
    return [{"type": "server_tool_call", **said, "args": _input(block), **extras}]


def _input(block: Block) -> Any:
    """Return the arguments; a stream of another client may have left them as text."""
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
    extras = {"block_type": block["type"], **rest(block, "tool_use_id", "content", "is_error").get("extras", {})}
    result: Block = {
        "type": "server_tool_result",
        "tool_call_id": block.get("tool_use_id") or "",
        "status": "error" if failed else "success",
        "extras": extras,
    }
    if output is not None:
        result["output"] = output
    return result


def refusal(details: Any) -> Block:
    """Say that the model refused; https://docs.claude.com/en/docs/test-and-evaluate/strengthen-guardrails, 2026-11."""
    known = details if isinstance(details, Mapping) else {}
    said: Block = {"type": "refusal", "refusal": known.get("explanation") or ""}
    return {**said, "extras": {"category": known["category"]}} if known.get("category") else said


def _other(block: Block, message: AIMessage) -> list[Block]:
    kind = str(block.get("type"))
    if kind.endswith("_tool_result"):
        return [_server_tool_result(block)]
    return [dict(cast("Block", standard_block(block)))] if is_known_block(block) else [non_standard(block)]


_TRANSLATORS: dict[str, Callable[[Block, Any], list[Block]]] = {
    "text": _text,
    "thinking": _thinking,
    "tool_use": _tool_use,
    "input_json_delta": _arguments_delta,
    "server_tool_use": _server_tool_use,
    "mcp_tool_use": _server_tool_use,
}
