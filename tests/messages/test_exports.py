from __future__ import annotations

import subprocess
import sys

import pytest

from modelwire import messages


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Nessage"):
        messages.Nessage  # noqa: B018


def loaded_by(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint(*(m[19:] for m in sys.modules if m.startswith('modelwire.messages.')))"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


def test_only_what_is_used_is_loaded() -> None:
    assert loaded_by("import modelwire.messages") == set()
    decoding = loaded_by(
        "from modelwire.messages import AIMessage, AIMessageChunk; AIMessage.from_wire('x')"
    )
    assert decoding == {"ai", "base", "merge", "serialised", "tool_calls", "usage"}
    asking = loaded_by(
        "from modelwire.messages import convert_to_messages; convert_to_messages('hi')"
    )
    assert asking == {"base", "conversion", "human", "merge", "serialised"}
