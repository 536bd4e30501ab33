"""A job with a schema: an answer that does not fit is a failed row, and the table's columns are the schema's."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, Literal, TypedDict

import pytest
from pydantic import BaseModel

from modelwire import cli
from modelwire.jobs import run_job
from modelwire.prompts import ChatPromptTemplate
from modelwire.testing import Answer, ProviderServer

SCHEMA = {
    "title": "Wine",
    "type": "object",
    "properties": {
        "grape": {"type": "string"},
        "colour": {"enum": ["red", "white"]},
        "note": {"type": "string"},
    },
    "required": ["grape", "colour"],
}
COLUMNS = ["grape", "colour", "note"]
FITTING = {"grape": "Merlot", "colour": "red"}
WRONG: dict[str, Any] = {
    "a wrong enum": {**FITTING, "colour": "blue"},
    "a wrong type": {**FITTING, "grape": 3},
    "a missing key": {"grape": "Merlot"},
    "a misspelt key": {**FITTING, "ntoe": "dry"},
    "an empty object": {},
    "a list": [FITTING],
    "words": "It is a fine red wine.",
}


class Wine(BaseModel):
    grape: str
    colour: Literal["red", "white"]
    note: str | None = None


class WineDict(TypedDict):
    grape: str
    colour: str
    note: str | None


def answer(wire: str, value: Any) -> Any:
    if wire == "anthropic" and isinstance(value, dict):
        return Answer(tool_calls=[{"name": "Wine", "args": value}])
    return value if isinstance(value, str) else json.dumps(value)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(params=["openai", "anthropic"])
def wire(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text(
        "text\n" + "".join(f"{kind}\n" for kind in WRONG) + "it fits\n"
    )
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    return str(request.param)


def test_what_does_not_fit_is_a_failed_row_that_retry_asks_again(
    wire: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{wire.upper()}_API_KEY", "k")
    said = {kind: answer(wire, value) for kind, value in WRONG.items()}

    def lie(request: Any) -> Any:
        return next(
            (value for kind, value in said.items() if kind in str(request.body)),
            answer(wire, FITTING),
        )

    with ProviderServer(default=lie) as server:
        monkeypatch.setenv(f"{wire.upper()}_BASE_URL", server.base_url_for(wire))  # type: ignore[arg-type]
        job = [
            "batch",
            "in.csv",
            "--prompt",
            "Wine: {text}",
            "--model",
            f"{wire}:m",
            "--schema",
            "schema.json",
        ]
        assert cli.main([*job, "-o", "out.csv"]) == 0
        rows = table(Path("out.csv"))
        assert list(rows[0])[1:4] == COLUMNS
        assert "answer" not in rows[0]
        for row in rows[:-1]:
            assert row["error"].startswith(("OutputParserException", "OutputValidationError")), row
            assert [row[name] for name in COLUMNS] == ["", "", ""]
        assert "ntoe" in rows[3]["error"]
        assert (rows[-1]["grape"], rows[-1]["colour"], rows[-1]["note"], rows[-1]["error"]) == (
            "Merlot",
            "red",
            "",
            "",
        )
        assert f"{len(WRONG)} failed" in capsys.readouterr().err
        server.default = answer(wire, FITTING)
        assert cli.main(["jobs", "retry", "out.csv.job"]) == 0
        assert server.counts.answered == 2 * len(WRONG) + 1
        assert {row["grape"] for row in table(Path("out.csv"))} == {"Merlot"}


@pytest.mark.parametrize(
    "schema", [Wine, WineDict, SCHEMA], ids=["pydantic", "typed dict", "json schema"]
)
def test_the_columns_are_the_schemas_though_no_row_has_an_answer(
    tmp_path: Path, schema: Any
) -> None:
    with ProviderServer(default="no") as server:
        run_job(
            "Wine: {text}",
            [{"text": "a"}],
            model=server.model("openai"),
            schema=schema,
            output=tmp_path / "o.csv",
            quiet=True,
        )
    assert list(table(tmp_path / "o.csv")[0])[:5] == ["text", *COLUMNS, "error"]


def test_a_chain_that_ends_in_a_form_has_its_columns_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with ProviderServer(default="no") as server:
        prompt = ChatPromptTemplate.from_template("Wine: {text}")
        chain = (prompt | server.model("openai").with_structured_output(Wine)).with_config(
            tags=["wine"]
        )
        run_job(chain, [{"text": "a"}], output="o.csv", quiet=True)
        assert list(table(Path("o.csv"))[0])[:5] == ["text", *COLUMNS, "error"]
        assert cli.main(["jobs", "write", "o.csv.job", "--output", "again.csv"]) == 0
    assert Path("again.csv").read_text() == Path("o.csv").read_text()


def test_a_schema_that_is_open_leaves_the_columns_to_the_answers(tmp_path: Path) -> None:
    with ProviderServer([json.dumps({**FITTING, "year": 2020})]) as server:
        run_job(
            "Wine: {text}",
            [{"text": "a"}],
            model=server.model("openai"),
            output=tmp_path / "o.csv",
            quiet=True,
            schema={**SCHEMA, "additionalProperties": True},
        )
    assert table(tmp_path / "o.csv")[0]["year"] == "2020"
