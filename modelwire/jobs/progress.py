"""Shows the progress of a job: a bar on a terminal (with rich) or in Jupyter, elsewhere a line from time to time."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from importlib import import_module
from typing import Any

from modelwire.aliases import Fields
from modelwire.ext import CUT_REASONS
from modelwire.terminal_text import echo, printable
from modelwire.usage import dollars

LINE_EVERY_S = 5.0
BAR_EVERY_S = 0.25


@dataclass(slots=True, kw_only=True)
class Standing:
    """The numbers of a job at a moment. Tokens and cost include earlier runs; cost is in USD."""

    rows: int = 0  # Rows of this run with a record, including failed ones.
    recorded: int = 0  # Rows with a record, of all runs.
    failed: int = 0
    refused: int = 0  # Failed rows that a model or a filter refused to answer.
    asked: int = 0  # Rows that this run has finished.
    same: int = 0  # Rows that share the answer of an equal row.
    cached: int = 0  # Answers that came from the model's cache.
    cut: int = 0  # Answers that a token limit has ended, without rows that share one.
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read: int = 0  # Input tokens that were read from prompt caches.
    cache_written: int = 0  # Input tokens that were written to prompt caches.
    cache_saved: Decimal = Decimal(0)  # Below 0 if the writes cost more than the reads saved.
    cost: Decimal = Decimal(0)
    unpriced: int = 0  # Answered rows whose model has no known price.
    total: float | None = None  # The estimated number of rows.
    elapsed_s: float = 0.0  # Seconds of this run.
    live_rows: int = 0  # Rows answered by direct calls at the usual price, if that is known.
    live_cost: Decimal = Decimal(0)  # The cost of those rows.
    waiting: str | None = None  # The reason why no rows finish.

    def count(self, about: Fields) -> None:
        """Add the tokens, the cost and the other facts of a record."""
        self.input_tokens += about.get("input_tokens") or 0
        self.output_tokens += about.get("output_tokens") or 0
        self.cached += about.get("cached", 0)
        self.cache_read += about.get("cache_read", 0)
        self.cache_written += about.get("cache_written", 0)
        if "cache_saved" in about:
            self.cache_saved += Decimal(about["cache_saved"])
        has_answer = "answer" in about
        if has_answer and "again" not in about:
            self.cut += about.get("finish_reason") in CUT_REASONS
        if about.get("cost") is not None:
            cost = Decimal(about["cost"])
            self.cost += cost
            has_usual_price = "way" not in about
            if has_answer and has_usual_price and about.get("attempts"):
                self.live_rows += 1
                self.live_cost += cost
        elif about.get("answer") is not None and about.get("attempts"):
            self.unpriced += 1
        self.same += "same" in about

    @property
    def rate(self) -> float:
        """Rows a second of this run."""
        if self.elapsed_s > 0:
            return self.asked / self.elapsed_s
        return 0.0

    def saved(self) -> Decimal:
        """Return about how much the rows of `same` would have cost, at the mean cost of the others."""
        paid = self.recorded - self.same
        if paid <= 0:
            return Decimal(0)
        mean = self.cost / paid
        return (mean * self.same).quantize(Decimal("0.000001"))

    @property
    def fraction(self) -> float | None:
        """The finished share of the rows, from 0 to 1."""
        if self.total:
            return min(1.0, self.rows / self.total)
        return None

    def left_s(self) -> float | None:
        """Return an estimate of the seconds until all rows are done; None if it is unknown.

        It is unknown while failed rows are retried, because they are counted already.
        """
        left = (self.total or 0) - self.rows
        if left > 0 and self.rate:
            return left / self.rate
        return None

    def text(self) -> str:
        """Return the progress as one line."""
        parts = [f"{self.rows:,} rows"]
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        if self.waiting is None:
            parts.append(f"{self.rate:,.1f}/s")
        tokens_in = _short(self.input_tokens)
        tokens_out = _short(self.output_tokens)
        parts.append(f"{tokens_in} + {tokens_out} tokens")
        parts.append(self.cost_text())
        left_s = self.left_s()
        if self.waiting is not None:
            parts.append(self.waiting)
        elif left_s is not None:
            parts.append(f"{clock(left_s)} left")
        return "  ".join(filter(None, parts))

    def cost_text(self) -> str:
        """Return the cost as text, as far as it is known."""
        if not self.unpriced:
            return dollars(self.cost)
        if self.cost:
            return f"{dollars(self.cost)} and {self.unpriced:,} rows of unknown price"
        return "cost unknown"


def _short(count: int) -> str:
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= 10 * size:
            return f"{count / size:,.0f}{unit}"
    return f"{count:,}"


def clock(seconds: float) -> str:
    """Return a duration as text like 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}"


