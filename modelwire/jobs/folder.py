"""The folder of a job: its settings (`job.json`), `lock`, records (`job.sqlite`) and `summary.json`.

Only the owner can read the files (mode 0600), and none contains a secret.
"""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from typing import Any
from uuid import uuid4

from modelwire.aliases import JSON
from modelwire.errors import DiskError, InvalidArgument, JobBusy, JobChanged
from modelwire.jobs.owned_files import disk_errors, lock_file, owned, write_whole
from modelwire.jobs.store import STORE_NAME
from modelwire.jobs.work import differences

_SUFFIX = ".job"
# The version of the format of `job.json`.
_VERSION = 2
# A folder with other files than these, and without `job.json`, does not become a job's folder.
OURS = {
    "lock",
    ".job.json.part",
    *(f"{STORE_NAME}{end}" for end in ("", "-wal", "-shm", "-journal")),
}


class JobFolder:
    """The folder of one job. `about` is the content of `job.json`, {} before the first run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.about = self._about()
        # True if `release` removes the folder.
        self.is_temporary = False
        self._lock: int | None = None

    @property
    def id(self) -> str:
        """The job's name on the command line."""
        return str(self.about.get("id", ""))

    def claim(self) -> None:
        """Create and lock the folder for this process.

        Raises: `JobBusy` if another process has the lock.
        """
        path = self.path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_nobody_elses()
            lock = owned(str(path / "lock"), os.O_RDWR | os.O_CREAT)
            if not lock_file(lock):
                holder = os.read(lock, 500).decode(errors="replace").strip()
                os.close(lock)
                raise JobBusy(
                    f"`{path}` is being worked on by {holder or 'another process'}. Wait, or end that."
                )
            self._lock = lock
            os.ftruncate(lock, 0)
            holder = f"process {os.getpid()} on {socket.gethostname()} since {_now()}\n"
            os.write(lock, holder.encode())
            self.about = self._about()
            self.check_store()
        except OSError as exc:
            self.release()
            if isinstance(exc, DiskError):
                raise
            raise DiskError.of(exc, path) from exc

    def _check_nobody_elses(self) -> None:
        """Raise `InvalidArgument` for a folder with other files, since a job overwrites files by their names."""
        if (self.path / "job.json").exists():
            return
        others = {path.name for path in self.path.iterdir()} - OURS
        if others:
            raise InvalidArgument(
                f"`{self.path}` is not a job's folder: it has `{min(others)}`, and no `job.json`. Name another."
            )

    def check_store(self) -> None:
        """Check that a job still has its store: without it, the job would start over and pay for its rows again.

        Raises: `DiskError` if the store is missing or empty.
        """
        store = self.path / STORE_NAME
        if not self.about:
            return
        state = "is gone"
        with disk_errors(store):
            if store.exists():
                if store.stat().st_size > 0:
                    return
                state = "is empty"
        batches = ""
        if "batch" in self.about or (self.path / "batches").is_dir():
            batches = (
                " The provider may still have the batches that it submitted: the lists of OpenAI and Gemini "
                f"name `{self.id}` as the job."
            )
        raise DiskError(
            f"`{store}` {state}, and the answers of this job were in it. Put a copy of it back.{batches} To pay for "
            f"all of its rows once more, delete the folder `{self.path}`.",
            path=str(store),
        )

    def release(self) -> None:
        """Release the lock, and remove a temporary folder."""
        if self._lock is not None:
            # Closing the file releases the lock, and so does any end of the process.
            os.close(self._lock)
            self._lock = None
        if self.is_temporary:
            rmtree(self.path, ignore_errors=True)

    def delete(self) -> None:
        """Delete the folder. Raises: `JobBusy` if another process works on the job, `DiskError`."""
        with suppress(DiskError):  # A damaged job can be deleted, too.
            self.claim()
        try:
            rmtree(self.path)
        except OSError as exc:
            raise DiskError.of(exc, self.path) from exc
        finally:
            self.release()

    def check(
        self,
        fingerprint: JSON,
        *,
        input_may_differ: bool = False,
        rows_may_come: bool = False,
    ) -> bool:
        """Compare a fingerprint with that of the job, and return whether the input has changed.

        A changed input is accepted if `input_may_differ` (the user may have corrected failed rows),
        or if `rows_may_come` and the file has the same name (rows may have been appended). The
        caller must then compare the rows that have a result.

        Raises: `JobChanged` for any other difference.
        """
        if not self.about:
            return False
        before = self.about["fingerprint"]
        old = before.get("input", {})
        new = fingerprint["input"]
        is_same_file = "file" in old and old["file"] == new.get("file")
        if input_may_differ or (rows_may_come and is_same_file):
            before = {**before, "input": new}
        changed = differences(before, fingerprint)
        if changed:
            raise JobChanged(
                f"`{self.path}` holds a job that began with something else. {' '.join(changed)} "
                "Put it back, or name another output (or job folder), which begins a new job."
            )
        return bool(old != new)

    def agree(
        self,
        fingerprint: JSON,
        command: JSON | None,
        *,
        output: Path | None = None,
        input_may_differ: bool = False,
    ) -> None:
        """Write `job.json`: fingerprint, command and output of the job. Raises `JobChanged` as `check` does."""
        if self.about:
            self.check(fingerprint, input_may_differ=input_may_differ)
            if input_may_differ:
                self.about["fingerprint"]["input"] = fingerprint["input"]
        else:
            self.about = {
                "version": _VERSION,
                "id": uuid4().hex[:8],
                "begun": _now(),
                "fingerprint": fingerprint,
            }
        self.about["command"] = command
        if output is not None:
            self.about["output"] = str(output.resolve())
        self._write("job.json", self.about)
        with suppress(OSError):
            # This file would be the summary of an earlier run.
            (self.path / "summary.json").unlink()

    def output(self) -> Path | None:
        """Return the output file of the last run, if any."""
        named = self.about.get("output")
        if not named:
            command = self.about.get("command") or {}
            named = command.get("output")
        if named is None:
            return None
        return Path(named).resolve()

    def check_output_is_free(self, output: Path) -> None:
        """Check that no other job, beside the output or in this folder, writes the same file.

        Otherwise a job could report that its answers are in a file that has another job's.

        Raises: `JobBusy`.
        """
        beside = {
            path.parent for path in (output.resolve(), output.absolute(), self.path.absolute())
        }
        for folder in sorted(beside):
            if not folder.is_dir():
                continue
            others, _ = jobs_below(folder)
            for other in others:
                is_other = other.path.resolve() != self.path.resolve()
                if is_other and other.output() == output.resolve():
                    raise JobBusy(
                        f"`{output}` is the output of the job in `{other.path}`. Name another output, or delete that "
                        "folder when its answers are not needed any more."
                    )

    def note(self, **facts: Any) -> None:
        """Store more facts about the job in `job.json`."""
        self.about |= facts
        self._write("job.json", self.about)

    def summary(self) -> JSON:
        """Return the summary of the last run; {} if there is none, as after a kill."""
        return self._read("summary.json") or {}

    def end(self, summary: JSON) -> None:
        """Write the summary of the run."""
        self._write("summary.json", {**summary, "ended": _now()})

    def state(self) -> str:
        """Return the state of the job: "running", "not begun", or that of its summary, such as "complete"."""
        path = self.path / "lock"
        try:
            access = os.O_RDONLY
            if os.access(path, os.W_OK):
                access = os.O_RDWR
            lock = os.open(path, access)
        except OSError:
            return "not begun"
        try:
            if not lock_file(lock):
                return "running"
        finally:
            os.close(lock)
        return str(self.summary().get("state", "interrupted"))

    def _about(self) -> JSON:
        about = self._read("job.json")
        if about is None:
            return {}
        version = about.get("version", _VERSION)
        if version != _VERSION:
            raise InvalidArgument(
                f"`{self.path}` is a job of another modelwire: its format is {version}, and this one knows {_VERSION}."
            )
        if not {"id", "begun", "fingerprint"} <= about.keys():
            raise InvalidArgument(
                f"`{self.path / 'job.json'}` is not a job's file: it lacks `id`, `begun` or `fingerprint`."
            )
        return about

    def _read(self, name: str) -> JSON | None:
        """Return the content of a file of the folder, or None if there is no such file."""
        place = self.path / name
        try:
            found: JSON = json.loads(place.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            raise DiskError.of(exc, place) from exc
        except (ValueError, RecursionError) as exc:
            # The file is not valid JSON, or its JSON is nested too deeply.
            raise InvalidArgument(f"`{place}` is not a job's file: {exc}.") from exc
        if not isinstance(found, dict):
            raise InvalidArgument(f"`{place}` is not a job's file: it holds no JSON object.")
        return found

    def _write(self, name: str, data: JSON) -> None:
        text = json.dumps(data, indent=2)
        write_whole(self.path / name, f"{text}\n".encode())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def jobs_below(folder: Path) -> tuple[list[JobFolder], list[str]]:
    """Return the jobs in a folder, oldest first, and the problems of those that cannot be read.

    A job's folder may have any name. An invalid `job.json` is reported only if the folder is named
    like a job's.
    """
    if not folder.is_dir():
        raise InvalidArgument(f"There is no folder `{folder}`.")
    jobs: list[JobFolder] = []
    unreadable: list[str] = []
    for path in sorted(folder.glob("*/job.json")):
        try:
            jobs.append(JobFolder(path.parent))
        except (InvalidArgument, DiskError) as exc:
            if path.parent.suffix == _SUFFIX:
                unreadable.append(str(exc))
    return sorted(jobs, key=lambda job: str(job.about["begun"])), unreadable


def find_job(name: str, folder: Path) -> JobFolder:
    """Return a job by its id, or by its folder's path. Raises: `InvalidArgument`."""
    for path in (Path(name), Path(f"{name}{_SUFFIX}")):
        job = JobFolder(path)
        if job.about:
            return job
    jobs, unreadable = jobs_below(folder)
    for job in jobs:
        if job.id == name:
            return job
    text = f"There is no job `{name}` in `{folder}`"
    if Path(name).is_dir():
        text = f"`{name}` is not a job's folder: it has no `job.json`"
    hint = "`modelwire jobs list` shows the jobs there are."
    raise InvalidArgument(" ".join([f"{text}. {hint}", *unreadable]))
