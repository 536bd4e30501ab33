"""Estimates how many tokens messages have, by their characters: no tokenizer, no model, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

from modelwire.errors import InvalidArgument
from modelwire.messages.ai import AIMessage
from modelwire.messages.base import BaseMessage
from modelwire.messages.conversion import convert_to_messages, openai_role

if TYPE_CHECKING:
    from modelwire.messages.any_message import MessageLikeRepresentation

__all__ = ["count_tokens_approximately"]

IMAGES = frozenset({"image", "image_url", "input_image"})
# An estimate is scaled up by at most this factor: if the reported usage is larger, it includes
# tokens that are not in the messages.
MOST_SCALING = 1.25


def count_tokens_approximately(
    messages: Iterable[MessageLikeRepresentation],
    *,
    chars_per_token: float = 4.0,
    extra_tokens_per_message: float = 3.0,
    count_name: bool = True,
    tokens_per_image: int = 85,
    use_usage_metadata_scaling: bool = False,
    tools: Sequence[Any] | None = None,
) -> int:
    """Return an estimate of the tokens of messages and of the tools sent with them.

    The content, role, name, tool calls and tool call id of a message are counted and rounded up, so
    that counts of parts of a history can be added. `tokens_per_image` is what OpenAI counts for an
    image in low detail. `use_usage_metadata_scaling` multiplies the estimate by a factor of 1 to
    1.25: the last usage that the model reported, divided by the estimate for the same messages.

    Raises: `InvalidArgument` for `chars_per_token` of 0 or less.
    """
    if not chars_per_token > 0:
        raise InvalidArgument(f"`chars_per_token` must be above 0, not `{chars_per_token}`.")
    history = convert_to_messages(messages)
    total = float(sum(ceil(len(_schema(tool)) / chars_per_token) for tool in tools or ()))
    reported = estimated = None
    for message in history:
        chars, images = _size(message, count_name=count_name)
        total += (
            ceil(chars / chars_per_token) + images * tokens_per_image + extra_tokens_per_message
        )
        if isinstance(message, AIMessage) and message.usage_metadata is not None:
            reported = message.usage_metadata["total_tokens"]
            estimated = total
    if use_usage_metadata_scaling and reported and estimated and _by_one_provider(history):
        total *= min(MOST_SCALING, max(1.0, reported / estimated))
    return ceil(total)


def count_tokens_by(
    measure: Callable[[str], int], messages: Any, tools: Iterable[Any] | None = None
) -> int:
    """Return the number of tokens of messages and tools; `measure` counts the tokens of one text.

    Tokens around messages are counted as for OpenAI's models:
    https://github.com/openai/openai-cookbook, "How to count tokens with tiktoken", read 2026-11.
    """
    sizes = [
        _size(message, count_name=True, measure=measure)
        for message in convert_to_messages(messages)
    ]
    total = sum(tokens + 3 + 85 * images for tokens, images in sizes) + 3
    return total + sum(measure(_schema(tool)) for tool in tools or ())


def _size(
    message: BaseMessage, *, count_name: bool, measure: Callable[[str], int] = len
) -> tuple[int, int]:
    """Return a message's characters, or the sum of `measure` over its texts, and its number of images."""
    chars = images = 0
    counted_ids: set[Any] = set()
    content = message.content
    for block in [content] if isinstance(content, str) else content:
        if isinstance(block, str):
            chars += measure(block)
        elif block.get("type") in IMAGES:
            images += 1
        elif block.get("type") == "text" and isinstance(block.get("text"), str):
            chars += measure(block["text"])
        else:
            chars += measure(repr(block))
            counted_ids |= {block.get("id"), block.get("call_id")}
    if isinstance(message, AIMessage):
        calls = [
            call
            for call in message.tool_calls
            if call["id"] is None or call["id"] not in counted_ids
        ]
        chars += measure(repr(calls)) if calls else 0
    chars += measure(getattr(message, "tool_call_id", ""))
    chars += measure(openai_role(message) or message.type)
    if count_name and message.name:
        chars += measure(message.name)
    return chars, images


def _by_one_provider(history: Iterable[BaseMessage]) -> bool:
    """Return whether all answers came from one provider: usages of different tokenizers cannot be compared."""
    providers = {
        message.response_metadata.get("model_provider")
        for message in history
        if isinstance(message, AIMessage)
    }
    return len(providers) == 1 and None not in providers


def _schema(tool: Any) -> str:
    import json

    if not isinstance(tool, Mapping):
        from modelwire.tools.function_calling import convert_to_openai_tool

        tool = convert_to_openai_tool(tool)
    return json.dumps(tool, default=str)
