"""Advances a batch job: each pass over its parts does everything that can be done now, and nothing twice.

`creation.py` creates the batches, `downloads.py` fetches their results.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from modelwire.aliases import JSON
from modelwire.errors import (
    ChatError,
    IncompleteAnswer,
    JobStopped,
    NotFound,
)
from modelwire.jobs.backoff import Backoff
from modelwire.jobs.batch_api.creation import Creation
from modelwire.jobs.batch_api.downloads import Downloads
from modelwire.jobs.batch_api.open_job import OpenJob, PartWork
from modelwire.jobs.batch_api.part_log import Part
from modelwire.jobs.batch_api.results import RETRYABLE, BatchResult, Index, matches
from modelwire.jobs.owned_files import disk_errors

if TYPE_CHECKING:
    from modelwire.jobs.batch_api.api import Look

_log = logging.getLogger(__name__)

# A batch that still runs this long after its time limit stops the job with an error.
LATE_S = 3600.0
# If the queue is full without a batch of this job in it, the part is submitted again after a pause.
QUEUE_BACKOFF = Backoff(first_s=30.0, longest_s=600.0, patience_s=600.0)
FULL = "token_limit_exceeded"


class Reconciler(PartWork):
    """Advances an open job."""

    def __init__(self, job: OpenJob) -> None:
        super().__init__(job)
        self.creation = Creation(job)
        self.downloads = Downloads(job)
        self.looks: dict[int, Look] = {}

    def advance(self) -> None:
        """Do everything that can be done now.

        An error of one part does not stop the others; it is raised at the end.
        """
        failure: ChatError | JobStopped | None = None
        for act, parts in (
            (self._end_early, self._to_cancel),
            (self.creation.create, self._creatable),
            (self._look, self.events.running),
            (self.downloads.fetch, self._ended),
        ):
            for part in parts():
                try:
                    with disk_errors(self.folder.path):
                        act(part)
                except ChatError as exc:
                    if act == self._end_early and not exc.retryable:
                        _log.warning("Part %d could not be cancelled: %s", part.number, exc)
                        continue  # The batch ends by itself, and polling continues.
                    failure = failure or exc
                    if act == self.creation.create:
                        break
                except JobStopped as exc:  # The error concerns this part only.
                    failure = exc
        if failure is not None:
            raise failure
        if all(part.is_final for part in self.events.parts):
            self._close_round()

    def _creatable(self) -> list[Part]:
        events = self.events
        if events.cancelled:
            return []
        now_s = self.now_s()
        waiting = [
            part
            for part in events.waiting()
            if not part.at <= now_s < part.at + _queue_pause_s(part)
        ]
        if events.window is not None:
            waiting = waiting[: max(0, events.window - len(events.running()))]
        return waiting

    def _ended(self) -> list[Part]:
        return [part for part in self.events.parts if part.stage == "ended"]

    def create_batches(self) -> None:
        """Create the batch of each part that waits for one."""
        for part in self._creatable():
            self.creation.create(part)

    def is_searching(self) -> bool:
        """Return whether the job searches for a batch whose creation is unknown."""
        return any(part.sought_at > 0 for part in self._creatable())

    def _look(self, part: Part) -> None:
        try:
            look = self.looks[part.number] = self.api.look(self.batch_client, str(part.batch_id))
        except NotFound as exc:
            raise self.job.unknown_to_provider(part, "the batch") from exc
        if not look.ended or (look.lacks_results and not part.guessed):
            # A guessed batch without results is left to the user.
            if part.expires_at and self.batch_client.now_s() > part.expires_at + LATE_S:
                what = "should have ended an hour ago and has not"
                if look.ended:
                    what = f"has ended and tells of no results; `job.submit_again({part.number})` pays for a new one"
                raise JobStopped(
                    f"Batch `{part.batch_id}` {what}. Ask the provider about it; the job goes on when it is waited for "
                    "again."
                )
            return
        if look.outcome == "failed":
            self._refused(part, look)
            return
        remote = [
            self.batch_client.same_origin(url) if "://" in url else url for url in look.remote
        ]
        counts = {"answered": look.done - look.failed, "failed": look.failed}
        self.events.write("ended", part, outcome=look.outcome, remote=remote, **counts)

    def _refused(self, part: Part, look: Look) -> None:
        """Handle a batch that failed as a whole: a full queue is retried, and rows that fail
        validation get an error.
        """
        codes = {error.get("code") for error in look.errors}
        named = {
            str(error["line"]): str(error.get("message"))
            for error in look.errors
            if error.get("line")
        }
        events = self.events
        if events.cancelled:  # A cancelled job submits nothing again.
            events.write("downloaded", part, outcome="cancelled", invalid=named)
            return
        if FULL in codes:
            others = len(events.running()) - 1
            alone = part.refused_alone + (others == 0)
            if events.window is None:
                most = others
            else:
                most = min(others, events.window)
            events.write(
                "requeued", part, window=max(1, most // 2), refused_alone=alone, outcome=""
            )
            if alone:
                _log.warning(
                    "The provider's queue has no room for part %d of `%s`, which has %d rows: it is submitted again in "
                    "%g minutes. If nothing else of your account is queued, cancel the job and submit the rows with a "
                    "smaller `part_rows`. %s",
                    part.number,
                    self.folder.path,
                    part.rows,
                    _queue_pause_s(part) / 60,
                    _refusal_text(look),
                )
            return
        if not named or part.again or len(named) >= part.rows:
            named = {"all": _refusal_text(look), **named}
            events.write("downloaded", part, outcome="failed", invalid=named)
            return
        # One event holds both facts: which rows failed, and that the others go into a new part.
        events.write("ended", part, outcome="failed", invalid=named, remote=[])

    def cancel(self) -> None:
        """Cancel all batches and create no more.

        An error of one is raised after all requests were sent.
        """
        if not self.events.cancelled:
            self.events.write("cancelled")
        failure: ChatError | JobStopped | None = None
        for part in self._to_cancel():
            try:
                self._end_early(part)
            except (ChatError, JobStopped) as exc:
                failure = failure or exc
        if failure is not None:
            raise failure

    def _to_cancel(self) -> list[Part]:
        """Return the parts to cancel: if the job is cancelled, those whose cancellation was not accepted yet."""
        if not self.events.cancelled:
            return []
        running = [
            part for part in self.events.running() if not part.cancel_asked and not part.is_guess
        ]
        return [*self.events.waiting(), *running]

    def _end_early(self, part: Part) -> None:
        """Cancel a part. A part without a batch ends at once; a guessed batch is not cancelled."""
        may_be_made = part.stage == "created" or self.creation.may_be_made(part)
        was_made = part.stage == "created" or (may_be_made and self.creation.adopted(part))
        if not was_made:
            if may_be_made and self.creation.may_appear(part):
                return
            self.events.write("downloaded", part, outcome="cancelled")
            return
        if part.is_guess:
            _log.warning(
                "Batch %s may be part %d of this job, or another's: it is not cancelled. `job.adopt(%d, batch_id)` "
                "says that it is ours.",
                part.batch_id,
                part.number,
                part.number,
            )
            return
        try:
            self.api.cancel(self.batch_client, str(part.batch_id))
        except ChatError:
            if not self._ends_already(part):
                raise
        self.events.write("noted", part, cancel_asked=True)

    def _ends_already(self, part: Part) -> bool:
        """Return whether a batch that cannot be cancelled has ended or is about to end."""
        try:
            return bool(self.api.look(self.batch_client, str(part.batch_id)).outcome)
        except ChatError:
            return False

    def progress(self) -> JSON:
        """Return the rows `submitted`, `processing`, `done`, `failed`; the number of `parts` and of
        `ended` ones; the seconds `eta`.
        """
        parts = [part for part in self.events.parts if part.stage != "replaced"]
        looks = {part.number: self.looks.get(part.number) for part in parts}
        ended = [part for part in parts if part.stage in ("ended", "downloaded")]
        submitted = sum(part.rows for part in parts if part.batch_id)
        done = 0
        for part in parts:
            look = looks[part.number]
            if part in ended:
                done += part.rows
            elif look is not None:
                done += look.done
        failed = sum(look.failed for look in looks.values() if look)
        return {
            "submitted": submitted,
            "processing": submitted - done,
            "done": done,
            "failed": failed,
            "parts": len(parts),
            "ended": len(ended),
            "eta": self._eta_s(),
        }

    def _eta_s(self) -> float | None:
        """Return an estimate of the seconds until all is done, from the speed of each batch; None
        while one has no results.
        """
        left_s = 0.0
        for part in self.events.parts:
            if part.is_final or part.stage == "ended":
                continue
            look = self.looks.get(part.number)
            if part.stage != "created" or look is None or not look.done:
                return None
            guess_s = (self.now_s() - part.at) * (part.rows - look.done) / look.done
            if part.expires_at:
                latest_s = part.expires_at - self.now_s()
            else:
                latest_s = guess_s
            # The estimate must not be negative, even if a clock was changed.
            left_s = max(left_s, min(guess_s, latest_s))
        return left_s

    def _close_round(self) -> None:
        """Submit rows with transient errors again in a new round, or end the job."""
        round = max((part.round for part in self.events.parts), default=0)
        more = not self.events.cancelled and 0 < round < self.job.settings["max_rounds"]
        if not more or not self.resubmit((RETRYABLE,), round=round + 1):
            self.events.write("done")

    def resubmit(
        self,
        statuses: tuple[str, ...],
        *,
        round: int | None = None,
        is_unusable: Callable[[BatchResult], bool] | None = None,
    ) -> int:
        """Plan the rows again whose result has one of the statuses; return their number."""
        events = self.events
        index = Index(self.folder.path, events, self.api)
        codec = self.batch_client.codec
        wanted: set[int] = set()
        for number in range(events.rows):
            result = BatchResult(index=number, key=None, status="pending")
            if index.part_of(number) < 0:
                continue
            index.fill(result, codec, self.job.on_refusal)
            if isinstance(result.error, IncompleteAnswer) and "errored" not in statuses:
                continue  # another batch would suspend it again: a direct call continues it
            unfit = is_unusable is not None and is_unusable(result)
            if unfit or matches(result, statuses):
                wanted.add(number)
        index.close()
        if not wanted:
            return 0

        def is_wanted(part: Part, line: int, row: int) -> bool:
            return row in wanted and index.part_of(row) == part.number

        following = max(part.round for part in events.parts) + 1
        self.job.submit_anew(events.parts, is_wanted, round=round or following)
        return len(wanted)


def _queue_pause_s(part: Part) -> float:
    """Return the seconds between a refusal for a full queue and the next submission of a part."""
    if part.stage != "planned" or not part.refused_alone:
        return 0.0
    return QUEUE_BACKOFF.pause_s(part.refused_alone) or 0.0


def _refusal_text(look: Look) -> str:
    texts = [str(error.get("message") or error.get("code")) for error in look.errors[:3]]
    return "The provider refused the batch: " + ("; ".join(texts) or "it gave no reason")
