"""Both Batch APIs through the official SDKs, with every odd thing they do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from modelwire.testing import BatchPlan, ProviderServer, faults

Serve = Callable[..., ProviderServer]
ENDS = {"completed", "failed", "expired", "cancelled"}


class OpenAIBatches:
    """What a program does with OpenAI's Batch API."""

    def __init__(self, server: ProviderServer) -> None:
        self.server = server
        self.client = openai.OpenAI(
            base_url=server.base_url_for("openai"), api_key="k", max_retries=0
        )

    def submit(
        self, rows: list[tuple[str, str]], url: str = "/v1/chat/completions", **fields: Any
    ) -> Any:
        said = "input" if url == "/v1/responses" else "messages"
        lines = [
            {
                "custom_id": name,
                "method": "POST",
                "url": url,
                "body": {"model": "gpt-test", said: [{"role": "user", "content": text}]},
            }
            for name, text in rows
        ]
        return self.submit_lines("".join(json.dumps(line) + "\n" for line in lines), url, **fields)

    def submit_lines(self, content: str, url: str = "/v1/chat/completions", **fields: Any) -> Any:
        file = self.client.files.create(file=("rows.jsonl", content.encode()), purpose="batch")
        assert file.bytes == len(content.encode())
        return self.client.batches.create(
            input_file_id=file.id, endpoint=url, completion_window="24h", **fields
        )  # type: ignore[arg-type]

    def wait(self, batch: Any) -> tuple[Any, list[str]]:
        seen = [batch.status]
        while batch.status not in ENDS and len(seen) < 20:
            batch = self.client.batches.retrieve(batch.id)
            seen.append(batch.status)
        return batch, seen

    def lines(self, file_id: str | None) -> list[dict[str, Any]]:
        if file_id is None:
            return []
        return [json.loads(line) for line in self.client.files.content(file_id).text.splitlines()]


@pytest.fixture
def openai_batches(serve: Serve) -> Iterator[Callable[..., OpenAIBatches]]:
    made: list[OpenAIBatches] = []

    def start(*args: Any, **kwargs: Any) -> OpenAIBatches:
        made.append(OpenAIBatches(serve(*args, **kwargs)))
        return made[-1]

    yield start
    for one in made:
        one.client.close()


@pytest.fixture
def claude(serve: Serve) -> Iterator[Callable[..., anthropic.Anthropic]]:
    made: list[anthropic.Anthropic] = []

    def start(*args: Any, **kwargs: Any) -> anthropic.Anthropic:
        server = serve(*args, **kwargs)
        made.append(anthropic.Anthropic(base_url=server.base_url, api_key="k", max_retries=0))
        made[-1].server = server  # type: ignore[attr-defined]
        return made[-1]

    yield start
    for one in made:
        one.close()


def params(*rows: tuple[str, str]) -> list[Any]:
    return [
        {
            "custom_id": name,
            "params": {
                "model": "claude-test",
                "max_tokens": 9,
                "messages": [{"role": "user", "content": text}],
            },
        }
        for name, text in rows
    ]


def ended(client: anthropic.Anthropic, batch: Any) -> Any:
    for _ in range(20):
        if batch.processing_status == "ended":
            break
        batch = client.messages.batches.retrieve(batch.id)
    return batch


ROWS = [("a", "first"), ("b", "second"), ("c", "third"), ("d", "fourth")]

# ---------------------------------------------------------------- OpenAI


@pytest.mark.parametrize("url", ["/v1/chat/completions", "/v1/responses"])
def test_an_openai_batch_runs_through_its_states_and_answers_every_row(
    url: str, openai_batches: Callable[..., OpenAIBatches]
) -> None:
    api = openai_batches(batches=BatchPlan(polls=4))
    batch, seen = api.wait(api.submit(ROWS, url, metadata={"job": "j1"}))
    assert seen == ["validating", "in_progress", "in_progress", "in_progress", "completed"]
    assert batch.metadata == {"job": "j1"}
    assert batch.request_counts.model_dump() == {"total": 4, "completed": 4, "failed": 0}
    assert batch.error_file_id is None
    lines = api.lines(batch.output_file_id)
    said = {
        line["custom_id"]: (
            line["response"]["body"]["output"][0]["content"][0]["text"]
            if url == "/v1/responses"
            else line["response"]["body"]["choices"][0]["message"]["content"]
        )
        for line in lines
    }
    assert said == dict(ROWS)
    assert [line["custom_id"] for line in lines] != [
        name for name, _ in ROWS
    ]  # no order is promised
    assert batch.usage.total_tokens == batch.usage.input_tokens + batch.usage.output_tokens > 0


