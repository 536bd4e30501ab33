"""Converts blocks of OpenAI's Responses API, in messages of users and in answers, to standard blocks. No I/O here.

Answers of Chat Completions are converted here too: both APIs have the same provider name, and their messages have the
same fields beside the content.

Wire format: https://platform.openai.com/docs/api-reference/responses/object, read 2026-11. One item may become several
standard blocks. In a stream the `index` of each block is made of the item's index (and of the part's index in a
reasoning summary), so that the blocks of all chunks add up to the blocks of the unstreamed answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from modelwire.adapters.wires.json import dict_or_empty, text_or_none
from modelwire.adapters.wires.openai_chat.blocks_from_wire import read_file, read_image_url
from modelwire.aliases import Fields
from modelwire.messages.block_translators.standard import (
    Block,
    Readers,
    as_blocks,
    call_blocks,
    data_block,
    extras_of,
    non_standard,
    rest,
    some_of,
    standard_block,
    type_of,
    with_tool_calls,
    without,
)
from modelwire.messages.tool_calls import free_text_call, parse_tool_args, read_tool_call

if TYPE_CHECKING:
    from modelwire.messages.ai import AIMessage
    from modelwire.messages.content import ContentBlock

# For each type of citation: its fields that a standard citation has too, and their names there.
_CITATIONS = {
    "url_citation": {name: name for name in ("url", "title", "start_index", "end_index")},
    "file_citation": {"filename": "title"},
}
# The key of `additional_kwargs` under which scripts before LangChain 1.0 have the ids of items by the ids of calls.
_CALL_IDS = "__openai_function_call_ids__"


# The types of items that a user's message may contain, besides all `..._output` items. Source: openai 3.54,
# `ResponseInputItemParam`.
OWN_TYPES = frozenset(
    {
        "additional_tools",
        "compaction",
        "compaction_trigger",
        "configuration_update",
        "item_reference",
        "mcp_approval_response",
    }
)


def _input_text(block: Block) -> Block | None:
    if isinstance(block.get("text"), str):
        return {**block, "type": "text"}
    return None


def _input_image(block: Block) -> Block | None:
    if block.get("image_url"):
        return read_image_url(block)
    return data_block("image", block, file_id=block.get("file_id"))


def _input_file(block: Block) -> Block | None:
    keys = ("file_id", "file_data", "file_url", "filename")
    file = {key: value for key, value in block.items() if key in keys}
    return read_file(file, without(block, *keys))


FROM_WIRE: Readers = {
    "input_text": _input_text,
    "output_text": _input_text,
    "input_image": _input_image,
    "input_file": _input_file,
}


def answer_from_wire(message: AIMessage) -> list[ContentBlock]:
    """Return the content of an answer or of a chunk, and its fields beside the content, as standard blocks."""
    kwargs = message.additional_kwargs
    blocks: list[Any] = []
    for item in as_blocks(message.content):
        blocks += _item(item, message)
    blocks = _with_annotations(_with_id(blocks, message), kwargs.get("annotations"))
    blocks = [*_reasoning_before(kwargs), *blocks]
    refusal = text_or_none(kwargs.get("refusal"))
    if refusal is not None:
        blocks.append({"type": "refusal", "refusal": refusal})
    blocks = with_tool_calls(blocks, message)
    ids = kwargs.get(_CALL_IDS)
    if isinstance(ids, Mapping):
        blocks = [_with_item_id(block, ids) for block in blocks]
    for item in kwargs.get("tool_outputs") or ():
        blocks += _item(item, message) if isinstance(item, dict) else []
    return cast("list[ContentBlock]", blocks)


translate_content = translate_content_chunk = answer_from_wire  # The names that LangChain has.


def _reasoning_before(kwargs: Fields) -> list[Any]:
    """Return the reasoning beside the content as blocks: a text of Chat Completions, or an item of older scripts."""
    thought = text_or_none(kwargs.get("reasoning_content"))
    if thought is not None:
        return [{"type": "reasoning", "reasoning": thought}]
    item = kwargs.get("reasoning")
    if isinstance(item, dict):
        return _reasoning(item, None)
    return []


def _with_id(blocks: list[Any], message: AIMessage) -> list[Any]:
    """Return the blocks with the id of their item added to the texts. Older scripts have it as the message's id."""
    response_id = str(message.response_metadata.get("id"))
    has_items_id = response_id.startswith("resp_") and str(message.id).startswith("msg_")
    if has_items_id:
        for block in blocks:
            if block["type"] == "text":
                block.setdefault("id", message.id)
    return blocks


