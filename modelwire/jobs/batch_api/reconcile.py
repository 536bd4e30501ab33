"""Advances a batch job: each pass over its parts takes every step that is possible now.

`creation.py` beside this module creates the batches, and `downloads.py` fetches their results.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
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
# If the provider's queue is full and has no batch of this job, a part is submitted again after these pauses.
QUEUE_BACKOFF = Backoff(first_s=30.0, longest_s=600.0, patience_s=600.0)
# A batch that was refused because the queue is full has an error with this code.
FULL = "token_limit_exceeded"


class Reconciler(PartWork):
    """Advances an open job. `looks` has the last known state of each batch, by the number of its part."""

    def __init__(self, job: OpenJob) -> None:
        super().__init__(job)
        self.creation = Creation(job)
        self.downloads = Downloads(job)
        self.looks: dict[int, Look] = {}

    def advance(self) -> None:
        """Take every step that is possible now: cancel, create and poll batches, and download results.

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
        """Return the parts whose batch may be created now: not those that wait for a place in the provider's queue."""
        events = self.events
        if events.cancelled:
            return []
        now_s = self.now_s()
        waiting = []
        for part in events.waiting():
            until_s = part.at + _queue_pause_s(part)
            is_pausing = part.at <= now_s < until_s
            if not is_pausing:
                waiting.append(part)
        if events.window is None:
            return waiting
        places = events.window - len(events.running())
        return waiting[: max(0, places)]

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
        """Poll the batch of a part, and record its end. Raises: `JobStopped` for a lost or an overdue batch."""
        try:
            look = self.job.look(part)
        except NotFound as exc:
            raise self.job.unknown_to_provider(part, "the batch") from exc
        self.looks[part.number] = look
        # A guessed batch without results is left to the user.
        lacks_results = look.lacks_results and not part.guessed
        if lacks_results or not look.ended:
            latest_s = part.expires_at + LATE_S
            if part.expires_at and self.batch_client.now_s() > latest_s:
                what = "should have ended an hour ago and has not"
                if look.ended:
                    what = f"has ended and tells of no results; `job.submit_again({part.number})` pays for a new one"
                raise JobStopped(
                    f"Batch `{part.batch_id}` {what}. Ask the provider about it, and wait for the job again."
                )
            return
        if look.outcome == "failed":
            self._refused(part, look)
            return
        remote = []
        for address in look.remote:
            if "://" in address:
                address = self.batch_client.same_origin(address)
            remote.append(address)
        self.events.write(
            "ended",
            part,
            outcome=look.outcome,
            remote=remote,
            answered=look.done - look.failed,
            failed=look.failed,
        )

    def _refused(self, part: Part, look: Look) -> None:
        """Handle a batch that has failed as a whole.

        If the queue was full, the part is submitted again later. Rows that failed validation get
        an error, and the others are submitted in a new part.
        """
        codes = {error.get("code") for error in look.errors}
        named = {}
        for error in look.errors:
            if error.get("line"):
                line = str(error["line"])
                named[line] = str(error.get("message"))
        events = self.events
        if events.cancelled:  # A cancelled job submits nothing again.
            events.write("downloaded", part, outcome="cancelled", invalid=named)
            return
        if FULL in codes:
            others = len(events.running()) - 1
            alone = part.refused_alone + (others == 0)
            most = others
            if events.window is not None:
                most = min(most, events.window)
            window = max(1, most // 2)
            events.write("requeued", part, window=window, refused_alone=alone, outcome="")
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
        # `Downloads.fetch` submits the other rows again.
        events.write("ended", part, outcome="failed", invalid=named, remote=[])

    def cancel(self) -> None:
        """Cancel all batches and create no more. The first error is raised after all batches were tried."""
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
        """Return the parts of a cancelled job whose cancellation the provider has not accepted yet."""
        if not self.events.cancelled:
            return []
        parts = self.events.waiting()
        for part in self.events.running():
            if not part.cancel_asked and not part.is_guess:
                parts.append(part)
        return parts

    def _end_early(self, part: Part) -> None:
        """Cancel a part. A part without a batch ends at once; a guessed batch is not cancelled."""
        if part.stage != "created":
            may_be_made = self.creation.may_be_made(part)
            was_made = may_be_made and self.creation.adopted(part)
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
            return bool(self.job.look(part).outcome)
        except ChatError:
            return False

    def progress(self) -> JSON:
        """Return the progress of the job, for `on_progress`.

        `submitted`, `processing`, `done` and `failed` are rows, `parts` and `ended` batches, and
        `eta` is in seconds (None if it is unknown).
        """
        parts = [part for part in self.events.parts if part.stage != "replaced"]
        submitted = 0
        done = 0
        failed = 0
        ended = 0
        for part in parts:
            look = self.looks.get(part.number)
            if part.batch_id:
                submitted += part.rows
            if part.stage in ("ended", "downloaded"):
                ended += 1
                done += part.rows
            elif look is not None:
                done += look.done
            if look is not None:
                failed += look.failed
        return {
            "submitted": submitted,
            "processing": submitted - done,
            "done": done,
            "failed": failed,
            "parts": len(parts),
            "ended": ended,
            "eta": self._eta_s(),
        }

    def _eta_s(self) -> float | None:
        """Estimate the seconds until the job is done, from the speed of each batch.

        None while a batch has finished no row.
        """
        longest_s = 0.0
        now_s = self.now_s()
        for part in self.events.parts:
            if part.is_final or part.stage == "ended":
                continue
            look = self.looks.get(part.number)
            if part.stage != "created" or look is None or not look.done:
                return None
            row_s = (now_s - part.at) / look.done
            left_s = row_s * (part.rows - look.done)
            if part.expires_at:
                left_s = min(left_s, part.expires_at - now_s)
            # The estimate must not be negative, even if a clock was changed.
            longest_s = max(longest_s, left_s)
        return longest_s

    def _close_round(self) -> None:
        """When all parts are final: submit rows with transient errors again in a new round, or else end the job."""
        round = self.events.last_round
        has_more_rounds = 0 < round < self.job.settings["max_rounds"]
        submitted = 0
        if has_more_rounds and not self.events.cancelled:
            submitted = self.resubmit((RETRYABLE,), round=round + 1)
        if not submitted:
            self.events.write("done")

    def resubmit(
        self,
        statuses: tuple[str, ...],
        *,
        round: int,
        is_unusable: Callable[[BatchResult], bool] | None = None,
    ) -> int:
        """Plan new parts for the rows whose result has one of the statuses; return the number of these rows.

        Rows for which `is_unusable(result)` is True are included.
        """
        events = self.events
        codec = self.batch_client.codec
        wanted: set[int] = set()
        with closing(Index(self.folder.path, events, self.api)) as index:
            for number in range(events.rows):
                if index.part_of(number) < 0:
                    continue
                result = BatchResult(index=number, key=None, status="pending")
                index.fill(result, codec, self.job.on_refusal)
                if isinstance(result.error, IncompleteAnswer) and "errored" not in statuses:
                    continue  # another batch would suspend it again: a direct call continues it
                unfit = is_unusable is not None and is_unusable(result)
                if unfit or matches(result, statuses):
                    wanted.add(number)
        if not wanted:
            return 0

        def is_wanted(part: Part, line: int, row: int) -> bool:
            if row not in wanted:
                return False
            return index.part_of(row) == part.number

        self.job.submit_anew(events.parts, is_wanted, round=round)
        return len(wanted)


def _queue_pause_s(part: Part) -> float:
    """Return the seconds between a refusal for a full queue and the next submission of a part."""
    if part.stage != "planned" or not part.refused_alone:
        return 0.0
    return QUEUE_BACKOFF.pause_s(part.refused_alone) or 0.0


def _refusal_text(look: Look) -> str:
    """Return the provider's reasons for refusing a batch as a sentence, at most three of them."""
    texts = []
    for error in look.errors[:3]:
        reason = error.get("message") or error.get("code")
        texts.append(str(reason))
    reasons = "; ".join(texts) or "it gave no reason"
    return f"The provider refused the batch: {reasons}"