def test_rows_take_their_answers_from_the_script_and_may_fail(
    openai_batches: Callable[..., OpenAIBatches],
) -> None:
    def answer(request: Any) -> Any:
        return (
            faults.status(400, message="bad row")
            if request.text == "second"
            else request.text.upper()
        )

    api = openai_batches(default=answer)
    batch, _ = api.wait(api.submit(ROWS))
    [error] = api.lines(batch.error_file_id)
    assert (error["custom_id"], error["response"]["status_code"], error["error"]) == (
        "b",
        400,
        None,
    )
    assert error["response"]["body"]["error"]["message"] == "bad row"
    assert {line["custom_id"] for line in api.lines(batch.output_file_id)} == {"a", "c", "d"}
    assert batch.request_counts.model_dump() == {"total": 4, "completed": 3, "failed": 1}


@pytest.mark.parametrize("outcome", ["expired", "cancelled"])
def test_a_batch_that_does_not_complete_has_what_was_done(
    outcome: Any, openai_batches: Callable[..., OpenAIBatches]
) -> None:
    api = openai_batches(batches=BatchPlan(outcome=outcome, done=0.5))
    batch, _ = api.wait(api.submit(ROWS))
    assert batch.status == outcome
    assert {line["custom_id"] for line in api.lines(batch.output_file_id)} == {"a", "b"}
    undone = api.lines(batch.error_file_id)
    assert {line["custom_id"] for line in undone} == {"c", "d"}
    assert {(line["response"], line["error"]["code"]) for line in undone} == {
        (None, f"batch_{outcome}")
    }


def test_a_batch_can_be_cancelled(openai_batches: Callable[..., OpenAIBatches]) -> None:
    api = openai_batches(batches=BatchPlan(polls=4))
    batch = api.submit(ROWS)
    for _ in range(2):
        api.client.batches.retrieve(batch.id)
    assert api.client.batches.cancel(batch.id).status == "cancelling"
    batch, seen = api.wait(batch)
    assert seen[-1] == "cancelled"
    assert {line["custom_id"] for line in api.lines(batch.output_file_id)} == {"a", "b"}


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        ('{"custom_id": "a", "body": {}}\n{"custom_id"\n', "invalid_json_line", 2),
        (
            '{"custom_id": "a", "body": {}}\n{"custom_id": "a", "body": {}}\n',
            "duplicate_custom_id",
            2,
        ),
        ('{"custom_id": "a", "url": "/chat/completions", "body": {}}\n', "mismatched_url", 1),
        ("\n", "empty_file", None),
    ],
)
def test_a_file_that_is_wrong_fails_after_it_was_taken(
    content: str, code: str, line: int | None, openai_batches: Callable[..., OpenAIBatches]
) -> None:
    api = openai_batches()
    batch, seen = api.wait(api.submit_lines(content))
    assert seen == ["validating", "validating", "failed"]
    assert [(error.code, error.line) for error in batch.errors.data] == [(code, line)]
    assert batch.output_file_id is None


@pytest.mark.parametrize(
    ("plan", "code"),
    [
        (
            BatchPlan(
                errors=[{"code": "mismatched_model", "line": 3, "message": "one model a file"}]
            ),
            "mismatched_model",
        ),
        (BatchPlan(outcome="token_limit_exceeded"), "token_limit_exceeded"),
    ],
)
def test_a_batch_may_fail_as_a_whole(
    plan: BatchPlan, code: str, openai_batches: Callable[..., OpenAIBatches]
) -> None:
    api = openai_batches(batches=[plan])
    batch, _ = api.wait(api.submit(ROWS))
    assert (batch.status, batch.errors.data[0].code, batch.output_file_id) == ("failed", code, None)
    assert (
        api.wait(api.submit(ROWS))[0].status == "completed"
    )  # the plans were for the first one only


