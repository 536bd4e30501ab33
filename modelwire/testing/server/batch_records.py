"""The plan of a batch, the server's record of it, and the description of a Batch API. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from modelwire.aliases import JSON, Fields
from modelwire.testing.server.limits import check_word
from modelwire.testing.server.replies import Response, json_reply, page_reply
from modelwire.testing.server.wires import error_reply

if TYPE_CHECKING:
    from modelwire.testing.server.batches import BatchDesk
    from modelwire.testing.server.replies import Reply
    from modelwire.testing.server.requests import SeenRequest

_Oddity = Literal["missing", "duplicate", "null", "expired"]
_Outcome = Literal["completed", "failed", "expired", "cancelled", "token_limit_exceeded"]
DAY_S = 86_400

# A row is (custom_id, wire, body).
Row = tuple[str, str, JSON]
# A row's result is (custom_id, status, body); without an answer the status is None.
Answered = tuple[str, int | None, Any]


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How a batch proceeds and ends.

    It ends after its status was read `polls` times, or after `seconds`. If it does not complete,
    `done` is the share of its rows that are answered anyway. `rows` has irregular results by the
    positions of their rows: `missing` (in no file), `duplicate` (in a file twice), `null`
    (`response: null`) or `expired`. `foreign` is the number of results for rows that were never
    submitted. `errors` are those of a failed validation. `lose_create` drops the connection after the
    batch was created; `cut_results` ends the first download after this many bytes; `results_host` is
    the host in Anthropic's `results_url`.
    """

    polls: int = 2
    seconds: float | None = None
    outcome: _Outcome = "completed"
    done: float = 1.0
    rows: Mapping[int, _Oddity] = field(default_factory=dict)
    foreign: int = 0
    errors: Sequence[Fields] = ()
    lose_create: bool = False
    cut_results: int | None = None
    results_host: str | None = None

    def __post_init__(self) -> None:
        check_word("outcome", self.outcome, get_args(_Outcome))


@dataclass(slots=True)
class SeenBatch:
    """A batch that a client has created; `rows` are (custom_id, wire, body) in the order of submission."""

    id: str
    # The name of its Batch API: "openai" (whose rows may also use Responses), "anthropic", "gemini" or "vertex".
    wire: str
    rows: list[Row]
    plan: BatchPlan
    made_s: float  # The time of creation on the server's clock.
    made_at: int  # The time of creation in epoch seconds.
    fields: JSON  # The fields of the request that created it.
    errors: list[JSON] = field(default_factory=list)
    polls: int = 0
    cancelled_at_share: float | None = None  # The share of its rows that were answered by then.
    ended_at: int | None = None  # The time of its end in epoch seconds.
    # The ids of the files with its results: "output" and "error".
    files: dict[str, str] = field(default_factory=dict)
    # The results of Anthropic's API, and of Gemini's without a file.
    results: bytes = b""
    # The counts of an ended batch.
    counts: dict[str, int] = field(default_factory=dict)
    usage: dict[str, int] = field(
        default_factory=lambda: {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    )
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def outcome(self) -> _Outcome:
        if self.errors or self.plan.errors:
            return "failed"
        if self.cancelled_at_share is not None:
            return "cancelled"
        return self.plan.outcome

    def share(self, now_s: float) -> float:
        """Return the elapsed share of the batch's time; 1 at its end."""
        plan = self.plan
        if plan.seconds is not None:
            return min(1.0, (now_s - self.made_s) / plan.seconds)
        return min(1.0, self.polls / max(1, plan.polls))


@dataclass(frozen=True, slots=True)
class BatchCall:
    """A request about files and batches, as the handlers of an API receive it."""

    desk: BatchDesk
    api: BatchApi
    request: SeenRequest
    base_url: str  # The server's origin.
    path: Mapping[str, str]  # The groups of the API's pattern, empty where they are missing.

    @property
    def id(self) -> str:
        """The id of the file or batch that the request is about."""
        return self.path["id"]

    @property
    def batch(self) -> SeenBatch:
        """The batch that the request is about."""
        return self.desk.found(self.id)

    def answer(self) -> Response | None:
        """Return the answer of the API's handler; None if the API has no handler for this method and path."""
        path = self.path
        kind = path["kind"]
        api = self.api
        way = path.get("way", "")
        name = f"{way} {self.request.method} {kind}".strip()
        if self.id:
            known: Container[str] = self.desk.files
            if kind != "files":
                known = self.desk.ids_of(api.name)
            if self.id not in known:
                message = api.missing.format(noun=_NOUNS.get(kind), id=self.id)
                return self.refuse(message, 404, code=api.missing_code)
            name += "/id"
        if path["action"]:
            name += f"/{path['action']}"
        handler = api.handlers.get(name)
        if handler is None:
            return None
        return handler(self)

    def refuse(self, message: str, status: int = 400, *, code: str | None = None) -> Reply:
        """Return the reply with an error."""
        number = self.request.number
        return error_reply(self.api.wire, status, number=number, message=message, code=code)

    def download(self, id_: str, kind: str) -> Response:
        """Return the content of a file; `kind` is its media type."""
        desk = self.desk
        _, content = desk.files[id_]
        makers = (batch for batch in desk.made if id_ in batch.files.values())
        return desk.download(self.request, id_, content, next(makers, None), kind)

    def create(self, rows: list[Row], fields: JSON, errors: Sequence[JSON] = ()) -> Response:
        """Create a batch, and return the answer to its creation. With `errors` it will fail."""
        batch = self.desk.make(self.api.name, rows, fields)
        batch.errors = list(errors)
        return self.desk.creation_reply(batch, self.base_url)


_NOUNS = {"files": "file", "batches": "batch"}
# Handlers by method and path, such as `GET batches/id`.
Handlers = Mapping[str, Callable[[BatchCall], Response]]


class BatchApi(NamedTuple):
    """The facts in which a Batch API differs from the others. `BatchDesk` has their common part."""

    name: str
    wire: str  # Errors have the format of this wire.
    prefix: str  # Ids of batches begin with this.
    path: re.Pattern[str]  # It has the groups `kind`, `id` and `action`.
    handlers: Handlers
    # A function of a batch, the elapsed share of its time and the server's origin; it returns the API's object.
    record: Callable[[SeenBatch, float, str], JSON]
    # It writes the results of a batch, and is called with the number of its rows that have a good answer.
    write: Callable[[BatchDesk, SeenBatch, list[Answered], int], None]
    refuses_whole: bool = True  # If True, a batch may fail before any of its rows is tried.
    missing: str = "No such {noun}: `{id}`."
    missing_code: str | None = "not_found"


def is_good(status: int | None) -> bool:
    """Return whether a row has an answer that is not an error."""
    return status is not None and status < 400


def show(call: BatchCall) -> Reply:
    """Answer a poll of a batch with its record, and count it."""
    call.batch.polls += 1
    return json_reply(200, call.desk.record(call.batch, call.base_url))


def cancel(call: BatchCall) -> Reply:
    """Cancel a batch, and answer with its record."""
    call.desk.cancel(call.batch)
    return json_reply(200, call.desk.record(call.batch, call.base_url))


def list_batches(call: BatchCall) -> Reply:
    """Return a page of the batches of an API, newest first."""
    batches = reversed(call.desk.of_wire(call.api.name))
    record = call.desk.record
    records = [record(batch, call.base_url) for batch in batches]
    return page_reply(records, call.request.params, default_limit=20)
