"""Every odd thing the Batch APIs do, and that each input has one result all the same."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from modelwire.adapters import ChatAnthropic, ChatOpenAI
from modelwire.errors import (
    AuthenticationError,
    DiskError,
    JobError,
    JobStopped,
    ModelwireError,
    Timeout,
)
from modelwire.jobs import BatchJob
from modelwire.jobs.batch_api import gemini as gemini_api
from modelwire.jobs.batch_api import reconcile as reconciler
from modelwire.jobs.batch_api.open_job import BatchUncertain
from modelwire.jobs.batch_api.openai import OpenAIBatches
from modelwire.jobs.batch_api.part_log import Part
from modelwire.prompts import ChatPromptTemplate
from modelwire.testing import BatchPlan, ProviderServer, faults
from modelwire.testing.server.replies import Reply
from modelwire.testing.server.wires import error_reply

Serve = Callable[..., ProviderServer]
WIRES = ("openai", "anthropic", "gemini")
PROMPT = ChatPromptTemplate.from_template("say {word}")
ROWS = [{"word": f"w{number}"} for number in range(6)]
both = pytest.mark.parametrize("wire", WIRES)


def submit(server: ProviderServer, folder: Path, wire: Any = "openai", **options: Any) -> BatchJob:
    return (PROMPT | server.model(wire)).submit_batch(ROWS, dir=folder / "a.job", **options)


def statuses(job: BatchJob) -> list[str]:
    results = list(job.results())
    assert [result.index for result in results] == list(range(len(ROWS)))
    assert all(
        result.output.content == f"say w{result.index}"
        for result in results
        if result.status == "succeeded"
    )
    return [result.status for result in results]


def asked(server: ProviderServer) -> list[int]:
    return [len(batch.rows) for batch in server.batches.made]


def failing(server: ProviderServer, when: Callable[[Any], bool], code: int, times: int = 1) -> None:
    """Have the Batch API answer with an error, so many times, to the requests that `when` tells."""
    handle, left = server.batches.handle, [times]

    def handling(request: Any, base_url: str) -> Any:
        if left[0] and when(request):
            left[0] -= 1
            return error_reply("openai", code, number=request.number, message="no")
        return handle(request, base_url)

    server.batches.handle = handling  # type: ignore[method-assign]


# ---------------------------------------------------------------- odd rows


@both
def test_each_input_has_one_result_whatever_the_provider_leaves_out_or_says_twice(
    serve: Serve, tmp_path: Path, wire: str
) -> None:
    rows: Any = {1: "missing", 2: "duplicate", 3: "null", 4: "expired"}
    server = serve(batches=BatchPlan(rows=rows, foreign=2))
    job = submit(server, tmp_path, wire, max_rounds=1).wait(poll=0.01)
    expired = (
        "errored" if wire == "gemini" else "expired"
    )  # Gemini says it of a row as of a live call: a 504
    assert statuses(job) == ["succeeded", "missing", "succeeded", "errored", expired, "succeeded"]
    results = list(job.results())
    assert [result.retryable for result in results] == [False, True, False, True, True, False]
    assert "no line for this row" in str(results[1].error)
    assert job.status().state == "done"


@both
def test_a_row_with_a_passing_error_is_asked_again_in_a_second_round(
    serve: Serve, tmp_path: Path, wire: str
) -> None:
    server = serve([faults.status(429), faults.status(400)])  # the last row, and the one before
    job = submit(server, tmp_path, wire).wait(poll=0.01)
    assert asked(server) == [6, 1]
    assert statuses(job) == ["succeeded"] * 4 + ["errored", "succeeded"]
    results = list(job.results())
    assert results[5].round == 2 and results[0].round == 1
    assert type(results[4].error).__name__ == "BadRequest"


def test_an_answer_to_another_question_is_not_taken(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = OpenAIBatches.fetch

    def fetched(self: OpenAIBatches, batch_client: Any, remote: str, path: Path) -> None:
        fetch(self, batch_client, remote, path)
        lines = path.read_bytes().splitlines(keepends=True)
        (line,) = [line for line in lines if b"say w0" in line]
        name = line.split(b'"custom_id":"')[1].split(b'"')[0]
        path.write_bytes(b"".join(lines).replace(name, name[:-8] + b"00000000"))

    monkeypatch.setattr(OpenAIBatches, "fetch", fetched)
    job = submit(serve(), tmp_path).wait(poll=0.01)
    assert statuses(job) == ["missing"] + ["succeeded"] * 5


# ---------------------------------------------------------------- batches that end early


def test_what_an_expired_batch_has_answered_is_kept(serve: Serve, tmp_path: Path) -> None:
    server = serve(batches=[BatchPlan(outcome="expired", done=0.5)])
    job = submit(server, tmp_path).wait(poll=0.01)
    assert statuses(job) == ["succeeded"] * 3 + ["expired"] * 3
    assert job.resubmit() == 3
    assert statuses(job.wait(poll=0.01)) == ["succeeded"] * 6
    assert asked(server) == [6, 3]


@both
def test_what_is_answered_when_it_is_cancelled_is_kept(
    serve: Serve, tmp_path: Path, wire: str
) -> None:
    server = serve(batches=BatchPlan(polls=100))
    job = submit(server, tmp_path, wire)
    server.batches.made[0].polls = 51
    job.cancel()
    assert job.status(look=False).state == "cancelling"
    job.wait(poll=0.01)
    assert Counter(statuses(job)) == {"succeeded": 3, "cancelled": 3}
    assert asked(server) == [6]
    assert job.finish_live() == 3
    assert statuses(job) == ["succeeded"] * 6


# ---------------------------------------------------------------- batches that are refused


def test_rows_that_validation_names_fail_and_the_others_go_again(
    serve: Serve, tmp_path: Path
) -> None:
    refused = BatchPlan(errors=[{"code": "invalid", "line": 2, "message": "not so"}])
    server = serve(batches=[refused])
    job = submit(server, tmp_path).wait(poll=0.01)
    assert asked(server) == [6, 5]
    assert statuses(job) == ["succeeded", "errored", *["succeeded"] * 4]
    assert "not so" in str(list(job.results())[1].error)


def test_a_batch_refused_twice_or_without_a_line_fails_as_a_whole(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(batches=BatchPlan(errors=[{"code": "invalid", "line": 1, "message": "not so"}]))
    assert statuses(submit(server, tmp_path).wait(poll=0.01)) == ["errored"] * 6
    assert asked(server) == [6, 5]


def test_a_full_queue_is_waited_for_and_fewer_batches_are_made_at_a_time(
    serve: Serve, tmp_path: Path
) -> None:
    full = BatchPlan(outcome="token_limit_exceeded", polls=1)
    server = serve(batches=[BatchPlan(polls=3), full, full])
    job = submit(server, tmp_path, part_rows=2)
    assert asked(server) == [2, 2, 2]
    assert statuses(job.wait(poll=0.01)) == ["succeeded"] * 6
    assert asked(server)[:3] == [2, 2, 2] and sum(asked(server)) == 10


def test_a_queue_that_others_fill_is_waited_for_and_the_user_is_told(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    full = BatchPlan(outcome="token_limit_exceeded", polls=1)
    server = serve(batches=[full] * 5)
    assert statuses(submit(server, tmp_path).wait(poll=0.01)) == ["succeeded"] * 6
    assert asked(server) == [6] * 6  # the part is never split
    told = [record for record in caplog.records if "queue has no room" in record.getMessage()]
    assert len(told) == 5
    assert "cancel the job and submit the rows with a smaller `part_rows`" in told[0].getMessage()


def test_the_pauses_of_a_full_queue_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = reconciler.QUEUE_BACKOFF._replace(first_s=30.0)
    monkeypatch.setattr(reconciler, "QUEUE_BACKOFF", slow)
    parts = [Part(0, 1, 1, "", refused_alone=count) for count in (0, 1, 2, 5, 9, 5000)]
    assert [reconciler._queue_pause_s(part) for part in parts] == [0, 30, 60, 480, 600, 600]


def test_damaged_events_are_said_to_be(serve: Serve, tmp_path: Path) -> None:
    submit(serve(), tmp_path)
    with closing(sqlite3.connect(tmp_path / "a.job" / "job.sqlite")) as store, store:
        store.execute("UPDATE events SET record = 'what was planned' WHERE id = 1")
    for act in (lambda job: job.status(look=False), lambda job: job.wait()):
        with pytest.raises(DiskError, match=r"job\.sqlite` is damaged"):
            act(BatchJob.load(tmp_path / "a.job"))


# ---------------------------------------------------------------- who made this batch?


@both
def test_a_batch_whose_creation_was_not_heard_of_is_taken_over(
    serve: Serve, tmp_path: Path, wire: str
) -> None:
    server = serve(batches=[BatchPlan(lose_create=True), BatchPlan(), BatchPlan(lose_create=True)])
    assert (
        statuses(submit(server, tmp_path, wire, part_rows=2).wait(poll=0.01)) == ["succeeded"] * 6
    )
    assert asked(server) == [2, 2, 2]


def foreign_batch(server: ProviderServer, rows: int) -> str:
    """Have somebody else make a batch."""
    client = anthropic.Anthropic(base_url=server.base_url, api_key="other")
    message = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
    asked: Any = [{"custom_id": f"other-{n}", "params": message} for n in range(rows)]
    return client.messages.batches.create(requests=asked).id


@pytest.mark.parametrize("choice", ["adopt", "again"])
def test_two_batches_that_may_be_ours_are_for_the_user_to_tell_apart(
    serve: Serve, tmp_path: Path, choice: str
) -> None:
    server = serve(batches=[BatchPlan(lose_create=True)])
    failing(server, lambda request: request.method == "GET" and "limit=1000" in request.query, 403)
    with pytest.raises(Exception, match="403"):
        submit(server, tmp_path, "anthropic")
    foreign_batch(server, rows=6)
    with pytest.raises(BatchUncertain, match="msgbatch_1") as caught:
        submit(server, tmp_path, "anthropic")
    assert set(caught.value.batch_ids) == {"msgbatch_1", "msgbatch_2"}
    job = BatchJob.load(tmp_path / "a.job", PROMPT | server.model("anthropic"))
    if choice == "adopt":
        job.adopt(0, "msgbatch_1")
    else:
        job.submit_again(0)
    assert statuses(job.wait(poll=0.01)) == ["succeeded"] * 6
    assert asked(server) == [6, 6] + [6] * (choice == "again")


def test_a_batch_taken_for_ours_that_is_another_ones_is_let_go(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve()
    failing(
        server, lambda request: request.method == "POST" and request.path.endswith("batches"), 403
    )
    with pytest.raises(Exception, match="403"):
        submit(server, tmp_path, "anthropic")
    foreign_batch(server, rows=6)
    assert statuses(submit(server, tmp_path, "anthropic").wait(poll=0.01)) == ["succeeded"] * 6
    assert asked(server) == [6, 6]


# ---------------------------------------------------------------- the way there and back


@both
def test_a_download_that_breaks_is_gone_on_with(
    serve: Serve, tmp_path: Path, wire: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gemini_api, "INLINE_BYTES", 0)
    server = serve(batches=BatchPlan(cut_results=700))
    assert statuses(submit(server, tmp_path, wire).wait(poll=0.01)) == ["succeeded"] * 6
    assert any(request.headers.get("range", "").startswith("bytes=") for request in server.requests)


def test_no_key_is_sent_to_another_host(serve: Serve, tmp_path: Path) -> None:
    server, other = serve(), serve()
    server.batches.plan = BatchPlan(results_host=other.base_url)
    job = submit(server, tmp_path, "anthropic")
    with pytest.raises(JobStopped, match="no key is sent there"):
        job.wait(poll=0.01)
    assert other.requests == []
    assert statuses(job) == ["pending"] * 6


@both
def test_bad_luck_while_looking_is_sat_out(serve: Serve, tmp_path: Path, wire: str) -> None:
    server = serve(batches=BatchPlan(polls=1))
    job = submit(server, tmp_path, wire)
    failing(server, lambda request: request.method == "GET", 429, times=2)
    assert statuses(job.wait(poll=0.01)) == ["succeeded"] * 6


def test_a_wrong_key_stops_the_waiting_and_the_state_is_kept(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    job = submit(server, tmp_path)
    failing(server, lambda request: True, 401)
    with pytest.raises(AuthenticationError):
        job.wait(poll=0.01)
    assert statuses(job.wait(poll=0.01)) == ["succeeded"] * 6


def test_waiting_ends_in_time_and_may_go_on_later(serve: Serve, tmp_path: Path) -> None:
    server = serve(batches=BatchPlan(polls=6))
    job = submit(server, tmp_path)
    with pytest.raises(Timeout, match="wait for it again"):
        job.wait(timeout=0.0, poll=0.01)
    began = time.monotonic()
    with pytest.raises(Timeout, match=r"not done after 0\.1 s"):
        job.wait(timeout=0.1, poll=60)  # a pause is cut to what is left, and a last look follows it
    assert time.monotonic() - began >= 0.1
    with pytest.raises(JobError, match="not done"):
        job.resubmit()
    assert statuses(job.wait(poll=0.01)) == ["succeeded"] * 6


def test_a_batch_that_runs_long_after_its_end_is_not_waited_for_for_ever(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(serve(batches=BatchPlan(polls=1000)), tmp_path)
    monkeypatch.setattr(reconciler, "LATE_S", -2 * 86_400.0)
    with pytest.raises(JobStopped, match="should have ended"):
        job.wait(poll=0.01)
    assert statuses(job) == ["pending"] * 6


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
def test_calls_go_through_the_clients_the_model_was_given(
    serve: Serve, tmp_path: Path, wire: str
) -> None:
    server = serve()
    sdk: Any = anthropic.Anthropic if wire == "anthropic" else openai.OpenAI
    model: Any = ChatAnthropic if wire == "anthropic" else ChatOpenAI
    url = server.base_url_for(wire)  # type: ignore[arg-type]
    heard: list[str] = []
    with (
        httpx2.Client(
            event_hooks={"request": [lambda request: heard.append(request.url.path)]}
        ) as client,
        sdk(base_url=url, api_key="k") as given,
    ):
        for number, chain in enumerate(
            [
                model(model="m", base_url=url, api_key="k", http_client=client),
                model(model="m", client=given),
            ]
        ):
            job = chain.submit_batch(["a"], dir=tmp_path / f"{number}.job").wait(poll=0.01)
            assert [result.output.content for result in job.results()] == ["a"]
            assert heard
        assert chain.invoke("b").content == "b"  # the client is still open
    versions = {request.headers.get("anthropic-version") for request in server.requests}
    assert wire == "openai" or "2023-06-01" in versions


def test_redirects_are_not_followed(serve: Serve, tmp_path: Path) -> None:
    server, other = serve(), serve()
    handle = server.batches.handle

    def handling(request: Any, base_url: str) -> Any:
        if request.method == "GET":
            return Reply(307, {"location": f"{other.base_url}{request.path}"}, [b""])
        return handle(request, base_url)

    server.batches.handle = handling  # type: ignore[method-assign]
    job = submit(server, tmp_path)
    with pytest.raises(ModelwireError):
        job.wait(poll=0.01, timeout=0.05)
    assert other.requests == []


# ---------------------------------------------------------------- the rest, live


def test_rows_without_an_answer_are_asked_live_with_the_models_fallbacks(
    serve: Serve, tmp_path: Path
) -> None:
    rows: Any = {1: "missing", 4: "expired"}
    server = serve(batches=BatchPlan(rows=rows))
    chain = PROMPT | server.model(max_retries=0).with_fallbacks([server.model("anthropic")])
    job = chain.submit_batch(ROWS, dir=tmp_path / "a.job").wait(poll=0.01)
    server.say(faults.status(400))  # the first one live falls back
    assert job.finish_live() == 2
    assert statuses(job) == ["succeeded"] * 6
    assert [result.round for result in job.results()] == [1, 0, 1, 1, 0, 1]
    assert {request.wire for request in server.requests if request.wire} == {"openai", "anthropic"}
    assert asked(server) == [6]


@both
def test_what_the_provider_keeps_can_be_removed(serve: Serve, tmp_path: Path, wire: str) -> None:
    server = serve()
    job = submit(server, tmp_path, wire).wait(poll=0.01)
    job.delete_remote()
    assert not server.batches.files and (wire == "openai" or not server.batches.made)
    assert statuses(job) == ["succeeded"] * 6
