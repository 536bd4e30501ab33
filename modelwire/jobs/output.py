"""Writes results as a table of JSON lines, CSV or Parquet. The file appears when it is complete, not before.

The columns of the input come first, then those of the answer (`answer`, or one for each key of a
structured answer), then facts about the row such as `error` and `cost`. A name that is taken gets a
prefix: `answer_` for a key of the answer, `job_` for a fact.
"""

from __future__ import annotations

import os
import re
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from modelwire.aliases import JSON, Fields
from modelwire.errors import DiskError, InvalidArgument, JobChanged, did_you_mean
from modelwire.jobs.options import ORDERS, check_choice
from modelwire.jobs.owned_files import disk_errors, owned, sync_folder
from modelwire.jobs.row_records import DIGEST_BYTES, Results, digest_of, json_of
from modelwire.jobs.rows import INPUT_COLUMN
from modelwire.jobs.sources import require_pyarrow
from modelwire.jobs.stored_vectors import Vector, is_vector, vector_of

if TYPE_CHECKING:
    from modelwire.jobs.folder import JobFolder
    from modelwire.jobs.input_rows import InputRows

# These columns have the job's facts about a row; the cost is in USD.
ABOUT = ("error", "finish_reason", "input_tokens", "output_tokens", "cost", "latency_s", "attempts")
_OF_JOB = dict.fromkeys(ABOUT, "text") | dict.fromkeys(
    ("input_tokens", "output_tokens", "attempts"), "int"
)
_OF_JOB |= {"cost": "float", "latency_s": "float"}
# A Parquet file is written in groups of this many rows.
_BATCH_ROWS = 1000
# Files are hashed in pieces of this many bytes.
_HASHED_BYTES = 1024 * 1024
# File systems take names of at most this many bytes (ext4, APFS, NTFS, ZFS).
_NAME_BYTES = 255
# This many characters of a digest distinguish the unfinished tables of two jobs.
_WRITER_CHARS = 8


def check_output(path: Path, order: str, *others: object) -> None:
    """Raise `InvalidArgument` or `DiskError` if an output cannot be written, or is one of `others`.

    `others` are the input and the job's folder.
    """
    if path.suffix.lower() not in _WRITERS:
        raise InvalidArgument(
            f"The suffix of the output `{path}` must name its format. "
            f"{did_you_mean(path.suffix, list(_WRITERS))}"
        )
    _check_length(path)
    check_choice("order", order, ORDERS)
    if not path.resolve().parent.is_dir():
        raise InvalidArgument(f"There is no folder `{path.parent}` for the output.")
    if path.is_dir():
        raise InvalidArgument(f"The output `{path}` is a folder; name a file.")
    if not os.access(path.resolve().parent, os.W_OK | os.X_OK):
        raise DiskError(
            f"You may not write in the folder of the output `{path}`. Name another one.",
            path=str(path),
        )
    for other in others:
        if not isinstance(other, (str, os.PathLike)):
            continue
        if path.resolve() == Path(os.fspath(other)).resolve():
            raise InvalidArgument(
                f"The output `{path}` is the input or the job's folder, too; name another one."
            )
    if _WRITERS[path.suffix.lower()] is _ParquetWriter:
        require_pyarrow()


def _check_length(path: Path) -> None:
    """Raise `InvalidArgument` if the name leaves no room for the suffix of the unfinished file."""
    part = _part_of(path, "x" * _WRITER_CHARS)
    excess = len(os.fsencode(part.name)) - _NAME_BYTES
    if excess > 0:
        name_bytes = len(os.fsencode(path.name))
        most = name_bytes - excess
        raise InvalidArgument(
            f"The output's name has {name_bytes} bytes, and {most} is the most: while the table is written its file "
            f"has a longer name. Shorten `{path.name[:40]}...`."
        )


def _part_of(path: Path, writer: str) -> Path:
    """Return the path of the unfinished output of a job, which `writer` distinguishes from that of another job."""
    return path.with_name(f".{path.name}.{writer}.part")


class Table(NamedTuple):
    """A written table: its number of rows, and of a CSV file the type of the values in each column."""

    rows: int
    # A type is "int", "float", "bool", "json", "vector" or "text", followed by "?" if the column may contain
    # None.
    types: dict[str, str]


def rows_of(
    results: Results,
    *,
    order: str = "input",
    columns: Iterable[str] = (),
    among: Sequence[int] | None = None,
    answer_columns: Iterable[str] | None = None,
) -> list[JSON]:
    """Return the table of all rows that have a record, as dicts with equal keys; see `write_output`."""
    seen = _Columns(columns, answer_columns, with_kinds=False)
    for record in results.records(by_arrival=True, among=among):
        seen.see(record)
    records = results.records(by_arrival=order == "arrival", among=among)
    return [_with_floats(seen.row(record)) for record in records]


