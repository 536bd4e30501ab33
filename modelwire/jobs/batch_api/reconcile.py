"""How a batch job goes on: one pass over its parts does whatever can be done now, and never anything twice.

Before a batch is made, the intent to make it is written down. When nobody knows whether it was made (a crash, a lost
answer), the provider's batches are looked through first, and one that is this part's is taken over. Where nothing of a
batch says whose it is, that is a guess until its results are seen: it is watched, and never cancelled.
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
    JobStopped,
    MalformedResponse,
    ModelwireError,
    NotFound,
    ProviderError,
    TLSFailed,
)
from modelwire.jobs.batch_api.api import EndlessList, without_bom
from modelwire.jobs.batch_api.part_events import Part, PartEvents
from modelwire.jobs.batch_api.plan import Limits, PartFiles, part_path, refile, stored
from modelwire.jobs.batch_api.results import RETRYABLE, BatchResult, Index, matches
from modelwire.jobs.owned_files import disk_errors

if TYPE_CHECKING:
    from modelwire.jobs.batch_api.api import BatchApi, Look, Made, RowReply
    from modelwire.jobs.batch_api.client import BatchClient
    from modelwire.jobs.folder import JobFolder

__all__ = ["BatchUncertain", "Reconciler"]

_log = logging.getLogger(__name__)

# If the outcome of creating a batch is unknown, the provider's list is searched for so long before
# a second batch is created. No provider documents a limit; gateways give up after 60 to 300 s.
SEARCH_S = 300.0
# These answers of a gateway do not say that the provider has refused the request.
UNKNOWN_STATUSES = (408, 409, 499)
# Results that lack answers which the provider counts are fetched again for so long.
RESULTS_LATE_S = 900.0
LATE_S = 3600.0  # how long after its end a batch may be reported to run
# If the queue is full without a batch of this job in it, the part is submitted again after a pause,
# which doubles with each refusal.
QUEUE_PAUSE_S, QUEUE_LONGEST_S = 30.0, 600.0
FULL = "token_limit_exceeded"


class BatchUncertain(JobStopped):
    """One batch or several may be the one that was made of a part; only its maker can tell. `part`, `batch_ids`."""

    part = 0
    batch_ids: tuple[str, ...] = ()

    @classmethod
    def of(cls, part: Part, batch_ids: tuple[str, ...], why: str) -> BatchUncertain:
        """Say what is not known about a part, and the two things its maker can do."""
        error = cls(
            f"{why} `job.adopt({part.number}, batch_id)` takes one, `job.submit_again({part.number})` makes a new one."
        )
        error.part, error.batch_ids = part.number, batch_ids
        return error


class Reconciler:
    """Carries a job on. Needs the folder claimed and its events open."""

    def __init__(
        self,
        folder: JobFolder,
        events: PartEvents,
        api: BatchApi,
        batch_client: BatchClient,
        now_s: Callable[[], float] = time.time,
    ) -> None:
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
        """Do what can be done now. What fails for one part keeps no other from going on; it is raised at the end."""
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
                        continue  # it ends all the same, and is watched
                    failure = failure or exc
                    if act == self._create:
                        break
                except JobStopped as exc:  # something to tell about this part
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
        """Have the batch of a part made, unless it was: whatever may have been made before is looked for first."""
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
            self.events.write(
                "intent", part, file_id=None, file_at=0.0
            )  # what was uploaded then is gone
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
        if part.refused or part.sought_at:  # from here on the outcome is unknown once more
            events.write("noted", part, refused=False, sought_at=0.0)
        try:
            made = self.api.create(self.batch_client, part, path, self.folder.id, about)
        except ModelwireError as exc:
            if _is_refusal(exc):
                events.write("noted", part, refused=True)
            raise
        self._created(part, made)

    def _may_be_made(self, part: Part) -> bool:
        """Return whether the provider may have a batch of a waiting part."""
        return part.stage != "planned" or part.unheard

    def _may_appear(self, part: Part) -> bool:
        """Return whether a batch that the provider does not list yet may still appear there.

        The first call begins the search, which lasts `SEARCH_S`, also in another process.
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
        """Return whether a batch is searched for whose creation is unknown."""
        return any(part.sought_at > 0 for part in self._creatable())

    def _check_requests(self, part: Part, path: Path) -> None:
        """Raise where the requests are not those that were written: what is paid for is what was asked."""
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
        """Take over a batch that was made of this part though nobody heard of it."""
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
        """Return the batches that are known not to be this part's: another one's, of this job or one beside it.

        What somebody has only guessed counts for nothing.
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
        if not look.ended or (
            look.lacks_results and not part.guessed
        ):  # of a guess, somebody judges
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
        """Judge a batch that failed as a whole: a full queue passes, rows named by validation fail."""
        codes = {error.get("code") for error in look.errors}
        named = {
            str(error["line"]): str(error.get("message"))
            for error in look.errors
            if error.get("line")
        }
        if self.events.cancelled:  # nothing is made again
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
        # One event says both at once: which rows failed, and where the others have gone.
        self.events.write("ended", part, outcome="failed", invalid=named, remote=[])

    def _fetch(self, part: Part) -> None:
        if (
            part.outcome == "failed"
        ):  # some of its rows failed validation; the others go again, once
            files = self._files(self._limits(), part.round, again=True)
            self._replace(part, files, lambda part, line, name: str(line) not in part.invalid)
            return
        names = []
        folder = self.folder.path / "results"
        folder.mkdir(mode=0o700, exist_ok=True)
        for remote in part.remote:
            # Another look may name the files in another order, or one more of them.
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
        """Reopen a part whose results lack answers that the provider counts; return whether that is so.

        After `RESULTS_LATE_S` the results are taken as they are, with a warning.
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
        """Return how many answers that the provider counts are not in the results."""
        if not part.answered:
            return 0
        rows = {name for name, _ in stored(self.parts_folder, part, self.api)}
        kinds: dict[str, str] = {}
        for name in names:
            for reply in self._replies(name):
                if reply.custom_id in rows:
                    kinds.setdefault(reply.custom_id, reply.kind)
        count = Counter(kinds.values())
        # An answer that cannot be read counts as an answer: fetching it again does not mend it.
        unreadable = max(0, count["errored"] - part.failed)
        return max(0, part.answered - count["succeeded"] - unreadable)

    def _replies(self, name: str) -> Iterator[RowReply]:
        """Yield the lines of a file of results that can be read."""
        with (self.folder.path / "results" / name).open("rb") as file:
            for line in file:
                with suppress(ValueError):
                    yield self.api.read(line)

    def _download(self, remote: str, path: Path) -> None:
        """Fetch a file of results. One whose end is torn is fetched again; the same bytes twice are what there is."""
        torn = path.with_name(f"{path.name}.torn")
        new = path.with_name(f"{path.name}.new")
        self.api.fetch(self.batch_client, remote, new)
        if _is_whole(new) or (torn.exists() and filecmp.cmp(torn, new, shallow=False)):
            torn.unlink(missing_ok=True)
            if path.exists() and new.stat().st_size < path.stat().st_size:
                new.unlink()  # an earlier download has brought more
                return
            new.replace(path)
            return
        new.replace(torn)
        raise MalformedResponse(
            "The results end in the middle of a line.", provider=self.batch_client.codec.provider
        )

    def _is_ours(self, part: Part, names: list[str]) -> bool | None:
        """Tell by its results whether a batch was made of this part; None where there are none to tell it."""
        rows = {name for name, _ in stored(self.parts_folder, part, self.api)}
        found: bool | None = None
        for name in names:
            for reply in self._replies(name):
                if reply.custom_id in rows:
                    return True
                found = False
        return found

    def _unproved(self, part: Part) -> None:
        """Judge a batch that may be this part's, and that has no results to tell whose it was."""
        look = self.api.look(self.batch_client, str(part.batch_id))
        if self.events.cancelled or (
            look.total and look.done - look.failed == 0
        ):  # nothing was paid
            self.events.write("released", part)
            return
        raise BatchUncertain.of(
            part,
            (str(part.batch_id),),
            f"Batch `{part.batch_id}` may be the one that was made of part {part.number} "
            f"of `{self.folder.path}`, and it has no results that would tell.",
        )

    def cancel(self) -> None:
        """End the batches there are, and make no more. What fails for one is raised when all were asked."""
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
        """Return the parts that are to be ended, once the job is cancelled, and have not been."""
        if not self.events.cancelled:
            return []
        running = [
            part for part in self.events.running() if not part.cancel_asked and not part.is_guess
        ]
        return [*self.events.waiting(), *running]

    def _end_early(self, part: Part) -> None:
        """End a part: one without a batch at once. A batch of which nobody knows whose it is, is left alone."""
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
        """Tell whether a batch that refuses to be cancelled is over, or about to be."""
        try:
            return bool(self.api.look(self.batch_client, str(part.batch_id)).outcome)
        except ChatError:
            return False

    def progress(self) -> dict[str, Any]:
        """Return the rows `submitted`, `processing`, `done`, `failed`; `parts`, those `ended`; `eta`, seconds."""
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
        """Guess the seconds until all is done from how fast each batch was so far; None while one says nothing."""
        left_s = 0.0
        for part in self.events.parts:
            if part.stage in ("downloaded", "replaced", "ended"):
                continue
            look = self.looks.get(part.number)
            if part.stage != "created" or look is None or not look.done:
                return None
            guess_s = (self.now_s() - part.at) * (part.rows - look.done) / look.done
            latest_s = part.expires_at - self.now_s() if part.expires_at else guess_s
            left_s = max(
                left_s, min(guess_s, latest_s)
            )  # not less than 0, whatever a clock has done meanwhile
        return left_s

    def _close_round(self) -> None:
        """Ask rows again that were unlucky, in a round of their own, or end the job."""
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
        """Plan the rows again whose result is of one of the statuses; return how many they are."""
        index = Index(self.folder.path, self.events, self.api, self.folder.id)
        codec = self.batch_client.codec
        wanted: set[int] = set()
        for number in range(self.events.rows):
            result = BatchResult(index=number, key=None, status="pending")
            if index.part_of(number) < 0:
                continue
            index.fill(result, codec)
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
    """Tell whether a file of results ends with a whole line; a server may cut it short without saying so."""
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
    if isinstance(exc, (CallerError, ConnectFailed, TLSFailed)):  # the request was not sent
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