def _with_annotations(blocks: list[Any], annotations: Any) -> list[Any]:
    """Return the blocks with Chat Completions' citations, which are beside the content, added to the first text."""
    if not isinstance(annotations, list) or not annotations:
        return blocks
    for block in blocks:
        if block["type"] == "text" and "annotations" not in block:
            block["annotations"] = [_annotation(_unwrapped(it)) for it in annotations]
            break
    return blocks


def _unwrapped(annotation: Any) -> Any:
    kind = type_of(annotation)
    inner = annotation.get(kind) if kind else None
    if isinstance(inner, dict):
        return {"type": kind, **inner}
    return annotation


def _with_item_id(block: Block, ids: Fields) -> Block:
    if block["type"] not in ("tool_call", "tool_call_chunk"):
        return block
    item_id = ids.get(str(block.get("id")))
    if item_id:
        return {**block, "extras": {**extras_of(block), "item_id": item_id}}
    return block


def _item(item: Block, message: AIMessage) -> Iterable[Block]:
    translate = _TRANSLATORS.get(type_of(item), _other)
    return translate(item, message)


def _indexed(block: Block, item: Block, kind: str, *, after: int = 0) -> Block:
    index = item.get("index")
    if isinstance(index, int):
        return {**block, "index": f"lc_{kind}_{index + after}"}
    return block


def _text(item: Block, message: AIMessage) -> list[Block]:
    text = dict(item)
    if isinstance(item.get("annotations"), list):
        text["annotations"] = [_annotation(annotation) for annotation in item["annotations"]]
    return [_indexed(text, item, "txt")]


def _annotation(annotation: Any) -> Block:
    kind = type_of(annotation)
    if kind in ("citation", "non_standard_annotation"):
        return dict(annotation)
    if kind not in _CITATIONS:
        return {"type": "non_standard_annotation", "value": annotation}
    citation: Block = {"type": "citation"}
    extras = without(annotation, "type")
    for theirs, ours in _CITATIONS[kind].items():
        if theirs in extras:
            citation[ours] = extras.pop(theirs)
    if extras:
        citation["extras"] = extras
    return citation


def _refusal(item: Block, message: AIMessage) -> list[Block]:
    known: Block = {key: item[key] for key in ("id", "index") if key in item}
    refusal: Block = {"type": "refusal", "refusal": item.get("refusal") or "", **known}
    extras = extras_of(item) | without(item, "type", "index", "id", "refusal", "extras")
    if extras:
        refusal["extras"] = extras
    return [refusal]


def _reasoning(item: Block, message: AIMessage | None) -> list[Block]:
    """Return a block for each part of the summary. The first one has the other fields of the item as extras."""
    if "reasoning" in item or not ("summary" in item or "content" in item):
        return [dict(item)]  # The item is a standard block already.
    source = "summary" if item.get("summary") else "content"
    parts = item.get(source)
    if not isinstance(parts, list) or not parts:
        parts = [{}]
    index = item.get("index")
    blocks: list[Block] = []
    for at, part in enumerate(parts):
        fields = dict_or_empty(part)
        block: Block = {"type": "reasoning", **some_of(item, "id")}
        if "text" in fields:
            block["reasoning"] = fields["text"]
        if isinstance(index, int):
            # Hexadecimal makes a unique name of the two numbers, without another underscore.
            place = f"{index}_{fields.get('index', at)}".encode().hex()
            block["index"] = f"lc_rs_{place}"
        blocks.append(block)
    blocks[0] |= rest(item, "id", "summary", source)
    return blocks


