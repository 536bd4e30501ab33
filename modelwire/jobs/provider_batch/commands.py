"""`modelwire batch --via batch-api` and `modelwire jobs wait`."""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelwire.errors import InvalidArgument
from modelwire.jobs.progress import clock

if TYPE_CHECKING:
    from modelwire.jobs.provider_batch.job import BatchJob

__all__ = ["finish", "hand_in"]

LIVE_ONLY = {
    "max_concurrency": None, "max_cost": None, "sample": None, "formula_guard": False, "retry_failed": False,
    "engine": "local", "workers": None,
}  # fmt: skip
ASKED_AGAIN = ("errored", "expired", "missing", "cancelled")


def hand_in(given: Mapping[str, Any], chain: Any, command: dict[str, Any], *, quiet: bool, detach: bool) -> None:
    """Submit the rows, then wait for them and write the table; or, detached, say how to wait."""
    from modelwire.jobs.output import check_output
    from modelwire.jobs.provider_batch.submission import submit_batch

    for name, unset in LIVE_ONLY.items():
        if given.get(name, unset) != unset:
            raise InvalidArgument(f"`--{name.replace('_', '-')}` is for rows that are asked live, not for a batch.")
    check_output(Path(given["output"]), given["order"], given["input"])
    job = submit_batch(
        chain, given["input"], dir=given["job_dir"] or f"{given['output']}.job", limit=given["limit"],
        encoding=given["encoding"], dedupe=not given["no_dedupe"], command=command,
        on_progress=None if quiet or detach else _Lines(),
    )  # fmt: skip
    if detach:
        batches = ", ".join(job.status(look=False).batches)
        print(f"Submitted as {batches}. `modelwire jobs wait {job.id}` fetches the answers.", file=sys.stderr)
        print(job.id)
        return
    _write(job, given, quiet=quiet)


def finish(path: Path, chain: Any, given: Mapping[str, Any], *, quiet: bool, again: bool = False) -> None:
    """Wait for a job, whoever submitted it, and write the table; `again`, what failed is submitted once more."""
    from modelwire.jobs.provider_batch.job import BatchJob

    job = BatchJob.load(path, chain, on_progress=None if quiet else _Lines())
    if again and job.resubmit(ASKED_AGAIN) == 0:
        print("There is nothing to ask again.", file=sys.stderr)
    _write(job, given, quiet=quiet)


def _write(job: BatchJob, given: Mapping[str, Any], *, quiet: bool) -> None:
    job.wait()
    rows = job.write(given["output"], order=given["order"])
    if not quiet:
        cost = job.cost()
        price = f"${cost.usd:.4f}" if cost.unpriced < cost.answers else "cost unknown"
        failed = f", {rows - cost.answers:,} without an answer" if rows > cost.answers else ""
        print(f"{rows:,} rows{failed}, {price}", file=sys.stderr)
        if failed:
            print(f"`modelwire jobs retry {job.id}` submits those again.", file=sys.stderr)
    print(given["output"])


class _Lines:
    """Prints how a job stands, when that has changed."""

    def __init__(self) -> None:
        self._shown = ""

    def __call__(self, told: Mapping[str, Any]) -> None:
        said = f"{told['done']:,} of {told['submitted']:,} rows, {told['ended']} of {told['parts']} batches ended"
        if (left_s := told["eta"]) and told["done"]:
            said += f", about {clock(left_s)} left"
        if said != self._shown:
            print(said, file=sys.stderr, flush=True)
        self._shown = said
