"""The records of a job's rows in the store, and an index of them that takes 40 bytes of memory a row.

A record is JSON: `row` (the row's values), `n` and `line`, `check` (a digest of the row) and then
`answer`, `error` or `same` (the number of the row whose answer this one shares), with tokens, cost,
seconds and attempts. If a row has two records, the later one is valid.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import UUID, uuid4

from pydantic import BaseModel
from pydantic_core import from_json, to_json

from modelwire.aliases import JSON
from modelwire.errors import ModelRefusalError, Refused
from modelwire.jobs.store import Entry, JobStore

_log = logging.getLogger(__name__)

DIGEST_BYTES = 16
TABLE = "rows"
# A row has one of these states.
UNKNOWN = 0
ANSWERED = 1
FAILED = 2
# `last_asked` searches this many rows for one with an answer.
_SEARCHED = 100_000
# `groups_of` ends a group at this many records.
_GROUP_ROWS = 500
# It also ends a group with the record that makes the group this large.
GROUP_BYTES = 4_000_000

T = TypeVar("T")


def groups_of(records: Iterable[T], size_bytes: Callable[[T], int]) -> Iterator[list[T]]:
    """Yield the records in lists that fit into memory; `size_bytes` returns the size of a record."""
    group: list[T] = []
    size = 0
    for record in records:
        group.append(record)
        size += size_bytes(record)
        if len(group) >= _GROUP_ROWS or size >= GROUP_BYTES:
            yield group
            group = []
            size = 0
    if group:
        yield group


def digest_of(data: bytes) -> bytes:
    """Return a digest of `data` of 16 bytes."""
    return blake2b(data, digest_size=DIGEST_BYTES).digest()


def json_of(value: Any) -> bytes:
    """Return `value` as JSON that any reader takes.

    A value without a JSON form becomes its text; infinity and NaN null.
    """
    return to_json(
        value, fallback=str, inf_nan_mode="null", bytes_mode="base64", serialize_unknown=True
    )


def exact_json(value: Any) -> bytes:
    """Return `value` as JSON with the constants `Infinity` and `NaN`, which Python's JSON readers accept."""
    return to_json(
        value, fallback=str, inf_nan_mode="constants", bytes_mode="base64", serialize_unknown=True
    )


def record_json(value: Any) -> bytes:
    """Return `value` as exact JSON for a record, after checking that it can be read again.

    Raises: `ValueError` for values that no reader takes: nested 200 deep, integers of over 4,300
    digits, half a character (a lone surrogate).
    """
    data = exact_json(value)
    _read_again(data)
    return data


def record_value(value: Any) -> Any:
    """Return `value` as it is when it is read again from a record.

    Raises: `ValueError` for values that no reader takes, see `record_json`.
    """
    return _read_again(exact_json(value))


def _read_again(data: bytes) -> Any:
    # The reader counts the record itself as one level.
    return from_json(b'{"value":%b}' % data)["value"]


_EQUAL_BY_REPR = frozenset(
    {
        str,
        int,
        float,
        bool,
        bytes,
        complex,
        type(None),
        date,
        datetime,
        time,
        timedelta,
        Decimal,
        UUID,
    }
)


def identity_of(value: Any) -> bytes:
    """Return bytes that identify a value and its type, for deduplication: equal only for equal values of equal types.

    JSON would not do, because it drops the types of bytes, dates and infinity.
    """
    return repr(_comparable(value)).encode(errors="surrogatepass")


def _comparable(value: Any) -> Any:
    kind = type(value)
    if kind in _EQUAL_BY_REPR:
        return value
    if kind is dict:
        return {name: _comparable(one) for name, one in value.items()}
    if kind in (list, tuple):
        return kind(map(_comparable, value))
    if isinstance(value, (datetime, date, Enum)):  # Timestamps of pandas are among these.
        return kind.__qualname__, repr(value)
    if isinstance(value, BaseModel):
        return kind.__qualname__, _comparable(value.model_dump())
    if hasattr(value, "tolist"):  # The `repr` of an array omits its middle.
        return kind.__qualname__, _comparable(value.tolist())
    # Other objects count as equal to nothing, since their content is unknown.
    return kind.__qualname__, uuid4().hex


