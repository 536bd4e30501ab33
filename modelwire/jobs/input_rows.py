"""Hands out the rows of a job's input, each prepared for its call."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any

from modelwire.aliases import Fields
from modelwire.errors import message_of
from modelwire.jobs.row_records import digest_of, record_json
from modelwire.jobs.rows import Row, Source, chosen
from modelwire.jobs.sources import open_source


class Question:
    """A row that was taken from the input: its JSON, a digest that detects a change, and the USD reserved for it."""

    __slots__ = ("asks", "check", "reserved", "row", "row_json")

    def __init__(self, row: Row) -> None:
        if row.problem is None:
            try:
                self.row_json = record_json(row.values)
            except Exception as exc:  # noqa: BLE001 - an object in a row has its own `__str__`
                problem = f"The row cannot be written as JSON: {message_of(exc)}"
                row = row._replace(values=None, problem=problem)
        self.row = row
        # The deduplication key, once it is computed.
        self.asks: bytes | None = None
        # USD that are reserved for the row.
        self.reserved = Decimal(0)
        if row.problem is None:
            self.check = digest_of(self.row_json)
        else:
            self.row_json = b"null"
            self.check = digest_of(row.problem.encode(errors="replace"))


class InputRows:
    """The rows of the input in their order, handed out one at a time.

    `taken` counts the rows handed out, and `exhausted` is True after the last one. `among` has the
    numbers of the selected rows; None if all rows are.
    """

    def __init__(self, rows: Any, options: Fields) -> None:
        self._rows = rows
        self._options = options
        self.source: Source = self.opened()
        self.among: Sequence[int] | None = None
        self.exhausted = False
        self.taken = 0
        # These rows were read ahead and not taken yet.
        self._ahead: deque[Row] = deque()

    @property
    def is_read_once(self) -> bool:
        """Whether the rows can be iterated over only once."""
        return isinstance(self._rows, Iterator)

    def opened(self) -> Source:
        """Open the input again."""
        return open_source(self._rows, encoding=self._options["encoding"])

    def anew(self) -> InputRows:
        """Return an independent iteration over the same rows."""
        rows = InputRows(self._rows, self._options)
        rows.begin()
        return rows

    def begin(self) -> None:
        """Select the rows by `limit` and `sample`. For a sample, the input is read to its end here."""
        choice = {name: self._options[name] for name in ("limit", "sample", "seed")}
        self.unread, self.among = chosen(iter(self.source), **choice)
        self.exhausted = False
        self.taken = 0
        self._ahead.clear()

    def begin_again(self) -> None:
        """Start again at the first row."""
        self.source.close()
        self.source = self.opened()
        self.begin()

    def look_ahead(self, count: int) -> Sequence[Row]:
        """Return at least the next `count` rows without taking them, or all that remain."""
        missing = max(0, count - len(self._ahead))
        self._ahead.extend(islice(self.unread, missing))
        return self._ahead

    def take(self) -> Question | None:
        """Take and return the next row; None after the last one."""
        if not self.look_ahead(1):
            self.exhausted = True
            return None
        self.taken += 1
        return Question(self._ahead.popleft())

    def take_early(self, row: Row) -> None:
        """Take a row that `look_ahead` has returned, before its turn."""
        self._ahead.remove(row)
        self.taken += 1

    def put_back(self, question: Question) -> None:
        """Undo `take`: make a row the next one again."""
        self._ahead.appendleft(question.row)
        self.taken -= 1

    def close(self) -> None:
        """Release the input."""
        self.source.close()

    @property
    def is_whole(self) -> bool:
        """Whether all rows of the input were read, and none was left out."""
        return self.exhausted and not self._limits()

    def _limits(self) -> list[int]:
        """Return the most rows by `limit` and by `sample`, as far as they are set."""
        limits = [self._options["limit"], self._options["sample"]]
        return [count for count in limits if count is not None]

    def total(self) -> float | None:
        """Return the estimated number of rows; None if it is unknown."""
        limits = self._limits()
        if limits:
            return min(limits)
        fraction = self.source.fraction()
        if self.source.total or not fraction:
            return self.source.total
        return self.taken / fraction
