"""The pages of the command are true of its parser: each line they show parses, and no command or option is made up."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from modelwire import cli
from modelwire.command.chat import HELP

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("command.md", "embeddings.md", "learn/shell.md")
SHELL_WORDS = ("|", ">", "<", "#", ">>", "2>")


def lines_of(page: str) -> Iterator[str]:
    """Yield each command line of a page: those of its shell blocks, and those in its text."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for block in re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield from (line for line in block.splitlines() if "modelwire" in line)
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    yield from re.findall(r"`([^`]*\bmodelwire [^`]+)`", prose)


def words_of(line: str) -> list[str]:
    """Return the arguments of `modelwire` in a line of a shell."""
    line = line.replace('eval "$(', "").replace(')"', "")
    words = shlex.split(line, comments=True)
    words = words[words.index("modelwire") + 1 :]
    end = next((at for at, word in enumerate(words) if word in SHELL_WORDS), len(words))
    return words[:end]


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from parsers(one)


CASES = [pytest.param(page, line, id=line) for page in PAGES for line in lines_of(page)]


def test_the_pages_show_command_lines() -> None:
    assert len(CASES) > 30


@pytest.mark.parametrize(("page", "line"), CASES)
def test_each_line_of_the_pages_is_right_usage(page: str, line: str) -> None:
    parser: Any = cli._parser()
    words = words_of(line)
    typed = cli._with_ask(words, parser.commands)
    if words[0] not in parser.commands:
        assert typed[0] == "ask", typed
    parser.parse_args(typed)


def test_the_parser_refuses_what_a_stale_page_would_show() -> None:
    parser: Any = cli._parser()
    with pytest.raises(SystemExit):
        parser.parse_args(words_of("modelwire ask --no-such-option"))


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_name_no_option_that_is_not_there(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    known = {name for one in parsers(cli._parser()) for name in one._option_string_actions}
    named = set(re.findall(r"(?<![\w-])--[a-z][\w-]+", text))
    assert named - known == set()


def test_the_page_has_what_no_help_text_says() -> None:
    text = (DOCS / "command.md").read_text(encoding="utf-8")
    for word in ("Alt-Enter", "Ctrl-R", "log --find", "config set log", "modelwire completion"):
        assert word in text


def test_the_tables_are_those_of_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
    spec = spec_from_file_location("site_hook", DOCS / "site_hook.py")
    assert spec is not None
    assert spec.loader is not None
    hook: Any = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "site_hook", hook)
    spec.loader.exec_module(hook)
    page = (DOCS / "command.md").read_text(encoding="utf-8")
    made = hook.TABLE.sub(lambda match: hook.TABLES[match[0]](), page)
    assert "<!--" not in made
    parser: Any = cli._parser()
    for name in parser.commands:
        assert f"[`{name}`](reference/command-line.md#modelwire-{name})" in made
    for name, text in HELP.items():
        assert f"| `/{name}` | {text} |" in made
    assert "`/undo`" in made
    assert "`/load`" in made
