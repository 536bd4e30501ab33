"""Divides the requests of a batch job into parts, each within the provider's limits for one batch, and stores them.

A request is stored as the bytes that are sent, so that a row is submitted again with the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from modelwire.aliases import JSON
from modelwire.errors import DiskError
from modelwire.jobs.owned_files import owned
from modelwire.jobs.store import REQUESTS, Entry, JobStore

if TYPE_CHECKING:
    from modelwire.jobs.batch_api.api import BatchApi
    from modelwire.jobs.batch_api.part_log import Part

# A part has at most this share of the bytes that the provider allows.
_BYTES_SHARE = 0.95


class Limits(NamedTuple):
    """The most rows and the most bytes of a part."""

    rows: int
    size_bytes: int

    @classmethod
    def of(cls, api: BatchApi, rows: int | None, size_bytes: int | None) -> Limits:
        """Return the provider's limits, or lower ones that the user has set."""
        most_rows = api.max_rows
        if rows:
            most_rows = min(rows, most_rows)
        most_bytes = int(api.max_bytes * _BYTES_SHARE)
        if size_bytes:
            most_bytes = min(size_bytes, most_bytes)
        return cls(most_rows, most_bytes)


def custom_id_of(job: str, number: int, body_json: bytes) -> str:
    """Return the name of a row in its request. The provider's result repeats it and so shows the row and request."""
    return f"{job[:6]}-{number}-{crc32(body_json):08x}"


def name_of(api: BatchApi, request: bytes) -> str:
    """Return the name of the row in a stored request; see `custom_id_of`."""
    begin = len(api.start)
    return request[begin : request.index(b'"', begin)].decode()


class PartRequests:
    """Stores requests in new parts, which follow `parts`, and starts another part when one is full.

    All calls must be in one transaction of the store.
    """

    def __init__(
        self,
        store: JobStore,
        api: BatchApi,
        limits: Limits,
        parts: Sequence[Part],
        *,
        round: int = 1,
        again: bool = False,
    ) -> None:
        self._store = store
        self._api = api
        self._limits = limits
        self._about = {"round": round, "again": again}
        self._next = 1 + max((part.last for part in parts), default=0)
        # If the event of a part was damaged, its requests may still be in the store.
        store.clear(REQUESTS, self._next)
        # The facts of each full part, for the event `planned`.
        self._full: list[JSON] = []
        self._begin()

    def _begin(self) -> None:
        """Start an empty part."""
        self._rows = 0
        self._bytes = len(self._api.head)
        self._digest = sha256(self._api.head)

    def fits(self, request: bytes) -> bool:
        """Return whether a request is small enough for a part that has no other."""
        alone = len(self._api.head) + len(request) + len(self._api.tail)
        return alone <= self._limits.size_bytes

    def add(self, row: int, request: bytes) -> None:
        """Store the request of a row as the next one."""
        if self._rows:
            more = len(self._api.between) + len(request) + len(self._api.tail)
            has_all_rows = self._rows >= self._limits.rows
            is_too_large = self._bytes + more > self._limits.size_bytes
            if has_all_rows or is_too_large:
                self._finish()
        if self._rows:
            self._count(self._api.between)
        self._count(request)
        entry = Entry.of("request", request, row, self._next)
        self._store.append(REQUESTS, [entry])
        self._rows += 1
        self._next += 1

    def close(self) -> list[JSON]:
        """Finish the last part; return the facts of all parts for the event `planned`."""
        if self._rows:
            self._finish()
        return self._full

    def _count(self, data: bytes) -> None:
        self._digest.update(data)
        self._bytes += len(data)

    def _finish(self) -> None:
        self._count(self._api.tail)
        about: JSON = {
            "rows": self._rows,
            "size_bytes": self._bytes,
            "sha256": self._digest.hexdigest(),
            "first": self._next - self._rows,
            **self._about,
        }
        self._full.append(about)
        self._begin()


def requests_of(store: JobStore, part: Part) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the request of each row of a part. Raises: `DiskError` for a damaged one."""
    count = 0
    for entry in store.entries(REQUESTS, part.first, part.last):
        if entry.is_damaged or entry.number is None:
            break
        count += 1
        yield entry.number, entry.record
    if count != part.rows:
        raise damaged(store, part)


def damaged(store: JobStore, part: Part) -> DiskError:
    """Return the error for requests that differ from those that were planned."""
    return DiskError(
        f"`{store.path}` is damaged: the requests of part {part.number} are not those that were written. Put a copy "
        "of it back.",
        path=str(store.path),
    )


def write_requests(store: JobStore, part: Part, api: BatchApi, path: Path) -> None:
    """Write the requests of a part into the file at `path`, as they are sent.

    Raises: `DiskError` if they have changed since they were stored.
    """
    digest = sha256()
    before = api.head
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with open(path, "wb", opener=owned) as file:
        for _, request in requests_of(store, part):
            for data in (before, request):
                digest.update(data)
                file.write(data)
            before = api.between
        digest.update(api.tail)
        file.write(api.tail)
    if digest.hexdigest() != part.sha256:
        raise damaged(store, part)
