"""The ceilings of the house. Whoever gets below one lowers it to what is reached.

Who adds a feature raises the number in the same commit, and says there what the lines are for. Nothing else raises it.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from support.parsed import MODULES as FILES
from support.parsed import PACKAGE, parsed

from modelwire import errors

# Physical lines a folder.
LINES = {
    "adapters": 16_580,
    "budgets": 540,
    "callbacks": 1_380,
    "command": 1_210,
    "compare": 980,
    "compat": 145,
    "jobs": 10_050,
    "langchain": 1_240,
    "language_models": 95,
    "local": 690,
    "messages": 3_740,
    "migrate": 510,
    "output_parsers": 1_500,
    "prompts": 2_220,
    "runnables": 7_330,
    "testing": 4_770,
    "tools": 2_750,
    "tracers": 530,
    "transport": 5_740,
    "utils": 150,
    "": 3_380,
}
A_MODULE = 500
INSIDE_FUNCTIONS = 210  # names of ours that are imported there
HOLDERS = ast.ExceptHandler | ast.match_case  # of statements, beside the statements themselves
WORDS = {"said": 40, "given": 40, "asked": 140, "told": 50, "kept": 92}  # of a language of our own


def folder_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def test_no_folder_grows() -> None:
    lines = Counter[str]()
    for path in FILES:
        lines[folder_of(path)] += path.read_text(encoding="utf-8").count("\n")
    assert set(lines) <= set(LINES), "a new folder wants a ceiling"
    assert {folder: count for folder, count in lines.items() if count > LINES[folder]} == {}
    stale = {folder: count for folder, count in lines.items() if count < 0.95 * LINES[folder] - 20}
    assert stale == {}, "lower the ceiling to what is reached"


def test_no_module_is_longer_than_the_longest() -> None:
    long = {
        str(path): count
        for path in FILES
        if (count := path.read_text(encoding="utf-8").count("\n")) > A_MODULE
    }
    assert long == {}


def test_imports_inside_functions_do_not_spread() -> None:
    """They keep the start fast; each one hides what a module needs."""
    count, waiting = 0, [(parsed(path), False) for path in FILES]
    while waiting:
        node, inside = waiting.pop()
        if (
            inside
            and isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith("modelwire")
        ):
            count += len(node.names)
        inside = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        waiting += [
            (child, inside)
            for child in ast.iter_child_nodes(node)
            if isinstance(child, ast.stmt | HOLDERS)
        ]
    assert count <= INSIDE_FUNCTIONS


@pytest.mark.parametrize("word", WORDS)
def test_the_words_of_our_own_go(word: str) -> None:
    count = sum(
        len(re.findall(rf"\b_?{word}\b", path.read_text(encoding="utf-8"))) for path in FILES
    )
    assert count <= WORDS[word]


def test_no_banner_comments() -> None:
    """A file that needs headings is several files (HOUSE, section 4)."""
    banner = re.compile(r"^ *# ?[-=#*]{5,}", re.MULTILINE)
    assert [str(path) for path in FILES if banner.search(path.read_text(encoding="utf-8"))] == []


def test_only_a_wire_and_its_public_class_ask_which_wire_it_is() -> None:
    question = re.compile(
        r'TOOL_SHAPE|[!=]= ?"(anthropic|openai|google|bedrock)"|"(anthropic|openai)" ?[!=]='
    )
    asking = {
        str(path.relative_to(PACKAGE))
        for path in FILES
        if "wires" not in path.parts and question.search(path.read_text(encoding="utf-8"))
    }
    assert asking <= {"adapters/providers/openai.py"}


def public_functions() -> Iterator[Callable[..., Any]]:
    """Give the functions of every public package's `__all__`, and the public methods of its classes."""
    packages = [path.parent.relative_to(PACKAGE.parent) for path in PACKAGE.glob("*/__init__.py")]
    modules = [
        path.relative_to(PACKAGE.parent).with_suffix("") for path in PACKAGE.glob("[a-z]*.py")
    ]
    for path in sorted({*packages, *modules}):
        module = import_module(".".join(path.parts))
        try:
            everything = [getattr(module, name) for name in getattr(module, "__all__", ())]
        except (
            errors.MissingDependency
        ):  # the border to LangChain, whose tests have a venv of their own
            continue
        for public in everything:
            classes = public.__mro__ if inspect.isclass(public) else ()
            members = [
                value
                for cls in classes
                for name, value in vars(cls).items()
                if not name.startswith("_")
            ]
            for member in [public, *members]:
                function = (
                    getattr(member, "__func__", getattr(member, "fget", None))
                    if member in members
                    else member
                )
                if inspect.isfunction(
                    function := function or member
                ) and function.__module__.startswith("modelwire"):
                    yield inspect.unwrap(function)


def raised_by(function: Callable[..., Any]) -> set[type[Exception]]:
    """Return the errors of ours that the function's own body raises."""
    source = textwrap.dedent(inspect.getsource(function))
    kinds = {
        getattr(errors, name, None)
        for name in re.findall(r"^ +raise (\w+)\(", source, re.MULTILINE)
    }
    return {
        kind for kind in kinds if isinstance(kind, type) and issubclass(kind, errors.ModelwireError)
    }


def test_public_functions_say_what_they_raise() -> None:
    silent = {
        f"{function.__module__}.{function.__qualname__}: {kind.__name__}"
        for function in public_functions()
        for kind in raised_by(function)
        if function.__name__ != "model_post_init"  # pydantic's hook
        and not any(
            f"`{base.__name__}`" in (function.__doc__ or "").partition("Raises:")[2]
            for base in kind.__mro__
        )
    }
    assert silent == set()
