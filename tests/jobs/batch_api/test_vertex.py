"""Vertex AI's batch prediction: files in a bucket, whose batch it is, what its lines may say, a token that runs out."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import hybrid_program
from support.raw_server import RawServer, answer

from modelwire import cli
from modelwire.adapters import ChatAnthropicVertex, ChatGoogleGenerativeAI, ChatVertexAI
from modelwire.compare import comparison
from modelwire.errors import AuthenticationError, BadRequest, DiskError, InvalidArgument
from modelwire.jobs import BatchJob, hybrid_scheduler, plan_job, price_of, run_job
from modelwire.jobs.batch_api import NotBatchable
from modelwire.jobs.batch_api import job as job_module
from modelwire.jobs.batch_api.part_log import Part
from modelwire.jobs.batch_api.vertex import VertexBatches
from modelwire.testing import BatchPlan, ProviderServer, recorded
from modelwire.testing.server.wires import error_reply

Serve = Callable[..., ProviderServer]
BUCKET = "gs://my-bucket/some/folder"


@pytest.fixture
def vertex(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[ProviderServer, Any]]:
    """Start a server that is Vertex AI and Cloud Storage at once, and make a model of it."""

    def start(*plans: BatchPlan, **kwargs: Any) -> tuple[ProviderServer, Any]:
        server = serve(batches=list(plans) or BatchPlan(polls=1))
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.base_url)
        return server, model_of(server, **kwargs)

    return start


def model_of(server: ProviderServer, **kwargs: Any) -> Any:
    own = {
        "model": "gemini-2.5-flash",
        "project": "p",
        "location": "europe-west4",
        "credentials": lambda: "a-token",
    }
    return ChatVertexAI(**{**own, "base_url": server.base_url, **kwargs})


def answers(job: BatchJob) -> list[Any]:
    return [result.output.text for result in job.results()]


def test_requests_and_results_are_files_of_the_bucket_and_nothing_is_left_there(
    vertex: Any, tmp_path: Path
) -> None:
    server, model = vertex(labels={"team": "a"})
    job = model.submit_batch(
        ["a", "b", "c"], dir=tmp_path / "a.job", part_rows=2, bucket=BUCKET
    ).wait(poll=0.01)
    assert answers(job) == ["a", "b", "c"]
    first = server.batches.made[0]
    place = f"{BUCKET}/modelwire-{job.id}/000-1"
    sent = next(r.fields for r in server.requests if r.method == "POST" and "/projects/" in r.path)
    assert sent["model"] == "publishers/google/models/gemini-2.5-flash"
    assert first.fields["parent"] == "projects/p/locations/europe-west4"
    assert first.fields["inputConfig"] == {
        "instancesFormat": "jsonl",
        "gcsSource": {"uris": [f"{place}.jsonl"]},
    }
    assert first.fields["outputConfig"]["gcsDestination"] == {"outputUriPrefix": place}
    labels = first.rows[0][2]["labels"]
    assert labels.pop("team") == "a" and {len(value) for value in labels.values()} <= {1, 2}
    assert len(server.batches.files) == 4
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer a-token"}
    job.delete_remote()
    assert not server.batches.files and not server.batches.made


def test_another_process_waits_without_the_chain_where_the_batch_was_made(
    vertex: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, model = vertex()
    model.submit_batch(["a"], dir=tmp_path / "a.job", bucket=BUCKET)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "another")
    monkeypatch.setattr("modelwire.adapters.providers.google.GoogleToken", lambda: lambda: "later")
    assert answers(BatchJob.load(tmp_path / "a.job").wait(poll=0.01)) == ["a"]
    assert {r.path.partition("/batch")[0] for r in server.requests if "/projects/" in r.path} == {
        "/v1beta1/projects/p/locations/europe-west4"
    }


def test_a_batch_whose_creation_was_lost_is_taken_over_by_its_name(
    vertex: Any, tmp_path: Path
) -> None:
    server, model = vertex(BatchPlan(polls=1, lose_create=True), BatchPlan(polls=1))
    other = model_of(server).submit_batch(
        ["of a colleague"], dir=tmp_path / "other" / "b.job", bucket=BUCKET
    )
    job = model.submit_batch(["a"], dir=tmp_path / "a.job", bucket=BUCKET).wait(poll=0.01)
    assert answers(job) == ["a"] and answers(other.wait(poll=0.01)) == ["of a colleague"]
    assert len(server.batches.made) == 2
    assert server.batches.made[1].fields["displayName"].startswith(f"modelwire {job.id} 0.1 ")


def test_a_batch_and_results_are_found_on_later_pages() -> None:
    part = Part(3, 1, 9, "f" * 64, stage="uploaded", attempt=1, file_id="f")
    job, ours = "projects/p/locations/l/batchPredictionJobs", f"modelwire job 3.1 {'f' * 32}"
    pages = {
        None: {
            "batchPredictionJobs": [{"name": f"{job}/1", "displayName": "x"}],
            "nextPageToken": "2",
        },
        "2": {"batchPredictionJobs": [{"name": f"{job}/2", "displayName": ours}]},
    }
    client: Any = SimpleNamespace(get=lambda path, params: pages[params.get("pageToken")])
    assert [made.batch_id for made in VertexBatches(BUCKET).find(client, part, "job", set())] == [
        "2"
    ]
    objects = {
        None: {
            "items": [{"name": "o/predictions_2.jsonl"}, {"name": "o/errors"}],
            "nextPageToken": "2",
        },
        "2": {"items": [{"name": "o/predictions_1.jsonl"}]},
    }
    ended = {"state": "JOB_STATE_SUCCEEDED", "outputInfo": {"gcsOutputDirectory": "gs://b/o"}}
    client.get = lambda path, params=None: (
        ended if params is None else objects[params.get("pageToken")]
    )
    assert VertexBatches(BUCKET).look(client, "2").remote == (
        "b/o/predictions_1.jsonl",
        "b/o/predictions_2.jsonl",
    )


def test_a_file_that_is_gone_is_uploaded_again(vertex: Any, tmp_path: Path) -> None:
    server, model = vertex()
    handle, left = server.batches.handle, [1]

    def handling(request: Any, base_url: str) -> Any:
        if request.method == "POST" and request.path.endswith("/batchPredictionJobs") and left[0]:
            left[0] -= 1
            return error_reply("gemini", 400, number=request.number)
        return handle(request, base_url)

    server.batches.handle = handling
    with pytest.raises(BadRequest):
        model.submit_batch(["a"], dir=tmp_path / "a.job", bucket=BUCKET)
    server.batches.files.clear()
    job = model.submit_batch(["a"], dir=tmp_path / "a.job", bucket=BUCKET).wait(poll=0.01)
    assert answers(job) == ["a"] and len(server.batches.made) == 1


def test_a_batch_that_failed_says_why_and_one_that_failed_late_gives_what_it_had(
    vertex: Any, tmp_path: Path
) -> None:
    _, model = vertex(BatchPlan(polls=1, outcome="failed", errors=[{"message": "no such tool"}]))
    job = model.submit_batch(["a"], dir=tmp_path / "a.job", bucket=BUCKET).wait(poll=0.01)
    assert [(r.status, "no such tool" in str(r.error)) for r in job.results()] == [
        ("errored", True)
    ]
    late = {
        "state": "JOB_STATE_FAILED",
        "outputInfo": {"gcsOutputDirectory": "gs://b/o"},
        "completionStats": {"successfulCount": "3", "failedCount": "1", "incompleteCount": "-1"},
    }
    listed = {"items": [{"name": "o/predictions.jsonl"}]}
    client: Any = SimpleNamespace(get=lambda path, params=None: late if params is None else listed)
    look = VertexBatches(BUCKET).look(client, "2")
    assert (look.outcome, look.total, look.done, look.failed) == ("completed", 4, 4, 1)


@pytest.mark.parametrize("end", ["cancelled", "expired"])
def test_what_was_answered_before_an_early_end_is_fetched(
    vertex: Any, tmp_path: Path, end: Any
) -> None:
    _, model = vertex(
        BatchPlan(polls=4, outcome="completed" if end == "cancelled" else end, done=0.5)
    )
    job = model.submit_batch(["a", "b"], dir=tmp_path / "a.job", bucket=BUCKET, max_rounds=1)
    if end == "cancelled":
        job.cancel()
        job.wait(poll=0.01)
        assert {result.status for result in job.results()} <= {"succeeded", "cancelled"}
    else:
        assert [result.status for result in job.wait(poll=0.01).results()] == [
            "succeeded",
            "expired",
        ]


def test_results_that_break_off_are_fetched_to_their_end(vertex: Any, tmp_path: Path) -> None:
    _, model = vertex(BatchPlan(polls=1, cut_results=40))
    job = model.submit_batch(["a", "b"], dir=tmp_path / "a.job", bucket=BUCKET).wait(poll=0.01)
    assert answers(job) == ["a", "b"]


def test_an_answer_costs_half(vertex: Any, tmp_path: Path) -> None:
    pytest.importorskip("genai_prices")
    _, model = vertex()
    job = model.submit_batch(["a"], dir=tmp_path / "a.job", bucket=BUCKET).wait(poll=0.01)
    (result,) = job.results()
    live = price_of(result.message)
    assert live and result.cost == live / 2


LABELS = {"modelwire-row-00": "ab", "modelwire-row-01": "cd", "modelwire-row-02": "e", "team": "x"}


@pytest.mark.parametrize(
    ("line", "kind", "status"),
    [
        ({"status": "", "response": {"candidates": []}}, "succeeded", 200),
        ({"status": "OK", "response": {"candidates": [{}]}}, "succeeded", 200),
        (
            {"status": "", "response": {"promptFeedback": {"blockReason": "SAFETY"}}},
            "succeeded",
            200,
        ),
        (
            {"status": 'Bad Request: {"error": {"code": 400, "message": "no"}}', "response": {}},
            "errored",
            400,
        ),
        ({"status": '{"code": 8, "message": "slow"}', "response": {}}, "errored", 429),
        ({"status": "Internal {", "response": None}, "errored", 500),
        ({"status": "", "response": {}}, "errored", 500),
        ({"error": {"code": 14}}, "errored", 503),
    ],
)
def test_a_line_of_results_says_what_came_of_its_row(line: Any, kind: str, status: int) -> None:
    api = VertexBatches(BUCKET)
    for more in (
        {"request": {"labels": LABELS}},
        {"key": "abcde", "request": {}},
        {"key": "abcde"},
    ):
        reply = api.read(json.dumps({**line, **more}).encode())
        assert (reply.custom_id, reply.kind, reply.status) == ("abcde", kind, status)


def test_what_the_row_is_called_can_be_read_from_its_labels_alone() -> None:
    api = VertexBatches(BUCKET)
    row = json.loads(api.row("a1b2c3-49999-deadbeef", {"contents": []}, ""))
    assert api.read(
        json.dumps({"request": row["request"], "response": {"candidates": []}}).encode()
    ).custom_id == ("a1b2c3-49999-deadbeef")


def test_each_call_has_the_token_of_its_moment(vertex: Any, tmp_path: Path) -> None:
    tokens = iter(f"token-{number}" for number in range(99))
    server, model = vertex(credentials=lambda: next(tokens))
    assert answers(
        model.submit_batch(["a"], dir=tmp_path / "a.job", bucket=BUCKET).wait(poll=0.01)
    ) == ["a"]
    sent = [request.headers["authorization"] for request in server.requests]
    assert len(sent) == len(set(sent))


class Tokens:
    """A function of a key that keeps its token until it is told that it was refused."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self) -> str:
        return f"token-{self.number}"

    def expire(self) -> None:
        self.number += 1


