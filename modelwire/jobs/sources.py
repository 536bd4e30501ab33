"""Opens a source of rows: a file by its suffix, a data frame, or an iterable."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from math import isnan
from pathlib import Path
from typing import IO, Any, NamedTuple

from pydantic_core import from_json

from modelwire.errors import InvalidArgument, InvalidType, MissingDependency, did_you_mean
from modelwire.jobs.csv_rows import CsvSource
from modelwire.jobs.rows import EDGE_BYTES, MAX_ROW_CHARS, FileSource, Row, Source, check_unique

# The columns of JSON lines are taken from this many first lines.
_PEEKED_LINES = 100
# A Parquet file or a data frame is read this many rows at a time.
BATCH_ROWS = 512
# Arrow and Python raise these for a value that Python cannot represent.
_CONVERSION_ERRORS = (ArithmeticError, NotImplementedError, TypeError, ValueError)


class _JsonlSource(FileSource):
    """JSON lines: one object or one text on each line. Its columns are those of the first objects,
    for checking the prompt.

    The columns are unknown if one of the first lines is a text, or too long to be read twice.
    """

    def _begin(self) -> None:
        names: dict[str, None] = {}
        for at in range(1, _PEEKED_LINES + 1):
            line = self._file.readline(EDGE_BYTES)
            values = self._row(0, at, line).values
            if isinstance(values, str) or len(line) >= EDGE_BYTES:
                break
            names |= dict.fromkeys(values or ())
        else:
            self.columns = list(names) or None
        self._file.seek(0)

    def _rows(self) -> Iterator[Row]:
        number = 0
        at = 0
        while line := self._file.readline(MAX_ROW_CHARS):
            at += 1
            too_long = len(line) >= MAX_ROW_CHARS
            end = line
            while end and too_long and not end.endswith(b"\n"):
                end = self._file.readline(MAX_ROW_CHARS)
            if not line.strip(b"\xef\xbb\xbf \t\r\n"):
                continue
            if too_long:
                millions = MAX_ROW_CHARS // 2**20
                problem = f"The line has more than {millions} million bytes."
                yield Row(number, at, None, problem)
            else:
                yield self._row(number, at, line)
            number += 1

    def _row(self, number: int, at: int, line: bytes) -> Row:
        """Return the row on line `at` of the file."""
        if at == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        try:
            values = from_json(line.rstrip(b"\r\n"))
        except ValueError as exc:
            # The error's line number counts within the row, not within the file.
            reason = str(exc).replace(" at line 1 column", " at column")
            return Row(number, at, None, f"Not valid JSON: {reason}.")
        if isinstance(values, (dict, str)):
            return Row(number, at, values)
        kind = type(values).__name__
        problem = f"The line holds a `{kind}`, neither an object nor a text."
        return Row(number, at, None, problem)


def require_pyarrow() -> Any:
    """Return pyarrow with its Parquet part imported; it has no type hints."""
    try:
        import_module("pyarrow.parquet")
    except ImportError as exc:
        raise MissingDependency(
            "Parquet files need pyarrow: `pip install 'modelwire[parquet]'`."
        ) from exc
    return import_module("pyarrow")


class _ParquetSource(FileSource):
    """A Parquet file, read a batch of rows at a time."""

    def _open(self) -> IO[Any]:
        require_pyarrow()
        return super()._open()

    def _begin(self) -> None:
        pa = require_pyarrow()
        try:
            self._parquet: Any = pa.parquet.ParquetFile(self._file)
        except pa.ArrowException as exc:
            raise InvalidArgument(f"`{self.path}` is not a Parquet file: {exc}.") from exc
        self.columns = list(self._parquet.schema_arrow.names)
        check_unique(self.columns, f"`{self.path}`")
        self.total = self._parquet.metadata.num_rows

    def _rows(self) -> Iterator[Row]:
        for batch in self._parquet.iter_batches(BATCH_ROWS):
            for values in _arrow_rows(batch):
                number = self._read
                self._read += 1
                problem = None
                if isinstance(values, _NoValue):
                    problem = values.problem
                    values = None
                yield Row(number, self._read, values, problem)


class _NoValue(NamedTuple):
    """Replaces a row whose values Python cannot represent."""

    problem: str


def _arrow_rows(batch: Any) -> Iterator[Any]:
    """Yield the values of each row of a batch, or a `_NoValue`.

    Arrow fails a whole batch for one value: a date before the year 1 or after 9999, nanoseconds if
    pandas is not installed, a struct with one name twice, a text that is not UTF-8.
    """
    try:
        yield from batch.to_pylist()
    except _CONVERSION_ERRORS:
        for at in range(batch.num_rows):
            yield _arrow_row(batch.slice(at, 1))


def _arrow_row(batch: Any) -> Any:
    try:
        return batch.to_pylist()[0]
    except _CONVERSION_ERRORS as exc:
        names = [name for name in batch.schema.names if not _is_readable(batch.column(name))]
        columns = ", ".join(f"`{name}`" for name in names)
        return _NoValue(f"Python cannot hold the value of {columns}: {exc}")


def _is_readable(column: Any) -> bool:
    try:
        column.to_pylist()
    except _CONVERSION_ERRORS:
        return False
    return True


class _IterableSource(Source):
    def __init__(self, rows: Iterable[Any]) -> None:
        self._values = rows
        length = getattr(rows, "__len__", None)
        self.total = None
        if length is not None:
            self.total = length()
        first: Sequence[Any] = ()
        if isinstance(rows, (list, tuple)):
            first = rows[:_PEEKED_LINES]
        if first and all(isinstance(values, Mapping) for values in first):
            names: dict[str, None] = {}
            for values in first:
                names |= dict.fromkeys(map(str, values))
            self.columns = list(names)

    def _each(self) -> Iterable[Any]:
        return self._values

    def __iter__(self) -> Iterator[Row]:
        for values in self._each():
            number = self._read
            self._read += 1
            row: Any = None
            problem: str | None = None
            if isinstance(values, str):
                row = values
            elif isinstance(values, _NoValue):
                problem = values.problem
            elif isinstance(values, Mapping):
                row = {str(name): _plain(value) for name, value in values.items()}
                if len(row) != len(values):
                    row = None
                    problem = "Two names of the row are the same as text."
            else:
                kind = type(values).__name__
                problem = f"The row is a `{kind}`, neither a dict nor a text."
            yield Row(number, self._read, row, problem)


class _FrameSource(_IterableSource):
    """A data frame of pandas, polars or arrow, detected by its methods; none of them is imported here."""

    def __init__(self, frame: Any) -> None:
        super().__init__(frame)
        if hasattr(frame, "to_batches"):
            names = frame.schema.names
        else:
            names = frame.columns
        self.columns = [str(name) for name in names]
        check_unique(self.columns, "The data frame")
        # An arrow table states its number of rows; a record batch reader does not.
        rows = getattr(frame, "num_rows", None)
        if rows is not None:
            self.total = rows

    def _each(self) -> Iterable[Any]:
        frame: Any = self._values
        if hasattr(frame, "to_batches"):  # It is an arrow table.
            for batch in frame.to_batches(max_chunksize=BATCH_ROWS):
                yield from _arrow_rows(batch)
        elif hasattr(frame, "iter_rows"):  # It is a polars frame.
            yield from map(dict, frame.iter_rows(named=True))
        else:
            names = self.columns or []
            for row in frame.itertuples(index=False, name=None):
                yield dict(zip(names, row, strict=True))


def _plain(value: Any) -> Any:
    """Return a value of a frame as a Python value; a missing one is None."""
    if isinstance(value, (str, int)):
        return value
    if getattr(value, "shape", None) == ():  # It is a number of numpy's.
        value = value.item()
    if isinstance(value, float) and isnan(value):
        return None
    if type(value).__name__ in ("NaTType", "NAType"):  # These are pandas' missing values.
        return None
    return value


_BY_SUFFIX: dict[str, type[FileSource]] = {
    ".csv": CsvSource,
    ".tsv": CsvSource,
    ".jsonl": _JsonlSource,
    ".ndjson": _JsonlSource,
    ".parquet": _ParquetSource,
    ".pq": _ParquetSource,
}


def open_source(rows: Any, *, encoding: str = "utf-8", is_ours: bool = False) -> Source:
    """Open a path, a data frame or an iterable of dicts and texts as a source of rows.

    `is_ours` is True for the output of a job, whose format is known exactly. Raises:
    `InvalidArgument` for a file that cannot be read, `InvalidType` for anything else.
    """
    if isinstance(rows, (str, os.PathLike)):
        path = Path(os.fspath(rows))
        kind = _BY_SUFFIX.get(path.suffix.lower())
        if kind is None:
            raise InvalidArgument(
                f"The suffix of `{path}` must name its format. {did_you_mean(path.suffix, list(_BY_SUFFIX))}"
            )
        return kind(path, encoding=encoding, is_ours=is_ours)
    if any(hasattr(rows, name) for name in ("to_batches", "itertuples", "iter_rows")):
        return _FrameSource(rows)
    if isinstance(rows, Iterable) and not isinstance(rows, (Mapping, bytes)):
        return _IterableSource(rows)
    raise InvalidType(
        f"Rows are the path of a file, a data frame, or an iterable of dicts or texts, not a `{type(rows).__name__}`."
    )
