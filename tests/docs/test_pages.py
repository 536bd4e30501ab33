"""Every page's Python runs, from top to bottom, against the test server, and prints what the page shows.

A page is a program. Its ```python blocks run in one namespace; a `text` block after one is what it prints (`...` stands
for anything; times of day and numbers with a point may differ). Functions `test_*` are called, with pytest's
fixtures as arguments. Blocks with a `title="file"` are written to that file. Of a `console` block the lines
`$ modelwire ...` run, and must print what follows. The server is that of `modelwire serve --pages`, so that a reader
without a key sees the same. Pages with questions of their own have answers in `support/page_answers.py`, which also has
what a page that shows parts of programs takes for granted (`BEFORE`; its console blocks are left alone).
"""

from __future__ import annotations

import inspect
import io
import logging
import os
import re
import shlex
import subprocess
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from support.page_answers import ANSWERS, BEFORE, answer_for

from modelwire import cli, globals
from modelwire.testing import ProviderServer
from modelwire.testing.serve_command import page_answers
from modelwire.transport import logs

ROOT = Path(__file__).parents[2]
# These have a test of their own, beside what they are about.
OTHERS = {"plugins.md", "testing.md", "providers.md"}
# Of this one the programs run beside LangChain, in `tests/langchain/test_examples.py`; its command lines run here.
BESIDE_LANGCHAIN = "langchain.md"


# Times of day, with a date or without one, and numbers with a point: seconds and dollars.
TIMED = re.compile(r"(?:\d{4}-\d\d-\d\d )?\b\d\d:\d\d\b(?::\d\d,\d+)?|\d+\.\d+")


class Block(NamedTuple):
    line: int
    language: str
    title: str
    text: str


def blocks_of(path: Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    found = re.finditer(
        r'^```(\w+)?(?: title="([^"]+)")?\n(.*?)^```$', text, re.DOTALL | re.MULTILINE
    )
    return [Block(text[: m.start()].count("\n") + 2, m[1] or "", m[2] or "", m[3]) for m in found]


def pages() -> list[Any]:
    docs = ROOT / "docs"
    found = [path.relative_to(docs).as_posix() for path in sorted(docs.rglob("*.md"))]
    with_code = [
        page for page in found if any(one.language == "python" for one in blocks_of(docs / page))
    ]
    long = {"jobs.md": pytest.mark.long}  # 8 s: it waits for a batch of a provider
    return [
        pytest.param(page, marks=long.get(page, ()))
        for page in (*with_code, "../README.md")
        if page not in OTHERS
    ]


@pytest.fixture
def server(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ProviderServer]:
    """Answer as `modelwire serve --pages` does, or with the answers of the page's own."""
    page = request.getfixturevalue("page")
    default = answer_for(ANSWERS[page]) if page in ANSWERS else page_answers()
    with ProviderServer(default=default) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url_for("openai"))
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.base_url_for("anthropic"))
        for provider in ("OPENAI", "ANTHROPIC", "GOOGLE"):
            monkeypatch.setenv(f"{provider}_API_KEY", "test")
        yield server


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Run in an empty folder, and undo what a page may set for the whole process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    yield
    globals.set_llm_cache(None)
    if logs._handler is not None:
        logging.getLogger("modelwire").removeHandler(logs._handler)
        logs._handler = None
    logging.getLogger("modelwire").setLevel(logging.NOTSET)


def _same(shown: str, printed: str) -> bool:
    shown, printed = (
        TIMED.sub("N", re.sub(r"\s+", " ", text).strip()) for text in (shown, printed)
    )
    return re.fullmatch(".*?".join(map(re.escape, shown.split("..."))), printed) is not None


