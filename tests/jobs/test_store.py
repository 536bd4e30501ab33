from __future__ import annotations

import errno
import json
import os
import sqlite3
import stat
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest
from support.full_disk import file_limit

from modelwire.errors import DiskError, InvalidArgument
from modelwire.jobs.folder import JobFolder
from modelwire.jobs.owned_files import write_whole
from modelwire.jobs.store import STORE_NAME, Entry, JobStore

PAYLOADS = [b"{}", b'{"a":1}', b'"%b"' % (b"x" * 10_000), b'{"n":NaN}']


def written(folder: Path, payloads: list[bytes] = PAYLOADS, table: str = "rows") -> Path:
    with closing(JobStore(folder)) as store:
        store.append(
            table,
            [Entry.of("answered", payload, number) for number, payload in enumerate(payloads)],
        )
    return folder / STORE_NAME


def stored(folder: Path, table: str = "rows", *, read_only: bool = True) -> list[bytes]:
    with closing(JobStore(folder, read_only=read_only)) as store:
        return [entry.record for entry in store.entries(table) if not entry.is_damaged]


def test_what_was_appended_is_read_in_its_order_and_by_its_id(tmp_path: Path) -> None:
    path = written(tmp_path)
    with closing(JobStore(tmp_path)) as store:
        entries = list(store.entries("rows"))
        assert [entry.record for entry in entries] == PAYLOADS
        assert [store.read("rows", entry.id or 0) for entry in entries] == PAYLOADS
        assert store.next_id("rows") == len(PAYLOADS) + 1
        with pytest.raises(DiskError, match="damaged"):
            store.read("rows", 99)
        assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_any_sqlite_tool_reads_a_store(tmp_path: Path) -> None:
    path = written(tmp_path, [b'{"answer":"yes"}', b'{"answer":"no"}'])
    with closing(sqlite3.connect(path)) as tool:
        found = tool.execute(
            "SELECT number, kind, json_extract(record, '$.answer') FROM rows"
        ).fetchall()
    assert found == [(0, "answered", "yes"), (1, "answered", "no")]


def test_a_store_cut_at_any_byte_is_read_as_it_was_or_said_to_be_damaged(tmp_path: Path) -> None:
    payloads = [b'{"n":%d,"text":"%b"}' % (n, b"y" * 300) for n in range(60)]
    whole = written(tmp_path, payloads).read_bytes()
    noticed = 0
    for size in [*range(0, len(whole), 509), *range(len(whole) - 300, len(whole))]:
        (tmp_path / STORE_NAME).write_bytes(whole[:size])
        found: list[bytes] = []
        with suppress(DiskError):
            found = stored(tmp_path, read_only=False)
        assert [payload for payload in payloads if payload in found] == found  # and nothing else
        noticed += found != payloads
    assert noticed > len(whole) // 509
    (tmp_path / STORE_NAME).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DiskError, match=r"job\.sqlite` is damaged: .* Put a copy of it back"):
        stored(tmp_path, read_only=False)


def test_a_flipped_bit_costs_its_record_only(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'{"a":1}', b'{"a":3}'))
    assert stored(tmp_path) == [PAYLOADS[0], *PAYLOADS[2:]]
    with closing(JobStore(tmp_path)) as store, pytest.raises(DiskError, match="damaged"):
        store.read("rows", 2)


def test_a_group_that_was_not_committed_is_not_there(tmp_path: Path) -> None:
    """A crash leaves a torn end of the write-ahead log: SQLite's own checksums find it."""
    written(tmp_path, [b"1"])
    with closing(JobStore(tmp_path)) as store:
        store.append("rows", [Entry.of("answered", b"2")])
        store.append("rows", [Entry.of("answered", b"3"), Entry.of("answered", b"4")])
        files = {
            path.name: path.read_bytes()
            for path in tmp_path.iterdir()
            if not path.name.endswith("-shm")
        }
    other = tmp_path / "killed"
    for cut, kept in ((0, [b"1", b"2", b"3", b"4"]), (7, [b"1", b"2"])):
        other.mkdir(exist_ok=True)
        for name, data in files.items():
            (other / name).write_bytes(data[: len(data) - cut] if name.endswith("-wal") else data)
        assert stored(other, read_only=False) == kept


def test_one_thread_reads_while_another_one_appends(tmp_path: Path) -> None:
    store = JobStore(tmp_path)

    def append() -> None:
        for number in range(100):
            store.append("rows", [Entry.of("answered", b"%d" % number, number)])

    thread = threading.Thread(target=append)
    thread.start()
    seen = []
    while thread.is_alive():
        seen.append(len(list(store.entries("rows"))))
    thread.join()
    assert seen == sorted(seen) and len(list(store.entries("rows"))) == 100
    store.close()


def test_a_full_disk_names_the_file_and_leaves_what_was_synced(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    store.append("rows", [Entry.of("answered", b"1")])
    with file_limit(60_000), pytest.raises(DiskError) as caught:
        store.append("rows", [Entry.of("answered", b'"%b"' % (b"x" * 100_000))])
    assert caught.value.path == str(tmp_path / STORE_NAME)
    assert isinstance(caught.value, OSError)
    store.append("rows", [Entry.of("answered", b"2")])
    store.close()
    assert stored(tmp_path) == [b"1", b"2"]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (sqlite3.SQLITE_FULL, os.strerror(errno.ENOSPC)),
        (sqlite3.SQLITE_IOERR, "disk I/O error"),
        (sqlite3.SQLITE_READONLY, "read"),
    ],
)
def test_a_failing_disk_is_a_disk_error(tmp_path: Path, code: int, text: str) -> None:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    store = JobStore(tmp_path)
    assert text in str(store._disk_error(error))
    store.close()
    with pytest.raises(DiskError):
        JobStore(tmp_path / "no folder")


def test_a_small_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    write_whole(path, b"first")
    with file_limit(3), pytest.raises(DiskError):
        write_whole(path, b"second")
    assert path.read_bytes() == b"first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["job.json"]


def test_a_folder_of_another_format_is_refused_with_a_sentence(tmp_path: Path) -> None:
    about = {"version": 1, "id": "aa", "begun": "then", "fingerprint": {}}
    (tmp_path / "job.json").write_text(json.dumps(about))
    (tmp_path / "log").write_bytes(b"0123abcd {}\n")
    with pytest.raises(InvalidArgument, match="its format is 1, and this one knows 2"):
        JobFolder(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"job.json", "log"}
