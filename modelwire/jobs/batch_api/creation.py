"""Creates the batch of a part, and never a second one for the same attempt.

The intent to create a batch is stored before the request is sent. If it is unknown whether the
batch was created (after a crash or a lost answer), the provider's batches are searched first, and
one that was made of the part is used. If the provider's data do not identify the batch, it is a
guess until its results arrive: it is polled, and never cancelled.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from modelwire.errors import (
    BadRequest,
    CallerError,
    ConnectFailed,
    ModelwireError,
    NotFound,
    ProviderError,
    TLSFailed,
)
from modelwire.jobs.batch_api.api import EndlessList
from modelwire.jobs.batch_api.open_job import BatchUncertain, PartWork
from modelwire.jobs.batch_api.part_log import Part, PartEvents
from modelwire.jobs.batch_api.part_requests import write_requests
from modelwire.jobs.owned_files import disk_errors

if TYPE_CHECKING:
    from pathlib import Path

    from modelwire.jobs.batch_api.api import Made

_log = logging.getLogger(__name__)

# If the outcome of creating a batch is unknown, the provider's list is searched for this long
# before a second batch is created. No provider documents a limit; gateways give up after 60 to 300
# s.
SEARCH_S = 300.0
# After these statuses of a gateway, the provider may still have executed the request.
_UNKNOWN_STATUSES = (408, 409, 499)


class Creation(PartWork):
    """Creates the batches of an open job, and finds batches whose creation was not recorded."""

    def create(self, part: Part) -> None:
        """Create the batch of a part, after searching for one that may have been created before."""
        if self.may_be_made(part) and (self.adopted(part) or self.may_appear(part)):
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
        """Upload the requests of a part if that is not done, and create its batch."""
        path = self.job.parts_folder / f"{part.name}.req.jsonl"
        with disk_errors(path):
            try:
                self._upload(part, path)
                made = self._create(part, path)
            finally:
                path.unlink(missing_ok=True)
        self._created(part, made)

    def _upload(self, part: Part, path: Path) -> None:
        """Write the requests of a part into the file at `path`, and upload it if the provider takes files."""
        if part.stage != "intent":
            return
        write_requests(self.events.store, part, self.api, path)
        uploaded = self.api.upload(self.batch_client, part, path, self.folder.id)
        if uploaded is not None:
            facts = {"file_id": uploaded.file_id, "file_at": uploaded.made_at}
            self.events.write("uploaded", part, **facts)

    def _create(self, part: Part, path: Path) -> Made:
        events = self.events
        about = {
            "endpoint": events.endpoint,
            "headers": events.headers,
            "metadata": self.job.settings["metadata"],
        }
        if part.refused or part.sought_at:
            # Once the request is sent, its outcome is unknown again.
            events.write("noted", part, refused=False, sought_at=0.0)
        try:
            return self.api.create(self.batch_client, part, path, self.folder.id, about)
        except ModelwireError as exc:
            if _is_refusal(exc):
                events.write("noted", part, refused=True)
            raise

    def may_be_made(self, part: Part) -> bool:
        """Return whether the provider may have created a batch of a part without a recorded one."""
        return part.stage != "planned" or part.possibly_lost

    def may_appear(self, part: Part) -> bool:
        """Return whether the batch of a part may still appear in the provider's list.

        The first call starts the search, which lasts `SEARCH_S` and continues in later processes.
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

    def adopted(self, part: Part) -> bool:
        """Search the provider's list for a batch of this part that was not recorded, and record it.

        Return whether there is one. Raises: `BatchUncertain` if the list does not show which one it is.
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
        """Return the ids of batches that belong to other parts, of this job or of a job in the same parent folder.

        Guessed batches are ignored.
        """
        taken = set(part.not_ours)
        here = self.folder.path.absolute()
        parts = list(self.events.parts)
        for path in here.parent.glob("*/job.json"):
            if path.parent != here:
                parts += PartEvents(path.parent).read().parts
        for one in parts:
            if one.batch_id and not one.guessed:
                taken.add(one.batch_id)
        return taken


def _is_refusal(exc: ModelwireError) -> bool:
    """Return whether it is certain that a failed request to create a batch has created none."""
    if isinstance(exc, (CallerError, ConnectFailed, TLSFailed)):
        # These errors show that the request was not sent.
        return True
    if not isinstance(exc, ProviderError):
        return False
    status = exc.status_code or 0
    return 400 <= status < 500 and status not in _UNKNOWN_STATUSES
