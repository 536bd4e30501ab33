"""How a batch job goes on: one pass over its parts does whatever can be done now, and never anything twice.

Before a batch is made, the intent to make it is written down. When nobody knows whether it was made (a crash, a lost
answer), the provider's batches are looked through first, and one that is this part's is taken over.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelwire.errors import ChatError, JobStopped, MalformedResponse
from modelwire.jobs.provider_batch.ledger import Ledger, Part
from modelwire.jobs.provider_batch.results import RETRYABLE, BatchResult, Index, matches
from modelwire.jobs.provider_batch.splitting import Limits, PartFiles, part_path, refile

if TYPE_CHECKING:
    from modelwire.jobs.folder import JobFolder
    from modelwire.jobs.provider_batch.door import BatchApi, Door, Look, Made

__all__ = ["BatchUncertain", "Steering"]

_log = logging.getLogger(__name__)

LATE_S = 3600.0  # how long after its end a batch may be said to run
ALONE = 2  # refusals of a part that is the only one, before it is halved
FULL = "token_limit_exceeded"


class BatchUncertain(JobStopped):
    """Several batches may be the one that was made of a part; only its maker can tell. `part`, `batch_ids`."""

    part = 0
    batch_ids: tuple[str, ...] = ()


class Steering:
    """Carries a job on. Needs the folder claimed and the ledger open."""

    def __init__(
        self, folder: JobFolder, ledger: Ledger, api: BatchApi, door: Door, now_s: Callable[[], float] = time.time
    ) -> None:
        self.folder, self.ledger, self.api, self.door, self.now_s = folder, ledger, api, door, now_s
        self.settings: dict[str, Any] = folder.about["batch"]
        self.parts_folder = folder.path / "parts"
        self.looks: dict[int, Look] = {}

    # ------------------------------------------------------------ one pass

    def advance(self) -> None:
        """Do what can be done now. What fails for one part keeps no other from going on; it is raised at the end."""
        failure: ChatError | None = None
        for act, parts in (
            (self._create, self._creatable),
            (self._look, self.ledger.running),
            (self._fetch, self._ended),
        ):
            for part in parts():
                try:
                    act(part)
                except ChatError as exc:
                    failure = failure or exc
                    if act == self._create:
                        break
        if failure is not None:
            raise failure
        if all(part.stage in ("downloaded", "replaced") for part in self.ledger.parts):
            self._close_round()

    def submitted(self) -> bool:
        """Tell whether there is nothing to be made now."""
        return not self._creatable()

    def _creatable(self) -> list[Part]:
        waiting = self.ledger.waiting()
        if self.ledger.window is not None:
            waiting = waiting[: max(0, self.ledger.window - len(self.ledger.running()))]
        return waiting

    def _ended(self) -> list[Part]:
        return [part for part in self.ledger.parts if part.stage == "ended"]

    # ------------------------------------------------------------ making batches

    def _create(self, part: Part) -> None:
        ledger, path = self.ledger, part_path(self.parts_folder, part.number)
        if part.stage == "planned":
            newest = self.api.newest(self.door)
            ledger.write("intent", part, attempt=part.attempt + 1, newest=newest)
        elif self._adopted(part):
            return
        if part.stage == "intent" and (file_id := self.api.upload(self.door, part, path, self.folder.id)) is not None:
            ledger.write("uploaded", part, file_id=file_id)
        about = {"endpoint": ledger.endpoint, "headers": ledger.headers, "metadata": self.settings["metadata"]}
        made = self.api.create(self.door, part, path, self.folder.id, about)
        self._created(part, made)

    def _adopted(self, part: Part) -> bool:
        """Take over a batch that was made of this part though nobody heard of it."""
        found = self.api.find(self.door, part, self.folder.id, self._taken())
        if len(found) > 1:
            ids = tuple(made.batch_id for made in found)
            error = BatchUncertain(
                f"A batch was being made of part {part.number} of `{self.folder.path}` when the answer was lost, and "
                f"{len(found)} batches may be it: {', '.join(ids)}. `job.adopt({part.number}, batch_id)` takes one, "
                f"`job.submit_again({part.number})` makes a new one."
            )
            error.part, error.batch_ids = part.number, ids
            raise error
        if found:
            self._created(part, found[0])
        return bool(found)

    def _created(self, part: Part, made: Made) -> None:
        facts = {"batch_id": made.batch_id, "expires_at": made.expires_at, "guessed": made.guessed}
        self.ledger.write("created", part, **facts)

    def _taken(self) -> set[str]:
        """Return the batches that are known to be another part's, or another job's beside this one."""
        taken = {part.batch_id for part in self.ledger.parts if part.batch_id} | self.ledger.foreign
        for path in self.folder.path.absolute().parent.glob(f"*/{self.ledger.path.name}"):
            if path.parent != self.folder.path.absolute():
                taken |= {part.batch_id for part in Ledger(path.parent).read().parts if part.batch_id}
        return taken

    # ------------------------------------------------------------ watching them

    def _look(self, part: Part) -> None:
        look = self.looks[part.number] = self.api.look(self.door, str(part.batch_id))
        if not look.ended:
            if part.expires_at and self.now_s() > part.expires_at + LATE_S:
                raise JobStopped(
                    f"Batch `{part.batch_id}` should have ended an hour ago and has not. Ask the provider about it; "
                    "the job goes on when it is waited for again."
                )
            return
        if look.outcome == "failed":
            self._refused(part, look)
            return
        remote = [self.door.same_origin(url) if "://" in url else url for url in look.remote]
        self.ledger.write("ended", part, outcome=look.outcome, remote=remote)

    def _refused(self, part: Part, look: Look) -> None:
        """Judge a batch that failed as a whole: a full queue passes, rows named by validation fail."""
        codes = {error.get("code") for error in look.errors}
        if FULL in codes:
            others = len(self.ledger.running()) - 1
            alone = part.refused_alone + (others == 0)
            if alone > ALONE and part.rows > 1:
                self._halve(part)
            elif alone <= ALONE:
                window = max(1, others // 2 if self.ledger.window is None else min(others, self.ledger.window) // 2)
                self.ledger.write("requeued", part, window=window, refused_alone=alone, outcome="")
            else:
                self.ledger.write("downloaded", part, outcome="failed", invalid={"all": _said(look)})
            return
        named = {str(error["line"]): str(error.get("message")) for error in look.errors if error.get("line")}
        if not named or part.again or len(named) >= part.rows:
            named = {"all": _said(look), **named}
            self.ledger.write("downloaded", part, outcome="failed", invalid=named)
            return
        # The ledger says both at once: which rows failed, and where the others have gone.
        self.ledger.write("ended", part, outcome="failed", invalid=named, remote=[])

    def _halve(self, part: Part) -> None:
        files = self._files(Limits(part.rows // 2, self.api.max_bytes), part.round)
        self._replace(part, files, lambda part, line, name: True)

    # ------------------------------------------------------------ what they have brought

    def _fetch(self, part: Part) -> None:
        if part.outcome == "failed":  # some of its rows failed validation; the others go again, once
            files = self._files(self._limits(), part.round, again=True)
            self._replace(part, files, lambda part, line, name: str(line) not in part.invalid)
            return
        names = []
        folder = self.folder.path / "results"
        folder.mkdir(mode=0o700, exist_ok=True)
        for index, remote in enumerate(part.remote):
            name = f"{part.name}-{part.attempt}-{index}.raw.jsonl"
            if not (folder / name).exists():
                self.door.download(remote, folder / name)
                self._check_whole(folder / name)
            names.append(name)
        if part.guessed and names and not self._is_ours(part, names):
            _log.warning("Batch %s was taken for part %d of this job and is another's.", part.batch_id, part.number)
            for name in names:
                (folder / name).unlink()
            self.ledger.write("requeued", part, outcome="", remote=[])
            return
        self.ledger.write("downloaded", part, results=names)

    def _check_whole(self, path: Path) -> None:
        """Raise when the last line is torn: what a server cut short without saying so."""
        last = b""
        with path.open("rb") as file:
            for line in file:
                last = line if line.strip() else last
        try:
            if last:
                self.api.read(last)
        except ValueError as exc:
            path.unlink()
            raise MalformedResponse(
                "The results end in the middle of a line.", provider=self.door.codec.provider
            ) from exc

    def _is_ours(self, part: Part, names: list[str]) -> bool:
        prefix = f"{self.folder.id[:6]}-"
        for name in names:
            with (self.folder.path / "results" / name).open("rb") as file:
                if any(self.api.read(line).custom_id.startswith(prefix) for line in file if line.strip()):
                    return True
        return False

    # ------------------------------------------------------------ its end, and how far it is

    def cancel(self) -> None:
        """End the batches there are, and make no more."""
        self.ledger.write("cancelled")
        for part in self.ledger.waiting():
            if part.stage == "planned" or not self._adopted(part):
                self.ledger.write("downloaded", part, outcome="cancelled")
        for part in self.ledger.running():
            self.api.cancel(self.door, str(part.batch_id))

    def progress(self) -> dict[str, Any]:
        """Return the rows `submitted`, `processing`, `done`, `failed`; `parts`, those `ended`; `eta`, seconds."""
        parts = [part for part in self.ledger.parts if part.stage != "replaced"]
        looks = {part.number: self.looks.get(part.number) for part in parts}
        ended = [part for part in parts if part.stage in ("ended", "downloaded")]
        submitted = sum(part.rows for part in parts if part.batch_id)
        done = sum(part.rows if part in ended else (look.done if (look := looks[part.number]) else 0) for part in parts)
        failed = sum(look.failed for look in looks.values() if look)
        return {
            "submitted": submitted, "processing": submitted - done, "done": done, "failed": failed,
            "parts": len(parts), "ended": len(ended), "eta": self._eta_s(),
        }  # fmt: skip

    def _eta_s(self) -> float | None:
        """Guess the seconds until all is done from how fast each batch was so far; None while one says nothing."""
        left_s = 0.0
        for part in self.ledger.parts:
            if part.stage in ("downloaded", "replaced", "ended"):
                continue
            look = self.looks.get(part.number)
            if part.stage != "created" or look is None or not look.done:
                return None
            guess_s = (self.now_s() - part.at) * (part.rows - look.done) / look.done
            latest_s = part.expires_at - self.now_s() if part.expires_at else guess_s
            left_s = max(left_s, min(guess_s, latest_s))
        return left_s

    # ------------------------------------------------------------ further rounds

    def _close_round(self) -> None:
        """Ask rows again that were unlucky, in a round of their own, or end the job."""
        round = max((part.round for part in self.ledger.parts), default=0)
        more = not self.ledger.cancelled and 0 < round < self.settings["max_rounds"]
        if not more or not self.resubmit((RETRYABLE,), round=round + 1):
            self.ledger.write("done")

    def resubmit(self, statuses: tuple[str, ...], *, round: int | None = None) -> int:
        """Plan the rows again whose result is of one of the statuses; return how many they are."""
        index = Index(self.folder.path, self.ledger, self.api, self.folder.id)
        codec = self.door.codec
        wanted: set[int] = set()
        for number in range(self.ledger.rows):
            result = BatchResult(index=number, key=None, status="pending")
            if index.part_of(number) >= 0 and matches(index.fill(result, codec), statuses):
                wanted.add(number)
        index.close()
        if not wanted:
            return 0
        files = self._files(self._limits(), round or max(part.round for part in self.ledger.parts) + 1)
        parts = refile(
            self.parts_folder, list(self.ledger.parts), files, self.api,
            lambda part, line, name: (n := int(name.split("-")[1])) in wanted and index.part_of(n) == part.number,
        )  # fmt: skip
        self.ledger.write("planned", parts=parts)
        return len(wanted)

    def _replace(self, part: Part, files: PartFiles, wanted: Callable[[Part, int, str], bool]) -> None:
        parts = refile(self.parts_folder, [part], files, self.api, wanted)
        self.ledger.write("planned", parts=parts, replaces=[part.number])

    def _files(self, limits: Limits, round: int, *, again: bool = False) -> PartFiles:
        return PartFiles(self.parts_folder, self.api, limits, len(self.ledger.parts), round=round, again=again)

    def _limits(self) -> Limits:
        return Limits.of(self.api, self.settings["part_rows"], self.settings["part_bytes"])


def _said(look: Look) -> str:
    texts = [str(error.get("message") or error.get("code")) for error in look.errors[:3]]
    return "The provider refused the batch: " + ("; ".join(texts) or "it gave no reason")
