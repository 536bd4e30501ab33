"""`modelwire batch --via batch-api` and `modelwire jobs wait`."""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelwire import jobs
from modelwire.aliases import JSON, Fields, Values
from modelwire.command.job_reports import print_failures
from modelwire.errors import InvalidArgument
from modelwire.jobs.folder import JobFolder
from modelwire.jobs.options import JobOptions, settings_of
from modelwire.jobs.progress import clock
from modelwire.usage import dollars

if TYPE_CHECKING:
    from modelwire.jobs.batch_api.job import BatchJob

# `--retry-failed` and `modelwire jobs retry` submit the rows with these outcomes again.
_ASKED_AGAIN = ("errored", "expired", "missing", "cancelled", "unusable")


def submit(settings: Values, chain: Any, command: JSON, *, quiet: bool, detach: bool) -> int:
    """Submit the rows, wait for them and write the table; if detached, print how to wait.

    Return the exit code.
    """
    options = settings_of(JobOptions)
    direct_only = {name: one.default for name, one in options.items() if one.is_direct_only}
    direct_only["plan"] = False
    for name, default in direct_only.items():
        if settings.get(name, default) != default:
            raise InvalidArgument(
                f"`--{name.replace('_', '-')}` applies to rows that are called directly, not to a batch."
            )
    folder = Path(settings["job_dir"] or f"{settings['output']}.job")
    JobFolder(folder).check_output_is_free(Path(settings["output"]))
    if settings.get("retry_failed"):
        return finish(folder, chain, settings, quiet=quiet, again=True)
    job = jobs.submit_batch(
        chain,
        settings["input"],
        dir=folder,
        limit=settings["limit"],
        encoding=settings["encoding"],
        dedupe=not settings["no_dedupe"],
        command=command,
        bucket=settings.get("bucket"),
        text=settings.get("text"),
        on_progress=_progress(quiet=quiet or detach),
    )
    if detach:
        batches = ", ".join(job.status(look=False).batches)
        print(
            f"Submitted as {batches}. `modelwire jobs wait {job.id}` fetches the answers.",
            file=sys.stderr,
        )
        print(job.id)
        return 0
    return _write(job, settings, quiet=quiet)


def finish(path: Path, chain: Any, settings: Values, *, quiet: bool, again: bool = False) -> int:
    """Wait for a job and write its table. With `again`, failed rows are submitted again first.

    Return the exit code.
    """
    job = jobs.BatchJob.load(path, chain, on_progress=_progress(quiet=quiet))
    if again:
        source = {"inputs": settings["input"], "encoding": settings["encoding"]}
        if job.resubmit(_ASKED_AGAIN, **source) == 0:
            print("No row is left to submit again.", file=sys.stderr)
    return _write(job, settings, quiet=quiet)


def _progress(*, quiet: bool) -> _Lines | None:
    if quiet:
        return None
    return _Lines()


def _write(job: BatchJob, settings: Values, *, quiet: bool) -> int:
    job.wait()
    rows = job.write(settings["output"], order=settings["order"])
    cost = job.cost()
    summary = JobFolder(job.path).summary()
    # Answers that do not fit the schema count as failures, too.
    failures = int(summary.get("failed", 0))
    if not quiet:
        price = "cost unknown"
        if cost.unpriced < cost.answers:
            price = dollars(cost.usd)
        failed = ""
        if rows > cost.answers:
            failed = f", {rows - cost.answers:,} without an answer"
        unusable = failures - max(0, rows - cost.answers)
        if unusable > 0:
            failed += f", {unusable:,} with an answer that cannot be used"
        cut = summary.get("cut", 0)
        marked = ""
        if cut:
            plural = "s" * (cut > 1)
            marked = f", {cut:,} answer{plural} cut by max_tokens"
        print(f"{rows:,} rows{failed}{marked}, {price}", file=sys.stderr)
        if failed:
            print_failures(job.path)
    print(settings["output"])
    return int(failures >= rows)


class _Lines:
    """Prints a line about the progress of a job whenever the line has changed."""

    def __init__(self) -> None:
        self._shown = ""

    def __call__(self, progress: Fields) -> None:
        batches = f"{progress['ended']} of {progress['parts']} batches ended"
        line = f"{progress['done']:,} of {progress['submitted']:,} rows, {batches}"
        left_s = progress["eta"]
        if left_s and progress["done"]:
            line += f", about {clock(left_s)} left"
        if line != self._shown:
            print(line, file=sys.stderr, flush=True)
        self._shown = line
