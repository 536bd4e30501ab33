"""The lock of a job's folder, also where there is no `fcntl`."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from modelwire.errors import JobBusy
from modelwire.jobs.folder import JobFolder
from modelwire.jobs.owned_files import LOCKED_BYTE


class Windows(SimpleNamespace):
    """What `msvcrt.locking` does, as its documentation says: bytes from where the file stands, of this open file."""

    LK_NBLCK = 2

    def __init__(self) -> None:
        super().__init__(places=[])

    def locking(self, fd: int, mode: int, count: int) -> None:
        assert (mode, count) == (self.LK_NBLCK, 1)
        self.places.append(os.lseek(fd, 0, os.SEEK_CUR))
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.fixture(params=["fcntl", "msvcrt"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "msvcrt":
        monkeypatch.setitem(sys.modules, "fcntl", None)
        monkeypatch.setitem(sys.modules, "msvcrt", Windows())
    return str(request.param)


def test_a_folder_is_one_jobs_at_a_time_and_says_whose(system: str, tmp_path: Path) -> None:
    first, second = JobFolder(tmp_path / "a.job"), JobFolder(tmp_path / "a.job")
    first.claim()
    assert second.state() == "running"
    with pytest.raises(JobBusy, match=f"process {os.getpid()} on "):
        second.claim()
    first.release()
    assert second.state() == "interrupted"
    second.claim()
    second.release()
    if system == "msvcrt":  # far behind what others are to read: a locked byte cannot be read there
        assert set(sys.modules["msvcrt"].places) == {LOCKED_BYTE}
