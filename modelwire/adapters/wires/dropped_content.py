"""Describes the content of earlier answers that a request does not send to another provider. Pure functions.

Each wire drops that content itself. The sentences made here go into `left_out` of the request, which warns the caller.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelwire.messages.block_translators.standard import CALL_TYPES, is_model_work

if TYPE_CHECKING:
    from modelwire.messages import BaseMessage

# The types of blocks that every wire can send as text.
_TEXT_TYPES = frozenset(("text", "output_text", "refusal"))


def foreign_work(
    messages: Sequence[BaseMessage],
    own: Container[str | None],
    *,
    is_chat: bool = False,
    sends_thought: bool = False,
    only_words: bool = False,
    skips_blocks: bool = False,
) -> list[str]:
    """Return a sentence for each kind of reasoning, server tool and citation that this wire does not send.

    Args:
        messages: The history of the call.
        own: The providers whose answers this wire sends unchanged, so that nothing is lost.
        is_chat: This wire is Chat Completions, whose answers have reasoning and citations beside the content.
        sends_thought: The service accepts reasoning beside the content from the answers of any provider.
        only_words: This wire sends only the texts and tool calls of another wire's answers.
        skips_blocks: Skip messages with content blocks, because the wire lists itself what it drops of them.
    """
    left_out: list[str] = []
    for message in messages:
        content = message.content
        beside = message.additional_kwargs
        is_text = isinstance(content, str)
        if (is_text and not beside) or (skips_blocks and not is_text):
            continue
        thought = beside.get("reasoning_content")
        notes = beside.get("annotations")
        metadata = message.response_metadata
        of = metadata.get("model_provider")
        if is_chat:
            of_another_wire = metadata.get("object") == "response"
        else:
            of_another_wire = bool(thought or notes)
        if not message.type.startswith(("ai", "AI")) or (of in own and not of_another_wire):
            continue
        kinds = [*_kinds(content if isinstance(content, list) else (), only_words=only_words)]
        if thought and not sends_thought:
            kinds.append("reasoning")
        left_out += [
            f"A `{kind}` block of an answer of `{of}` is left out: only the API that sent it accepts it."
            for kind in kinds
        ]
        if notes or any(_has_citations(block) for block in content):
            left_out.append(
                f"The citations in an answer of `{of}` are left out: only the API that sent them accepts them."
            )
    return left_out


def _kinds(content: Sequence[Any], *, only_words: bool) -> Iterator[str]:
    """Yield the types of the blocks that the wire does not send."""
    for block in content:
        kind = str(block.get("type")) if isinstance(block, Mapping) else "text"
        is_other = only_words and kind not in _TEXT_TYPES
        if kind not in CALL_TYPES and (is_other or is_model_work(kind)):
            yield kind


def _has_citations(block: Any) -> bool:
    return isinstance(block, Mapping) and bool(block.get("annotations") or block.get("citations"))
