"""What a batch job keeps in `job.sqlite`: whole plans, requests byte for byte, results with their event."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.full_disk import file_limit

from modelwire.errors import DiskError, ServerError
from modelwire.jobs import BatchJob
from modelwire.jobs.batch_api.anthropic import AnthropicBatches
from modelwire.jobs.batch_api.gemini import GeminiBatches
from modelwire.jobs.batch_api.openai import OpenAIBatches
from modelwire.jobs.batch_api.part_log import Part, PartEvents
from modelwire.jobs.batch_api.part_requests import Limits, PartRequests, requests_of, write_requests
from modelwire.jobs.store import INPUTS, LIVE, REPLIES, REQUESTS, STORE_NAME, Entry, JobStore
from modelwire.runnables import RunnableLambda
from modelwire.testing import BatchPlan, ProviderServer

Serve = Callable[..., ProviderServer]
PATIENCE_S = 60.0
WORDS = [f"w{number}" for number in range(7)]
APIS: list[Any] = [OpenAIBatches(), AnthropicBatches(), GeminiBatches()]


def counts(folder: Path) -> dict[str, int]:
    """Return the number of entries of each table of a batch."""
    with closing(JobStore(folder, read_only=True)) as store:
        return {
            table: len(list(store.entries(table))) for table in (INPUTS, REQUESTS, REPLIES, LIVE)
        }


def change(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / STORE_NAME)) as tool, tool:
        tool.execute(statement)


def test_a_folder_of_a_batch_has_one_store_and_no_other_file_with_rows(
    serve: Serve, tmp_path: Path
) -> None:
    folder = tmp_path / "a.job"
    job = serve().model().submit_batch(WORDS, dir=folder, part_rows=3).wait(poll=0.01)
    job.write(tmp_path / "out.jsonl")
    files = {path.name for path in folder.rglob("*") if path.is_file()}
    assert files == {"job.json", "job.sqlite", "lock", "summary.json"}
    assert counts(folder) == {INPUTS: 7, REQUESTS: 7, REPLIES: 7, LIVE: 0}
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir() if path.is_dir()} == {0o700}


def test_a_plan_that_fails_in_its_middle_leaves_nothing(serve: Serve, tmp_path: Path) -> None:
    """A disk that is full is not a fault of one row, so planning ends; the next submission begins with none of it."""
    is_full = [True]

    def before(word: str) -> str:
        if word == "w5" and is_full[0]:
            raise DiskError("The disk is full.")
        return word

    folder = tmp_path / "a.job"
    chain = RunnableLambda(before) | serve().model()
    with pytest.raises(DiskError, match="full"):
        chain.submit_batch(WORDS, dir=folder, part_rows=3)
    assert set(counts(folder).values()) == {0}
    is_full[0] = False
    job = chain.submit_batch(WORDS, dir=folder, part_rows=3).wait(poll=0.01)
    assert [result.index for result in job.results()] == list(range(7))
    assert counts(folder) == {INPUTS: 7, REQUESTS: 7, REPLIES: 7, LIVE: 0}


def test_a_reader_sees_a_plan_as_a_whole(serve: Serve, tmp_path: Path) -> None:
    folder, seen = tmp_path / "a.job", []

    def before(word: str) -> str:
        seen.append((counts(folder), PartEvents(folder).read().planned))
        return word

    (RunnableLambda(before) | serve().model()).submit_batch(WORDS, dir=folder)
    assert seen and all(not any(tables.values()) and not planned for tables, planned in seen)
    assert counts(folder)[REQUESTS] == 7 and PartEvents(folder).read().planned


def test_results_are_stored_with_the_event_that_ends_their_part(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a.job"
    server = serve()
    job = server.model().submit_batch(WORDS, dir=folder)
    write = PartEvents.write

    def failing(self: PartEvents, event: str, *rest: Any, **facts: Any) -> None:
        if event == "downloaded":
            raise DiskError("The disk is full.")
        write(self, event, *rest, **facts)

    with monkeypatch.context() as patch, pytest.raises(DiskError, match="full"):
        patch.setattr(PartEvents, "write", failing)
        job.wait(poll=0.01)
    assert counts(folder)[REPLIES] == 0 and len(list((folder / "results").iterdir())) == 1
    job.wait(poll=0.01)
    assert counts(folder)[REPLIES] == 7 and not list((folder / "results").iterdir())
    downloads = [request for request in server.requests if "/content" in str(request)]
    assert len(downloads) <= 1  # the file was still there


def test_a_row_is_submitted_again_with_the_same_bytes(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[list[bytes]] = []
    upload = OpenAIBatches.upload

    def uploading(self: OpenAIBatches, client: Any, part: Any, path: Path, job: str) -> Any:
        sent.append(path.read_bytes().splitlines())
        return upload(self, client, part, path, job)

    monkeypatch.setattr(OpenAIBatches, "upload", uploading)
    server = serve(batches=[BatchPlan(rows={1: "expired", 4: "missing"}), BatchPlan()])
    job = server.model().submit_batch(WORDS, dir=tmp_path / "a.job", max_rounds=1)
    assert job.wait(poll=0.01).resubmit() == 2
    job.wait(poll=0.01)
    assert sent[1] == [sent[0][1], sent[0][4]]
    assert [result.round for result in job.results()] == [1, 2, 1, 1, 2, 1, 1]


@pytest.mark.parametrize("table", [INPUTS, REQUESTS])
def test_a_damaged_row_of_a_batch_is_named(serve: Serve, tmp_path: Path, table: str) -> None:
    folder = tmp_path / "a.job"
    server = serve(batches=[BatchPlan(rows={3: "expired"}), BatchPlan()])
    job = server.model().submit_batch(WORDS, dir=folder, max_rounds=1).wait(poll=0.01)
    change(folder, f"UPDATE {table} SET record = substr(record, 2) WHERE number = 3")
    read = {INPUTS: lambda: list(job.results()), REQUESTS: job.resubmit}[table]
    with pytest.raises(DiskError, match=r"job\.sqlite` is damaged"):
        read()
    assert len(server.batches.made) == 1


def test_a_row_with_a_damaged_result_is_missing_and_the_user_is_told(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "a.job"
    job = serve().model().submit_batch(WORDS, dir=folder).wait(poll=0.01)
    change(folder, "UPDATE replies SET record = substr(record, 2) WHERE number = 3")
    assert [result.index for result in job.results() if result.status == "missing"] == [3]
    assert "1 results of batches cannot be read, and their rows are missing" in caplog.text
    assert job.resubmit() == 1
    job.wait(poll=0.01)
    assert {result.status for result in job.results()} == {"succeeded"}


def test_requests_of_a_plan_whose_event_is_damaged_are_replaced(
    serve: Serve, tmp_path: Path
) -> None:
    """The second round's plan is lost, so its rows are planned anew, and none is in two parts."""
    folder = tmp_path / "a.job"
    job = serve().model().submit_batch(WORDS, dir=folder, part_rows=3)
    job.wait(timeout=PATIENCE_S, poll=0.01)
    before = counts(folder)[REQUESTS]
    with PartEventsOpen(folder) as events, events.store.transaction():
        PartRequests(events.store, OpenAIBatches(), Limits(3, 10_000), events.parts, round=2).add(
            0, b'{"custom_id":"x"}'
        )
    assert counts(folder)[REQUESTS] == before + 1  # as if the event had been lost
    with PartEventsOpen(folder) as events, events.store.transaction():
        PartRequests(events.store, OpenAIBatches(), Limits(3, 10_000), events.parts).close()
    assert counts(folder)[REQUESTS] == before


