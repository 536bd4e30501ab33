"""What a provider's Batch API is to a job, and what most of them have alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pydantic_core import from_json

from modelwire import _lazy, errors

if TYPE_CHECKING:
    from modelwire.adapters.wires import wire as wires
    from modelwire.jobs.batch_api import vertex
    from modelwire.jobs.batch_api.client import BatchClient
    from modelwire.jobs.batch_api.part_events import Part
else:
    wires = _lazy.module("modelwire.adapters.wires.wire")
    vertex = _lazy.module("modelwire.jobs.batch_api.vertex")

__all__ = [
    "NO_RESULT",
    "BatchApi",
    "EndlessList",
    "Look",
    "Made",
    "Newest",
    "RowReply",
    "Uploaded",
    "api_of",
    "checked_id",
    "each_of",
    "epoch",
    "is_made_of",
    "json_object",
    "listed",
    "marks_of",
    "turned",
    "without_bom",
]

T = TypeVar("T")

MOST_PAGES = 1_000  # A list with more pages than this is taken for one that does not end.
NO_RESULT = "The row has neither an answer nor an error."


class EndlessList(errors.MalformedResponse):
    """A list of the provider's whose pages do not end, so that nothing is known about what it lacks."""


class Made(NamedTuple):
    """A batch at the provider's. `guessed` where nothing of it says whose it is."""

    batch_id: str
    expires_at: float
    guessed: bool = False


class Newest(NamedTuple):
    """The provider's latest batch, if it has one, and when that was made: epoch seconds on the provider's clock."""

    batch_id: str | None
    made_at: float


class Uploaded(NamedTuple):
    """A file at the provider's, and when it was taken in: epoch seconds on its clock, 0 where it does not say."""

    file_id: str
    made_at: float


class Look(NamedTuple):
    """How a batch stands."""

    ended: bool
    # completed, expired, cancelled, failed; "" while it runs, "cancelling", "finalizing" while that ends it
    outcome: str
    total: int
    done: int  # answered, as far as the provider says; of those, `failed`
    failed: int
    remote: tuple[str, ...] = ()  # where the results are
    errors: tuple[Mapping[str, Any], ...] = ()  # of the whole batch: `code`, `line`, `message`

    @property
    def lacks_results(self) -> bool:
        """Whether rows were answered, and paid, and the batch does not (yet) say where the answers are."""
        return (
            self.ended and self.outcome != "failed" and self.done > self.failed and not self.remote
        )


class RowReply(NamedTuple):
    """What a line of results says. `status` is HTTP's, None where the row was not asked."""

    custom_id: str
    kind: str  # succeeded, errored, expired, cancelled
    status: int | None
    body: Any
    request_id: str | None


class BatchApi:
    """A Batch API. A method that a subclass leaves out is as most of them have it."""

    name: str
    max_rows: int  # of one batch
    max_bytes: int
    # What the file of a part has before, between and after its rows.
    head, between, tail = b"", b"\n", b"\n"
    start = b'{"custom_id":"'  # what each row begins with, and nothing else in the file: its name comes next
    batches: str  # the path of all batches; below it each has its own
    cancel_suffix = "/cancel"

    def __init_subclass__(cls) -> None:
        for name in ("newest", "upload", "find", "create", "look"):
            if name in vars(cls):
                setattr(cls, name, _reading(vars(cls)[name]))

    def __init__(self, *, azure: bool = False) -> None:
        """`azure` is OpenAI's API as Azure has it."""
        self.azure = azure

    def row(self, custom_id: str, body: Mapping[str, Any], path: str) -> bytes:
        """Return one request, as the file of a part has it."""
        raise NotImplementedError

    def newest(self, batch_client: BatchClient) -> Newest:
        """Return the latest batch there is, where nothing else tells a batch of ours."""
        return Newest(None, 0.0)

    def takes_file(self, part: Part) -> bool:
        """Return whether the requests of a part are uploaded as a file before its batch is created."""
        return False

    def has_no_batch(self, part: Part) -> bool:
        """Return whether the provider has certainly created no batch of a waiting part."""
        if part.unheard:
            return False
        lacks_file = part.file_id is None and self.takes_file(part)
        was_refused = part.refused or (part.stage == "intent" and lacks_file)
        return was_refused or part.stage == "planned"

    def upload(
        self, batch_client: BatchClient, part: Part, path: Path, job: str
    ) -> Uploaded | None:
        """Upload the requests of a part, where they are not sent with its batch. A file costs nothing."""
        return None

    def file_path(self, file_id: str) -> str:
        """Return where an uploaded file is."""
        raise NotImplementedError

    def has_file(self, batch_client: BatchClient, part: Part) -> bool:
        """Tell whether the provider still has the file of a part that was uploaded."""
        try:
            batch_client.get(self.file_path(str(part.file_id)))
        except (errors.NotFound, errors.PermissionDenied):  # Google: "or it may not exist"
            return False
        return True

    def find(self, batch_client: BatchClient, part: Part, job: str, taken: set[str]) -> list[Made]:
        """Return the batches that were, or may have been, made of this part; none of those that are `taken`."""
        raise NotImplementedError

    def create(
        self, batch_client: BatchClient, part: Part, path: Path, job: str, about: Mapping[str, Any]
    ) -> Made:
        """Have the batch made."""
        raise NotImplementedError

    def look(self, batch_client: BatchClient, batch_id: str) -> Look:
        """Ask how a batch stands."""
        raise NotImplementedError

    def fetch(self, batch_client: BatchClient, remote: str, path: Path) -> None:
        """Put results into the file at `path`."""
        batch_client.download(remote, path)

    def cancel(self, batch_client: BatchClient, batch_id: str) -> None:
        """Ask for a batch to be ended early."""
        batch_client.post(f"{self.batches}/{batch_id}{self.cancel_suffix}", body={})

    def remote_paths(self, part: Part) -> list[str]:
        """Return the paths of what the provider keeps of a part and can remove: files, and a batch that has ended."""
        files = [self.file_path(file_id) for file_id in (*part.old_files, part.file_id) if file_id]
        return files + ([f"{self.batches}/{part.batch_id}"] if part.batch_id else [])

    def delete(self, batch_client: BatchClient, part: Part) -> None:
        """Remove what the provider keeps of a part."""
        each_of(self.remote_paths(part), batch_client.delete)

    def read(self, line: bytes) -> RowReply:
        """Read a line of results. Raises ValueError for one that is none."""
        raise NotImplementedError


