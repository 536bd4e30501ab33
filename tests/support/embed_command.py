"""`modelwire embed` on a table of reviews in the working directory, against a server of the tests."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelwire import cli
from modelwire.testing import ProviderServer


@contextmanager
def serving_reviews(
    folder: Path, monkeypatch: pytest.MonkeyPatch, rows: Iterable[tuple[int, str]]
) -> Iterator[ProviderServer]:
    """Write `reviews.csv` with ids and reviews into `folder`, and run a server in OpenAI's place."""
    monkeypatch.chdir(folder)
    with ProviderServer() as provider:
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        monkeypatch.setenv("OPENAI_BASE_URL", provider.base_url)
        with open("reviews.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("id", "review"), *rows])
        yield provider


def embed(*more: str, output: str = "vectors.jsonl") -> int:
    """Run the command on the reviews; return its exit code."""
    model = "openai:text-embedding-3-small"
    arguments = ["embed", "reviews.csv", "-m", model, "--column", "review", "-o", output]
    return cli.main([*arguments, *more])


def written_vectors() -> list[list[float] | None]:
    """Return the vectors of the rows in `vectors.jsonl`."""
    text = Path("vectors.jsonl").read_text(encoding="utf-8")
    return [json.loads(line)["embedding"] for line in text.splitlines()]
