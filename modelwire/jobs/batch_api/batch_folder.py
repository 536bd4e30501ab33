"""The folder of a batch job, and what is made from its settings: the way to the provider, the codec, the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from modelwire import ext
from modelwire.errors import InvalidArgument
from modelwire.jobs.batch_api.api import BatchApi
from modelwire.jobs.batch_api.client import BatchClient
from modelwire.jobs.batch_api.embeddings import codec_of_rows
from modelwire.jobs.batch_api.open_job import OpenJob
from modelwire.jobs.batch_api.part_log import PartEvents
from modelwire.jobs.batch_api.registry import api_of
from modelwire.jobs.folder import JobFolder

if TYPE_CHECKING:
    from modelwire.adapters.wires.wire import Codec
    from modelwire.ext import HTTPChatModel
    from modelwire.jobs.batch_api.chain import Split

# The rows, requests and results of a batch are in the job's store since format 3.
FORMAT = 3


class BatchFolder:
    """The folder at `path`. `split` is the job's chain, or None if only the folder is known."""

    def __init__(self, path: Path, split: Split | None) -> None:
        self.path = path
        self.split = split

    def read(self) -> tuple[JobFolder, PartEvents]:
        """Return the folder and its events, without a lock."""
        folder = JobFolder(self.path)
        check_format(folder)
        folder.check_store()
        return folder, PartEvents(self.path).read()

    @contextmanager
    def claimed(self) -> Iterator[tuple[JobFolder, PartEvents]]:
        """Lock the folder for this process and read its events.

        Raises: `JobBusy` if another process has the lock.
        """
        folder = JobFolder(self.path)
        folder.claim()
        events = PartEvents(self.path)
        try:
            check_format(folder)
            yield folder, events.open()
        finally:
            events.close()
            folder.release()

    @contextmanager
    def opened(self, now_s: Callable[[], float]) -> Iterator[OpenJob]:
        """Lock the folder and open the way to the provider."""
        with self.claimed() as (folder, events), self.connected(folder, events, now_s) as job:
            yield job

    @contextmanager
    def connected(
        self,
        folder: JobFolder,
        events: PartEvents,
        now_s: Callable[[], float],
    ) -> Iterator[OpenJob]:
        """Open the way to the provider of a folder that is locked."""
        with self.client(folder, events) as client:
            yield OpenJob(folder, events, self.api(folder), client, now_s, self.on_refusal)

    @property
    def on_refusal(self) -> str:
        """What is done with refused answers: as the chain's model does, or an error without the chain."""
        if self.split is None:
            return "raise"
        return str(self.split.kwargs.get("on_refusal", self.split.model.on_refusal))

    def needed_chain(self, what: str) -> Split:
        """Return the job's chain. Raises: `InvalidArgument` if it is unknown, and `what` needs it."""
        if self.split is None:
            raise InvalidArgument(f"`{what}` needs the chain: `BatchJob.load(..., chain=chain)`.")
        return self.split

    def api(self, folder: JobFolder) -> BatchApi:
        """Return the Batch API that the job was submitted to."""
        about = folder.about["batch"]
        return api_of(
            str(about["wire"]), azure=about.get("azure", False), bucket=about.get("bucket")
        )

    def codec(self, folder: JobFolder, events: PartEvents) -> Codec:
        """Return the codec for the answers.

        A model may speak two wires; the batch's endpoint shows which one it was made for.
        """
        about = folder.about["batch"]
        if about.get("embeddings") is not None:
            return codec_of_rows(about)
        known = [ext.wire_named(name) for name in (str(about["wire"]), *ext.WIRES)]
        wire = next((wire for wire in known if events.endpoint.endswith(wire.path)), known[0])
        return wire.codec(about["provider"])

    def client(self, folder: JobFolder, events: PartEvents) -> BatchClient:
        """Return the client that sends the requests of a Batch API."""
        return BatchClient(self._model(folder), self.codec(folder, events))

    def _model(self, folder: JobFolder) -> HTTPChatModel:
        """Return the chain's model.

        Without the chain, return one made from the settings in the folder.
        """
        if self.split is not None:
            return self.split.model
        about = folder.about["batch"]
        if about.get("client") is not None:
            raise InvalidArgument(
                f"`{self.path}` was submitted through a client of its own, `{about['client']}`: only the chain knows "
                "the way. `BatchJob.load(..., chain=chain)`."
            )
        known = {
            name: about[name]
            for name in ("model", "base_url", "provider")
            if about[name] is not None
        }
        made: Any = ext.wire_named(str(about["wire"])).make_model(**known)
        return cast("HTTPChatModel", made)


def check_format(folder: JobFolder) -> None:
    """Raise `InvalidArgument` for a batch job whose rows are not in its store."""
    settings = folder.about.get("batch")
    if settings is not None and settings.get("format") != FORMAT:
        raise InvalidArgument(
            f"`{folder.path}` is a batch job of an older modelwire, whose format is not read any more: fetch its "
            "results with that version, or delete the folder and submit its rows again."
        )
