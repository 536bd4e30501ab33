"""Every line of the catalogue has its test, or a reason why it has none."""

from __future__ import annotations

import ast
import importlib.util
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location(
    "catalogue", Path(__file__).with_name("catalogue.py")
)
assert _spec is not None
assert _spec.loader is not None
catalogue = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(catalogue)


@cache
def known_tests(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def test_every_line_is_held_or_says_why_not() -> None:
    assert sorted([*catalogue.HELD, *catalogue.NOT_HELD]) == sorted(catalogue.LINES)
    assert set(catalogue.PARTLY) <= set(catalogue.HELD)


def test_every_test_the_catalogue_names_is_there() -> None:
    named = [name.partition("::") for names in catalogue.HELD.values() for name in names]
    assert [f"{path}::{test}" for path, _, test in named if test not in known_tests(path)] == []
