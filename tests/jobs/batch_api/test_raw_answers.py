"""A provider of a few lines whose answers are lost, cut or none: no batch is made twice, and the job ends."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from modelwire import ChatOpenAI
from modelwire.errors import DiskError, JobStopped, ModelwireError
from modelwire.jobs import BatchJob, row_records
from modelwire.jobs.batch_api import downloads
from modelwire.jobs.batch_api.openai import OpenAIBatches
from modelwire.jobs.batch_api.part_log import PartEvents
from modelwire.jobs.batch_api.part_requests import name_of, requests_of
from modelwire.jobs.row_records import Results
from modelwire.jobs.store import STORE_NAME, JobStore

RESET = -1
Odd = list[tuple[int, Any]]  # answers that come in the place of the first ones: a status and a body


class Server(ThreadingHTTPServer):
    """OpenAI's Batch API; `odd` are answers to come instead of the true ones, by what is asked."""

    daemon_threads = True

    def __init__(self, **odd: Odd) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.odd, self.asked = odd, Counter[str]()
        self.files: dict[str, bytes] = {}
        self.batches: list[dict[str, Any]] = []
        Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def answer(self, what: str, value: Any, status: int = 200) -> None:
        odd, self.server.asked[what] = self.server.odd.get(what, []), self.server.asked[what] + 1
        if self.server.asked[what] <= len(odd):
            status, value = odd[self.server.asked[what] - 1]
        if status == RESET:
            self.close_connection = True
            return
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.send_header("retry-after-ms", "1")
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        sent, server = self.rfile.read(int(self.headers["content-length"])), self.server
        if self.path.endswith("/files"):
            name = f"file{len(server.files)}"
            server.files[name] = sent[sent.index(b'{"custom_id"') : sent.rindex(b"\r\n--")]
            self.answer("upload", {"id": name, "created_at": int(time.time())})
            return
        about = {
            "id": f"batch{len(server.batches)}",
            "status": "in_progress",
            "created_at": int(time.time()),
        }
        server.batches.append({**json.loads(sent), **about})
        self.answer("create", about)

    def do_GET(self) -> None:
        server, name = (
            self.server,
            self.path.partition("?")[0].removesuffix("/content").rpartition("/")[2],
        )
        if name == "batches":
            self.answer("list", {"data": server.batches, "has_more": False})
        elif name in server.files:
            self.answer("results", server.files[name])
        else:
            batch = next(one for one in server.batches if one["id"] == name)
            rows = [json.loads(line) for line in server.files[batch["input_file_id"]].splitlines()]
            lines = [
                json.dumps({"custom_id": row["custom_id"], "response": answered(row["body"])})
                for row in rows
            ]
            server.files[f"out{name}"] = "\n".join(lines[::-1]).encode()
            self.answer("look", {**batch, "status": "completed", "output_file_id": f"out{name}"})

    def log_message(self, *args: Any) -> None:
        pass


