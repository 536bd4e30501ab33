"""Pools in `modelwire.toml`."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelwire import init_chat_model
from modelwire.cli import main
from modelwire.errors import InvalidConfig
from modelwire.pools import PoolChatModel

ROWS = """
[models.eu]
model = "openai:gpt-5-mini"
base_url = "https://eu.example.org/v1"
api_key_env = "EU_KEY"

[models.us]
model = "anthropic:claude-haiku-4-5"
api_key_env = "US_KEY"

[models.all]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "modelwire.toml"
    path.write_text(ROWS + text)
    return path


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EU_KEY", "k")
    monkeypatch.setenv("US_KEY", "k")


def test_a_row_is_a_pool_of_rows(tmp_path: Path) -> None:
    path = written(tmp_path, 'pool = ["eu", "us"]\nweights = [3, 1]\nhedge = "p95"')
    model = init_chat_model("all", config_file=path, temperature=0.5)
    assert isinstance(model, PoolChatModel)
    assert list(model.deployments) == ["eu", "us"]
    assert [one.weight for one in model._scheduler.deployments] == [3, 1]
    assert [one.temperature for one in model.deployments.values()] == [0.5, 0.5]  # type: ignore[attr-defined]
    assert model._scheduler.hedges.after == "p95"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('pool = "eu"', "line 12: `pool` of `models.all` must be a list of names"),
        ("pool = []", "line 12: `models` is empty"),
        ('pool = ["eu", "eu"]', "line 12: .* names a model twice"),
        ('pool = ["eu"]\nprefered = "first"', "line 13: a pool has no `prefered`.*`prefer`"),
        ('pool = ["eu"]\nprefer = "last"', "line 12: `prefer` must be"),
        ('pool = ["eu", "us"]\nweights = [1]', "line 13: `weights` .* one number for each model"),
        ('pool = ["eu"]\nsticky = "no"', "line 12: `sticky` must be true or false, not 'no'"),
        ('pool = ["eu", "us"]\nweights = [inf, 1]', "line 12: A weight must be a finite number"),
        ('pool = ["eu", "us"]\nweights = [1, nan]', "line 12: A weight must be a finite number"),
        (
            'pool = ["eu", "uss"]',
            "modelwire.toml`, line 12: `pool` of `models.all`: `uss` is neither a row.*`us`",
        ),
        ('pool = ["eu"]\n[models.more]\npool = ["all"]', "a pool cannot contain a pool"),
    ],
)
def test_a_row_that_makes_no_pool(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InvalidConfig, match=message):
        init_chat_model("all", config_file=path)


@pytest.mark.parametrize("weight", [1, 5])
def test_equal_weights_divide_the_calls(tmp_path: Path, weight: int) -> None:
    path = written(tmp_path, f'pool = ["eu", "us"]\nweights = [{weight}, {weight}]')
    model = init_chat_model("all", config_file=path)
    assert isinstance(model, PoolChatModel)
    assert model._scheduler.prefer == "weights"


def test_the_doctor_shows_an_option_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("US_KEY")
    written(tmp_path, 'pool = ["eu", "us"]\nhedge = "p99"')
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert 'pool all:\n  `modelwire.toml`, line 12: `hedge` must be "p95" or a number' in shown
    assert "  us: anthropic:claude-haiku-4-5 (`US_KEY` is not set)\n" in shown


def test_the_doctor_shows_the_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("US_KEY")
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    written(tmp_path, 'pool = ["eu", "us", "groq:some-model", "ollama:llama3", "nonsense"]')
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "pool all:\n  eu: openai:gpt-5-mini\n" in shown
    assert "  us: anthropic:claude-haiku-4-5 (`US_KEY` is not set)\n" in shown
    assert "  groq:some-model: groq:some-model (no key: set `GROQ_API_KEY`)\n" in shown
    assert "  ollama:llama3: ollama:llama3\n" in shown
    assert "  nonsense: `nonsense` is neither a row" in shown
