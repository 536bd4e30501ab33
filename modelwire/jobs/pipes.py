"""`-` for a file of `modelwire batch`: standard input is kept in a file first, as a job reads its input twice."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfileobj, rmtree
from tempfile import mkdtemp
from typing import Any

from modelwire.errors import DiskError, InvalidArgument
from modelwire.jobs.owned_files import owned

__all__ = ["FORMATS", "piped"]

FORMATS = ("jsonl", "csv")


@contextmanager
def piped(settings: dict[str, Any]) -> Iterator[None]:
    """Put files in the place of `-`; at the end, copy the output to standard output if it was written.

    The input stays beside the output, as `OUTPUT.stdin.FORMAT`, for a job that goes on. Without an output's name all of
    it lies in a folder that is removed with a job that is complete.
    """
    if "-" not in (settings["input"], settings["output"]):
        yield
        return
    if settings["via"] == "batch-api" and not settings["dry_run"]:
        raise InvalidArgument("`--via batch-api` takes a day: it needs files, and `-` is none.")
    scratch = Path(mkdtemp(prefix="modelwire-batch-")) if settings["output"] == "-" else None
    done = False
    try:
        if scratch is not None:
            settings["output"] = str(scratch / f"stdout.{settings['format']}")
        if settings["input"] == "-":
            place = (
                settings["output"]
                if scratch is not None or settings["job_dir"] is None
                else settings["job_dir"]
            )
            settings["input"] = f"{place}.stdin.{settings['format']}"
            _keep(Path(settings["input"]))
        settings["to_stdout"] = scratch is not None
        yield
        done = True
        if scratch is not None and (output := Path(settings["output"])).exists():
            with output.open("rb") as file:
                sys.stdout.flush()
                copyfileobj(file, sys.stdout.buffer)
        elif scratch is not None and not settings["dry_run"]:
            done = False
    finally:
        if scratch is not None:
            from modelwire.jobs.row_records import stored_records

            paid = (
                [] if done else [job for job in scratch.glob("*.job") if any(stored_records(job))]
            )
            for job in paid:
                print(
                    f"What is done is kept: `modelwire jobs write {job}` writes its table.",
                    file=sys.stderr,
                )  # noqa: T201
            if not paid:
                rmtree(scratch, ignore_errors=True)


def _keep(path: Path) -> None:
    try:
        with open(path, "wb", opener=owned) as file:
            copyfileobj(sys.stdin.buffer, file)
    except OSError as exc:
        raise DiskError.of(exc, path) from exc