def answered(body: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": f"To {body['messages'][0]['content']}"}
    return {
        "status_code": 200,
        "body": {"id": "c", "choices": [{"message": message, "finish_reason": "stop"}]},
    }


@pytest.fixture
def serve() -> Any:
    servers: list[Server] = []

    def start(**odd: Odd) -> Server:
        servers.append(Server(**odd))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def submit(server: Server, folder: Path, *texts: str) -> BatchJob:
    base_url = f"http://127.0.0.1:{server.server_port}/v1"
    return ChatOpenAI(model="gpt-test", base_url=base_url, api_key="k").submit_batch(
        texts or ["a", "b"], dir=folder
    )


LOST: list[tuple[int, Any]] = [
    (RESET, None),
    (200, {}),
    (200, []),
    (200, b"<html>"),
    (200, {"id": None}),
    (502, b"<html>"),
    (200, b""),
]


@pytest.mark.parametrize("lost", LOST)
def test_a_batch_whose_answer_says_nothing_is_made_once(
    serve: Callable[..., Server], tmp_path: Path, lost: Any
) -> None:
    server = serve(create=[lost])
    job = submit(server, tmp_path / "a.job").wait(poll=0.01)
    assert [result.output.text for result in job.results()] == ["To a", "To b"]
    assert len(server.batches) == 1


@pytest.mark.parametrize("page", [{}, {"data": None}])
def test_a_list_that_says_nothing_is_no_list_without_our_batch(
    serve: Callable[..., Server], tmp_path: Path, page: Any
) -> None:
    server = serve(create=[(RESET, None)], list=[(200, page)] * 2)
    job = submit(server, tmp_path / "a.job").wait(poll=0.01)
    assert job.status(look=False).done == 2 and len(server.batches) == 1


STRANGE = [
    {"status": None, "request_counts": None, "errors": None},
    {"status": "in_progress", "request_counts": {"total": "2", "completed": "1", "failed": 0}},
    {"status": "in_progress", "request_counts": [1, 2]},
    {"status": "failed", "errors": [{"message": "m"}]},
    {"status": ["completed"]},
]


def test_a_look_that_cannot_be_read_is_repeated(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    looks: Odd = [(200, each) for each in STRANGE] + [
        (429, {}),
        (500, b""),
        (503, b"<html>"),
        (RESET, None),
    ]
    server = serve(look=looks)
    job = submit(server, tmp_path / "a.job").wait(poll=0.001)
    assert job.status(look=False).done == 2
    server = serve(look=[(200, STRANGE[1])])
    with pytest.raises(ModelwireError, match="cannot be read"):
        submit(server, tmp_path / "b.job").status()


def test_a_batch_that_has_ended_without_its_results_is_looked_at_until_they_are_there(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    ended = {
        "status": "completed",
        "request_counts": {"total": 2, "completed": 2, "failed": 0},
        "output_file_id": None,
    }
    server = serve(look=[(200, ended)] * 2)
    job = submit(server, tmp_path / "a.job").wait(poll=0.01)
    assert [result.output.text for result in job.results()] == ["To a", "To b"]
    server = serve(
        look=[(200, {**ended, "expires_at": 1})] * 9,
        create=[(200, {"id": "batch0", "expires_at": 1})],
    )
    job = submit(server, tmp_path / "b.job")
    with pytest.raises(JobStopped, match=r"has ended and tells of no results.*submit_again\(0\)"):
        job.wait(poll=0.01)
    job.submit_again(0)
    server.odd.clear()
    assert job.wait(poll=0.01).status(look=False).done == 2 and len(server.batches) == 2


@pytest.mark.parametrize("cut", [b"", b'{"custom_id": "', b"<html>"])
def test_results_that_end_in_a_line_are_fetched_again_and_then_are_what_they_are(
    serve: Callable[..., Server], tmp_path: Path, cut: bytes
) -> None:
    server = serve(results=[(200, cut)])
    job = submit(server, tmp_path / "a.job").wait(poll=0.01)
    statuses = {result.status for result in job.results()}
    assert statuses == ({"missing"} if cut == b"" else {"succeeded"})
    server = serve(results=[(200, cut)] * 9)
    job = submit(server, tmp_path / "b.job").wait(poll=0.01)
    assert {result.status for result in job.results()} == {"missing"}
    assert len(server.batches) == 1


def test_results_that_lack_answers_are_fetched_again_until_they_have_them(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "RESULTS_LATE_S", 900.0)
    counts = {"total": 3, "completed": 2, "failed": 1}
    errors_only = {"status": "completed", "request_counts": counts, "error_file_id": "wrong"}
    both = {**errors_only, "output_file_id": "answers"}
    # First the error file alone is named, then the download of the answers is empty once.
    server = serve(look=[(200, errors_only), (200, both), (200, both)])
    job = submit(server, tmp_path / "a.job", "a", "b", "c")
    with closing(JobStore(tmp_path / "a.job", read_only=True)) as store:
        names = [name_of(OpenAIBatches(), request) for _, request in requests_of(store, _part(job))]
    error = {"status_code": 400, "body": {"error": {"message": "no"}}}
    server.files["wrong"] = json.dumps({"custom_id": names[2], "response": error}).encode()
    answers = [{"custom_id": name, "response": answered(_asking(name))} for name in names[:2]]
    server.files["answers"] = b"\n".join(json.dumps(line).encode() for line in answers)
    server.odd["results"] = [
        (200, server.files["wrong"]),
        (200, b""),
        (200, server.files["wrong"]),
    ]
    job.wait(poll=0.01)
    results = list(job.results())
    assert [result.status for result in results] == ["succeeded", "succeeded", "errored"]
    assert job.resubmit() == 0 and len(server.batches) == 1


def test_results_that_lack_answers_for_good_are_taken_and_the_user_is_told(
    serve: Callable[..., Server], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(results=[(200, b"")] * 99)
    look = {"status": "completed", "output_file_id": "outbatch0"}
    look["request_counts"] = {"total": 2, "completed": 2, "failed": 0}
    server.odd["look"] = [(200, look)] * 99
    job = submit(server, tmp_path / "a.job")
    server.files["outbatch0"] = b""
    job.wait(poll=0.01)
    assert [result.status for result in job.results()] == ["missing"] * 2
    assert "counts 2 answers in batch batch0, and its results lack 2 of them" in caplog.text


def _part(job: BatchJob) -> Any:
    return PartEvents(job.path).read().parts[0]


def _asking(text: str) -> dict[str, Any]:
    return {"messages": [{"content": text}]}


def test_a_table_of_large_rows_is_written_in_groups_of_few_rows(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    write = Results.write

    def counting(results: Results, entries: Any) -> None:
        written.append(sum(len(entry.record) for entry in entries))
        write(results, entries)

    monkeypatch.setattr(Results, "write", counting)
    monkeypatch.setattr(row_records, "GROUP_BYTES", 10_000)
    texts = [f"{number}{'x' * 2_000}" for number in range(20)]
    job = submit(serve(), tmp_path / "a.job", *texts).wait(poll=0.01)
    assert job.write(tmp_path / "o.jsonl") == 20
    assert len(written) > 5 and max(written) < 20_000
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert [row["answer"] for row in rows] == [f"To {text}" for text in texts]


@pytest.mark.parametrize("order", ["input", "arrival"])
@pytest.mark.parametrize("damage", ["gone", "torn"])
def test_rows_that_are_gone_or_damaged_are_a_disk_error(
    serve: Callable[..., Server], tmp_path: Path, order: Any, damage: str
) -> None:
    job = submit(serve(), tmp_path / "a.job").wait(poll=0.01)
    change = "UPDATE inputs SET record = '{' || substr(record, 3)"
    if damage == "gone":
        change = "DELETE FROM inputs"
    with closing(sqlite3.connect(tmp_path / "a.job" / STORE_NAME)) as store, store:
        store.execute(change)
    with pytest.raises(DiskError, match=r"`inputs` in .*job\.sqlite` is damaged"):
        list(job.results(order))


def test_a_folder_of_results_that_cannot_be_made_is_a_disk_error(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    job = submit(serve(), tmp_path / "a.job")
    (tmp_path / "a.job" / "results").write_text("a file")
    with pytest.raises(DiskError, match="results"):
        job.wait(poll=0.01)
