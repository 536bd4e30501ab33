"""The interface of a provider's Batch API, as a batch job uses it, and code that several providers share.

A part is the requests of a job that one batch of the provider holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pydantic_core import from_json

from modelwire import errors
from modelwire.aliases import JSON, Fields

if TYPE_CHECKING:
    from modelwire.jobs.batch_api.client import BatchClient
    from modelwire.jobs.batch_api.part_log import Part

T = TypeVar("T")

# A list with more pages than this is treated as one that never ends.
MOST_PAGES = 1_000
NO_RESULT = "The row has neither an answer nor an error."
# An id with one of these characters would change the path of a URL.
_DELIMITERS = frozenset("/\\?#% ")


class EndlessList(errors.MalformedResponse):
    """The pages of a provider's list do not end, so the list cannot show that a batch does not exist."""


class Made(NamedTuple):
    """A batch that was created at the provider. `expires_at` is in epoch seconds, 0 if it is unknown.

    It is `guessed` if the provider's data do not show which part it was made of.
    """

    batch_id: str
    expires_at: float
    guessed: bool = False


class Newest(NamedTuple):
    """The latest batch at the provider, if any, and the epoch seconds of its creation by the provider's clock."""

    batch_id: str | None
    made_at: float


class Uploaded(NamedTuple):
    """An uploaded file, and the epoch seconds of its upload by the provider's clock (0 if it is unknown)."""

    file_id: str
    made_at: float


class Look(NamedTuple):
    """The state of a batch, as the provider reports it."""

    ended: bool
    # One of "completed", "expired", "cancelled", "failed"; "" while the batch runs; "cancelling" or
    # "finalizing" while it is about to end.
    outcome: str
    total: int
    # This is how many rows have a result by the provider's count; `failed` is a part of them.
    done: int
    failed: int
    remote: tuple[str, ...] = ()  # These are the addresses of the results.
    # These errors concern the whole batch; each may have `code`, `line` and `message`.
    errors: tuple[Fields, ...] = ()

    @property
    def lacks_results(self) -> bool:
        """Whether the batch has answered rows, which are billed, but does not list its results (yet)."""
        has_answers = self.done > self.failed
        has_results = bool(self.remote) or self.outcome == "failed"
        return self.ended and has_answers and not has_results


class RowReply(NamedTuple):
    """The result of one row, read from a line of the provider's results.

    `status` is the HTTP status, or None if the model was not called for the row.
    """

    custom_id: str
    kind: str  # It is "succeeded", "errored", "expired" or "cancelled".
    status: int | None
    body: Any
    request_id: str | None


def reads_answers(method: Callable[..., T]) -> Callable[..., T]:
    """Decorate a method of a `BatchApi` so that an answer which it cannot read raises `MalformedResponse`.

    That error is retryable.
    """

    @wraps(method)
    def reading(self: BatchApi, batch_client: BatchClient, *args: Any) -> T:
        try:
            return method(self, batch_client, *args)
        except errors.ModelwireError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise errors.MalformedResponse(
                f"An answer of the Batch API cannot be read ({type(exc).__name__}: {exc}).",
                provider=batch_client.codec.provider,
            ) from exc

    return reading


class BatchApi:
    """A Batch API. The defaults fit most providers; a subclass overrides what differs."""

    name: str
    max_rows: int  # A batch takes at most this many rows.
    max_bytes: int
    # The file of a part consists of `head`, its rows with `between` after each but the last, and
    # `tail`.
    head = b""
    between = b"\n"
    tail = b"\n"
    # Every row of the file starts with these bytes, followed by the row's name. Nothing else in the
    # file starts with them.
    start = b'{"custom_id":"'
    # The path of the list of batches; the path of one batch is below it.
    batches: str
    cancel_suffix = "/cancel"

    def __init__(self, *, azure: bool = False) -> None:
        """`azure` selects Azure's variant of OpenAI's API."""
        self.azure = azure

    def row(self, custom_id: str, body: Fields, path: str) -> bytes:
        """Return one request as a line of a part's file."""
        raise NotImplementedError

    def newest(self, batch_client: BatchClient) -> Newest:
        """Return the latest batch, if the provider needs it to recognise a batch that it creates afterwards."""
        return Newest(None, 0.0)

    def takes_file(self, part: Part) -> bool:
        """Return whether the requests of a part are uploaded as a file before its batch is created."""
        return False

    def has_no_batch(self, part: Part) -> bool:
        """Return whether it is certain that the provider has created no batch of a waiting part."""
        if part.possibly_lost:
            return False
        if part.refused or part.stage == "planned":
            return True
        # A provider that takes files creates no batch before the file is uploaded.
        lacks_file = part.file_id is None and self.takes_file(part)
        return part.stage == "intent" and lacks_file

    def upload(
        self,
        batch_client: BatchClient,
        part: Part,
        path: Path,
        job: str,
    ) -> Uploaded | None:
        """Upload the requests of a part, unless they are sent with its batch.

        Files are not billed.
        """
        return None

    def file_path(self, file_id: str) -> str:
        """Return the path of an uploaded file."""
        raise NotImplementedError

    def has_file(self, batch_client: BatchClient, part: Part) -> bool:
        """Return whether the provider still has the uploaded file of a part."""
        try:
            batch_client.get(self.file_path(str(part.file_id)))
        except (errors.NotFound, errors.PermissionDenied):
            # Google's 403 reads "... or it may not exist".
            return False
        return True

    def find(self, batch_client: BatchClient, part: Part, job: str, taken: set[str]) -> list[Made]:
        """Return the batches that were, or may have been, made of this part.

        `taken` are the ids of batches that belong to other parts.
        """
        raise NotImplementedError

    def create(
        self,
        batch_client: BatchClient,
        part: Part,
        path: Path,
        job: str,
        about: Fields,
    ) -> Made:
        """Create the batch of a part from the uploaded file, or from the requests in the file at `path`."""
        raise NotImplementedError

    def look(self, batch_client: BatchClient, batch_id: str) -> Look:
        """Return the state of a batch."""
        raise NotImplementedError

    def fetch(self, batch_client: BatchClient, remote: str, path: Path) -> None:
        """Download results into the file at `path`."""
        batch_client.download(remote, path)

    def cancel(self, batch_client: BatchClient, batch_id: str) -> None:
        """Ask the provider to cancel a batch."""
        batch_client.post(f"{self.batches}/{batch_id}{self.cancel_suffix}", body={})

    def remote_paths(self, part: Part) -> list[str]:
        """Return the paths of all that can be deleted of a part at the provider: files, and an ended batch."""
        paths = [self.file_path(file_id) for file_id in part.old_files]
        if part.file_id:
            paths.append(self.file_path(part.file_id))
        if part.batch_id:
            paths.append(f"{self.batches}/{part.batch_id}")
        return paths

    def delete(self, batch_client: BatchClient, part: Part) -> None:
        """Delete the files and batches of a part at the provider."""
        each_of(self.remote_paths(part), batch_client.delete)

    def read(self, line: bytes) -> RowReply:
        """Return the result in a line of results. Raises `ValueError` for a line that has none."""
        raise NotImplementedError


