"""Converts messages to Converse's `system` and turns of user and assistant. No I/O here.

A history for any other wire is converted by these rules:

- System messages at the beginning become `system`. A later one becomes text of the user's turn, between `<system>`
  tags. A history of system messages alone becomes a user's turn.
- Successive messages of one role become one turn, as turns must alternate. A turn's tool results come first.
- Empty texts, and messages without other content, are left out.
- White space at the end of a last assistant turn is removed.
- Of an answer over another wire only texts, data and tool calls are sent. Only the provider that sent reasoning,
  citations and calls of server tools accepts them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelwire.adapters.wires.bedrock.blocks_to_wire import (
    TO_WIRE,
    answer_block,
    blocks_to_wire,
    tool_result,
    tool_use,
)
from modelwire.adapters.wires.bedrock.response import MODEL_PROVIDER
from modelwire.adapters.wires.json import dict_or_empty, dicts_in
from modelwire.adapters.wires.outgoing_messages import (
    calls_of,
    role_of,
    take_call,
    with_paired_calls,
    with_results_apart,
)
from modelwire.aliases import JSON
from modelwire.errors import InvalidArgument
from modelwire.messages import AIMessage, BaseMessage
from modelwire.messages.block_translators.standard import Block, type_of

# The role of a turn (user or assistant) and its blocks.
Turn = tuple[str, list[Block]]

# The role for each type of message and each role of a `ChatMessage`.
_ROLES = {
    "user": "user",
    "human": "user",
    "tool": "tool",
    "assistant": "assistant",
    "ai": "assistant",
    "system": "system",
    "developer": "system",
}


def turns_from_messages(
    messages: Sequence[BaseMessage], left_out: list[str]
) -> tuple[list[Block], list[JSON]]:
    """Return the `system` of the request, which may be empty, and its `messages`.

    A sentence for each block that cannot be sent is added to `left_out`. Raises `InvalidArgument` for a history without
    content.
    """
    turns: list[Turn] = []
    system: list[Block] = []
    only_texts = True
    for message in with_results_apart(with_paired_calls(messages)):
        role = role_of(message, _ROLES, "Bedrock's Converse")
        only_texts = only_texts and message.content.__class__ is str
        if role == "tool":
            role = "user"
            blocks = [tool_result(message)]
        elif isinstance(message, AIMessage):
            blocks = _assistant_blocks(message, left_out)
        else:
            blocks = blocks_to_wire(message.content)
        if role == "system":
            if not turns:
                system += blocks
                continue
            role = "user"
            blocks = [_later_instruction(block) for block in blocks]
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        elif blocks:
            turns.append((role, blocks))
    if not turns and system:
        turns = [("user", system)]
        system = []
    if not turns:
        raise InvalidArgument(
            "The messages are empty: at least one must have text or another content block."
        )
    _strip_prefill(turns[-1])
    if not only_texts:
        _name_documents_apart(turns)
    return system, [
        {"role": role, "content": _results_first(role, blocks)} for role, blocks in turns
    ]


def _strip_prefill(turn: Turn) -> None:
    """Remove white space at the end of an answer that the model is to continue, as Converse rejects it."""
    role, blocks = turn
    if role == "assistant" and "text" in (last := blocks[-1]):
        blocks[-1] = {**last, "text": last["text"].rstrip()}


def _later_instruction(block: Block) -> Block:
    """Return the user's block for a block of a system message after the first turn: a text gets `<system>` tags."""
    if "text" not in block:
        return block
    return {"text": f"<system>\n{block['text']}\n</system>"}


def _assistant_blocks(message: AIMessage, left_out: list[str]) -> list[Block]:
    """Return Converse's blocks for an answer, in order, then the tool calls that no block has.

    The arguments of a call are those of `tool_calls`, which the caller may have changed.
    """
    content: Any = message.content
    calls = calls_of(message)
    if isinstance(content, str):
        return blocks_to_wire(content) + [tool_use(call) for call in calls]
    own = message.response_metadata.get("model_provider") in (None, MODEL_PROVIDER)
    if not own or message.response_metadata.get("output_version") == "v1":
        content = [
            block for block in message.content_blocks if not (own and block["type"] == "refusal")
        ]
    blocks: list[Block] = []
    for item in content:
        if type_of(item) in (
            "tool_use",
            "tool_call",
            "invalid_tool_call",
        ):
            if (call := take_call(calls, item.get("id"))) is not None:
                blocks.append(tool_use(call))
        elif not own:
            blocks += _of_another_wire(item, message, left_out)
        elif (block := answer_block(item)) is not None:
            blocks.append(block)
    return blocks + [tool_use(call) for call in calls]


def _of_another_wire(item: Any, message: AIMessage, left_out: list[str]) -> list[Block]:
    """Return Converse's blocks for a standard block of an answer over another wire.

    The list is empty, and `left_out` gets a sentence, if the block cannot be sent.
    """
    kind = item.get("type") if isinstance(item, Mapping) else "text"
    provider = message.response_metadata.get("model_provider")
    why = "only the API that sent it accepts it."
    blocks = []
    if kind in TO_WIRE and kind != "non_standard":
        try:
            blocks = blocks_to_wire([item])
            why = ""
        except InvalidArgument as exc:
            why = str(exc)
    if why:
        left_out.append(f"A `{kind}` block of an answer of `{provider}` is left out: {why}")
    elif isinstance(item, Mapping) and item.get("annotations"):
        left_out.append(
            f"The citations in an answer of `{provider}` are left out: only the API that sent them accepts them."
        )
    return blocks


def _results_first(role: str, blocks: list[Block]) -> list[Block]:
    """Return a user's blocks with the tool results first. An assistant's results of server tools follow their calls."""
    if role != "user" or len(blocks) == 1:
        return blocks
    return sorted(blocks, key=lambda block: "toolResult" not in block)


def _name_documents_apart(turns: list[Turn]) -> None:
    """Add a number to the name of each document that an earlier one has, in place, as names must not repeat.

    "Messages can't contain duplicate document names" is Converse's error, seen in public issues, 2026-11.
    """
    names: set[str] = set()
    for block in [block for _, blocks in turns for block in blocks]:
        for place in (block, *dicts_in(dict_or_empty(block.get("toolResult")).get("content"))):
            if not (document := dict_or_empty(place.get("document"))):
                continue
            name = (first := str(document.get("name")))
            number = 1
            while name.casefold() in names:
                number += 1
                name = f"{first} ({number})"
            names.add(name.casefold())
            if name != first:
                place["document"] = {**document, "name": name}
