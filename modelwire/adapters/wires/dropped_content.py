"""Lists the content of answers that another wire cannot take, one sentence each, for `left_out` of a request. Pure.

The wires drop that content themselves; these sentences warn the caller, who would miss a model's reasoning or sources.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelwire.messages.block_translators.standard import CALL_TYPES, is_model_work

if TYPE_CHECKING:
    from modelwire.messages import BaseMessage

_WORDS = frozenset(("text", "output_text", "refusal"))


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

    `own` are the providers whose answers are sent back unchanged. `is_chat`: this wire is Chat Completions, whose
    answers have reasoning and citations beside the content; `sends_thought`: the service takes that reasoning from any
    answer. `only_words`: of another wire's blocks this one sends texts and calls alone. `skips_blocks`: messages with
    blocks are skipped, because the wire has noted already what it leaves out of them.
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
            f"A `{kind}` block of an answer of `{of}` is left out: only its own wire takes it back."
            for kind in kinds
        ]
        if notes or any(_has_citations(block) for block in content):
            left_out.append(
                f"The citations in an answer of `{of}` are left out: only its own wire takes them."
            )
    return left_out


def _kinds(content: Sequence[Any], *, only_words: bool) -> Iterator[str]:
    """Yield the types of the blocks that stay behind."""
    for block in content:
        kind = str(block.get("type")) if isinstance(block, Mapping) else "text"
        if kind not in CALL_TYPES and ((only_words and kind not in _WORDS) or is_model_work(kind)):
            yield kind


def _has_citations(block: Any) -> bool:
    return isinstance(block, Mapping) and bool(block.get("annotations") or block.get("citations"))
