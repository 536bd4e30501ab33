"""`modelwire batch -a`: files that go with every row, or that a column names."""

from __future__ import annotations

import base64
import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelwire.errors import InvalidArgument, InvalidType
from modelwire.jobs import run_job
from modelwire.prompts import ChatPromptTemplate
from modelwire.testing import FakeListChatModel, ProviderServer

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
COMMAND = ("batch", "photos.csv", "--prompt", "What is on {name}?", "-m", "openai:m", "-o", "o.csv")


@pytest.fixture
def photos(own_home: Path) -> Path:
    """A table of three rows, one of whose photos is missing, and the photo of the other two."""
    (own_home / "cat.png").write_bytes(PIXEL)
    (own_home / "photos.csv").write_text("name,photo\nA,cat.png\nB,dog.png\nC,cat.png\n")
    return own_home


def contents(provider: ProviderServer) -> list[Any]:
    return [request.body["messages"][-1]["content"] for request in provider.requests]


def test_a_column_names_the_file_of_its_row_and_a_missing_file_fails_one_row(
    run: Callable[..., Any], provider: ProviderServer, photos: Path
) -> None:
    assert run(*COMMAND, "-a", "{photo}").code == 0
    sent = sorted(contents(provider), key=str)
    assert [parts[0]["text"] for parts in sent] == ["What is on A?", "What is on C?"]
    url = "data:image/png;base64," + base64.b64encode(PIXEL).decode()
    assert [parts[1]["image_url"]["url"] for parts in sent] == [url, url]
    with open("o.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [bool(row["error"]) for row in rows] == [False, True, False]
    assert "dog.png` cannot be read" in rows[1]["error"]


def test_retry_finds_the_file_from_another_folder_once_it_is_there(
    run: Callable[..., Any],
    provider: ProviderServer,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(*COMMAND, "-a", "{photo}")
    (photos / "dog.png").write_bytes(PIXEL)
    monkeypatch.chdir(photos.parent)
    assert run("jobs", "retry", str(photos / "o.csv.job"), "-q").code == 0
    assert [parts[0]["text"] for parts in contents(provider)][2:] == ["What is on B?"]
    assert len(contents(provider)[2]) == 2


def test_a_fixed_text_goes_with_every_row_and_another_file_is_another_job(
    run: Callable[..., Any], provider: ProviderServer, photos: Path
) -> None:
    (photos / "rules.txt").write_text("Be brief.")
    assert run(*COMMAND, "-a", "rules.txt").code == 0
    assert len(contents(provider)) == 3
    assert all("Be brief." in str(parts) for parts in contents(provider))
    done = run(*COMMAND, "-a", "cat.png")
    assert done.code == 1
    assert "rules.txt" in done.err and "cat.png" in done.err


def test_an_empty_cell_fails_its_row(
    run: Callable[..., Any], provider: ProviderServer, photos: Path
) -> None:
    (photos / "photos.csv").write_text("name,photo\nA,\nB,cat.png\n")
    assert run(*COMMAND, "-a", "{photo}").code == 0
    assert len(provider.requests) == 1
    assert "The row has no attachment: `{photo}` is empty." in Path("o.csv").read_text()


def test_a_column_that_the_input_does_not_have_is_refused_before_any_request(
    run: Callable[..., Any], provider: ProviderServer, photos: Path
) -> None:
    done = run(*COMMAND, "-a", "{foto}")
    assert (done.code, provider.requests) == (2, [])
    assert "the column `foto`" in done.err and "`photo`" in done.err


def test_what_is_no_list_of_texts_is_refused() -> None:
    model = FakeListChatModel(responses=["a"])
    for wrong in ("cat.png", [Path("cat.png")], 3):
        with pytest.raises(InvalidType, match="`attachments` must"):
            run_job("{a}", [{"a": 1}], model=model, attachments=wrong)  # type: ignore[arg-type]
    chain = ChatPromptTemplate.from_template("{a}") | model
    with pytest.raises(InvalidArgument, match="`attachments` are for a prompt that is a text"):
        run_job(chain, [{"a": 1}], attachments=["cat.png"])
