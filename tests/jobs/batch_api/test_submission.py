"""A batch from its rows to its results, on all wires; what is refused, and what is never handed in."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelwire import cli
from modelwire.caches import InMemoryCache
from modelwire.errors import (
    CallerError,
    DiskError,
    InvalidArgument,
    InvalidType,
    JobBusy,
    JobChanged,
)
from modelwire.jobs import BatchJob
from modelwire.jobs.batch_api import NotBatchable, submit_batch
from modelwire.jobs.batch_api.api import Look
from modelwire.jobs.batch_api.open_job import OpenJob
from modelwire.jobs.batch_api.openai import OpenAIBatches
from modelwire.jobs.batch_api.part_log import Part, PartEvents
from modelwire.jobs.batch_api.reconcile import Reconciler
from modelwire.messages import AIMessage
from modelwire.output_parsers import JsonOutputParser, StrOutputParser
from modelwire.prompts import ChatPromptTemplate
from modelwire.runnables import RunnableLambda, RunnableParallel
from modelwire.testing import BatchPlan, ProviderServer, faults

Serve = Callable[..., ProviderServer]
WIRES = ("openai", "responses", "anthropic", "gemini")
PROMPT = ChatPromptTemplate.from_template("say {word}")
ROWS = [{"word": f"w{number}"} for number in range(7)]
SAID = [f"say w{number}" for number in range(7)]


def asked(server: ProviderServer) -> list[int]:
    return [len(batch.rows) for batch in server.batches.made]


@pytest.mark.parametrize("wire", WIRES)
def test_each_row_has_its_answer_in_the_order_of_the_input(
    serve: Serve, tmp_path: Path, wire: Any
) -> None:
    server = serve()
    chain = PROMPT | server.model(wire) | StrOutputParser()
    job = chain.submit_batch(ROWS, dir=tmp_path / "a.job", part_rows=3).wait(poll=0.01)
    assert asked(server) == [3, 3, 1]
    results = list(job.results())
    assert [(r.index, r.status, r.output, r.round) for r in results] == [
        (n, "succeeded", text, 1) for n, text in enumerate(SAID)
    ]
    assert all(r.usage["input_tokens"] > 0 for r in results)
    again = BatchJob.load(tmp_path / "a.job", chain=chain)
    assert sorted(r.output for r in again.results(order="arrival")) == SAID
    assert [
        r.output.text for r in BatchJob.load(again.id, dir=tmp_path).results()
    ] == SAID  # messages, no chain
    assert again.status().state == "done"


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("kind", ["plain", "bound", "form", "form with retries"])
def test_what_is_handed_in_is_what_invoke_would_send(
    serve: Serve, tmp_path: Path, wire: Any, kind: str
) -> None:
    server = serve(default='{"a": "b"}')
    form = {
        "title": "F",
        "description": "d",
        "type": "object",
        "properties": {"a": {"type": "string"}},
    }
    model = (
        server.model(wire, temperature=0.3, max_tokens=77, stream_usage=True)
        if wire != "anthropic"
        else (server.model(wire, temperature=0.3, max_tokens=77))
    )
    chain: Any = {
        "plain": PROMPT | model,
        "bound": PROMPT | model.bind(top_p=0.5).with_retry(),
        "form": PROMPT | model.with_structured_output(form, method="json_schema"),
        "form with retries": PROMPT
        | model.with_structured_output(form, method="json_schema", retries=2),
    }[kind]
    chain.submit_batch(ROWS[:1], dir=tmp_path / "a.job")
    chain.invoke(ROWS[0])
    (_, _, body) = server.batches.made[-1].rows[0]
    assert body == server.requests[-1].fields
    assert "stream" not in body


def test_steps_after_the_model_run_when_results_are_read(serve: Serve, tmp_path: Path) -> None:
    server = serve(default=lambda request: '{"n": 1}' if "w1" in request.text else "no JSON")
    read: list[str] = []
    chain = (
        PROMPT
        | server.model()
        | RunnableLambda(lambda m: read.append(m.content) or m)
        | JsonOutputParser()
    )
    job = chain.submit_batch(ROWS[:2], dir=tmp_path / "a.job").wait(poll=0.01)
    assert read == []
    first, second = job.results()
    assert (first.status, first.output, type(first.error).__name__) == (
        "succeeded",
        None,
        "OutputParserException",
    )
    assert first.message is not None and first.message.content == "no JSON"
    assert (second.output, second.error) == ({"n": 1}, None)
    with pytest.raises(ValueError, match="JSON"):
        list(job.results(errors="raise"))


def test_a_row_that_cannot_be_asked_fails_alone(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    table = tmp_path / "t.csv"
    table.write_text('id,word\na,one\nb,"broken\nc,' + "long" * 200 + "\nd,four\n")
    job = (PROMPT | server.model()).submit_batch(
        table, dir=tmp_path / "a.job", key="id", part_bytes=600
    )
    results = list(job.wait(poll=0.01).results())
    assert [(r.key, r.status) for r in results] == [
        ("a", "succeeded"),
        (1, "invalid"),
        ("c", "invalid"),
        ("d", "succeeded"),
    ]
    assert "Line 3" in str(results[1].error)
    assert "more than a batch may have" in str(results[2].error)
    assert sum(asked(server)) == 2


def test_parts_keep_to_the_bytes_they_may_have(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    upload = OpenAIBatches.upload

    def uploading(self: OpenAIBatches, client: Any, part: Any, path: Path, job: str) -> Any:
        sizes.append(path.stat().st_size)
        assert path.stat().st_mode & 0o777 == 0o600
        return upload(self, client, part, path, job)

    monkeypatch.setattr(OpenAIBatches, "upload", uploading)
    server = serve()
    server.model().submit_batch(
        [f"{n}" * 100 for n in range(10)], dir=tmp_path / "a.job", part_bytes=800
    )
    assert len(sizes) == len(server.batches.made) > 1
    assert all(size <= 800 for size in sizes)
    assert sizes == [part.size_bytes for part in PartEvents(tmp_path / "a.job").read().parts]
    assert sum(asked(server)) == 10
    assert list((tmp_path / "a.job" / "parts").iterdir()) == []  # none is left


def test_what_is_wrong_with_every_row_is_raised_and_nothing_is_handed_in(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve()
    with pytest.raises(InvalidArgument, match="stop"):
        server.model("responses", stop=["x"], strict_params=True).submit_batch(
            ["a", "b"], dir=tmp_path / "a.job"
        )
    server.model("responses").submit_batch(["a"], dir=tmp_path / "b.job")
    assert asked(server) == [1]


def test_answers_of_the_cache_are_not_handed_in(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    model = server.model(cache=InMemoryCache())
    model.invoke("one")
    job = model.submit_batch(["one", "two"], dir=tmp_path / "a.job").wait(poll=0.01)
    assert asked(server) == [1]
    assert [(r.output.content, r.round) for r in job.results()] == [("one", 0), ("two", 1)]


def test_a_job_of_nothing_but_cached_answers_is_done_at_once(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    model = server.model(cache=InMemoryCache())
    model.invoke("one")
    job = model.submit_batch(["one"], dir=tmp_path / "a.job")
    assert job.status().state == "done" and asked(server) == []


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda m: PROMPT | m | StrOutputParser() | m, "there are 2"),
        (lambda m: RunnableParallel(a=m), "inside it"),
        (lambda m: PROMPT | RunnableLambda(lambda x: m.invoke(x)), "inside it"),
        (lambda m: (PROMPT | m | StrOutputParser()).with_retry(), "inside it|put|cannot"),
        (lambda m: PROMPT | StrOutputParser(), "no model"),
        (lambda m: "text", "not a `str`"),
    ],
)
def test_a_chain_without_one_model_as_a_step_is_refused(
    serve: Serve, tmp_path: Path, make: Any, says: str
) -> None:
    with pytest.raises(NotBatchable, match=says):
        submit_batch(make(serve().model()), ROWS, dir=tmp_path / "a.job")
    assert not (tmp_path / "a.job").exists()


def test_retry_and_fallbacks_of_the_model_do_not_keep_it_from_a_batch(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve()
    model = server.model()
    chain = (
        PROMPT | model.with_fallbacks([server.model("anthropic")]).with_retry() | StrOutputParser()
    )
    job = chain.submit_batch(ROWS, dir=tmp_path / "a.job").wait(poll=0.01)
    assert [r.output for r in job.results()] == SAID


@pytest.mark.parametrize(
    "options",
    [
        {"part_rows": 0},
        {"max_rounds": "2"},
        {"metadata": {str(n): "" for n in range(14)}},
        {"nonsense": 1},
    ],
)
def test_options_are_checked(serve: Serve, tmp_path: Path, options: Any) -> None:
    with pytest.raises((InvalidArgument, InvalidType)):
        serve().model().submit_batch(["a"], dir=tmp_path / "a.job", **options)


def test_the_same_call_again_makes_nothing_and_another_one_is_refused(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve()
    chain = PROMPT | server.model()
    chain.submit_batch(ROWS, dir=tmp_path / "a.job")
    chain.submit_batch(list(ROWS), dir=tmp_path / "a.job").wait(poll=0.01)
    assert asked(server) == [7]
    with pytest.raises(JobChanged, match="other inputs"):
        chain.submit_batch(ROWS[1:], dir=tmp_path / "a.job")
    with pytest.raises(JobChanged, match=r"The prompt: `say \{word\}` became `shout \{word\}`"):
        (ChatPromptTemplate.from_template("shout {word}") | server.model()).submit_batch(
            ROWS, dir=tmp_path / "a.job"
        )
    other = ChatPromptTemplate.from_template("shout {word}") | server.model()
    with pytest.raises(JobChanged, match="another chain"):
        BatchJob.load(tmp_path / "a.job", chain=other)
    assert len(list(BatchJob.load(tmp_path / "a.job", chain=other, force=True).results())) == 7


def test_a_submission_of_nothing_that_can_be_asked_leaves_no_job(
    serve: Serve, tmp_path: Path
) -> None:
    for path in (tmp_path / "new.job", tmp_path / "theirs"):
        if path.name == "theirs":
            path.mkdir()
            (path / "log").write_text("years of work")
        with pytest.raises(CallerError):
            (PROMPT | serve().model()).submit_batch([{"wrod": "a"}], dir=path)
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]
    assert (tmp_path / "theirs" / "log").exists()


def test_who_writes_has_the_folder_alone_and_anyone_may_read(serve: Serve, tmp_path: Path) -> None:
    job = serve().model().submit_batch(["a"], dir=tmp_path / "a.job")
    with job.place.claimed():
        other = BatchJob.load(tmp_path / "a.job")
        assert [r.status for r in other.results()] == ["pending"]
        with pytest.raises(JobBusy):
            other.wait(poll=0.01)


def test_check_asks_one_row_live_before_anything_is_handed_in(serve: Serve, tmp_path: Path) -> None:
    server = serve([faults.status(400)])
    with pytest.raises(InvalidArgument, match="iterator"):
        server.model().submit_batch(iter(["a"]), dir=tmp_path / "b.job", check=1)
    with pytest.raises(Exception, match="400"):
        server.model().submit_batch(["a", "b"], dir=tmp_path / "a.job", check=1)
    assert asked(server) == []
    server.model().submit_batch(["a", "b"], dir=tmp_path / "a.job", check=1)
    assert asked(server) == [2]


def test_no_secret_and_nothing_executable_is_on_the_disk(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    (PROMPT | server.model(api_key="top-secret-key")).submit_batch(
        ROWS, dir=tmp_path / "a.job"
    ).wait(poll=0.01)
    for file in (tmp_path / "a.job").rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            assert b"top-secret-key" not in data and b"pickle" not in data
            assert file.suffix in (".json", ".jsonl", ".sqlite", "")


def test_listeners_hear_of_each_answer_when_it_is_read(serve: Serve, tmp_path: Path) -> None:
    from modelwire.callbacks import BaseCallbackHandler

    class Ear(BaseCallbackHandler):
        heard: list[Any] = []

        def on_chat_model_start(self, serialized: Any, messages: Any, **_: Any) -> None:
            self.heard.append(messages[0][0].content)

        def on_llm_end(self, response: Any, **_: Any) -> None:
            self.heard.append(response.generations[0][0].text)

        def on_llm_error(self, error: BaseException, **_: Any) -> None:
            self.heard.append(type(error).__name__)

    server = serve(batches=BatchPlan(rows={1: "expired", 2: "missing"}))
    server.default = lambda request: faults.status(400) if "w3" in request.text else request.text
    rows = [*ROWS[:4], ROWS[0], {"no": "word"}]
    config: Any = {"callbacks": [Ear()]}
    job = (PROMPT | server.model()).submit_batch(
        rows, dir=tmp_path / "a.job", config=config, max_rounds=1
    )
    list(job.results())
    assert Ear.heard == []  # nothing has come yet
    job.wait(poll=0.01)
    assert [r.status for r in job.results()] == [
        "succeeded",
        "expired",
        "missing",
        "errored",
        "succeeded",
        "invalid",
    ]
    assert Ear.heard == [
        "say w0",
        "say w0",
        "say w1",
        "ProviderError",
        "say w2",
        "MalformedResponse",
        "say w3",
        "BadRequest",
    ]


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
def test_equal_rows_are_handed_in_once_and_each_has_its_result(
    serve: Serve, tmp_path: Path, wire: Any
) -> None:
    server = serve(batches=[BatchPlan(rows={0: "missing"}), BatchPlan()])
    model = server.model(wire, model="gpt-4o-mini" if wire == "openai" else "claude-sonnet-4-5")
    rows = [{"word": word, "id": n} for n, word in enumerate("abacab")]
    job = (PROMPT | model).submit_batch(rows, dir=tmp_path / "a.job", max_rounds=1)
    assert asked(server) == [3]
    assert (status := job.status(look=False)).rows == 6 and status.done == 0
    job.wait(poll=0.01)
    assert [(r.status, r.same) for r in job.results()] == [
        ("missing", None),
        ("succeeded", None),
        ("missing", 0),
        ("succeeded", None),
        ("missing", 0),
        ("succeeded", 1),
    ]
    assert (
        job.resubmit() if wire == "openai" else job.finish_live()
    ) == 1  # and what comes of it comes of its equals
    job.wait(poll=0.01)
    results = list(job.results())
    assert [r.output.text for r in results] == [f"say {row['word']}" for row in rows]
    assert asked(server) == ([3, 1] if wire == "openai" else [3]) and job.status().done == 6
    own = [r.cost for r in results if r.same is None]
    assert all(own) and [r.cost for r in results if r.same is not None] == [0] * 3
    assert job.cost() == (sum(own), 6, 0)
    job.write(tmp_path / "out.jsonl")
    table = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [
        (row["id"], row["answer"], row["attempts"]) for row in table if row["input_tokens"] is None
    ] == [
        (2, "say a", 0),
        (4, "say a", 0),
        (5, "say b", 0),
    ]


def test_equal_rows_are_handed_in_again_where_that_is_asked_for(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve()
    job = (
        server.model()
        .submit_batch(["a", "a"], dir=tmp_path / "a.job", dedupe=False)
        .wait(poll=0.01)
    )
    assert asked(server) == [2]
    assert [r.same for r in job.results()] == [None, None]


def test_it_costs_half_of_what_it_would_live(serve: Serve, tmp_path: Path) -> None:
    pytest.importorskip("genai_prices")
    server = serve(AIMessage("yes") for _ in range(2))
    model = server.model("anthropic", model="claude-sonnet-4-5")
    live = model.invoke("hi")
    from modelwire.jobs import price_of

    job = model.submit_batch(["hi"], dir=tmp_path / "a.job").wait(poll=0.01)
    (result,) = job.results()
    whole = price_of(live)
    assert whole is not None and result.cost == whole * Decimal("0.5") == job.cost().usd
    assert job.cost().unpriced == 0


def test_a_table_of_the_results_has_the_columns_of_the_input(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    job = (
        (PROMPT | server.model() | StrOutputParser())
        .submit_batch(ROWS, dir=tmp_path / "a.job")
        .wait(poll=0.01)
    )
    assert job.write(tmp_path / "out.jsonl") == 7
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(row["word"], row["answer"], row["error"]) for row in rows] == [
        (f"w{n}", text, None) for n, text in enumerate(SAID)
    ]


@contextmanager
def files_left(count: int) -> Iterator[None]:
    """Let this process open only so many more files."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    numbers = [
        os.open(os.devnull, os.O_RDONLY) for _ in range(count)
    ]  # the limit is one of numbers: some are taken
    for number in numbers:
        os.close(number)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(numbers) + 1, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.skipif(os.name != "posix", reason="limits of a process are a thing of POSIX")
