"""The two plugins of docs/plugins.md run as the page shows them: one observes calls, one adds a provider."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from modelwire.adapters.providers import plugins
from modelwire.testing import ProviderServer, faults

from .test_pages import ROOT, Block, blocks_of

PAGE = ROOT / "docs" / "plugins.md"
SECTION = "## What a plugin may use"


def _blocks() -> list[Block]:
    first = PAGE.read_text("utf-8").partition(SECTION)[0].count("\n")
    return [block for block in blocks_of(PAGE) if block.line > first]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install the modules and the entry points of the page, as pip would."""
    folder = tmp_path / "site"
    about = folder / "modelwire_page-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Name: modelwire-page\nVersion: 1\n")
    for block in _blocks():
        if block.title.endswith(".py"):
            (folder / block.title).write_text(block.text, "utf-8")
        elif block.title == "pyproject.toml":
            groups = tomllib.loads(block.text)["project"]["entry-points"]
            (about / "entry_points.txt").write_text(
                "".join(
                    f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items())
                    for group, lines in groups.items()
                )
            )
    monkeypatch.syspath_prepend(str(folder))
    before = {*sys.modules}
    plugins.plugin_of.cache_clear()
    yield
    plugins.plugin_of.cache_clear()
    for name in {*sys.modules} - before:
        if name.startswith("modelwire_"):
            del sys.modules[name]


@pytest.mark.usefixtures("installed")
def test_the_programs_print_what_the_page_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    printed, names = [], dict[str, Any]()
    with ProviderServer([faults.status(503), "Iceland has many."]) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url_for("openai"))
        programs = [block for block in _blocks() if block.language == "python" and not block.title]
        for program in programs:
            with redirect_stdout(StringIO()) as output:
                exec(compile(program.text, f"plugins.md:{program.line}", "exec"), names)
            printed.append(output.getvalue())
    assert printed == [block.text for block in _blocks() if block.language == "text"]
    assert len(printed) == 2
