"""An append-only file of checked lines: what was synced before a crash is read after it, and nothing else is.

A line is the CRC-32 of its payload in eight hex digits, a space, the payload, a line feed. A crash may leave a torn
end; it is cut off when the log is opened. A damaged line in the middle is left where it is and skipped.
The payload is bytes without a line feed, such as one JSON value. No clock and no event loop here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from zlib import crc32

from modelwire.errors import DiskError

__all__ = ["AppendLog", "frame", "owned", "payload_of", "sync_folder", "write_whole"]

CRC_BYTES = 9  # eight digits and the space
PART_BYTES = 8192  # read at a time of a line whose length nobody knows
_fdatasync = getattr(os, "fdatasync", os.fsync)  # macOS has only the one


def frame(payload: bytes) -> bytes:
    """Return the line that holds `payload`."""
    return b"%08x %b\n" % (crc32(payload), payload)


def payload_of(line: bytes) -> bytes | None:
    """Return what a line holds, None for one that is torn or damaged."""
    payload = line[CRC_BYTES:-1]
    return payload if line == frame(payload) else None


class AppendLog:
    """One open log. Raises `DiskError` where the disk fails; what was synced before stays as it is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = 0  # lines skipped so far
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        try:
            self._fd = os.open(path, flags, 0o600)
            self.size_bytes = os.fstat(self._fd).st_size
            sync_folder(path.parent)
        except OSError as exc:
            raise DiskError.of(exc, path) from exc
        self.taken_bytes = self.size_bytes  # with what has been given to `place` and is not written yet

    def recover(self) -> Iterator[tuple[int, bytes]]:
        """Read the log from its start: yield the offset and the payload of each whole line, then cut the torn end."""
        offset = whole = 0
        skipped = 0
        try:
            with open(os.dup(self._fd), "rb") as file:
                file.seek(0)
                for line in file:
                    payload = payload_of(line)
                    if payload is None:
                        skipped += 1
                    else:
                        self.damaged += skipped
                        skipped = 0
                        yield offset, payload
                        whole = offset + len(line)
                    offset += len(line)
            if whole < self.size_bytes:
                os.ftruncate(self._fd, whole)
                _fdatasync(self._fd)
        except OSError as exc:
            raise DiskError.of(exc, self.path) from exc
        self.size_bytes = self.taken_bytes = whole

    def place(self, payload: bytes) -> tuple[int, bytes]:
        """Return where the next line will stand, and the line, to be handed to `write` in this order."""
        line = frame(payload)
        offset = self.taken_bytes
        self.taken_bytes += len(line)
        return offset, line

    def write(self, lines: Sequence[bytes]) -> None:
        """Write and sync placed lines: when this returns they survive. After a failure none of them is there."""
        data = memoryview(b"".join(lines))
        try:
            rest = data
            while rest:
                rest = rest[os.write(self._fd, rest) :]
            _fdatasync(self._fd)
        except OSError as exc:
            self._cut_back()
            raise DiskError.of(exc, self.path) from exc
        self.size_bytes += len(data)

    def _cut_back(self) -> None:
        try:
            os.ftruncate(self._fd, self.size_bytes)
        except OSError:  # the torn end is cut off when the log is opened again
            pass
        self.taken_bytes = self.size_bytes

    def read(self, offset: int) -> bytes:
        """Return the payload of the line at `offset`. Raises `DiskError` when it is damaged."""
        line = bytearray()
        end = -1
        try:
            os.lseek(self._fd, offset, os.SEEK_SET)
            while end < 0 and (part := os.read(self._fd, PART_BYTES)):
                end = part.find(b"\n")
                line += part if end < 0 else part[: end + 1]
        except OSError as exc:
            raise DiskError.of(exc, self.path) from exc
        payload = payload_of(bytes(line))
        if payload is None:
            raise DiskError(f"The line at byte {offset} of `{self.path}` is damaged.", path=str(self.path))
        return payload

    def close(self) -> None:
        """Close the file; nothing is held back, so nothing is written."""
        os.close(self._fd)


def sync_folder(folder: Path) -> None:
    """Make sure that the names in `folder` survive a crash; some systems cannot be asked to."""
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
    """Open a file for `open(opener=...)`; a new one is its owner's alone."""
    return os.open(path, flags, 0o600)


def write_whole(path: Path, data: bytes) -> None:
    """Put a small file in its place all at once, readable by its owner only."""
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
