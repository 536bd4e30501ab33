"""Reads answers that are lists of blocks, and their token counts, for Anthropic's and Bedrock's wires. No I/O here."""

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
    """Return the content of an answer as standard blocks, followed by the tool calls that no block has.

    `translators` has the function for each type of block; `other` translates all other types.
    """
    blocks: list[Any] = []
    for block in as_blocks(message.content):
        for translated in translators.get(type_of(block), other)(block, message):
            if "index" in block:
                translated.setdefault("index", block["index"])
            blocks.append(translated)
    return with_tool_calls(blocks, message)


def text_with_annotations(annotation: Callable[[Any], Block]) -> Translator:
    """Return a translator of text blocks that converts each citation with `annotation`."""

    def translate(block: Block, message: AIMessage) -> list[Block]:
        text: Block = {"type": "text", "text": block.get("text") or ""}
        # A block that is a standard one already has these keys.
        text |= {key: block[key] for key in ("annotations", "extras") if key in block}
        if block.get("citations"):
            text["annotations"] = [annotation(citation) for citation in block["citations"]]
        return [text]

    return translate


def called(block: Block, message: AIMessage, args: Any, extras: Block) -> list[Block]:
    """Return the standard blocks of a tool call: its chunks while a stream runs, else the call that the message has.

    A message without that call gets one made of the block's name and `args`. `extras` is added to each block.
    """
    calls = call_blocks(message, block.get("id"), block.get("index"))
    if calls is not None:
        return [{**call, **extras} for call in calls]
    if not block.get("name"):
        return []  # the end of a call whose chunks have been returned already
    return [
        {"type": "tool_call", "id": block.get("id"), "name": block["name"], "args": args, **extras}
    ]


def usage_beside_cache(usage: Fields, names: Sequence[str], written: Fields) -> Any:
    """Return the usage metadata of an answer whose wire reports cached tokens apart from the input tokens.

    `names` are the wire's keys of four counts: input, output, read from the cache, written to the cache. The
    `input_tokens` of the result include the last two. `written` has the tokens written to the cache by lifetime, as
    prices depend on it. Returns None, and no zeros, if the wire has sent no counts.
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
