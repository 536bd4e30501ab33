"""Converts standard blocks of users, assistants and tools to blocks of Anthropic's Messages API. No I/O here.

Wire format: https://docs.anthropic.com/en/api/messages, read 2026-11, and the request types of `anthropic` 2.11.
A block in another wire's form is converted to a standard block first. A block of Anthropic's own type is sent without
the keys that only an answer has (`index`), and otherwise unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from modelwire.adapters.wires.anthropic.blocks_from_wire import CITATIONS
from modelwire.adapters.wires.json import text_or_none
from modelwire.adapters.wires.outgoing_messages import (
    kind_of,
    safe_call_id,
    text_of,
    value_of,
    without_data,
)
from modelwire.errors import InvalidArgument
from modelwire.messages.block_readers import is_readable
from modelwire.messages.block_translators.standard import (
    AnyBlock,
    Block,
    Writers,
    extra_field,
    extras_of,
    standard_block,
    type_of,
    without,
)

# The keys that modelwire or LangChain add to the blocks of answers. They are not sent: the API rejects unknown keys.
ANSWER_KEYS = frozenset({"index", "partial_json"})
# Anthropic's own types of blocks that a tool's result may have (anthropic 2.11, `ToolResultBlockParam`).
RESULT_TYPES = frozenset({"document", "search_result", "tool_reference"})
# The keys of a document beside its source. They may be in the extras of the standard block.
DOCUMENT_KEYS = ("title", "context", "citations")
# The types of blocks that cannot be sent, and their names in the error.
NO_WIRE = {"audio": "audio", "input_audio": "audio", "video": "video"}


def user_blocks(content: str | Sequence[Any]) -> list[Block]:
    """Return Anthropic's blocks for a user's content, without empty texts, which the API rejects.

    Raises `InvalidArgument` for audio, video and incomplete blocks.
    """
    if isinstance(content, str):
        if content.strip():
            return [plain_text(content)]
        return []
    blocks = (to_wire(item) for item in content)
    return [block for block in blocks if block is not None]


def to_wire(item: Any) -> Block | None:
    """Return Anthropic's block for one block of content, or None for an empty text.

    Raises `InvalidArgument` for audio, video and incomplete blocks.
    """
    if isinstance(item, str):
        return plain_text(item) if item.strip() else None
    kind = kind_of(item)
    if "source" in item and kind in ("image", "document"):
        return as_it_is(item)
    standard: AnyBlock = standard_block(dict(item))
    standard_kind = standard["type"]
    if (medium := NO_WIRE.get(kind) or NO_WIRE.get(standard_kind)) is not None:
        raise InvalidArgument(
            f"The Anthropic Messages API takes no {medium}: a block of type `{kind}` cannot be sent. "
            "Send its transcript as text, or choose a model of another provider."
        )
    if standard_kind == "non_standard" and kind != "non_standard":
        if is_readable(kind):
            raise without_data(item, kind)
        return as_it_is(item)
    write = TO_WIRE.get(standard_kind)
    if write is not None:
        return write(standard)
    return as_it_is(item)


def is_sayable(item: AnyBlock) -> bool:
    """Return whether a block of another provider's answer can be sent to Anthropic, as it is text or data."""
    return standard_block(dict(item))["type"] in TO_WIRE.keys() - {"non_standard"}


def plain_text(text: str) -> Block:
    """Return a text block."""
    return {"type": "text", "text": text}


def as_it_is(item: AnyBlock) -> Block:
    """Return a copy of a block without the keys that only an answer has."""
    return without(item, *ANSWER_KEYS)


def text_block(item: AnyBlock) -> Block | None:
    """Return Anthropic's block for a text, with its citations and its cache mark; None for an empty text."""
    text = text_of(item)
    if not text.strip():
        return None
    block = plain_text(text)
    if citations := item.get("citations"):
        # A citation in an answer has a `file_id`, one in a request must not (anthropic 2.11, `TextCitationParam`).
        if not isinstance(citations, list) or not all(
            isinstance(citation, Mapping) for citation in citations
        ):
            raise InvalidArgument("The `citations` of a text must be a list of dicts.")
        block["citations"] = [without(citation, "file_id") for citation in citations]
    return _marked(block, item)


def _refusal(item: AnyBlock) -> Block | None:
    return text_block({"type": "refusal", "text": item.get("refusal")})


def _image(item: AnyBlock) -> Block:
    return _marked({"type": "image", "source": _source(item, "image")}, item)


