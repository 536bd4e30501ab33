"""Rows and their sources: one row at a time; a row that cannot be read fails alone.

A `Row` has its number from 0, the line of the file on which it begins (from 1), and either its values by column or the
problem with it. Nothing here reads ahead by more than one row, or one batch of a Parquet file.
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

from modelwire.errors import DiskError, InvalidArgument, JobChanged

__all__ = ["INPUT_COLUMN", "FileSource", "Row", "Source", "check_unique", "chosen", "sampled"]

INPUT_COLUMN = "input"  # of rows that are texts and not dicts
MAX_ROW_CHARS = (
    32 * 1024 * 1024
)  # no provider takes a request of more bytes; a line without end must not fill memory
EDGE_BYTES = (
    1024 * 1024
)  # of each end of a file go into its fingerprint: 10 GB are not read before the first request
COUNTED_BYTES = (
    64 * 1024
)  # how much of a smaller file has been read is not told: a reader takes it in a few gulps

NO_TEXT = (
    "`{}` is not {} text. Name its encoding: `--encoding cp1252`, say, or `encoding=` from Python."
)


class Row(NamedTuple):
    """One row: its values, or what is wrong with it."""

    number: int
    line: int
    values: Any  # a dict by column name, or a text
    problem: str | None = None


class Source(ABC):
    """Rows, once. `columns` is None where only the rows themselves tell."""

    columns: list[str] | None = None
    total: int | None = None  # rows, where that is known without reading them
    _read = 0  # rows, where they are counted

    @abstractmethod
    def __iter__(self) -> Iterator[Row]: ...

    def fraction(self) -> float | None:
        """Return how much has been read, from 0 to 1, where that is known."""
        return self._read / self.total if self.total else None

    def fingerprint(self) -> dict[str, Any]:
        """Return what tells this input from another, as far as that is cheap to say."""
        return {}

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Let go of the file."""


class FileSource(Source):
    def __init__(self, path: Path, *, encoding: str, is_ours: bool = False) -> None:
        self.path = path
        self.encoding = encoding
        self.is_ours = is_ours  # written by `modelwire.jobs.output`: nothing has to be guessed
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
        except BaseException:  # Ctrl-C too: nobody else has the file
            self._file.close()
            raise

    def _begin(self) -> None:
        """Read what stands before the rows."""

    def _open(self) -> IO[Any]:
        return self.path.open("rb")

    def __iter__(self) -> Iterator[Row]:
        try:
            yield from self._rows()
            self._check_still_whole()
        except OSError as exc:
            raise DiskError.of(exc, self.path) from exc
        except UnicodeError as exc:  # UTF-16 without its mark is no `UnicodeDecodeError`
            raise InvalidArgument(NO_TEXT.format(self.path, self.encoding)) from exc
        finally:
            self.close()

    def _rows(self) -> Iterator[Row]:
        raise NotImplementedError

    def _check_still_whole(self) -> None:
        """Raise `JobChanged` if the file is shorter now than when it was opened: rows may be missing."""
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
        if self.size_bytes < COUNTED_BYTES:
            return None  # it is read at once: where the reader stands says nothing of the rows
        file = getattr(self._file, "buffer", self._file)
        return min(1.0, file.tell() / self.size_bytes)

    def fingerprint(self) -> dict[str, Any]:
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
    """Raise for what cannot be read twice: a job reads its input again when it goes on."""
    if stat.S_ISDIR(mode):
        raise InvalidArgument(f"The input `{path}` is a folder; name a file.")
    if not stat.S_ISREG(mode):
        raise InvalidArgument(
            f"The input `{path}` is a pipe or a device, no file that can be read twice. Write it to a file first."
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
    """Choose `count` rows, each as likely as any other, in their order; the same ones for the same seed."""
    rng = Random(seed)  # noqa: S311 - chooses rows, keeps no secret
    drawn: list[Row] = []
    for place, row in enumerate(rows):
        if place < count:
            drawn.append(row)
        elif (at := rng.randrange(place + 1)) < count:
            drawn[at] = row
    return sorted(drawn)


def chosen(
    rows: Iterator[Row], *, limit: int | None, sample: int | None, seed: int
) -> tuple[Iterator[Row], Sequence[int] | None]:
    """Return the rows that a run is about, and their numbers in rising order; None for all."""
    if sample is not None:
        drawn = sampled(rows, sample, seed)[:limit]
        return iter(drawn), [row.number for row in drawn]
    return islice(rows, limit), None if limit is None else range(limit)
