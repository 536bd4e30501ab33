"""Prints an answer while it streams; on a terminal with colours for its Markdown."""

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

# A line about the result of a tool has at most this many of its characters.
_RESULT_CHARACTERS = 200
# The terminal shows text between these two dim (ECMA-48, Select Graphic Rendition 2 and 22).
_DIM, _UNDIM = "\x1b[2m", "\x1b[22m"


def is_terminal() -> bool:
    """Return whether standard output is a terminal with colours, unless `NO_COLOR` switches them off."""
    if os.environ.get("TERM") == "dumb" or os.environ.get("NO_COLOR"):
        return False
    return sys.stdout.isatty()


class Screen:
    """Prints the events of a tool loop. `messages` has the complete messages so far, also after an interruption."""

    def __init__(self, *, is_plain: bool, hides_reasoning: bool = False) -> None:
        self.messages: list[Any] = []
        self._chunks: list[Any] = []
        self._clean = sys.stdout.isatty()
        self._at_start = True
        self._styles: MarkdownStyles | None = None
        if not is_plain and is_terminal():
            self._styles = MarkdownStyles()
        self._shows_reasoning = self._styles is not None and not hides_reasoning
        self._is_in_reasoning = False

    def show(self, events: Iterable[Any]) -> list[Any]:
        """Print each event when it arrives; return the complete messages."""
        try:
            with without_echo():
                for event in events:
                    self._show(event)
        finally:
            self.end_line()
        return self.messages

    def stopped(self) -> list[Any]:
        """Return the messages after an interruption: the complete ones, and the text of an unfinished answer."""
        text = ""
        if self._chunks:
            text = str(messages.merge_chunks(self._chunks).text)
        if text:
            return [*self.messages, messages.AIMessage(text)]
        return self.messages

    def write(self, text: str) -> None:
        """Print a part of an answer, with its styles."""
        if self._clean:
            text = printable(text)
        if not text:
            return
        styled = text
        if self._styles is not None:
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
            call = event.tool_call
            arguments = ", ".join(f"{name}={value!r}" for name, value in call["args"].items())
            warn(f"-> {call['name']}({arguments})")
        else:
            self.messages.append(event)
            self._chunks.clear()
            if isinstance(event, messages.ToolMessage):
                line = " ".join(event.text.split())
                warn(f"<- {event.name}: {line[:_RESULT_CHARACTERS]}")

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
            if not self._at_start:
                print()
            print(flush=True)
            self._at_start = True

    def end_line(self) -> None:
        """End the styles of an answer, and its last line if it has no line break."""
        self._is_in_reasoning = False
        if self._styles is not None:
            print(self._styles.end(), end="", flush=True)
        if not self._at_start:
            print(flush=True)
        self._at_start = True


def bill(answers: Iterable[Any]) -> str:
    """Return one line with the tokens in and out of all answers, and their price in dollars if it is known."""
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
