"""The numbers and settings of docs/reliability.md are those the code has (tests/docs runs its snippets)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modelwire.adapters import ChatOpenAI

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")


def test_every_setting_of_the_page_is_one_and_every_test_file_is_there() -> None:
    settings = set(re.findall(r"`(\w+)=", PAGE)) - {"streaming", "stream"}
    assert {"max_retries", "max_wait", "rpm", "stream_idle_timeout"} <= settings
    assert settings <= set(ChatOpenAI.model_fields)
    assert all((ROOT / path).exists() for path in re.findall(r"`pytest (tests/\S+?)[` ]", PAGE))


@pytest.mark.parametrize(
    ("name", "said"), [("max_wait", 60), ("max_retry_after", 120), ("max_retries", 4)]
)
def test_the_defaults_of_the_page_are_the_models(name: str, said: float) -> None:
    assert ChatOpenAI.model_fields[name].default == said
