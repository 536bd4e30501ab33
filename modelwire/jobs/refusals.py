"""Whose failure it is when row after row fails: the rows' own, or everybody's. No I/O here.

Failures since the last answer are held back. When they are many, rows from further ahead are asked, and one that was
answered before: where one of them gets through, the failures are the rows' own and are kept; else the job stops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from modelwire.jobs.row_records import Record, exact_json
from modelwire.jobs.rows import Row

__all__ = ["LOOK_AHEAD", "Streak", "asked_again", "scouts"]

FAILURES_IN_A_ROW = 50  # at least, and more than the window: then every row may be failing
KEY_REFUSALS = (
    8  # of a kind that mostly is the key's: 403, and 404 as for a model that is not there
)
LOOK_AHEAD = 10_000  # rows, from which scouts are chosen


@dataclass(slots=True)
class Streak:
    """The failures since the last answer."""

    count: int = 0
    of_key: int = 0
    last_error: str = ""
    held: list[Record] = field(default_factory=list)

    def add(self, blame: str, error: str) -> None:
        """Count a failure; `blame` is "row", or "key" where such an answer is mostly about the key."""
        self.count += 1
        self.of_key += blame == "key"
        self.last_error = error

    def end(self) -> list[Record]:
        """Begin anew; return what was held back."""
        held, self.held = self.held, []
        self.count = self.of_key = 0
        return held

    def is_doubtful(self, at_once: int) -> bool:
        """Tell whether it may be everybody's failure; `at_once` is how many rows are asked at a time."""
        return self.count > max(FAILURES_IN_A_ROW, at_once) or self.of_key >= KEY_REFUSALS


def scouts(ahead: Iterable[Row], can_be_asked: Callable[[Row], bool]) -> list[Row]:
    """Choose rows to be asked before their turn: the next, and ever further ones, up to the last."""
    rows = [row for row in ahead if can_be_asked(row)]
    places = (
        {min(2**power - 1, len(rows) - 1) for power in range(len(rows).bit_length() + 1)}
        if rows
        else set()
    )
    return [rows[place] for place in sorted(places)]


def asked_again(record: dict[str, Any], about: dict[str, Any]) -> Record:
    """Return the record of an answered row that was asked again: its answer stays, what the call has cost is added."""
    facts: dict[str, Any] = {
        name: record[name] for name in ("answer", "ask", "finish_reason") if name in record
    }
    paid = {
        name: value
        for name, value in about.items()
        if name not in ("answer", "error", "finish_reason")
    }
    row_json, check = exact_json(record["row"]), bytes.fromhex(record["check"])
    return Record(record["n"], record["line"], row_json, check, {**facts, **paid, "again": True})
