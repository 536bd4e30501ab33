"""X5: every file that modelwire writes, and who may read it."""

from __future__ import annotations

import ast
import io
import os
import stat
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from support.parsed import MODULES, PACKAGE, nodes

from modelwire import ChatPromptTemplate, cli
from modelwire.adapters import ChatOpenAI
from modelwire.budgets import budget
from modelwire.caches import SQLiteCache
from modelwire.callbacks import FileCallbackHandler
from modelwire.jobs import run_job
from modelwire.testing import ProviderServer, recorded

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")

# Where the package opens a file for writing, and how the owner alone gets to read it; or why others may.
WRITERS = {
    "callbacks/printing.py": "owned",
    "cli.py": "the null device",
    "command/chat.py": "owned",
    "command/keys.py": "owned",
    "command/model_options.py": "owned",
    "command/toml_edits.py": "owned",
    "command/transcripts.py": "0o600",
    "command/compare.py": "owned",
    "config_trust.py": "owned",
    "user_paths.py": "0o600",
    "jobs/batch_api/client.py": "owned",
    "jobs/batch_api/gemini.py": "owned",
    "jobs/batch_api/part_requests.py": "owned",
    "jobs/folder.py": "0o600",
    "jobs/output.py": "owned",
    "jobs/owned_files.py": "0o600",
    "jobs/pipes.py": "0o600",
    "local/weights.py": "public weights, and what pip says of them",
    "migrate/command.py": "the user's own programs, whose modes stay",
    "sqlite_files.py": "0o600",
    "testing/cassettes/recording.py": "owned",
    "tools/mcp/connection.py": "the null device",
    "tools/mcp/token_store.py": "owned",
}
PUBLIC = ("the null device", "public weights", "the user's own programs")


def _writes(call: ast.Call) -> bool:
    """Return whether a call opens a file so that it may be made."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in ("write_text", "write_bytes", "mkstemp", "NamedTemporaryFile", "touch"):
        return True
    if name not in ("open", "fdopen", "owned"):
        return False
    text = ast.unparse(call)
    if name == "open" and "os.open(" in text:
        return "O_CREAT" in text or "flags" in text
    if name in ("open", "fdopen"):
        return any(
            isinstance(part, ast.Constant)
            and isinstance(part.value, str)
            and not set(part.value) - set("rwaxbt+")
            and set(part.value) & set("wax+")
            for part in ast.walk(call)
        ) or any(isinstance(part, ast.Name) and part.id == "mode" for part in call.args)
    return name == "owned"


@cache
def writers() -> tuple[tuple[str, ast.Call], ...]:
    return tuple(_writers())


def _writers() -> Iterator[tuple[str, ast.Call]]:
    for path in MODULES:
        for node in nodes(path):
            if isinstance(node, ast.Call) and _writes(node):
                yield path.relative_to(PACKAGE).as_posix(), node


def test_every_writer_of_the_package_is_in_the_table() -> None:
    assert {place for place, _ in writers()} == set(WRITERS)


def test_every_writer_makes_files_for_the_owner_alone() -> None:
    for place, call in writers():
        how = WRITERS[place]
        if how.startswith(PUBLIC):
            continue
        text = ast.unparse(call)
        assert "owned" in text or "384" in text or "0o600" in text, f"{place}: {text}"


@pytest.fixture
def open_hand() -> Iterator[None]:
    """Let every new file be readable for all, as far as its writer does."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, open_hand: None) -> Path:
    for name in ("data", "config", "cache"):
        monkeypatch.setenv(f"XDG_{name.upper()}_HOME", str(tmp_path / name))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    return tmp_path


def by_cache(model: ChatOpenAI) -> None:
    model.model_copy(update={"cache": SQLiteCache("cache.db")}).invoke("hi")


def by_job(model: ChatOpenAI) -> None:
    for output in ("out.csv", "out.jsonl"):
        run_job("{text}", [{"text": "a"}, {"text": "b"}], model=model, output=output, quiet=True)


def by_budget(model: ChatOpenAI) -> None:
    with budget("mine", calls=5, per="day"):
        model.invoke("hi")


def by_cassette(model: ChatOpenAI) -> None:
    with recorded("deeper/run.jsonl"):
        model.invoke("hi")


def by_handler(model: ChatOpenAI) -> None:
    with FileCallbackHandler("log.txt") as handler:
        (ChatPromptTemplate.from_template("{a}") | model).invoke(
            {"a": "hi"}, {"callbacks": [handler]}
        )


def by_command(model: ChatOpenAI) -> None:
    assert cli.main(["ask", "-m", "openai:m", "hi"]) == 0


def by_chat(model: ChatOpenAI) -> None:
    sys.stdin = io.TextIOWrapper(io.BytesIO(b"hi\n/save talk.md\n/save talk.json\n"))
    assert cli.main(["chat", "-m", "openai:m"]) == 0
    assert Path("talk.md").exists()
    assert Path("talk.json").exists()


def by_configuration(model: ChatOpenAI) -> None:
    assert cli.main(["config", "set", "default", "openai:m"]) == 0
    Path("modelwire.toml").write_text('[models.a]\nmodel = "openai:m"\n')
    Path("modelwire.toml").chmod(0o600)
    assert cli.main(["config", "trust"]) == 0


def by_comparison(model: ChatOpenAI) -> None:
    by_cassette(model)
    assert cli.main(["compare", "deeper/run.jsonl", "-m", "openai:other", "--html", "a.html"]) == 0
    assert Path("a.html").exists()


MAKERS: list[Callable[[ChatOpenAI], None]] = [
    by_cache,
    by_job,
    by_budget,
    by_cassette,
    by_handler,
    by_command,
    by_chat,
    by_configuration,
    by_comparison,
]


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__.removeprefix("by_"))
def test_only_the_owner_can_read_what_is_written(
    make: Callable[[Any], None], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ProviderServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        make(ChatOpenAI(model="m"))
    files = [path for path in here.rglob("*") if path.is_file()]
    assert files
    modes = {str(path.relative_to(here)): stat.S_IMODE(path.stat().st_mode) for path in files}
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}


def test_a_file_that_is_there_keeps_the_mode_that_its_user_gave_it(here: Path) -> None:
    Path("log.txt").touch(mode=0o644)
    FileCallbackHandler("log.txt").close()
    assert stat.S_IMODE(Path("log.txt").stat().st_mode) == 0o644