def write_output(
    results: Results,
    path: Path,
    *,
    order: str = "input",
    formula_guard: bool = False,
    columns: Iterable[str] = (),
    among: Sequence[int] | None = None,
    answer_columns: Iterable[str] | None = None,
) -> Table:
    """Write the table of all rows that have a record, and return its number of rows and types. Raises: `DiskError`.

    `columns` are those of the input, as far as they are known before its rows are read. `among` has
    the numbers of the wanted rows in rising order; None selects all. If a schema defines the keys
    of the answers, `answer_columns` has them, and other keys of an answer are left out.
    """
    writer_class = _WRITERS[path.suffix.lower()]
    seen = _Columns(columns, answer_columns, with_kinds=writer_class is not _JsonlWriter)
    for record in results.records(by_arrival=True, among=among):
        seen.see(record)
    identity = digest_of(bytes(results.store.path.absolute())).hex()[:_WRITER_CHARS]
    with _appearing(path, identity) as file:
        writer = writer_class(file, seen, formula_guard=formula_guard)
        count = 0
        for record in results.records(by_arrival=order == "arrival", among=among):
            writer.write(seen.row(record))
            count += 1
        writer.close()
    types: dict[str, str] = {}
    if issubclass(writer_class, _CsvWriter):
        types = seen.types()
    return Table(count, types)


def _written_as(path: Path) -> list[Any]:
    """Return a fingerprint of a file: its size in bytes, its time of change in nanoseconds, and a digest."""
    digest = blake2b(digest_size=DIGEST_BYTES)
    with disk_errors(path):
        about = path.stat()
        with path.open("rb") as file:
            while part := file.read(_HASHED_BYTES):
                digest.update(part)
    return [about.st_size, about.st_mtime_ns, digest.hexdigest()]


def _is_still(path: Path, written: Sequence[Any]) -> bool:
    """Return whether a file still has the content of which `_written_as` has returned `written`.

    The file is hashed only if its size is the same and its time of change is not.
    """
    size_bytes, changed_ns, digest = written
    with disk_errors(path):
        about = path.stat()
    if about.st_size != size_bytes:
        return False
    if about.st_mtime_ns == changed_ns:
        return True
    return bool(_written_as(path)[2] == digest)


class JobTable:
    """Writes the table of a run into the file at `path`, or into the list `rows` if `path` is None."""

    def __init__(self, path: Path | None, options: Fields, folder: JobFolder) -> None:
        self.path = path
        self._options = options
        self._folder = folder
        self.rows: list[JSON] | None = None
        self._form: list[Any] = [None]
        if path is not None:
            self._form = [str(path.absolute())]
        for name in ("order", "formula_guard", "limit", "sample", "seed"):
            self._form.append(options[name])
        self._written: list[Any] | None = None
        before = folder.summary()
        is_complete = before.get("state") == "complete"
        if path is not None and is_complete and before.get("output") == self._form:
            self._written = before.get("written")

    def facts(self) -> JSON:
        """Return the facts for the job's summary, by which a later run recognises that the table is up to date."""
        return {"output": self._form, "written": self._written}

    def write(
        self,
        results: Results,
        rows: InputRows,
        answer_columns: Iterable[str] | None,
        *,
        is_new: bool,
    ) -> None:
        """Write the table of the run's rows. `is_new` says whether the run has called any row.

        Raises: `DiskError`, and `JobChanged` for a file that the job has not written.
        """
        form: Any = {
            "order": self._options["order"],
            "columns": rows.source.columns or (),
            "among": rows.among,
            "answer_columns": answer_columns,
        }
        path = self.path
        if path is None:
            self.rows = rows_of(results, **form)
            return
        if self._written is not None and not is_new and path.exists():
            if _is_still(path, self._written):
                return
            raise JobChanged(
                f"`{path}` is not what this job has written: it was changed, or something else has written it. "
                "Move it away, and the same command writes the table again."
            )
        table = write_output(results, path, formula_guard=self._options["formula_guard"], **form)
        self._folder.note(types=table.types)
        self._written = _written_as(path)


@contextmanager
def _appearing(path: Path, writer: str) -> Iterator[IO[bytes]]:
    """Open a file for writing that gets its name when it is complete and synced. Until then only its owner can read it.

    An unfinished file of a killed process is overwritten by the same `writer`, and by no other. A
    symbolic link is kept, and a replaced file passes on its mode.
    """
    path = path.resolve()
    part = _part_of(path, writer)
    try:
        with open(part, "wb", opener=owned) as file:
            yield file
            file.flush()
            with suppress(FileNotFoundError, PermissionError):
                part.chmod(stat.S_IMODE(path.stat().st_mode))
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException as exc:
        part.unlink(missing_ok=True)
        if isinstance(exc, OSError):
            raise DiskError.of(exc, path) from exc
        raise
    sync_folder(path.parent)


