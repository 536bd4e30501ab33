"""`modelwire migrate`: what becomes of import lines, what stays and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("libcst", reason="`modelwire[migrate]` is not installed")

from modelwire.cli import main
from modelwire.migrate.programs import migrate_file, programs
from modelwire.migrate.rewrite import rewrite


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "from langchain_core.messages import HumanMessage",
            "from modelwire.messages import HumanMessage",
        ),
        (
            "from langchain_openai import ChatOpenAI as LLM  # why",
            "from modelwire.adapters import ChatOpenAI as LLM  # why",
        ),
        (
            "from langchain_anthropic import ChatAnthropic",
            "from modelwire.adapters import ChatAnthropic",
        ),
        (
            "from langchain_aws import ChatBedrockConverse",
            "from modelwire.adapters import ChatBedrockConverse",
        ),
        (
            "from langchain_aws import ChatBedrock",
            "from modelwire.adapters import ChatBedrockConverse as ChatBedrock",
        ),
        (
            "from langchain_openai.chat_models.base import ChatOpenAI",
            "from modelwire.adapters import ChatOpenAI",
        ),
        (
            "from langchain.schema.runnable import RunnableMap",
            "from modelwire.runnables.parallel import RunnableMap",
        ),
        (
            "from langchain.chat_models import init_chat_model",
            "from modelwire.config import init_chat_model",
        ),
        ("from langchain.agents import tool", "from modelwire.tools import tool"),
        (
            "from langchain_core.output_parsers.openai_functions import JsonOutputFunctionsParser",
            "from modelwire.output_parsers.openai_functions import JsonOutputFunctionsParser",
        ),
        (
            "from langchain_community.chat_message_histories import ChatMessageHistory",
            "from modelwire.chat_history import InMemoryChatMessageHistory as ChatMessageHistory",
        ),
        ("from langchain_redis import RedisCache", "from modelwire.caches import RedisCache"),
        ("from langchain_core import messages", "from modelwire import messages"),
        ("from langchain_core.messages import *", "from modelwire.messages import *"),
        ("import langchain_core.messages as m", "import modelwire.messages as m"),
        (
            "import langchain_core.messages\nx = langchain_core.messages.HumanMessage('a')",
            "import modelwire.messages\nx = modelwire.messages.HumanMessage('a')",
        ),
        (
            "try:\n    from langchain.schema import (\n        HumanMessage,  # 1\n    )\nexcept ImportError: pass",
            "try:\n    from modelwire.messages import (\n        HumanMessage,  # 1\n    )\nexcept ImportError: pass",
        ),
        (
            "if 1:\n    from langchain.schema import Document, AIMessage\n",
            "if 1:\n    from modelwire.documents import Document\n    from modelwire.messages import AIMessage\n",
        ),
        (
            "if 1: from langchain.schema import Document, HumanMessage",
            "if 1: from modelwire.documents import Document; from modelwire.messages import HumanMessage",
        ),
        ("langchain_core = 'langchain_core is text'  # import langchain_core", None),
        ("from .langchain_core import x\nimport mylangchain_core", None),
    ],
)
def test_an_import_is_rewritten_and_everything_else_stays(before: str, after: str | None) -> None:
    done = rewrite(before.encode())
    assert done.text.decode() == (before if after is None else after)
    assert done.left == []


def test_what_has_no_home_stays_with_its_line_and_the_reason() -> None:
    source = """import os