def without_bom(text: bytes) -> bytes:
    """Return a text without the byte order mark that some programs write at its beginning."""
    return text.removeprefix(b"\xef\xbb\xbf")


def json_object(line: bytes) -> JSON:
    """Return the JSON object in a line of results. Raises `ValueError` for anything else."""
    found = from_json(without_bom(line))
    if not isinstance(found, dict):
        raise ValueError(f"The line holds no JSON object: {line[:100]!r}.")
    return found


def listed(batch_client: BatchClient, path: str, cursor: str, limit: int) -> Iterator[JSON]:
    """Yield the items of a list of OpenAI's or Anthropic's API, page by page; `cursor` is its paging field.

    A page without a list raises `MalformedResponse`: a batch that is overlooked would be created and paid twice.
    """
    params: JSON = {"limit": limit}
    for _ in turned(batch_client, path, params, cursor):
        page = batch_client.get(path, params)
        found = page.get("data")
        if not isinstance(found, list):
            raise errors.MalformedResponse(
                f"The list at `{path}` has no `data`.", provider=batch_client.codec.provider
            )
        yield from found
        if not page.get("has_more") or not found:
            return
        params[cursor] = found[-1]["id"]


def turned(batch_client: BatchClient, path: str, params: Fields, cursor: str) -> Iterator[None]:
    """Yield None once for each page of a list. The caller's loop sets the `cursor` of the next page in `params`.

    Raises: `EndlessList` for a list that repeats a cursor, or that has more than `MOST_PAGES`.
    """
    seen = set()
    for _ in range(MOST_PAGES):
        if params.get(cursor) in seen:
            break
        seen.add(params.get(cursor))
        yield
    raise EndlessList(
        f"The list at `{path}` does not end: the provider repeats a page, or has more than {MOST_PAGES:,}.",
        provider=batch_client.codec.provider,
    )


def each_of(things: Iterable[T], act: Callable[[T], object]) -> None:
    """Call `act` on every item, even if it fails for one of them.

    `NotFound` is ignored; the first other error is raised at the end.
    """
    failure: errors.ChatError | None = None
    for thing in things:
        try:
            act(thing)
        except errors.NotFound:
            continue
        except errors.ChatError as exc:
            failure = failure or exc
    if failure is not None:
        raise failure


def checked_id(value: object) -> str:
    """Return a provider's id for a batch or a file.

    Raises: `JobStopped` for an id that would change the path of a URL, and `MalformedResponse` for None.
    """
    text = str(value)
    if value is None:
        raise errors.MalformedResponse("The provider returned a batch or a file without an id.")
    has_delimiter = not _DELIMITERS.isdisjoint(text)
    if not text.isprintable() or has_delimiter or text in ("", ".", ".."):
        raise errors.JobStopped(
            f"The provider returned {text[:100]!r} as the id of a batch or a file, which is not a valid id."
        )
    return text


def marks_of(part: Part, job: str) -> tuple[str, str, str]:
    """Return the metadata that identify the batch of a part: the job's id, part and attempt, a hash of the requests."""
    return job, f"{part.number}.{part.attempt}", part.sha256[:32]


def is_made_of(part: Part, job: str, marks: Sequence[object]) -> bool:
    """Return whether a batch's metadata name this part, at its latest attempt or at one that the store has lost."""
    its_job, its_part, its_sha256 = marks
    number, _, attempt = str(its_part).partition(".")
    if (its_job, number, its_sha256) != (job, str(part.number), part.sha256[:32]):
        return False
    least = part.attempt + (part.stage == "planned")
    return attempt.isdecimal() and int(attempt) >= least


def epoch(text: str | None) -> float:
    """Return the epoch seconds of an RFC 3339 time; 0 if there is none."""
    # The time may have nine decimals of a second; Python reads six.
    if text:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text)).timestamp()
    return 0.0