def _reading(method: Callable[..., T]) -> Callable[..., T]:
    """Have what a method cannot read in an answer be an error of ours, and one that may pass."""

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


def api_of(wire: str, *, azure: bool, bucket: str | None = None) -> BatchApi:
    """Return the Batch API of a wire; OpenAI's as `azure` has it, Gemini's as Vertex AI has it, with a `bucket`.

    Raises: `InvalidArgument` where there is none.
    """
    if bucket is not None:
        return vertex.VertexBatches(bucket)
    known = wires.wire_named(wire)
    if known.batch_api is None:
        raise errors.InvalidArgument(f"There is no Batch API for {known.title}: use `run_job`.")
    api: BatchApi = wires.loaded(known.batch_api)(azure=azure)
    return api


def without_bom(text: bytes) -> bytes:
    """Return a text without the mark that some programs begin UTF-8 with."""
    return text.removeprefix(b"\xef\xbb\xbf")


def json_object(line: bytes) -> dict[str, Any]:
    """Return the object that a line of results holds. Raises ValueError for anything else."""
    found = from_json(without_bom(line))
    if not isinstance(found, dict):
        raise ValueError(f"The line holds no JSON object: {line[:100]!r}.")
    return found


def listed(
    batch_client: BatchClient, path: str, cursor: str, limit: int
) -> Iterator[dict[str, Any]]:
    """Yield what a list of OpenAI's or Anthropic's holds, page by page; `cursor` is the field that turns them.

    A page without a list is an error: a batch that is not seen would be made, and paid, once more.
    """
    params: dict[str, Any] = {"limit": limit}
    for _ in turned(batch_client, path, params, cursor):
        page = batch_client.get(path, params)
        if not isinstance(found := page.get("data"), list):
            raise errors.MalformedResponse(
                f"The list at `{path}` has no `data`.", provider=batch_client.codec.provider
            )
        yield from found
        if not page.get("has_more") or not found:
            return
        params[cursor] = found[-1]["id"]


def turned(
    batch_client: BatchClient, path: str, params: Mapping[str, Any], cursor: str
) -> Iterator[None]:
    """Yield once for each page of a list, while the loop sets the `cursor` of the next page in `params`.

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
    """Act on every thing at the provider's. What it does not know is gone; what else fails is raised at the end."""
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
    """Return a provider's id for a batch or a file. Raises: `JobStopped` for one that would lead elsewhere."""
    text = str(value)
    if value is None:
        raise errors.MalformedResponse("The provider gives a batch or a file no id.")
    if not text.isprintable() or any(char in text for char in "/\\?#% ") or text in ("", ".", ".."):
        raise errors.JobStopped(
            f"The provider gives a batch or a file an id that is none: {text[:100]!r}."
        )
    return text


def marks_of(part: Part, job: str) -> tuple[str, str, str]:
    """Return what a batch carries that says of which part it is made: the job, part and attempt, the requests' hash."""
    return job, f"{part.number}.{part.attempt}", part.sha256[:32]


def is_made_of(part: Part, job: str, marks: Sequence[object]) -> bool:
    """Tell whether a batch was made of a part: at this attempt, or at one of which a damaged log has lost the line."""
    its_job, its_part, its_sha256 = marks
    number, _, attempt = str(its_part).partition(".")
    is_ours = (its_job, number, its_sha256) == (job, str(part.number), part.sha256[:32])
    return (
        is_ours and attempt.isdecimal() and int(attempt) >= part.attempt + (part.stage == "planned")
    )


def epoch(text: str | None) -> float:
    """Return the epoch seconds of a time; 0 for none."""
    # RFC 3339 with up to nine digits of a second, of which Python reads six
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text)).timestamp() if text else 0.0
