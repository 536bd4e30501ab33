"""The result of `run_job`, and the rows of its output as Python has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from modelwire import _lazy
from modelwire.errors import MissingDependency
from modelwire.jobs.cost import dollars
from modelwire.jobs.row_records import json_of
from modelwire.jobs.sources import open_source, require_pyarrow

if TYPE_CHECKING:
    from modelwire import notebooks
else:
    notebooks = _lazy.module("modelwire.notebooks")

__all__ = ["JobResult"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """How a job ended. Rows, tokens and cost (USD) are those of all its runs; `asked` and `elapsed_s` of this one."""

    output: Path | None  # None: the rows are in memory
    job_dir: Path
    job_id: str
    complete: bool  # every row has a result, and the output is written
    stopped: str | None  # "max_cost" or "interrupted", else None
    rows: int
    failed: int
    asked: int
    same: int  # rows that took the answer of an equal one
    cached: int  # answers from the model's cache
    cut: int  # answers that a token limit ended (`max_tokens`): their `finish_reason` says so
    input_tokens: int
    output_tokens: int
    cost: Decimal
    unpriced: int  # answered rows whose price is not known: `cost` is that of the others
    saved: Decimal  # about what the rows of `same` would have cost
    elapsed_s: float
    table: list[dict[str, Any]] | None = field(
        default=None, repr=False
    )  # of a job without an output
    types: dict[str, str] = field(default_factory=dict, repr=False)  # of a CSV's columns

    def numbers(self) -> dict[str, Any]:
        """Return what counts something, for JSON."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {
            name: str(value) if isinstance(value, Decimal) else value
            for name, value in values.items()
            if isinstance(value, (int, float, Decimal))
        }

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of the output as dicts, with the types they had. Needs the output to be there."""
        return (
            iter(self.table or ()) if self.output is None else _stored_rows(self.output, self.types)
        )

    def to_pandas(self) -> Any:
        """Return the rows as a `pandas.DataFrame`. Raises: `MissingDependency`."""
        try:
            pandas: Any = import_module("pandas")
        except ImportError as exc:
            raise MissingDependency("`to_pandas` needs pandas: `pip install pandas`.") from exc
        return pandas.DataFrame(list(self))

    def to_arrow(self) -> Any:
        """Return the rows as a `pyarrow.Table`; a column of values of several kinds is JSON text."""
        pa, held = require_pyarrow(), list(self)
        return pa.table(
            {name: _column(pa, [row[name] for row in held]) for name in (held[0] if held else ())}
        )

    def _repr_html_(self) -> str:
        return notebooks.show_result(self)

    def __str__(self) -> str:
        parts = [f"{self.rows:,} rows"]
        parts += [f"{self.failed:,} failed"] if self.failed else []
        parts += [f"{self.same:,} duplicate{'s' if self.same > 1 else ''}"] if self.same else []
        parts += [f"{self.cached:,} answers from the cache"] if self.cached else []
        parts += (
            [f"{self.cut:,} {'answers' if self.cut > 1 else 'answer'} cut by max_tokens"]
            if self.cut
            else []
        )
        parts.append(f"{self.input_tokens:,} + {self.output_tokens:,} tokens")
        cost = dollars(self.cost) if self.cost or not self.unpriced else "cost unknown"
        parts.append(
            cost
            + (f" ({self.unpriced:,} rows of unknown price)" if self.unpriced and self.cost else "")
        )
        parts += [f"about {dollars(self.saved)} saved"] if self.saved >= Decimal("0.00005") else []
        nothing = (
            " (nothing was asked: all was done before)"
            if self.complete and self.rows and not self.asked
            else ""
        )
        stopped = f" (stopped: {self.stopped})" if self.stopped and not self.complete else ""
        return f"{', '.join(parts)}, {self.elapsed_s:,.1f} s{nothing}{stopped}"


def _stored_rows(path: Path, types: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a job's output; `types` says what the texts of a CSV stand for, by column."""
    rows = (row.values for row in open_source(path, is_ours=True))
    if path.suffix.lower() not in (".csv", ".tsv"):
        return rows
    return (
        {name: _value(text, types.get(name, "text")) for name, text in row.items()} for row in rows
    )


def _value(text: str, kind: str) -> Any:
    """Return what a cell held; an empty one is None where the column had one, or cannot hold an empty text."""
    if not text and kind != "text":
        return None
    readers: dict[str, Any] = {
        "int": int,
        "float": float,
        "json": from_json,
        "bool": lambda cell: cell == "True",
    }
    try:
        return readers.get(kind.removesuffix("?"), str)(text)
    except ValueError:  # somebody has edited it, or a number has too many digits
        return text


def _column(pa: Any, values: list[Any]) -> Any:
    try:
        return pa.array(values)
    except (
        pa.ArrowException,
        OverflowError,
    ):  # values of several kinds, or numbers of more than 64 bits
        texts = (
            one if one is None or isinstance(one, str) else json_of(one).decode() for one in values
        )
        return pa.array(list(texts), pa.string())
