"""Turns an answer that the model or a filter has refused into an error, or into the message. No I/O here."""

from __future__ import annotations

from typing import Any

from modelwire.adapters.model.results import chunk_from_message
from modelwire.aliases import JSON
from modelwire.errors import IncompleteAnswer, Refused, RetryClass
from modelwire.messages import AIMessage, AIMessageChunk
from modelwire.messages.finish_reasons import FILTERED_REASONS, SUSPENDED_REASONS, finish_reason_of
from modelwire.messages.refusals import refusal_in

# The metadata of Gemini's answers have this key if a prompt was blocked.
_FEEDBACK = "prompt_feedback"


class RefusalPolicy:
    """What a call does with a refused answer: raise `Refused` (`raises=True`), or return it as a message."""

    __slots__ = ("raises",)

    def __init__(self, *, raises: bool) -> None:
        self.raises = raises

    def checked(self, answer: AIMessage, exchange: Any) -> AIMessage:
        """Return a whole answer, or raise `Refused`.

        Every call runs this, so an ordinary answer costs no function call.
        """
        about = answer.response_metadata
        ended = about.get("finish_reason") or about.get("stop_reason") or about.get("stopReason")
        is_suspect = _FEEDBACK in about or "refusal" in answer.additional_kwargs
        if ended.__class__ is str and ended in FILTERED_REASONS:
            is_suspect = True
        if not is_suspect and answer.content.__class__ is list:
            block: Any
            for block in answer.content:
                if block.__class__ is dict and block.get("type") == "refusal":
                    is_suspect = True
        if not is_suspect or (block := refusal_in(answer)) is None:
            return answer
        if not self.raises:
            return _with_reason_as_text(answer, block)
        raise exchange.signed(refused(answer, block, exchange.wire.provider))

    def may_end(self, chunk: AIMessageChunk) -> bool:
        """Return whether the last chunk of a stream may end a refused answer."""
        about = chunk.response_metadata
        if _FEEDBACK in about or finish_reason_of(chunk) in FILTERED_REASONS:
            return True
        return bool(chunk.content or chunk.additional_kwargs) and refusal_in(chunk) is not None

    def error(self, whole: AIMessageChunk, provider: str) -> Refused | None:
        """Return the error for a refused stream; None if the message is wanted instead, or nothing was refused."""
        block = refusal_in(whole)
        if self.raises and block is not None:
            return refused(whole, block, provider)
        return None

    def ending(self, whole: AIMessageChunk, end: list[AIMessageChunk]) -> list[AIMessageChunk]:
        """Return the last chunks of a refused stream, after the text of the refusal if the answer has no text."""
        block = refusal_in(whole)
        words = "" if block is None else str(block.get("refusal") or "")
        if not words or whole.text:
            return end
        content: Any = words
        if isinstance(whole.content, list) and whole.content:
            content = [{"type": "text", "text": words, "index": len(whole.content)}]
        return [AIMessageChunk.from_wire(content, id=whole.id), *end]


ON_REFUSAL = {"raise": RefusalPolicy(raises=True), "message": RefusalPolicy(raises=False)}


def refused(answer: AIMessage, block: JSON, provider: str) -> Refused:
    """Return the error of a refused answer, with that answer as `.partial`."""
    about = answer.response_metadata
    reason = finish_reason_of(answer)
    kind = (block.get("extras") or {}).get("category") or reason
    feedback = about.get(_FEEDBACK) or {}
    if feedback.get("blockReason"):
        what = f"`{provider}` blocked the prompt"
    elif reason in FILTERED_REASONS and reason != "refusal":
        what = f"`{provider}` blocked the answer"
    else:
        what = f"The model of `{provider}` refused to answer"
    named = f" ({kind})" if kind and reason in FILTERED_REASONS | {None} else ""
    words = str(block.get("refusal") or "").strip()
    ratings = feedback.get("safetyRatings") or about.get("safety_ratings")
    is_chunk = isinstance(answer, AIMessageChunk)
    return Refused(
        f"{what}{named}: {words}" if words else f"{what}{named}.",
        provider=provider,
        model=about.get("model_name"),
        status=200,
        type=None if kind is None else str(kind),
        request_id=about.get("request_id"),
        body={"prompt_feedback": feedback, "safety_ratings": ratings, "finish_reason": reason},
        partial=answer if is_chunk else chunk_from_message(answer),
    )


def _with_reason_as_text(answer: AIMessage, block: JSON) -> AIMessage:
    """Return the message with the text of the refusal as its text, unless it has text already."""
    words = str(block.get("refusal") or "")
    if not words or answer.text:
        return answer
    content: Any = words
    if isinstance(answer.content, list) and answer.content:
        content = [*answer.content, {"type": "text", "text": words}]
    return answer.model_copy(update={"content": content})


def final_of_row(answer: AIMessage, provider: str, on_refusal: str) -> AIMessage:
    """Return the whole answer of a row that came through a Batch API.

    Raises: `Refused`, or `IncompleteAnswer` for one that the provider suspended: a direct call continues it.
    """
    ended = finish_reason_of(answer) or answer.response_metadata.get("status")
    if ended in SUSPENDED_REASONS:
        raise IncompleteAnswer(
            f"`{provider}` suspended the answer ({ended}), and a batch cannot continue it: call the row again, "
            "directly. The part is in `.partial`.",
            provider=provider,
            model=answer.response_metadata.get("model_name"),
            partial=chunk_from_message(answer),
            retry_class=RetryClass.TRANSIENT,
        )
    block = refusal_in(answer)
    if block is None:
        return answer
    if on_refusal == "raise":
        raise refused(answer, block, provider)
    return _with_reason_as_text(answer, block)