def test_rows_may_be_odd(openai_batches: Callable[..., OpenAIBatches]) -> None:
    odd = {0: "missing", 1: "duplicate", 2: "null", 3: "expired"}
    api = openai_batches(batches=BatchPlan(rows=odd, foreign=1))  # type: ignore[arg-type]
    batch, _ = api.wait(api.submit(ROWS))
    assert sorted(line["custom_id"] for line in api.lines(batch.output_file_id)) == [
        "b",
        "b",
        "foreign-0",
    ]
    errors = {line["custom_id"]: line["error"]["code"] for line in api.lines(batch.error_file_id)}
    assert errors == {"c": "server_error", "d": "batch_expired"}


def test_the_answer_to_a_create_may_be_lost_and_the_batch_is_there(
    openai_batches: Callable[..., OpenAIBatches],
) -> None:
    api = openai_batches(batches=[BatchPlan(lose_create=True)])
    with pytest.raises(openai.APIConnectionError):
        api.submit(ROWS, metadata={"part": "1"})
    [found] = api.client.batches.list()
    assert found.metadata == {"part": "1"}
    assert len(api.server.batches.made) == 1


def test_a_download_may_be_cut_once_and_goes_on_by_range(
    openai_batches: Callable[..., OpenAIBatches],
) -> None:
    api = openai_batches(batches=BatchPlan(cut_results=50))
    batch, _ = api.wait(api.submit(ROWS))
    with pytest.raises(openai.APIConnectionError):
        api.lines(batch.output_file_id)
    rest = api.client.files.content(batch.output_file_id, extra_headers={"range": "bytes=50-"})
    whole = api.client.files.content(batch.output_file_id).content
    assert rest.response.status_code == 206
    assert rest.response.headers["content-range"] == f"bytes 50-{len(whole) - 1}/{len(whole)}"
    assert whole[50:] == rest.content
    with pytest.raises(openai.APIStatusError, match="416"):
        api.client.files.content(
            batch.output_file_id, extra_headers={"range": f"bytes={len(whole)}-"}
        )


def test_lists_have_pages(openai_batches: Callable[..., OpenAIBatches]) -> None:
    api = openai_batches()
    ids = [api.submit([("a", "x")]).id for _ in range(5)]
    first = api.client.batches.list(limit=2)
    assert ([batch.id for batch in first.data], first.has_more) == ([ids[4], ids[3]], True)
    assert [batch.id for batch in api.client.batches.list(limit=2)] == ids[
        ::-1
    ]  # the SDK turns the pages
    assert len(list(api.client.files.list(limit=2))) == 5


def test_files_can_be_looked_at_and_deleted(openai_batches: Callable[..., OpenAIBatches]) -> None:
    client = openai_batches().client
    content = b"line\r\n\r\n--x\n"
    file = client.files.create(file=("rows.jsonl", content), purpose="batch")
    assert client.files.retrieve(file.id).filename == "rows.jsonl"
    assert client.files.content(file.id).content == content
    assert client.files.delete(file.id).deleted
    for ask in (client.files.retrieve, client.files.content):
        with pytest.raises(openai.NotFoundError):
            ask(file.id)
    with pytest.raises(openai.BadRequestError, match="names no file"):
        client.batches.create(
            input_file_id="file-9", endpoint="/v1/responses", completion_window="24h"
        )


def test_a_batch_may_end_by_time(openai_batches: Callable[..., OpenAIBatches]) -> None:
    api = openai_batches(batches=BatchPlan(seconds=3600), time_scale=1e-5)
    batch = api.submit(ROWS)
    statuses = {batch.status}
    while batch.status != "completed":
        batch = api.client.batches.retrieve(batch.id)
        statuses.add(batch.status)
    assert api.server.now_s() >= 3600
    assert "in_progress" in statuses


# ---------------------------------------------------------------- Anthropic


