"""Downloads the results of a batch that has ended, and checks that they are whole and this job's."""

from __future__ import annotations

import filecmp
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

from pydantic_core import from_json

from modelwire.errors import MalformedResponse, NotFound
from modelwire.jobs.batch_api.api import without_bom
from modelwire.jobs.batch_api.open_job import BatchUncertain, PartWork
from modelwire.jobs.batch_api.part_requests import name_of, requests_of
from modelwire.jobs.store import REPLIES, Entry

if TYPE_CHECKING:
    from modelwire.jobs.batch_api.api import RowReply
    from modelwire.jobs.batch_api.part_log import Part

_log = logging.getLogger(__name__)

# If the results have fewer answers than the provider counts, they are fetched again for this long.
RESULTS_LATE_S = 900.0


class Downloads(PartWork):
    """Downloads the results of an open job's batches."""

    def fetch(self, part: Part) -> None:
        """Download and store the results of a part whose batch has ended.

        Raises: `BatchUncertain` if nothing proves that a guessed batch is this part's.
        """
        if part.outcome == "failed":
            # Some rows have failed validation; the others are submitted once more.
            self.job.submit_anew(
                [part],
                lambda part, line, row: str(line) not in part.invalid,
                round=part.round,
                again=True,
                replaces=[part.number],
            )
            return
        names = []
        folder = self.job.results_folder
        folder.mkdir(mode=0o700, exist_ok=True)
        for remote in part.remote:
            # Another poll may list the files in another order, or one more of them.
            checksum = crc32(remote.encode())
            name = f"{part.name}-{part.attempt}-{checksum:08x}.raw.jsonl"
            if part.short_at or not (folder / name).exists():
                try:
                    self._download(remote, folder / name)
                except NotFound as exc:
                    raise self.job.unknown_to_provider(part, "the results of batch") from exc
            names.append(name)
        rows = {
            name_of(self.api, request): row for row, request in requests_of(self.events.store, part)
        }
        kinds = Counter(reply.kind for _, reply, _ in self._replies(names, rows))
        is_unproved = part.guessed and not kinds
        if is_unproved and any(self._readable(names)):
            self._release(part, names)
        elif is_unproved and not part.confirmed:
            self._unproved(part)
        elif not self._fetch_again(part, self._lacking(part, kinds)):
            self._store(part, names, rows)

    def _release(self, part: Part, names: list[str]) -> None:
        """Discard a batch that was guessed to be this part's, because its results have other rows."""
        _log.warning(
            "Batch %s was taken for part %d of this job and is another's.",
            part.batch_id,
            part.number,
        )
        self._forget(names)
        self.events.write("released", part)

    def _store(self, part: Part, names: list[str], rows: Mapping[str, int]) -> None:
        """Store the results of a part in one transaction with the event "downloaded", and delete their files."""
        with self.events.store.transaction():
            kind = str(part.number)
            replies = self._replies(names, rows)
            entries = (Entry.of(kind, line, row) for row, _, line in replies)
            self.events.store.append(REPLIES, entries)
            self.events.write("downloaded", part, guessed=False)
        self._forget(names)

    def _forget(self, names: list[str]) -> None:
        for name in names:
            (self.job.results_folder / name).unlink(missing_ok=True)

    def _fetch_again(self, part: Part, lacking: int) -> bool:
        """Reopen a part if answers are `lacking`, so that its results are fetched again; return whether it was.

        After `RESULTS_LATE_S` the results are used as they are, with a warning.
        """
        if not lacking:
            return False
        now_s = self.now_s()
        began_s = now_s
        if 0 < part.short_at <= now_s:
            began_s = part.short_at
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

    def _lacking(self, part: Part, kinds: Counter[str]) -> int:
        """Return how many answers, of those that the provider counts, are missing from the results."""
        if not part.answered:
            return 0
        # An answer that cannot be read counts as an answer: fetching it again does not repair it.
        unreadable = max(0, kinds["errored"] - part.failed)
        return max(0, part.answered - kinds["succeeded"] - unreadable)

    def _replies(
        self,
        names: list[str],
        rows: Mapping[str, int],
    ) -> Iterator[tuple[int, RowReply, bytes]]:
        """Yield the first result of each row: the row's number, the result and its line."""
        open_rows = dict(rows)
        for reply, line in self._readable(names):
            row = open_rows.pop(reply.custom_id, None)
            if row is not None:
                yield row, reply, line

    def _readable(self, names: list[str]) -> Iterator[tuple[RowReply, bytes]]:
        """Yield each result in the files that can be read, with its line. Other lines are skipped."""
        for name in names:
            with (self.job.results_folder / name).open("rb") as file:
                for line in file:
                    with suppress(ValueError):
                        yield self.api.read(line), line.rstrip()

    def _download(self, remote: str, path: Path) -> None:
        """Download a file of results to `path`.

        Raises: `MalformedResponse`, which is retried, for a truncated file. If a second download has
        the same bytes, it is accepted.
        """
        torn = path.with_name(f"{path.name}.torn")
        new = path.with_name(f"{path.name}.new")
        self.api.fetch(self.batch_client, remote, new)
        is_same_as_before = torn.exists() and filecmp.cmp(torn, new, shallow=False)
        if not is_same_as_before and not _is_whole(new):
            new.replace(torn)
            raise MalformedResponse(
                "The results end in the middle of a line.",
                provider=self.batch_client.codec.provider,
            )
        torn.unlink(missing_ok=True)
        if path.exists() and new.stat().st_size < path.stat().st_size:
            new.unlink()  # An earlier download has more bytes, so it is kept.
        else:
            new.replace(path)

    def _unproved(self, part: Part) -> None:
        """Discard a guessed batch that has no results and has answered nothing, else raise `BatchUncertain`."""
        look = self.job.look(part)
        has_no_answer = look.total > 0 and look.done == look.failed
        if self.events.cancelled or has_no_answer:
            # Nothing was billed.
            self.events.write("released", part)
            return
        raise BatchUncertain.of(
            part,
            (str(part.batch_id),),
            f"Batch `{part.batch_id}` may be the one that was made of part {part.number} "
            f"of `{self.folder.path}`, and it has no results that would tell.",
        )


def _is_whole(path: Path) -> bool:
    """Return whether the last line of a file is valid JSON; a server may truncate a file without an error."""
    last = b""
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                last = line
    try:
        from_json(without_bom(last) or b"null")
    except ValueError:
        return False
    return True
