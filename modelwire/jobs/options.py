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
    """The keywords of `run_job` with their defaults. All are optional.

    - `output` (None): the path of a .jsonl, .csv, .tsv or .parquet file, which appears when all rows are done. If None,
      the result holds the rows in memory.
    - `model` (None): for a prompt, a chat model, or a string such as "openai:gpt-4o-mini".
    - `system` (None): a system message before a prompt that is a text.
    - `schema` (None): with a prompt, the form of the answers: a pydantic class or a JSON schema.
    - `job_dir` (None): the folder of the job's state. The default is `OUTPUT.job`; without an output it is a folder
      that is removed when the job is complete.
    - `order` ("input"): the order of the output's rows; "arrival" is the order in which they finished.
    - `max_concurrency` (None): rows at a time. The default starts at 200 and grows while that is faster.
    - `max_cost` (None): USD for all runs together. A row's highest possible cost, for its input and its longest answer
      (the model's `max_tokens`), is reserved before it is called; a row that could exceed the limit is not started.
    - `finish_by` (None): the deadline: "07:00", "2h", "2026-12-24T07:00 Europe/Vienna", a `datetime` with a zone. Rows
      go through the provider's Batch API at half the price as long as direct calls could still meet the deadline.
    - `bucket` (None): with `finish_by`, the folder for the files of Vertex AI's batches: "gs://my-bucket/folder".
    - `limit` (None): only this many first rows; a later run with a higher limit continues from there.
    - `sample` (None): only this many rows, chosen by `seed` (0). The output has the rows that this run has chosen.
    - `dedupe` (True): call the model once for equal rows.
    - `retry_failed` (False): retry rows that have failed.
    - `formula_guard` (False): in CSV, put a quote before an answer that a spreadsheet would run as a formula.
    - `encoding` ("utf-8"): the encoding of a CSV or TSV input.
    - `engine` ("local"): where rows are called: in this process, or with "ray" in the workers of a Ray cluster.
    - `workers` (None): the number of Ray workers; the default is one for each CPU.
    - `config` (None): a `RunnableConfig` for every row.
    - `quiet` (False): show no progress.
    - `command` (None): the settings by which `modelwire jobs retry` runs the job again; the command line sets them.
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
    """Return the options completed by the defaults.

    Raises: `InvalidArgument` for an invalid value.
    """
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
    """Raise `InvalidArgument` for a value that is not one of `known`."""
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