def test_an_anthropic_batch_counts_nothing_until_its_end(
    claude: Callable[..., anthropic.Anthropic],
) -> None:
    client = claude(batches=BatchPlan(polls=3))
    batch = client.messages.batches.create(requests=params(*ROWS))
    seen = []
    while batch.processing_status != "ended":
        seen.append(batch.request_counts.model_dump())
        batch = client.messages.batches.retrieve(batch.id)
    nothing = {"processing": 4, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
    assert seen == [nothing] * 3
    assert batch.request_counts.succeeded == 4
    results = {
        row.custom_id: row.result.message.content[0].text
        for row in client.messages.batches.results(batch.id)
    }
    assert results == dict(ROWS)


def test_anthropic_rows_may_be_odd(claude: Callable[..., anthropic.Anthropic]) -> None:
    def answer(request: Any) -> Any:
        return faults.status(400) if request.text == "fifth" else request.text

    odd = {0: "missing", 1: "duplicate", 2: "null", 3: "expired"}
    client = claude(default=answer, batches=BatchPlan(rows=odd, foreign=1))
    batch = ended(client, client.messages.batches.create(requests=params(*ROWS, ("e", "fifth"))))
    rows = [(row.custom_id, row.result.type) for row in client.messages.batches.results(batch.id)]
    assert sorted(rows) == [
        ("b", "succeeded"),
        ("b", "succeeded"),
        ("c", "errored"),
        ("d", "expired"),
        ("e", "errored"),
        ("foreign-0", "succeeded"),
    ]
    errors = {
        row.custom_id: row.result.error.error.type
        for row in client.messages.batches.results(batch.id)
        if row.result.type == "errored"
    }
    assert errors == {"c": "api_error", "e": "invalid_request_error"}
    counts = batch.request_counts
    assert (counts.succeeded, counts.errored, counts.expired) == (1, 2, 1)


def test_an_anthropic_batch_can_be_cancelled_and_deleted(
    claude: Callable[..., anthropic.Anthropic],
) -> None:
    client = claude(batches=BatchPlan(polls=4))
    batches = client.messages.batches
    batch = batches.create(requests=params(*ROWS))
    for _ in range(2):
        batches.retrieve(batch.id)
    with pytest.raises(anthropic.BadRequestError, match="not ended"):
        batches.delete(batch.id)
    assert batches.cancel(batch.id).processing_status == "canceling"
    batch = ended(client, batch)
    kinds = {row.custom_id: row.result.type for row in batches.results(batch.id)}
    assert kinds == {"a": "succeeded", "b": "succeeded", "c": "canceled", "d": "canceled"}
    assert batches.delete(batch.id).type == "message_batch_deleted"
    with pytest.raises(anthropic.NotFoundError):
        batches.retrieve(batch.id)


@pytest.mark.parametrize("rows", [[], [("a", "x"), ("a", "y")], [("not allowed", "x")]])
def test_rows_without_names_of_their_own_are_refused(
    rows: list[tuple[str, str]], claude: Callable[..., anthropic.Anthropic]
) -> None:
    with pytest.raises(anthropic.BadRequestError, match="custom_id"):
        claude().messages.batches.create(requests=params(*rows))


def test_results_may_lie_on_another_host(claude: Callable[..., anthropic.Anthropic]) -> None:
    client = claude(batches=BatchPlan(results_host="http://evil.example"))
    batch = ended(client, client.messages.batches.create(requests=params(*ROWS)))
    assert batch.results_url == f"http://evil.example/v1/messages/batches/{batch.id}/results"


def test_anthropic_loses_creates_and_cuts_results_too(
    claude: Callable[..., anthropic.Anthropic],
) -> None:
    client = claude(batches=[BatchPlan(lose_create=True, cut_results=40)])
    with pytest.raises(anthropic.APIConnectionError):
        client.messages.batches.create(requests=params(*ROWS))
    [found] = client.messages.batches.list()
    batch = ended(client, found)
    with pytest.raises(Exception, match=r"peer closed|incomplete"):
        list(client.messages.batches.results(batch.id))
    assert len(list(client.messages.batches.results(batch.id))) == 4


def test_anthropic_lists_have_pages_in_both_directions(
    claude: Callable[..., anthropic.Anthropic],
) -> None:
    batches = claude().messages.batches
    ids = [batches.create(requests=params(("a", "x"))).id for _ in range(5)]
    assert [batch.id for batch in batches.list(limit=2)] == ids[::-1]
    before = batches.list(limit=2, before_id=ids[1])
    assert ([batch.id for batch in before.data], before.has_more) == ([ids[3], ids[2]], True)
    with pytest.raises(anthropic.NotFoundError, match="no results"):
        batch = batches.list(limit=1).data[0]
        batches._client.get(f"/v1/messages/batches/{batch.id}/results", cast_to=object)


def test_the_plan_may_change_while_it_runs(openai_batches: Callable[..., OpenAIBatches]) -> None:
    api = openai_batches(batches=[BatchPlan(outcome="failed")])
    api.server.batches = BatchPlan(outcome="expired", done=0.0)
    assert [api.wait(api.submit([("a", "hi")]))[0].status for _ in range(2)] == [
        "expired",
        "expired",
    ]
    api.server.batches = [BatchPlan(outcome="cancelled")]
    assert [api.wait(api.submit([("a", "hi")]))[0].status for _ in range(2)] == [
        "cancelled",
        "completed",
    ]


# ---------------------------------------------------------------- Gemini


@pytest.mark.long  # the SDK alone takes seconds to load
@pytest.mark.parametrize("way", ["inline", "file"])
def test_googles_sdk_reads_a_gemini_batch_from_its_beginning_to_its_end(
    serve: Serve, tmp_path: Path, way: str
) -> None:
    genai = pytest.importorskip("google.genai")
    server = serve([faults.status(400)], batches=BatchPlan(polls=2))  # the last row
    client = genai.Client(
        api_key="k", http_options={"base_url": server.base_url, "api_version": "v1beta"}
    )
    asked = {
        name: {"contents": [{"role": "user", "parts": [{"text": text}]}]} for name, text in ROWS[:2]
    }
    if way == "file":
        path = tmp_path / "rows.jsonl"
        path.write_text(
            "".join(json.dumps({"key": name, "request": row}) + "\n" for name, row in asked.items())
        )
        src: Any = client.files.upload(
            file=path, config={"display_name": "rows", "mime_type": "application/jsonl"}
        ).name
    else:
        src = [{**row, "metadata": {"key": name}} for name, row in asked.items()]
    batch = client.batches.create(model="gemini-test", src=src, config={"display_name": "d"})
    states = [batch.state.name]
    while not batch.done and len(states) < 9:
        batch = client.batches.get(name=batch.name)
        states.append(batch.state.name)
    assert states == ["JOB_STATE_PENDING", "JOB_STATE_RUNNING", "JOB_STATE_SUCCEEDED"]
    assert [(one.name, one.display_name) for one in client.batches.list()] == [(batch.name, "d")]
    if way == "file":
        lines = client.files.download(file=batch.dest.file_name).splitlines()
        rows = {row["key"]: row for row in map(json.loads, lines)}
        assert rows["a"]["response"]["candidates"][0]["content"]["parts"][0]["text"] == "first"
        assert rows["b"]["error"]["code"] == 3
    else:
        found = {one.metadata["key"]: one for one in batch.dest.inlined_responses}
        assert found["a"].response.text == "first" and found["b"].error.code == 3
    client.batches.delete(name=batch.name)
    assert not server.batches.made


@pytest.mark.long
def test_googles_sdk_cancels_a_gemini_batch(serve: Serve) -> None:
    genai = pytest.importorskip("google.genai")
    server = serve(batches=BatchPlan(polls=9))
    client = genai.Client(
        api_key="k", http_options={"base_url": server.base_url, "api_version": "v1beta"}
    )
    batch = client.batches.create(model="m", src=[{"contents": "hi"}], config={"display_name": "d"})
    client.batches.cancel(name=batch.name)
    assert client.batches.get(name=batch.name).state.name == "JOB_STATE_CANCELLED"
