"""Converts messages to Anthropic's `system` and turns of user and assistant. No I/O here.

A history for any other wire is converted by these rules:

- System messages at the beginning become `system`. A later one stays at its place: as a `system` turn if the model and
  the place allow it (after a user's turn, and before an assistant's or at the end), else as text of the user's turn,
  between `<system>` tags. A history of system messages alone becomes a user's turn. Source, read 2026-11:
  https://platform.claude.com/docs/en/build-with-claude/mid-conversation-system-messages
- Successive messages of one role become one turn, whose tool results come first, as the API requires.
- Empty texts, and messages without other content, are left out.
- White space at the end of a last assistant turn (a prefill) is removed, as the API requires.
- Reasoning without Anthropic's signature is left out, because the API would reject it.

The first turn may be the assistant's (https://docs.anthropic.com/en/release-notes/api, 2024-10-08).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelwire.adapters.wires.anthropic.blocks_to_wire import (
    ANSWER_TO_WIRE,
    as_it_is,
    citations_of,
    is_sayable,
    plain_text,
    system_blocks,
    text_block,
    to_wire,
    tool_result,
    tool_use,
    user_blocks,
)
from modelwire.adapters.wires.outgoing_messages import (
    calls_of,
    role_of,
    safe_call_id,
    take_call,
    tool_call_id_of,
    with_paired_calls,
)
from modelwire.aliases import JSON, Fields
from modelwire.errors import InvalidArgument
from modelwire.messages import AIMessage, BaseMessage
from modelwire.messages.block_translators.standard import Block, type_of

# The content of a turn.
Content = str | list[Block]
# The role of a turn (user, assistant or, after the first messages, system) and its content.
Turn = tuple[str, Content]

# The wire's role for each type of message and each role of a `ChatMessage`.
_ROLES = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
}


def turns_from_messages(
    messages: Sequence[BaseMessage], *, system_turns: bool = False
) -> tuple[Content, list[JSON]]:
    """Return the `system` of the request ("" without one) and its `messages`.

    `system_turns`: the model accepts system messages later in the history. Raises `InvalidArgument` for a history
    without content, and for content that the API does not accept.
    """
    turns = [turn for message in with_paired_calls(messages) if (turn := _turn(message))[1]]
    head = 0
    while head < len(turns) and turns[head][0] == "system":
        head += 1
    system = _joined_system(turns[:head]) if head else ""
    turns = _merged(turns[head:])
    if not turns and system:
        turns = [("user", system)]
        system = ""
    if "system" in dict(turns):  # The keys of this dict are the roles.
        turns = _merged(_system_in_place(turns, allowed=system_turns))
    turns = _without_trailing_space([(role, _results_first(content)) for role, content in turns])
    if not turns:
        raise InvalidArgument(
            "The messages are empty: at least one must have text or another content block."
        )
    return system, [{"role": role, "content": content} for role, content in turns]


def _turn(message: Any) -> Turn:
    """Return the turn for a message, with empty content if nothing of the message can be sent."""
    role = role_of(message, _ROLES, "The Anthropic Messages API")
    if role == "tool":
        return "user", _tool_results(message)
    if isinstance(message, AIMessage):
        return role, _assistant_content(message)
    if role == "system" and not isinstance(message.content, str):
        return role, system_blocks(message.content)
    if isinstance(message.content, str):
        return role, message.content if message.content.strip() else ""
    return role, user_blocks(message.content)


def _tool_results(message: BaseMessage) -> list[Block]:
    """Return the blocks for a tool message. `tool_result` blocks in its content are sent unchanged."""
    content = message.content
    if content and all(type_of(block) == "tool_result" for block in content):
        return user_blocks(content)
    id = tool_call_id_of(message)
    is_error = getattr(message, "status", None) == "error"
    block = tool_result(content, tool_call_id=id, is_error=is_error)
    if toolset := message.additional_kwargs.get("toolset_name"):
        block["toolset_name"] = toolset  # anthropic 2.12, `ToolResultBlockParam`
    return [block]


def _assistant_content(message: AIMessage) -> Content:
    """Return the content for an answer: its blocks in order, then the tool calls that no block has.

    The arguments of a call are those of `tool_calls`, which the caller may have changed.
    """
    content: Any = message.content
    calls = calls_of(message)
    invalid = message.invalid_tool_calls
    if isinstance(content, str) and not calls:
        return content if content.strip() else ""
    if message.response_metadata.get("output_version") == "v1":
        # The calls of a summed stream are complete in these blocks.
        content = message.content_blocks
        if message.response_metadata.get("stop_reason") == "refusal":
            # The explanation of a refusal is not content that the model wrote.
            content = [block for block in content if block["type"] != "refusal"]
    own = message.response_metadata.get("model_provider") in (None, "anthropic")
    blocks: list[Block] = []
    items: list[Any] = [content] if isinstance(content, str) else content
    for item in items:
        if type_of(item) in ("tool_use", "tool_call"):
            call = take_call(calls, item.get("id"))
            if call is not None or not any(bad["id"] == item.get("id") for bad in invalid):
                blocks.append(_tool_use_again(item, call, own=own))
        elif (block := _assistant_block(item, own=own)) is not None:
            blocks.append(block)
    return blocks + [tool_use(call) for call in calls]


def _tool_use_again(item: Fields, call: Fields | None, *, own: bool) -> Block:
    """Return Anthropic's block for a tool call in an answer, with its other fields (`caller`, `cache_control`)."""
    block = as_it_is(item)
    arguments = block.pop("args", None) or block.get("input")
    extras = block.pop("extras", None)
    if own and isinstance(extras, Mapping):
        block = {**extras, **block}
    block |= {"type": "tool_use", "id": safe_call_id(item.get("id"))}
    if call is not None:
        block["input"] = call["args"]
    elif isinstance(arguments, dict):
        block["input"] = arguments
    else:
        block["input"] = {}
    return block


