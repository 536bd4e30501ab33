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
                yield Row(
                    number,
                    at,
                    None,
                    f"The line has more than {MAX_ROW_CHARS // 2**20} million bytes.",
                )
            else:
                yield self._row(number, at, line)
            number += 1

    def _row(self, number: int, at: int, line: bytes) -> Row:
        try:
            values = from_json(
                (line.removeprefix(b"\xef\xbb\xbf") if at == 1 else line).rstrip(b"\r\n")
            )
        except ValueError as exc:
            # The error's line number counts within the row, not within the file.
            return Row(
                number,
                at,
                None,
                f"Not valid JSON: {str(exc).replace(' at line 1 column', ' at column')}.",
            )
        if isinstance(values, (dict, str)):
            return Row(number, at, values)
        return Row(
            number,
            at,
            None,
            f"The line holds a `{type(values).__name__}`, neither an object nor a text.",
        )


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
                if isinstance(values, _NoValue):
                    yield Row(number, number + 1, None, values.problem)
                else:
                    yield Row(number, number + 1, values)


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
            self.columns = list(dict.fromkeys(str(name) for values in first for name in values))

    def _each(self) -> Iterable[Any]:
        return self._values

    def __iter__(self) -> Iterator[Row]:
        for values in self._each():
            number = self._read
            self._read += 1
            line = self._read
            if isinstance(values, str):
                yield Row(number, line, values)
            elif isinstance(values, _NoValue):
                yield Row(number, line, None, values.problem)
            elif isinstance(values, Mapping):
                row = {str(name): _plain(value) for name, value in values.items()}
                problem = None
                if len(row) != len(values):
                    problem = "Two names of the row are the same as text."
                yield Row(number, line, None if problem else row, problem)
            else:
                yield Row(
                    number,
                    line,
                    None,
                    f"The row is a `{type(values).__name__}`, neither a dict nor a text.",
                )


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
        # The `len` of an arrow table is the number of rows; a record batch reader has neither.
        rows = getattr(frame, "num_rows", None)
        if rows is not None:
            self.total = rows

    def _each(self) -> Iterable[Any]:
        frame: Any = self._values
        if hasattr(frame, "to_batches"):  # It is an arrow table.
            return (
                row
                for batch in frame.to_batches(max_chunksize=BATCH_ROWS)
                for row in _arrow_rows(batch)
            )
        if hasattr(frame, "iter_rows"):  # It is a polars frame.
            return (dict(row) for row in frame.iter_rows(named=True))
        names = self.columns or []
        return (
            dict(zip(names, row, strict=True)) for row in frame.itertuples(index=False, name=None)
        )


def _plain(value: Any) -> Any:
    """Return a value of a frame as a Python value; a missing one is None."""
    if isinstance(value, (str, int)):
        return value
    if getattr(value, "shape", None) == ():  # It is a number of numpy's.
        value = value.item()
    is_missing = (isinstance(value, float) and isnan(value)) or type(value).__name__ in (
        "NaTType",
        "NAType",
    )
    if is_missing:
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
    """Open a path, a data frame or an iterable of dicts and texts. Raises: `InvalidArgument` for anything else.

    `is_ours` says that the file is a job's output.
    """
    if isinstance(rows, (str, os.PathLike)):
        path = Path(os.fspath(rows))
        kind = _BY_SUFFIX.get(path.suffix.lower())
        if kind is None:
            raise InvalidArgument(
                f"The format of `{path}` is told by the end of its name. {did_you_mean(path.suffix, list(_BY_SUFFIX))}"
            )
        return kind(path, encoding=encoding, is_ours=is_ours)
    if any(hasattr(rows, name) for name in ("to_batches", "itertuples", "iter_rows")):
        return _FrameSource(rows)
    if isinstance(rows, Iterable) and not isinstance(rows, (Mapping, bytes)):
        return _IterableSource(rows)
    raise InvalidType(
        f"Rows are the path of a file, a data frame, or an iterable of dicts or texts, not a `{type(rows).__name__}`."
    )