def _function_call(item: Block, message: AIMessage) -> list[Block]:
    named = {"item_id": item["id"]} if item.get("id") else {}
    extras = rest({**named, **item}, "id", "call_id", "name", "arguments", "input")
    calls = call_blocks(message, item.get("call_id"), item.get("index"))
    if calls is None:
        calls = [_parsed(item)]
    return [_indexed({**call, **extras}, item, "tc") for call in calls]


def _parsed(item: Block) -> Block:
    name = item.get("name")
    id_ = item.get("call_id")
    call: Any
    if item["type"] == "custom_tool_call":
        call = free_text_call(name, item.get("input"), id_)
    else:
        call = read_tool_call(name, item.get("arguments"), id_)
    return {**call}


_STATUSES = {"completed": "success", "failed": "error", "incomplete": "error"}
# For each type of item: the tool's name, and the prefixes of the `index` of its call and of its result.
_SERVER_TOOLS = {
    "web_search_call": ("web_search", "wsc", "wsr"),
    "file_search_call": ("file_search", "fsc", "fsr"),
    "code_interpreter_call": ("code_interpreter", "cic", "cir"),
    "mcp_call": ("remote_mcp", "mcp", "mcpr"),
    "mcp_list_tools": ("mcp_list_tools", "mlt", "mltr"),
}


def _server_tool(item: Block, message: AIMessage) -> list[Block]:
    """Return the blocks of the call and of the result of a tool that the provider ran."""
    name, call_index, result_index = _SERVER_TOOLS[item["type"]]
    is_mcp = item["type"].startswith("mcp_")
    error = item.get("error")
    status = item.get("status")
    extras = {name: item[key] for key, name in _EXTRAS.items() if item.get(key)}
    if not is_mcp:
        extras.pop("status", None)
    call: Block = {"type": "server_tool_call", "name": name, "id": item.get("id"), "args": {}}
    try:
        call["args"] = _server_args(item)
    except ValueError:
        extras = {"arguments": item["arguments"], **extras}
    if extras:
        call["extras"] = extras
    result: Block = {"type": "server_tool_result", "tool_call_id": item.get("id") or ""}
    if outputs := [item[key] for key in _OUTPUTS if item.get(key) is not None]:
        result["output"] = outputs[0]
    if is_mcp:
        result["status"] = "error" if error else "success"
    elif status in _STATUSES:
        result["status"] = _STATUSES[status]
    elif status:
        result["extras"] = {"status": status}
    if error:
        result["extras"] = {"error": error}
    return [_indexed(call, item, call_index), _indexed(result, item, result_index, after=1)]


def _server_args(item: Block) -> Block:
    if "arguments" in item:
        return parse_tool_args(item["arguments"])
    if isinstance(item.get("action"), Mapping):
        return dict(item["action"])
    return {key: item[key] for key in ("queries", "code") if item.get(key) is not None}


# The fields of an item that become extras of its call, and their names there.
_EXTRAS = {
    "name": "tool_name",
    "server_label": "server_label",
    "container_id": "container_id",
    "status": "status",
    "approval_request_id": "approval_request_id",
}
# The fields under which items have their results.
_OUTPUTS = ("results", "outputs", "output", "tools")


def _image(item: Block, message: AIMessage) -> list[Block]:
    if not item.get("result"):
        return _other(item, message)
    image: Block = {"type": "image", "base64": item["result"]}
    if item.get("output_format"):
        image["mime_type"] = f"image/{item['output_format']}"
    image |= some_of(item, "id")
    return [_indexed(image | rest(item, "id", "result"), item, "img")]


def _other(item: Block, message: AIMessage) -> list[Block]:
    """Return a standard block or a data block unchanged, any other item as a `non_standard` block."""
    block = dict(cast("Block", standard_block(item)))
    if block["type"] == "non_standard":
        return [_indexed(non_standard(item), item, "ns")]
    return [block]


_TRANSLATORS: dict[str, Callable[[Block, Any], list[Block]]] = {
    "text": _text,
    "refusal": _refusal,
    "reasoning": _reasoning,
    "function_call": _function_call,
    "custom_tool_call": _function_call,
    "image_generation_call": _image,
    **dict.fromkeys(_SERVER_TOOLS, _server_tool),
}