def _assistant_block(item: Any, *, own: bool) -> Block | None:
    """Return Anthropic's block for a block of an answer, or None to leave it out.

    `own`: the answer came over this wire, so that blocks of unknown types are sent unchanged.
    """
    kind = type_of(item)
    if not kind:
        return to_wire(item)  # `item` is a string, or `to_wire` raises an error.
    if kind in ("thinking", "redacted_thinking"):
        if kind == "redacted_thinking" or "signature" in item:
            return as_it_is(item)
        return None
    if kind == "text":
        return text_block({**item, "citations": citations_of(item) if own else None})
    if kind in ANSWER_TO_WIRE:
        return ANSWER_TO_WIRE[kind](item) if own else None
    if kind in _CALLS_OF_OTHERS:
        return None
    if own or is_sayable(item):
        return to_wire(item)
    return None


# The types of blocks that are skipped as tool calls: `tool_calls` and `invalid_tool_calls` have these calls too.
_CALLS_OF_OTHERS = frozenset(
    {
        "function_call",
        "custom_tool_call",
        "input_json_delta",
        "tool_call_chunk",
        "invalid_tool_call",
    }
)


def _blocks(content: Content) -> list[Block]:
    if isinstance(content, str):
        return [plain_text(content)]
    return content


def _joined_system(turns: Sequence[Turn]) -> Content:
    """Return the joined content of the first system messages: one string if all are strings, else a list of blocks."""
    if all(isinstance(content, str) for _, content in turns):
        return "\n\n".join(content for _, content in turns if isinstance(content, str))
    return [block for _, content in turns for block in _blocks(content)]


def _merged(turns: Sequence[Turn]) -> list[Turn]:
    """Return the turns with successive ones of the same role joined."""
    merged: list[Turn] = []
    for role, content in turns:
        if merged and merged[-1][0] == role:
            merged[-1] = role, _blocks(merged[-1][1]) + _blocks(content)
        else:
            merged.append((role, content))
    return merged


def _system_in_place(turns: Sequence[Turn], *, allowed: bool) -> list[Turn]:
    """Return the turns with each system turn that is not allowed at its place as a user's text in `<system>` tags."""
    placed: list[Turn] = []
    for at, (role, content) in enumerate(turns):
        if role == "system":
            after_user = at > 0 and turns[at - 1][0] == "user"
            before_answer = at + 1 == len(turns) or turns[at + 1][0] == "assistant"
            texts_only = all(block["type"] == "text" for block in _blocks(content))
            if texts_only and not (allowed and after_user and before_answer):
                role = "user"
                content = [
                    {**it, "text": f"<system>\n{it['text']}\n</system>"} for it in _blocks(content)
                ]
        placed.append((role, content))
    return placed


def _results_first(content: Content) -> Content:
    """Return content with its tool results first, and otherwise in the same order."""
    if isinstance(content, str) or not any(block["type"] == "tool_result" for block in content):
        return content
    return sorted(content, key=lambda block: block["type"] != "tool_result")


def _without_trailing_space(turns: list[Turn]) -> list[Turn]:
    """Return the turns without white space at the end of the text of a last assistant turn."""
    if not turns or turns[-1][0] != "assistant":
        return turns
    *before, (role, content) = turns
    if isinstance(content, str):
        return [*before, (role, content.rstrip())]
    last = content[-1]
    if last["type"] != "text":
        return turns
    return [*before, (role, [*content[:-1], {**last, "text": last["text"].rstrip()}])]