def _file(item: AnyBlock) -> Block:
    """Return a document block, or an image block if the file is an image."""
    return _document(_source(item, "file"), item)


def _text_file(item: AnyBlock) -> Block:
    if not isinstance(text := item.get("text"), str):
        return _file({"mime_type": "text/plain", **item})
    return _document({"type": "text", "media_type": "text/plain", "data": text}, item)


def _document(source: Block, item: AnyBlock) -> Block:
    media_type = source.get("media_type") or text_or_none(item.get("mime_type")) or ""
    if str(media_type).startswith("image/"):
        return _marked({"type": "image", "source": source}, item)
    block: Block = {"type": "document", "source": _document_source(source)}
    for key in DOCUMENT_KEYS:
        if (value := extra_field(item, key)) is not None:
            block[key] = value
    if "title" not in block and (name := extra_field(item, "filename", "name")):
        block["title"] = name
    return _marked(block, item)


TO_WIRE: Writers = {
    "text": text_block,
    "refusal": _refusal,
    "image": _image,
    "file": _file,
    "text-plain": _text_file,
    "non_standard": lambda item: to_wire(value_of(item)),
}


def _source(item: AnyBlock, kind: str) -> Block:
    """Return Anthropic's `source` for the data of a standard block. Raises `InvalidArgument` if there is no data."""
    if isinstance(data := item.get("base64"), str):
        return _base64_source(data, text_or_none(item.get("mime_type")), kind)
    if isinstance(url := item.get("url"), str):
        return _url_source(url, kind)
    if isinstance(file_id := item.get("file_id"), str):
        return {"type": "file", "file_id": file_id}
    raise without_data(item, kind)


def _base64_source(data: str, media_type: str | None, kind: str) -> Block:
    if media_type is None and kind == "file":
        media_type = "application/pdf"
    if media_type is None:
        raise InvalidArgument(
            f"A block of type `{kind}` with `base64` needs its `mime_type`, such as `image/png`."
        )
    return {"type": "base64", "media_type": media_type, "data": data}


def _url_source(url: str, kind: str) -> Block:
    """Return Anthropic's `source` for a URL. A `data:` URL is sent as base64; the provider fetches an `http(s)` URL.

    Raises `InvalidArgument` for any other URL.
    """
    if url[:5].lower() == "data:":
        head, comma, data = url[5:].partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise InvalidArgument(
                f"The `data:` URL of a `{kind}` block must be of the form `data:image/png;base64,...`."
            )
        return _base64_source(data, head.partition(";")[0] or None, kind)
    if not re.match(r"(?i)https?://", url):
        raise InvalidArgument(
            f"The URL of a `{kind}` block must begin with `https://`, `http://` or `data:`."
        )
    return {"type": "url", "url": url}


def _document_source(source: Block) -> Block:
    """Return Anthropic's `source` of a document, with base64 of a text decoded.

    The API accepts base64 for PDF only (anthropic 2.11, `DocumentBlockParam`). Raises `InvalidArgument` for a file that
    is neither PDF nor text.
    """
    media_type = source.get("media_type")
    if source["type"] != "base64" or media_type == "application/pdf":
        return source
    if not isinstance(media_type, str) or not media_type.startswith(("text/", "application/json")):
        raise InvalidArgument(
            f"The Anthropic Messages API takes files as PDF or text, not as `{media_type}`."
        )
    return {"type": "text", "media_type": "text/plain", "data": text_of_data(source["data"])}


def text_of_data(data: str) -> str:
    """Return the text of base64 data. Raises `InvalidArgument` if it is not base64 of UTF-8."""
    from base64 import b64decode

    try:
        return b64decode(data, validate=True).decode("utf-8")
    except ValueError as exc:
        raise InvalidArgument("The `base64` of a text file is not base64 of UTF-8 text.") from exc


def _marked(block: Block, item: AnyBlock) -> Block:
    """Add the cache mark of the original block `item`, if it has one, and return the block."""
    if (cache_control := extra_field(item, "cache_control")) is not None:
        block["cache_control"] = cache_control
    return block


def system_blocks(content: str | Sequence[Any]) -> list[Block]:
    """Return the blocks of a system message. Raises `InvalidArgument` for images and documents in it."""
    blocks = user_blocks(content)
    for block in blocks:
        if block["type"] in ("image", "document"):
            raise InvalidArgument(
                f"A system message takes text, not a block of type `{block['type']}`."
            )
    return blocks


