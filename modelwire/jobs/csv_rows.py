"""Reads the rows of CSV and TSV files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO, Any

from modelwire.errors import InvalidArgument
from modelwire.jobs.rows import EDGE_BYTES, MAX_ROW_CHARS, NO_TEXT, FileSource, Row

# The header of a CSV file is searched for in this many lines, and may span as many.
_HEADER_LINES = 100

_QUOTED = re.compile(r'"(?:[^"]|"")*(?:"|$)')


class _TooLong(Exception):
    """A row has `MAX_ROW_CHARS` characters or more."""


class _Lines:
    """Feeds the lines of a file to the csv reader.

    After a row that cannot be read, `give_back` feeds its lines again, except the first one.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        # These lines are fed before the next one of the file, the last of the list first.
        self._back: list[str] = []
        # The characters of the current row so far.
        self._chars = 0
        # The line of the file on which the current row begins.
        self.line = 1
        # The lines of the current row so far.
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

        # The limit applies to the whole process, so it is raised and never lowered.
        limit = max(csv.field_size_limit(), MAX_ROW_CHARS)
        csv.field_size_limit(limit)
        self._lines = _Lines(self._file)
        self.columns = self._header()

    def _open(self) -> IO[Any]:
        encoding = self.encoding
        is_utf8 = encoding.lower().replace("_", "-") in ("utf-8", "utf8")
        if is_utf8 and not self.is_ours:
            encoding = "utf-8-sig"
        # Invalid bytes become lone surrogates, so that only their row fails and not the file.
        return self.path.open(encoding=encoding, errors="surrogateescape", newline="")

    def _header(self) -> list[str]:
        import csv

        is_ours = self.is_ours
        no_text = InvalidArgument(NO_TEXT.format(self.path, self.encoding))
        try:
            lines = [self._file.readline(MAX_ROW_CHARS)]
            while len(lines) < _HEADER_LINES:
                is_empty = lines[-1] in ("\n", "\r\n", "\r")
                if is_ours or not is_empty:
                    break
                lines.append(self._file.readline(MAX_ROW_CHARS))
            while len(lines) < _HEADER_LINES:
                quotes = sum(line.count('"') for line in lines)
                if quotes % 2 == 0:
                    break
                # A column's name may span several lines.
                lines.append(self._file.readline(EDGE_BYTES))
        except UnicodeError as exc:
            raise no_text from exc
        if not is_ours and self._unreadable_line(lines) is not None:
            raise no_text
        self._lines._back.extend(filter(None, reversed(lines)))
        delimiter = self._delimiter("".join(lines))
        self._reader = csv.reader(self._lines, delimiter=delimiter, strict=True)
        try:
            names = next((cells for cells in self._reader if cells or is_ours), [])
        except (csv.Error, _TooLong) as exc:
            raise InvalidArgument(f"The header of `{self.path}` is not valid CSV: {exc}.") from exc
        if not is_ours:
            for place, name in enumerate(names):
                names[place] = name or f"column_{place + 1}"
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
            problem = problem or self._misfit(cells)
            if problem is None and not self.is_ours:
                problem = self._unreadable_line(lines.taken)
            values = None
            if problem is None:
                values = dict(zip(names, cells, strict=True))
            yield Row(number, lines.line, values, problem)
            number += 1

    def _unreadable_line(self, lines: list[str]) -> str | None:
        """Return the problem of the first line that is not text in the file's encoding, or None."""
        for line in lines:
            problem = _unreadable(line, self.encoding)
            if problem is not None:
                return problem
        return None

    def _complaint(self, error: Exception) -> str:
        """Return the error text of a row that the csv reader has rejected."""
        if isinstance(error, _TooLong):
            return (
                f"The row has more than {MAX_ROW_CHARS // 2**20} million characters, "
                "or a quote that is never closed."
            )
        if len(self._lines.taken) > 1 or "unexpected end" in str(error):
            return "A quote is opened and not closed."
        return f"Not valid CSV: {error}."

    def _misfit(self, cells: list[str]) -> str | None:
        """Return the error text of a row with too few or too many cells, or None."""
        wanted = len(self.columns or ())
        if len(cells) == wanted:
            return None
        return f"The row has {len(cells)} cells and the header {wanted}."


def _numbered(names: list[str]) -> list[str]:
    """Return the names of the columns with duplicates numbered: `b`, `b` become `b_1`, `b_2`.

    A prompt with `{b}`, which could mean either, is rejected then.
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
    """Return the error text of a line with a NUL byte or with bytes that are not text in `encoding`, or None."""
    if "\0" in line:
        return "The row has a NUL byte."
    if not line.isascii():
        try:
            line.encode()
        except UnicodeEncodeError:
            return (
                f"The row has bytes that are not {encoding} text: "
                "`--encoding` (`encoding=`) must name the file's encoding."
            )
    return None
