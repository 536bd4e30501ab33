"""`run_job` with an embeddings model: rows share requests, and each has its own vector, error, tokens and cost."""

from __future__ import annotations

import csv
import json
import struct
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from modelwire.embeddings import Embeddings, OpenAIEmbeddings
from modelwire.errors import AuthenticationError, InvalidArgument, JobStopped
from modelwire.jobs import run_job
from modelwire.testing import ProviderServer, faults


def vector(text: str) -> list[float]:
    """Return three numbers that a 32-bit float holds exactly, and that tell the text."""
    return [len(text) / 8, sum(map(ord, text)) / 8, 0.5]


class _Provider(ThreadingHTTPServer):
    """OpenAI's API of embeddings in a few lines: it refuses a request with the text `refused`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.requests: list[list[str]] = []
        self.refused = "nothing is refused"
        self.without_number = "every vector is whole"
        self.stops_after = 10**9

    @property
    def answered(self) -> list[str]:
        return [text for texts in self.requests for text in texts]


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Provider

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        texts = asked["input"]
        if self.server.refused in texts:
            return self._send(400, {"error": {"message": "the input is not allowed", "code": "x"}})
        if len(self.server.requests) >= self.server.stops_after:
            return self._send(401, {"error": {"message": "the key has ended"}})
        self.server.requests.append(texts)
        data = [
            {"object": "embedding", "index": index, "embedding": self._packed(text)}
            for index, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": 7 * len(texts) + 3, "total_tokens": 7 * len(texts) + 3}
        return self._send(200, {"object": "list", "data": data, "model": "m", "usage": usage})

    def _packed(self, text: str) -> str:
        numbers = vector(text)
        if text == self.server.without_number:
            numbers[1] = float("nan")
        return b64encode(struct.pack("<3f", *numbers)).decode()

    def _send(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def provider() -> Iterator[_Provider]:
    with running() as server:
        yield server


@contextmanager
def running() -> Iterator[_Provider]:
    server = _Provider()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def model_of(server: _Provider, **settings: Any) -> OpenAIEmbeddings:
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    named = {"model": "text-embedding-3-small", "base_url": url, "api_key": "k", **settings}
    return OpenAIEmbeddings(**named)


def table_of(path: Path, texts: list[str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "review"])
        writer.writerows(enumerate(texts))
    return path


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_row_has_the_vector_of_its_text_in_order_and_requests_are_full(
    provider: _Provider, tmp_path: Path
) -> None:
    texts = [f"text {'x' * (number % 50)}{number}" for number in range(5000)]
    output = tmp_path / "vectors.jsonl"
    table = table_of(tmp_path / "reviews.csv", texts)
    result = run_job(model_of(provider), table, text="review", output=output, quiet=True)
    rows = rows_of(output)
    assert [row["embedding"] for row in rows] == [vector(text) for text in texts]
    assert [row["id"] for row in rows] == [str(number) for number in range(5000)]
    assert sorted(provider.answered) == sorted(texts)
    assert len(provider.requests) == 3
    assert (result.rows, result.failed, result.output_tokens) == (5000, 0, 0)


def test_tokens_and_costs_of_the_rows_add_up_to_those_of_their_requests(
    provider: _Provider,
) -> None:
    result = run_job(model_of(provider), ["a", "bb" * 40, "c"], quiet=True)
    assert result.input_tokens == 7 * 3 + 3
    tokens = [row["input_tokens"] for row in result]
    assert sum(tokens) == 24
    assert tokens[1] > tokens[0]
    # 24 tokens at 0.02 USD for a million.
    assert result.cost == Decimal("0.00000048")
    assert sum(Decimal(str(row["cost"])) for row in result) == result.cost


def test_parquet_has_a_list_of_32_bit_floats(provider: _Provider, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    output = tmp_path / "vectors.parquet"
    rows = [{"review": "one"}, {"review": ""}, {"review": "three"}]
    run_job(model_of(provider), rows, text="review", output=output, quiet=True)
    table = parquet.read_table(output)
    assert table.schema.field("embedding").type == pa.list_(pa.float32())
    assert table["embedding"].to_pylist() == [vector("one"), None, vector("three")]


def test_csv_has_json_and_the_result_reads_it_back(provider: _Provider, tmp_path: Path) -> None:
    output = tmp_path / "vectors.csv"
    result = run_job(
        model_of(provider), [{"review": "one"}], text="review", output=output, quiet=True
    )
    assert [row["embedding"] for row in result] == [vector("one")]
    with output.open(newline="", encoding="utf-8") as file:
        assert json.loads(next(csv.DictReader(file))["embedding"]) == vector("one")


def test_equal_texts_are_sent_once(provider: _Provider) -> None:
    result = run_job(model_of(provider), ["a", "b", "a", "b", "a"], quiet=True)
    assert sorted(provider.answered) == ["a", "b"]
    assert [row["embedding"] for row in result] == [vector(text) for text in "ababa"]


def test_rows_without_a_text_fail_alone(provider: _Provider) -> None:
    rows = [{"t": "a"}, {"t": ""}, {"t": None}, {"t": 5}, {"t": "b"}]
    result = run_job(model_of(provider), rows, text="t", quiet=True)
    assert [row["embedding"] for row in result] == [vector("a"), None, None, None, vector("b")]
    errors = [row["error"] for row in result]
    assert errors[0] is errors[4] is None
    assert "empty" in errors[1]
    assert "empty" in errors[2]
    assert "`int`" in errors[3]
    assert sorted(provider.answered) == ["a", "b"]


def test_a_text_that_the_provider_refuses_fails_alone(provider: _Provider) -> None:
    provider.refused = "text 37"
    texts = [f"text {number}" for number in range(100)]
    result = run_job(model_of(provider), texts, quiet=True)
    failed = [row["input"] for row in result if row["error"]]
    assert failed == ["text 37"]
    assert all(row["embedding"] == vector(row["input"]) for row in result if not row["error"])
    assert sorted(provider.answered) == sorted(set(texts) - {"text 37"})
    assert "not allowed" in next(row["error"] for row in result if row["error"])


def test_a_vector_that_is_no_number_fails_alone(provider: _Provider) -> None:
    provider.without_number = "text 2"
    result = run_job(model_of(provider), [f"text {number}" for number in range(4)], quiet=True)
    assert [row["error"] is None for row in result] == [True, True, False, True]
    assert "not finite" in next(row["error"] for row in result if row["error"])


def test_a_stopped_job_goes_on_without_sending_a_text_twice(
    provider: _Provider, tmp_path: Path
) -> None:
    texts = [f"text {number}" for number in range(95)]
    output = tmp_path / "vectors.jsonl"
    table = table_of(tmp_path / "reviews.csv", texts)
    model = model_of(provider, chunk_size=10)
    options: Any = {"text": "review", "output": output, "quiet": True, "max_concurrency": 10}
    provider.stops_after = 4
    with pytest.raises(JobStopped, match="key"):
        run_job(model, table, **options)
    assert len(provider.answered) == 40
    assert not output.exists()
    provider.stops_after = 10**9
    result = run_job(model, table, **options)
    assert [row["embedding"] for row in rows_of(output)] == [vector(text) for text in texts]
    assert sorted(provider.answered) == sorted(texts)
    assert result.input_tokens == 7 * 95 + 3 * 10


def test_busy_servers_are_waited_for() -> None:
    script = [faults.status(503), faults.status(429, headers={"retry-after": "0"})]
    with ProviderServer(script) as server:
        result = run_job(server.embeddings(), ["a", "b"], quiet=True)
        assert [row["error"] for row in result] == [None, None]
        assert server.counts.by_status == {503: 1, 429: 1, 200: 1}


def test_a_budget_is_held_by_the_texts_alone(provider: _Provider) -> None:
    # 20,000 bytes reserve 0.0004 USD, at 0.02 USD for a million tokens. The answer reserves nothing.
    texts = [f"{number}{'x' * 20_000}" for number in range(40)]
    model = model_of(provider, chunk_size=4, embedding_ctx_length=100_000)
    result = run_job(model, texts, max_cost="0.001", max_concurrency=4, quiet=True)
    assert result.stopped is None
    assert result.rows == 40
    provider.requests.clear()
    result = run_job(model, texts, max_cost="0.0003", max_concurrency=4, quiet=True)
    assert result.stopped == "max_cost"
    assert provider.requests == []


class _Own(Embeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [vector(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return vector(text)


def test_any_embeddings_model_is_taken() -> None:
    result = run_job(_Own(), ["a", "bb"], quiet=True)
    assert [row["embedding"] for row in result] == [vector("a"), vector("bb")]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, r"`text` must name the column.*`text=\"review\"`.*`id`, `review`"),
        ({"text": "reviw"}, r"The job names the column `reviw`.*no such column.*review"),
        ({"text": "review", "system": "Be short."}, "`system` is not for a job of embeddings"),
        ({"text": "review", "model": "openai:gpt-4o-mini"}, "`model` is not for"),
        ({"text": "review", "finish_by": "2h"}, "`finish_by` is not for"),
        ({"text": "review", "engine": "ray"}, 'leave `engine="ray"` out'),
    ],
)
def test_options_that_do_not_fit_are_refused_before_any_request(
    provider: _Provider, tmp_path: Path, options: Any, problem: str
) -> None:
    table = table_of(tmp_path / "reviews.csv", ["a"])
    with pytest.raises(InvalidArgument, match=problem):
        run_job(model_of(provider), table, output=tmp_path / "v.jsonl", quiet=True, **options)
    assert provider.requests == []


def test_text_is_for_embeddings_only() -> None:
    with pytest.raises(InvalidArgument, match="`text` is for an embeddings model"):
        run_job("Say {a}", [{"a": "x"}], model="local:", text="a", quiet=True)


def test_another_column_or_model_is_another_job(provider: _Provider, tmp_path: Path) -> None:
    from modelwire.errors import JobChanged

    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"a": "one", "b": "two"}\n', encoding="utf-8")
    options: Any = {"output": tmp_path / "v.jsonl", "quiet": True}
    run_job(model_of(provider), rows, text="a", **options)
    with pytest.raises(JobChanged, match=r"\{a\}.*\{b\}"):
        run_job(model_of(provider), rows, text="b", **options)
    with pytest.raises(JobChanged, match="dimensions"):
        run_job(model_of(provider, dimensions=3), rows, text="a", **options)


def test_a_wrong_key_stops_the_job(provider: _Provider) -> None:
    provider.stops_after = 0
    with pytest.raises(JobStopped, match="key has ended") as caught:
        run_job(model_of(provider), ["a", "b"], quiet=True)
    assert isinstance(caught.value.__cause__, AuthenticationError)


# It prints the requests of a job of the given number of texts, and its peak of memory in MB.
MILLION = """
import asyncio, sys
from modelwire.embeddings import Embeddings
from modelwire.jobs import run_job

