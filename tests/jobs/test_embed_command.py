"""`modelwire embed`: a column of vectors from the shell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.embed_command import embed, serving_reviews, written_vectors

from modelwire import cli
from modelwire.testing import ProviderServer


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    rows = [(1, "good"), (2, ""), (3, "bad")]
    with serving_reviews(tmp_path, monkeypatch, rows) as provider:
        yield provider


def test_it_writes_vectors_and_the_path(
    server: ProviderServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert embed("--dimensions", "4") == 0
    printed = capsys.readouterr()
    assert printed.out == "vectors.jsonl\n"
    assert "3 rows, 1 failed" in printed.err
    assert "empty text" in printed.err
    first, second, third = written_vectors()
    assert first is not None
    assert len(first) == 4
    assert second is None
    assert third not in (first, None)
    assert server.requests[0].body["dimensions"] == 4


def test_it_writes_parquet(server: ProviderServer) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert embed(output="vectors.parquet") == 0
    assert str(parquet.read_schema("vectors.parquet").field("embedding").type).startswith(
        "list<element: float>"
    )


def test_a_second_run_sends_nothing_and_a_retry_the_failed_rows_alone(
    server: ProviderServer, capsys: pytest.CaptureFixture[str]
) -> None:
    embed()
    assert embed() == 0
    assert len(server.requests) == 1
    capsys.readouterr()
    assert cli.main(["jobs", "retry", "vectors.jsonl.job"]) == 0
    assert len(server.requests) == 1  # An empty text is never sent.
    assert "1 failed" in capsys.readouterr().err


def test_a_dry_run_sends_nothing_and_needs_no_key(
    server: ProviderServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    assert embed("--dry-run") == 0
    printed = capsys.readouterr().out
    assert "--- line 2\ngood\n" in printed
    assert "3 rows, about" in printed
    assert "answer" not in printed
    assert server.requests == []


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["--column", "reviw"], "names the column `reviw`"),
        (["-m", "gpt-9"], "The provider of"),
        (["--dimensions", "0"], "at least 1"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    server: ProviderServer, capsys: pytest.CaptureFixture[str], more: list[str], problem: str
) -> None:
    try:
        code = embed(*more)
    except SystemExit as stop:
        code = int(str(stop.code))
    assert code == 2
    assert problem in capsys.readouterr().err
    assert server.requests == []
