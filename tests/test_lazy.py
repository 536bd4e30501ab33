from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["callbacks", "messages", "output_parsers", "prompts", "runnables", "tools"])
def test_every_name_is_there_and_known_to_type_checkers(name: str) -> None:
    package = import_module(f"modelwire.{name}")
    declared: set[str | None] = set()
    for node in ast.walk(ast.parse(Path(str(package.__file__)).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{package.__name__}."):
            every = [alias.name for alias in node.names] == ["*"]
            declared |= set(import_module(str(node.module)).__all__) if every else {one.asname for one in node.names}
    assert declared == set(package.__all__)
    for public in package.__all__:
        assert getattr(package, public) is not None
        assert public in dir(package)
