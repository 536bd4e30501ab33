"""`content_blocks`: the content of a message as standard blocks, whatever provider it came from. Pure.

A provider whose answers have blocks of their own registers how they are said in standard blocks; which one wrote an
answer stands in `response_metadata["model_provider"]`. Everything else goes through `standard`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from modelwire.messages.block_translators.standard import (
    is_known_block,
    is_unfinished,
    standard_blocks,
    with_calls_whole,
    with_tool_calls,
)

if TYPE_CHECKING:
    from modelwire.messages.ai import AIMessage, AIMessageChunk
    from modelwire.messages.base import BaseMessage
    from modelwire.messages.content import ContentBlock

__all__ = ["Translator", "get_translator", "register_translator", "translate"]


class Translator(NamedTuple):
    """How a provider's content is said in standard blocks: of whole answers and of chunks."""

    translate_content: Callable[[AIMessage], list[ContentBlock]]
    translate_content_chunk: Callable[[AIMessageChunk], list[ContentBlock]]


PROVIDER_TRANSLATORS: dict[str, Translator] = {}
# Those that come with this package, loaded when an answer of theirs is looked at. Who speaks Chat Completions under a
# name of its own writes plain text and tool calls, which need no translation; OpenAI's other names here, and the
# services, speak Responses too.
OWN_TRANSLATORS = {"anthropic": "anthropic"} | dict.fromkeys(
    (
        "openai", "azure", "azure_openai", "openrouter", "groq", "deepseek", "xai", "perplexity", "huggingface",
        "ollama", "vllm", "llamacpp", "lmstudio", "litellm", "moonshot", "local",
    ),
    "openai",
)  # fmt: skip


def register_translator(
    provider: str,
    translate_content: Callable[[AIMessage], list[ContentBlock]],
    translate_content_chunk: Callable[[AIMessageChunk], list[ContentBlock]],
) -> None:
    """Register how `provider` (as in `response_metadata["model_provider"]`) says its blocks."""
    PROVIDER_TRANSLATORS[provider] = Translator(translate_content, translate_content_chunk)


def get_translator(provider: str) -> Translator | None:
    """Return the provider's translator, or `None` where standard blocks do."""
    translator = PROVIDER_TRANSLATORS.get(provider)
    if translator is None and provider in OWN_TRANSLATORS:
        module = import_module(f"{__name__}.{OWN_TRANSLATORS[provider]}")
        register_translator(provider, module.translate_content, module.translate_content_chunk)
        translator = PROVIDER_TRANSLATORS[provider]
    return translator


def translate(message: BaseMessage) -> list[ContentBlock]:
    """Say the content of a message in standard blocks; the message is not changed.

    Content that says it is standard already (`response_metadata["output_version"] == "v1"`) is returned itself.
    """
    content: Any = message.content
    if not hasattr(message, "tool_calls"):
        return standard_blocks(content)
    answer = cast("AIMessage", message)
    if answer.response_metadata.get("output_version") == "v1" and isinstance(content, list):
        return cast("list[ContentBlock]", content if is_unfinished(answer) else with_calls_whole(content, answer))
    translator = get_translator(str(answer.response_metadata.get("model_provider", "")))
    if translator is None and answer.response_metadata.get("object") == "response":  # another's, on the Responses API
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
    if isinstance(reasoning, str) and reasoning and not any(block.get("type") == "reasoning" for block in blocks):
        blocks.insert(0, {"type": "reasoning", "reasoning": reasoning})
    return with_tool_calls(blocks, answer)
