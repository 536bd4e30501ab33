"""The answers of the server, independent of any wire. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, NamedTuple

from pydantic_core import to_json

from modelwire.aliases import Fields, HeaderFields


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, the same on every wire, whole or streamed (one word in each chunk).

    A tool call is `{"name": ..., "args": {...}}`; a missing `id` is generated. `stop` is one of
    `stop`, `length`, `tool_calls`, `content_filter`; None chooses the one that fits. `usage` may
    have `input_tokens`, `output_tokens`, `cached_tokens`, `reasoning_tokens`; missing ones are
    estimated as one token for four bytes of a request or one word of an answer. `latency_s` and
    `chunk_gap_s` override the server's. `polls` is the number of polls that find the answer to a
    request with `background` unfinished.
    """

    text: str = ""
    _: KW_ONLY
    tool_calls: Sequence[Fields] = ()
    reasoning: str = ""
    refusal: str = ""
    stop: str | None = None
    usage: Mapping[str, int] = field(default_factory=dict)
    model: str | None = None  # If None, it is the model in the request.
    headers: HeaderFields = field(default_factory=dict)
    latency_s: float | None = None
    chunk_gap_s: float | None = None
    polls: int = 1

    @property
    def stop_reason(self) -> str:
        """The reason why the answer ends: the value of `stop`, or without it "tool_calls" or "stop"."""
        if self.stop:
            return self.stop
        if self.tool_calls:
            return "tool_calls"
        return "stop"

    def reason_in(self, words: Mapping[str, str]) -> str:
        """Return the stop reason as the provider names it in `words`; a refusal counts as filtered."""
        reason = self.stop_reason
        if self.refusal:
            reason = "content_filter"
        return words.get(reason, reason)

    def tokens(self, request_bytes: int) -> Usage:
        """Return the usage of this answer to a request of `request_bytes`."""
        usage = self.usage
        thought = usage.get("reasoning_tokens", len(pieces(self.reasoning)))
        visible = len(pieces(self.text) + pieces(self.refusal))
        # A tool call counts as eight words.
        visible += 8 * len(self.tool_calls)
        return Usage(
            usage.get("input_tokens", max(1, request_bytes // 4)),
            usage.get("output_tokens", thought + visible),
            usage.get("cached_tokens", 0),
            thought,
        )


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of one answer. Input includes cached tokens, output includes reasoning."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    # Input tokens that were written to the prompt cache, by lifetime.
    written: Mapping[str, int] = field(default_factory=dict)

    @property
    def written_tokens(self) -> int:
        return sum(self.written.values())

    @property
    def fresh_tokens(self) -> int:
        """The input tokens that were neither read from the prompt cache nor written to it."""
        return self.input_tokens - self.cached_tokens - self.written_tokens

    @property
    def total(self) -> int:
        return self.input_tokens + self.output_tokens


_WORD = re.compile(r"\s*\S+|\s+")


def pieces(text: str) -> list[str]:
    """Split a text into words, each with the space before it, as a stream sends them.

    Joined, they are the text again.
    """
    return _WORD.findall(text)


class Call(NamedTuple):
    """The facts about a request that its answer needs."""

    wire: str
    number: int  # Ids are made from this number.
    model: str
    stream: bool
    usage: Usage
    # Whether a stream has the usage; OpenAI sends it only on demand.
    wants_usage: bool = True
    # The time of creation, the same in every run.
    created: int = 1_750_000_000
    # OpenAI repeats the service tier of the request in its answer.
    tier: str | None = None
    background: bool = False  # Whether a request to the Responses API has `background`.


class ToolUse(NamedTuple):
    """One tool call of an answer."""

    id: str
    name: str
    args: Any
    text: str  # The arguments as JSON.


def calls_of(answer: Answer, call: Call, prefix: str = "call") -> list[ToolUse]:
    """Return the tool calls of an answer with their ids.

    Arguments that are a text are used unchanged.
    """
    found: list[ToolUse] = []
    for index, one in enumerate(answer.tool_calls):
        generated = f"{prefix}_{call.number}_{index}"
        id_ = one.get("id") or generated
        args = one.get("args", {})
        text = args_text(args)
        found.append(ToolUse(str(id_), one["name"], args, text))
    return found


def args_text(args: Any) -> str:
    """Return the arguments of a tool call as JSON; a text is used unchanged."""
    if isinstance(args, str):
        return args
    return to_json(args).decode()


def slices(text: str, size: int = 12) -> Iterator[str]:
    """Yield a text in pieces of `size` characters, as a stream sends the arguments of a tool call."""
    for start in range(0, len(text), size):
        yield text[start : start + size]
