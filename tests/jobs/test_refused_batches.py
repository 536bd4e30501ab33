"""A job with a deadline ends although the provider refuses to create or to cancel a batch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support import hybrid_program
from support.raw_batches import RawBatches, _Handler

from modelwire import ChatOpenAI
from modelwire.errors import JobStopped
from modelwire.jobs import batch_assignments, run_job

pytest.importorskip("genai_prices")
ROWS = [{"t": f"w{number}"} for number in range(120)]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches that take seconds, and looks that do not wait."""
    hybrid_program.hurry(monkeypatch.setattr)


class Refusing(RawBatches):
    """Answers with a status to the requests of one path; the others are RawBatches' own."""

    def __init__(self, path: str, *statuses: int, once: bool = False) -> None:
        self.path, self.statuses, self.once = path, list(statuses), once
        super().__init__()
        self.RequestHandlerClass = _Refusing
        self.refused = 0  # requests of that path

    def status(self, path: str) -> int | None:
        if not re.search(self.path, path):
            return None
        self.refused += 1
        if not self.statuses:
            return None
        return self.statuses.pop(0) if self.once else self.statuses[0]


class _Refusing(_Handler):
    server: Refusing

    def do_POST(self) -> None:
        status = self.server.status(self.path)
        if status is None:
            super().do_POST()
            return
        self.rfile.read(int(self.headers["content-length"]))
        if status == 0:
            self.close_connection = True
            return
        body = b'{"error": {"message": "not for this key"}}'
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def serve() -> Iterator[Callable[..., Refusing]]:
    servers: list[ThreadingHTTPServer] = []

    def start(*args: Any, **kwargs: Any) -> Refusing:
        servers.append(Refusing(*args, **kwargs))
        return servers[-1]  # type: ignore[return-value]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def run(server: Refusing, output: Path, finish_by: str | None) -> None:
    model = ChatOpenAI(model="gpt-4o-mini", base_url=server.url, api_key="k", rpm=60_000)
    options: Any = {} if finish_by is None else {"finish_by": finish_by}
    result = run_job("say {t}", ROWS, model=model, output=output, quiet=True, **options)
    assert result.complete and (result.rows, result.failed) == (120, 0)
    assert server.billed == {f"say {row['t']}": 1 for row in ROWS}


@pytest.mark.long
@pytest.mark.parametrize("path", ["/batches$", "/files$"])
@pytest.mark.parametrize("status", [400, 403, 404])
def test_rows_are_called_directly_when_the_provider_refuses_to_create_batches(
    serve: Callable[..., Refusing], tmp_path: Path, status: int, path: str
) -> None:
    server = serve(path, status)
    run(server, tmp_path / "o.jsonl", "1h")
    assert server.refused and server.batches == {}


def test_a_job_that_had_stopped_at_a_refusal_goes_on_without_a_deadline(
    serve: Callable[..., Refusing], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve("/batches$", 403)

    def stop(*args: Any) -> None:
        raise JobStopped("As a version before this one did.")

    with monkeypatch.context() as patched:
        patched.setattr(batch_assignments, "give_up_refused", stop)
        with pytest.raises(JobStopped):
            run(server, tmp_path / "o.jsonl", "1h")
    assert 0 < len(server.billed) < 120
    run(server, tmp_path / "o.jsonl", None)


@pytest.mark.long
@pytest.mark.parametrize("status", [409, 500, 0])
def test_a_batch_that_cannot_be_cancelled_at_once_does_not_end_the_job(
    serve: Callable[..., Refusing], tmp_path: Path, status: int
) -> None:
    server = serve("/cancel$", status, once=True)
    run(server, tmp_path / "o.jsonl", "3s")
    assert server.refused == 1 + 2  # both batches have been cancelled in the end