class Page:
    """A page as it runs."""

    def __init__(
        self,
        name: str,
        path: Path,
        request: pytest.FixtureRequest,
        capsys: pytest.CaptureFixture[str],
    ):
        self.name, self.request, self.capsys = name, request, capsys
        self.blocks = blocks_of(path)
        self.module = ModuleType(f"page_{path.stem.replace('-', '_')}")
        self.names = vars(self.module)

    def run(self) -> None:
        exec(BEFORE.get(self.name, ""), self.names)
        sys.modules[self.module.__name__] = (
            self.module
        )  # where pydantic looks for the types of annotations
        try:
            for number, block in enumerate(self.blocks):
                if block.title:
                    Path(block.title).write_text(block.text, encoding="utf-8")
                elif block.language == "python" and self.name != BESIDE_LANGCHAIN:
                    self._python(block, self.blocks[number + 1 : number + 2])
                elif block.language == "console" and self.name not in BEFORE:
                    self._console(block)
        finally:
            del sys.modules[self.module.__name__]

    def _python(self, block: Block, after: list[Block]) -> None:
        text = block.text.replace(
            "local:smollm2", "openai:smollm2"
        )  # test_examples.py asks the real one
        exec(compile("\n" * (block.line - 1) + text, self.name, "exec"), self.names)
        if any(one.language == "text" for one in self.blocks):
            self._compare(block, after[0].text if after and after[0].language == "text" else "")
        for name in re.findall(r"^def (test_\w+)", block.text, re.MULTILINE):
            test = self.names[name]
            test(
                **{
                    one: self.request.getfixturevalue(one)
                    for one in inspect.signature(test).parameters
                }
            )
        for name in re.findall(r"^class (\w+)\(unittest.TestCase\)", block.text, re.MULTILINE):
            result = unittest.defaultTestLoader.loadTestsFromTestCase(self.names[name]).run(
                unittest.TestResult()
            )
            assert (result.testsRun > 0, result.errors, result.failures) == (True, [], [])
        self.capsys.readouterr()

    def _console(self, block: Block) -> None:
        for command, shown in re.findall(
            r"^\$ modelwire ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE
        ):
            code = cli.main(shlex.split(command.replace("\\\n", "")))
            self._compare(block, shown, command)
            assert code in (0, 1)

    def _compare(self, block: Block, shown: str, command: str = "") -> None:
        out, err = self.capsys.readouterr()
        printed = err + out if command else out
        assert _same(shown, printed), (
            f"{self.name}, line {block.line}: {command}\nprints\n{printed}\nand shows\n{shown}"
        )


@pytest.mark.parametrize("page", pages())
def test_a_page_does_what_it_shows(
    page: str,
    request: pytest.FixtureRequest,
    server: ProviderServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Page(page, ROOT / "docs" / page, request, capsys).run()
    assert server.failures == []


WITHOUT_A_KEY = "modelwire serve --pages -- python FILE.py"
LEARN = sorted(path.name for path in (ROOT / "docs" / "learn").glob("*.md"))


@pytest.mark.parametrize("name", LEARN)
def test_a_learn_page_says_first_how_it_runs_without_a_key(name: str) -> None:
    text = (ROOT / "docs" / "learn" / name).read_text(encoding="utf-8")
    first = text.split("\n\n")[1]
    ways = (WITHOUT_A_KEY, "modelwire serve --pages -- bash", "needs no key")
    assert sum(way in " ".join(first.split()) for way in ways) == 1


# The others are compared in this process, above, with the same answers.
@pytest.mark.parametrize("name", ["first-answer.md", "tools.md"])
def test_the_line_at_the_top_of_a_learn_page_runs_its_programs(name: str, tmp_path: Path) -> None:
    blocks = blocks_of(ROOT / "docs" / "learn" / name)
    program = "\n".join(block.text for block in blocks if block.language == "python")
    shown = "\n".join(block.text for block in blocks if block.language == "text")
    Path("FILE.py").write_text(program, encoding="utf-8")
    command = [sys.executable if word == "python" else word for word in WITHOUT_A_KEY.split()]
    done = subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, done.stderr
    assert _same(shown, done.stdout), done.stdout


def test_a_question_that_no_page_has_gets_an_honest_answer() -> None:
    with ProviderServer(default=page_answers()) as server:
        answer = server.model().invoke("Who wrote the Iliad?").text
    assert answer.startswith("`modelwire serve --pages` only has answers to the questions of")


def test_serve_returns_the_exit_code_of_the_command_beside_it() -> None:
    program = "import os, sys; sys.exit(7 if os.environ['OPENAI_API_KEY'] == 'test' else 1)"
    assert cli.main(["serve", "--", sys.executable, "-c", program]) == 7
