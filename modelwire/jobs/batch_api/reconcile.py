"""Advances a batch job: each pass over its parts does everything that can be done now, and nothing twice.

The intent to create a batch is stored before the request is sent. If it is unknown whether the
batch was created (after a crash or a lost answer), the provider's batches are searched first, and
one that was made of the part is used. If the provider's data do not identify the batch, it is a
guess until its results arrive: it is polled, and never cancelled.
"""

from __future__ import annotations

import filecmp
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

from pydantic_core import from_json

from modelwire.errors import (
    BadRequest,
    CallerError,
    ChatError,
    ConnectFailed,
    DiskError,
    IncompleteAnswer,
    JobStopped,
    MalformedResponse,
    ModelwireError,
    NotFound,
    ProviderError,
    TLSFailed,
)
from modelwire.jobs.batch_api.api import EndlessList, without_bom
from modelwire.jobs.batch_api.part_log import Part, PartEvents
from modelwire.jobs.batch_api.plan import Limits, PartFiles, part_path, refile, stored
from modelwire.jobs.batch_api.results import RETRYABLE, BatchResult, Index, matches
from modelwire.jobs.owned_files import disk_errors

if TYPE_CHECKING:
    from modelwire.jobs.batch_api.api import BatchApi, Look, Made, RowReply
    from modelwire.jobs.batch_api.client import BatchClient
    from modelwire.jobs.folder import JobFolder

__all__ = ["BatchUncertain", "Reconciler"]

_log = logging.getLogger(__name__)

# If the outcome of creating a batch is unknown, the provider's list is searched for this long
# before a second batch is created. No provider documents a limit; gateways give up after 60 to 300
# s.
SEARCH_S = 300.0
# After these statuses of a gateway, the provider may still have executed the request.
UNKNOWN_STATUSES = (408, 409, 499)
# If results lack answers that the provider counts, they are fetched again for this long.
RESULTS_LATE_S = 900.0
# A batch that still runs this long after its time limit stops the job with an error.
LATE_S = 3600.0
# If the queue is full without a batch of this job in it, the part is submitted again after a pause,
# which doubles with each refusal.
QUEUE_PAUSE_S, QUEUE_LONGEST_S = 30.0, 600.0
FULL = "token_limit_exceeded"


class BatchUncertain(JobStopped):
    """It is unknown which of `batch_ids`, if any, was made of `part`; the user must decide."""

    part = 0
    batch_ids: tuple[str, ...] = ()

    @classmethod
    def of(cls, part: Part, batch_ids: tuple[str, ...], why: str) -> BatchUncertain:
        """Return the error that names what is unknown about a part, and the two methods that resolve it."""
        error = cls(
            f"{why} `job.adopt({part.number}, batch_id)` takes one, `job.submit_again({part.number})` makes a new one."
        )
        error.part, error.batch_ids = part.number, batch_ids
        return error


