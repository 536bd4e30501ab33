"""The rows of the input on their way to a model."""

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
    """A row on its way to the model: its JSON, its digests and the amount reserved for it."""

    __slots__ = ("asks", "check", "reserved", "row", "row_json")

    def __init__(self, row: Row) -> None:
        if row.problem is None:
            try:
                self.row_json = record_json(row.values)
            except Exception as exc:  # noqa: BLE001 - an object in a row has its own `__str__`
                problem = f"The row cannot be written as JSON: {message_of(exc)}"
                row = row._replace(values=None, problem=problem)
        if row.problem is not None:
            self.row_json = b"null"
        self.row = row
        # This is the deduplication key, once it is computed.
        self.asks: bytes | None = None
        # This much is reserved, in USD.
        self.reserved = Decimal(0)
        self.check = digest_of(
            self.row_json if row.problem is None else row.problem.encode(errors="replace")
        )


class InputRows:
    """Iterates over the rows.

    `taken` counts those taken, `exhausted` is set after the last; `among` has their numbers or
    None.
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
        """Select the rows. If a sample is wanted, the input is read to its end here."""
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
        self._ahead.extend(islice(self.unread, max(0, count - len(self._ahead))))
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
        return self.exhausted and self._options["limit"] is self._options["sample"] is None

    def total(self) -> float | None:
        """Return the estimated number of rows; None if it is unknown."""
        limits = (self._options["limit"], self._options["sample"])
        counts: list[int] = [count for count in limits if count is not None]
        if counts:
            return min(counts)
        fraction = self.source.fraction()
        if self.source.total or not fraction:
            return self.source.total
        return self.taken / fraction
