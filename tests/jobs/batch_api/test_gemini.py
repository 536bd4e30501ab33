"""Gemini's Batch API: with the requests in the call and with a file, whose batch it is, what its lines may say."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.raw_server import RawServer, answer

from modelwire.adapters import ChatAnthropicVertex, ChatGoogleGenerativeAI, ChatOpenAI
from modelwire.errors import BadRequest, ChatError
from modelwire.jobs import BatchJob
from modelwire.jobs.batch_api import NotBatchable, gemini
from modelwire.jobs.batch_api.gemini import GeminiBatches
from modelwire.jobs.batch_api.part_log import Part
from modelwire.testing import BatchPlan, ProviderServer
from modelwire.testing.server.wires import error_reply

Serve = Callable[..., ProviderServer]
ways = pytest.mark.parametrize("way", ["inline", "file"])


@pytest.fixture(autouse=True)
def chosen_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "way" in request.fixturenames and request.getfixturevalue("way") == "file":
        monkeypatch.setattr(gemini, "INLINE_BYTES", 0)


def answers(job: BatchJob) -> list[Any]:
    return [result.output.text for result in job.results()]


@ways
def test_requests_go_with_the_call_or_as_a_file_and_nothing_is_left_there(
    serve: Serve, tmp_path: Path, way: str
) -> None:
    server = serve(batches=BatchPlan(polls=1))
    model = server.model("gemini", model="gemini-2.5-flash")
    job = model.submit_batch(["a", "b", "c"], dir=tmp_path / "a.job", part_rows=2).wait(poll=0.01)
    assert answers(job) == ["a", "b", "c"]
    sources = [set(batch.fields["inputConfig"]) for batch in server.batches.made]
    assert sources == [{"fileName" if way == "file" else "requests"}] * 2
    assert len(server.batches.files) == (4 if way == "file" else 0)
    assert {r.headers["x-goog-api-key"] for r in server.requests} == {"test-key"}
    job.delete_remote()
    assert not server.batches.files and not server.batches.made


@ways
def test_a_batch_whose_creation_was_lost_is_taken_over_by_its_name(
    serve: Serve, tmp_path: Path, way: str
) -> None:
    server = serve(batches=[BatchPlan(polls=1, lose_create=True), BatchPlan(polls=1)])
    other = server.model("gemini").submit_batch(
        ["of a colleague"], dir=tmp_path / "other" / "b.job"
    )
    job = server.model("gemini").submit_batch(["a"], dir=tmp_path / "a.job").wait(poll=0.01)
    assert answers(job) == ["a"] and answers(other.wait(poll=0.01)) == ["of a colleague"]
    assert len(server.batches.made) == 2
    names = [batch.fields["displayName"] for batch in server.batches.made]
    assert names[1].startswith(f"modelwire {job.id} 0.1 ")


def test_a_batch_is_found_on_a_later_page() -> None:
    part = Part(3, 1, 9, "f" * 64, stage="uploaded", attempt=1)
    ours = {"name": "batches/ours", "metadata": {"displayName": f"modelwire job 3.1 {'f' * 32}"}}
    others = [
        {"name": "batches/x"},
        {"name": "batches/y", "metadata": {"displayName": f"modelwire job 4.1 {'f' * 32}"}},
    ]
    pages = {None: {"operations": others, "nextPageToken": "2"}, "2": {"operations": [ours]}}
    client: Any = SimpleNamespace(get=lambda path, params: pages[params.get("pageToken")])
    assert [made.batch_id for made in GeminiBatches().find(client, part, "job", set())] == ["ours"]
    part.attempt = 2  # what an earlier attempt has made is not this one
    assert GeminiBatches().find(client, part, "job", set()) == []


def test_a_file_that_is_gone_is_uploaded_again(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gemini, "INLINE_BYTES", 0)
    server = serve(batches=BatchPlan(polls=1))
    handle, left = server.batches.handle, [1]

    def handling(request: Any, base_url: str) -> Any:
        if request.path.endswith(":batchGenerateContent") and left[0]:
            left[0] -= 1
            return error_reply("gemini", 403, number=request.number)
        if request.method == "GET" and "/files/" in request.path and ":" not in request.path:
            return error_reply("gemini", 403, number=request.number)  # "or it may not exist"
        return handle(request, base_url)

    server.batches.handle = handling  # type: ignore[method-assign]
    with pytest.raises(ChatError, match="403"):
        server.model("gemini").submit_batch(["a"], dir=tmp_path / "a.job")
    server.batches.files.clear()
    job = server.model("gemini").submit_batch(["a"], dir=tmp_path / "a.job").wait(poll=0.01)
    assert answers(job) == ["a"] and len(server.batches.made) == 1


def test_a_batch_that_failed_says_why_for_each_of_its_rows(serve: Serve, tmp_path: Path) -> None:
    server = serve(
        batches=BatchPlan(polls=1, outcome="failed", errors=[{"message": "no such tool"}])
    )
    job = server.model("gemini").submit_batch(["a", "b"], dir=tmp_path / "a.job").wait(poll=0.01)
    assert [(r.status, "no such tool" in str(r.error)) for r in job.results()] == [
        ("errored", True)
    ] * 2


def test_a_blocked_answer_is_a_failure_of_its_row(serve: Serve, tmp_path: Path) -> None:
    blocked = {
        "promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {"promptTokenCount": 3},
    }
    server = serve([blocked], batches=BatchPlan(polls=1))
    job = server.model("gemini").submit_batch(["a"], dir=tmp_path / "a.job").wait(poll=0.01)
    assert [(r.status, type(r.error).__name__) for r in job.results()] == [("errored", "Refused")]


def test_an_answer_costs_half(serve: Serve, tmp_path: Path) -> None:
    pytest.importorskip("genai_prices")
    server = serve(batches=BatchPlan(polls=1))
    model = server.model("gemini", model="gemini-2.5-flash")
    from modelwire.jobs import price_of

    job = model.submit_batch(["a"], dir=tmp_path / "a.job").wait(poll=0.01)
    (result,) = job.results()
    live = price_of(result.message)
    assert live and result.cost == live / 2 == job.cost().usd


@pytest.mark.parametrize(
    ("line", "kind", "status"),
    [
        ({"key": "k", "response": {"candidates": []}}, "succeeded", 200),
        ({"metadata": {"key": "k"}, "response": {"candidates": []}}, "succeeded", 200),
        ({"key": "k", "error": {"code": 8, "message": "slow"}}, "errored", 429),
        ({"key": "k", "error": {"code": 3}}, "errored", 400),
        ({"key": "k", "error": {"code": 400}}, "errored", 400),
        ({"key": "k", "error": {"code": 13}}, "errored", 500),
        ({"key": "k", "status": {"code": 14}}, "errored", 503),
        ({"key": "k", "error": {"message": "?"}}, "errored", 500),
        ({"key": "k", "response": None, "error": None}, "errored", 500),
    ],
)
def test_a_line_of_results_says_what_came_of_its_row(line: Any, kind: str, status: int) -> None:
    reply = GeminiBatches().read(json.dumps(line).encode())
    assert (reply.custom_id, reply.kind, reply.status) == ("k", kind, status)


@pytest.mark.parametrize("state", ["BATCH_STATE_SUCCEEDED", "JOB_STATE_SUCCEEDED"])
def test_a_batch_as_the_service_says_it_is_read(tmp_path: Path, state: str) -> None:
    """A server of a few lines: counts are texts, times have nine digits, results stand in `metadata.output`."""
    about: dict[str, Any] = {
        "createTime": "2026-11-22T11:55:07.827892252Z",
        "state": "BATCH_STATE_PENDING",
    }
    made = {"name": "batches/7h9w4g", "metadata": about}

    def end(peer: Any) -> None:
        (row,) = json.loads(server.requests[0].partition(b"\r\n\r\n")[2])["batch"]["inputConfig"][
            "requests"
        ]["requests"]
        content = {"parts": [{"text": "Hello."}], "role": "model"}
        row["response"] = {"candidates": [{"content": content, "finishReason": "STOP"}]}
        stats = {"requestCount": "1", "successfulRequestCount": "1"}
        output = {"inlinedResponses": {"inlinedResponses": [row]}}
        ended = {**about, "state": state, "batchStats": stats, "output": output}
        peer.sendall(answer(json.dumps({**made, "metadata": ended, "done": True}).encode()))

    with closing(RawServer([[answer(json.dumps(made).encode())], [end], [end]])) as server:
        model = ChatGoogleGenerativeAI(model="gemini-2.5-flash", api_key="k", base_url=server.url)
        job = model.submit_batch(["hi"], dir=tmp_path / "a.job")
        assert job.place.read()[1].parts[0].expires_at == pytest.approx(
            1795348507.83 + 48 * 3600, abs=0.01
        )
        assert answers(job.wait(poll=0.01)) == ["Hello."]
    assert server.requests[0].startswith(
        b"POST /v1beta/models/gemini-2.5-flash:batchGenerateContent HTTP"
    )


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            lambda: ChatGoogleGenerativeAI(model="gemini-2.5-flash", project="p", vertexai=True),
            "bucket.*vertexai=False",
        ),
        (lambda: ChatAnthropicVertex(model="claude-sonnet-4-5", project="p"), "bucket"),
        (
            lambda: ChatOpenAI(model="mistral-small-latest", provider="mistralai", api_key="k"),
            "Mistral's Batch API",
        ),
        (lambda: ChatOpenAI(model="grok-4", provider="xai", api_key="k"), "xAI's Batch API"),
    ],
)
def test_a_provider_with_a_batch_api_of_its_own_is_refused_before_any_request(
    model: Any, words: str, tmp_path: Path
) -> None:
    with pytest.raises(NotBatchable, match=f"{words}.*run_job"):
        model().submit_batch(["a"], dir=tmp_path / "a.job")
    assert not (tmp_path / "a.job").exists()


def test_a_model_that_has_no_name_in_the_api_is_refused(serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="displayName"):
        server = serve()
        from modelwire.jobs.batch_api.client import BatchClient

        one = server.model("gemini")
        with BatchClient(one, one._wire().codec("google_genai")) as client:  # type: ignore[attr-defined]
            client.post("/v1beta/models/m:batchGenerateContent", body={"batch": {}})
