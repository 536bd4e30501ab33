"""What the server answers, before any wire has been chosen. No I/O here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, NamedTuple

from pydantic_core import to_json

__all__ = ["Answer", "Call", "ToolUse", "Usage", "calls_of", "pieces", "slices"]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, the same on every wire, whole or streamed (a word a chunk).

    A tool call is `{"name": ..., "args": {...}}`, its `id` made up where there is none. `stop` is one of `stop`,
    `length`, `tool_calls`, `content_filter`; None is what fits. `usage` may have `input_tokens`, `output_tokens`,
    `cached_tokens`, `reasoning_tokens`; what is left out is estimated: four bytes of a request, one word of an answer.
    `latency_s` and `chunk_gap_s` win over the server's. An answer to a request with `background` takes so many `polls`.
    """

    text: str = ""
    _: KW_ONLY
    tool_calls: Sequence[Mapping[str, Any]] = ()
    reasoning: str = ""
    refusal: str = ""
    stop: str | None = None
    usage: Mapping[str, int] = field(default_factory=dict)
    model: str | None = None  # None: the one that was asked for
    headers: Mapping[str, str] = field(default_factory=dict)
    latency_s: float | None = None
    chunk_gap_s: float | None = None
    polls: int = 1  # that find the answer unfinished, if the request has `background`

    @property
    def stop_reason(self) -> str:
        """Why it ends."""
        return self.stop or ("tool_calls" if self.tool_calls else "stop")

    def tokens(self, request_bytes: int) -> Usage:
        """Count the tokens of this answer to a request of so many bytes."""
        thought = self.usage.get("reasoning_tokens", len(pieces(self.reasoning)))
        visible = len(pieces(self.text)) + len(pieces(self.refusal)) + 8 * len(self.tool_calls)
        return Usage(
            self.usage.get("input_tokens", max(1, request_bytes // 4)),
            self.usage.get("output_tokens", thought + visible),
            self.usage.get("cached_tokens", 0),
            thought,
        )


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of one answer; the input's include the cached ones, the output's the reasoning."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int

    @property
    def total(self) -> int:
        return self.input_tokens + self.output_tokens


_WORD = re.compile(r"\s*\S+|\s+")


def pieces(text: str) -> list[str]:
    """Cut a text into the words of a stream, each with the space before it; joined they are the text again."""
    return _WORD.findall(text)


class Call(NamedTuple):
    """What an answer needs to know of its request."""

    wire: str
    number: int  # makes the ids
    model: str
    stream: bool
    usage: Usage
    wants_usage: bool = True  # in a stream: OpenAI's has it where it was asked for
    created: int = 1_750_000_000  # the same in every run
    tier: str | None = None  # that OpenAI says again where a request names one


class ToolUse(NamedTuple):
    id: str
    name: str
    args: Any
    text: str  # the arguments as JSON


def calls_of(answer: Answer, call: Call, prefix: str = "call") -> list[ToolUse]:
    """Return the tool calls of an answer with their ids; arguments that are a text already stay as they are."""
    return [
        ToolUse(
            str(one.get("id") or f"{prefix}_{call.number}_{index}"),
            one["name"],
            args := one.get("args", {}),
            args if isinstance(args, str) else to_json(args).decode(),
        )
        for index, one in enumerate(answer.tool_calls)
    ]


def slices(text: str, size: int = 12) -> Iterator[str]:
    """Cut the arguments of a tool call into the pieces of a stream."""
    yield from (text[start : start + size] for start in range(0, len(text), size))
