"""Writes and locks small files of a job: only their owner can read them, and they are replaced atomically."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from modelwire.errors import DiskError, ModelwireError

_log = logging.getLogger(__name__)

# On Windows the lock covers this byte, far after the text that other processes read.
LOCKED_BYTE = 1 << 30
# These are the errors with which a file system refuses any lock (flock(2), fcntl(2)).
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Raise `DiskError` about `path`, or about the file that the system names, instead of an `OSError`."""
    try:
        yield
    except OSError as exc:
        if isinstance(exc, ModelwireError):
            # It is an error such as a lost connection, which is also an `OSError`.
            raise
        raise DiskError.of(exc, exc.filename or path) from exc


def sync_folder(folder: Path) -> None:
    """Sync a folder, so that the names in it survive a crash. Some systems cannot do that."""
    try:
        fd = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(fd)
    except OSError:
        pass
    finally:
        os.close(fd)


def owned(path: str, flags: int) -> int:
    """Open a file for `open(opener=...)`; a new file gets mode 0600."""
    return os.open(path, flags, 0o600)


def lock_file(fd: int) -> bool:
    """Lock an open file and return True, or return False if another process has locked it.

    Closing the file or ending the process releases the lock. On a file system without locks (some
    network mounts) it warns and returns True, since other processes cannot be detected there.
    """
    try:
        fcntl: Any = import_module("fcntl")
    except ImportError:
        return _lock_file_on_windows(fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as exc:
        if exc.errno not in _NO_LOCKS:
            raise
        text = "The file system has no locks (%s): make sure that no other process runs this job."
        _log.warning(text, exc.strerror)
    return True


def _lock_file_on_windows(fd: int) -> bool:
    msvcrt: Any = import_module("msvcrt")
    os.lseek(fd, LOCKED_BYTE, os.SEEK_SET)
    try:
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
    except OSError:
        # Python documents no exception class for a byte that another process has locked.
        return False
    finally:
        os.lseek(fd, 0, os.SEEK_SET)
    return True


def write_whole(path: Path, data: bytes) -> None:
    """Write a small file atomically, readable by its owner only."""
    part = path.with_name(f".{path.name}.part")
    try:
        with open(part, "wb", opener=owned) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as exc:
        part.unlink(missing_ok=True)
        raise DiskError.of(exc, path) from exc
    sync_folder(path.parent)
