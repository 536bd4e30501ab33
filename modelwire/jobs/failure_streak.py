"""Detects whether consecutive failures have a common cause, such as an outage or an invalid key. No I/O.

Failures since the last answer are held back. If they are many, rows from further ahead are called
as probes, and one that was answered before. If any of them succeeds, the failures concern their
rows and are stored; else the job stops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from modelwire.aliases import JSON
from modelwire.jobs.row_records import Record, exact_json
from modelwire.jobs.rows import Row

# After more consecutive failures than this, and than rows run at a time, the job checks for a
# common cause.
_FAILURES_IN_A_ROW = 50
# After this many failures that are usually about the key (403, and 404 as for an unknown model),
# the job checks, too.
_KEY_REFUSALS = 8
# Probe rows are chosen from this many next rows.
LOOK_AHEAD = 10_000


@dataclass(slots=True)
class FailureStreak:
    """The consecutive failures since the last answer."""

    count: int = 0
    of_key: int = 0  # The failures that are usually about the key.
    last_error: str = ""
    held: list[Record] = field(default_factory=list)  # The records that are not stored yet.

    def add(self, failure_scope: str, error: str) -> None:
        """Count a failure. `failure_scope` is "key" for an error that is usually about the key, else "row"."""
        self.count += 1
        self.of_key += failure_scope == "key"
        self.last_error = error

    def end(self) -> list[Record]:
        """Start a new streak; return the records that were held back."""
        held = self.held
        self.held = []
        self.count = self.of_key = 0
        return held

    def may_have_common_cause(self, at_once: int) -> bool:
        """Return whether the failures may have a common cause; `at_once` is the number of rows that run at a time."""
        if self.count > max(_FAILURES_IN_A_ROW, at_once):
            return True
        return self.of_key >= _KEY_REFUSALS


def probe_rows(ahead: Iterable[Row], can_be_asked: Callable[[Row], bool]) -> list[Row]:
    """Return rows to call before their turn, at growing distances: the next one, further ones, and the last."""
    rows = [row for row in ahead if can_be_asked(row)]
    found = []
    place = 0
    while place < len(rows) - 1:
        found.append(rows[place])
        place = 2 * place + 1
    return [*found, *rows[-1:]]


def record_of_probe(record: JSON, about: JSON) -> Record:
    """Return the record of an answered row that was called again: its answer stays, and the call's cost is added."""
    facts: JSON = {}
    for name in ("answer", "ask", "finish_reason"):
        if name in record:
            facts[name] = record[name]
    for name, value in about.items():
        if name not in ("answer", "error", "finish_reason"):
            facts[name] = value
    facts["again"] = True
    row_json = exact_json(record["row"])
    check = bytes.fromhex(record["check"])
    return Record(record["n"], record["line"], row_json, check, facts)
