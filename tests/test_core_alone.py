"""The law of the two storeys: the core works with every extension deleted (HOUSE, section 2)."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.parsed import PACKAGE, parsed
from support.volume import EXTENSIONS, is_extension, is_within, module_name

TESTS = Path(__file__).parent
# The tests of these rooms of the core are run. Files that import an extension are found, and left out.
ROOMS = (
    "callbacks",
    "messages",
    "output_parsers",
    "prompts",
    "runnables",
    "tools",
    "usage",
    "transport",
)
CONFIGURATION = """
[pytest]
pythonpath = {tests}
addopts = --import-mode=importlib -m "not long and not local and not browser" --rootdir={tests}/..
markers =
    browser:
    local:
    long:
"""
# What `modelwire.testing` has in the core.
CORE_OF_TESTING = {
    "FakeChatModel",
    "FakeListChatModel",
    "FakeListChatModelError",
    "FakeMessagesListChatModel",
    "GenericFakeChatModel",
    "ParrotFakeChatModel",
}

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
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return httpx2.Response(200, json={"id": "1", "model": "m", "choices": [choice]})

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
    for path in sorted(target.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()  # Python would import it as a namespace package.
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


def _imported(path: Path) -> set[str]:
    """Return the modules and names that a file imports, at its top or inside, as dotted names."""
    found: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _needs_an_extension(name: str) -> bool:
    within = name.removeprefix("modelwire.")
    if within == name:
        return False
    if within.startswith("testing"):
        return within.rpartition(".")[2] not in CORE_OF_TESTING
    return any(is_within(within, extension) for extension in EXTENSIONS)


def needs_an_extension(path: Path) -> bool:
    """Return whether a test file, or a module of `support` that it imports, imports an extension."""
    waiting, seen = (
        [path, *(folder / "conftest.py" for folder in path.parents if TESTS in folder.parents)],
        set(),
    )
    while waiting:
        one = waiting.pop()
        if one in seen or not one.is_file():
            continue
        seen.add(one)
        names = _imported(one)
        if any(_needs_an_extension(name) for name in names):
            return True
        waiting += [
            TESTS / Path(*name.split(".")[:2]).with_suffix(".py")
            for name in names
            if name.startswith("support.")
        ]
    return False


@pytest.mark.long
def test_the_tests_of_the_core_pass_without_its_extensions(tmp_path: Path) -> None:
    folder = core_alone(tmp_path)
    files = [path for room in ROOMS for path in sorted((TESTS / room).rglob("test_*.py"))]
    chosen = [str(path) for path in files if not needs_an_extension(path)]
    (folder / "core.ini").write_text(CONFIGURATION.format(tests=TESTS), encoding="utf-8")
    arguments = ["-c", "core.ini", "-p", "no:modelwire", "-p", "no:cacheprovider", "-q", "-n", "2"]
    ended = run(folder, "-m", "pytest", *arguments, *chosen, timeout_s=900)
    outcome = ended.stdout.splitlines()[-1]
    passed = re.search(r"(\d+) passed", outcome)
    assert ended.returncode == 0, ended.stdout[-5000:]
    assert passed is not None and int(passed[1]) > 2_000, outcome