class Reconciler:
    """Advances a job. The caller holds the folder's lock and has opened its events."""

    def __init__(
        self,
        folder: JobFolder,
        events: PartEvents,
        api: BatchApi,
        batch_client: BatchClient,
        now_s: Callable[[], float] = time.time,
        on_refusal: str = "raise",
    ) -> None:
        self.on_refusal = on_refusal
        self.folder, self.events, self.api, self.batch_client, self.now_s = (
            folder,
            events,
            api,
            batch_client,
            now_s,
        )
        self.settings: dict[str, Any] = folder.about["batch"]
        self.parts_folder = folder.path / "parts"
        self.looks: dict[int, Look] = {}

    def advance(self) -> None:
        """Do everything that can be done now.

        An error of one part does not stop the others; it is raised at the end.
        """
        failure: ChatError | JobStopped | None = None
        for act, parts in (
            (self._end_early, self._to_cancel),
            (self._create, self._creatable),
            (self._look, self.events.running),
            (self._fetch, self._ended),
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
                    if act == self._create:
                        break
                except JobStopped as exc:  # The error concerns this part only.
                    failure = exc
        if failure is not None:
            raise failure
        if all(part.stage in ("downloaded", "replaced") for part in self.events.parts):
            self._close_round()

    def _creatable(self) -> list[Part]:
        if self.events.cancelled:
            return []
        now_s = self.now_s()
        waiting = [
            part
            for part in self.events.waiting()
            if not part.at <= now_s < part.at + _queue_pause_s(part)
        ]
        if self.events.window is not None:
            waiting = waiting[: max(0, self.events.window - len(self.events.running()))]
        return waiting

    def _ended(self) -> list[Part]:
        return [part for part in self.events.parts if part.stage == "ended"]

    def _create(self, part: Part) -> None:
        """Create the batch of a part, after searching for one that may have been created before."""
        if self._may_be_made(part) and (self._adopted(part) or self._may_appear(part)):
            return
        if part.stage == "planned":
            newest, newest_at = self.api.newest(self.batch_client)
            self.events.write(
                "intent", part, attempt=part.attempt + 1, newest=newest, newest_at=newest_at
            )
        was_uploaded = part.stage == "uploaded"
        try:
            self._hand_in(part)
        except (BadRequest, NotFound):
            if not was_uploaded or self.api.has_file(self.batch_client, part):
                raise
            # The provider has deleted the uploaded file, so it is uploaded again.
            self.events.write("intent", part, file_id=None, file_at=0.0)
            self._hand_in(part)

    def _hand_in(self, part: Part) -> None:
        events, path = self.events, part_path(self.parts_folder, part.number)
        if part.stage == "intent":
            self._check_requests(part, path)
            if (
                uploaded := self.api.upload(self.batch_client, part, path, self.folder.id)
            ) is not None:
                events.write("uploaded", part, file_id=uploaded.file_id, file_at=uploaded.made_at)
        about = {
            "endpoint": events.endpoint,
            "headers": events.headers,
            "metadata": self.settings["metadata"],
        }
        if part.refused or part.sought_at:
            # Once the request is sent, its outcome is unknown again.
            events.write("noted", part, refused=False, sought_at=0.0)
        try:
            made = self.api.create(self.batch_client, part, path, self.folder.id, about)
        except ModelwireError as exc:
            if _is_refusal(exc):
                events.write("noted", part, refused=True)
            raise
        self._created(part, made)

    def _may_be_made(self, part: Part) -> bool:
        """Return whether the provider may have a batch of a part that waits for one."""
        return part.stage != "planned" or part.possibly_lost

    def _may_appear(self, part: Part) -> bool:
        """Return whether a batch that the provider does not list yet may still appear in its list.

        The first call begins the search, which lasts `SEARCH_S` and continues in later processes.
        """
        if self.api.has_no_batch(part):
            return False
        now_s = self.now_s()
        if not 0 < part.sought_at <= now_s:
            _log.warning(
                "It is unknown whether the provider has created the batch of part %d of `%s`: it is searched for "
                "during %g minutes before the job goes on without it.",
                part.number,
                self.folder.path,
                SEARCH_S / 60,
            )
            self.events.write("noted", part, sought_at=now_s)
            return True
        if now_s - part.sought_at < SEARCH_S:
            return True
        _log.warning(
            "The provider lists no batch of part %d of `%s` after %g minutes, so the job goes on without it: if "
            "that batch appears later, it is billed and this job does not fetch it.",
            part.number,
            self.folder.path,
            SEARCH_S / 60,
        )
        return False

    def is_searching(self) -> bool:
        """Return whether the job searches for a batch whose creation is unknown."""
        return any(part.sought_at > 0 for part in self._creatable())

    def _check_requests(self, part: Part, path: Path) -> None:
        """Raise `DiskError` if the requests were changed since they were planned: only the planned
        ones may be billed.
        """
        from hashlib import file_digest

        try:
            with path.open("rb") as file:
                found = file_digest(file, "sha256").hexdigest()
        except OSError as exc:
            raise DiskError.of(exc, path) from exc
        if found != part.sha256:
            raise DiskError(
                f"`{path}` is damaged: its requests are not those that were written.",
                path=str(path),
            )

    def _adopted(self, part: Part) -> bool:
        """Use a batch that was made of this part although its creation was not recorded; return
        whether there is one.
        """
        try:
            found = self.api.find(self.batch_client, part, self.folder.id, self._taken(part))
        except EndlessList as exc:
            raise BatchUncertain.of(
                part,
                (),
                f"It is unknown whether the provider has created the batch of part {part.number} of "
                f"`{self.folder.path}`. {exc.message}",
            ) from exc
        if len(found) > 1:
            ids = tuple(made.batch_id for made in found)
            raise BatchUncertain.of(
                part,
                ids,
                f"A batch was being made of part {part.number} of `{self.folder.path}` when the answer was "
                f"lost, and {len(found)} batches may be it: {', '.join(ids)}.",
            )
        if found:
            self._created(part, found[0])
        return bool(found)

    def _created(self, part: Part, made: Made) -> None:
        facts = {"batch_id": made.batch_id, "expires_at": made.expires_at, "guessed": made.guessed}
        self.events.write("created", part, **facts, confirmed=False)

    def _taken(self, part: Part) -> set[str]:
        """Return the ids of batches that belong to other parts, of this job or of one in the same parent folder.

        Guessed batches are ignored.
        """
        taken = set(part.not_ours)
        here = self.folder.path.absolute()
        beside = [path.parent for path in here.parent.glob("*/job.json") if path.parent != here]
        for events in (self.events, *(PartEvents(path).read() for path in beside)):
            taken |= {one.batch_id for one in events.parts if one.batch_id and not one.guessed}
        return taken

    def _look(self, part: Part) -> None:
        try:
            look = self.looks[part.number] = self.api.look(self.batch_client, str(part.batch_id))
        except NotFound as exc:
            raise self._gone(part, "the batch") from exc
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

    def _gone(self, part: Part, what: str) -> JobStopped:
        return JobStopped(
            f"The provider does not know {what} `{part.batch_id}`, part {part.number} of `{self.folder.path}`. It was "
            "deleted, or this key belongs to another account or workspace: then take the right key, and wait again. "
            f"`job.submit_again({part.number})` makes a new batch, which is paid again."
        )

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
        if self.events.cancelled:  # A cancelled job submits nothing again.
            self.events.write("downloaded", part, outcome="cancelled", invalid=named)
            return
        if FULL in codes:
            others = len(self.events.running()) - 1
            alone = part.refused_alone + (others == 0)
            most = others if self.events.window is None else min(others, self.events.window)
            self.events.write(
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
            self.events.write("downloaded", part, outcome="failed", invalid=named)
            return
        # One event holds both facts: which rows failed, and that the others go into a new part.
        self.events.write("ended", part, outcome="failed", invalid=named, remote=[])

    def _fetch(self, part: Part) -> None:
        if part.outcome == "failed":
            # Some rows have failed validation; the others are submitted once more.
            files = self._files(self._limits(), part.round, again=True)
            self._replace(part, files, lambda part, line, name: str(line) not in part.invalid)
            return
        names = []
        folder = self.folder.path / "results"
        folder.mkdir(mode=0o700, exist_ok=True)
        for remote in part.remote:
            # Another poll may list the files in another order, or one more of them.
            name = f"{part.name}-{part.attempt}-{crc32(remote.encode()):08x}.raw.jsonl"
            if part.short_at or not (folder / name).exists():
                try:
                    self._download(remote, folder / name)
                except NotFound as exc:
                    raise self._gone(part, "the results of batch") from exc
            names.append(name)
        ours = self._is_ours(part, names) if part.guessed else True
        if ours is None and not part.confirmed:
            self._unproved(part)
        elif ours is False:
            _log.warning(
                "Batch %s was taken for part %d of this job and is another's.",
                part.batch_id,
                part.number,
            )
            for name in names:
                (folder / name).unlink()
            self.events.write("released", part)
        elif not self._fetch_again(part, names):
            self.events.write("downloaded", part, results=names, guessed=False)

    def _fetch_again(self, part: Part, names: list[str]) -> bool:
        """Reopen a part whose results lack answers that the provider counts; return whether it was reopened.

        After `RESULTS_LATE_S` the results are used as they are, with a warning.
        """
        lacking = self._lacking(part, names)
        if not lacking:
            return False
        now_s = self.now_s()
        began_s = part.short_at if 0 < part.short_at <= now_s else now_s
        if part.short_at and now_s - began_s >= RESULTS_LATE_S:
            _log.warning(
                "The provider counts %d answers in batch %s, and its results lack %d of them: those rows are "
                "`missing`. `job.resubmit()` asks and pays for them again.",
                part.answered,
                part.batch_id,
                lacking,
            )
            return False
        self.events.write("reopened", part, short_at=began_s)
        return True

    def _lacking(self, part: Part, names: list[str]) -> int:
        """Return how many answers that the provider counts are missing from the results."""
        if not part.answered:
            return 0
        rows = {name for name, _ in stored(self.parts_folder, part, self.api)}
        kinds: dict[str, str] = {}
        for name in names:
            for reply in self._replies(name):
                if reply.custom_id in rows:
                    kinds.setdefault(reply.custom_id, reply.kind)
        count = Counter(kinds.values())
        # An answer that cannot be read counts as an answer: fetching it again does not repair it.
        unreadable = max(0, count["errored"] - part.failed)
        return max(0, part.answered - count["succeeded"] - unreadable)

    def _replies(self, name: str) -> Iterator[RowReply]:
        """Yield the lines of a file of results that can be read."""
        with (self.folder.path / "results" / name).open("rb") as file:
            for line in file:
                with suppress(ValueError):
                    yield self.api.read(line)

    def _download(self, remote: str, path: Path) -> None:
        """Download a file of results.

        A truncated one is fetched again; if the same bytes come twice, they are used.
        """
        torn = path.with_name(f"{path.name}.torn")
        new = path.with_name(f"{path.name}.new")
        self.api.fetch(self.batch_client, remote, new)
        if _is_whole(new) or (torn.exists() and filecmp.cmp(torn, new, shallow=False)):
            torn.unlink(missing_ok=True)
            if path.exists() and new.stat().st_size < path.stat().st_size:
                new.unlink()  # An earlier download has more bytes, so it is kept.
                return
            new.replace(path)
            return
        new.replace(torn)
        raise MalformedResponse(
            "The results end in the middle of a line.", provider=self.batch_client.codec.provider
        )

    def _is_ours(self, part: Part, names: list[str]) -> bool | None:
        """Return whether the results show that a batch was made of this part; None if there are no results."""
        rows = {name for name, _ in stored(self.parts_folder, part, self.api)}
        found: bool | None = None
        for name in names:
            for reply in self._replies(name):
                if reply.custom_id in rows:
                    return True
                found = False
        return found

    def _unproved(self, part: Part) -> None:
        """Handle a batch that may be this part's, and that has no results to prove it."""
        look = self.api.look(self.batch_client, str(part.batch_id))
        if self.events.cancelled or (look.total and look.done - look.failed == 0):
            # Nothing was billed.
            self.events.write("released", part)
            return
        raise BatchUncertain.of(
            part,
            (str(part.batch_id),),
            f"Batch `{part.batch_id}` may be the one that was made of part {part.number} "
            f"of `{self.folder.path}`, and it has no results that would tell.",
        )

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
        may_be_made = part.stage == "created" or self._may_be_made(part)
        was_made = part.stage == "created" or (may_be_made and self._adopted(part))
        if not was_made:
            if may_be_made and self._may_appear(part):
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

    def progress(self) -> dict[str, Any]:
        """Return the rows `submitted`, `processing`, `done`, `failed`; the number of `parts` and of
        `ended` ones; the seconds `eta`.
        """
        parts = [part for part in self.events.parts if part.stage != "replaced"]
        looks = {part.number: self.looks.get(part.number) for part in parts}
        ended = [part for part in parts if part.stage in ("ended", "downloaded")]
        submitted = sum(part.rows for part in parts if part.batch_id)
        done = sum(
            part.rows if part in ended else (look.done if (look := looks[part.number]) else 0)
            for part in parts
        )
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
            if part.stage in ("downloaded", "replaced", "ended"):
                continue
            look = self.looks.get(part.number)
            if part.stage != "created" or look is None or not look.done:
                return None
            guess_s = (self.now_s() - part.at) * (part.rows - look.done) / look.done
            latest_s = part.expires_at - self.now_s() if part.expires_at else guess_s
            # The estimate must not be negative, even if a clock was changed.
            left_s = max(left_s, min(guess_s, latest_s))
        return left_s

    def _close_round(self) -> None:
        """Submit rows with transient errors again in a new round, or end the job."""
        round = max((part.round for part in self.events.parts), default=0)
        more = not self.events.cancelled and 0 < round < self.settings["max_rounds"]
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
        index = Index(self.folder.path, self.events, self.api, self.folder.id)
        codec = self.batch_client.codec
        wanted: set[int] = set()
        for number in range(self.events.rows):
            result = BatchResult(index=number, key=None, status="pending")
            if index.part_of(number) < 0:
                continue
            index.fill(result, codec, self.on_refusal)
            if isinstance(result.error, IncompleteAnswer) and "errored" not in statuses:
                continue  # another batch would suspend it again: a direct call continues it
            unfit = is_unusable is not None and is_unusable(result)
            if unfit or matches(result, statuses):
                wanted.add(number)
        index.close()
        if not wanted:
            return 0
        files = self._files(
            self._limits(), round or max(part.round for part in self.events.parts) + 1
        )
        parts = refile(
            self.parts_folder,
            list(self.events.parts),
            files,
            self.api,
            lambda part, line, name: (
                (n := int(name.split("-")[1])) in wanted and index.part_of(n) == part.number
            ),
        )
        self.events.write("planned", parts=parts)
        return len(wanted)

    def _replace(
        self, part: Part, files: PartFiles, wanted: Callable[[Part, int, str], bool]
    ) -> None:
        parts = refile(self.parts_folder, [part], files, self.api, wanted)
        self.events.write("planned", parts=parts, replaces=[part.number])

    def _files(self, limits: Limits, round: int, *, again: bool = False) -> PartFiles:
        return PartFiles(
            self.parts_folder, self.api, limits, len(self.events.parts), round=round, again=again
        )

    def _limits(self) -> Limits:
        return Limits.of(self.api, self.settings["part_rows"], self.settings["part_bytes"])


def _is_whole(path: Path) -> bool:
    """Return whether a file of results ends with a whole line; a server may truncate it without an error."""
    last = b""
    with path.open("rb") as file:
        for line in file:
            last = line if line.strip() else last
    try:
        from_json(without_bom(last) or b"null")
    except ValueError:
        return False
    return True


def _is_refusal(exc: ModelwireError) -> bool:
    """Return whether a failed request to create a batch has certainly created none."""
    if isinstance(exc, (CallerError, ConnectFailed, TLSFailed)):
        # These errors show that the request was not sent.
        return True
    status = exc.status_code if isinstance(exc, ProviderError) else None
    return status is not None and 400 <= status < 500 and status not in UNKNOWN_STATUSES


def _queue_pause_s(part: Part) -> float:
    """Return the seconds between a refusal for a full queue and the next submission of a part."""
    if part.stage != "planned" or not part.refused_alone:
        return 0.0
    return float(min(QUEUE_LONGEST_S, QUEUE_PAUSE_S * 2 ** min(part.refused_alone - 1, 10)))


def _refusal_text(look: Look) -> str:
    texts = [str(error.get("message") or error.get("code")) for error in look.errors[:3]]
    return "The provider refused the batch: " + ("; ".join(texts) or "it gave no reason")
