"""The requests of a batch job's parts: rows of the store, each part within the provider's limits for one batch.

A request is stored as the bytes that are sent, so that a row is submitted again with the same ones.
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

# A part is filled to this share of the provider's limit in bytes.
_BYTES_SHARE = 0.95


class Limits(NamedTuple):
    """The largest size of a part."""

    rows: int
    size_bytes: int

    @classmethod
    def of(cls, api: BatchApi, rows: int | None, size_bytes: int | None) -> Limits:
        """Return the provider's limits, or lower ones that the user has set."""
        most = int(api.max_bytes * _BYTES_SHARE)
        return cls(min(rows or api.max_rows, api.max_rows), min(size_bytes or most, most))


def custom_id_of(job: str, number: int, body_json: bytes) -> str:
    """Return a row's name for the provider.

    Its result repeats the name, which identifies the row and its request.
    """
    return f"{job[:6]}-{number}-{crc32(body_json):08x}"


def name_of(api: BatchApi, request: bytes) -> str:
    """Return the name of the row that is in its request."""
    begin = len(api.start)
    return request[begin : request.index(b'"', begin)].decode()


class PartRequests:
    """Stores requests in parts that follow `parts`, and begins another part when one is full.

    All calls belong to one transaction of the store.
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
        # Parts whose event was damaged do not exist, but their requests may.
        store.clear(REQUESTS, self._next)
        # These are the facts of each full part for the event `planned`.
        self._full: list[JSON] = []
        self._begin()

    def _begin(self) -> None:
        self._rows = 0
        self._bytes = len(self._api.head)
        self._digest = sha256(self._api.head)

    def fits(self, request: bytes) -> bool:
        """Return whether a request fits into a part on its own."""
        alone = len(self._api.head) + len(request) + len(self._api.tail)
        return alone <= self._limits.size_bytes

    def add(self, row: int, request: bytes) -> None:
        """Add the request of a row."""
        more = len(self._api.between) + len(request) + len(self._api.tail)
        if self._rows and (
            self._rows >= self._limits.rows or self._bytes + more > self._limits.size_bytes
        ):
            self._finish()
        if self._rows:
            self._count(self._api.between)
        self._count(request)
        self._store.append(REQUESTS, [Entry.of("request", request, row, self._next)])
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
        about = {"rows": self._rows, "size_bytes": self._bytes, "sha256": self._digest.hexdigest()}
        self._full.append({**about, "first": self._next - self._rows, **self._about})
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
    """Write the requests of a part into a file as they are sent.

    Raises: `DiskError` if they were changed since they were planned: only the planned ones may be
    billed.
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
