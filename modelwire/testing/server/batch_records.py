"""What a test plans for a batch, what the server stores about it, and how a Batch API is described. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from modelwire.testing.server.limits import check_word
from modelwire.testing.server.replies import json_reply
from modelwire.testing.server.wires import error_reply

if TYPE_CHECKING:
    from modelwire.testing.server.batches import BatchDesk
    from modelwire.testing.server.replies import Reply, Step
    from modelwire.testing.server.requests import SeenRequest

__all__ = [
    "DAY_S",
    "Answered",
    "BatchApi",
    "BatchPlan",
    "Handlers",
    "Row",
    "SeenBatch",
    "answer",
    "cancel",
    "is_good",
    "show",
]

Oddity = Literal["missing", "duplicate", "null", "expired"]
Outcome = Literal["completed", "failed", "expired", "cancelled", "token_limit_exceeded"]
DAY_S = 86_400

# A row is (custom_id, wire, body).
Row = tuple[str, str, dict[str, Any]]
# A row's result is (custom_id, status, body); without an answer the status is None.
Answered = tuple[str, int | None, Any]


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How a batch proceeds and ends.

    It ends after its status was read `polls` times, or after `seconds`. If it does not complete,
    `done` is the share of its rows that are answered anyway. `rows` lists irregular rows by their
    positions: in neither file, in a file twice, `response: null`, expired. `foreign` rows that were
    never submitted are added. `errors` are those of a failed validation. `lose_create` drops the
    connection after the batch was created; `cut_results` ends the first download after this many
    bytes; `results_host` is the host in Anthropic's `results_url`.
    """

    polls: int = 2
    seconds: float | None = None
    outcome: Outcome = "completed"
    done: float = 1.0
    rows: Mapping[int, Oddity] = field(default_factory=dict)
    foreign: int = 0
    errors: Sequence[Mapping[str, Any]] = ()
    lose_create: bool = False
    cut_results: int | None = None
    results_host: str | None = None

    def __post_init__(self) -> None:
        check_word("outcome", self.outcome, get_args(Outcome))


@dataclass(slots=True)
class SeenBatch:
    """A batch that was created; `rows` are (custom_id, wire, body) in the order of submission."""

    id: str
    # It is "openai" (whose rows may also use Responses), "anthropic", "gemini" or "vertex".
    wire: str
    rows: list[tuple[str, str, dict[str, Any]]]
    plan: BatchPlan
    made_s: float  # The time of creation on the server's clock.
    made_at: int  # The time of creation in epoch seconds.
    fields: dict[str, Any]  # The fields of the request that created it.
    errors: list[dict[str, Any]] = field(default_factory=list)
    polls: int = 0
    cancelled_at_share: float | None = None
    ended_at: int | None = None
    files: dict[str, str] = field(default_factory=dict)
    # The results of Anthropic's API, and of Gemini's without a file.
    results: bytes = b""
    # The counts of an ended batch.
    counts: dict[str, int] = field(default_factory=dict)
    usage: dict[str, int] = field(
        default_factory=lambda: {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    )

    @property
    def outcome(self) -> Outcome:
        if self.errors or self.plan.errors:
            return "failed"
        if self.cancelled_at_share is not None:
            return "cancelled"
        return self.plan.outcome

    def share(self, now_s: float) -> float:
        """Return the elapsed share of the batch's time; 1 at its end."""
        if self.plan.seconds is not None:
            return min(1.0, (now_s - self.made_s) / self.plan.seconds)
        return min(1.0, self.polls / max(1, self.plan.polls))


class BatchApi(NamedTuple):
    """What differs between the Batch APIs. The desk has what they share."""

    prefix: str  # Ids of batches begin with this.
    # It returns the answer to a request about files and batches of this API; None for any other request.
    handle: Callable[[BatchDesk, SeenRequest, str], Reply | Iterable[Step] | None]
    # It is called with a batch, the elapsed share of its time and the server's origin.
    record: Callable[[SeenBatch, float, str], dict[str, Any]]
    # It writes the results of a batch, those of its own rows and those of foreign ones.
    write: Callable[[BatchDesk, SeenBatch, list[Answered], list[Answered]], None]
    refuses_whole: bool = True  # If True, a batch may fail before any of its rows is tried.


Handlers = Mapping[str, "Callable[[BatchDesk, SeenRequest, str, str], Reply | Iterable[Step]]"]
# The paths of OpenAI's API, and after `/messages` those of Anthropic's.
_PATH = re.compile(r"(/messages)?/(files|batches)(?:/([^/]+))?(?:/(content|cancel|results))?$")
_NOUNS = {"files": "file", "batches": "batch"}


def answer(
    desk: BatchDesk,
    request: SeenRequest,
    base_url: str,
    *,
    wire: str,
    handlers: Handlers,
    prefix: str | None = None,
) -> Reply | Iterable[Step] | None:
    """Return the answer to a request about files and batches of an API; None for any other request.

    `handlers` has a function for each method and path, such as `GET batches/id`. `prefix` is what the paths of the API
    have before `/batches`.
    """
    found = _PATH.search(request.path)
    if found is None or found[1] != prefix:
        return None
    kind, id_, action = found[2], found[3], found[4]
    known = desk.files if kind == "files" else [batch.id for batch in desk.of_wire(wire)]
    if id_ and id_ not in known:
        message = f"No such {_NOUNS[kind]}: `{id_}`."
        return error_reply(wire, 404, number=request.number, message=message, code="not_found")
    name = f"{request.method} {kind}{'/id' if id_ else ''}{'/' + action if action else ''}"
    handler = handlers.get(name)
    if handler is None:
        return None
    return handler(desk, request, id_, base_url)


def is_good(status: int | None) -> bool:
    """Return whether a row has an answer that is not an error."""
    return status is not None and status < 400


def show(desk: BatchDesk, request: SeenRequest, id_: str, base_url: str) -> Reply:
    """Answer a poll of a batch."""
    batch = desk.found(id_)
    batch.polls += 1
    return json_reply(200, desk.record(batch, base_url))


def cancel(desk: BatchDesk, request: SeenRequest, id_: str, base_url: str) -> Reply:
    """Cancel a batch, and answer with its record."""
    batch = desk.found(id_)
    desk.cancel(batch)
    return json_reply(200, desk.record(batch, base_url))
