"""Turns rows into requests, and requests into the files of parts, each within the provider's limits for one batch.

`rows.jsonl` in the job's folder has a line for each row: its values, so that it can be called
directly or written beside its answer, and the error of a row that could not become a request.
Memory does not grow with the rows.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import urlsplit
from zlib import crc32

from pydantic_core import from_json

from modelwire.errors import DiskError, InvalidArgument, MissingDependency, MissingKey
from modelwire.jobs.batch_api.azure import deployment_of
from modelwire.jobs.owned_files import owned
from modelwire.jobs.row_records import Digests, digest_of, json_of
from modelwire.jobs.rows import Row
from modelwire.jobs.sources import open_source
from modelwire.jobs.tagged_values import tagged, untagged
from modelwire.jobs.work import failure_text
from modelwire.messages import BaseMessage, messages_from_dict, messages_to_dict

if TYPE_CHECKING:
    from modelwire.jobs.batch_api.api import BatchApi
    from modelwire.jobs.batch_api.chain import Split
    from modelwire.jobs.batch_api.part_log import Part
    from modelwire.jobs.batch_api.results import LiveAnswers

__all__ = [
    "Limits",
    "PartFiles",
    "Plan",
    "RowsAt",
    "custom_id_of",
    "input_of",
    "number_of",
    "plan_rows",
    "read_rows",
    "stored",
]

ROWS_NAME = "rows.jsonl"
# A part is filled to this share of the provider's limit in bytes.
BYTES_SHARE = 0.95
# The steps before the model run on this many rows at a time.
PREPARED = 64


class Limits(NamedTuple):
    """The largest size of a part."""

    rows: int
    size_bytes: int

    @classmethod
    def of(cls, api: BatchApi, rows: int | None, size_bytes: int | None) -> Limits:
        """Return the provider's limits, or lower ones that the user has set."""
        most = int(api.max_bytes * BYTES_SHARE)
        return cls(min(rows or api.max_rows, api.max_rows), min(size_bytes or most, most))


def custom_id_of(job: str, number: int, body_json: bytes) -> str:
    """Return a row's name for the provider.

    Its result repeats the name, which identifies the row and its request.
    """
    return f"{job[:6]}-{number}-{crc32(body_json):08x}"


def number_of(custom_id: str, job: str) -> tuple[int, int] | None:
    """Return a row's number and the CRC-32 of its request; None for a name that is not this job's."""
    pieces = custom_id.split("-")
    if len(pieces) != 3 or pieces[0] != job[:6] or not pieces[1].isdecimal():
        return None
    try:
        return int(pieces[1]), int(pieces[2], 16)
    except ValueError:
        return None


class PartFiles:
    """Writes requests into the files of parts, from part number `first` on, and closes each file when it is full."""

    def __init__(
        self,
        folder: Path,
        api: BatchApi,
        limits: Limits,
        first: int,
        *,
        round: int = 1,
        again: bool = False,
    ):
        self._folder, self._api, self._limits = folder, api, limits
        self._first, self._round, self._again = first, round, again
        # These are the facts of each part for the event `planned`.
        self._written: list[dict[str, Any]] = []
        # This is the open file of the part that is not full yet, if any.
        self._file: Any = None
        self._digest: Any = None
        self._rows = self._bytes = 0
        folder.mkdir(mode=0o700, exist_ok=True)

    def fits(self, line: bytes) -> bool:
        """Return whether a request fits into a part on its own."""
        return len(self._api.head) + len(line) + len(self._api.tail) <= self._limits.size_bytes

    def add(self, line: bytes) -> None:
        """Add a request."""
        more = len(self._api.between) + len(line) + len(self._api.tail)
        if self._file is not None and (
            self._rows >= self._limits.rows or self._bytes + more > self._limits.size_bytes
        ):
            self._finish()
        if self._file is None:
            path = part_path(self._folder, self._first + len(self._written))
            self._file = open(path, "wb", opener=owned)  # noqa: SIM115 - open until its part is full
            self._digest, self._rows, self._bytes = sha256(), 0, 0
            self._put(self._api.head)
        else:
            self._put(self._api.between)
        self._put(line)
        self._rows += 1

    def close(self) -> list[dict[str, Any]]:
        """Finish the last part; return the facts of all parts for the event `planned`."""
        if self._file is not None:
            self._finish()
        return self._written

    def close_unfinished(self) -> None:
        """Close the file of an unfinished part, if there is one.

        No event names that part, so it does not exist.
        """
        if self._file is not None:
            self._file.close()
            self._file = None

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._bytes += len(data)

    def _finish(self) -> None:
        self._put(self._api.tail)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        about = {"rows": self._rows, "size_bytes": self._bytes, "sha256": self._digest.hexdigest()}
        self._written.append({**about, "round": self._round, "again": self._again})


def part_path(folder: Path, number: int) -> Path:
    """Return the path of a part's requests in the folder of parts."""
    return folder / f"{number:03}.req.jsonl"


