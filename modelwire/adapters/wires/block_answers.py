"""What the wires with lists of blocks do alike with answers: Anthropic's and Bedrock's. No I/O here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelwire.adapters.wires.json import counts_of
from modelwire.aliases import JSON, Fields
from modelwire.messages.block_translators.standard import (
    Block,
    as_blocks,
    call_blocks,
    type_of,
    with_tool_calls,
)

if TYPE_CHECKING:
    from modelwire.messages.ai import AIMessage

Translator = Callable[[Block, Any], list[Block]]


def translated_blocks(
    message: AIMessage, translators: Mapping[str, Translator], other: Translator
) -> list[Any]:
    """Return the content as standard blocks, each made by the translator of its type, and the tool calls beside it."""
    blocks: list[Any] = []
    for block in as_blocks(message.content):
        for translated in translators.get(type_of(block), other)(block, message):
            if "index" in block:
                translated.setdefault("index", block["index"])
            blocks.append(translated)
    return with_tool_calls(blocks, message)


def text_with_annotations(annotation: Callable[[Any], Block]) -> Translator:
    """Return the translator of texts, whose citations `annotation` makes standard."""

    def translate(block: Block, message: AIMessage) -> list[Block]:
        text: Block = {"type": "text", "text": block.get("text") or ""}
        text |= {
            key: block[key] for key in ("annotations", "extras") if key in block
        }  # a standard block
        if block.get("citations"):
            text["annotations"] = [annotation(citation) for citation in block["citations"]]
        return [text]

    return translate


def called(block: Block, message: AIMessage, args: Any, extras: Block) -> list[Block]:
    """Return a call of the caller's tool: what a stream has brought so far, else what the message has parsed."""
    calls = call_blocks(message, block.get("id"), block.get("index"))
    if calls is not None:
        return [{**call, **extras} for call in calls]
    if not block.get("name"):
        return []  # the end of a call whose parts a stream has brought already
    return [
        {"type": "tool_call", "id": block.get("id"), "name": block["name"], "args": args, **extras}
    ]


def usage_beside_cache(usage: Fields, names: Sequence[str], written: Fields) -> Any:
    """Return the tokens, counted as for every provider, where the wire counts what the cache read and wrote apart.

    `names` are those of the input, the output, and what the cache read and wrote: `input_tokens` includes both.
    `written` are the parts of the last by lifetime, as they differ in price. `None` without counts: never 0.
    """
    fresh, output, read, created = counts_of(usage, names)
    if fresh is None and output is None:
        return None
    all_input = (fresh or 0) + (read or 0) + (created or 0)
    out = output or 0
    metadata: JSON = {
        "input_tokens": all_input,
        "output_tokens": out,
        "total_tokens": all_input + out,
    }
    if read is not None or created is not None or written:
        details = {"cache_read": read, "cache_creation": created, **written}
        metadata["input_token_details"] = {
            name: count for name, count in details.items() if count is not None
        }
    return metadata
