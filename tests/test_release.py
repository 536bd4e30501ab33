"""What a release is made of: the archive, the extras, the files beside the code."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from support.try_wheel import HUGE, OURS, SMOKES

ROOT = Path(__file__).parents[1]
JOBS = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))["jobs"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_every_extra_is_tried_in_a_fresh_environment() -> None:
    assert SMOKES.keys() == {"", *PROJECT["optional-dependencies"]} - OURS
    assert HUGE.keys() < SMOKES.keys()
    for extra, program in SMOKES.items():
        compile(program, extra, "exec")


def test_the_pythons_of_the_classifiers_are_those_that_are_tested() -> None:
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    tested = re.search(r"^PYTHONS \?= (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert tested is not None
    assert set(named) <= set(tested[1].split())
    assert named == JOBS["quick"]["strategy"]["matrix"]["python"]


def test_the_workflow_calls_targets_of_the_makefile_on_three_systems() -> None:
    runs = [step["run"] for job in JOBS.values() for step in job["steps"] if "run" in step]
    assert all(line.startswith("make ") or line == ".ci/run" for line in runs)
    targets = set(
        re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    )
    assert {line.split()[1] for line in runs if line.startswith("make ")} <= targets
    systems = {system.partition("-")[0] for system in JOBS["quick"]["strategy"]["matrix"]["system"]}
    assert systems == {"ubuntu", "macos", "windows"}


@pytest.mark.long  # builds twice
def test_the_archives_hold_what_they_must(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="builds the archives: pip install hatchling")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (archive,), (wheel,) = tmp_path.glob("*.tar.gz"), tmp_path.glob("*.whl")
    with tarfile.open(archive) as tar:
        inside = {name.partition("/")[2] for name in tar.getnames()}
    for wanted in (
        "CHANGELOG.md",
        "LICENSE",
        "Makefile",
        "tests/conftest.py",
        "docs/jobs.md",
        "CITATION.cff",
        "examples/quickstart.py",
        "modelwire/py.typed",
        "SECURITY.md",
        "CONTRIBUTING.md",
    ):
        assert wanted in inside
    assert not [
        name
        for name in inside
        if name.startswith((".venv", "dist/", ".git/")) or "__pycache__" in name
    ]
    with zipfile.ZipFile(wheel) as packed:
        files = packed.namelist()
        metadata = packed.read(next(name for name in files if name.endswith("METADATA"))).decode()
    assert {name.partition("/")[0] for name in files} == {
        "modelwire",
        f"modelwire-{_version(metadata)}.dist-info",
    }
    assert "modelwire/py.typed" in files
    assert _version(metadata) == __import__("modelwire").__version__


def _version(metadata: str) -> str:
    found = re.search(r"^Version: (.*)$", metadata, re.MULTILINE)
    assert found is not None
    return found[1]
