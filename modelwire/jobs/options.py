"""The options of `run_job`."""

from __future__ import annotations

import os
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from modelwire.errors import InvalidArgument, InvalidType, did_you_mean
from modelwire.jobs.finish_by import hour_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from modelwire.runnables import RunnableConfig

__all__ = [
    "COUNT",
    "ENGINES",
    "ORDERS",
    "JobOptions",
    "amount_of",
    "check_choice",
    "checked_options",
]


class JobOptions(TypedDict, total=False):
    """The keywords of `run_job`, with their defaults; all may be left out.

    - `output` (None): the path of a .jsonl, .csv, .tsv or .parquet file; it appears when all rows are done. None is no
      file: the result holds the rows in memory.
    - `model` (None): for a prompt, a chat model, or a string such as "openai:gpt-4o-mini".
    - `system` (None): a system message before a prompt that is a text.
    - `schema` (None): with a prompt, the form of the answers: a pydantic class or a JSON schema.
    - `job_dir` (None): the folder of the job's state; None is `OUTPUT.job`; without an output, one that is
      removed when the job is complete.
    - `order` ("input"): of the output's rows; "arrival" is that in which they were done.
    - `max_concurrency` (None): rows at a time; None is 200, then more while that is faster.
    - `max_cost` (None): USD, of all runs together; no row is begun that could pass it: its own input and its largest
      answer (`max_tokens` of the model) are set aside before it is asked.
    - `finish_by` (None): when all is to be done: "07:00", "2h", "2026-12-24T07:00 Europe/Vienna", a `datetime` with a
      zone. Rows go through the provider's Batch API at half the price for as long as live calls could still be in time.
    - `bucket` (None): with `finish_by`, where Vertex AI keeps the files of batches: "gs://my-bucket/folder".
    - `limit` (None): only so many first rows; a later run with a higher limit goes on from there.
    - `sample` (None): only so many rows, chosen by `seed` (0). The output has the rows that this run chose.
    - `dedupe` (True): ask equal questions once.
    - `retry_failed` (False): ask rows again that have failed.
    - `formula_guard` (False): in CSV, a quote before an answer that a spreadsheet would take for a formula.
    - `encoding` ("utf-8"): of a CSV or TSV input.
    - `engine` ("local"): who asks, this process, or "ray": the workers of a Ray cluster.
    - `workers` (None): of Ray; None is one a CPU.
    - `config` (None): a `RunnableConfig` for every row.
    - `quiet` (False): show no progress.
    - `command` (None): how `modelwire jobs retry` runs it again; the command line's own.
    """

    output: str | os.PathLike[str] | None
    model: Any
    system: str | None
    schema: Any
    job_dir: str | os.PathLike[str] | None
    order: Literal["input", "arrival"]
    max_concurrency: int | None
    max_cost: Decimal | float | str | None
    finish_by: datetime | timedelta | str | None
    bucket: str | None
    limit: int | None
    sample: int | None
    seed: int
    dedupe: bool
    retry_failed: bool
    formula_guard: bool
    encoding: str
    engine: Literal["local", "ray"]
    workers: int | None
    config: RunnableConfig | None
    quiet: bool
    command: dict[str, Any] | None


ENGINES, ORDERS = ("local", "ray"), ("input", "arrival")
COUNT = "a whole number of at least 1"
_DEFAULTS: dict[str, Any] = dict.fromkeys(JobOptions.__annotations__) | {
    "order": "input",
    "seed": 0,
    "dedupe": True,
    "retry_failed": False,
    "formula_guard": False,
    "encoding": "utf-8",
    "engine": "local",
    "quiet": False,
}


def checked_options(keywords: JobOptions) -> dict[str, Any]:
    """Complete the options with the defaults. Raises: `InvalidArgument` for what cannot be."""
    for name in keywords:
        if name not in _DEFAULTS:
            raise InvalidType(f"A job has no option `{name}`. {did_you_mean(name, [*_DEFAULTS])}")
    if not isinstance(keywords.get("output"), (str, os.PathLike, type(None))):
        raise InvalidType(
            "`output` is the path of the file its results go to, or None for rows in memory."
        )
    options: dict[str, Any] = {**_DEFAULTS, **keywords}
    check_choice("engine", options["engine"], ENGINES)
    check_choice("order", options["order"], ORDERS)
    for name in ("max_concurrency", "limit", "sample", "workers"):
        value = options[name]
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int) or value < 1
        ):
            raise InvalidArgument(f"`{name}` must be {COUNT}, not {value!r}.")
    if options["workers"] is not None and options["engine"] != "ray":
        raise InvalidArgument('`workers` are those of Ray: it needs `engine="ray"`.')
    if options["max_cost"] is not None:
        options["max_cost"] = amount_of(options["max_cost"])
    if options["bucket"] is not None and options["finish_by"] is None:
        raise InvalidArgument(
            "`bucket` is for rows that go in batches: by `finish_by`, or by `submit_batch`."
        )
    if options["finish_by"] is not None:
        if options["engine"] == "ray":
            raise InvalidArgument('`finish_by` plans for one machine: leave `engine="ray"` out.')
        options["finish_by"] = hour_of(options["finish_by"])
    return options


def check_choice(name: str, value: Any, known: Sequence[str]) -> None:
    """Raise `InvalidArgument` for a value that there is not."""
    if value not in known:
        raise InvalidArgument(f"`{name}` is {value!r}. {did_you_mean(str(value), known)}")


def amount_of(value: Any) -> Decimal:
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("nan")
    if isinstance(value, bool) or not amount.is_finite() or amount <= 0:
        raise InvalidArgument(
            f"`max_cost` must be an amount in USD above 0, such as 0.5, not {value!r}."
        )
    return amount
