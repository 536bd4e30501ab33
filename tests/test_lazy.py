from __future__ import annotations

import ast
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from modelwire import lazy


@pytest.mark.parametrize(
    "name", ["callbacks", "messages", "output_parsers", "prompts", "runnables", "tools"]
)
def test_every_name_is_there_and_known_to_type_checkers(name: str) -> None:
    package = import_module(f"modelwire.{name}")
    declared: set[str | None] = set()
    for node in ast.walk(ast.parse(Path(str(package.__file__)).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            f"{package.__name__}."
        ):
            every = [alias.name for alias in node.names] == ["*"]
            declared |= (
                set(import_module(str(node.module)).__all__)
                if every
                else {one.asname for one in node.names}
            )
    assert declared == set(package.__all__)
    for public in package.__all__:
        assert getattr(package, public) is not None
        assert public in dir(package)


def test_a_module_that_another_thread_is_loading_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate: Any = ModuleType("gate")
    gate.begun, gate.go = threading.Event(), threading.Event()
    monkeypatch.setitem(sys.modules, "gate", gate)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "slow_module.py").write_text(
        "import gate\ngate.begun.set()\ngate.go.wait(10)\nvalue = 42\n"
    )
    with ThreadPoolExecutor(2) as threads:
        loading = threads.submit(import_module, "slow_module")
        assert gate.begun.wait(10)
        using = threads.submit(lambda: lazy.module("slow_module").value)
        wait([using], 0.1)
        gate.go.set()
        assert using.result(10) == 42
        assert loading.result(10) is sys.modules.pop("slow_module")