# The classes of errors, as `failure_text` writes them, of rows that a model or a filter refused.
_REFUSALS = (Refused.__name__, ModelRefusalError.__name__)


class Record(NamedTuple):
    """The result of one row, as it is stored."""

    number: int
    line: int
    row_json: bytes
    check: bytes
    # `answer` and `ask`, or `error`, or `same`; and the tokens, the cost and other facts.
    about: JSON

    @property
    def failed(self) -> bool:
        """Whether the row has no answer."""
        return "error" in self.about

    @property
    def size_bytes(self) -> int:
        """The size of the row and its answer in the store, within 100 bytes."""
        return len(self.row_json) + len(exact_json(self.about))

    @property
    def refused(self) -> bool:
        """Whether the row failed because a model or a filter refused to answer."""
        return is_refusal(self.about.get("error"))

    def entry(self, id: int) -> Entry:
        """Return the entry for the store."""
        facts: JSON = {
            "n": self.number,
            "line": self.line,
            "check": self.check.hex(),
            **self.about,
        }
        record = with_row(self.row_json, facts)
        kind = "answered"
        if self.failed:
            kind = "failed"
        return Entry.of(kind, record, self.number, id)


def with_row(row_json: bytes, facts: JSON) -> bytes:
    """Return facts about a row as JSON, with the values of the row as the first one, `row`."""
    return b'{"row":%b,%b' % (row_json, exact_json(facts)[1:])


def is_refusal(error: str | None) -> bool:
    """Return whether the error of a row is a refusal."""
    if error is None:
        return False
    return error.partition(":")[0] in _REFUSALS


class Digests:
    """A map from digests to row numbers that takes 20 bytes an entry.

    It has 4,096 buckets, searched by `bytearray.find`.
    """

    SHARDS = 4096
    ENTRY_BYTES = DIGEST_BYTES + 4

    def __init__(self) -> None:
        self._shards: list[bytearray | None] = [None] * self.SHARDS

    def add(self, digest: bytes, number: int) -> None:
        place = int.from_bytes(digest[:2], "big") % self.SHARDS
        shard = self._shards[place]
        if shard is None:
            shard = self._shards[place] = bytearray()
        shard += digest
        shard += number.to_bytes(4, "big")

    def find(self, digest: bytes) -> int | None:
        """Return the number of the row that was added first under `digest`."""
        place = int.from_bytes(digest[:2], "big") % self.SHARDS
        shard = self._shards[place]
        if shard is None:
            return None
        at = shard.find(digest)
        while at >= 0 and at % self.ENTRY_BYTES:
            at = shard.find(digest, at + 1)
        if at < 0:
            return None
        number = shard[at + DIGEST_BYTES : at + self.ENTRY_BYTES]
        return int.from_bytes(number, "big")