@pytest.mark.parametrize("size", [1, 300_000])
def test_a_token_refused_for_an_upload_is_renewed_and_the_file_sent_whole(
    vertex: Any, tmp_path: Path, size: int
) -> None:
    tokens, left = Tokens(), [1]
    server, model = vertex(credentials=tokens)
    refuse(server, left, "/upload/")
    job = model.submit_batch(["a" * size], dir=tmp_path / "a.job", bucket=BUCKET)
    assert answers(job.wait(poll=0.01)) == ["a" * size]
    assert tokens.number == 1 and left == [0]


def refuse(server: ProviderServer, left: list[int], of: str) -> None:
    """Have so many calls whose path has `of` in it refused for their token."""
    handle = server.batches.handle

    def handling(request: Any, base_url: str) -> Any:
        if left[0] and of in request.path:
            left[0] -= 1
            return error_reply("gemini", 401, number=request.number)
        return handle(request, base_url)

    server.batches.handle = handling  # type: ignore[method-assign]


@pytest.mark.parametrize("of", ["/batchPredictionJobs/", "/o/"])  # a look, a download
@pytest.mark.parametrize("refusals", [1, 99])
def test_a_refused_token_is_renewed_once(
    vertex: Any, tmp_path: Path, refusals: int, of: str
) -> None:
    tokens, left = Tokens(), [refusals]
    server, model = vertex(credentials=tokens)
    job = model.submit_batch(["a"], dir=tmp_path / "a.job", bucket=BUCKET)
    refuse(server, left, of)
    if refusals > 1:
        with pytest.raises(AuthenticationError):
            job.wait(poll=0.01)
        assert left == [97]
    else:
        assert answers(job.wait(poll=0.01)) == ["a"]
    assert tokens.number == 1