def test_more_files_of_results_than_a_process_may_open_are_read(
    serve: Serve, tmp_path: Path
) -> None:
    words = [f"w{number}" for number in range(36)]
    chain = serve().model() | StrOutputParser()
    job = chain.submit_batch(words, dir=tmp_path / "a.job", part_rows=1).wait(poll=0.01)
    with files_left(28):
        assert [result.output for result in job.results()] == words
        assert job.write(tmp_path / "out.jsonl", order="arrival") == len(words)


def test_a_store_of_results_that_has_gone_is_named(serve: Serve, tmp_path: Path) -> None:
    job = serve().model().submit_batch(["a"], dir=tmp_path / "a.job").wait(poll=0.01)
    found = tmp_path / "a.job" / "job.sqlite"
    found.unlink()
    for read in (lambda: list(job.results()), job.cost, lambda: job.write(tmp_path / "out.jsonl")):
        with pytest.raises(DiskError, match=found.name):
            read()


@pytest.mark.parametrize("when", ["before the end", "after a row was submitted again"])
def test_a_table_of_a_job_that_goes_on_does_not_end_it(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str], when: str
) -> None:
    """Its table has the rows that are there; `jobs list` and `jobs show` say how the job stands all the same."""
    server = serve(
        batches=[BatchPlan(rows={1: "missing"}), BatchPlan(seconds=3600), BatchPlan(seconds=3600)]
    )
    job = server.model().submit_batch(["a", "b", "c"], dir=tmp_path / "a.job", max_rounds=1)
    if when == "before the end":
        job = server.model().submit_batch(["d", "e", "f"], dir=tmp_path / "b.job")
    else:
        assert job.wait(poll=0.01).write(tmp_path / "out.jsonl") == 3
        assert listed(tmp_path, capsys) == ["complete", "3", "1"]
        assert job.resubmit() == 1
        assert listed(tmp_path, capsys) == ["submitted", "3", "0"]
    assert job.write(tmp_path / "out.jsonl") == 3
    assert "No answer: pending." in (tmp_path / "out.jsonl").read_text()
    assert listed(job.path.parent, capsys, job.id) == ["submitted", "3", "0"]
    assert cli.main(["jobs", "show", job.id, "--dir", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "submitted" in shown and "rows     3 so far, 0 failed\n" in shown


def listed(folder: Path, capsys: pytest.CaptureFixture[str], job: str = "") -> list[str]:
    """Return what `jobs list` says of a job: state, rows, failed."""
    assert cli.main(["jobs", "list", "--dir", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    return next(line for line in lines if line.startswith(job)).split()[1:4]


def test_async_code_submits_and_waits_too(serve: Serve, tmp_path: Path) -> None:
    server = serve()

    async def scene() -> list[Any]:
        job = await (PROMPT | server.model() | StrOutputParser()).asubmit_batch(
            ROWS, dir=tmp_path / "a.job"
        )
        return list((await job.await_end(poll=0.01)).results())

    assert [r.output for r in asyncio.run(scene())] == SAID


def test_a_poll_returns_whether_the_job_is_done_and_waits_for_nothing(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller, sleep = threading.current_thread(), time.sleep

    def fail(seconds: float) -> None:
        # Threads of other tests may still run.
        if threading.current_thread() is caller:
            raise AssertionError("a poll does not sleep")
        sleep(seconds)

    server = serve(batches=BatchPlan(polls=3))
    job = server.model().submit_batch([*"abcd"], dir=tmp_path / "a.job")
    monkeypatch.setattr("time.sleep", fail)
    polls = [job.poll()]
    while not polls[-1]:
        polls.append(job.poll())
    assert polls == [False] * (len(polls) - 1) + [True] and len(polls) > 1
    assert job.poll() and len(list(job.results())) == 4


def test_a_folder_of_an_older_modelwire_is_refused_with_a_sentence(
    serve: Serve, tmp_path: Path
) -> None:
    """Before 2026-12 the rows, requests and results of a batch were files, and its settings had no `format`."""
    serve().model().submit_batch(["a"], dir=tmp_path / "a.job")
    place = tmp_path / "a.job" / "job.json"
    about = json.loads(place.read_text())
    del about["batch"]["format"]
    place.write_text(json.dumps(about))
    for use in (
        lambda: BatchJob.load(tmp_path / "a.job"),
        lambda: serve().model().submit_batch(["a"], dir=tmp_path / "a.job"),
        lambda: list(BatchJob(tmp_path / "a.job", None).results()),
    ):
        with pytest.raises(InvalidArgument, match=r"older modelwire.* fetch its results"):
            use()


def test_progress_is_told_at_every_look(serve: Serve, tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    server = serve(batches=BatchPlan(polls=3))
    server.model().submit_batch(
        [*"abcd"], dir=tmp_path / "a.job", part_rows=2, on_progress=told.append
    ).wait(poll=0.01)
    assert [one["parts"] for one in told] == [2] * len(told)
    assert told[0]["submitted"] == 4 and told[0]["done"] == 0
    assert told[-1]["done"] == 4 and told[-1]["ended"] == 2
    assert told[0]["eta"] is None and told[-1]["eta"] == 0


@pytest.mark.parametrize(
    ("looks", "left_s"),
    [
        ([(100, 25, 5000.0)], 180.0),  # 25 rows a minute
        ([(100, 25, 5000.0), (100, 50, 5000.0)], 180.0),  # they run side by side
        ([(100, 25, 1100.0)], 40.0),  # by then it has expired
        ([(100, 0, 5000.0)], None),  # as Anthropic's say nothing until their end
        ([(100, 25, 5000.0), (100, None, 0.0)], None),  # one that waits for its turn
        ([], 0.0),
    ],
)
def test_the_time_left_goes_by_how_fast_the_batches_were_so_far(
    tmp_path: Path, looks: list[tuple[int, int | None, float]], left_s: float | None
) -> None:
    folder: Any = SimpleNamespace(path=tmp_path, about={"batch": {}})
    client: Any = None
    job = OpenJob(folder, PartEvents(tmp_path), OpenAIBatches(), client, now_s=lambda: 1060.0)
    reconciler = Reconciler(job)
    for number, (rows, done, expires_at) in enumerate(looks):
        stage = "planned" if done is None else "created"
        reconciler.events.parts.append(
            Part(number, rows, 1, "", stage=stage, at=1000.0, expires_at=expires_at)
        )
        reconciler.looks[number] = Look(
            ended=False, outcome="", total=rows, done=done or 0, failed=0
        )
    assert reconciler.progress()["eta"] == left_s


def test_half_of_a_character_fails_its_row_alone(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    rows = [{"word": "a"}, {"word": "\ud800"}, {"word": "c"}]
    chain = PROMPT | server.model() | StrOutputParser()
    job = chain.submit_batch(rows, dir=tmp_path / "a.job").wait(poll=0.01)
    assert [(r.status, r.output) for r in job.results()] == [
        ("succeeded", "say a"),
        ("invalid", None),
        ("succeeded", "say c"),
    ]
    assert "cannot be written as JSON" in str(list(job.results())[1].error)
    chain.submit_batch(rows, dir=tmp_path / "a.job")  # goes on, as the rows are the same
    assert asked(server) == [2]


def test_the_first_rows_of_a_file_can_be_checked(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    (tmp_path / "in.csv").write_text("word\na\nb\n")
    job = (PROMPT | server.model()).submit_batch(
        tmp_path / "in.csv", dir=tmp_path / "a.job", check=1
    )
    assert [r.output.text for r in job.wait(poll=0.01).results()] == ["say a", "say b"]
    with pytest.raises(InvalidArgument, match="not an iterator"):
        (PROMPT | server.model()).submit_batch(iter(ROWS), dir=tmp_path / "b.job", check=1)