class PartEventsOpen:
    """Opens the events of a job, and closes them at the end of the block."""

    def __init__(self, folder: Path) -> None:
        self.events = PartEvents(folder)

    def __enter__(self) -> PartEvents:
        return self.events.open()

    def __exit__(self, *_: object) -> None:
        self.events.close()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    api=st.sampled_from(APIS),
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=30),
    rows=st.integers(1, 9),
    size_bytes=st.integers(120, 400),
)
def test_parts_hold_every_row_once_within_their_limits(
    tmp_path_factory: pytest.TempPathFactory,
    api: Any,
    sizes: list[int],
    rows: int,
    size_bytes: int,
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    requests = [api.row(f"job-{row}-0", {"q": "x" * size}, "/p") for row, size in enumerate(sizes)]
    with closing(JobStore(folder)) as store:
        with store.transaction():
            writer = PartRequests(store, api, Limits(rows, size_bytes), ())
            for row, request in enumerate(requests):
                writer.add(row, request)
            facts = writer.close()
        parts = [Part(number, **about) for number, about in enumerate(facts)]
        stored = [pair for part in parts for pair in requests_of(store, part)]
        assert stored == list(enumerate(requests))
        for part in parts:
            assert part.rows <= rows
            path = folder / "part"
            write_requests(store, part, api, path)  # it checks the digest
            assert path.stat().st_size == part.size_bytes
            assert part.size_bytes <= size_bytes or part.rows == 1


def test_a_transaction_is_stored_whole_or_not_at_all(tmp_path: Path) -> None:
    with closing(JobStore(tmp_path)) as store:
        with pytest.raises(ServerError), store.transaction():
            store.append("rows", [Entry.of("answered", b"1")])
            store.append(INPUTS, [Entry.of("row", b"2")])
            raise ServerError("no")
        assert not list(store.entries("rows")) and not list(store.entries(INPUTS))
        with store.transaction():
            store.append("rows", [Entry.of("answered", b"1")])
            store.clear("rows")
            store.append("rows", [Entry.of("answered", b"2")])
            assert list(store.entries("rows")) == []  # the reader sees committed entries only
        assert [entry.record for entry in store.entries("rows")] == [b"2"]


def test_an_answer_of_the_cache_is_in_the_plan(serve: Serve, tmp_path: Path) -> None:
    from modelwire.caches import InMemoryCache

    model = serve().model(cache=InMemoryCache())
    model.invoke("w2")
    folder = tmp_path / "a.job"
    job: BatchJob = model.submit_batch(WORDS, dir=folder).wait(poll=0.01)
    assert counts(folder) == {INPUTS: 7, REQUESTS: 6, REPLIES: 6, LIVE: 1}
    assert [result.output.text for result in job.results()] == WORDS


def test_a_disk_that_is_full_leaves_no_half_of_a_plan(serve: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "a.job"
    server = serve()
    words = [f"{number}{'x' * 5_000}" for number in range(40)]
    with file_limit(100_000), pytest.raises(DiskError, match=r"job\.sqlite"):
        server.model().submit_batch(words, dir=folder)
    assert set(counts(folder).values()) == {0} and server.batches.made == []
    job = server.model().submit_batch(words, dir=folder).wait(poll=0.01)
    assert [result.output.text for result in job.results()] == words
