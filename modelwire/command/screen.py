"""How an answer appears: plain text as it comes, or Markdown by `rich` on a terminal that takes it."""

# ruff: noqa: T201 - it prints

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from modelwire import _lazy
from modelwire.command.chosen import warn
from modelwire.errors import MissingDependency

if TYPE_CHECKING:
    from modelwire import messages
    from modelwire.messages import base
    from modelwire.tools import loop
else:
    messages, base = _lazy.module("modelwire.messages"), _lazy.module("modelwire.messages.base")
    loop = _lazy.module("modelwire.tools.loop")

__all__ = ["Screen", "bill", "is_terminal"]

SHOWN = 200  # characters of a tool's answer
# A model's answer may hold escape sequences, and a terminal obeys them.
_CONTROLS = {code: None for code in [*range(32), *range(127, 160)] if chr(code) not in "\n\t"}


def is_terminal() -> bool:
    """Whether people read standard output, and colours and moving lines are welcome there."""
    return (
        sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")
    )


class Screen:
    """Shows the events of a tool loop. `messages` are the whole ones so far, also when reading was stopped."""

    def __init__(self, *, markdown: bool) -> None:
        self.messages: list[Any] = []
        self._chunks: list[Any] = []
        self._clean = sys.stdout.isatty()
        self._at_start = True
        self._rich = _Markdown.or_none() if markdown and is_terminal() else None

    def show(self, events: Iterable[Any]) -> list[Any]:
        """Show each event when it comes; return the whole messages."""
        try:
            for event in events:
                self._show(event)
        finally:
            self._end_line()
        return self.messages

    def stopped(self) -> list[Any]:
        """Return what had come when reading was stopped: the whole messages, and the text of the one under way."""
        text = base.merge_chunks(self._chunks).text if self._chunks else ""
        return [*self.messages, messages.AIMessage(str(text))] if text else self.messages

    def write(self, text: str) -> None:
        text = text.translate(_CONTROLS) if self._clean else text
        if not text:
            return
        if self._rich is not None:
            self._rich.write(text)
        else:
            print(text, end="", flush=True)
        self._at_start = text.endswith("\n")

    def _show(self, event: Any) -> None:
        if isinstance(event, messages.AIMessageChunk):
            self._chunks.append(event)
            self.write(event.text)
        elif isinstance(event, loop.ToolCallStarted):
            self._end_line()
            arguments = ", ".join(
                f"{name}={value!r}" for name, value in event.tool_call["args"].items()
            )
            warn(f"-> {event.tool_call['name']}({arguments})")
        else:
            self.messages.append(event)
            self._chunks.clear()
            if isinstance(event, messages.ToolMessage):
                warn(f"<- {event.name}: {' '.join(event.text.split())[:SHOWN]}")

    def _end_line(self) -> None:
        if self._rich is not None:
            self._rich.end()
        elif not self._at_start:
            print(flush=True)
        self._at_start = True


class _Markdown:
    """Renders each block of Markdown when it is whole; the one under way is drawn anew with each piece."""

    def __init__(self, rich_console: Any, rich_live: Any, rich_markdown: Any) -> None:
        self._console = rich_console.Console()
        self._live_class, self._render = rich_live.Live, rich_markdown.Markdown
        self._live: Any = None
        self._text = ""

    @classmethod
    def or_none(cls) -> _Markdown | None:
        try:
            return cls(*(import_module(f"rich.{name}") for name in ("console", "live", "markdown")))
        except ImportError:
            return None

    def write(self, text: str) -> None:
        self._text += text
        while (cut := self._whole_block()) is not None:
            block, self._text = self._text[:cut], self._text[cut:]
            self._draw(block)
            self.end(rest="")
        if self._text.strip():
            self._draw(self._text)

    def _whole_block(self) -> int | None:
        """Return where the first block ends: at a blank line that no code fence is around."""
        at = 0
        while (at := self._text.find("\n\n", at)) >= 0:
            before = self._text[:at]
            if before.strip() and before.count("```") % 2 == 0:
                return at + 2
            at += 2
        return None

    def _draw(self, text: str) -> None:
        if self._live is None:
            self._live = self._live_class(console=self._console, auto_refresh=False)
            self._live.start()
        self._live.update(self._render(text), refresh=True)

    def end(self, rest: str | None = None) -> None:
        """Leave what is drawn on the screen; the next piece begins below."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            if rest is not None:
                self._console.print()
        if rest is None:
            self._text = ""


def bill(answers: Iterable[Any]) -> str:
    """Return one line: tokens in and out of all answers, and dollars where the extra `jobs` knows the prices."""
    from decimal import Decimal

    from modelwire.jobs.cost import dollars, price_of

    used = [one for one in answers if getattr(one, "usage_metadata", None)]
    tokens_in = sum(one.usage_metadata["input_tokens"] for one in used)
    tokens_out = sum(one.usage_metadata["output_tokens"] for one in used)
    try:
        prices = [price_of(one) for one in used]
    except MissingDependency:
        price = "prices need `pip install 'modelwire[jobs]'`"
    else:
        known = [one for one in prices if one is not None]
        price = (
            dollars(sum(known, Decimal(0)))
            if known and len(known) == len(prices)
            else "price not known"
        )
    return f"{tokens_in:,} tokens in, {tokens_out:,} out, {price}"