def stored(folder: Path, part: Part, api: BatchApi) -> Iterator[tuple[str, bytes]]:
    """Yield the stored requests of a part, each with its name."""
    path = part_path(folder, part.number)
    try:
        with path.open("rb") as file:
            for line in file:
                line = line.rstrip(b",\n")
                if line.startswith(api.start):
                    yield line[len(api.start) : line.index(b'"', len(api.start))].decode(), line
    except OSError as exc:
        raise DiskError.of(exc, path) from exc


class Rows(Protocol):
    """An iterable of rows that can be read once, and that the caller must close."""

    def __iter__(self) -> Iterator[Row]: ...
    def close(self) -> None: ...


def read_rows(inputs: Any, encoding: str = "utf-8") -> tuple[Rows, dict[str, Any]]:
    """Return the rows of a file, a data frame or an iterable, and a fingerprint of that input."""
    if isinstance(inputs, (str, os.PathLike)) or any(
        hasattr(inputs, n) for n in ("to_batches", "itertuples", "iter_rows")
    ):
        source = open_source(inputs, encoding=encoding)
        return source, source.fingerprint()
    if isinstance(inputs, (bytes, Mapping)) or not isinstance(inputs, Iterable):
        raise InvalidArgument(
            f"A batch needs an iterable of inputs or a file of them, not a `{type(inputs).__name__}`."
        )
    return (Row(number, number + 1, value) for number, value in enumerate(inputs)), {}


def row_record(row: Row, key: str | None) -> dict[str, Any]:
    """Return a row as a record: messages as dicts, and other values so that `input_of` restores them exactly."""
    record: dict[str, Any] = {"line": row.line}
    value = row.values
    if hasattr(value, "to_messages"):
        value = value.to_messages()
    if isinstance(value, BaseMessage):
        value = [value]
    if (
        isinstance(value, (list, tuple))
        and value
        and all(isinstance(one, BaseMessage) for one in value)
    ):
        record["messages"] = messages_to_dict(value)
    else:
        record["value"] = tagged(value)
    if key is not None and isinstance(value, dict):
        record["key"] = value.get(key)
    if row.problem is not None:
        record["error"] = f"Line {row.line}: {row.problem}"
    return record


def written(row: Row, key: str | None) -> tuple[dict[str, Any], bytes]:
    """Return a row's record and its line in `rows.jsonl`.

    A row that cannot be serialised gets an error instead.
    """
    record = row_record(row, key)
    try:
        return record, json_of(record)
    except (ValueError, UnicodeError) as exc:  # One cause is a lone surrogate, half of a character.
        record = {
            "line": row.line,
            "error": f"Line {row.line}: The row cannot be written as JSON: {exc}",
        }
        return record, json_of(record)


def input_of(record: Mapping[str, Any]) -> Any:
    """Return the row that a record was made of."""
    if "messages" in record:
        return messages_from_dict(record["messages"])
    return untagged(record.get("value"))


class Plan(NamedTuple):
    """The result of planning: the facts of the event `planned`."""

    parts: list[dict[str, Any]]
    rows: int
    same: int  # This many rows have the same request as an earlier row.
    rows_sha256: str
    headers: dict[str, str]
    endpoint: str


class Requests:
    """Makes and stores the request of each row, and detects requests that are equal to an earlier one."""

    def __init__(
        self,
        split: Split,
        files: PartFiles,
        api: BatchApi,
        job: str,
        live: LiveAnswers,
        *,
        dedupe: bool,
    ) -> None:
        self._split, self._files, self._api, self._job, self._live = split, files, api, job, live
        self._asked_before = Digests() if dedupe else None
        self._deployment = deployment_of(split.model)
        # `cached` counts rows that the cache answers, `same` rows whose request equals that of an
        # earlier row.
        self.cached = self.same = 0
        self.headers: dict[str, str] = {}
        self.path = ""
        # This is the first error with which a row has failed.
        self.first: Exception | None = None

    def line(self, number: int, record: dict[str, Any], prepared: Any) -> bytes:
        """Store the request of a row, and return the row's line for `rows.jsonl`."""
        try:
            if isinstance(prepared, Exception):
                raise prepared
            return self._request_line(number, record, prepared)
        except Exception as exc:  # A step of the user may raise anything; only this row fails.
            if isinstance(exc, (MissingKey, MissingDependency, DiskError)):
                # These errors would fail every row.
                raise
            self.first = self.first or exc
            return json_of({**record, "error": failure_text(exc)})

    def _request_line(self, number: int, record: dict[str, Any], prepared: Any) -> bytes:
        messages = self._split.messages(prepared)
        if (answer := self._split.cached(messages)) is not None:
            self._live.add(number, answer)
            self.cached += 1
            return json_of(record)
        request = self._split.request(messages)
        self.path = _path_of(request.url)
        self.headers |= {n: v for n, v in request.headers.items() if n.lower() == "anthropic-beta"}
        if self._deployment is None:
            payload = request.body
        else:
            payload = {**request.body, "model": self._deployment}
        body = json_of(payload)
        request_line = self._api.row(custom_id_of(self._job, number, body), payload, self.path)
        if not self._files.fits(request_line):
            raise InvalidArgument(
                f"The request has {len(request_line):,} bytes, more than a batch may have."
            )
        if self._asked_before is not None:
            first_of = self._asked_before.find(digest_of(body))
            if first_of is not None:
                self.same += 1
                return json_of({**record, "same": first_of})
            self._asked_before.add(digest_of(body), number)
        self._files.add(request_line)
        return json_of(record)