from langchain_openai import ChatOpenAI, OpenAISparseEmbeddings
from langchain.chains import LLMChain
from openai import RateLimitError
patch("langchain_openai.ChatOpenAI.invoke")
"""
    done = rewrite(source.encode())
    assert (
        b"from modelwire.adapters import ChatOpenAI\nfrom langchain_openai import OpenAISparseEmbeddings\n"
        in done.text
    )
    assert [(left.line, left.what) for left in done.left] == [
        (2, "`OpenAISparseEmbeddings` of `langchain_openai`"),
        (3, "`LLMChain` of `langchain.chains`"),
        (4, "`RateLimitError` of `openai`"),
        (5, "the text `langchain_openai.ChatOpenAI.invoke`"),
    ]
    assert "Embeddings" in done.left[0].why
    assert "prompt | model | parser" in done.left[1].why
    assert "modelwire.errors.RateLimited" in done.left[2].why


def test_an_sdk_error_is_reported_where_it_is_caught_by_its_dotted_name() -> None:
    source = b"import openai\n\ntry:\n    run()\nexcept (openai.RateLimitError, openai.OpenAI):\n    pass\n"
    (left,) = rewrite(source).left
    assert (left.line, left.what) == (5, "`RateLimitError` of `openai`")
    assert "modelwire.errors.RateLimited" in left.why


def test_a_program_on_langgraph_stays_whole() -> None:
    source = b"from langchain_core.messages import HumanMessage\nfrom langgraph.graph import StateGraph\n"
    done = rewrite(source)
    assert (done.text, done.imports) == (source, 0)
    assert "LangGraph" in done.left[0].why


AGENTS = [
    "from langchain.agents import create_agent",
    "from langchain.agents import AgentExecutor, create_tool_calling_agent",
    "from langchain.agents.middleware import PIIMiddleware",
    "import langchain.agents",
    "from langgraph.prebuilt import create_react_agent",
]


@pytest.mark.parametrize("agent", AGENTS)
def test_a_program_with_an_agent_stays_whole(agent: str, tmp_path: Path) -> None:
    """The agent takes LangChain's models alone, also where a notebook makes both in different cells."""
    source = f"from langchain_openai import ChatOpenAI\n{agent}\n"
    done = rewrite(source.encode())
    assert (done.text, done.imports) == (source.encode(), 0)
    assert "this file keeps its imports" in done.left[0].why
    if "langgraph" not in agent:
        assert "run_tools" in done.left[0].why and "as_langchain" in done.left[0].why
    path = tmp_path / "n.ipynb"
    path.write_text(notebook("from langchain_openai import ChatOpenAI", agent))
    migrated = migrate_file(path)
    assert (migrated.after, migrated.imports) == (migrated.before, 0)
    assert "this file keeps its imports" in migrated.left[0].why


def test_a_name_that_our_module_only_imports_is_no_home() -> None:
    done = rewrite(b"from langchain_core.pydantic_v1 import BaseModel, Field\n")
    assert done.imports == 0
    assert "import from `pydantic`" in done.left[0].why


@pytest.mark.parametrize("magic", ["%%time", "%%timeit -n 1", "%%capture out"])
def test_a_cell_that_is_timed_is_rewritten(magic: str, tmp_path: Path) -> None:
    path = tmp_path / "n.ipynb"
    path.write_text(notebook(f"{magic}\nfrom langchain_openai import ChatOpenAI"))
    done = migrate_file(path)
    assert done.imports == 1
    expected = notebook(f"{magic}\nfrom modelwire.adapters import ChatOpenAI")
    assert json.loads(done.after) == json.loads(expected)


def test_a_cell_in_another_language_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "n.ipynb"
    path.write_text(notebook("%%bash\npip install langchain_openai"))
    assert "cell 2, `%%bash`" in migrate_file(path).left[0].what


def test_encodings_and_line_ends_stay() -> None:
    source = "# -*- coding: latin-1 -*-\r\nfrom langchain_core.messages import HumanMessage  # é\r\n".encode(
        "latin-1"
    )
    assert rewrite(source).text == source.replace(b"langchain_core", b"modelwire")


def notebook(*cells: Any) -> str:
    made = [{"cell_type": "code", "metadata": {}, "outputs": [], "source": cell} for cell in cells]
    prose = {"cell_type": "markdown", "metadata": {}, "source": ["from langchain_core import x"]}
    return json.dumps({"cells": [prose, *made], "nbformat": 4}, indent=1, ensure_ascii=False) + "\n"


