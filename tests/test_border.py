"""Without LangChain nothing of it is looked for, and a LangChain that is too old is refused before any request."""

from __future__ import annotations

import subprocess
import sys
import types
from typing import Any

import pytest

from modelwire.errors import MissingDependency
from modelwire.langchain_bridge import is_langchain
from modelwire.testing import ProviderServer

WITHOUT = """
import sys
sys.modules["langchain_core"] = None  # every import of it fails
import modelwire.langchain
from modelwire.errors import MissingDependency
from modelwire.output_parsers import StrOutputParser
from modelwire.prompts import ChatPromptTemplate
from modelwire.testing import ProviderServer
with ProviderServer() as server:
    model = server.model("openai")
    chain = ChatPromptTemplate.from_messages([("user", "{x}")]) | model | StrOutputParser()
    print(chain.invoke({"x": "hi"}), [*chain.stream({"x": "ho"})])
try:
    modelwire.langchain.as_langchain(model)
except MissingDependency as error:
    print(isinstance(error, ImportError), error)
print([name for name in sys.modules if name.startswith(("langchain", "modelwire.langchain."))])
"""


def test_without_langchain_everything_works_and_the_border_names_its_extra() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    answers, refusal, loaded = done.stdout.splitlines()
    assert answers.startswith("hi ['ho', '']")
    assert refusal.startswith("True ")
    assert "pip install 'modelwire[langchain]'" in refusal
    assert loaded == "['langchain_core']"


def _old(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a LangChain of long ago into the process, and return a message of its."""
    package = types.ModuleType("langchain_core")
    package.__version__ = "0.3.80"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "langchain_core", package)
    return type(
        "HumanMessage", (), {"__module__": "langchain_core.messages.human", "content": "hi"}
    )()


def test_a_langchain_that_is_too_old_is_refused_before_any_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ProviderServer() as server:
        model, message = server.model("openai"), _old(monkeypatch)
        for use in (
            lambda: model.invoke([message]),
            lambda: model | message,
            lambda: model.bind_tools([message]),
        ):
            with pytest.raises(
                MissingDependency, match=r"needs langchain-core>=1\.7, and this is 0\.3\.80"
            ):
                use()
        assert not server.requests


def test_an_object_is_langchains_by_its_classes_and_only_where_langchain_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    message = _old(monkeypatch)
    mine = type("Mine", (type(message),), {"__module__": "mine"})()
    assert is_langchain(message)
    assert is_langchain(mine)
    assert not is_langchain("langchain_core.messages")
    monkeypatch.delitem(sys.modules, "langchain_core")
    assert not is_langchain(message)