class NotebookBar:
    """A progress bar in the output of a notebook's cell, updated in place.

    It needs Jupyter only, no widgets.
    """

    def __init__(self) -> None:
        self._cell: Any = None

    def show(self, fraction: float | None, text: str) -> None:
        """Update the bar. `fraction` is from 0 to 1, or None if the end is unknown."""
        display: Any = import_module("IPython.display")
        value = ""
        if fraction is not None:
            value = f' value="{fraction:.4f}"'
        page = display.HTML(
            f'<progress max="1"{value} style="width: 15em"></progress> <code>{escape(text)}</code>'
        )
        if self._cell is None:
            self._cell = display.display(page, display_id=True)
        else:
            self._cell.update(page)

    def __call__(self, progress: Fields) -> None:
        """Show the progress of a batch job, as `BatchJob.on_progress` reports it."""
        done = progress["done"]
        submitted = progress["submitted"]
        batches = f"{progress['ended']} of {progress['parts']} batches ended"
        fraction = None
        if submitted:
            fraction = done / submitted
        self.show(fraction, f"{done:,} of {submitted:,} rows, {batches}")


def notebook_bar() -> NotebookBar | None:
    """Return a bar if the program runs in a notebook, else None."""
    # Every notebook has loaded this module.
    ipython: Any = sys.modules.get("IPython")
    shell = None
    if ipython is not None:
        shell = ipython.get_ipython()
    if getattr(shell, "kernel", None) is None:
        return None
    return NotebookBar()


class Progress:
    """Shows a job's progress on `stderr` or in the notebook; with `quiet`, nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._shown: Standing | None = None
        self.every_s = LINE_EVERY_S
        self._quiet = quiet or sys.stderr is None
        if quiet:
            self._page = None
        else:
            self._page = notebook_bar()
        if self._page is not None:
            self.every_s = BAR_EVERY_S
        elif not self._quiet and sys.stderr.isatty():
            self._open_bar()

    def _open_bar(self) -> None:
        try:
            rich: Any = import_module("rich.progress")
            console: Any = import_module("rich.console").Console(stderr=True)
        except ImportError:
            return  # Without rich, lines are printed.
        column = rich.TextColumn("{task.fields[text]}", markup=False)
        self._bar = rich.Progress(
            rich.BarColumn(bar_width=30), column, console=console, auto_refresh=False
        )
        self._task = self._bar.add_task("", total=None, text="")
        self._bar.start()
        self.every_s = BAR_EVERY_S

    def show(self, standing: Standing) -> None:
        """Show the progress now."""
        text = standing.text()
        self._shown = standing
        fraction = standing.fraction
        if self._page is not None:
            self._page.show(fraction, text)
        elif self._bar is not None:
            total = None
            if fraction is not None:
                total = 1.0
                text = f"{fraction:>4.0%} {text}"
            self._bar.update(
                self._task, total=total, completed=fraction or 0.0, text=text, refresh=True
            )
        else:
            self.say(text)

    def say(self, text: str) -> None:
        """Print a line above the bar, or on `stderr`; nothing with `quiet`."""
        if self._bar is not None:
            self._bar.console.print(printable(text), markup=False, highlight=False)
        elif not self._quiet:
            with suppress(OSError, ValueError):
                # The pipe was closed by its reader; the job continues.
                echo(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Stop drawing. The last state of the bar stays on the screen."""
        has_bar = self._page is not None or self._bar is not None
        if has_bar and self._shown is not None:
            self.show(self._shown)
        if self._bar is not None:
            self._bar.stop()
