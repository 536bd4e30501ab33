"""What a job would ask, before it asks: three filled prompts, and what all of them may cost."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from typing import Any

from modelwire.errors import CallerError
from modelwire.jobs.results import json_of
from modelwire.jobs.rows import Row, Source
from modelwire.jobs.work import Work, price
from modelwire.messages import AIMessage
from modelwire.messages.counting import count_tokens_approximately

__all__ = ["preview"]

SHOWN_ROWS = 3
MEASURED_ROWS = 10_000  # tell the mean length of a prompt, and with the bytes read how many rows there are
ANSWER_TOKENS = 200  # where the model has no `max_tokens`


def preview(work: Work, source: Source, *, limit: int | None = None) -> Iterator[str]:
    """Yield the lines that `--dry-run` prints. Sends nothing."""
    rows: Iterator[Row] = iter(source) if limit is None else islice(source, limit)
    measured = tokens = shown = unreadable = 0
    first = ""
    more = False
    for row in rows:
        if measured >= MEASURED_ROWS:
            more = True
            break
        measured += 1
        try:
            text, count = _question(work, row)
        except CallerError as exc:  # a column that this row has not
            text, count = f"cannot be asked: {exc}", 0
        if not count:
            unreadable += 1
            first = first or f"line {row.line} {text}"
        tokens += count
        if shown < SHOWN_ROWS:
            shown += 1
            yield f"--- line {row.line}"
            yield text
    yield "---"
    yield from _estimate(work, source, measured, tokens, limit, more=more)
    if unreadable:
        yield f"{unreadable:,} of the first {measured:,} rows cannot be asked. The first: {first}"


def _question(work: Work, row: Row) -> tuple[str, int]:
    """Return a row's question as text, and about how many tokens it has; none for a row that cannot be read."""
    if row.problem is not None:
        return f"cannot be read: {row.problem}", 0
    if work.prompt is None:
        text = row.values if isinstance(row.values, str) else json_of(row.values).decode()
        return text, count_tokens_approximately([text])
    messages = work.prompt.invoke(row.values).to_messages()
    shown = "\n".join(f"{message.type}: {message.text}" for message in messages)
    return shown, count_tokens_approximately(messages)


def _estimate(
    work: Work, source: Source, measured: int, tokens: int, limit: int | None, *, more: bool
) -> Iterator[str]:
    rows: float = measured
    if more:
        rows = source.total or measured / (source.fraction() or 1)
        rows = round(rows if limit is None else min(rows, limit))
    about = "About " if more else ""
    each = tokens / max(measured, 1)
    model, provider, max_tokens = _model_of(work.chain)
    answer = max_tokens or ANSWER_TOKENS
    yield f"{about}{rows:,.0f} rows, about {rows * each:,.0f} tokens of input, {rows * answer:,.0f} of answers"
    yield f"(an answer counted as {answer} tokens; equal rows are asked once, and counted here)."
    cost = _price_of_one(model, provider, round(each), answer)
    if cost is None:
        yield f"What that costs is not known: no price for {f'`{model}`' if model else 'this chain'}."
    else:
        yield f"At the price of `{model}`: about ${cost * Decimal(rows):,.4f}."


def _model_of(chain: Any) -> tuple[str | None, str | None, int | None]:
    """Find the model of a chain, its provider, and how long its answers may be."""
    for step in [chain, *getattr(chain, "steps", ())]:
        step = getattr(step, "bound", step)
        name = getattr(step, "model", None)
        if isinstance(name, str):
            return name, getattr(step, "provider", None), getattr(step, "max_tokens", None)
    return None, None, None


def _price_of_one(model: str | None, provider: str | None, tokens_in: int, tokens_out: int) -> Decimal | None:
    if model is None:
        return None
    usage: Any = {
        "input_tokens": tokens_in, "output_tokens": tokens_out, "total_tokens": tokens_in + tokens_out,
    }  # fmt: skip
    return price(
        AIMessage("", usage_metadata=usage, response_metadata={"model_name": model, "model_provider": provider})
    )