class _Names:
    """Collects the names in rows, and yields them in the order in which the input first has them.

    The rows may be added in any order.
    """

    def __init__(self, names: Iterable[str]) -> None:
        # The number of the first row with the name, and the place of the name in that row.
        self._first = {name: (-1, place) for place, name in enumerate(names)}
        self._last_row = -1

    def see(self, names: Fields, row: int) -> None:
        """Add the names of a row."""
        if row < self._last_row or not names.keys() <= self._first.keys():
            for place, name in enumerate(names):
                here = (row, place)
                self._first[name] = min(here, self._first.get(name, here))
            self._last_row = max(self._last_row, row)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._first, key=self._first.__getitem__))


class _Columns:
    """The columns of a table, and the types of their values.

    `see` must be called with every record before `row` is called with the first one.
    """

    def __init__(
        self,
        columns: Iterable[str],
        answer_columns: Iterable[str] | None,
        *,
        with_kinds: bool,
    ) -> None:
        self._input = _Names(columns)
        self._answer = _Names(answer_columns or ())
        self._answer_is_known = answer_columns is not None
        self._kinds: dict[tuple[str, str], set[type]] = {}
        self._with_kinds = with_kinds
        self._names: dict[tuple[str, str], str] | None = None

    def see(self, record: JSON) -> None:
        """Add the columns of a record, and the types of its values."""
        row, answer = _parts(record)
        number = record["n"]
        self._input.see(row, number)
        if not self._answer_is_known:
            self._answer.see(answer, number)
        if self._with_kinds:
            for part, values in (("input", row), ("answer", answer)):
                for name, value in values.items():
                    kinds = self._kinds.setdefault((part, name), set())
                    kinds.add(_kind(value))

    @property
    def names(self) -> dict[tuple[str, str], str]:
        """The column of each value in the order of the table, by its origin ("input", "answer", "job") and name."""
        if self._names is None:
            self._names = {}
            taken: set[str] = set()
            answer = list(self._answer) or ["answer"]
            for part, names in (("input", self._input), ("answer", answer), ("job", ABOUT)):
                for name in names:
                    column = name
                    while column in taken:
                        column = f"{part}_{column}"
                    taken.add(column)
                    self._names[part, name] = column
        return self._names

    def types(self) -> dict[str, str]:
        """Return the type of the values in each column, as in `Table`."""
        types = {}
        for key, column in self.names.items():
            part, name = key
            if part == "job":
                types[column] = f"{_OF_JOB[name]}?"
            else:
                types[column] = _type_of(self._kinds.get(key, set()))
        return types

    def beyond_64_bits(self) -> set[str]:
        """Return the columns with integers that no column type of a file can hold."""
        found = set()
        for key, column in self.names.items():
            if object in self._kinds.get(key, ()):
                found.add(column)
        return found

    def row(self, record: JSON) -> JSON:
        """Return the values of a row by column."""
        row, answer = _parts(record)
        parts = {"input": row, "answer": answer, "job": record}
        values: JSON = {}
        for (part, name), column in self.names.items():
            value: Any = parts[part].get(name)
            if is_vector(value):
                value = vector_of(value)
            values[column] = value
        return values


class _LongInt:
    """Stands for the type of integers of at most 64 bits that a float cannot represent exactly."""


# A column has the first of these types that covers the types of all its values, else "text".
_COLUMN_TYPES: dict[str, set[type]] = {
    "bool": {bool},
    "int": {int, _LongInt, object},
    "float": {float, int, Decimal},
    "vector": {Vector},
    "json": {dict, list},
}


def _type_of(kinds: set[type]) -> str:
    """Return the type of a column for the types of its values, with "?" if None is one of them."""
    held = kinds - {type(None)}
    found = "text"
    for name, covered in _COLUMN_TYPES.items():
        if held and held <= covered:
            found = name
            break
    if len(held) < len(kinds):
        return f"{found}?"
    return found


def _kind(value: Any) -> type:
    """Return the type of a value, for `_type_of`.

    An integer of more than 64 bits has the type `object`, because no file format has a type for it.
    """
    if is_vector(value):
        return Vector
    if type(value) is not int or -(2**53) <= value <= 2**53:
        return type(value)
    if -(2**63) <= value < 2**63:
        return _LongInt
    return object


def _parts(record: JSON) -> tuple[JSON, JSON]:
    """Return the values of a row and of its answer, by name. Convert the record's `cost` to a `Decimal`."""
    if "cost" in record:
        record["cost"] = Decimal(record["cost"])
    return _by_name(record["row"], INPUT_COLUMN), _by_name(record.get("answer"), "answer")


def _by_name(values: Any, name: str) -> JSON:
    """Return values by name: a dict as it is, nothing for None, and any other value under `name`."""
    if isinstance(values, dict):
        return values
    if values is None:
        return {}
    return {name: values}


