"""Opens the folder of a batch job, and makes the client, the codec and the model from the job's settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

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
    """The folder of a batch job at `path`. `split` is the job's chain, or None if only the folder is known."""

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
        """Lock the folder, read its events, and connect to the provider."""
        with self.claimed() as (folder, events), self.connected(folder, events, now_s) as job:
            yield job

    @contextmanager
    def connected(
        self,
        folder: JobFolder,
        events: PartEvents,
        now_s: Callable[[], float],
    ) -> Iterator[OpenJob]:
        """Connect to the provider for a folder that this process has locked."""
        with self.client(folder, events) as client:
            yield OpenJob(folder, events, self.api(folder), client, now_s, self.on_refusal)

    @property
    def on_refusal(self) -> str:
        """What becomes of an answer that the model has refused: an error ("raise") or a result ("message").

        The chain's model decides; without the chain it is "raise".
        """
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
        """Return the codec that reads the answers.

        A model may support two wire formats; the endpoint of the batches shows which one was used.
        """
        about = folder.about["batch"]
        if about.get("embeddings") is not None:
            return codec_of_rows(about)
        wire = ext.wire_named(str(about["wire"]))
        for known in (wire, *map(ext.wire_named, ext.WIRES)):
            if events.endpoint.endswith(known.path):
                wire = known
                break
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
                f"`{self.path}` was submitted through an SDK client, `{about['client']}`, which only the chain has: "
                "pass it by `BatchJob.load(..., chain=chain)`."
            )
        known = {}
        for name in ("model", "base_url", "provider"):
            if about[name] is not None:
                known[name] = about[name]
        wire = ext.wire_named(str(about["wire"]))
        return cast("HTTPChatModel", wire.make_model(**known))


def check_format(folder: JobFolder) -> None:
    """Raise `InvalidArgument` for a batch job whose rows are not in its store."""
    settings = folder.about.get("batch")
    if settings is not None and settings.get("format") != FORMAT:
        raise InvalidArgument(
            f"`{folder.path}` is a batch job of an older modelwire, whose format is not read any more: fetch its "
            "results with that version, or delete the folder and submit its rows again."
        )
