"""The real model costs minutes of CPU: a few cases of each test run in `make test`, over both wires, the rest is long.

Responses and Chat Completions meet the same server code, so that each test asks one of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

SHORT = {
    "test_embeddings_on_local.py": {"sync"},
    "test_counts_on_local.py": {"sync-openai", "sync-responses", "async-anthropic"},
    "test_local_truth.py": {"async-responses", "async-responses-invoke"},
    "test_structured_on_local.py": {"async-json_schema"},
    "test_models_on_local.py": {"sync-openai", "async-anthropic"},
}


@pytest.hookimpl(tryfirst=True)  # before cases are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    for item in items:
        short = SHORT.get(item.path.name) if item.path.parent == Path(__file__).parent else None
        callspec = getattr(item, "callspec", None)
        if short is not None and callspec is not None and callspec.id not in short:
            item.add_marker(pytest.mark.long)