class Results:
    """The records of a job, in its store."""

    def __init__(self, folder: Path) -> None:
        self.store = JobStore(folder)
        try:
            self._next_id = self.store.next_id(TABLE)
        except BaseException:  # A damaged store cannot be read, and nobody else can close it.
            self.store.close()
            raise
        # The row with the answer to a request, by deduplication key.
        self.answers = Digests()
        # The numbers of the rows that failed because a model or a filter refused to answer.
        self.refused: set[int] = set()
        self._states = bytearray()
        # The id of each row's valid entry in the store.
        self._ids = array("Q")
        # The first 8 bytes of the digest of each row's values, to detect a changed row.
        self._checks = array("Q")

    def recover(self) -> Iterator[JSON]:
        """Read the records of earlier runs into the index, and yield each. A damaged record counts as missing."""
        damaged = 0
        for entry in self.store.entries(TABLE):
            if entry.is_damaged:
                damaged += 1
                continue
            record = from_json(entry.record)
            number = record["n"]
            question = record.get("ask")
            check = bytes.fromhex(record["check"])
            error = record.get("error")
            id = entry.id or 0
            self._note(number, id, check, error is not None)
            self._note_refusal(number, refused=is_refusal(error))
            if question is not None:
                self.answers.add(bytes.fromhex(question), number)
            elif "same" in record and self.state(record["same"]) != ANSWERED:
                # The row's earlier record is damaged.
                self._states[number] = UNKNOWN
            yield record
        if damaged:
            text = "`%s` is damaged: %d records cannot be read, and their rows count as not asked."
            _log.warning(text, self.store.path, damaged)

    def place(self, record: Record) -> Entry:
        """Add a new record to the index; return its entry for the store, which `write` stores."""
        entry = record.entry(self._next_id)
        self._note(record.number, self._next_id, record.check, record.failed)
        self._note_refusal(record.number, refused=record.refused)
        self._next_id += 1
        return entry

    def write(self, entries: Sequence[Entry]) -> None:
        """Write and sync entries.

        They survive a crash once this returns; after a failure none of them is stored.
        """
        self.store.append(TABLE, entries)

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def _note(self, number: int, id: int, check: bytes, failed: bool) -> None:  # noqa: FBT001
        missing = number + 1 - len(self._states)
        if missing > 0:
            self._states += bytes(missing)
            self._ids.frombytes(bytes(8 * missing))
            self._checks.frombytes(bytes(8 * missing))
        self._states[number] = FAILED if failed else ANSWERED
        self._ids[number] = id
        self._checks[number] = int.from_bytes(check[:8], "big")

    def _note_refusal(self, number: int, *, refused: bool) -> None:
        if refused:
            self.refused.add(number)
        elif self.refused:
            self.refused.discard(number)

    def state(self, number: int) -> int:
        """Return `UNKNOWN`, `ANSWERED` or `FAILED`."""
        if number < len(self._states):
            return self._states[number]
        return UNKNOWN

    def agrees(self, number: int, check: bytes) -> bool:
        """Return whether the row with this number is unchanged since its record was stored."""
        return self._checks[number] == int.from_bytes(check[:8], "big")

    def count(self, state: int, among: Sequence[int] | None = None) -> int:
        """Return the number of rows in a state: of all rows, or of those in `among`."""
        if among is None:
            return self._states.count(state)
        if isinstance(among, range):
            return self._states.count(state, among.start, among.stop)
        return sum(self.state(number) == state for number in among)

    @property
    def end(self) -> int:
        """One more than the highest row number."""
        return len(self._states)

    def record(self, number: int) -> JSON:
        """Return the record of a row, with the answer of the equal row if it shares one."""
        record = self.store.read(TABLE, self._ids[number])
        return self._answered(from_json(record))

    def last_asked(self) -> JSON | None:
        """Return the record of the last row with an answer of its own; None if there is none near the end."""
        for number in reversed(range(self.end)[-_SEARCHED:]):
            if self._states[number] != ANSWERED:
                continue
            record = self.record(number)
            if "same" not in record:
                return record
        return None

    def _answered(self, record: JSON) -> JSON:
        if "same" in record:
            id = self._ids[record["same"]]
            other = from_json(self.store.read(TABLE, id))
            record["answer"] = other.get("answer")
            record["finish_reason"] = other.get("finish_reason")
        return record

    def records(
        self,
        *,
        by_arrival: bool = False,
        among: Sequence[int] | None = None,
    ) -> Iterator[JSON]:
        """Yield the record of every row that has one, in the order of the input or of arrival.

        `among` has the numbers of the wanted rows in rising order; None is all.
        """
        if not by_arrival:
            numbers: Sequence[int] = range(self.end)
            if among is not None:
                numbers = among
            return (self.record(number) for number in numbers if self.state(number))
        wanted: Container[int] | None = among
        if among is not None and not isinstance(among, range):
            wanted = frozenset(among)
        return self._by_arrival(wanted)

    def _by_arrival(self, wanted: Container[int] | None) -> Iterator[JSON]:
        for id, record in _stored(self.store):
            number = record["n"]
            if self.state(number) == UNKNOWN or self._ids[number] != id:
                continue  # A later record of the row is valid.
            if wanted is None or number in wanted:
                yield self._answered(record)


def stored_records(folder: Path) -> Iterator[JSON]:
    """Yield the records in a job's folder without changing anything, also while the job runs."""
    with closing(JobStore(folder, read_only=True)) as store:
        for _, record in _stored(store):
            yield record


def _stored(store: JobStore) -> Iterator[tuple[int, JSON]]:
    """Yield the id and the record of each entry that is not damaged."""
    for entry in store.entries(TABLE):
        if not entry.is_damaged:
            yield entry.id or 0, from_json(entry.record)
