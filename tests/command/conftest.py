"""What the tests of the command share: a provider on loopback, a home of its own, a terminal."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.terminal import Terminal

from modelwire import cli
from modelwire.testing import ProviderServer


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keep the user's transcripts and configuration out; run in an empty folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setitem(sys.modules, "keyring", None)  # the keyring of whoever runs the tests
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    """A provider that `openai:...` reaches; without a script it repeats what it reads."""
    with ProviderServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url_for("openai"))
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test-key-of-nobody-0123456789")
        yield server


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run one command line in this process."""

    def type_in(*arguments: str, stdin: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        try:
            code: Any = cli.main(list(arguments))
        except SystemExit as end:
            code = end.code
        shown = capsys.readouterr()
        return Done(code, shown.out, shown.err)

    return type_in


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*arguments: str, **options: Any) -> Terminal:
        opened.append(Terminal(*arguments, **options))
        return opened[-1]

    yield start
    for one in opened:
        one.close()
