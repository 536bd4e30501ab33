"""Whatever is lost on the way: no batch of another's is touched, nothing is paid twice, what was paid is kept."""

from __future__ import annotations

import gzip
import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import anthropic
import pytest
from support.raw_server import RawServer, answer
from support.thinned import thinned

from modelwire.adapters import ChatOpenAI
from modelwire.adapters.wires.openai_chat.codec import ChatCompletionsCodec
from modelwire.errors import AuthenticationError, ChatError, DiskError, JobChanged, JobStopped
from modelwire.jobs import BatchJob
from modelwire.jobs.batch_api import part_log as events_module
from modelwire.jobs.batch_api.client import BatchClient
from modelwire.jobs.batch_api.open_job import BatchUncertain
from modelwire.jobs.batch_api.part_log import PartEvents
from modelwire.prompts import ChatPromptTemplate
from modelwire.runnables import RunnableLambda
from modelwire.testing import BatchPlan, ProviderServer, faults
from modelwire.testing.server.replies import Reply
from modelwire.testing.server.wires import error_reply

Serve = Callable[..., ProviderServer]
PROMPT = ChatPromptTemplate.from_template("say {word}")
ROWS = [{"word": f"w{number}"} for number in range(6)]
both = pytest.mark.parametrize("wire", ["openai", "anthropic", "gemini"])


def submit(server: ProviderServer, folder: Path, wire: Any = "openai", **options: Any) -> BatchJob:
    return (PROMPT | server.model(wire)).submit_batch(ROWS, dir=folder / "a.job", **options)


def load(server: ProviderServer, folder: Path, wire: Any = "openai") -> BatchJob:
    return BatchJob.load(folder / "a.job", PROMPT | server.model(wire))


def statuses(job: BatchJob) -> list[str]:
    results = list(job.results())
    assert all(
        result.output.content == f"say w{result.index}"
        for result in results
        if result.status == "succeeded"
    )
    return [result.status for result in results]


def asked(server: ProviderServer) -> list[int]:
    return [len(batch.rows) for batch in server.batches.made]


def cancelled(server: ProviderServer) -> list[str]:
    found = (re.search(r"/([^/]+)[/:]cancel$", request.path) for request in server.requests)
    return [one[1] for one in found if one]


def answering(
    server: ProviderServer, when: Callable[[Any], bool], say: Any, times: int = 10**6
) -> None:
    """Have the Batch API say something else, so many times, to the requests that `when` tells."""
    handle, left = server.batches.handle, [times]

    def handling(request: Any, base_url: str) -> Any:
        if left[0] and when(request):
            left[0] -= 1
            return (
                say(request)
                if callable(say)
                else error_reply("openai", say, number=request.number, message="no")
            )
        return handle(request, base_url)

    server.batches.handle = handling  # type: ignore[method-assign]


def is_create(request: Any) -> bool:
    return bool(request.method == "POST" and request.path.endswith("/batches"))


def colleagues_batch(server: ProviderServer, rows: int = 6) -> str:
    client = anthropic.Anthropic(base_url=server.base_url, api_key="other")
    message = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
    requests: Any = [{"custom_id": f"other-{n}", "params": message} for n in range(rows)]
    return client.messages.batches.create(requests=requests).id


def interrupted(server: ProviderServer, folder: Path) -> None:
    """Submit, and hear nothing of the batch that was to be made; it was not."""
    answering(server, is_create, 403, times=1)
    with pytest.raises(Exception, match="403"):
        submit(server, folder, "anthropic")


# ---------------------------------------------------------------- whose batch is it?


def test_a_batch_that_may_be_a_colleagues_is_never_cancelled(serve: Serve, tmp_path: Path) -> None:
    server = serve(batches=BatchPlan(polls=3))
    interrupted(server, tmp_path)
    colleagues_batch(server)
    job = load(server, tmp_path, "anthropic")
    job.cancel()
    assert cancelled(server) == []
    assert statuses(job.wait(poll=0.01)) == ["cancelled"] * 6
    assert cancelled(server) == [] and asked(server) == [6]
    job.delete_remote()
    assert [batch.id for batch in server.batches.made] == ["msgbatch_1"]


def test_a_batch_that_the_user_says_is_ours_is_cancelled(serve: Serve, tmp_path: Path) -> None:
    server = serve(batches=[BatchPlan(polls=9, lose_create=True)])
    answering(server, lambda request: "limit=1000" in request.query, 403, times=1)
    with pytest.raises(Exception, match="403"):
        submit(server, tmp_path, "anthropic")
    job = load(server, tmp_path, "anthropic")
    job.cancel()
    assert cancelled(server) == []
    job.adopt(0, "msgbatch_1")
    assert statuses(job.wait(poll=0.01)) == ["cancelled"] * 6
    assert cancelled(server) == ["msgbatch_1"]