count, output = int(sys.argv[1]), sys.argv[2]


class Limits:
    texts = 2048


class Counting(Embeddings):
    requests = 0

    def limits(self):
        return Limits

    def embed_documents(self, texts):
        raise NotImplementedError

    def embed_query(self, text):
        raise NotImplementedError

    async def aembed_documents(self, texts):
        Counting.requests += 1
        await asyncio.sleep(0.01)
        return [[len(text) / 8] * 8 for text in texts]


texts = (f"text {number}" for number in range(count))
result = run_job(Counting(), texts, output=output, quiet=True)
assert (result.rows, result.failed) == (count, 0)
status = open("/proc/self/status").read()  # a child's `ru_maxrss` begins with its parent's peak
peak_kb = int(status.split("VmHWM:")[1].split()[0])
print(Counting.requests, peak_kb / 1024)
"""


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="it reads Linux's /proc")
def test_a_million_texts_go_in_full_requests_and_flat_memory(tmp_path: Path) -> None:
    count = 1_000_000
    command = [sys.executable, "-c", MILLION, str(count), str(tmp_path / "vectors.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    requests, peak_mb = done.stdout.split()
    # A limit of requests a minute is used as well as the fewest requests that are possible use it.
    assert int(requests) <= 1.02 * (count / 2048)
    assert float(peak_mb) < 400