def tool_use(call: AnyBlock) -> Block:
    """Return Anthropic's block for a tool call."""
    return {
        "type": "tool_use",
        "id": safe_call_id(call.get("id")),
        "name": call["name"],
        "input": call.get("args") or {},
    }


def tool_result(content: str | Sequence[Any], *, tool_call_id: str, is_error: bool) -> Block:
    """Return Anthropic's block for a tool's result. An empty result has no `content`."""
    block: Block = {"type": "tool_result", "tool_use_id": safe_call_id(tool_call_id)}
    if isinstance(content, str):
        if content:
            block["content"] = content
    elif blocks := _result_blocks(content):
        block["content"] = blocks
        # A cache mark applies to the whole result.
        for marked in [inner for inner in blocks if "cache_control" in inner]:
            block["cache_control"] = marked.pop("cache_control")
    if is_error:
        block["is_error"] = True
    return block


def _result_blocks(content: Sequence[Any]) -> list[Block]:
    """Return the blocks for a list that a tool returned. A value that is not a content block becomes JSON text."""
    from pydantic_core import to_json

    blocks: list[Block] = []
    for item in content:
        kind = type_of(item)
        is_known = kind in TO_WIRE or kind in NO_WIRE or kind in RESULT_TYPES or is_readable(kind)
        if isinstance(item, str) or is_known:
            block = to_wire(item)
        else:
            block = plain_text(to_json(item, fallback=str).decode())
        if block is not None:
            blocks.append(block)
    return blocks


def citations_of(item: AnyBlock) -> list[Block] | None:
    """Return the citations of a text in Anthropic's form, converted from `annotations` if needed; None without any."""
    if citations := _dicts(item.get("citations")):
        return citations
    citations_or_none = map(_citation, _dicts(item.get("annotations")))
    return [citation for citation in citations_or_none if citation is not None] or None


def _dicts(value: Any) -> list[Block]:
    if isinstance(value, list | tuple):
        return [dict(item) for item in value if isinstance(item, Mapping)]
    return []


def _citation(annotation: AnyBlock) -> Block | None:
    """Return Anthropic's citation for a standard annotation; None if another provider made the annotation."""
    if annotation.get("type") == "non_standard_annotation" and isinstance(
        annotation.get("value"), Mapping
    ):
        return dict(annotation["value"])
    extras = extras_of(annotation)
    for kind, (mark, title) in CITATIONS.items():
        if mark in extras:
            citation = {"type": kind, **extras, "cited_text": annotation.get("cited_text") or ""}
            if "url" in annotation:
                citation["url"] = annotation["url"]
            return citation | {title: annotation.get("title")}
    return None


def _thinking(item: AnyBlock) -> Block | None:
    """Return the `thinking` block for a `reasoning` block with Anthropic's signature; None without a signature."""
    extras = extras_of(item)
    signature = item.get("signature") or extras.get("signature")
    if not isinstance(signature, str):
        return None
    return {
        **extras,
        "type": "thinking",
        "thinking": item.get("reasoning") or "",
        "signature": signature,
    }


def _server_tool_use(item: AnyBlock) -> Block:
    """Return Anthropic's block for the call of a tool that Anthropic or an MCP server ran."""
    extras = extras_of(item)
    kind = "server_tool_use"
    name = item.get("name")
    if name == "remote_mcp":
        kind = "mcp_tool_use"
        name = extras.pop("tool_name", None)
    elif name == "code_interpreter":
        name = "code_execution"
    return {
        "type": kind,
        **extras,
        "id": item.get("id"),
        "name": name,
        "input": item.get("args") or {},
    }


def _server_tool_result(item: AnyBlock) -> Block | None:
    """Return Anthropic's block for the result of a tool that it ran; None if the block lacks Anthropic's type."""
    extras = extras_of(item)
    kind = extras.pop("block_type", None)
    if not isinstance(kind, str):
        return None
    block = {
        "type": kind,
        **extras,
        "tool_use_id": item.get("tool_call_id"),
        "content": item.get("output"),
    }
    if kind == "mcp_tool_result":  # The content of other results shows whether they are errors.
        block["is_error"] = item.get("status") == "error"
    return block


# The function that converts each type of standard block that is neither text nor data, but an action of the model.
ANSWER_TO_WIRE: Writers = {
    "reasoning": _thinking,
    "server_tool_call": _server_tool_use,
    "server_tool_result": _server_tool_result,
}
