from __future__ import annotations

from pathlib import Path

import pytest

from modelwire.callbacks import (
    CallbackManager,
    FileCallbackHandler,
    StdOutCallbackHandler,
    StreamingStdOutCallbackHandler,
)


def test_streaming_prints_tokens_with_nothing_between(capsys: pytest.CaptureFixture[str]) -> None:
    (run,) = CallbackManager([StreamingStdOutCallbackHandler()]).on_chat_model_start({}, [[]])
    for token in ("a", " b", "\n"):
        run.on_llm_new_token(token)
    assert capsys.readouterr().out == "a b\n"


def test_an_error_is_printed_by_its_class_alone(capsys: pytest.CaptureFixture[str]) -> None:
    run = CallbackManager([StdOutCallbackHandler()]).on_chain_start(None, "x")
    run.on_chain_error(ValueError("a secret"))
    out = capsys.readouterr().out
    assert "ValueError" in out
    assert "secret" not in out


def test_a_file_gets_the_same_lines_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "runs.log"
    with FileCallbackHandler(path) as handler:
        run = CallbackManager([handler]).on_chain_start(None, "x", name="mine")
        run.on_chain_end("y")
    run.on_chain_end("late")
    assert path.read_text() == "> mine starts\n> chain ends\n"
