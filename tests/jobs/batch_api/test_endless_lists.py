"""Every loop over a provider's pages ends, whatever the list says of its next page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.late_batches import Clock, LateBatches

from modelwire.jobs import BatchJob
from modelwire.jobs.batch_api import api, batch_folder, gemini, openai, vertex
from modelwire.jobs.batch_api import job as job_module
from modelwire.jobs.batch_api.api import EndlessList
from modelwire.jobs.batch_api.open_job import BatchUncertain
from modelwire.jobs.batch_api.part_log import Part

PART = Part(number=0, rows=1, size_bytes=1, sha256="s" * 64, stage="uploaded")


class Lists:
    """A Batch API's client whose list has another page for ever; `fresh` gives each page its own cursor."""

    codec = SimpleNamespace(provider="p")

    def __init__(self, *, fresh: bool) -> None:
        self.fresh, self.gets = fresh, 0

    def get(self, path: str, params: Any = None) -> dict[str, Any]:
        self.gets += 1
        number = self.gets if self.fresh else 0
        record = {"id": f"b{number}", "name": f"batches/b{number}", "metadata": {}}
        fields = {key: [record] for key in ("data", "operations", "batchPredictionJobs", "items")}
        return {**fields, "has_more": True, "nextPageToken": f"t{number}"}


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("made", ["openai", "anthropic", "gemini", "vertex", "results"])
def test_a_list_that_does_not_end_is_an_error(made: str, fresh: bool) -> None:
    client: Any = Lists(fresh=fresh)
    with pytest.raises(EndlessList, match="does not end"):
        if made == "anthropic":
            list(api.listed(client, "/v1/messages/batches", "after_id", 1000))
        elif made == "results":
            output = {"outputInfo": {"gcsOutputDirectory": "gs://my-bucket/out"}}
            vertex.VertexBatches("gs://my-bucket").results(client, "b", output)
        else:
            of: dict[str, Any] = {
                "openai": openai.OpenAIBatches,
                "gemini": gemini.GeminiBatches,
                "vertex": lambda: vertex.VertexBatches("gs://my-bucket"),
            }
            of[made]().find(client, PART, "job", set())
    assert client.gets == (api.MOST_PAGES if fresh else 2)


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[LateBatches]:
    clock = Clock()
    monkeypatch.setattr(job_module, "time", clock.module)
    server = LateBatches("openai", clock, (504, None))
    yield server
    server.shutdown()
    server.server_close()


def test_the_user_decides_where_a_list_cannot_be_read_to_its_end(
    gateway: LateBatches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(batch_folder, "api_of", lambda *_, **__: _Endless())
        with pytest.raises(BatchUncertain, match=r"does not end.*submit_again\(0\)"):
            gateway.model().submit_batch(["a"], dir=tmp_path / "a.job")
    job = BatchJob.load(tmp_path / "a.job", gateway.model())
    job.submit_again(0)
    assert [result.output.text for result in job.wait(poll=0.01).results()] == ["To a"]


class _Endless(openai.OpenAIBatches):
    def find(self, *args: Any) -> Any:
        return super().find(Lists(fresh=False), *args[1:])  # type: ignore[arg-type]
