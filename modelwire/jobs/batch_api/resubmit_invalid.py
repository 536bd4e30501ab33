"""Reads the input of a batch job again, and submits the rows that could not be sent before and are valid now."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from modelwire.aliases import JSON, Fields
from modelwire.errors import JobChanged
from modelwire.jobs.batch_api import plan
from modelwire.jobs.batch_api.open_job import OpenJob
from modelwire.jobs.batch_api.results import Index
from modelwire.jobs.row_records import json_of
from modelwire.jobs.rows import Row
from modelwire.jobs.store import INPUTS, JobStore

if TYPE_CHECKING:
    from modelwire.jobs.batch_api.api import BatchApi
    from modelwire.jobs.batch_api.chain import Split
    from modelwire.jobs.batch_api.part_log import PartEvents
    from modelwire.jobs.folder import JobFolder


def resubmit_invalid(split: Split, job: OpenJob, inputs: Any, encoding: str, round: int) -> int:
    """Plan new parts for the rows that were never sent and are valid now; return the number of these rows.

    Raises: `JobChanged` if a row that was readable has changed, since its stored answer would
    belong to another row.
    """
    folder = job.folder
    events = job.events
    api = job.api
    settings = job.settings
    unsent = _unsent_rows(folder, events, api)
    if not unsent:
        return 0
    rows, fingerprint = plan.read_rows(inputs, encoding)
    with closing(rows), events.store.transaction():
        parts = job.more_parts(round=round)
        requests = plan.Requests(split, parts, api, folder.id, events.store, dedupe=True)
        chosen = islice(rows, settings["limit"])
        facts = _replanned(split, chosen, folder, events.store, requests, settings["key"], unsent)
        planned = parts.close()
        if fingerprint:
            of_input = plan.limited(fingerprint, settings["limit"])
            folder.note(fingerprint={**folder.about["fingerprint"], "input": of_input})
        if requests.path:
            facts["endpoint"] = f"/v1{requests.path}"
            facts["headers"] = {**events.headers, **requests.headers}
        events.write("planned", parts=planned, **facts)
    in_parts = sum(int(part["rows"]) for part in planned)
    return in_parts + requests.same + requests.cached


def _unsent_rows(folder: JobFolder, events: PartEvents, api: BatchApi) -> set[int]:
    """Return the numbers of the rows that are in no part, were not called directly, and share no answer."""
    with closing(Index(folder.path, events, api)) as index:
        found = set()
        for number in range(events.rows):
            if index.part_of(number) >= 0 or index.is_answered_live(number):
                continue
            if "same" not in plan.stored_row(index.store, number):
                found.add(number)
        return found


def _replanned(
    split: Split,
    rows: Iterable[Row],
    folder: JobFolder,
    store: JobStore,
    requests: plan.Requests,
    key: str | None,
    unsent: set[int],
) -> JSON:
    """Store every row again, and the requests of the `unsent` ones; return facts for the event `planned`."""
    digest = sha256()
    count = 0
    same = 0
    # The store reads by a second connection, which sees the old entries until the transaction ends.
    before = store.entries(INPUTS)
    store.clear(INPUTS)

    def is_wanted(row: Row) -> bool:
        return row.problem is None and row.number in unsent

    for row, prepared in plan.prepared_rows(split, rows, is_wanted):
        record, line = plan.written(row, key)
        digest.update(line)
        old = next(before, None)
        if old is None or not _may_be(from_json(old.record), record):
            raise JobChanged(
                f"Row {count + 1}, line {row.line} of the input, is not what it was when `{folder.path}` was "
                "submitted. Put only those rows right that could not be sent, each in its place."
            )
        if count not in unsent:
            line = old.record
        elif "error" not in record:
            line = requests.line(count, record, prepared)
        same += "same" in from_json(line)
        store.append(INPUTS, [plan.input_entry(count, line)])
        count += 1
    if next(before, None) is not None:
        raise JobChanged(
            f"The input has {count:,} rows, fewer than when `{folder.path}` was submitted. Put the missing rows back."
        )
    return {"same": same, "rows_sha256": digest.hexdigest()}


def _may_be(old: Fields, new: Fields) -> bool:
    """Return whether two records may be of the same row. A row with an error was never sent, so it may have changed."""
    if "error" in old:
        return True
    stored = from_json(json_of(new))
    return all(old.get(name) == stored.get(name) for name in ("value", "messages"))
