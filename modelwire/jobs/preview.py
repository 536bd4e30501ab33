"""Shows what a job would send, without sending it: three filled prompts, and the possible cost of all rows."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from modelwire.errors import CallerError
from modelwire.jobs.cache_warmup import COMPARED_ROWS, saving_note
from modelwire.jobs.row_records import json_of
from modelwire.jobs.rows import Row, Source, chosen
from modelwire.jobs.work import Work, models_of, price_of_counts
from modelwire.messages import count_tokens_approximately
from modelwire.usage import BATCH_SHARE, dollars

_SHOWN_ROWS = 3
# The first rows up to this number give the mean length of a prompt. Together with the bytes read
# they give the number of rows.
MEASURED_ROWS = 10_000
# Answers are estimated at this many tokens if the model has no `max_tokens`.
ANSWER_TOKENS = 200


def preview(
    work: Work,
    source: Source,
    *,
    limit: int | None = None,
    sample: int | None = None,
    seed: int = 0,
    in_batch: bool = False,
    dedupe: bool = True,
) -> Iterator[str]:
    """Yield the lines that `--dry-run` prints. No request is sent."""
    rows, _ = chosen(iter(source), limit=limit, sample=sample, seed=seed)
    measured = tokens = shown = unreadable = 0
    first = ""
    more = False
    first_values = []
    for row in rows:
        if measured >= MEASURED_ROWS:
            more = True
            break
        measured += 1
        if measured <= COMPARED_ROWS and row.problem is None:
            first_values.append(row.values)
        try:
            text, count = question_text(work, row)
        except CallerError as exc:  # The prompt needs a column that this row does not have.
            text = f"cannot be asked: {exc}"
            count = 0
        if not count:
            unreadable += 1
            first = first or f"line {row.line} {text}"
        tokens += count
        if shown < _SHOWN_ROWS:
            shown += 1
            yield f"--- line {row.line}"
            yield text
    yield "---"
    total: float = measured
    if more:
        total = _row_count(source, measured, (limit, sample))
    yield from _estimate(
        work, total, tokens / max(measured, 1), more=more, in_batch=in_batch, dedupe=dedupe
    )
    if not in_batch and (note := saving_note(work, first_values, total)):
        yield note
    if unreadable:
        yield f"{unreadable:,} of the first {measured:,} rows cannot be asked. The first: {first}"


def _row_count(source: Source, measured: int, limits: tuple[int | None, ...]) -> int:
    """Estimate the number of rows of a job, of which `measured` were read; no limit that is not None is exceeded."""
    fraction = source.fraction() or 1
    count = source.total or measured / fraction
    for limit in limits:
        if limit is not None:
            count = min(count, limit)
    return round(count)


def question_text(work: Work, row: Row) -> tuple[str, int]:
    """Return a row's prompt as text, and an estimate of its tokens; for a row that cannot be read its error, and 0."""
    if row.problem is not None:
        return f"cannot be read: {row.problem}", 0
    if work.prompt is None:
        text = work.question(row.values)
        if not isinstance(text, str):
            text = json_of(text).decode()
        return text, count_tokens_approximately([text])
    messages = work.prompt.invoke(work.filled(row.values)).to_messages()
    shown = "\n".join(f"{message.type}: {message.text}" for message in messages)
    return shown, count_tokens_approximately(messages)


def _estimate(
    work: Work,
    rows: float,
    each: float,
    *,
    more: bool,
    in_batch: bool,
    dedupe: bool,
) -> Iterator[str]:
    """Yield sentences that estimate the tokens and the cost of `rows` prompts of `each` tokens."""
    about = ""
    if more:
        about = "About "
    models = list(models_of(work.chain))
    # With several models it is unknown which prompt each gets.
    model = None
    if len(models) == 1:
        model = models[0]
    name = getattr(model, "model", None)
    equal = "equal rows are asked each"
    if dedupe:
        equal = "equal rows are asked once, and counted here"
    size = f"{about}{rows:,.0f} rows, about {rows * each:,.0f} tokens of input"
    answer = 0
    if work.has_answer_tokens:
        answer = getattr(model, "max_tokens", None) or ANSWER_TOKENS
        yield f"{size}, {rows * answer:,.0f} of answers"
        yield f"(an answer counted as {answer} tokens; {equal})."
    else:
        yield f"{size} ({equal})."
    cost = price_of_counts(model, round(each), answer)
    if cost is None:
        of = "this chain"
        if name:
            of = f"`{name}`"
        yield f"The cost is unknown: there is no price for {of} (`pip install 'modelwire[profiles]'` installs prices)."
    elif in_batch:
        total = cost * Decimal(rows) * BATCH_SHARE
        yield f"At half the price of `{name}`, that of its Batch API: about {dollars(total)}."
    else:
        yield f"At the price of `{name}`: about {dollars(cost * Decimal(rows))}."