def without_results(server: ProviderServer, **counts: int) -> None:
    record = server.batches.record

    def recorded(*args: Any) -> dict[str, Any]:
        said = record(*args)
        if said["processing_status"] == "ended":
            said["results_url"] = None
            said["request_counts"] |= counts
        return said

    server.batches.record = recorded  # type: ignore[method-assign]


@pytest.mark.parametrize("choice", ["adopt", "again"])
def test_a_guess_without_results_is_for_the_user_to_judge(
    serve: Serve, tmp_path: Path, choice: str
) -> None:
    server = serve()
    interrupted(server, tmp_path)
    other = colleagues_batch(server)
    without_results(server)
    job = load(server, tmp_path, "anthropic")
    with pytest.raises(BatchUncertain, match="no results that would tell") as caught:
        job.wait(poll=0.01)
    assert caught.value.batch_ids == (other,)
    if choice == "adopt":
        job.adopt(0, other)
        assert statuses(job.wait(poll=0.01)) == ["missing"] * 6
    else:
        job.submit_again(0)
        del server.batches.record
        assert statuses(job.wait(poll=0.01)) == ["succeeded"] * 6


def test_a_guess_of_which_nothing_was_paid_is_let_go(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    interrupted(server, tmp_path)
    colleagues_batch(server)
    without_results(server, succeeded=0, expired=6)
    job = load(server, tmp_path, "anthropic")
    with pytest.raises(ChatError, match="403"):
        answering(server, is_create, 403, times=1)
        job.wait(poll=0.01)
    del server.batches.record
    assert statuses(job.wait(poll=0.01)) == ["succeeded"] * 6
    assert asked(server) == [6, 6]


def test_what_another_job_only_guesses_to_be_its_own_is_not_kept_from_its_owner(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(batches=[BatchPlan(lose_create=True), BatchPlan()])
    chain = ChatPromptTemplate.from_template("say {word}") | server.model("anthropic")
    answering(server, is_create, 403, times=1)
    with pytest.raises(Exception, match="403"):
        chain.submit_batch(ROWS, dir=tmp_path / "b.job")  # its batch was never made
    answering(server, lambda request: "limit=1000" in request.query, 403, times=1)
    with pytest.raises(Exception, match="403"):
        submit(server, tmp_path, "anthropic")  # its batch was
    for name in ("b.job", "a.job", "b.job"):
        job = BatchJob.load(tmp_path / name, chain)
        job.wait(poll=0.01)
        assert statuses(job) == ["succeeded"] * 6
    assert asked(server) == [6, 6]


@thinned(one_in=2, wire=("openai", "anthropic"), days=(-40, 0.005, 40), first=(True, False))
def test_a_clock_that_is_wrong_makes_no_second_batch(
    serve: Serve,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wire: str,
    days: float,
    first: bool,
) -> None:
    server = serve(batches=[BatchPlan()] * (not first) + [BatchPlan(lose_create=True)])
    if not first:
        colleagues_batch(server)
    monkeypatch.setattr(
        events_module, "time", SimpleNamespace(time=lambda: time.time() + days * 86_400)
    )
    made_before = len(asked(server))
    assert statuses(submit(server, tmp_path, wire).wait(poll=0.01)) == ["succeeded"] * 6
    assert len(asked(server)) == made_before + 1


# ---------------------------------------------------------------- cancelled, and something happens


@pytest.mark.parametrize("why", ["a line", "full"])
def test_a_cancelled_job_whose_batch_then_fails_submits_nothing(
    serve: Serve, tmp_path: Path, why: str
) -> None:
    errors = [{"code": "invalid", "line": 2, "message": "not so"}] if why == "a line" else []
    outcome: Any = "completed" if errors else "token_limit_exceeded"
    server = serve(batches=[BatchPlan(polls=3, errors=errors, outcome=outcome)])
    answering(
        server,
        lambda request: request.path.endswith("/cancel"),
        lambda request: Reply(200, {}, [b"{}"]),
    )
    job = submit(server, tmp_path)
    job.cancel()
    job.wait(poll=0.01)
    assert asked(server) == [6]
    assert statuses(job) == ["cancelled", "errored" if errors else "cancelled", *["cancelled"] * 4]
    assert job.resubmit("cancelled") == 5 + (
        not errors
    )  # and rows handed in by hand are not cancelled
    assert statuses(job.wait(poll=0.01)).count("succeeded") == 5 + (not errors)


@both
@pytest.mark.parametrize("code", [400, 409, 404])
def test_a_part_that_has_ended_keeps_no_other_from_being_cancelled(
    serve: Serve, tmp_path: Path, wire: str, code: int
) -> None:
    server = serve(batches=[BatchPlan(polls=1), *[BatchPlan(polls=9)] * 2])
    job = submit(server, tmp_path, wire, part_rows=2)
    answering(server, lambda request: request.path.endswith(("_1/cancel", "_1:cancel")), code)
    job.cancel()
    assert [id_[-2:] for id_ in cancelled(server)] == ["_1", "_2", "_3"]
    assert statuses(job.wait(poll=0.01)) == ["succeeded"] * 2 + ["cancelled"] * 4


def test_what_could_not_be_cancelled_is_raised_at_the_end_and_tried_again(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(batches=BatchPlan(polls=9))
    job = submit(server, tmp_path, part_rows=2)
    answering(server, lambda request: request.path.endswith("_1/cancel"), 500, times=1)
    with pytest.raises(ChatError, match="500"):
        job.cancel()
    assert [batch.cancelled_at_share is not None for batch in server.batches.made] == [
        False,
        True,
        True,
    ]
    assert statuses(job.wait(poll=0.01)) == ["cancelled"] * 6


# ---------------------------------------------------------------- what is gone at the provider's


def test_a_file_that_is_gone_is_uploaded_again(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    answering(server, is_create, 403, times=1)
    with pytest.raises(Exception, match="403"):
        submit(server, tmp_path)
    server.batches.files.clear()
    assert statuses(submit(server, tmp_path).wait(poll=0.01)) == ["succeeded"] * 6
    assert asked(server) == [6]


def test_a_batch_that_is_refused_for_another_reason_uploads_nothing_again(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve()
    answering(server, is_create, 400, times=2)
    for _ in range(2):
        with pytest.raises(ChatError, match="400"):
            submit(server, tmp_path)
    assert len(server.batches.files) == 1


@both
def test_what_is_gone_keeps_nothing_from_being_removed(
    serve: Serve, tmp_path: Path, wire: str
) -> None:
    server = serve()
    job = submit(server, tmp_path, wire, part_rows=2).wait(poll=0.01)
    if wire == "openai":
        server.batches.files.pop("file-1")
        server.batches.files.pop(server.batches.made[1].files["output"])
    else:
        server.batches.made.pop(0)
    job.delete_remote()
    assert not server.batches.files and (wire == "openai" or not server.batches.made)


@both
def test_a_batch_or_results_that_are_gone_are_made_again_when_that_is_asked_for(
    serve: Serve, tmp_path: Path, wire: str
) -> None:
    server = serve(batches=BatchPlan(polls=1))
    job = submit(server, tmp_path, wire, part_rows=3)
    answering(
        server,
        lambda r: r.method == "GET" and ("_1" in r.path or r.path.endswith("/content")),
        404,
        times=1,
    )
    with pytest.raises(JobStopped, match=r"another account or workspace.*job\.submit_again\(0\)"):
        job.wait(poll=0.01)
    assert statuses(job.wait(poll=0.01)) == ["succeeded"] * 6  # it was the key
    assert asked(server) == [3, 3]


def test_a_batch_that_is_gone_for_good_is_made_again_when_that_is_asked_for(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(batches=BatchPlan(polls=1))
    job = submit(server, tmp_path, "anthropic", part_rows=3)
    with pytest.raises(Exception, match="Nothing is uncertain"):
        job.submit_again(0)
    answering(server, lambda request: request.path.endswith("_1"), 404)
    with pytest.raises(JobStopped, match=r"submit_again\(0\)"):
        job.wait(poll=0.01)
    job.submit_again(0)
    assert statuses(job.wait(poll=0.01)) == ["succeeded"] * 6


# ---------------------------------------------------------------- what comes back


def changed_results(server: ProviderServer, change: Callable[[bytes], bytes]) -> None:
    download = server.batches.download

    def changed(request: Any, id_: str, content: bytes, *rest: Any) -> Any:
        return download(request, id_, change(content), *rest)

    server.batches.download = changed  # type: ignore[method-assign]


@pytest.mark.long
@both
@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data + b"null\n",
        lambda data: b'[1]\n"text"\n7\n' + data + b"\n\n",
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data.rstrip(b"\n"),
        lambda data: data + b'{"custom_id": "torn',
        lambda data: data + b'{"custom_id": 1, "response": [], "result": "x", "error": "y"}\n',
    ],
    ids=["bom", "null", "no rows", "crlf", "no end", "torn for ever", "odd row"],
)
def test_an_odd_line_of_results_loses_no_other(
    serve: Serve, tmp_path: Path, wire: str, change: Any
) -> None:
    server = serve()
    changed_results(server, change)
    assert statuses(submit(server, tmp_path, wire).wait(poll=0.01)) == ["succeeded"] * 6
    assert asked(server) == [6]


@pytest.mark.parametrize("cut", [False, True])
def test_results_that_come_compressed_are_read(
    tmp_path: Path, cut: bool, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    lines = b"".join(b'{"custom_id": "%d", "response": null}\n' % number for number in range(500))
    packed = gzip.compress(lines)
    whole = answer(packed, headers="content-encoding: gzip\r\n")
    script: list[list[Any]] = [[whole]]
    if cut:
        script = [[whole[: len(whole) - 400], None], [whole]]
    server = RawServer(script)
    request.addfinalizer(server.close)
    model = ChatOpenAI(model="m", base_url=server.url, api_key="k")
    with BatchClient(model, ChatCompletionsCodec(provider="openai")) as batch_client:
        batch_client.download("/files/f/content", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == lines
    assert [b"range:" in asked.lower() for asked in server.requests] == [False] * len(script)


def test_a_download_that_goes_on_elsewhere_is_begun_anew(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nabcd"
    wrong = answer(b"ab", status=206, headers="content-range: bytes 2-3/8\r\n")
    server = RawServer([[head, None], [wrong], [answer(b"abcdefgh")]])
    request.addfinalizer(server.close)
    model = ChatOpenAI(model="m", base_url=server.url, api_key="k")
    with BatchClient(model, ChatCompletionsCodec(provider="openai")) as batch_client:
        batch_client.download("/files/f/content", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"abcdefgh"


# ---------------------------------------------------------------- the rest, live


def test_an_answer_that_was_paid_live_is_kept_whatever_another_row_raises(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(batches=BatchPlan(rows=dict.fromkeys(range(6), "missing")))
    bad = ["w3"]

    def step(value: Any) -> Any:
        if value["word"] in bad and len(asked(server)) == 1:
            raise ZeroDivisionError("odd one")
        return value

    chain = RunnableLambda(step) | PROMPT | server.model()
    job = chain.submit_batch(ROWS, dir=tmp_path / "a.job").wait(poll=0.01)
    assert job.finish_live() == 5
    assert statuses(job) == ["succeeded"] * 3 + ["missing"] + ["succeeded"] * 2
    bad.clear()
    assert job.finish_live() == 1 and statuses(job) == ["succeeded"] * 6
    assert sum(request.wire == "openai" for request in server.requests) == 6


def test_a_wrong_key_is_raised_when_rows_are_asked_live(serve: Serve, tmp_path: Path) -> None:
    server = serve(batches=BatchPlan(rows={0: "missing"}))
    job = submit(server, tmp_path).wait(poll=0.01)
    server.say(faults.status(401))
    with pytest.raises(AuthenticationError):
        job.finish_live()


# ---------------------------------------------------------------- rows that were never sent


def test_rows_that_no_step_could_make_a_question_of_are_submitted_once_they_can(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(batches=BatchPlan(rows={2: "missing"}))
    rows = [
        {"word": "a"},
        {"wrod": "b"},
        {"word": "c"},
        {"word": "x" * 999},
        {"wrod": "d"},
        {"word": "c"},
    ]
    job = (PROMPT | server.model()).submit_batch(
        rows, dir=tmp_path / "a.job", part_bytes=700, max_rounds=1
    )
    job.wait(poll=0.01)
    server.batches.plan = BatchPlan()
    seen = [result.status for result in job.results()]
    assert seen == ["succeeded", "invalid", "succeeded", "invalid", "invalid", "succeeded"]
    mended = [*rows[:1], {"word": "b"}, rows[2], {"word": "e"}, {"word": "b"}, rows[5]]
    with pytest.raises(JobChanged, match="Row 3"):
        job.resubmit(inputs=[*mended[:2], {"word": "z"}, *mended[3:]])
    assert job.resubmit(inputs=mended) == 3
    assert [result.same for result in job.wait(poll=0.01).results()] == [
        None,
        None,
        None,
        None,
        1,
        2,
    ]
    assert [result.output.text for result in job.results()] == [
        f"say {row['word']}" for row in mended
    ]
    assert asked(server) == [2, 2]
    assert job.resubmit(inputs=mended) == 0
    (PROMPT | server.model()).submit_batch(
        mended, dir=tmp_path / "a.job", part_bytes=700, max_rounds=1
    )
    assert asked(server) == [2, 2]


# ---------------------------------------------------------------- a store that was damaged


def damage(folder: Path, *lines: int) -> None:
    with closing(sqlite3.connect(folder / "a.job" / "job.sqlite")) as store, store:
        ids = [id for (id,) in store.execute("SELECT id FROM events ORDER BY id")]
        store.executemany(
            "UPDATE events SET record = '###' WHERE id = ?", [(ids[line],) for line in lines]
        )


@pytest.mark.long
@both
@pytest.mark.parametrize("lines", [(-1,), (-1, -2), (-1, -2, -3), (1,), (0, 1, 2, 3)], ids=str)
def test_events_of_the_store_that_are_lost_make_no_second_batch(
    serve: Serve, tmp_path: Path, wire: str, lines: tuple[int, ...]
) -> None:
    server = serve(batches=BatchPlan(polls=1))
    submit(server, tmp_path, wire)
    with closing(sqlite3.connect(tmp_path / "a.job" / "job.sqlite")) as store:
        (count,) = store.execute("SELECT count(*) FROM events").fetchone()
    damage(tmp_path, *{line for line in lines if -count <= line < count})
    assert statuses(submit(server, tmp_path, wire).wait(poll=0.01)) == ["succeeded"] * 6
    assert asked(server) == [6]
    assert PartEvents(tmp_path / "a.job").read().damaged
    damage(tmp_path, -1)  # what is done is done
    assert statuses(load(server, tmp_path, wire).wait(poll=0.01)) == ["succeeded"] * 6
    assert asked(server) == [6]


def test_a_job_is_not_done_whose_store_has_lost_what_a_part_brought(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve()
    submit(server, tmp_path).wait(poll=0.01)
    damage(tmp_path, -2)  # the last one says that the job is done
    assert statuses(load(server, tmp_path)) == ["pending"] * 6
    assert statuses(load(server, tmp_path).wait(poll=0.01)) == ["succeeded"] * 6
    assert asked(server) == [6]


@both
def test_a_store_that_is_gone_names_where_its_batches_are(
    serve: Serve, tmp_path: Path, wire: str
) -> None:
    server = serve(batches=BatchPlan(polls=3))
    job = submit(server, tmp_path, wire)
    (tmp_path / "a.job" / "job.sqlite").unlink()
    with pytest.raises(
        DiskError, match=f"may still have the batches .* name `{job.id}` as the job"
    ):
        submit(server, tmp_path, wire)
    assert asked(server) == [6]


@pytest.mark.parametrize("checksum", ["written", "forged"])
def test_requests_that_were_damaged_are_not_handed_in(
    serve: Serve, tmp_path: Path, checksum: str
) -> None:
    server = serve()
    answering(server, is_create, 403, times=1)
    with pytest.raises(Exception, match="403"):
        submit(server, tmp_path, "anthropic")
    with closing(sqlite3.connect(tmp_path / "a.job" / "job.sqlite")) as store, store:
        store.create_function("crc32", 1, lambda text: crc32(text.encode()))
        store.execute("UPDATE requests SET record = replace(record, 'say w3', 'say w9')")
        if checksum == "forged":
            store.execute("UPDATE requests SET checksum = crc32(record)")
    with pytest.raises(DiskError, match=r"job\.sqlite` is damaged"):
        submit(server, tmp_path, "anthropic")
    assert asked(server) == []


def test_rows_that_are_asked_live_are_the_rows_that_the_batch_had(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(batches=BatchPlan(rows=dict.fromkeys(range(3), "missing")))
    rows = [
        {"x": float("inf"), "y": (1, 2)},
        {"x": datetime(2026, 11, 23, 9, 5, tzinfo=UTC), "y": b"\xff"},
        {"x": Decimal("1.10"), "y": {1: "a"}},
    ]
    chain = ChatPromptTemplate.from_messages([("human", "{x} and {y}")]) | server.model()
    job = chain.submit_batch(rows, dir=tmp_path / "a.job").wait(poll=0.01)
    assert job.finish_live() == 3
    texts = [request.text for request in server.requests if request.wire == "openai"]
    assert sorted(texts) == sorted(f"{row['x']} and {row['y']}" for row in rows)
