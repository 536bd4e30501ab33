"""`modelwire embed`: a column of vectors from the shell."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelwire import cli
from modelwire.testing import ProviderServer


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    monkeypatch.chdir(tmp_path)
    with ProviderServer() as provider:
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        monkeypatch.setenv("OPENAI_BASE_URL", provider.base_url)
        with open("reviews.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerows([["id", "review"], [1, "good"], [2, ""], [3, "bad"]])
        yield provider


def embed(*more: str, output: str = "vectors.jsonl") -> int:
    model = "openai:text-embedding-3-small"
    arguments = ["embed", "reviews.csv", "-m", model, "--column", "review", "-o", output]
    return cli.main([*arguments, *more])


def vectors() -> list[list[float] | None]:
    text = Path("vectors.jsonl").read_text(encoding="utf-8")
    return [json.loads(line)["embedding"] for line in text.splitlines()]


def test_it_writes_vectors_and_the_path(
    server: ProviderServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert embed("--dimensions", "4") == 0
    printed = capsys.readouterr()
    assert printed.out == "vectors.jsonl\n"
    assert "3 rows, 1 failed" in printed.err
    assert "empty text" in printed.err
    first, second, third = vectors()
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
        (["-m", "gpt-9"], "tells no provider"),
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
