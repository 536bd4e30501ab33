from __future__ import annotations

import errno
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire.errors import DiskError
from modelwire.jobs.log import AppendLog, frame, payload_of, write_whole

PAYLOADS = [b"{}", b'{"a":1}', b"x" * 10_000, b""]


def written(path: Path, payloads: list[bytes] = PAYLOADS) -> list[int]:
    log = AppendLog(path)
    placed = [log.place(payload) for payload in payloads]
    log.write([line for _, line in placed])
    log.close()
    return [offset for offset, _ in placed]


def recovered(path: Path) -> list[bytes]:
    log = AppendLog(path)
    try:
        return [payload for _, payload in log.recover()]
    finally:
        log.close()


@contextmanager
def file_limit(size_bytes: int) -> Iterator[None]:
    """Have the disk be full as soon as a file reaches this size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@given(st.binary().filter(lambda data: b"\n" not in data))
def test_a_frame_holds_its_payload_and_no_other_line_does(payload: bytes) -> None:
    line = frame(payload)
    assert payload_of(line) == payload
    assert payload_of(line[:-1]) is None
    assert payload_of(bytes([line[0] ^ 1]) + line[1:]) is None


def test_what_was_written_is_recovered_and_read_by_its_offset(tmp_path: Path) -> None:
    offsets = written(tmp_path / "log")
    log = AppendLog(tmp_path / "log")
    assert list(log.recover()) == list(zip(offsets, PAYLOADS, strict=True))
    assert [log.read(offset) for offset in offsets] == PAYLOADS
    with pytest.raises(DiskError, match="damaged"):
        log.read(offsets[1] + 1)
    log.close()
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600


def test_a_log_cut_at_any_byte_keeps_every_whole_line_and_goes_on(tmp_path: Path) -> None:
    payloads = [b'{"n":%d}' % n for n in range(5)]
    path = tmp_path / "log"
    offsets = [*written(path, payloads), path.stat().st_size]
    whole = path.read_bytes()
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        kept = payloads[: sum(end <= size for end in offsets[1:])]
        assert recovered(path) == kept
        written(path, [b"more"])
        assert recovered(path) == [*kept, b"more"]


def test_a_tail_of_zeros_is_cut_off_and_a_damaged_middle_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "log"
    offsets = written(path)
    data = bytearray(path.read_bytes())
    data[offsets[1] + 12] ^= 0xFF
    path.write_bytes(bytes(data) + b"\0" * 4096 + b"\n" + b"\0" * 10)
    log = AppendLog(path)
    assert [payload for _, payload in log.recover()] == [PAYLOADS[0], *PAYLOADS[2:]]
    assert log.damaged == 1
    log.close()
    assert path.stat().st_size == len(data)


def test_a_full_disk_names_the_file_and_leaves_what_was_synced(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = AppendLog(path)
    _, first = log.place(b"kept")
    log.write([first])
    with file_limit(len(first) + 20), pytest.raises(DiskError, match="too large") as caught:
        log.write([log.place(b"x" * 100)[1]])
    assert caught.value.path == str(path)
    assert isinstance(caught.value, OSError)
    offset, line = log.place(b"there is room again")
    log.write([line])
    assert log.read(offset) == b"there is room again"
    log.close()
    assert recovered(path) == [b"kept", b"there is room again"]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_failing_disk_is_a_disk_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    log = AppendLog(tmp_path / "log")

    def failing(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", failing)
        with pytest.raises(DiskError, match=os.strerror(code)):
            log.write([log.place(b"lost")[1]])
    log.close()
    assert recovered(tmp_path / "log") == []
    with pytest.raises(DiskError):
        AppendLog(tmp_path / "no folder" / "log")


def test_a_small_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    write_whole(path, b"first")
    with file_limit(3), pytest.raises(DiskError):
        write_whole(path, b"second")
    assert path.read_bytes() == b"first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["job.json"]
