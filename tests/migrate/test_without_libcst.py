from __future__ import annotations

import sys
from pathlib import Path

import pytest

from modelwire.cli import main


def test_without_libcst_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("modelwire.migrate.programs", "modelwire.migrate.rewrite"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "libcst", None)
    assert main(["migrate", str(tmp_path)]) == 2
    assert "modelwire[migrate]" in capsys.readouterr().err
