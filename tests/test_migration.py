"""What the LangChain page promises about names is true."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import modelwire.errors

PAGE = (Path(__file__).parents[1] / "docs" / "langchain.md").read_text(encoding="utf-8")


def _rows(heading: str) -> list[list[str]]:
    """Return the cells of the table whose first column has this heading."""
    table = PAGE.split(f"| {heading} |")[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def _named(text: str) -> list[str]:
    return re.findall(r"`([\w.]+)`", text)


@pytest.mark.parametrize(("was", "home", "names"), _rows("was"))
def test_every_name_of_the_table_is_at_its_new_path(was: str, home: str, names: str) -> None:
    modules = [importlib.import_module(module) for module in _named(home)]
    for name in _named(names):
        assert any(hasattr(module, name) for module in modules), f"{name} is in none of {home}"


@pytest.mark.parametrize(("was", "home", "names"), _rows("was"))
def test_the_root_is_all_that_changes(was: str, home: str, names: str) -> None:
    for old, new in zip(_named(was), _named(home), strict=False):
        if old.startswith("langchain_core."):
            assert new == old.replace("langchain_core", "modelwire")


@pytest.mark.parametrize(("was", "now"), _rows("was (`openai.` or `anthropic.`)"))
def test_every_error_has_its_counterpart(was: str, now: str) -> None:
    openai = pytest.importorskip("openai")
    assert all(hasattr(openai, name) for name in _named(was))
    assert issubclass(getattr(modelwire.errors, _named(now)[0]), modelwire.errors.ModelwireError)
    for name in re.findall(r"(?:subclass|left is|now is) `(\w+)`", now):
        assert hasattr(modelwire.errors, name)


def test_the_command_of_the_page_rewrites_the_roots() -> None:
    line = "from langchain_core.messages import HumanMessage\nfrom langchain_openai import ChatOpenAI\n"
    command = re.search(r"sed -i -E '(.*)' \*\.py", PAGE)
    assert command is not None
    for rule in command[1].split("; "):
        _, pattern, replacement, _ = rule.split("/")
        line = re.sub(pattern, replacement, line)
    assert (
        line
        == "from modelwire.messages import HumanMessage\nfrom modelwire.adapters import ChatOpenAI\n"
    )
    exec(line, {})
