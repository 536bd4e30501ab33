from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from modelwire import messages


def test_every_name_is_there_and_known_to_type_checkers() -> None:
    tree = ast.parse(Path(messages.__file__).read_text(encoding="utf-8"))
    declared = {
        alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("modelwire.messages.")
        for alias in node.names
    }
    assert declared == set(messages.__all__)
    for name in messages.__all__:
        assert getattr(messages, name) is not None
        assert name in dir(messages)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Nessage"):
        messages.Nessage  # noqa: B018


def loaded_by(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint(*(m[19:] for m in sys.modules if m.startswith('modelwire.messages.')))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_only_what_is_used_is_loaded() -> None:
    assert loaded_by("import modelwire.messages") == set()
    decoding = loaded_by("from modelwire.messages import AIMessage, AIMessageChunk; AIMessage.from_wire('x')")
    assert decoding == {"ai", "base", "merge", "tool_calls", "usage"}
    asking = loaded_by("from modelwire.messages import convert_to_messages; convert_to_messages('hi')")
    assert asking == {"base", "conversion", "human", "merge"}
