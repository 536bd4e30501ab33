"""Embeddings through OpenAI's Batch API: a vector or an error for each row, at half the price."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.embed_command import embed, serving_reviews, written_vectors

from modelwire import cli
from modelwire.embeddings import FakeEmbeddings
from modelwire.errors import BadRequest, InvalidArgument, JobChanged, MalformedResponse
from modelwire.jobs import BatchJob
from modelwire.jobs.batch_api import NotBatchable, asubmit_batch, submit_batch
from modelwire.testing import BatchPlan, ProviderServer, faults
from modelwire.testing.server.embeddings import unit_vector
from modelwire.usage import track

Serve = Callable[..., ProviderServer]
TEXTS = ["good", "bad", "good", "", "the sea"]
ROWS = [{"id": number, "review": text} for number, text in enumerate(TEXTS)]
SMALL = "text-embedding-3-small"


def vector(text: str, dimensions: int = 8) -> list[float]:
    return list(unit_vector(text, dimensions))


def done(model: Any, rows: Any, path: Path, **options: Any) -> BatchJob:
    return submit_batch(model, rows, dir=path / "a.job", **options).wait(poll=0.01)


def test_each_row_has_its_vector_or_its_error_at_half_the_price(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve()
    model = server.embeddings(model=SMALL, dimensions=4)
    job = done(model, ROWS, tmp_path, text="review", key="id")
    results = list(job.results())
    assert [r.output for r in results] == [vector(t, 4) if t else None for t in TEXTS]
    assert [r.status for r in results] == ["succeeded"] * 3 + ["invalid", "succeeded"]
    assert [r.key for r in results] == [0, 1, 2, 3, 4]
    assert str(results[3].error) == "The text is empty, and an empty text has no vector."
    assert results[2].same == 0
    (batch,) = server.batches.made
    assert batch.fields["endpoint"] == "/v1/embeddings"
    sent = {"model": SMALL, "encoding_format": "base64", "dimensions": 4}
    assert [body for _, _, body in batch.rows] == [
        {"input": [text], **sent} for text in ("good", "bad", "the sea")
    ]
    # OpenAI's price of this model is 0.02 USD for a million tokens; the server counts 3 here.
    assert results[0].usage == {"input_tokens": 1, "output_tokens": 0, "total_tokens": 1}
    cost = job.cost()
    assert (cost.usd, cost.answers, cost.unpriced) == (Decimal("3E-8"), 4, 0)


def test_the_rows_of_a_batch_are_requests_of_the_model(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    model = server.embeddings(model=SMALL, dimensions=4, model_kwargs={"user": "me"})
    submit_batch(model, ["good"], dir=tmp_path / "a.job")
    model.embed_documents(["good"])
    assert server.batches.made[0].rows[0][2] == server.requests[-1].fields


def test_a_table_has_a_column_of_vectors(serve: Serve, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    job = done(serve().embeddings(model=SMALL), ROWS, tmp_path, text="review")
    assert job.write(tmp_path / "vectors.parquet") == 5
    table = parquet.read_table(tmp_path / "vectors.parquet")
    assert str(table.schema.field("embedding").type).startswith("list<element: float>")
    assert table["embedding"].to_pylist() == [vector(t) if t else None for t in TEXTS]
    empty = "InvalidArgument: The text is empty, and an empty text has no vector."
    assert table["error"].to_pylist()[3] == empty
    job.write(tmp_path / "vectors.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "vectors.jsonl").read_text().splitlines()]
    assert [line["embedding"] for line in lines] == [vector(t) if t else None for t in TEXTS]


def test_rows_may_be_texts_themselves_and_the_loop_stays_free(serve: Serve, tmp_path: Path) -> None:
    model = serve().embeddings(model=SMALL)

    async def submit() -> BatchJob:
        job = await asubmit_batch(model, ["a", "b"], dir=tmp_path / "a.job")
        return await job.await_end(poll=0.01)

    assert [r.output for r in asyncio.run(submit()).results()] == [vector("a"), vector("b")]


@pytest.mark.parametrize("chain", ["none", "the model", "another model"])
def test_another_process_reads_the_vectors(serve: Serve, tmp_path: Path, chain: str) -> None:
    server = serve()
    done(server.embeddings(model=SMALL, dimensions=4), ROWS[:2], tmp_path, text="review")
    if chain == "another model":
        with pytest.raises(JobChanged, match="another chain"):
            BatchJob.load(tmp_path / "a.job", server.embeddings(model=SMALL, dimensions=5))
        return
    if chain == "none":
        job = BatchJob.load(tmp_path / "a.job")
        messages = [r.message for r in job.results()]
        tokens = {"input_tokens": 1, "output_tokens": 0, "total_tokens": 1}
        assert [m.usage_metadata for m in messages if m] == [tokens, tokens]
        assert [r.output for r in job.results()] == [vector("good", 4), vector("bad", 4)]
        job.write(tmp_path / "vectors.jsonl")
        lines = (tmp_path / "vectors.jsonl").read_text(encoding="utf-8").splitlines()
        assert [json.loads(line)["embedding"] for line in lines] == [
            vector("good", 4),
            vector("bad", 4),
        ]
        return
    job = BatchJob.load(tmp_path / "a.job", server.embeddings(model=SMALL, dimensions=4))
    assert [r.output for r in job.results()] == [vector("good", 4), vector("bad", 4)]


def test_a_submission_is_resumed_and_no_batch_is_made_twice(serve: Serve, tmp_path: Path) -> None:
    server = serve(batches=[BatchPlan(lose_create=True)])
    model = server.embeddings(model=SMALL)
    submit_batch(model, ROWS, dir=tmp_path / "a.job", text="review")
    job = done(model, ROWS, tmp_path, text="review")
    assert len(server.batches.made) == 1
    assert [bool(r.output) for r in job.results()] == [bool(text) for text in TEXTS]
    with pytest.raises(JobChanged):
        submit_batch(model, ROWS[:2], dir=tmp_path / "a.job", text="review")


def test_the_rows_that_a_batch_did_not_answer_are_submitted_again(
    serve: Serve, tmp_path: Path
) -> None:
    odd = BatchPlan(rows={0: "expired", 1: "missing", 2: "null"})
    server = serve(batches=[odd])
    model = server.embeddings(model=SMALL)
    job = done(model, ["a", "b", "c", "d"], tmp_path, max_rounds=1)
    assert [r.status for r in job.results()] == ["expired", "missing", "errored", "succeeded"]
    assert job.resubmit() == 3
    job.wait(poll=0.01)
    assert [r.output for r in job.results()] == [vector(t) for t in "abcd"]
    assert [len(batch.rows) for batch in server.batches.made] == [4, 3]


def test_rows_can_be_finished_by_direct_calls(serve: Serve, tmp_path: Path) -> None:
    server = serve(batches=[BatchPlan(rows={0: "expired"})])
    job = done(server.embeddings(model=SMALL), ["a", "b"], tmp_path, max_rounds=1)
    assert job.finish_live() == 1
    assert [r.output for r in job.results()] == [vector("a"), vector("b")]


def test_a_refused_row_fails_alone(serve: Serve, tmp_path: Path) -> None:
    def answer(request: Any) -> Any:
        return faults.status(400) if request.body["input"] == ["b"] else "as usual"

    job = done(serve(default=answer).embeddings(model=SMALL), ["a", "b"], tmp_path)
    first, second = job.results()
    assert first.output == vector("a")
    assert isinstance(second.error, BadRequest)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ([], "vector 0 is missing"),
        ([{"index": 0, "embedding": [1.0]}], "has 1 numbers, and `dimensions` is 2"),
        ([{"index": 0, "embedding": [1.0, float("inf")]}], "not finite"),
        ([{"index": 0, "embedding": "AADAfwAAgD8="}], "not finite"),
        ([{"index": 0, "embedding": [1.0, 2.0]}] * 2, "2 vectors for 1 texts"),
        (7, "has no vectors"),
    ],
)
def test_a_bad_vector_is_an_error_of_its_row(
    serve: Serve, tmp_path: Path, data: Any, problem: str
) -> None:
    def answer(request: Any) -> Any:
        return "as usual" if request.body["input"] == ["a"] else {"object": "list", "data": data}

    model = serve(default=answer).embeddings(model=SMALL, dimensions=2)
    first, second = done(model, ["a", "b"], tmp_path, max_rounds=1).results()
    assert first.output == vector("a", 2)
    assert isinstance(second.error, MalformedResponse)
    assert problem in str(second.error)
    assert second.status == "errored"


def test_a_text_too_long_for_one_piece_is_never_sent(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    model = server.embeddings(model=SMALL, embedding_ctx_length=10)
    with pytest.warns(UserWarning, match="estimate"):
        job = done(model, ["a", "sea " * 100], tmp_path)
    first, second = job.results()
    assert first.output == vector("a")
    assert "a batch does not split it" in str(second.error)
    assert len(server.batches.made[0].rows) == 1


def test_trackers_count_the_rows_when_they_are_read(serve: Serve, tmp_path: Path) -> None:
    with track() as used:
        list(done(serve().embeddings(model=SMALL), ["a", "b"], tmp_path).results())
    assert (used.total.calls, used.total.cost) == (2, Decimal("2E-8"))


def test_what_has_no_batches_of_embeddings_is_refused(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    for provider in ("google_genai", "cohere", "bedrock", "mistralai", "azure_openai", "together"):
        with pytest.raises(NotBatchable, match="only OpenAI's takes embeddings"):
            submit_batch(server.embeddings(provider), ["a"], dir=tmp_path / "a.job")
    with pytest.raises(NotBatchable):
        submit_batch(FakeEmbeddings(size=3), ["a"], dir=tmp_path / "a.job")
    with pytest.raises(InvalidArgument, match="`text` is for an embeddings model"):
        submit_batch(server.model(), ["a"], text="review", dir=tmp_path / "a.job")
    with pytest.raises(InvalidArgument, match="no column `reveiw`"):
        submit_batch(server.embeddings(model=SMALL), ROWS, text="reveiw", dir=tmp_path / "a.job")
    assert not (tmp_path / "a.job").exists()
    assert server.batches.made == []


PLANS = st.dictionaries(
    st.integers(0, 5), st.sampled_from(["missing", "null", "expired", "duplicate"])
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    texts=st.lists(st.sampled_from(["a", "b", "c", "d", "", None]), min_size=1, max_size=9),
    odd=PLANS,
    part_rows=st.integers(1, 4),
)
def test_every_text_gets_its_own_vector_whatever_a_batch_leaves_out(
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[str | None],
    odd: dict[int, Any],
    part_rows: int,
) -> None:
    rows = [{"t": text} for text in ["first", *texts]]
    with ProviderServer(batches=[BatchPlan(rows=odd)]) as server:
        model = server.embeddings(model=SMALL)
        job = done(model, rows, tmp_path_factory.mktemp("j"), text="t", part_rows=part_rows)
        lost = ("missing", "expired", "errored_retryable")
        if any(r.status != "succeeded" and r.same is None for r in job.results()):
            job.resubmit(lost)
            job.wait(poll=0.01)
        found = [r.output for r in job.results()]
    assert found == [vector(row["t"]) if row["t"] else None for row in rows]


# The command


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    with serving_reviews(tmp_path, monkeypatch, enumerate(TEXTS)) as provider:
        yield provider


def embed_by_batch(*more: str) -> int:
    return embed("--via", "batch-api", *more)


def test_the_command_submits_waits_and_writes(
    server: ProviderServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert embed_by_batch("--dimensions", "4") == 0
    printed = capsys.readouterr()
    assert printed.out == "vectors.jsonl\n"
    assert "5 rows, 1 without an answer" in printed.err
    assert written_vectors() == [vector(text, 4) if text else None for text in TEXTS]
    assert server.batches.made[0].fields["endpoint"] == "/v1/embeddings"


def test_a_detached_job_is_fetched_later(
    server: ProviderServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert embed_by_batch("--detach") == 0
    job = capsys.readouterr().out.strip()
    assert cli.main(["jobs", "wait", job]) == 0
    assert written_vectors() == [vector(text) if text else None for text in TEXTS]
    assert cli.main(["jobs", "show", job]) == 0
    assert "5, 1 failed" in capsys.readouterr().out


def test_a_dry_run_shows_half_the_price(
    server: ProviderServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert embed_by_batch("--dry-run") == 0
    assert "At half the price" in capsys.readouterr().out
    assert server.requests == []


def test_detaching_needs_the_batch_api(
    server: ProviderServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert embed_by_batch("--via", "live", "--detach") == 2
    assert "`--detach` leaves a job to the provider" in capsys.readouterr().err