class _Writer(ABC):
    def __init__(self, file: IO[bytes], columns: _Columns, *, formula_guard: bool) -> None:
        self._file = file

    @abstractmethod
    def write(self, row: JSON) -> None: ...

    def close(self) -> None:  # noqa: B027 - most have nothing to finish
        """Finish the file after the last row."""


class _JsonlWriter(_Writer):
    def write(self, row: JSON) -> None:
        self._file.write(json_of(_with_floats(row)) + b"\n")


def _with_floats(row: JSON) -> JSON:
    """Return a row with each `Decimal` as a float."""
    values = dict(row)
    for name, value in row.items():
        if type(value) is Decimal:
            values[name] = float(value)
    return values


class _CsvWriter(_Writer):
    """Writes CSV. Lists and dicts in a cell are JSON; the guard keeps spreadsheets from running an
    answer as a formula.

    The guard leaves numbers unchanged, and the values of the input, which may be keys of other
    tables.
    """

    DELIMITER = ","

    def __init__(self, file: IO[bytes], columns: _Columns, *, formula_guard: bool) -> None:
        import csv
        from io import TextIOWrapper

        super().__init__(file, columns, formula_guard=formula_guard)
        self._text = TextIOWrapper(file, encoding="utf-8", newline="")
        # With `\r\n` as the end of a line, the writer of every Python version quotes a cell that
        # contains either character.
        self._csv = csv.writer(
            _LineFeeds(self._text), delimiter=self.DELIMITER, lineterminator="\r\n"
        )
        self._guarded = None
        if formula_guard:
            self._guarded = [part != "input" for part, _ in columns.names]
        # The guard applies to the header, too: a model chooses the keys of its answers.
        self._write_cells(columns.names.values())

    def write(self, row: JSON) -> None:
        self._write_cells(map(_cell, row.values()))

    def _write_cells(self, cells: Iterable[Any]) -> None:
        if self._guarded is not None:
            cells = list(cells)
            for at, is_guarded in enumerate(self._guarded):
                if is_guarded and _is_formula(cells[at]):
                    cells[at] = f"'{cells[at]}"
        self._csv.writerow(cells)

    def close(self) -> None:
        self._text.flush()
        self._text.detach()


class _LineFeeds:
    r"""A file for a csv writer: writes each row with the line end `\n` instead of `\r\n`."""

    def __init__(self, text: IO[str]) -> None:
        self._text = text

    def write(self, row: str) -> int:
        return self._text.write(f"{row[:-2]}\n")


def _cell(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        return json_of(value).decode()
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?%?")


def _is_formula(cell: Any) -> bool:
    """Return whether a spreadsheet may run a text as a formula. A number with a sign is not one."""
    starts = isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    return starts and _NUMBER.fullmatch(cell) is None


class _TsvWriter(_CsvWriter):
    DELIMITER = "\t"


class _ParquetWriter(_Writer):
    """Writes Parquet.

    A column with values of one type has that type; one with several types, lists or dicts is JSON
    text.
    """

    def __init__(self, file: IO[bytes], columns: _Columns, *, formula_guard: bool) -> None:
        super().__init__(file, columns, formula_guard=formula_guard)
        pa = self._pa = require_pyarrow()
        arrow = {
            "int": pa.int64(),
            "float": pa.float64(),
            "bool": pa.bool_(),
            "vector": pa.list_(pa.float32()),
        }
        too_long = columns.beyond_64_bits()
        # Other values than texts become JSON in these columns.
        self._as_text: list[str] = []
        fields = []
        for column, kind in columns.types().items():
            arrow_type = arrow.get(kind.removesuffix("?"))
            if arrow_type is None or column in too_long:
                self._as_text.append(column)
                arrow_type = pa.string()
            fields.append((column, arrow_type))
        self._schema = pa.schema(fields)
        self._parquet = pa.parquet.ParquetWriter(file, self._schema)
        self._rows: list[JSON] = []

    def write(self, row: JSON) -> None:
        row = _with_floats(row)
        for name in self._as_text:
            value = row[name]
            if value is not None and not isinstance(value, str):
                row[name] = json_of(value).decode()
        self._rows.append(row)
        if len(self._rows) >= _BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        self._parquet.write_batch(self._pa.RecordBatch.from_pylist(self._rows, schema=self._schema))
        self._rows.clear()

    def close(self) -> None:
        if self._rows:
            self._flush()
        self._parquet.close()


_WRITERS: dict[str, type[_Writer]] = {
    ".csv": _CsvWriter,
    ".tsv": _TsvWriter,
    ".jsonl": _JsonlWriter,
    ".ndjson": _JsonlWriter,
    ".parquet": _ParquetWriter,
    ".pq": _ParquetWriter,
}
