"""The result of `run_job`, and iteration over the rows of its output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from modelwire import ext
from modelwire.aliases import JSON
from modelwire.errors import MissingDependency
from modelwire.jobs.row_records import json_of
from modelwire.jobs.sources import open_source, require_pyarrow
from modelwire.usage import PromptCacheUse, dollars


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """The result of a job. Iterating over it yields the rows of the output.

    `asked` (the rows that this run has finished) and `elapsed_s` are of this run; the other numbers
    are of all runs of the job. Costs are in USD.
    """

    output: Path | None  # If None, the rows are in memory.
    job_dir: Path
    job_id: str
    complete: bool  # True if every row has a result and the output is written.
    stopped: str | None  # It is "max_cost" or "interrupted" if the job has stopped early.
    rows: int
    failed: int
    asked: int
    refused: int  # Of the failed rows, a model or a content filter refused these.
    same: int  # These rows share the answer of an equal row.
    cached: int  # These answers came from the model's cache.
    # These answers were cut by a token limit (`max_tokens`); their `finish_reason` shows it.
    cut: int
    input_tokens: int
    output_tokens: int
    cost: Decimal
    unpriced: int  # The price of these answers is unknown, so `cost` does not include them.
    saved: Decimal  # The rows counted in `same` would have cost about this much.
    elapsed_s: float
    # Input tokens that were read from the providers' prompt caches, and those written to them.
    cache_read: int = 0
    cache_written: int = 0
    # USD that the prompt caches saved; below 0 if the writes cost more than the reads saved.
    cache_saved: Decimal = Decimal(0)
    # A job without an output keeps its rows here.
    table: list[dict[str, Any]] | None = field(default=None, repr=False)
    # These are the types of a CSV file's columns.
    types: dict[str, str] = field(default_factory=dict, repr=False)

    def numbers(self) -> dict[str, Any]:
        """Return the numeric fields by name, for JSON: a `Decimal` becomes a string."""
        numbers: dict[str, Any] = {}
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, (int, float)):
                numbers[one.name] = value
            elif isinstance(value, Decimal):
                numbers[one.name] = str(value)
        return numbers

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of the output as dicts with their original types.

        The output must still exist.
        """
        if self.output is None:
            return iter(self.table or ())
        return _stored_rows(self.output, self.types)

    def to_pandas(self) -> Any:
        """Return the rows as a `pandas.DataFrame`. Raises: `MissingDependency`."""
        try:
            pandas: Any = import_module("pandas")
        except ImportError as exc:
            raise MissingDependency("`to_pandas` needs pandas: `pip install pandas`.") from exc
        return pandas.DataFrame(list(self))

    def to_arrow(self) -> Any:
        """Return the rows as a `pyarrow.Table`.

        A column with values of several types becomes JSON text.
        """
        pa = require_pyarrow()
        rows = list(self)
        columns: dict[str, list[Any]] = {}
        for row in rows:
            for name, value in row.items():
                columns.setdefault(name, []).append(value)
        return pa.table({name: _column(pa, values) for name, values in columns.items()})

    def _repr_html_(self) -> str:
        return str(ext.extension("notebooks").show_result(self))

    def __str__(self) -> str:
        parts = [*self._counts_text(), *self._costs_text()]
        nothing = ""
        if self.complete and self.rows and not self.asked:
            nothing = " (nothing was asked: all was done before)"
        stopped = ""
        if self.stopped and not self.complete:
            stopped = f" (stopped: {self.stopped})"
        return f"{', '.join(parts)}, {self.elapsed_s:,.1f} s{nothing}{stopped}"

    def _counts_text(self) -> Iterator[str]:
        """Yield how many rows there are, and how many of each kind; kinds without a row are left out."""
        yield f"{self.rows:,} rows"
        if self.failed:
            refused = ""
            if self.refused:
                refused = f" ({self.refused:,} refused)"
            yield f"{self.failed:,} failed{refused}"
        if self.same:
            yield f"{self.same:,} duplicate{'s' * (self.same > 1)}"
        if self.cached:
            yield f"{self.cached:,} answers from the cache"
        if self.cut:
            yield f"{self.cut:,} answer{'s' * (self.cut > 1)} cut by max_tokens"

    def _costs_text(self) -> Iterator[str]:
        """Yield the tokens, the cost as far as prices are known, and what prompt caches and shared answers saved."""
        yield f"{self.input_tokens:,} + {self.output_tokens:,} tokens"
        cost = dollars(self.cost)
        if self.unpriced:
            of_unknown_price = f" ({self.unpriced:,} rows of unknown price)"
            if self.cost:
                cost = cost + of_unknown_price
            else:
                cost = "cost unknown"
        yield cost
        use = PromptCacheUse(
            self.input_tokens, self.cache_read, self.cache_written, self.cache_saved
        )
        if str(use):
            yield str(use)
        if self.saved >= Decimal("0.00005"):
            yield f"about {dollars(self.saved)} saved"


def _stored_rows(path: Path, types: Mapping[str, str]) -> Iterator[JSON]:
    """Yield the rows of a job's output; `types` names the type of each CSV column."""
    rows = (row.values for row in open_source(path, is_ours=True))
    if path.suffix.lower() not in (".csv", ".tsv"):
        return rows
    return (
        {name: _value(text, types.get(name, "text")) for name, text in row.items()} for row in rows
    )


def _value(text: str, kind: str) -> Any:
    """Return the value of a cell of a CSV file; `kind` is the type of its column, as in `output.Table`.

    An empty cell is None, except in a column of texts without None.
    """
    if not text and kind != "text":
        return None
    readers: dict[str, Any] = {
        "int": int,
        "float": float,
        "json": from_json,
        "vector": from_json,
        "bool": lambda cell: cell == "True",
    }
    try:
        return readers.get(kind.removesuffix("?"), str)(text)
    except ValueError:  # The file was edited, or a number has too many digits.
        return text


def _column(pa: Any, values: list[Any]) -> Any:
    try:
        return pa.array(values)
    except (
        pa.ArrowException,
        OverflowError,
    ):
        # The values have several types, or are integers of more than 64 bits.
        texts = []
        for value in values:
            text = value
            if value is not None and not isinstance(value, str):
                text = json_of(value).decode()
            texts.append(text)
        return pa.array(texts, pa.string())