def plan_rows(
    split: Split,
    rows: Iterable[Row],
    folder: Path,
    files: PartFiles,
    api: BatchApi,
    job: str,
    live: LiveAnswers,
    *,
    key: str | None,
    limit: int | None,
    dedupe: bool,
) -> Plan:
    """Store every row in `rows.jsonl`, and the requests of valid rows in the files of parts."""
    digest, count = sha256(), 0
    requests = Requests(split, files, api, job, live, dedupe=dedupe)
    with open(folder / ROWS_NAME, "wb", opener=owned) as out:
        for row, prepared in prepared_rows(split, islice(rows, limit)):
            record, line = written(row, key)
            digest.update(line)
            out.write(
                (line if "error" in record else requests.line(count, record, prepared)) + b"\n"
            )
            count += 1
        out.flush()
    if not count:
        raise InvalidArgument("There are no rows to ask about.")
    parts = files.close()
    if not parts and not requests.cached and requests.first is not None:
        # No row became a request, so the cause is not in the rows.
        raise requests.first
    endpoint = f"/v1{requests.path}"
    return Plan(parts, count, requests.same, digest.hexdigest(), requests.headers, endpoint)


def _path_of(url: str) -> str:
    """Return the path of a URL after the version, such as `/chat/completions`."""
    path = urlsplit(url).path
    return next(
        (
            known
            for known in ("/chat/completions", "/responses", "/messages", "/embeddings")
            if path.endswith(known)
        ),
        path,
    )


def _is_readable(row: Row) -> bool:
    return row.problem is None


def prepared_rows(
    split: Split, rows: Iterable[Row], wanted: Callable[[Row], bool] = _is_readable
) -> Iterator[tuple[Row, Any]]:
    """Yield the wanted rows with the output of the steps before the model, or with the exception that they raised."""
    rows, work = iter(rows), split.work
    while chunk := list(islice(rows, PREPARED)):
        if split.before is None:
            yield from ((row, row.values) for row in chunk)
            continue
        good = [row for row in chunk if wanted(row)]
        made = split.before.batch(
            [work.filled(row.values) for row in good], split.config, return_exceptions=True
        )
        outputs = dict(zip((row.number for row in good), made, strict=True))
        yield from ((row, outputs.get(row.number)) for row in chunk)


def rows_digest(rows: Iterable[Row], key: str | None, limit: int | None) -> str:
    """Return the digest of these rows that `Plan.rows_sha256` would have."""
    digest = sha256()
    for row in islice(rows, limit):
        digest.update(written(row, key)[1])
    return digest.hexdigest()


def stored_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the record of every row, in the order of the input."""
    path = folder / ROWS_NAME
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield _record_of(line, path, number)
    except OSError as exc:
        raise DiskError.of(exc, path) from exc


def _record_of(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        record: Any = from_json(line)
    except ValueError as exc:
        text = f"`{path}` is damaged: line {number} is not valid JSON."
        raise DiskError(text, path=str(path)) from exc
    if not isinstance(record, dict) or "line" not in record:
        text = f"`{path}` is damaged: line {number} is not the record of a row."
        raise DiskError(text, path=str(path))
    return record


class RowsAt:
    """The records of rows by number. It takes 8 bytes of memory a row."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ROWS_NAME
        self._offsets = array("Q")
        offset = 0
        try:
            with self._path.open("rb") as file:
                for line in file:
                    self._offsets.append(offset)
                    offset += len(line)
        except OSError as exc:
            raise DiskError.of(exc, self._path) from exc

    def __getitem__(self, number: int) -> dict[str, Any]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offsets[number])
                line = file.readline()
        except OSError as exc:
            raise DiskError.of(exc, self._path) from exc
        return _record_of(line, self._path, number + 1)


def refile(
    folder: Path,
    parts: Iterable[Part],
    files: PartFiles,
    api: BatchApi,
    wanted: Callable[[Part, int, str], bool],
) -> list[dict[str, Any]]:
    """Put the wanted requests of `parts` into new parts.

    `wanted` takes the part, the line's number and the row's name.
    """
    for part in parts:
        for number, (name, line) in enumerate(stored(folder, part, api), 1):
            if wanted(part, number, name):
                files.add(line)
    return files.close()
