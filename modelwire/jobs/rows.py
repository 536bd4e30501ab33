"""The rows of an input, and the sources that read them one at a time. A row that cannot be read fails alone.

A `Row` has its number from 0, the line of the file on which it begins (from 1), and either its
values by column or an error. A source reads ahead by at most one row, or one batch of a Parquet
file.
"""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import islice
from pathlib import Path
from random import Random
from typing import IO, Any, NamedTuple

from modelwire.aliases import JSON
from modelwire.errors import DiskError, InvalidArgument, JobChanged

# In the output, a row that is a text and not a dict has this one column.
INPUT_COLUMN = "input"
# A row with more characters fails: no provider takes a request of more bytes, and a line without an
# end must not fill memory.
MAX_ROW_CHARS = 32 * 1024 * 1024
# The fingerprint contains a digest of this many bytes from each end of a file, so that 10 GB need
# not be read first.
EDGE_BYTES = 1024 * 1024
# For a smaller file no progress in reading is reported, since readers buffer it in a few blocks.
_COUNTED_BYTES = 64 * 1024

NO_TEXT = (
    "`{}` is not {} text. Name its encoding: `--encoding cp1252`, say, or `encoding=` from Python."
)


class Row(NamedTuple):
    """One row: its values, or its error."""

    number: int
    line: int
    values: Any  # It is a dict by column name, or a text.
    problem: str | None = None


class Source(ABC):
    """An iteration over the rows of an input. `columns` is None if the columns are unknown before rows are read."""

    columns: list[str] | None = None
    # The number of rows, if it is known without reading them.
    total: int | None = None
    # The number of rows read, if they are counted.
    _read = 0

    @abstractmethod
    def __iter__(self) -> Iterator[Row]: ...

    def fraction(self) -> float | None:
        """Return the share that has been read, from 0 to 1, or None if it is unknown."""
        if self.total:
            return self._read / self.total
        return None

    def fingerprint(self) -> JSON:
        """Return a fingerprint of the input, as far as it is cheap to compute."""
        return {}

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Close the file."""


class FileSource(Source):
    def __init__(self, path: Path, *, encoding: str, is_ours: bool = False) -> None:
        self.path = path
        self.encoding = encoding
        # True if `modelwire.jobs.output` has written the file, so that its format is known.
        self.is_ours = is_ours
        try:
            about = path.stat()
            _check_regular(path, about.st_mode)
            self.size_bytes = about.st_size
            self._file: IO[Any] = self._open()
        except OSError as exc:
            raise InvalidArgument(f"The input `{path}` cannot be read: {exc.strerror}.") from exc
        except LookupError as exc:
            raise InvalidArgument(
                f"There is no encoding `{encoding}`: `--encoding cp1252`, say, or `utf-16`."
            ) from exc
        try:
            self._begin()
        except BaseException:  # Ctrl-C is included: only this object can close the file.
            self._file.close()
            raise

    def _begin(self) -> None:
        """Read the part of the file before the rows."""

    def _open(self) -> IO[Any]:
        return self.path.open("rb")

    def __iter__(self) -> Iterator[Row]:
        try:
            yield from self._rows()
            self._check_still_whole()
        except OSError as exc:
            raise DiskError.of(exc, self.path) from exc
        except UnicodeError as exc:
            # UTF-16 without its byte order mark raises a `UnicodeError` that is not a
            # `UnicodeDecodeError`.
            raise InvalidArgument(NO_TEXT.format(self.path, self.encoding)) from exc
        finally:
            self.close()

    def _rows(self) -> Iterator[Row]:
        raise NotImplementedError

    def _check_still_whole(self) -> None:
        """Raise `JobChanged` if the file is shorter than when it was opened: rows may be missing."""
        size_bytes = os.fstat(self._file.fileno()).st_size
        if size_bytes < self.size_bytes:
            raise JobChanged(
                f"`{self.path}` became shorter while it was read: it had {self.size_bytes:,} bytes, and has "
                f"{size_bytes:,}. Put the input back, and run the same command again."
            )

    def fraction(self) -> float | None:
        if self.total:
            return super().fraction()
        if self._file.closed:
            return 1.0
        if self.size_bytes < _COUNTED_BYTES:
            # The file is read in one block, so the position of the reader says nothing about the
            # rows.
            return None
        file = getattr(self._file, "buffer", self._file)
        return min(1.0, file.tell() / self.size_bytes)

    def fingerprint(self) -> JSON:
        with self.path.open("rb") as file:
            digest = sha256(file.read(EDGE_BYTES))
            file.seek(max(0, self.size_bytes - EDGE_BYTES))
            digest.update(file.read(EDGE_BYTES))
        return {
            "file": self.path.name,
            "bytes": self.size_bytes,
            "digest of first and last MB": digest.hexdigest()[:16],
        }

    def close(self) -> None:
        self._file.close()


def _check_regular(path: Path, mode: int) -> None:
    """Raise for a file that cannot be read twice: a job reads its input again when it resumes."""
    if stat.S_ISDIR(mode):
        raise InvalidArgument(f"The input `{path}` is a folder; name a file.")
    if not stat.S_ISREG(mode):
        raise InvalidArgument(
            f"The input `{path}` is a pipe or a device, and no file that can be read twice. Write it to a file first."
        )


def check_unique(names: list[str], where: str) -> None:
    seen = set[str]()
    for name in names:
        if name in seen:
            raise InvalidArgument(
                f"{where} has the column `{name}` twice. Give each column a name of its own."
            )
        seen.add(name)


def sampled(rows: Iterator[Row], count: int, seed: int) -> list[Row]:
    """Return `count` random rows in their order; the same ones for the same seed."""
    rng = Random(seed)  # noqa: S311 - chooses rows, keeps no secret
    drawn: list[Row] = []
    for place, row in enumerate(rows):
        if place < count:
            drawn.append(row)
        elif (at := rng.randrange(place + 1)) < count:
            drawn[at] = row
    return sorted(drawn)


def chosen(
    rows: Iterator[Row],
    *,
    limit: int | None,
    sample: int | None,
    seed: int,
) -> tuple[Iterator[Row], Sequence[int] | None]:
    """Return the rows of a run, and their numbers in rising order, or None for all rows."""
    if sample is not None:
        drawn = sampled(rows, sample, seed)[:limit]
        return iter(drawn), [row.number for row in drawn]
    if limit is None:
        return rows, None
    return islice(rows, limit), range(limit)
