"""The law of the two storeys: the core works with every extension deleted (HOUSE, section 2)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from support.parsed import PACKAGE
from support.volume import EXTENSIONS, is_extension, module_name

ROOT = Path(__file__).parent.parent
# These folders of tests need the core alone. Files below them that import an extension are found, and left out.
CORE_TESTS = (
    "callbacks",
    "messages",
    "output_parsers",
    "prompts",
    "runnables",
    "tools",
    "usage",
    "transport",
    "adapters",
)

PROGRAM = """
import importlib, pkgutil, sys
import httpx2
import modelwire
from modelwire.errors import MissingDependency

def is_optional(error):
    return isinstance(error, ImportError) and not (error.name or "").startswith("modelwire")

for found in pkgutil.walk_packages(modelwire.__path__, "modelwire.", onerror=lambda name: None):
    try:
        importlib.import_module(found.name)
    except ImportError as error:
        if not is_optional(error):
            raise

def answer(request):
    message = {"role": "assistant", "content": "hello"}
    return httpx2.Response(200, json={"id": "1", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})

client = httpx2.Client(transport=httpx2.MockTransport(answer))
model = modelwire.init_chat_model("openai:gpt-4o", api_key="x", http_client=client)
assert model.invoke("hi").content == "hello"
assert [one.content for one in model.batch(["a", "b"])] == ["hello", "hello"]
chain = modelwire.prompts.ChatPromptTemplate.from_template("{x}") | model
assert chain.invoke({"x": 1}).text == "hello"
assert model.profile is not None
for use in (lambda: chain.submit_batch([{"x": 1}]), lambda: modelwire.init_chat_model("local:smollm2")):
    try:
        use()
    except MissingDependency as error:
        assert "modelwire." in str(error), error
    else:
        raise AssertionError("an extension that is not there did not raise")
print("the core works")
"""


def core_alone(folder: Path) -> Path:
    """Copy the package without its extensions into a folder; return the folder."""
    target = folder / PACKAGE.name
    shutil.copytree(PACKAGE, target, ignore=shutil.ignore_patterns("__pycache__"))
    for path in sorted(target.rglob("*.py")):
        if is_extension(PACKAGE / path.relative_to(target)):
            path.unlink()
    return folder


def run(folder: Path, *arguments: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run Python with the package of a folder in front of the installed one."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


def test_the_list_of_extensions_names_what_is_there() -> None:
    modules = {module_name(path) for path in PACKAGE.rglob("*.py")}
    assert [one for one in EXTENSIONS if one not in modules] == []


def test_the_core_works_without_its_extensions(tmp_path: Path) -> None:
    ended = run(core_alone(tmp_path), "-c", PROGRAM, timeout_s=120)
    assert ended.stdout == "the core works\n", ended.stderr[-3000:]