def test_a_batch_as_the_service_says_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of a few lines: an answer a call, in the shapes of the documentation."""
    job = "projects/p/locations/l/batchPredictionJobs/4542"
    made = {"name": job, "state": "JOB_STATE_PENDING", "createTime": "2026-11-22T11:55:07.827892Z"}
    directory = "gs://bkt/f/prediction-model-2026-11-22T11:55:07.827892Z"
    ended = {
        **made,
        "state": "JOB_STATE_SUCCEEDED",
        "outputInfo": {"gcsOutputDirectory": directory},
        "completionStats": {"successfulCount": "1"},
    }
    name = f"{directory.removeprefix('gs://bkt/')}/predictions.jsonl"

    def results(peer: Any) -> None:
        line = json.loads(server.requests[0].partition(b"\r\n\r\n")[2])
        del line["key"]
        content = {"role": "model", "parts": [{"text": "Hello."}]}
        line |= {
            "status": "",
            "response": {"candidates": [{"content": content, "finishReason": "STOP"}]},
        }
        peer.sendall(answer(json.dumps(line).encode() + b"\n"))

    says = [
        {"name": "x", "timeCreated": "2026-11-22T11:55:00.000Z"},
        made,
        ended,
        {"items": [{"name": name}]},
    ]
    with closing(
        RawServer([*([answer(json.dumps(each).encode())] for each in says), [results]])
    ) as server:
        monkeypatch.setenv(
            "STORAGE_EMULATOR_HOST", server.url.removeprefix("http://").removesuffix("/v1")
        )
        own: dict[str, Any] = {
            "model": "gemini-2.5-flash",
            "project": "p",
            "credentials": lambda: "t",
        }
        model = ChatVertexAI(**own, base_url=server.url.removesuffix("/v1"))
        job_here = model.submit_batch(["hi"], dir=tmp_path / "a.job", bucket="gs://bkt")
        assert job_here.place.read()[1].parts[0].expires_at == pytest.approx(
            1795348507.83 + 96 * 3600, abs=0.01
        )
        assert answers(job_here.wait(poll=0.01)) == ["Hello."]
    lines = [request.partition(b"\r\n")[0].decode() for request in server.requests]
    assert lines[0] == (
        f"POST /upload/storage/v1/b/bkt/o?uploadType=media&name=modelwire-{job_here.id}%2F000-1.jsonl HTTP/1.1"
    )
    assert lines[1].startswith("POST /v1beta1/projects/p/locations/global/batchPredictionJobs ")
    assert lines[4].startswith(
        "GET /storage/v1/b/bkt/o/f%2Fprediction-model-2026-11-22T11%3A55%3A07.827892Z%2Fpredictions"
    )


@pytest.mark.parametrize(
    ("model", "bucket", "words"),
    [
        (
            lambda: ChatVertexAI(model="m", project="p"),
            None,
            'bucket="gs://my-bucket/folder".*run_job',
        ),
        (
            lambda: ChatVertexAI(model="m", project="p"),
            "my-bucket",
            "gs://my-bucket/folder.*not 'my-bucket'",
        ),
        (lambda: ChatVertexAI(model="m", project="p"), "gs://b/../c?d", "gs://my-bucket/folder"),
        (lambda: ChatVertexAI(model="m", api_key="k"), "gs://my-bucket", "project="),
        (
            lambda: ChatAnthropicVertex(model="claude-sonnet-4-5", project="p"),
            BUCKET,
            "bucket.*run_job",
        ),
        (lambda: ChatGoogleGenerativeAI(model="m", api_key="k"), BUCKET, "Gemini on Vertex AI"),
    ],
)
def test_what_cannot_be_is_refused_before_any_request(
    model: Any, bucket: Any, words: str, tmp_path: Path
) -> None:
    with pytest.raises((NotBatchable, InvalidArgument), match=words):
        model().submit_batch(["a"], dir=tmp_path / "a.job", bucket=bucket)
    assert not (tmp_path / "a.job").exists()


CHAIN = """
import os
from modelwire.adapters import ChatVertexAI
own = {"model": "gemini-2.5-flash", "project": "p", "credentials": lambda: "t"}
model = ChatVertexAI(**own, base_url=os.environ["STORAGE_EMULATOR_HOST"]).with_config(run_name="m")
"""


def test_the_command_line_names_the_bucket_and_whoever_waits_need_not(
    vertex: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server, _ = vertex()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(job_module, "POLLS_S", (0.01,))
    Path("vertex_chain.py").write_text(CHAIN)
    Path("in.jsonl").write_text('"a"\n"b"\n')
    command = [
        "batch",
        "in.jsonl",
        "--chain",
        "vertex_chain:model",
        "-o",
        "out.jsonl",
        "--via",
        "batch-api",
    ]
    assert cli.main(command) == 2 and "`--bucket`" in capsys.readouterr().err
    assert cli.main([*command, "--bucket", BUCKET, "--detach"]) == 0
    name = capsys.readouterr().out.strip()
    assert {place.rpartition("/modelwire-")[0] for place in server.batches.files} == {BUCKET}
    assert cli.main(["jobs", "wait", name, "--quiet"]) == 0
    assert [json.loads(line)["answer"] for line in Path("out.jsonl").read_text().splitlines()] == [
        "a",
        "b",
    ]
    assert len(server.batches.made) == 1
    assert (
        cli.main([*command[:-2], "--bucket", BUCKET]) == 2
        and "`finish_by`" in capsys.readouterr().err
    )


def test_rows_with_an_hour_wait_in_batches_of_the_bucket(
    vertex: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("genai_prices")
    hybrid_program.hurry(monkeypatch.setattr)
    server, model = vertex(max_tokens=20)
    rows = [{"t": f"w{n}"} for n in range(60)]
    options: Any = {"model": model, "finish_by": "30s", "quiet": True}
    result = run_job("say {t}", rows, output=tmp_path / "out.jsonl", bucket=BUCKET, **options)
    assert result.complete and not result.failed
    files = [batch.fields["inputConfig"]["gcsSource"]["uris"][0] for batch in server.batches.made]
    assert files and all(file.startswith(f"{BUCKET}/") for file in files)
    with pytest.raises(InvalidArgument, match="not 'my-bucket'"):
        plan_job("say {t}", rows, output=tmp_path / "b.jsonl", bucket="my-bucket", **options)


def test_batches_of_a_bucket_are_awaited_by_a_run_without_an_hour(
    vertex: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("genai_prices")
    hybrid_program.hurry(monkeypatch.setattr)
    server, model = vertex(max_tokens=20)
    rows = [{"t": f"w{n}"} for n in range(60)]
    options: Any = {"model": model, "output": tmp_path / "out.jsonl", "quiet": True}

    async def stopped(*_: Any) -> None:
        raise DiskError("full", path="disk")

    with monkeypatch.context() as patch:
        patch.setattr(hybrid_scheduler.HybridScheduler, "_collect", stopped)
        with pytest.raises(DiskError):
            run_job("say {t}", rows, bucket=BUCKET, finish_by="30s", **options)
    made = len(server.batches.made)
    assert made and run_job("say {t}", rows, **options).complete
    assert len(server.batches.made) == made
    asked = [
        row[2]["contents"][0]["parts"][0]["text"]
        for batch in server.batches.made
        for row in batch.rows
    ]
    asked += [request.text for request in server.requests if request.wire is not None]
    assert sorted(asked) == sorted(f"say w{n}" for n in range(60))


def test_without_a_bucket_an_hour_plans_no_batch_and_says_why(vertex: Any, tmp_path: Path) -> None:
    server, model = vertex(max_tokens=20)
    rows = [{"t": f"w{n}"} for n in range(60)]
    plan = plan_job("say {t}", rows, model=model, output=tmp_path / "out.jsonl", finish_by="6h")
    assert [line.way for line in plan.plan.lines] == ["live"]
    assert any("`--bucket`" in note for note in plan.notes) and not server.requests


def test_a_bucket_is_for_jobs_that_make_batches(vertex: Any, tmp_path: Path) -> None:
    _, model = vertex()
    with pytest.raises(InvalidArgument, match="`bucket` is for rows that go in batches"):
        run_job("say {t}", [{"t": "a"}], model=model, output=tmp_path / "out.jsonl", bucket=BUCKET)
    with pytest.raises(InvalidArgument, match="Gemini on Vertex AI"):
        other = ChatGoogleGenerativeAI(model="m", api_key="k")
        run_job(
            "say {t}",
            [{"t": "a"}],
            model=other,
            output=tmp_path / "b.jsonl",
            bucket=BUCKET,
            finish_by="2h",
        )


def test_compare_hands_calls_in_by_the_bucket(
    vertex: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, model = vertex()
    monkeypatch.setattr(comparison, "POLL_S", 0.01)
    other = server.model("openai", model="gpt-4o-mini")
    with recorded(tmp_path / "run.jsonl"):
        other.invoke("a")
    with pytest.raises(NotBatchable, match="`--bucket`"):
        comparison.compare(tmp_path / "run.jsonl", [model], batch=True)
    for wrong in ({"batch": False}, {"batch": True, "models": [other]}):
        with pytest.raises(InvalidArgument, match="`bucket` is only for batches of Gemini"):
            comparison.compare(
                tmp_path / "run.jsonl", **{"models": [model], "bucket": BUCKET, **wrong}
            )
    found = comparison.compare(tmp_path / "run.jsonl", [model, other], batch=True, bucket=BUCKET)
    assert [outcome.text for outcome in found.rows[0].outcomes.values()] == ["a", "a"]
    assert sorted(batch.wire for batch in server.batches.made) == ["openai", "vertex"]
