"""Fetch the test suites of others, which are never committed: `python tests/third_party/fetch.py NAME ...`.

Each is in the source distribution of a package: pinned by version and hash, downloaded by pip and unpacked below
`third-party` of the virtual environment. Without names, all are fetched. What cannot be downloaded is named, and its
tests are skipped.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

HOME = Path(sys.prefix) / "third-party"


class Suite(NamedTuple):
    """A test suite within the source distribution of a package."""

    package: str
    version: str
    sha256: str
    # The folders and files that are unpacked.
    parts: tuple[str, ...]

    @property
    def home(self) -> Path:
        return HOME / f"{self.package}-{self.version}"


SUITES = {
    # The package carries JSON-Schema-Test-Suite as it was at its release.
    "json-schema": Suite(
        "jsonschema",
        "4.26.0",
        "0c26707e2efad8aa1bfc5b7ce170f3fccc2e4918ff85989ba9ffa9facb2be326",
        ("json/tests",),
    ),
    # The extra `langchain-dev` pins both packages to these versions.
    "langchain": Suite(
        "langchain",
        "1.5.2",
        "63816aee7f55503db5c4f266a0874047d417957ae70cbf27397325c584982c52",
        ("tests", "pyproject.toml"),
    ),
    "langgraph-prebuilt": Suite(
        "langgraph-prebuilt",
        "1.1.3",
        "7ee72332e925000e3d24d2d491dd0ebb9d3a44dbffe650185943b730a832cf6d",
        ("tests", "pyproject.toml"),
    ),
}


def fetch(suite: Suite) -> None:
    """Download and unpack `suite`, unless it is there."""
    if suite.home.exists():
        return
    HOME.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=HOME) as made:
        folder = Path(made)
        pin = folder / "requirements.txt"
        pin.write_text(f"{suite.package}=={suite.version} --hash=sha256:{suite.sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--no-binary", ":all:", "--require-hashes", "-r", str(pin), "-d", made]
        subprocess.run(command, check=True, timeout=300)
        (archive,) = folder.glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(folder / "unpacked", filter="data")
        (root,) = (folder / "unpacked").iterdir()
        wanted = folder / "wanted"
        for part in suite.parts:
            (wanted / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(root / part, wanted / part)
        wanted.rename(suite.home)


def main(names: list[str]) -> int:
    """Fetch the suites of these names. Return 1 if one of them cannot be had."""
    status = 0
    for name in names or SUITES:
        try:
            fetch(SUITES[name])
        except (subprocess.SubprocessError, OSError) as exc:
            print(f"The suite {name} cannot be fetched, so its tests are skipped: {exc}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
