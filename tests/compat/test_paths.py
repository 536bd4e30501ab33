"""Every path of the table can be imported, every name in it is where the table says."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from support.old_path_stubs import stubs

from modelwire import compat

PACKAGE = Path(compat.__file__).parents[1]


@pytest.mark.parametrize("path", sorted(compat.PATHS))
def test_a_path_gives_the_very_objects_of_their_homes(path: str) -> None:
    module = importlib.import_module(f"modelwire.{path}")
    assert module.__all__
    for home, names in compat.PATHS[path].items():
        for name in names.split():
            assert getattr(module, name) is getattr(importlib.import_module(home), name)


@pytest.mark.parametrize("path", sorted(compat.PATHS))
def test_no_path_of_the_table_hides_behind_a_module_of_the_same_name(path: str) -> None:
    place = PACKAGE.joinpath(*path.split("."))
    assert not place.with_suffix(".py").exists()
    assert not (place / "__init__.py").exists()


@pytest.mark.parametrize("path", sorted(compat.PATHS))
def test_no_path_takes_the_place_of_a_name_of_its_parent(path: str) -> None:
    parent, _, last = f"modelwire.{path}".rpartition(".")
    assert last not in getattr(importlib.import_module(parent), "__all__", ())


def test_type_checkers_see_the_paths_that_stand_beside_a_package() -> None:
    written = {place: place.read_text("utf-8") for place in PACKAGE.rglob("*.pyi")}
    assert written == dict(stubs()), "run tests/support/old_path_stubs.py"


def test_a_name_or_path_that_is_nowhere_is_missing_as_usual() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"modelwire\.nowhere"):
        importlib.import_module("modelwire.nowhere")
    with pytest.raises(ImportError, match="Nothing"):
        exec("from modelwire.schema import Nothing", {})


def test_the_table_is_not_loaded_before_an_old_path_is_imported() -> None:
    code = """
import sys, modelwire.messages
assert "modelwire.compat" not in sys.modules
from modelwire.schema.messages import HumanMessage
assert "modelwire.compat" in sys.modules and HumanMessage is modelwire.messages.HumanMessage
import modelwire.schema
assert modelwire.schema.messages.HumanMessage is HumanMessage
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)
