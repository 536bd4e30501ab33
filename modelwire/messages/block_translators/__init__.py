"""`content_blocks`: the content of a message as standard blocks, whatever provider it came from. Pure.

Each wire reads its own answers (`blocks_from_wire.py` in its folder);
`response_metadata["model_provider"]` names the provider. You may register a reader for your own
provider. All other content goes through `standard`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from modelwire.messages.block_translators.standard import (
    is_known_block,
    is_unfinished,
    standard_blocks,
    with_calls_whole,
    with_tool_calls,
)
from modelwire.records import NamedTuple

if TYPE_CHECKING:
    from modelwire.messages.ai import AIMessage, AIMessageChunk
    from modelwire.messages.base import BaseMessage
    from modelwire.messages.content import ContentBlock

__all__ = ["Translator", "get_translator", "register_translator", "translate"]


class Translator(NamedTuple):
    """The two functions that turn a provider's content into standard blocks: of whole answers and of chunks."""

    translate_content: Callable[[AIMessage], list[ContentBlock]]
    translate_content_chunk: Callable[[AIMessageChunk], list[ContentBlock]]


PROVIDER_TRANSLATORS: dict[str, Translator] = {}


def register_translator(
    provider: str,
    translate_content: Callable[[AIMessage], list[ContentBlock]],
    translate_content_chunk: Callable[[AIMessageChunk], list[ContentBlock]],
) -> None:
    """Register the functions that convert the blocks of `provider` (in `response_metadata["model_provider"]`)."""
    PROVIDER_TRANSLATORS[provider] = Translator(translate_content, translate_content_chunk)


def get_translator(provider: str) -> Translator | None:
    """Return the translator for a provider's answers, or None if they need none."""
    return PROVIDER_TRANSLATORS.get(provider) or translator_of_row(provider)


@lru_cache(maxsize=256)
def translator_of_row(provider: str) -> Translator | None:
    """Return the translator of a provider that modelwire knows, or None if there is none.

    Results are cached, because every read of `content_blocks` needs one.
    """
    if not provider:
        return None
    from modelwire.messages.block_readers import reader_of_provider

    read = reader_of_provider(provider)
    if read is None:
        return None
    return Translator(read, read)


def translate(message: BaseMessage) -> list[ContentBlock]:
    """Return the content of a message as standard blocks; the message is not changed.

    Content that is marked as standard already (`response_metadata["output_version"] == "v1"`) is
    returned itself.
    """
    content: Any = message.content
    if not hasattr(message, "tool_calls"):
        return standard_blocks(content)
    answer = cast("AIMessage", message)
    if answer.response_metadata.get("output_version") == "v1" and isinstance(content, list):
        return cast(
            "list[ContentBlock]",
            content if is_unfinished(answer) else with_calls_whole(content, answer),
        )
    translator = get_translator(str(answer.response_metadata.get("model_provider", "")))
    if translator is None and answer.response_metadata.get("object") == "response":
        # It is an answer of another service in the form of the Responses API.
        translator = get_translator("openai")
    if translator is not None:
        if hasattr(message, "tool_call_chunks"):
            return translator.translate_content_chunk(cast("AIMessageChunk", message))
        return translator.translate_content(answer)
    if isinstance(content, list) and content and all(is_known_block(block) for block in content):
        return with_tool_calls(cast("list[ContentBlock]", list(content)), answer)
    blocks = standard_blocks(content)
    refusal = answer.additional_kwargs.get("refusal")
    if isinstance(refusal, str) and refusal:
        blocks.append({"type": "refusal", "refusal": refusal})
    reasoning = answer.additional_kwargs.get("reasoning_content")
    if (
        isinstance(reasoning, str)
        and reasoning
        and not any(block.get("type") == "reasoning" for block in blocks)
    ):
        blocks.insert(0, {"type": "reasoning", "reasoning": reasoning})
    return with_tool_calls(blocks, answer)
