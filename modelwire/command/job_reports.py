"""Prints reports about a job from its folder: counts of rows, costs, batches, reasons of failures."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from modelwire.jobs import row_records as records
from modelwire.jobs.batch_api.part_log import Part, PartEvents
from modelwire.jobs.folder import JobFolder
from modelwire.jobs.progress import Standing
from modelwire.terminal_text import echo

# After a run and in `jobs show`, at most this many reasons of failures are printed.
_REASONS_AFTER_RUN, _REASONS_SHOWN = 3, 10
# Each reason names at most this many lines of the input.
_LINES_NAMED = 5


def print_failures(path: Path, *, can_retry: bool = True) -> None:
    """Print why rows of a job have failed, the most frequent reasons first, and what to do."""
    job = JobFolder(path)
    _, failures = standing_of(job)
    lines = reasons_of(failures, _REASONS_AFTER_RUN)
    if any("bytes that are not" in line for line in lines):
        lines.append(
            "Name the file's encoding: run the same command with, for example, `--encoding cp1252 --retry-failed`."
        )
    advice = "To ask them again later, write to a file: `--output FILE`."
    if can_retry:
        advice = f"`modelwire jobs retry {job.id}` calls the model for them again, once the cause is fixed."
    lines.append(advice)
    unsent = sum(
        record.get("attempts", 0) is None
        for record in records.stored_records(path)
        if "error" in record
    )
    if unsent:  # Only a batch job has these.
        lines.append(f"{unsent:,} of them were not submitted: correct these rows in the input.")
    echo("\n".join(lines), file=sys.stderr)


def print_rows(job: JobFolder, *, is_complete: bool) -> None:
    """Print how many rows a job has done, what they cost, and why rows have failed."""
    standing, failures = standing_of(job)
    line = f"rows     {standing.rows:,}"
    if not is_complete:
        line += " so far"
    line += f", {len(failures):,} failed"
    refused = sum(records.is_refusal(error) for _, error in failures.values())
    if refused:
        line += f" ({refused:,} refused)"
    if not is_at_provider(job):
        tokens = f"{standing.input_tokens:,} + {standing.output_tokens:,} tokens"
        line += f", {tokens}, {standing.cost_text()}"
    echo(line)
    if standing.cut:
        echo(
            f"         {standing.cut:,} answered and cut by max_tokens: `finish_reason` in the output marks them"
        )
    for text in reasons_of(failures, _REASONS_SHOWN):
        echo(f"         {text}")


def is_at_provider(job: JobFolder) -> bool:
    """Return whether a batch job has stored no answer yet, so that its cost is unknown."""
    if "batch" not in job.about:
        return False
    return next(records.stored_records(job.path), None) is None


def parts_of(job: JobFolder) -> list[Part]:
    """Return the batches of a batch job, or of the batch jobs within a job with a deadline."""
    within = (JobFolder(path.parent) for path in sorted(job.path.glob("batches/*/job.json")))
    return [
        part for one in (job, *within) if "batch" in one.about for part in _part_events(one).parts
    ]


def _part_events(job: JobFolder) -> PartEvents:
    return PartEvents(job.path).read()


def reasons_of(failures: Mapping[int, tuple[int, str]], most: int) -> list[str]:
    """Return the reasons of failures as lines, the most frequent first.

    Texts that differ only in a number or an id are counted together, and the first of them is shown
    after "such as".
    """
    groups: dict[str, tuple[dict[str, None], list[int]]] = {}
    for line, error in sorted(failures.values()):
        texts, at = groups.setdefault(re.sub(r"\S*\d\S*", "", error), ({}, []))
        texts[error] = None
        at.append(line)
    lines = []
    for texts, at in sorted(groups.values(), key=lambda group: -len(group[1]))[:most]:
        error = next(iter(texts))
        if len(texts) > 1:
            error = f"such as: {error}"
        numbers = ", ".join(map(str, at[:_LINES_NAMED]))
        if len(at) > _LINES_NAMED:
            numbers += ", ..."
        plural = "s" * (len(at) > 1)
        lines.append(f"{len(at):,} x {error} (line{plural} {numbers})")
    if len(groups) > most:
        lines.append(f"and {len(groups) - most:,} more reasons; `error` in the output has them all")
    return lines


def standing_of(job: JobFolder) -> tuple[Standing, dict[int, tuple[int, str]]]:
    """Return the counts in a job's store, also while it runs, and (line, error) of each failed row by its number."""
    standing = Standing()
    seen = bytearray()
    failures: dict[int, tuple[int, str]] = {}
    for record in records.stored_records(job.path):
        number = record["n"]
        seen += bytes(max(0, number + 1 - len(seen)))
        seen[number] = 1
        standing.count(record)
        failures.pop(number, None)
        if "error" in record:
            line = record["line"]
            failures[number] = line, record["error"].removeprefix(f"Line {line}: ")
    standing.rows = sum(seen)
    if "batch" in job.about and not standing.rows:
        standing.rows = _part_events(job).rows
    return standing, failures
