"""Rows of CSV and TSV files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO, Any

from modelwire.errors import InvalidArgument
from modelwire.jobs.rows import EDGE_BYTES, MAX_ROW_CHARS, NO_TEXT, FileSource, Row

# The header of a CSV file has at most this many lines.
_HEADER_LINES = 100

_QUOTED = re.compile(r'"(?:[^"]|"")*(?:"|$)')


class _TooLong(Exception):
    """A row is longer than a row may be."""


class _Lines:
    """Feeds physical lines to the csv reader.

    The lines after the first of an unreadable row can be fed again.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        # These lines will be fed again, the last one first.
        self._back: list[str] = []
        self._chars = 0
        # The current row begins on this line.
        self.line = 1
        self.taken: list[str] = []

    def begin(self) -> None:
        self.line += len(self.taken)
        self.taken = []
        self._chars = 0

    def give_back(self) -> None:
        self._back += reversed(self.taken[1:])
        del self.taken[1:]

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self._back:
            line = self._back.pop()
        else:
            line = self._file.readline(MAX_ROW_CHARS)
        if not line:
            raise StopIteration
        self.taken.append(line)
        self._chars += len(line)
        if self._chars >= MAX_ROW_CHARS:
            end = line
            while end and not end.endswith(("\n", "\r")):
                end = self._file.readline(MAX_ROW_CHARS)
            raise _TooLong
        return line


class CsvSource(FileSource):
    """Reads CSV by the rules of RFC 4180, strictly: a row that breaks them fails, and reading
    continues on the next line.

    A row with correct quotes is one row however many lines it has, even if it has too few cells or
    invalid text. The delimiter is a comma, or the most frequent of tab, semicolon and bar in the
    header outside of quotes.
    """

    def _begin(self) -> None:
        import csv

        # The limit holds for the whole process, so it is only ever raised, to the largest request.
        csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW_CHARS))
        self._lines = _Lines(self._file)
        self.columns = self._header()

    def _open(self) -> IO[Any]:
        is_utf8 = self.encoding.lower().replace("_", "-") in ("utf-8", "utf8")
        if is_utf8 and not self.is_ours:
            encoding = "utf-8-sig"
        else:
            encoding = self.encoding
        # Invalid bytes become lone surrogates, so that only their row fails and not the file.
        return self.path.open(encoding=encoding, errors="surrogateescape", newline="")

    def _header(self) -> list[str]:
        import csv

        is_ours = self.is_ours
        no_text = InvalidArgument(NO_TEXT.format(self.path, self.encoding))
        try:
            lines = [self._file.readline(MAX_ROW_CHARS)]
            while lines[-1] in ("\n", "\r\n", "\r") and not is_ours and len(lines) < _HEADER_LINES:
                lines.append(self._file.readline(MAX_ROW_CHARS))
            while sum(line.count('"') for line in lines) % 2 and len(lines) < _HEADER_LINES:
                # A column's name may span several lines.
                lines.append(self._file.readline(EDGE_BYTES))
        except UnicodeError as exc:
            raise no_text from exc
        if not is_ours and any(_unreadable(line, self.encoding) is not None for line in lines):
            raise no_text
        self._lines._back.extend(line for line in reversed(lines) if line)
        delimiter = self._delimiter("".join(lines))
        self._reader = csv.reader(self._lines, delimiter=delimiter, strict=True)
        try:
            names = next((cells for cells in self._reader if cells or is_ours), [])
        except (csv.Error, _TooLong) as exc:
            raise InvalidArgument(f"The header of `{self.path}` is not valid CSV: {exc}.") from exc
        if not is_ours:
            names = [name or f"column_{place}" for place, name in enumerate(names, 1)]
        return _numbered(names)

    def _delimiter(self, header: str) -> str:
        if self.path.suffix.lower() == ".tsv":
            return "\t"
        if self.is_ours:
            return ","
        bare = _QUOTED.sub("", header)
        return max(",\t;|", key=bare.count)

    def _rows(self) -> Iterator[Row]:
        import csv

        lines = self._lines
        names = self.columns or []
        number = 0
        while True:
            lines.begin()
            problem: str | None = None
            cells: list[str] = []
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except (csv.Error, _TooLong) as exc:
                problem = self._complaint(exc)
                # The end of the row is unknown. Only its first line is dropped, so that no other
                # row is lost.
                lines.give_back()
            if not cells and problem is None:
                continue  # It is an empty line.
            problem = problem or self._misfit(cells) or self._unreadable_cell()
            if problem is not None:
                yield Row(number, lines.line, None, problem)
            else:
                yield Row(number, lines.line, dict(zip(names, cells, strict=True)))
            number += 1

    def _unreadable_cell(self) -> str | None:
        if self.is_ours:
            return None
        problems = (_unreadable(line, self.encoding) for line in self._lines.taken)
        for problem in problems:
            if problem is not None:
                return problem
        return None

    def _complaint(self, error: Exception) -> str:
        if isinstance(error, _TooLong):
            return (
                f"The row has more than {MAX_ROW_CHARS // 2**20} million characters, "
                "or a quote that is never closed."
            )
        if len(self._lines.taken) > 1 or "unexpected end" in str(error):
            return "A quote is opened and not closed."
        return f"Not valid CSV: {error}."

    def _misfit(self, cells: list[str]) -> str | None:
        wanted = len(self.columns or ())
        if len(cells) == wanted:
            return None
        return f"The row has {len(cells)} cells and the header {wanted}."


def _numbered(names: list[str]) -> list[str]:
    """Return the columns with duplicates numbered: `b`, `b` become `b_1`, `b_2`, so that a prompt
    with `b` is rejected.
    """
    if len(set(names)) == len(names):
        return names
    unique = []
    taken = set(names)
    for name in names:
        number = 1
        own = name
        while own in taken and names.count(name) > 1:
            own = f"{name}_{number}"
            number += 1
        taken.add(own)
        unique.append(own)
    return unique


def _unreadable(line: str, encoding: str) -> str | None:
    """Return what is invalid in a line's encoding, or None."""
    if "\0" in line:
        return "The row has a NUL byte."
    if not line.isascii():
        try:
            line.encode()
        except UnicodeEncodeError:
            return (
                f"The row has bytes that are not {encoding} text: "
                "`--encoding` (`encoding=`) says what the file is in."
            )
    return None
