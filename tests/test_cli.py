from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import modelwire
from modelwire import cli, local
from modelwire.errors import ConnectFailed, UnknownModel


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"modelwire {modelwire.__version__}\n"


@pytest.mark.parametrize(
    "arguments", [[], ["local"], ["locl", "pull"], ["local", "serve", "--port", "x"]]
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2


@pytest.mark.parametrize("command", ["pull", "path", "serve"])
def test_an_unknown_model_is_one_line_and_2(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["local", command, "smolm2"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("modelwire: There is no local model `smolm2`")
    assert "`smollm2`" in said.err
    assert said.err.count("\n") == 1


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(local, "pull", interrupted)
    assert cli.main(["local", "pull"]) == 130
    monkeypatch.setattr(cli, "_parser", interrupted)
    assert cli.main(["local", "pull"]) == 130


def test_pull_shows_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def pull(name: str, *, progress: local.weights.Progress) -> Path:
        for done in (0, 100_000, 26_000_000, 100_000_000):
            progress(done, 100_000_000)
        return Path("/there")

    monkeypatch.setattr(local, "pull", pull)
    assert cli.main(["local", "pull"]) == 0
    said = capsys.readouterr()
    assert said.out == "smollm2 is ready: /there (98 MB, Apache-2.0)\n"
    assert said.err.splitlines() == [
        "smollm2    0.0 of 100.0 MB",
        "smollm2   26.0 of 100.0 MB",
        "smollm2  100.0 of 100.0 MB",
    ]


@pytest.mark.parametrize("ends_well", [True, False])
def test_on_a_terminal_a_download_has_a_bar_that_leaves_the_cursor_as_it_was(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ends_well: bool
) -> None:
    def pull(name: str, *, progress: local.weights.Progress) -> Path:
        for done in (0, 50_000_000, 100_000_000 if ends_well else 60_000_000):
            progress(done, 100_000_000)
        if not ends_well:
            raise ConnectFailed("pip could not fetch it")
        return Path("/there")

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(local, "pull", pull)
    assert cli.main(["local", "pull"]) == (0 if ends_well else 1)
    shown = capsys.readouterr().err
    assert "smollm2" in shown
    assert ("100%" if ends_well else "60%") in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1  # hide the cursor, show it


def test_without_rich_a_terminal_gets_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    bar = cli._Bar("tiny")
    for done in (0, 1_000_000, 50_000_000, 100_000_000):
        bar(done, 100_000_000)
    bar.close()
    assert capsys.readouterr().err.splitlines() == [
        f"tiny  {mb:5.1f} of 100.0 MB" for mb in (0, 50, 100)
    ]


@pytest.mark.local
def test_path_prints_where_the_weights_lie(
    local_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["local", "path"]) == 0
    assert capsys.readouterr().out.strip() == str(local_model)


@pytest.mark.local
def test_serve_says_both_addresses_and_ends_with_ctrl_c(local_model: Path) -> None:
    program = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "modelwire.cli",
            "local",
            "serve",
            str(local_model),
            "--n-ctx",
            "512",
            "--n-parallel",
            "1",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(modelwire.__file__).parents[1],
    )
    assert program.stdout is not None
    lines = [program.stdout.readline() for _ in range(3)]
    assert "Ctrl-C" in lines[0]
    assert lines[1].split("base_url=")[1].strip() == lines[2].split("base_url=")[1].strip() + "/v1"
    program.send_signal(signal.SIGINT)
    program.communicate(timeout=30)
    assert program.returncode == 130


def test_an_error_of_ours_is_never_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(*_: object, **__: object) -> Path:
        raise UnknownModel("no such thing")

    monkeypatch.setattr(local, "find_weights", failing)
    assert cli.main(["local", "path"]) == 2
    assert capsys.readouterr().err == "modelwire: no such thing\n"


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "modelwire", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("modelwire ")