def test_a_notebook_keeps_its_magics_its_prose_and_its_layout(tmp_path: Path) -> None:
    lines = ["%pip install langchain_core\n", "if 1:\n", "    !ls é\n"]
    lines.append("from langchain_core.messages import AIMessage\n")
    shell = ["%%bash\n", "pip install langchain_openai"]
    path = tmp_path / "n.ipynb"
    path.write_text(
        notebook(lines, shell, "from langchain_openai import ChatOpenAI"), encoding="utf-8"
    )
    done = migrate_file(path)
    moved = [*lines[:3], "from modelwire.messages import AIMessage\n"]
    assert done.after.decode() == notebook(
        moved, shell, "from modelwire.adapters import ChatOpenAI"
    )
    assert done.imports == 2


def test_a_cell_or_file_that_cannot_be_read_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "n.ipynb"
    path.write_text(
        notebook("from langchain_core import (", "from langchain_openai import ChatOpenAI")
    )
    done = migrate_file(path)
    assert done.imports == 1
    assert "cell 2" in done.left[0].what
    broken = tmp_path / "b.py"
    broken.write_text("from langchain_core import (")
    assert "cannot be read: line 1" in str(migrate_file(broken).problem)


NO_NOTEBOOKS = {
    "a.ipynb": '{"cells": 5, "x": "langchain"}',
    "b.ipynb": '["langchain"]',
    "c.ipynb": '{"x": "langchain"}',
    "d.ipynb": '{"cells": [7, "langchain"]}',
}


def test_one_bad_file_does_not_keep_the_others_from_being_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in NO_NOTEBOOKS.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere.py")
    (tmp_path / "folder.py").mkdir()
    cells = [
        {"cell_type": "code", "source": None},
        {"cell_type": "code", "source": "import langchain_core.messages"},
    ]
    (tmp_path / "y.ipynb").write_text(json.dumps({"cells": cells}))
    (tmp_path / "z.py").write_text("from langchain_core.messages import HumanMessage\n")
    assert main(["migrate", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert shown.out.count("\n+") == 4  # two files, and the line that names each
    for name in NO_NOTEBOOKS:
        assert f"{name}: cannot be read: it is JSON, but not a notebook with cells" in shown.err
    assert "gone.py: cannot be read: No such file or directory" in shown.err
    assert shown.err.endswith("2 of 7 files would change; --write writes them.\n")


def test_the_command_shows_a_diff_and_writes_only_when_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "a.py"
    program.write_text(
        "from langchain_core.messages import HumanMessage\nfrom langchain.hub import pull\n"
    )
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "b.py").write_text("from langchain_core.messages import HumanMessage\n")
    assert main(["migrate", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert (
        "-from langchain_core.messages import HumanMessage\n+from modelwire.messages import HumanMessage\n"
        in shown.out
    )
    assert "line 2: `pull` of `langchain.hub`: the hub is a web service" in shown.err
    assert "1 of 1 files would change; --write writes them." in shown.err
    assert "langchain_core" in program.read_text()
    assert main(["migrate", str(tmp_path), "--write"]) == 0
    assert program.read_text().startswith("from modelwire.messages import HumanMessage\n")
    assert "langchain_core" in (tmp_path / ".venv" / "b.py").read_text()
    assert main(["migrate", str(tmp_path / "nowhere.py")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_folders_are_read_in_order_and_other_files_left_alone(tmp_path: Path) -> None:
    for name in ("b.py", "a.ipynb", "c.txt"):
        (tmp_path / name).write_text("")
    assert [path.name for path in programs([tmp_path])] == ["a.ipynb", "b.py"]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("langchain_openai", "OpenAIEmbeddings"),
        ("langchain_openai.embeddings", "AzureOpenAIEmbeddings"),
        ("langchain_google_genai", "GoogleGenerativeAIEmbeddings"),
        ("langchain_aws", "BedrockEmbeddings"),
        ("langchain_cohere", "CohereEmbeddings"),
        ("langchain_voyageai", "VoyageAIEmbeddings"),
        ("langchain_mistralai", "MistralAIEmbeddings"),
        ("langchain_ollama", "OllamaEmbeddings"),
        ("langchain_core.embeddings", "FakeEmbeddings"),
        ("langchain.embeddings", "init_embeddings"),
    ],
)
def test_embeddings_have_a_home(module: str, name: str) -> None:
    done = rewrite(f"from {module} import {name}\n".encode())
    assert done.text.decode() == f"from modelwire.embeddings import {name}\n"
