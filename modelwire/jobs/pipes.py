"""Lets `modelwire batch` read standard input and write standard output, both named `-`.

The input is stored in a file first, because a job reads its input twice.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfileobj, rmtree
from tempfile import mkdtemp

from modelwire.aliases import JSON
from modelwire.errors import DiskError, InvalidArgument, JobBusy
from modelwire.jobs.owned_files import lock_file, owned

FORMATS = ("jsonl", "csv")


@contextmanager
def piped(settings: JSON) -> Iterator[None]:
    """Replace `-` by files; at the end, copy the output to standard output if it was written.

    The input stays beside the output as `OUTPUT.stdin.FORMAT`, so that the job can resume. Without
    an output's name, all files are in a folder that is removed when the job is complete.
    """
    if "-" not in (settings["input"], settings["output"]):
        yield
        return
    if settings["via"] == "batch-api" and not settings["dry_run"]:
        raise InvalidArgument(
            "`--via batch-api` may take a day, so it needs files: name them instead of `-`."
        )
    scratch = None
    if settings["output"] == "-":
        scratch = Path(mkdtemp(prefix="modelwire-batch-"))
    is_copied = False
    is_scratch = scratch is not None
    try:
        if scratch is not None:
            settings["output"] = str(scratch / f"stdout.{settings['format']}")
        settings["to_stdout"] = is_scratch
        with _standard_input(settings, is_scratch=is_scratch):
            yield
        if is_scratch and (output := Path(settings["output"])).exists():
            with output.open("rb") as file:
                sys.stdout.flush()
                copyfileobj(file, sys.stdout.buffer)
                sys.stdout.buffer.flush()
            is_copied = True
    finally:
        if scratch is not None:
            _remove_unless_paid(scratch, is_copied=is_copied)


def _remove_unless_paid(scratch: Path, *, is_copied: bool) -> None:
    """Remove the folder of a job whose output is standard output, unless it has answers that could
    not be written there.
    """
    from modelwire.jobs.row_records import stored_records

    paid = [job for job in scratch.glob("*.job") if not is_copied and any(stored_records(job))]
    for job in paid:
        text = f"What is done is kept: `modelwire jobs write {job}` writes its table."
        print(text, file=sys.stderr)  # noqa: T201
    if not paid:
        rmtree(scratch, ignore_errors=True)


@contextmanager
def _standard_input(settings: JSON, *, is_scratch: bool) -> Iterator[None]:
    """Store standard input in a file, if it is the input, and lock that file until the job ends.

    Raises: `JobBusy` if another process has the lock and reads the file, which is not changed then.
    """
    if settings["input"] != "-":
        yield
        return
    beside_output = is_scratch or settings["job_dir"] is None
    if beside_output:
        place = settings["output"]
    else:
        place = settings["job_dir"]
    path = Path(f"{place}.stdin.{settings['format']}")
    settings["input"] = str(path)
    try:
        file = os.fdopen(owned(str(path), os.O_RDWR | os.O_CREAT), "wb")
    except OSError as exc:
        raise DiskError.of(exc, path) from exc
    with file:
        try:
            is_locked = lock_file(file.fileno())
        except OSError as exc:
            raise DiskError.of(exc, path) from exc
        if not is_locked:
            raise JobBusy(f"Another process reads `{path}`. Wait for it, or name another output.")
        try:
            file.truncate()
            copyfileobj(sys.stdin.buffer, file)
            file.flush()
        except OSError as exc:
            raise DiskError.of(exc, path) from exc
        yield
