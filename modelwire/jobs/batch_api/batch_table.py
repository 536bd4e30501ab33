"""Writes the results of a batch job as a table, by the same code as `run_job` does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelwire.aliases import JSON
from modelwire.ext import CUT_REASONS
from modelwire.jobs.output import check_output, write_output
from modelwire.jobs.row_records import TABLE, Record, Results, digest_of, exact_json, groups_of
from modelwire.jobs.store import Entry
from modelwire.jobs.tagged_values import untagged
from modelwire.jobs.work import answer_value, failure_text, finish_reason, prompt_cache_facts

if TYPE_CHECKING:
    from modelwire.jobs.batch_api.job import BatchJob
    from modelwire.jobs.batch_api.part_log import PartEvents
    from modelwire.jobs.batch_api.results import BatchResult
    from modelwire.jobs.folder import JobFolder


def write_table(
    job: BatchJob,
    folder: JobFolder,
    events: PartEvents,
    path: Path,
    order: str,
) -> int:
    """Write the table of a batch job, and its summary if the job is done; return the number of rows of the table."""
    check_output(path, order, folder.path)
    folder.check_output_is_free(path)
    # The stored rows of the last table are out of date.
    events.store.clear(TABLE)
    results = Results(folder.path)
    counts: JSON = {"rows": 0, "failed": 0, "unpriced": 0, "cut": 0, "state": "complete"}
    cost: Any = 0
    try:

        def placed() -> Iterator[Entry]:
            nonlocal cost
            for result, record in job.rows.finished(by_arrival=order == "arrival"):
                message = result.message
                counts["cut"] += message is not None and finish_reason([message]) in CUT_REASONS
                counts["rows"] += 1
                counts["failed"] += result.error is not None
                counts["unpriced"] += message is not None and result.cost is None
                cost += result.cost or 0
                yield results.place(record_of(result, record))

        def size_bytes(entry: Entry) -> int:
            return len(entry.record)

        for entries in groups_of(placed(), size_bytes):
            results.write(entries)
        split = job.place.split
        columns = None
        if split is not None:
            columns = split.work.answer_columns
        write_output(results, path, order=order, answer_columns=columns)
    finally:
        results.close()
        if not events.done:
            events.store.clear(TABLE)
    if events.done:
        folder.end({**counts, "cost": str(cost)})
    return int(counts["rows"])


def record_of(result: BatchResult, record: JSON) -> Record:
    """Return the result of a row in the form of `run_job`'s records. `record` is the stored input of the row."""
    values = record.get("messages")
    if "value" in record:
        values = untagged(record["value"])
    row = exact_json(values)
    about: JSON = {}
    if result.error is not None:
        about["error"] = failure_text(result.error)
    elif result.output is None:
        about["error"] = f"No answer: {result.status}."
    else:
        try:
            about["answer"] = answer_value(result.output)
        except ValueError as exc:
            about["error"] = failure_text(exc)
    message = result.message
    if message is not None:
        reason = finish_reason([message])
        if reason:
            about["finish_reason"] = reason
    if result.same is not None:
        about["attempts"] = 0
    else:
        usage = result.usage
        if usage is not None:
            about["input_tokens"] = usage["input_tokens"]
            about["output_tokens"] = usage["output_tokens"]
            about |= prompt_cache_facts([message], batch=True)
        if result.cost is not None:
            about["cost"] = str(result.cost)
        about["attempts"] = result.round or None
    return Record(result.index, record["line"], row, digest_of(row), about)
