"""Makes a request of each row of a batch job, and stores rows and requests.

The table `inputs` of the store has an entry for each row; its id is the row's number plus 1. It has
the values of the row, with which the row can be called directly or written beside its answer, and
the error of a row that could not become a request. Memory does not grow with the rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from pydantic_core import from_json

from modelwire.aliases import JSON, Fields
from modelwire.errors import DiskError, InvalidArgument, MissingDependency, MissingKey
from modelwire.jobs.batch_api.azure import deployment_of
from modelwire.jobs.batch_api.part_requests import custom_id_of
from modelwire.jobs.row_records import Digests, digest_of, json_of
from modelwire.jobs.rows import Row
from modelwire.jobs.sources import open_source
from modelwire.jobs.store import INPUTS, LIVE, Entry, JobStore
from modelwire.jobs.tagged_values import tagged, untagged
from modelwire.jobs.work import failure_text
from modelwire.messages import BaseMessage, message_to_dict, messages_from_dict, messages_to_dict

if TYPE_CHECKING:
    from modelwire.jobs.batch_api.api import BatchApi
    from modelwire.jobs.batch_api.chain import Split
    from modelwire.jobs.batch_api.part_requests import PartRequests

# The steps before the model run on this many rows at a time.
_PREPARED = 64


class Rows(Protocol):
    """An iterable of rows that can be read once, and that the caller must close."""

    def __iter__(self) -> Iterator[Row]: ...
    def close(self) -> None: ...


def read_rows(inputs: Any, encoding: str = "utf-8") -> tuple[Rows, JSON]:
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


def row_record(row: Row, key: str | None) -> JSON:
    """Return the record of a row's input, from which `input_of` restores the values exactly.

    `key` is the column whose value each result repeats, or None.
    """
    record: JSON = {"line": row.line}
    value = row.values
    if hasattr(value, "to_messages"):
        value = value.to_messages()
    if isinstance(value, BaseMessage):
        value = [value]
    is_list = isinstance(value, (list, tuple)) and len(value) > 0
    if is_list and all(isinstance(one, BaseMessage) for one in value):
        record["messages"] = messages_to_dict(value)
    else:
        record["value"] = tagged(value)
    if key is not None and isinstance(value, dict):
        record["key"] = value.get(key)
    if row.problem is not None:
        record["error"] = f"Line {row.line}: {row.problem}"
    return record


def written(row: Row, key: str | None) -> tuple[JSON, bytes]:
    """Return the record of a row's input, and the same as JSON.

    If the values cannot be written as JSON, the record has an error instead of them.
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


def input_of(record: Fields) -> Any:
    """Return the values of the row, or the messages, of which `row_record` has made a record."""
    if "messages" in record:
        return messages_from_dict(record["messages"])
    return untagged(record.get("value"))


class Plan(NamedTuple):
    """What `plan_rows` has stored. Its fields are the facts of the event `planned`."""

    parts: list[JSON]
    rows: int
    same: int  # The number of rows with the same request as an earlier row.
    rows_sha256: str
    headers: dict[str, str]
    endpoint: str


class Requests:
    """Makes and stores the requests of rows, except for rows with a cached answer or the request of another row."""

    def __init__(
        self,
        split: Split,
        parts: PartRequests,
        api: BatchApi,
        job: str,
        store: JobStore,
        *,
        dedupe: bool,
    ) -> None:
        self._split = split
        self._parts = parts
        self._api = api
        self._job = job
        self._store = store
        self._asked_before = None
        if dedupe:
            self._asked_before = Digests()
        self._deployment = deployment_of(split.model)
        # The number of rows that the model's cache has answered.
        self.cached = 0
        # The number of rows with the same request as an earlier row.
        self.same = 0
        # The headers and the path of the requests, besides those of the model.
        self.headers: dict[str, str] = {}
        self.path = ""
        # The first error with which a row has failed.
        self.first: Exception | None = None

    def line(self, number: int, record: JSON, prepared: Any) -> bytes:
        """Store the request of a row, and return the record of its input as JSON, with the row's error if it has one.

        `prepared` is the output of the steps before the model, or the exception that they raised.
        """
        try:
            if isinstance(prepared, Exception):
                raise prepared
            return self._request_line(number, record, prepared)
        except Exception as exc:  # A step of the user may raise anything; only this row fails.
            if isinstance(exc, (MissingKey, MissingDependency, DiskError)):
                # These errors would fail every row.
                raise
            self.first = self.first or exc
            # The row's result is an `InvalidArgument` of this text, which therefore does not begin with that name.
            text = failure_text(exc).removeprefix("InvalidArgument: ")
            return json_of({**record, "error": text})

    def _request_line(self, number: int, record: JSON, prepared: Any) -> bytes:
        messages = self._split.messages(prepared)
        answer = self._split.cached(messages)
        if answer is not None:
            self._store.append(LIVE, [direct_answer(number, answer)])
            self.cached += 1
            return json_of(record)
        request = self._split.request(messages)
        self.path = _path_of(request.url)
        for name, value in request.headers.items():
            if name.lower() == "anthropic-beta":
                self.headers[name] = value
        payload = request.body
        if self._deployment is not None:
            payload = {**payload, "model": self._deployment}
        body = json_of(payload)
        name = custom_id_of(self._job, number, body)
        request_bytes = self._api.row(name, payload, self.path)
        if not self._parts.fits(request_bytes):
            raise InvalidArgument(
                f"The request has {len(request_bytes):,} bytes, more than a batch may have."
            )
        if self._asked_before is not None:
            digest = digest_of(body)
            first_of = self._asked_before.find(digest)
            if first_of is not None:
                self.same += 1
                return json_of({**record, "same": first_of})
            self._asked_before.add(digest, number)
        self._parts.add(number, request_bytes)
        return json_of(record)


