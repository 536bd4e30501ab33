"""These tests run in an environment of their own, by `make test-langchain`: `langchain-tests` wants an older vcrpy."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from modelwire.testing import ProviderServer

if find_spec("langchain_tests") is None or find_spec("langgraph") is None:
    collect_ignore_glob = ["test_*.py"]

WIRES = ("openai", "responses", "anthropic", "gemini", "bedrock")


def pytest_report_header() -> str | None:
    left_out = "tests/langchain: left out here, `make test-langchain` runs it"
    return left_out if "collect_ignore_glob" in globals() else None


# Tests of LangChain's that cannot pass here.
LEFT_OUT = {
    "test_serdes": "`load(allowed_objects='all')` knows a list of LangChain's own; ours is in test_chat_model.py",
    "test_stream_time": "a benchmark",
    "test_init_time": "a benchmark",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name == "test_standard.py" and (reason := LEFT_OUT.get(item.name)):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def no_tracing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "LANGSMITH_TRACING",
        "LANGCHAIN_TRACING_V2",
        "LANGSMITH_API_KEY",
        "LANGCHAIN_API_KEY",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as server:
        yield server


@pytest.fixture(params=WIRES)
def model(request: pytest.FixtureRequest, server: ProviderServer) -> Any:
    """A model of modelwire on each wire."""
    return server.model(request.param)
