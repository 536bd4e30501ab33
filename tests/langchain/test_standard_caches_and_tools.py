"""LangChain's own tests of caches and tools, on ours: `langchain-tests` has them, at the version that is installed.

What we deliberately answer otherwise is in `EXCEPTIONS`, by name and with the reason.
"""

from __future__ import annotations

from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from langchain_core.outputs import Generation as TheirGeneration
from langchain_tests.integration_tests import (
    AsyncCacheTestSuite,
    SyncCacheTestSuite,
    ToolsIntegrationTests,
)
from langchain_tests.unit_tests import ToolsUnitTests
from pydantic import BaseModel

from modelwire.caches import BaseCache, InMemoryCache, SQLiteCache
from modelwire.langchain import as_langchain
from modelwire.outputs import Generation
from modelwire.tools import BaseTool, StructuredTool, tool


class _InMemory:
    @pytest.fixture
    def cache(self) -> BaseCache:
        return InMemoryCache()


class _Bounded:
    @pytest.fixture
    def cache(self) -> BaseCache:
        return InMemoryCache(maxsize=8)


class _SQLite:
    @pytest.fixture
    def cache(self, tmp_path: Path) -> BaseCache:
        return SQLiteCache(str(tmp_path / "cache.sqlite"))


class _Ours:
    def get_sample_generation(self) -> Any:
        return Generation(text="Sample generated text.", generation_info={"reason": "test"})


class _Theirs:
    def get_sample_generation(self) -> Any:
        return TheirGeneration(text="Sample generated text.", generation_info={"reason": "test"})


OWN_CLASSES = "their second generation is of LangChain's class, and a file holds those of modelwire"
NO_SYNC = "a tool that has a coroutine only is called by `ainvoke`, as in LangChain"
# (the class of tests, the test) -> why it fails. A test that passes after all fails the run.
EXCEPTIONS = {
    ("SQLite_Ours", "test_update_cache_with_multiple_generations"): OWN_CLASSES,
    ("IntegrationTestsDecoratedAsync", "test_invoke_matches_output_schema"): NO_SYNC,
    ("IntegrationTestsDecoratedAsync", "test_invoke_no_tool_call"): NO_SYNC,
}


def with_exceptions(name: str, bases: tuple[type, ...], fields: dict[str, Any]) -> type:
    """Return a class of tests in which those of `EXCEPTIONS` are expected to fail."""
    made = type(name, bases, fields)
    for (ending, test), reason in EXCEPTIONS.items():
        if name.endswith(ending):
            setattr(made, test, expected_to_fail(getattr(made, test), reason))
    return made


def expected_to_fail(test: Any, reason: str) -> Any:
    copied = FunctionType(test.__code__, test.__globals__, test.__name__, test.__defaults__)
    copied.__dict__.update(test.__dict__)
    return pytest.mark.xfail(reason=reason, strict=True)(copied)


for _cache, _values in (
    (_InMemory, _Ours),
    (_InMemory, _Theirs),
    (_Bounded, _Ours),
    (_SQLite, _Ours),
):
    for _suite in (SyncCacheTestSuite, AsyncCacheTestSuite):
        _name = f"Test{_suite.__name__}{_cache.__name__}{_values.__name__}"
        globals()[_name] = with_exceptions(_name, (_values, _cache, _suite), {})


class Numbers(BaseModel):
    a: int
    b: int = 2


def multiply(a: int, b: int = 2) -> int:
    """Multiply two numbers."""
    return a * b


async def amultiply(a: int, b: int = 2) -> int:
    """Multiply two numbers."""
    return a * b


class Multiply(BaseTool):
    name: str = "multiply"
    description: str = "Multiply two numbers."
    args_schema: type[BaseModel] = Numbers

    def _run(self, a: int, b: int = 2) -> int:
        return a * b


TOOLS = {
    "Decorated": tool(multiply),
    "DecoratedAsync": tool(amultiply),
    "WithSchema": tool("multiply", args_schema=Numbers)(multiply),
    "Parsed": StructuredTool.from_function(multiply, amultiply),
    "Class": Multiply(),
}
# The same suites on a class of theirs would construct it: ours come as instances, over the border.
for _key, _tool in TOOLS.items():
    for _suite in (ToolsUnitTests, ToolsIntegrationTests):
        _name = f"Test{_suite.__name__}{_key}"
        _fields = {
            "tool_constructor": property(lambda self, made=_tool: as_langchain(made)),
            "tool_invoke_params_example": property(lambda self: {"a": 3, "b": 4}),
        }
        globals()[_name] = with_exceptions(_name, (_suite,), _fields)
