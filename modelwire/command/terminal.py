"""How an answer appears: as it comes, on a terminal with colours for its Markdown."""

# ruff: noqa: T201 - it prints

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any

from modelwire import messages, tools, usage
from modelwire.command.keyboard import without_echo
from modelwire.command.markdown import MarkdownStyles
from modelwire.command.standard_streams import warn
from modelwire.errors import MissingDependency
from modelwire.terminal_text import printable

_SHOWN = 200  # characters of a tool's answer
# The terminal shows text between these two dim (ECMA-48, Select Graphic Rendition 2 and 22).
_DIM, _UNDIM = "\x1b[2m", "\x1b[22m"


def is_terminal() -> bool:
    """Whether people read standard output, and colours and moving lines are welcome there."""
    return (
        sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")
    )


class Screen:
    """Shows the events of a tool loop. `messages` are the whole ones so far, also when reading was stopped."""

    def __init__(self, *, is_plain: bool, hides_reasoning: bool = False) -> None:
        self.messages: list[Any] = []
        self._chunks: list[Any] = []
        self._clean = sys.stdout.isatty()
        self._at_start = True
        if is_plain or not is_terminal():
            self._styles = None
        else:
            self._styles = MarkdownStyles()
        self._shows_reasoning = self._styles is not None and not hides_reasoning
        self._is_in_reasoning = False

    def show(self, events: Iterable[Any]) -> list[Any]:
        """Show each event when it comes; return the whole messages."""
        try:
            with without_echo():
                for event in events:
                    self._show(event)
        finally:
            self.end_line()
        return self.messages

    def stopped(self) -> list[Any]:
        """Return what had come when reading was stopped: the whole messages, and the text of the one under way."""
        if self._chunks:
            text = messages.merge_chunks(self._chunks).text
        else:
            text = ""
        if text:
            return [*self.messages, messages.AIMessage(str(text))]
        return self.messages

    def write(self, text: str) -> None:
        text = printable(text) if self._clean else text
        if not text:
            return
        if self._styles is None:
            styled = text
        else:
            styled = self._styles.feed(text)
        print(styled, end="", flush=True)
        self._at_start = text.endswith("\n")

    def _show(self, event: Any) -> None:
        if isinstance(event, messages.AIMessageChunk):
            self._chunks.append(event)
            if self._shows_reasoning:
                self._write_reasoning(event)
            self.write(event.text)
        elif isinstance(event, tools.ToolCallStarted):
            self.end_line()
            arguments = ", ".join(
                f"{name}={value!r}" for name, value in event.tool_call["args"].items()
            )
            warn(f"-> {event.tool_call['name']}({arguments})")
        else:
            self.messages.append(event)
            self._chunks.clear()
            if isinstance(event, messages.ToolMessage):
                warn(f"<- {event.name}: {' '.join(event.text.split())[:_SHOWN]}")

    def _write_reasoning(self, chunk: Any) -> None:
        """Print the reasoning of a chunk dim, on lines of its own before the answer."""
        parts = [
            block.get("reasoning") or ""
            for block in chunk.content_blocks
            if block["type"] == "reasoning"
        ]
        text = printable("".join(parts))
        if text:
            self._is_in_reasoning = True
            print(f"{_DIM}{text}{_UNDIM}", end="", flush=True)
            self._at_start = text.endswith("\n")
        elif chunk.text and self._is_in_reasoning:
            self._is_in_reasoning = False
            print("\n" if self._at_start else "\n\n", end="", flush=True)
            self._at_start = True

    def end_line(self) -> None:
        """End the line of an answer that stops in its middle."""
        self._is_in_reasoning = False
        if self._styles is not None:
            print(self._styles.end(), end="", flush=True)
        if not self._at_start:
            print(flush=True)
        self._at_start = True


def bill(answers: Iterable[Any]) -> str:
    """Return one line: tokens in and out of all answers, and dollars where the extra `jobs` knows the prices."""
    from decimal import Decimal

    used = [one for one in answers if getattr(one, "usage_metadata", None)]
    tokens_in = sum(one.usage_metadata["input_tokens"] for one in used)
    tokens_out = sum(one.usage_metadata["output_tokens"] for one in used)
    try:
        prices = [usage.price_of(one) for one in used]
    except MissingDependency:
        price = "prices need `pip install 'modelwire[profiles]'`"
    else:
        known = [one for one in prices if one is not None]
        if known and len(known) == len(prices):
            price = usage.dollars(sum(known, Decimal(0)))
        else:
            price = "price not known"
    return f"{tokens_in:,} tokens in, {tokens_out:,} out, {price}"