def plan_rows(
    split: Split,
    rows: Iterable[Row],
    requests: Requests,
    parts: PartRequests,
    store: JobStore,
    *,
    key: str | None,
) -> Plan:
    """Store every row, and the requests of valid rows in parts. The caller must have begun a transaction."""
    digest = sha256()
    count = 0
    for row, prepared in prepared_rows(split, rows):
        record, line = written(row, key)
        digest.update(line)
        if "error" not in record:
            line = requests.line(count, record, prepared)
        store.append(INPUTS, [input_entry(count, line)])
        count += 1
    if not count:
        raise InvalidArgument("There are no rows to ask about.")
    facts = parts.close()
    if not facts and not requests.cached and requests.first is not None:
        # No row has become a request, so the cause is assumed to be the chain and not the rows.
        raise requests.first
    endpoint = f"/v1{requests.path}"
    return Plan(facts, count, requests.same, digest.hexdigest(), requests.headers, endpoint)


def _path_of(url: str) -> str:
    """Return the path of a URL after the version, such as `/chat/completions`."""
    path = urlsplit(url).path
    for known in ("/chat/completions", "/responses", "/messages", "/embeddings"):
        if path.endswith(known):
            return known
    return path


def _is_readable(row: Row) -> bool:
    return row.problem is None


def prepared_rows(
    split: Split,
    rows: Iterable[Row],
    wanted: Callable[[Row], bool] = _is_readable,
) -> Iterator[tuple[Row, Any]]:
    """Yield each row with the output of the steps before the model, or with the exception that they raised.

    The steps run only for rows that are `wanted`; the output for any other row is None.
    """
    rows = iter(rows)
    work = split.work
    while chunk := list(islice(rows, _PREPARED)):
        if split.before is None:
            for row in chunk:
                yield (row, row.values)
            continue
        good = [row for row in chunk if wanted(row)]
        values = [work.filled(row.values) for row in good]
        made = split.before.batch(values, split.config, return_exceptions=True)
        outputs = {}
        for row, output in zip(good, made, strict=True):
            outputs[row.number] = output
        for row in chunk:
            yield (row, outputs.get(row.number))


def rows_digest(rows: Iterable[Row], key: str | None, limit: int | None) -> str:
    """Return the digest that `Plan.rows_sha256` would have for these rows."""
    digest = sha256()
    for row in islice(rows, limit):
        digest.update(written(row, key)[1])
    return digest.hexdigest()


def limited(fingerprint: JSON, limit: int | None) -> JSON:
    """Return the fingerprint of an input, extended by the `limit` if a job takes only the first rows."""
    if limit is None:
        return fingerprint
    return {**fingerprint, "limit": limit}


def input_entry(number: int, record: bytes) -> Entry:
    """Return the entry of a row for the table `inputs`."""
    return Entry.of("row", record, number, number + 1)


def stored_row(store: JobStore, number: int) -> JSON:
    """Return the record of a row's input. Raises: `DiskError` if it is damaged."""
    record: JSON = from_json(store.read(INPUTS, number + 1))
    return record


def direct_answer(number: int, message: Any, **about: Any) -> Entry:
    """Return the store entry of an answer that did not come through a batch, with further facts.

    The fact `told` is True if callbacks have reported the answer already.
    """
    record = json_of({"n": number, **about, "message": message_to_dict(message)})
    return Entry.of("answered", record, number)
